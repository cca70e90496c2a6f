"""One wire API: how its calls are changed on the way out, read on the way back, and refused. Each module of this package is one.

request body -> prepare() -> upstream -> whole_reader() or stream_reader() -> client
                                          (reads usage on the side)
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import ClassVar

from laneway.api.endpoint import Server, WireAPI
from laneway.gateway.wire.jsontext import JsonText, is_dense
from laneway.rules.classify import ErrorInfo
from laneway.rules.usage import Usage

_LONGEST_WORDS = 8192
"""Characters of an error's words that are judged; a server may put a megabyte there."""
_LONGEST_WAIT_SECONDS = 60
"""Of a pause that a server asked for, so much is told: by more, OpenAI's client gives up and Anthropic's sleeps until it is over (wire facts 9.4)."""
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
BUFFER_LIMIT = 32 * 1024 * 1024
"""Bytes of a whole answer, or of one event, that are kept to read usage from. A longer one is relayed and not metered."""


class Kind(StrEnum):
    """Why the gateway itself refuses; each wire API has its own status and words for it (wire facts 9.7)."""

    BAD_REQUEST = "BadRequest"
    UNAUTHENTICATED = "Unauthenticated"
    FORBIDDEN = "Forbidden"
    NOT_FOUND = "NotFound"
    TOO_LARGE = "TooLarge"
    BUSY = "Busy"  # try again soon
    THROTTLED = "Throttled"  # the model server asked for a pause
    LIMIT = "Limit"  # a limit of the run or of the lane is reached, or the lane is paused: asking again is of no use
    UNAVAILABLE = "Unavailable"  # the gateway cannot tell, or cannot serve, right now
    UPSTREAM = "Upstream"  # the model server did not answer
    TIMEOUT = "Timeout"  # the model server answered too late


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the gateway answers instead of a model."""

    kind: Kind
    message: str
    retry_after_seconds: int | None = None
    final: bool = False
    """The lane's rule of retries has decided: the client shall not try again, or its tries multiply those of the gateway."""

    @property
    def is_final(self) -> bool:
        """Whether the client is told not to try again; a limit is never passed by asking again."""
        return self.final or self.kind is Kind.LIMIT

    @property
    def capped(self) -> Refusal:
        """With a pause that clients sit out."""
        if self.kind is not Kind.THROTTLED or self.retry_after_seconds is None:
            return self
        return replace(self, retry_after_seconds=min(self.retry_after_seconds, _LONGEST_WAIT_SECONDS))


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole HTTP answer."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request body as it goes upstream."""

    body: bytes
    streamed: bool
    """The client asked for a stream."""
    output_tokens: int | None = None
    """The most that the answer can have, all its choices together; None: the request sets no limit that the server knows."""
    asked_usage: bool = False
    """Only the gateway asked for usage in the stream, so its traces are left out of what the client gets."""


@dataclass(slots=True)
class Reading:
    """What was read from an answer so far."""

    usage: Usage = field(default_factory=Usage)
    usage_final: bool = False
    """The usage will not grow any more."""
    finish_reason: str | None = None
    error: ErrorInfo | None = None
    ended: bool = False
    """The answer said that it is complete."""


class Reader(ABC):
    """Takes an answer's bytes as they come, gives what the client shall get, and reads on the side."""

    def __init__(self) -> None:
        self.reading = Reading()

    @abstractmethod
    def feed(self, data: bytes) -> bytes:
        """Bytes for the client. Never raises: an answer that cannot be read is relayed all the same."""

    def close(self) -> bytes:
        """The answer has ended: bytes that were held back."""
        return b""


class Wire(ABC):
    """One wire API."""

    api: ClassVar[WireAPI]
    turns: ClassVar[bool] = True
    """Whether an answered call is a turn, and a failed one may be tried again (design section 4, S1 1.10)."""
    keep_alive: ClassVar[bytes] = b""
    """What may stand in a stream before its first event; empty: this API has nothing for it (wire facts 9.7)."""

    @abstractmethod
    def prepare(self, body: bytes, *, model: str, server: Server) -> Prepared:
        """The body with the model's name replaced, for that kind of server. Raises jsontext.NotAnObject."""

    @abstractmethod
    def clamp(self, prepared: Prepared, *, tokens: int, server: Server) -> Prepared:
        """The request with its answer bounded to ``tokens``, at least 1; what the client asked for is lowered, never raised.

        Every choice that is asked for gets one token at least, so ``output_tokens`` may still be more.
        """

    @abstractmethod
    def read_whole(self, answer: Mapping[str, object]) -> Reading:
        """What a whole answer (a parsed JSON object) tells."""

    @abstractmethod
    def stream_reader(self, prepared: Prepared) -> Reader:
        """A reader of a streamed answer."""

    @abstractmethod
    def refuse(self, refusal: Refusal) -> Answer:
        """The refusal in the words of this API, so that official clients raise their typed error."""

    def in_stream(self, body: bytes) -> bytes:
        """The body of an error answer as the last part of a stream that was kept alive."""
        return body

    def whole_reader(self) -> Reader:
        """A reader of an answer that is one JSON object."""
        return WholeReader(self)


class WholeReader(Reader):
    """Keeps a copy of a whole answer until its end."""

    def __init__(self, wire: Wire) -> None:
        super().__init__()
        self._wire = wire
        self._kept = bytearray()
        self._over = False

    def feed(self, data: bytes) -> bytes:
        """Everything, unchanged."""
        if not self._over and len(self._kept) + len(data) <= BUFFER_LIMIT:
            self._kept += data
        else:
            self._over = True
        return data

    def close(self) -> bytes:
        """Read the copy."""
        reading = self.read(self._kept) if self._kept and not self._over else None
        if reading is not None:
            self.reading = reading
            self.reading.ended = True
        self._kept.clear()
        return b""

    def read(self, whole: bytearray) -> Reading | None:
        """What the answer tells; None if it cannot be read."""
        answer = parse_object(whole)
        return None if answer is None else self._wire.read_whole(answer)


def replace_model(body: bytes, *, model: str) -> JsonText:
    """The body as text that can be changed, with the model's name replaced wherever a server could read it."""
    text = JsonText(body)
    text.put("model", model)
    return text


def asks_for_stream(text: JsonText) -> bool:
    """Whether a request wants a stream where that is not the default: ``stream`` is there, and neither false nor null."""
    return any(member.value not in (False, None) for member in text.named("stream"))


def parse_object(raw: bytes | bytearray) -> dict[str, object] | None:
    """A JSON object; None for anything else."""
    value = _parse(raw)
    return value if isinstance(value, dict) else None


def parse_objects(raw: bytes | bytearray) -> list[dict[str, object]]:
    """The JSON objects of a list, or the one that stands alone; nothing for anything else."""
    value = _parse(raw)
    return [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, dict)]


def read_error(raw: bytes) -> ErrorInfo:
    """What an error body says, in whatever dialect it was written; Gemini's streams put it into a list."""
    found = parse_objects(raw)
    return error_in(found[0]) if found else ErrorInfo(message=raw[:500].decode(errors="replace").strip())


def error_in(answer: Mapping[str, object]) -> ErrorInfo:
    """The error of an object like ``{"error": {...}}``, ``{"error": "text"}`` or ``{"detail": "text"}``."""
    error = answer.get("error", answer.get("detail", answer.get("message", "")))
    if not isinstance(error, Mapping):
        return ErrorInfo(message=_text(error), body=answer)
    return ErrorInfo(
        type=_text(error.get("type") or error.get("status")),
        code=_text(error.get("code")),
        message=_text(error.get("message")),
        body=answer,
    )


def error_object(body: bytes) -> dict[str, object]:
    """The body of an error answer as an object, whatever a server wrote."""
    found = parse_object(body)
    return found if found and "error" in found else {"error": {"message": read_error(body).message}}


def text_or_none(value: object) -> str | None:
    """A short word that a server said; None for anything else."""
    return value[:64] if isinstance(value, str) and value else None


def json_answer(status: int, value: object, headers: Mapping[str, str] | None = None) -> Answer:
    """A JSON answer."""
    headers = {"Content-Type": "application/json", **(headers or {})}
    return Answer(status=status, body=json.dumps(value).encode(), headers=headers)


def refusal_answer(status: int, value: object, refusal: Refusal) -> Answer:
    """A refusal as JSON, with what it says of another try. The clients of OpenAI and Anthropic obey ``x-should-retry``."""
    headers = {}
    if refusal.retry_after_seconds is not None:
        headers["Retry-After"] = str(refusal.retry_after_seconds)
    if refusal.is_final:
        headers["x-should-retry"] = "false"
    return json_answer(status, value, headers)


def _parse(raw: bytes | bytearray) -> object:
    if is_dense(raw):
        return None
    try:
        value = json.loads(raw)
        return _without_surrogates(value) if _SURROGATE.search(raw) else value
    except (ValueError, RecursionError):
        return None


def _without_surrogates(value: object) -> object:
    """The value with ``?`` for lone surrogates: JSON can spell them, and no file, database or other program takes them."""
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case list():
            return [_without_surrogates(each) for each in value]
        case dict():
            return {_without_surrogates(key): _without_surrogates(each) for key, each in value.items()}
        case _:
            return value


def _text(value: object) -> str:
    if value is None or isinstance(value, bool):
        return ""
    return value[:_LONGEST_WORDS] if isinstance(value, str) else str(value)[:500]
