"""What kind of failure a failed model call is, and when its model may be used again: by structure first, by words last (C1, C2).

The order: an event of the agent's log; an error type or code about quota, billing or budget; the status; other error types; words. Words
about rate limits count only where there is no status: a server may quote the prompt. All words stand in ``words``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from laneway.api.reasons import Cause, ResetSource
from laneway.rules import words
from laneway.rules.resets import Reset, Told, account_window, details, lower_names, named_time, reset_of, unix_reset

_QUOTA_NAME = re.compile(
    r"(?!.*retryable)(?:.*[_\W])?(quota|billing|budget|credits?|spend|payment)([_\W]|$)", re.IGNORECASE
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_CONTEXT_NAMES = frozenset({"context_length_exceeded", "request_too_large"})
_RATE_NAMES = frozenset({"rate_limit_error", "rate_limit_exceeded", "overloaded_error", "slow_down"})
_ACCOUNT_NAMES = frozenset({"usage_limit_reached"})
_AUTH_NAMES = frozenset({"authentication_error", "permission_error", "invalid_api_key"})
_TRANSIENT_NAMES = frozenset({"api_error", "server_error", "internal_server_error", "service_unavailable"})

_BY_STATUS = {
    401: Cause.AUTH_FAILED,
    402: Cause.QUOTA_EXHAUSTED,
    403: Cause.AUTH_FAILED,
    405: Cause.WIRE_API_UNSUPPORTED,
    408: Cause.API_TIMEOUT,
    413: Cause.CONTEXT_TOO_LONG,
    429: Cause.RATE_LIMIT_MODEL,
    **dict.fromkeys((500, 502, 503, 504, 529), Cause.API_TRANSIENT),
}
_NOT_FOUND = 404
_CLIENT_ERRORS = range(400, 500)
_ERRORS = range(400, 600)
_STATUSES = range(100, 600)
_PASSING = frozenset({Cause.RATE_LIMIT_ACCOUNT, Cause.RATE_LIMIT_MODEL, Cause.API_TRANSIENT, Cause.API_TIMEOUT})


@dataclass(frozen=True, slots=True)
class ErrorInfo:
    """What an error body says, whatever its dialect."""

    type: str = ""
    code: str = ""
    message: str = ""
    body: Mapping[str, object] = field(default_factory=dict, compare=False, repr=False)
    """The object in which the error stood: times are read from it."""


@dataclass(frozen=True, slots=True)
class LimitEvent:
    """What the log of a subscription's agent says of a limit (S0.20)."""

    status: str | None
    limit_type: str | None
    resets_at: int | None = None
    """Unix seconds."""

    @property
    def rejects_account(self) -> bool:
        """The five-hour limit, on which all models draw, is used up (S3.4). Of other limits the status says more (S3.5)."""
        return self.status == "rejected" and self.limit_type == "five_hour"


@dataclass(frozen=True, slots=True)
class Signals:
    """All that a failed call left behind."""

    status: int | None = None
    """HTTP status; None when there was no answer, and for an error inside a stream that began with 200."""
    error: ErrorInfo = field(default_factory=ErrorInfo)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    event: LimitEvent | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a failed call means."""

    cause: Cause
    reset_time: datetime | None = None
    """When the model, or the account, may be used again, as the server said."""
    reset_source: ResetSource | None = None
    status: int | None = None
    """The status that it was judged by; inside a stream that may be the error's code."""


def judge(signals: Signals, *, now: datetime) -> Verdict:
    """The class of a failed call, with the server's time where a wait can help. Never raises.

    The whole account is meant (RateLimitAccount) by a five-hour event, by the error type ``usage_limit_reached`` (a plan's limit), and by
    ``anthropic-ratelimit-unified-{5h,7d}-status: rejected``. Every other 429 is RateLimitModel. For exhausted quota only a named time
    counts: hints in seconds are about short limits. ``now`` is when it failed.
    """
    status = _status_of(signals.status, signals.error)
    if signals.event is not None and signals.event.rejects_account:
        return _verdict(Cause.RATE_LIMIT_ACCOUNT, unix_reset(signals.event.resets_at), status)
    told = Told(headers=lower_names(signals.headers), body=signals.error.body, text=signals.error.message)
    cause = classify(signals.status, signals.error)
    if cause is Cause.RATE_LIMIT_MODEL:
        return _rate_limit(signals.error, told, status, now=now)
    if cause is Cause.QUOTA_EXHAUSTED:
        return _verdict(cause, named_time(told, now=now), status)
    return _verdict(cause, reset_of(told, now=now) if cause in _PASSING else None, status)


def classify(status: int | None, error: ErrorInfo) -> Cause:
    """The cause of a failed call by its status and error alone. ``status`` is None for an error inside a stream that began with 200."""
    if any(_QUOTA_NAME.match(_CAMEL.sub("_", name)) for name in (error.type, error.code)):
        return Cause.QUOTA_EXHAUSTED
    status = _status_of(status, error)
    if status is None:
        return _by_name(error) or _by_words(error) or Cause.TASK_FAILURE
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status == _NOT_FOUND:
        named = "model_not_found" in _names(error) or words.MODEL.search(error.message)
        return Cause.MODEL_NOT_FOUND if named else Cause.WIRE_API_UNSUPPORTED
    if status in _CLIENT_ERRORS:
        return _by_request(error) or Cause.TASK_FAILURE
    return Cause.UNKNOWN


def _rate_limit(error: ErrorInfo, told: Told, status: int | None, *, now: datetime) -> Verdict:
    """Whom a rate limit is about. Google's daily quotas are no short limits: its hint of seconds is about something else."""
    used_up, begins = account_window(told, now=now)
    if used_up or _names(error) & _ACCOUNT_NAMES:
        reset = begins or named_time(told, now=now) or reset_of(told, now=now)
        return _verdict(Cause.RATE_LIMIT_ACCOUNT, reset, status)
    daily = _daily_quotas(error.body)
    if daily and not any("PerModel" in name for name in daily):
        return _verdict(Cause.QUOTA_EXHAUSTED, None, status)
    return _verdict(Cause.RATE_LIMIT_MODEL, None if daily else reset_of(told, now=now), status)


def _verdict(cause: Cause, reset: Reset | None, status: int | None) -> Verdict:
    if reset is None:
        return Verdict(cause, status=status)
    return Verdict(cause, reset.time, reset.source, status)


def _by_name(error: ErrorInfo) -> Cause | None:
    names = _names(error)
    if names & _CONTEXT_NAMES:
        return Cause.CONTEXT_TOO_LONG
    if names & (_RATE_NAMES | _ACCOUNT_NAMES):
        return Cause.RATE_LIMIT_MODEL
    if names & _AUTH_NAMES:
        return Cause.AUTH_FAILED
    if "timeout_error" in names:
        return Cause.API_TIMEOUT
    return Cause.API_TRANSIENT if names & _TRANSIENT_NAMES else None


def _by_words(error: ErrorInfo) -> Cause | None:
    return _by_request(error) or (Cause.RATE_LIMIT_MODEL if words.RATE.search(error.message) else None)


def _by_request(error: ErrorInfo) -> Cause | None:
    """What a refused request means where 400 stands for many things: spend limits and long prompts."""
    if words.QUOTA.match(error.message):
        return Cause.QUOTA_EXHAUSTED
    if _names(error) & _CONTEXT_NAMES or words.CONTEXT.search(error.message):
        return Cause.CONTEXT_TOO_LONG
    return None


def _daily_quotas(body: Mapping[str, object]) -> list[str]:
    """Names of Google's daily quotas that are used up."""
    error = body.get("error")
    failures = details(error, "google.rpc.QuotaFailure") if isinstance(error, Mapping) else ()
    listed = [failure.get("violations") for failure in failures]
    violations = [one for some in listed if isinstance(some, list) for one in some if isinstance(one, Mapping)]
    names = [str(one.get("quotaId", "")) for one in violations]
    return [name for name in names if "PerDay" in name]


def _names(error: ErrorInfo) -> set[str]:
    return {error.type.lower(), error.code.lower()}


def _status_of(status: int | None, error: ErrorInfo) -> int | None:
    """The status, or what stands for it: vLLM writes it as the error's code, also inside a stream."""
    if status is not None and status in _STATUSES:
        return status
    code = error.code
    return int(code) if len(code) == len("429") and code.isascii() and code.isdigit() and int(code) in _ERRORS else None
