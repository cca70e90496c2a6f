"""Anthropic messages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from laneway.api.endpoint import Server, WireAPI
from laneway.gateway.wire import frames
from laneway.gateway.wire.base import (
    Answer,
    Kind,
    Prepared,
    Reader,
    Reading,
    Refusal,
    Wire,
    asks_for_stream,
    error_in,
    error_object,
    refusal_answer,
    replace_model,
    text_or_none,
)
from laneway.gateway.wire.jsontext import JsonText
from laneway.gateway.wire.limits import lower, wanted
from laneway.rules.usage import from_messages

_LIMIT = ("max_tokens",)
_LEAST = 0  # it warms the cache and makes nothing
_WORTH_READING = re.compile(rb'"message_(start|delta|stop)"|"error"')

_REFUSALS = {
    Kind.BAD_REQUEST: (400, "invalid_request_error"),
    Kind.UNAUTHENTICATED: (401, "authentication_error"),
    Kind.FORBIDDEN: (403, "permission_error"),
    Kind.NOT_FOUND: (404, "not_found_error"),
    Kind.TOO_LARGE: (413, "request_too_large"),
    Kind.BUSY: (529, "overloaded_error"),
    Kind.THROTTLED: (429, "rate_limit_error"),
    Kind.LIMIT: (403, "permission_error"),
    Kind.UNAVAILABLE: (503, "api_error"),
    Kind.UPSTREAM: (502, "api_error"),
    Kind.TIMEOUT: (504, "timeout_error"),
}


class Messages(Wire):
    """``POST /v1/messages``."""

    api = WireAPI.MESSAGES
    keep_alive = frames.event({"type": "ping"}, "ping")

    def prepare(self, body: bytes, *, model: str, server: Server) -> Prepared:
        """Replace the model; usage is always told."""
        text = replace_model(body, model=model)
        return Prepared(
            body=text.render(), streamed=asks_for_stream(text), output_tokens=wanted(text, _LIMIT, least=_LEAST)
        )

    def clamp(self, prepared: Prepared, *, tokens: int, server: Server) -> Prepared:
        """``max_tokens``, thinking included."""
        text = JsonText(prepared.body)
        limit = lower(text, _LIMIT, tokens=tokens, least=_LEAST)
        return replace(prepared, body=text.render(), output_tokens=limit)

    def read_whole(self, answer: Mapping[str, object]) -> Reading:
        """``usage`` and ``stop_reason``."""
        reading = Reading(finish_reason=text_or_none(answer.get("stop_reason")))
        usage = answer.get("usage")
        if isinstance(usage, Mapping):
            reading.usage = from_messages(usage)
            reading.usage_final = reading.usage.known
        if answer.get("error"):
            reading.error = error_in(answer)
        return reading

    def stream_reader(self, prepared: Prepared) -> Reader:
        """A reader that changes nothing."""
        return _StreamReader(_WORTH_READING)

    def in_stream(self, body: bytes) -> bytes:
        """``event: error``."""
        return frames.event({"type": "error", **error_object(body)}, "error")

    def refuse(self, refusal: Refusal) -> Answer:
        """``{"type": "error", "error": {"type", "message"}}``."""
        status, kind = _REFUSALS[refusal.kind]
        error = {"type": kind, "message": refusal.message}
        return refusal_answer(status, {"type": "error", "error": error}, refusal.capped)


class _StreamReader(frames.EventReader):
    """Usage is cumulative: each field of ``message_delta`` replaces that of ``message_start``, which compatible servers only estimate."""

    def __init__(self, worth_reading: re.Pattern[bytes]) -> None:
        super().__init__(worth_reading)
        self._usage: dict[str, object] = {}

    def read(self, part: Mapping[str, object]) -> None:
        match part.get("type"):
            case "message_start":
                message = part.get("message")
                self._merge(message.get("usage") if isinstance(message, Mapping) else None)
            case "message_delta":
                self._merge(part.get("usage"))
                delta = part.get("delta")
                if isinstance(delta, Mapping) and (reason := text_or_none(delta.get("stop_reason"))):
                    self.reading.finish_reason, self.reading.ended = reason, True
                    self.reading.usage_final = self.reading.usage.known
            case "message_stop":
                self.reading.ended = True
            case "error":
                self.reading.error = error_in(part)

    def _merge(self, usage: object) -> None:
        if isinstance(usage, Mapping):
            self._usage.update({key: value for key, value in usage.items() if value is not None})
            self.reading.usage = from_messages(self._usage)
