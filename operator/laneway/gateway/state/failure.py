"""How a call failed, in the words that the operator gets."""

from __future__ import annotations

from datetime import datetime

from laneway.api.gatewaystate import CallFailure
from laneway.gateway.state.state import MESSAGE_LIMIT
from laneway.gateway.wire.refused import Refused
from laneway.rules.classify import Verdict


def call_failure(verdict: Verdict, message: str, *, sent: datetime, seen: datetime, cut: bool = False) -> CallFailure:
    """A failure as the operator gets it: one line, cut to what a status may hold."""
    return CallFailure(
        sent_time=sent,
        seen_time=seen,
        cause=verdict.cause,
        status=verdict.status,
        message=" ".join(message.split())[:MESSAGE_LIMIT],
        reset_time=verdict.reset_time,
        reset_source=verdict.reset_source,
        cut=cut,
    )


def refusal_failure(refused: Refused, now: datetime) -> CallFailure | None:
    """A refusal of the gateway's own as a failure of the call; None: it says nothing of the attempt's model."""
    return None if refused.verdict is None else call_failure(refused.verdict, str(refused), sent=now, seen=now)
