"""What kind of failure a model server's refusal is: by structure first, by words last (C1, C2, design section 10).

The order: an error type or code about quota, billing or budget; the status; other error types; words; then what is left.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from laneway.api.reasons import Cause

_QUOTA_NAME = re.compile(r"(^|[_\W])(quota|billing|budget|credits?|spend|payment)([_\W]|$)", re.IGNORECASE)
_QUOTA_TEXT = re.compile(
    r"usage limits?\b|credit balance|insufficient (quota|credit|balance)|exceeded your current quota", re.IGNORECASE
)
_CONTEXT_NAME = frozenset({"context_length_exceeded", "request_too_large"})
_CONTEXT_TEXT = re.compile(
    r"context (length|window|size)|maximum context|prompt is too long|input (length|is too long)|too many tokens",
    re.IGNORECASE,
)
_MODEL_TEXT = re.compile(r"\bmodel\b", re.IGNORECASE)
_RATE_TEXT = re.compile(r"\brate[ _-]?limit|too many requests|overloaded|\b(429|529)\b", re.IGNORECASE)
_RATE_NAMES = frozenset({"rate_limit_error", "rate_limit_exceeded", "overloaded_error", "slow_down"})
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
_STATUSES = range(400, 600)


@dataclass(frozen=True, slots=True)
class ErrorInfo:
    """What an error body says, whatever its dialect."""

    type: str = ""
    code: str = ""
    message: str = ""


def classify(status: int | None, error: ErrorInfo) -> Cause:
    """The cause of a failed call. ``status`` is None for an error inside a stream that began with 200."""
    if any(_QUOTA_NAME.search(name) for name in (error.type, error.code)):
        return Cause.QUOTA_EXHAUSTED
    status = status if status is not None else _status_in(error.code)
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status == _NOT_FOUND:
        return Cause.MODEL_NOT_FOUND if _MODEL_TEXT.search(error.message) else Cause.WIRE_API_UNSUPPORTED
    return _by_name(error) or _by_words(status, error) or _rest(status)


def _by_name(error: ErrorInfo) -> Cause | None:
    names = {error.type.lower(), error.code.lower()}
    if names & _CONTEXT_NAME:
        return Cause.CONTEXT_TOO_LONG
    if names & _RATE_NAMES:
        return Cause.RATE_LIMIT_MODEL
    if names & _AUTH_NAMES:
        return Cause.AUTH_FAILED
    if "timeout_error" in names:
        return Cause.API_TIMEOUT
    return Cause.API_TRANSIENT if names & _TRANSIENT_NAMES else None


def _by_words(status: int | None, error: ErrorInfo) -> Cause | None:
    if _QUOTA_TEXT.search(error.message):
        return Cause.QUOTA_EXHAUSTED
    if _CONTEXT_TEXT.search(error.message):
        return Cause.CONTEXT_TOO_LONG
    if status is None and _RATE_TEXT.search(error.message):
        return Cause.RATE_LIMIT_MODEL
    return None


def _rest(status: int | None) -> Cause:
    """Permanent: a 4xx is the request's fault; the rest of 5xx (501, 505) is the server's; no status at all is the task's."""
    return Cause.TASK_FAILURE if status is None or status in _CLIENT_ERRORS else Cause.UNKNOWN


def _status_in(code: str) -> int | None:
    """vLLM writes the HTTP status as the error's code, also inside a stream."""
    return int(code) if code.isascii() and code.isdigit() and int(code) in _STATUSES else None
