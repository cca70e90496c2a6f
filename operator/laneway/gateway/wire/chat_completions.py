"""OpenAI chat completions (S0 0.11, 0.16, 0.17; S1 1.16)."""

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
    parse_object,
    replace_model,
    text_or_none,
)
from laneway.gateway.wire.jsontext import JsonText, NotAnObject
from laneway.gateway.wire.limits import Names, choices, lower, times, wanted
from laneway.gateway.wire.openairefusals import refuse
from laneway.rules.usage import from_chat_completions

_WORTH_READING = re.compile(rb'"usage"|"error"|"finish_reason"\s*:\s*"|\[DONE\]')


class ChatCompletions(Wire):
    """``POST /v1/chat/completions``."""

    api = WireAPI.CHAT_COMPLETIONS
    keep_alive = frames.COMMENT

    def prepare(self, body: bytes, *, model: str, server: Server) -> Prepared:
        """Replace the model; ask for usage in a stream when the client did not."""
        text = replace_model(body, model=model)
        limit = times(wanted(text, _limits(server)), _choices(text))
        if not asks_for_stream(text):
            return Prepared(body=text.render(), streamed=False, output_tokens=limit)
        options = text.value("stream_options")
        options = dict(options) if isinstance(options, dict) else {}
        asked = options.get("include_usage") is True
        if not asked:
            text.put("stream_options", {**options, "include_usage": True})
        return Prepared(body=text.render(), streamed=True, output_tokens=limit, asked_usage=not asked)

    def clamp(self, prepared: Prepared, *, tokens: int, server: Server) -> Prepared:
        """``max_tokens`` or ``max_completion_tokens``, for each of ``n`` choices."""
        text = JsonText(prepared.body)
        count = _choices(text)
        limit = lower(text, _limits(server), tokens=max(1, tokens // count))
        return replace(prepared, body=text.render(), output_tokens=limit * count)

    def read_whole(self, answer: Mapping[str, object]) -> Reading:
        """``usage`` and the first choice's ``finish_reason``."""
        reading = Reading()
        _read(answer, reading)
        reading.usage_final = reading.usage.known
        return reading

    def stream_reader(self, prepared: Prepared) -> Reader:
        """A reader of ``data:`` events, without the usage that only the gateway asked for."""
        return _StreamReader(drop_usage=prepared.asked_usage)

    def in_stream(self, body: bytes) -> bytes:
        """The error, then the end mark, as vLLM does it."""
        return frames.event(error_object(body)) + b"data: [DONE]\n\n"

    def refuse(self, refusal: Refusal) -> Answer:
        """In the words of OpenAI."""
        return refuse(refusal)


def _limits(server: Server) -> Names:
    """OpenAI refuses the older name for its newer models; Ollama does not know the newer one."""
    if server is Server.OLLAMA:
        return ("max_tokens",)
    names = ("max_tokens", "max_completion_tokens")
    return names[::-1] if server is Server.OPENAI else names


def _choices(text: JsonText) -> int:
    return choices(member.value for member in text.named("n"))


class _StreamReader(Reader):
    """Holds back an event until it is complete only where one may have to be left out; a client cannot act on half an event anyway."""

    def __init__(self, *, drop_usage: bool) -> None:
        super().__init__()
        self._drop_usage = drop_usage
        self._events = frames.events()

    def feed(self, data: bytes) -> bytes:
        kept = [self._look(event) for event in self._events.feed(data)]
        return b"".join(kept) if self._drop_usage else data

    def close(self) -> bytes:
        rest = self._look(self._events.close())
        return rest if self._drop_usage else b""

    def _look(self, event: bytes) -> bytes:
        """Read an event; give it as the client shall see it."""
        if not _WORTH_READING.search(event):
            return event
        data = frames.data_of(event)
        if data.strip() == b"[DONE]":
            self.reading.ended = True
            return event
        chunk = parse_object(data)
        if chunk is None:
            return event
        _read(chunk, self.reading)
        if not self._drop_usage or "usage" not in chunk:
            return event
        if chunk.get("choices") == [] and isinstance(chunk["usage"], Mapping):
            return b""
        return event if chunk["usage"] is not None else _without_null_usage(event, data)


def _read(chunk: Mapping[str, object], reading: Reading) -> None:
    usage, choices = chunk.get("usage"), chunk.get("choices")
    if isinstance(usage, Mapping):
        reading.usage = from_chat_completions(usage)
        reading.usage_final = reading.usage.known and (not choices or reading.finish_reason is not None)
    if isinstance(choices, list) and choices and isinstance(choices[0], Mapping):
        finish = text_or_none(choices[0].get("finish_reason"))
        if finish is not None:
            reading.finish_reason, reading.ended = finish, True
            reading.usage_final = isinstance(usage, Mapping) and reading.usage.known
    if chunk.get("error"):
        reading.error = error_in(chunk)


def _without_null_usage(event: bytes, data: bytes) -> bytes:
    """The event less ``"usage": null``; unchanged if its data stands on several lines."""
    if event.count(data) != 1:
        return event
    try:
        text = JsonText(data)
    except NotAnObject:
        return event
    for member in text.named("usage"):
        text.remove(member)
    return event.replace(data, text.render())
