"""The one error that ends a call with an answer of the gateway's own."""

from __future__ import annotations

from laneway.api.reasons import Cause
from laneway.gateway.wire.base import Kind, Refusal
from laneway.rules.classify import Verdict


class Refused(Exception):  # noqa: N818 - it says what happened
    """The call is not carried. ``cause``, or a whole ``verdict``, is given when the attempt must know: its model is out of reach."""

    def __init__(
        self,
        kind: Kind,
        message: str,
        *,
        cause: Cause | None = None,
        verdict: Verdict | None = None,
        retry_after_seconds: int | None = None,
        final: bool = False,
    ) -> None:
        super().__init__(message)
        self.refusal = Refusal(kind=kind, message=message, retry_after_seconds=retry_after_seconds, final=final)
        self.verdict = Verdict(cause) if cause is not None else verdict
