"""OpenAI responses, which Codex speaks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from laneway.api.endpoint import Server, WireAPI
from laneway.gateway.wire import frames
from laneway.gateway.wire.base import (
    Answer,
    Prepared,
    Reader,
    Reading,
    Refusal,
    Wire,
    asks_for_stream,
    error_in,
    error_object,
    replace_model,
    text_or_none,
)
from laneway.gateway.wire.jsontext import JsonText
from laneway.gateway.wire.limits import lower, wanted
from laneway.gateway.wire.openairefusals import refuse
from laneway.rules.classify import ErrorInfo
from laneway.rules.usage import from_responses

_WORTH_READING = re.compile(
    rb'"type"\s*:\s*"(response\.(completed|incomplete|failed|cancelled)|error)"|"error"\s*:\s*["{]'
)
_LIMIT = ("max_output_tokens",)
_LAST_EVENTS = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"})
_ENDS = frozenset({"completed", "incomplete", "failed", "cancelled"})
_OVERLOADED = (503, "server_error", "server_is_overloaded")
"""Codex tries a 503 again and a 429 never."""


class Responses(Wire):
    """``POST /v1/responses``."""

    api = WireAPI.RESPONSES
    keep_alive = frames.COMMENT

    def prepare(self, body: bytes, *, model: str, server: Server) -> Prepared:
        """Replace the model; usage is always told."""
        text = replace_model(body, model=model)
        return Prepared(body=text.render(), streamed=asks_for_stream(text), output_tokens=wanted(text, _LIMIT))

    def clamp(self, prepared: Prepared, *, tokens: int, server: Server) -> Prepared:
        """``max_output_tokens``, reasoning included."""
        text = JsonText(prepared.body)
        limit = lower(text, _LIMIT, tokens=tokens)
        return replace(prepared, body=text.render(), output_tokens=limit)

    def read_whole(self, answer: Mapping[str, object]) -> Reading:
        """``usage``, ``status`` and ``error``."""
        reading = Reading()
        _read(answer, reading)
        return reading

    def stream_reader(self, prepared: Prepared) -> Reader:
        """A reader that changes nothing."""
        return _StreamReader(_WORTH_READING)

    def in_stream(self, body: bytes) -> bytes:
        """``event: error`` with its own fields; OpenAI's clients raise their error for ``error``."""
        error = error_object(body)
        told = error_in(error)
        own = {"type": "error", "code": told.code or told.type or None, "message": told.message, "param": None}
        return frames.event({**own, "sequence_number": 0, **error}, "error")

    def refuse(self, refusal: Refusal) -> Answer:
        """In the words of OpenAI."""
        return refuse(refusal, come_back=_OVERLOADED)


class _StreamReader(frames.EventReader):
    """Everything is in the last event: the whole answer, its usage included."""

    def read(self, part: Mapping[str, object]) -> None:
        kind, response = part.get("type"), part.get("response")
        if kind in _LAST_EVENTS and isinstance(response, Mapping):
            _read(response, self.reading)
            self.reading.ended = True
        elif part.get("error"):
            self.reading.error = error_in(part)
        elif kind == "error":  # the event's own fields are the error's
            self.reading.error = error_in({"error": {"code": part.get("code"), "message": part.get("message")}})


def _read(response: Mapping[str, object], reading: Reading) -> None:
    status, details, usage = response.get("status"), response.get("incomplete_details"), response.get("usage")
    reason = details.get("reason") if isinstance(details, Mapping) else None
    reading.finish_reason = text_or_none(reason) or text_or_none(status)
    if isinstance(usage, Mapping):
        reading.usage = from_responses(usage)
        reading.usage_final = reading.usage.known and status in _ENDS
    if response.get("error"):
        reading.error = error_in(response)
    elif status == "failed":
        reading.error = ErrorInfo(code="server_error", message="the response failed, without a reason")
