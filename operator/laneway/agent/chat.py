"""The chat completions protocol: what is asked, and how an answer is read, whole or streamed. Bytes in, values out (S0.14 to S0.17)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from laneway.agent.envelope import Usage

_STATUSES = range(400, 600)
_MESSAGE_LIMIT = 1000


class ProtocolError(Exception):
    """An answer that is not of the protocol; the message is a sentence."""


class ServerSaid(Exception):  # noqa: N818 - what a server says is an error only where it ends an answer
    """An error object of a server."""

    def __init__(self, message: str, *, type: str | None = None, code: str | None = None) -> None:  # noqa: A002
        self.message = message
        self.type = type
        self.code = code
        super().__init__(f"{type}: {message}" if type and message else message or type or "no reason given")

    @property
    def status(self) -> int | None:
        """The HTTP status that some servers write as the code of an error inside a stream."""
        code = self.code or ""
        return int(code) if code.isascii() and code.isdigit() and int(code) in _STATUSES else None


@dataclass(frozen=True)
class Call:
    """One question. None means that the server's default holds, and the request says nothing about it (S0.14)."""

    model: str
    prompt: str
    temperature: float | None = None
    max_tokens: int | None = None
    response_format: str | None = None
    """text or json_object."""
    stream: bool = True


@dataclass(frozen=True)
class Answer:
    """What the model said (S0.16). None is what the server did not tell."""

    text: str
    message_id: str | None
    model: str | None
    finish_reason: str | None
    usage: Usage | None


def request_body(call: Call) -> dict[str, object]:
    """The JSON of a request; a stream is asked for its usage (S1.16)."""
    body: dict[str, object] = {"model": call.model, "messages": [{"role": "user", "content": call.prompt}]}
    if call.temperature is not None:
        body["temperature"] = call.temperature
    if call.max_tokens is not None:
        body["max_tokens"] = call.max_tokens
    if call.response_format is not None:
        body["response_format"] = {"type": call.response_format}
    if call.stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return body


class AnswerReader:
    """Reads one answer. ``begun`` becomes true with its first byte."""

    def __init__(self, on_delta: Callable[[str], None]) -> None:
        self.begun = False
        self._on_delta = on_delta
        self._message_id: str | None = None
        self._model: str | None = None
        self._finish_reason: str | None = None
        self._usage: Usage | None = None
        self._text: list[str] = []

    def read(self, pieces: Iterable[bytes], *, media_type: str) -> Answer:
        """The answer in a response body. Raises ServerSaid and ProtocolError."""
        if media_type.startswith("text/event-stream"):
            return self._read_stream(self._watched(pieces))
        return self._read_whole(b"".join(self._watched(pieces)))

    def _watched(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self.begun = self.begun or bool(piece)
            yield piece

    def _read_whole(self, body: bytes) -> Answer:
        answer = _object(body)
        self._note(answer)
        choice = _first_choice(answer)
        if choice is None:
            raise ProtocolError("the model server's answer has no choices")
        self._text.append(_text(_dict(choice.get("message")).get("content")) or "")
        return self._answer()

    def _read_stream(self, pieces: Iterable[bytes]) -> Answer:
        for data in _events(pieces):
            if data == b"[DONE]":
                return self._answer()
            event = _object(data)
            self._note(event)
            delta = _text(_dict((_first_choice(event) or {}).get("delta")).get("content"))
            if delta:
                self._text.append(delta)
                self._on_delta(delta)
        if self._finish_reason is None:
            raise ProtocolError("the answer stopped in the middle")
        return self._answer()

    def _note(self, value: dict[str, object]) -> None:
        """Keep what whole answers and chunks say alike. Usage replaces: running totals are never added."""
        if value.get("error"):
            raise error_of(value)
        self._message_id = self._message_id or _text(value.get("id"))
        self._model = self._model or _text(value.get("model"))
        self._finish_reason = _text((_first_choice(value) or {}).get("finish_reason")) or self._finish_reason
        self._usage = _usage(_dict(value.get("usage"))) or self._usage

    def _answer(self) -> Answer:
        return Answer(
            text="".join(self._text),
            message_id=self._message_id,
            model=self._model,
            finish_reason=self._finish_reason,
            usage=self._usage,
        )


def server_error(body: bytes) -> ServerSaid:
    """The error in the body of a refusal, in any of the shapes that servers have."""
    try:
        value = json.loads(body)
    except ValueError:
        return ServerSaid(body.decode(errors="replace").strip()[:_MESSAGE_LIMIT])
    return error_of(value if isinstance(value, dict) else {"error": str(value)})


def error_of(value: dict[str, object]) -> ServerSaid:
    """The error in an object: ``{error: {message, type, code}}``, ``{error: words}`` or ``{detail: words}``."""
    error = value.get("error") or value.get("detail") or value.get("message")
    if not isinstance(error, dict):
        return ServerSaid(str(error or "")[:_MESSAGE_LIMIT])
    code = error.get("code")
    return ServerSaid(
        str(error.get("message") or "")[:_MESSAGE_LIMIT],
        type=_text(error.get("type")),
        code=str(code) if isinstance(code, str | int) else None,
    )


def _events(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The data of server-sent events. Lines end at line feeds only: other separators may stand inside JSON strings."""
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        yield from (line.removeprefix(b"data:").strip() for line in lines if line.startswith(b"data:"))
    if rest.startswith(b"data:"):
        yield rest.removeprefix(b"data:").strip()


def _object(data: bytes) -> dict[str, object]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ProtocolError("the model server's answer is no JSON") from error
    if not isinstance(value, dict):
        raise ProtocolError("the model server's answer is no JSON object")
    return value


def _first_choice(value: dict[str, object]) -> dict[str, object] | None:
    choices = value.get("choices")
    return _dict(choices[0]) if isinstance(choices, list) and choices else None


def _usage(value: dict[str, object]) -> Usage | None:
    taken, made = value.get("prompt_tokens"), value.get("completion_tokens")
    if not isinstance(taken, int) or not isinstance(made, int):
        return None
    cached = _dict(value.get("prompt_tokens_details")).get("cached_tokens")
    return Usage(input_tokens=taken, output_tokens=made, cache_read_tokens=cached if isinstance(cached, int) else None)


def _dict(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
