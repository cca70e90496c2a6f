"""Model trouble on Direct lanes, from the end of the agent's log: there is no gateway that saw the call. Pure."""

from __future__ import annotations

from datetime import datetime

from laneway.agent.envelope import RAW_LIMIT, EnvelopeSummary
from laneway.api.gatewaystate import CallFailure
from laneway.rules.chain import TRANSIENT_CAUSES
from laneway.rules.classify import ErrorInfo, LimitEvent, Signals, judge

_FIVE_HOUR = "five_hour"


def trouble_of(envelope: EnvelopeSummary, *, sent: datetime, seen: datetime) -> CallFailure | None:
    """The failure that ended an attempt, or None when no model is to blame (S3.4 to S3.7).

    The five-hour limit comes first, by what the log said of it last; then the result's status or error code; without one its words. An
    agent that says it made no error had none, whatever it met on its way. ``sent`` is a time at or before which the failed call was sent,
    ``seen`` when the agent ended.
    """
    if envelope.is_error is False:
        return None
    told = [event for event in envelope.rate_limits if event.limit_type == _FIVE_HOUR][-1:]
    words = envelope.raw_error or ""
    signals = Signals(
        status=envelope.api_error_status,
        error=ErrorInfo(type=envelope.error_type or "", message=words),
        event=LimitEvent(told[0].status, told[0].limit_type, told[0].resets_at) if told else None,
    )
    verdict = judge(signals, now=seen)
    if verdict.cause not in TRANSIENT_CAUSES:  # everything else is the run's own affair, its key included (S3.6)
        return None
    return CallFailure(
        sent_time=sent,
        seen_time=seen,
        cause=verdict.cause,
        status=verdict.status,
        message=" ".join(words.split())[:RAW_LIMIT],
        reset_time=verdict.reset_time,
        reset_source=verdict.reset_source,
    )
