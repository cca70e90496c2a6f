"""Gemini's API. The model stands in the path, where the target puts the lane's."""

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
    WholeReader,
    Wire,
    error_in,
    parse_objects,
    refusal_answer,
    text_or_none,
)
from laneway.gateway.wire.jsontext import JsonText
from laneway.gateway.wire.limits import choices, lower_inside, times, wanted_inside
from laneway.rules.usage import from_generate_content

_WORTH_READING = re.compile(rb'"(usageMetadata|finishReason|blockReason|error)"')
_OPTIONS = ("generationConfig", "generation_config")  # Google's servers read both spellings of every name
_LIMIT = ("maxOutputTokens", "max_output_tokens")
_CHOICES = ("candidateCount", "candidate_count")
_RETRY_INFO = "type.googleapis.com/google.rpc.RetryInfo"

_REFUSALS = {
    Kind.BAD_REQUEST: (400, "INVALID_ARGUMENT"),
    Kind.UNAUTHENTICATED: (401, "UNAUTHENTICATED"),
    Kind.FORBIDDEN: (403, "PERMISSION_DENIED"),
    Kind.NOT_FOUND: (404, "NOT_FOUND"),
    Kind.TOO_LARGE: (413, "INVALID_ARGUMENT"),
    # Gemini CLI reads how long to wait on a 429, not on a 503.
    Kind.BUSY: (429, "RESOURCE_EXHAUSTED"),
    Kind.THROTTLED: (429, "RESOURCE_EXHAUSTED"),
    Kind.LIMIT: (403, "PERMISSION_DENIED"),
    Kind.UNAVAILABLE: (503, "UNAVAILABLE"),
    Kind.UPSTREAM: (502, "UNAVAILABLE"),
    Kind.TIMEOUT: (504, "DEADLINE_EXCEEDED"),
}


class GenerateContent(Wire):
    """``POST /v1beta/models/{model}:generateContent`` and ``:streamGenerateContent``, in v1 too."""

    api = WireAPI.GENERATE_CONTENT

    def __init__(self, *, streams: bool) -> None:
        self._streams = streams

    def prepare(self, body: bytes, *, model: str, server: Server) -> Prepared:
        """A model named in the body is replaced; usage is always told."""
        text = JsonText(body)
        _name_model(text, model)
        for member in [*text.named("generateContentRequest"), *text.named("generate_content_request")]:
            if isinstance(member.value, dict):  # of countTokens
                inner = text.inside(member)
                _name_model(inner, model)
                text.replace(member, inner.render().decode())
        limit = times(wanted_inside(text, _OPTIONS, _LIMIT), _choices(text))
        return Prepared(body=text.render(), streamed=self._streams, output_tokens=limit)

    def clamp(self, prepared: Prepared, *, tokens: int, server: Server) -> Prepared:
        """``generationConfig.maxOutputTokens``, thoughts included, for each candidate."""
        text = JsonText(prepared.body)
        count = _choices(text)
        limit = lower_inside(text, _OPTIONS, _LIMIT, tokens=max(1, tokens // count))
        return replace(prepared, body=text.render(), output_tokens=limit * count)

    def read_whole(self, answer: Mapping[str, object]) -> Reading:
        """``usageMetadata`` and the first candidate's ``finishReason``."""
        reading = Reading()
        _read(answer, reading)
        reading.usage_final = reading.usage.known
        return reading

    def stream_reader(self, prepared: Prepared) -> Reader:
        """A reader of ``data:`` events (``alt=sse``) that changes nothing."""
        return _StreamReader(_WORTH_READING)

    def whole_reader(self) -> Reader:
        """A reader of one JSON object, or of the list of them that a stream is without ``alt=sse``."""
        return _ListReader(self)

    def refuse(self, refusal: Refusal) -> Answer:
        """``{"error": {"code", "message", "status", "details"}}``; a wait stands in the details too."""
        code, status = _REFUSALS[refusal.kind]
        error: dict[str, object] = {"code": code, "message": refusal.message, "status": status}
        if refusal.retry_after_seconds is not None:
            error["details"] = [{"@type": _RETRY_INFO, "retryDelay": f"{refusal.retry_after_seconds}s"}]
        return refusal_answer(code, {"error": error}, refusal)


class _StreamReader(frames.EventReader):
    def read(self, part: Mapping[str, object]) -> None:
        _read(part, self.reading)
        self.reading.usage_final = self.reading.ended and self.reading.usage.known


class _ListReader(WholeReader):
    def read(self, whole: bytearray) -> Reading | None:
        """The parts one after the other, as of a stream."""
        parts, reading = parse_objects(whole), Reading()
        for part in parts:
            _read(part, reading)
        reading.usage_final = reading.usage.known
        return reading if parts else None


def _choices(text: JsonText) -> int:
    options = [member.value for name in _OPTIONS for member in text.named(name)]
    return choices(each.get(name) for each in options if isinstance(each, dict) for name in _CHOICES)


def _name_model(text: JsonText, model: str) -> None:
    if text.named("model"):
        text.put("model", f"models/{model}")


def _read(part: Mapping[str, object], reading: Reading) -> None:
    """Each part may tell the usage so far; the last one holds. A prompt that is blocked has no candidates."""
    usage, candidates, feedback = part.get("usageMetadata"), part.get("candidates"), part.get("promptFeedback")
    if isinstance(usage, Mapping):
        reading.usage = from_generate_content(usage)
    first = candidates[0] if isinstance(candidates, list) and candidates else None
    reason = text_or_none(first.get("finishReason")) if isinstance(first, Mapping) else None
    if reason is None and isinstance(feedback, Mapping):
        reason = text_or_none(feedback.get("blockReason"))
    if reason is not None:
        reading.finish_reason, reading.ended = reason, True
    if part.get("error"):
        reading.error = error_in(part)
