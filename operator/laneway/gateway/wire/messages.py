"""Anthropic messages."""

from __future__ import annotations

import re
from collections.abc import Mapping

from laneway.gateway.wire import frames
from laneway.gateway.wire.base import (
    Answer,
    Kind,
    Prepared,
    Reader,
    Reading,
    Refusal,
    Wire,
    error_in,
    json_answer,
    parse_object,
    replace_model,
    text_or_none,
)
from laneway.rules.endpoint import WireAPI
from laneway.rules.usage import from_messages

_WORTH_READING = re.compile(rb'"message_(start|delta|stop)"|"error"')

_REFUSALS = {
    Kind.BAD_REQUEST: (400, "invalid_request_error"),
    Kind.UNAUTHENTICATED: (401, "authentication_error"),
    Kind.FORBIDDEN: (403, "permission_error"),
    Kind.NOT_FOUND: (404, "not_found_error"),
    Kind.TOO_LARGE: (413, "request_too_large"),
    Kind.BUSY: (529, "overloaded_error"),
    Kind.UNAVAILABLE: (503, "api_error"),
    Kind.UPSTREAM: (502, "api_error"),
    Kind.TIMEOUT: (504, "timeout_error"),
}


class Messages(Wire):
    """``POST /v1/messages``."""

    api = WireAPI.MESSAGES

    def prepare(self, body: bytes, *, model: str) -> Prepared:
        """Replace the model; usage is always told."""
        text = replace_model(body, model=model)
        streamed = any(member.value not in (False, None) for member in text.named("stream"))
        return Prepared(body=text.render(), streamed=streamed)

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
        return _StreamReader()

    def refuse(self, refusal: Refusal) -> Answer:
        """``{"type": "error", "error": {"type", "message"}}``."""
        status, kind = _REFUSALS[refusal.kind]
        error = {"type": kind, "message": refusal.message}
        return json_answer(status, {"type": "error", "error": error}, refusal.retry_after_seconds)


class _StreamReader(Reader):
    """Usage is cumulative: each field of ``message_delta`` replaces that of ``message_start``, which compatible servers only estimate."""

    def __init__(self) -> None:
        super().__init__()
        self._events = frames.events()
        self._usage: dict[str, object] = {}

    def feed(self, data: bytes) -> bytes:
        for event in self._events.feed(data):
            self._look(event)
        return data

    def close(self) -> bytes:
        self._look(self._events.close())
        return b""

    def _look(self, event: bytes) -> None:
        if not _WORTH_READING.search(event):
            return
        part = parse_object(frames.data_of(event))
        if part is None:
            return
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
