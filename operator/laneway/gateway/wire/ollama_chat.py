"""Ollama's own API: chat and generate, which differ in nothing that is read here."""

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
    error_in,
    refusal_answer,
    replace_model,
    text_or_none,
)
from laneway.gateway.wire.jsontext import JsonText
from laneway.gateway.wire.limits import lower_inside, wanted_inside
from laneway.rules.usage import from_ollama

_OPTIONS, _LIMIT = ("options",), ("num_predict",)
_WORTH_READING = re.compile(rb'"done"\s*:\s*true|"error"')

_REFUSALS = {
    Kind.BAD_REQUEST: 400,
    Kind.UNAUTHENTICATED: 401,
    Kind.FORBIDDEN: 403,
    Kind.NOT_FOUND: 404,
    Kind.TOO_LARGE: 413,
    Kind.BUSY: 503,
    Kind.THROTTLED: 503,
    Kind.LIMIT: 403,
    Kind.UNAVAILABLE: 503,
    Kind.UPSTREAM: 502,
    Kind.TIMEOUT: 504,
}


class OllamaChat(Wire):
    """``POST /api/chat`` and ``/api/generate``: they stream JSON lines unless ``"stream": false``."""

    api = WireAPI.OLLAMA_CHAT

    def prepare(self, body: bytes, *, model: str, server: Server) -> Prepared:
        """Replace the model; usage is always told."""
        text = replace_model(body, model=model)
        streamed = text.value("stream", default=True) is not False
        return Prepared(body=text.render(), streamed=streamed, output_tokens=wanted_inside(text, _OPTIONS, _LIMIT))

    def clamp(self, prepared: Prepared, *, tokens: int, server: Server) -> Prepared:
        """``options.num_predict``, thinking included; -1 and 0 are no limit."""
        text = JsonText(prepared.body)
        limit = lower_inside(text, _OPTIONS, _LIMIT, tokens=tokens)
        return replace(prepared, body=text.render(), output_tokens=limit)

    def read_whole(self, answer: Mapping[str, object]) -> Reading:
        """Counts and ``done_reason`` of the object with ``done: true``."""
        reading = Reading()
        _read(answer, reading)
        return reading

    def stream_reader(self, prepared: Prepared) -> Reader:
        """A reader that changes nothing."""
        return _StreamReader(_WORTH_READING)

    def refuse(self, refusal: Refusal) -> Answer:
        """``{"error": "text"}``."""
        status = _REFUSALS[refusal.kind]
        return refusal_answer(status, {"error": refusal.message}, refusal)


class _StreamReader(frames.LineReader):
    def read(self, part: Mapping[str, object]) -> None:
        _read(part, self.reading)


def _read(part: Mapping[str, object], reading: Reading) -> None:
    if part.get("done") is True:
        reading.usage = from_ollama(part)
        reading.usage_final = reading.usage.known
        reading.finish_reason = text_or_none(part.get("done_reason"))
        reading.ended = True
    if part.get("error"):
        reading.error = error_in(part)
