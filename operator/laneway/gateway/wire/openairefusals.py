"""Refusals in the words of OpenAI: its APIs share them, except for what makes a client come back."""

from __future__ import annotations

from typing import TypeAlias

from laneway.gateway.wire.base import Answer, Kind, Refusal, refusal_answer

Words: TypeAlias = tuple[int, str, str | None]
"""Status, type and code of an error."""

_RATE_LIMITED: Words = (429, "rate_limit_error", "rate_limit_exceeded")
_COME_BACK = frozenset({Kind.BUSY, Kind.THROTTLED})
_WORDS: dict[Kind, Words] = {
    Kind.BAD_REQUEST: (400, "invalid_request_error", None),
    Kind.UNAUTHENTICATED: (401, "invalid_request_error", "invalid_api_key"),
    Kind.FORBIDDEN: (403, "permission_error", None),
    Kind.NOT_FOUND: (404, "invalid_request_error", "model_not_found"),
    Kind.TOO_LARGE: (413, "invalid_request_error", None),
    Kind.LIMIT: (403, "insufficient_quota", "insufficient_quota"),
    Kind.UNAVAILABLE: (503, "server_error", "service_unavailable"),
    Kind.UPSTREAM: (502, "server_error", "upstream_unreachable"),
    Kind.TIMEOUT: (504, "server_error", "upstream_timeout"),
}


def refuse(refusal: Refusal, *, come_back: Words = _RATE_LIMITED) -> Answer:
    """``{"error": {"message", "type", "param", "code"}}``; ``come_back``: what tells a client to try again later."""
    status, kind, code = come_back if refusal.kind in _COME_BACK else _WORDS[refusal.kind]
    error = {"message": refusal.message, "type": kind, "param": None, "code": code}
    return refusal_answer(status, {"error": error}, refusal.capped)
