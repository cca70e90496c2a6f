"""Splitting of streams into their parts: server-sent events and JSON lines, in chunks of any size."""

from __future__ import annotations

import re
from collections.abc import Iterator

from laneway.gateway.wire.base import BUFFER_LIMIT

_EVENT_END = re.compile(rb"\n\r?\n|\r\r")
_LINE_END = re.compile(rb"\n")
_ANY_LINE_END = re.compile(rb"\r\n|\n|\r")
_OVERLAP = 2  # an end may be cut in two by a chunk


class Splitter:
    """Joins chunks and gives whole parts, each with its end mark, so that all parts together are the stream."""

    def __init__(self, end: re.Pattern[bytes]) -> None:
        self._end = end
        self._held = b""
        self._searched = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The parts that are complete now. A part longer than the limit is given in pieces, unread."""
        self._held += data
        start = 0
        for found in self._end.finditer(self._held, self._searched):
            yield self._held[start : found.end()]
            start = found.end()
        if len(self._held) - start > BUFFER_LIMIT:
            yield self._held[start:]
            start = len(self._held)
        self._held = self._held[start:]
        self._searched = max(0, len(self._held) - _OVERLAP)

    def close(self) -> bytes:
        """What is left without an end mark."""
        rest, self._held, self._searched = self._held, b"", 0
        return rest


def events() -> Splitter:
    """A splitter of server-sent events."""
    return Splitter(_EVENT_END)


def lines() -> Splitter:
    """A splitter of JSON lines."""
    return Splitter(_LINE_END)


def data_of(event: bytes) -> bytes:
    """The data of a server-sent event, its ``data:`` lines joined."""
    parts = [line[5:].removeprefix(b" ") for line in _ANY_LINE_END.split(event) if line.startswith(b"data:")]
    return b"\n".join(parts)
