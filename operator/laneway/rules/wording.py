"""How steps, causes and times are said to people, by the operator and by the command line. Pure."""

from __future__ import annotations

from datetime import datetime

from laneway.api.base import format_time
from laneway.api.reasons import Cause, ResetSource
from laneway.rules.cooldown import Cooldown

CAUSES = {
    Cause.RATE_LIMIT_ACCOUNT: "rate limit of the account",
    Cause.RATE_LIMIT_MODEL: "rate limit",
    Cause.QUOTA_EXHAUSTED: "quota used up",
    Cause.API_TRANSIENT: "server trouble",
    Cause.API_TIMEOUT: "no answer in time",
    Cause.MODEL_NOT_FOUND: "no such model",
    Cause.CONTEXT_TOO_LONG: "request too long",
    Cause.WIRE_API_UNSUPPORTED: "another protocol",
    Cause.UNSUITABLE: "request not accepted",
    Cause.AUTH_FAILED: "key refused",
    Cause.FULL: "no free slot",
    Cause.MANUAL: "by hand",
    Cause.TASK_FAILURE: "the task failed",
    Cause.UNKNOWN: "unknown",
}
_SOURCES = {
    ResetSource.SERVER_EVENT: "as the server said",
    ResetSource.RETRY_AFTER: "as the server said",
    ResetSource.SERVER_MISSING: "the server named no time",
    ResetSource.ESTIMATED: "our own estimate",
}


def step_name(namespace: str, lane: str, model: str | None, *, home: str) -> str:
    """A step as ``lane/model``, with its namespace where that is not the run's."""
    parts = ([] if namespace == home else [namespace]) + [lane] + ([model] if model else [])
    return "/".join(parts)


def clock(moment: datetime, now: datetime) -> str:
    """The time of day; with its date when that is not today's."""
    return f"{moment:%H:%M:%SZ}" if moment.date() == now.date() else format_time(moment)


def cooling(cooldown: Cooldown, now: datetime) -> str:
    """A cooldown: until when, why, and who says so."""
    until = f"cooling until {clock(cooldown.until, now)}" if cooldown.until else "not used for now"
    who = _SOURCES.get(cooldown.source, "") if cooldown.until else ""
    why = [CAUSES[cooldown.cause], who]
    return f"{until} ({', '.join(dict.fromkeys(word for word in why if word))})"


def source(source: ResetSource) -> str:
    """Who says how long."""
    return _SOURCES.get(source, "by hand")
