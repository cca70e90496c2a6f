"""Streams and their parts, server-sent events and JSON lines: splitting them, and reading them on the side."""

from __future__ import annotations

import json
import re
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from itertools import pairwise

from laneway.gateway.wire.base import BUFFER_LIMIT, Reader, parse_object

_EVENT_END = re.compile(rb"\n\r?\n|\r\r")
_LINE_END = re.compile(rb"\n")
_ANY_LINE_END = re.compile(rb"\r\n|\n|\r")
COMMENT = b": waiting\n\n"
"""An event that every client leaves out."""
_OVERLAP = 2  # an end may be cut in two by a chunk


class Splitter:
    """Joins chunks and gives whole parts, each with its end mark, so that all parts together are the stream."""

    def __init__(self, end: re.Pattern[bytes], usual: bytes) -> None:
        """``usual``: how most parts end; a chunk that is one such part, as servers send them, is given on without a search."""
        self._end = end
        self._usual = usual
        self._held = bytearray()  # grows in place: a part that comes byte by byte is not copied for each
        self._searched = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The parts that are complete now. A part longer than the limit is given in pieces, unread."""
        if not self._held and data.find(self._usual) == len(data) - len(self._usual) >= 0 and b"\r" not in data:
            yield data
            return
        self._held += data
        ends = [found.end() for found in self._end.finditer(self._held, self._searched)]
        if len(self._held) - (ends[-1] if ends else 0) > BUFFER_LIMIT:
            ends.append(len(self._held))
        parts = [bytes(self._held[start:end]) for start, end in pairwise([0, *ends])]
        if ends:
            del self._held[: ends[-1]]
        self._searched = max(0, len(self._held) - _OVERLAP)
        yield from parts

    def close(self) -> bytes:
        """What is left without an end mark."""
        rest, self._held, self._searched = bytes(self._held), bytearray(), 0
        return rest


def events() -> Splitter:
    """A splitter of server-sent events."""
    return Splitter(_EVENT_END, b"\n\n")


def lines() -> Splitter:
    """A splitter of JSON lines."""
    return Splitter(_LINE_END, b"\n")


def data_of(event: bytes) -> bytes:
    """The data of a server-sent event, its ``data:`` lines joined."""
    parts = [line[5:].removeprefix(b" ") for line in _ANY_LINE_END.split(event) if line.startswith(b"data:")]
    return b"\n".join(parts)


def event(value: Mapping[str, object], name: str = "") -> bytes:
    """A server-sent event with a JSON object for its data."""
    return (f"event: {name}\n" if name else "").encode() + f"data: {json.dumps(value)}\n\n".encode()


class PartReader(Reader):
    """Gives everything on as it comes, and reads the parts that are worth it when they are complete."""

    def __init__(self, worth_reading: re.Pattern[bytes], parts: Splitter) -> None:
        """``worth_reading`` matches some of the parts; all others are not parsed, which is most of a stream."""
        super().__init__()
        self._worth_reading = worth_reading
        self._parts = parts

    def feed(self, data: bytes) -> bytes:
        """Everything, unchanged."""
        for part in self._parts.feed(data):
            self._look(part)
        return data

    def close(self) -> bytes:
        """Read what came last without an end mark."""
        self._look(self._parts.close())
        return b""

    @abstractmethod
    def read(self, part: Mapping[str, object]) -> None:
        """Take what a part tells into ``reading``."""

    def _look(self, part: bytes) -> None:
        if not self._worth_reading.search(part):
            return
        found = parse_object(self.unpack(part))
        if found is not None:
            self.read(found)

    def unpack(self, part: bytes) -> bytes:
        """The JSON of a part."""
        return part


class EventReader(PartReader):
    """A reader of server-sent events."""

    def __init__(self, worth_reading: re.Pattern[bytes]) -> None:
        super().__init__(worth_reading, events())

    def unpack(self, part: bytes) -> bytes:
        """Its ``data:`` lines."""
        return data_of(part)


class LineReader(PartReader):
    """A reader of JSON lines."""

    def __init__(self, worth_reading: re.Pattern[bytes]) -> None:
        super().__init__(worth_reading, lines())
