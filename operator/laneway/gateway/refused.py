"""The one error that ends a call with an answer of the gateway's own."""

from __future__ import annotations

from laneway.api.reasons import Cause
from laneway.gateway.wire.base import Kind, Refusal


class Refused(Exception):  # noqa: N818 - it says what happened
    """The call is not carried. ``cause`` is set when the attempt must know, because its model is out of reach."""

    def __init__(
        self, kind: Kind, message: str, *, cause: Cause | None = None, retry_after_seconds: int | None = None
    ) -> None:
        super().__init__(message)
        self.refusal = Refusal(kind=kind, message=message, retry_after_seconds=retry_after_seconds)
        self.cause = cause
