"""Ollama's own chat API."""

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
from laneway.rules.usage import from_ollama

_WORTH_READING = re.compile(rb'"done"\s*:\s*true|"error"')

_REFUSALS = {
    Kind.BAD_REQUEST: 400,
    Kind.UNAUTHENTICATED: 401,
    Kind.FORBIDDEN: 403,
    Kind.NOT_FOUND: 404,
    Kind.TOO_LARGE: 413,
    Kind.BUSY: 503,
    Kind.UNAVAILABLE: 503,
    Kind.UPSTREAM: 502,
    Kind.TIMEOUT: 504,
}


class OllamaChat(Wire):
    """``POST /api/chat``: streams JSON lines unless ``"stream": false``."""

    api = WireAPI.OLLAMA_CHAT

    def prepare(self, body: bytes, *, model: str) -> Prepared:
        """Replace the model; usage is always told."""
        text = replace_model(body, model=model)
        streamed = text.value("stream", default=True) is not False
        return Prepared(body=text.render(), streamed=streamed)

    def read_whole(self, answer: Mapping[str, object]) -> Reading:
        """Counts and ``done_reason`` of the object with ``done: true``."""
        reading = Reading()
        _read(answer, reading)
        return reading

    def stream_reader(self, prepared: Prepared) -> Reader:
        """A reader that changes nothing."""
        return _StreamReader()

    def refuse(self, refusal: Refusal) -> Answer:
        """``{"error": "text"}``."""
        status = _REFUSALS[refusal.kind]
        return json_answer(status, {"error": refusal.message}, refusal.retry_after_seconds)


class _StreamReader(Reader):
    def __init__(self) -> None:
        super().__init__()
        self._lines = frames.lines()

    def feed(self, data: bytes) -> bytes:
        for line in self._lines.feed(data):
            self._look(line)
        return data

    def close(self) -> bytes:
        self._look(self._lines.close())
        return b""

    def _look(self, line: bytes) -> None:
        if not _WORTH_READING.search(line):
            return
        part = parse_object(line)
        if part is not None:
            _read(part, self.reading)


def _read(part: Mapping[str, object], reading: Reading) -> None:
    if part.get("done") is True:
        reading.usage = from_ollama(part)
        reading.usage_final = reading.usage.known
        reading.finish_reason = text_or_none(part.get("done_reason"))
        reading.ended = True
    if part.get("error"):
        reading.error = error_in(part)
