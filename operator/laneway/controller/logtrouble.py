"""What the log of an agent on a Direct lane says of the model call that ended it. Pure."""

from __future__ import annotations

from datetime import datetime

from laneway.agent.envelope import EnvelopeSummary
from laneway.api.gatewaystate import CallFailure
from laneway.rules.classify import ErrorInfo, classify


def trouble_of(envelope: EnvelopeSummary, *, sent: datetime, seen: datetime) -> CallFailure | None:
    """The failed call by the status that the result line names; None: the log says nothing of one."""
    if not envelope.is_error or envelope.api_error_status is None:
        return None
    words = envelope.raw_error or ""
    cause = classify(envelope.api_error_status, ErrorInfo(message=words))
    return CallFailure(sent_time=sent, seen_time=seen, cause=cause, status=envelope.api_error_status, message=words)
