"""What model servers answer, by API: the bytes of whole answers, streams, errors and lists, as vLLM, Ollama and hosted APIs send them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from modelserver import gemini, responses

CHAT, MESSAGES, OLLAMA = "chat", "messages", "ollama"
RESPONSES, EMBEDDINGS, GENERATE = "responses", "embeddings", "generate"
GEMINI, GEMINI_LIST = "gemini", "gemini-list"
VECTOR = [0.25, -0.5, 0.125]
PIECES = ("The", " capital", " of", " France", " is", " Paris", ".")
TEXT = "".join(PIECES)
INPUT_TOKENS, OUTPUT_TOKENS = 12, 7
_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}


@dataclass(frozen=True)
class Step:
    """One answer of the script. Without a body it is a good answer (or, from status 400 on, an error) in the shape of the API that was called."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    """Sent instead of the usual body: an object as JSON, a string as it is, a list of strings as the pieces of a stream."""
    pieces: tuple[str, ...] = PIECES
    """The words of the answer, one piece of a stream each."""
    input_tokens: int | None = INPUT_TOKENS
    output_tokens: int | None = OUTPUT_TOKENS
    """None: the answer says nothing about usage."""
    finish_reason: str = "stop"
    delay_seconds: float = 0.0
    """Before the headers."""
    chunk_delay_seconds: float = 0.0
    """Before each chunk of a stream."""
    cut_after_chunks: int | None = None
    """The connection is broken after so many chunks of a stream; 0: before the first one, whole answers too."""
    repeat: int | None = 1
    """How many calls get this answer; None: all that follow."""
    model: str | None = None
    """Only calls for this model take the step; others pass it by. None: calls for any model."""

    @classmethod
    def of(cls, value: dict[str, Any]) -> Step:
        """A step from JSON. Raises ValueError on a name that is not a field."""
        unknown = set(value) - {f.name for f in fields(cls)}
        if unknown:
            raise ValueError(f"a step has no {', '.join(sorted(unknown))}")
        return cls(**{**value, **({"pieces": tuple(value["pieces"])} if "pieces" in value else {})})

    @property
    def usage_known(self) -> bool:
        return self.input_tokens is not None and self.output_tokens is not None


def error(api: str, status: int, message: str) -> dict[str, Any]:
    """The error body of an API."""
    kind = _ERROR_TYPES.get(status, "api_error")
    if api == MESSAGES:
        return {"type": "error", "error": {"type": kind, "message": message}}
    if api in (OLLAMA, GENERATE):
        return {"error": message}
    if api in (GEMINI, GEMINI_LIST):
        return gemini.error(status, message)
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}


def whole(api: str, step: Step, *, model: str, number: int) -> dict[str, Any]:
    """A whole answer."""
    text = "".join(step.pieces)
    if api == RESPONSES:
        return responses.whole(step, model=model, number=number)
    if api in (GEMINI, GEMINI_LIST):
        return gemini.whole(step, model=model, number=number)
    if api == EMBEDDINGS:
        data = [{"object": "embedding", "index": 0, "embedding": VECTOR}]
        return {"object": "list", "model": model, "data": data, **_embedding_usage(step)}
    if api == MESSAGES:
        return {
            **_message(model, number),
            "content": [{"type": "text", "text": text}],
            "stop_reason": _anthropic_reason(step.finish_reason),
            **({"usage": _anthropic_usage(step)} if step.usage_known else {}),
        }
    if api in (OLLAMA, GENERATE):
        return _ollama_line(step, api, model=model, text=text, done=True)
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text},
        "logprobs": None,
        "finish_reason": step.finish_reason,
    }
    head = {"id": f"chatcmpl-{number}", "object": "chat.completion", "created": 1, "model": model}
    return {**head, "choices": [choice], **({"usage": _openai_usage(step)} if step.usage_known else {})}


def chunks(api: str, step: Step, *, model: str, number: int, include_usage: bool) -> list[str]:
    """A streamed answer, as the chunks that are written one by one."""
    if api == MESSAGES:
        return _anthropic_events(step, model=model, number=number)
    if api == RESPONSES:
        return responses.chunks(step, model=model, number=number)
    if api in (GEMINI, GEMINI_LIST):
        write = gemini.chunks if api == GEMINI else gemini.list_chunks
        return write(step, model=model, number=number)
    if api in (OLLAMA, GENERATE):
        lines = [_ollama_line(step, api, model=model, text=piece, done=False) for piece in step.pieces]
        return [json.dumps(line) + "\n" for line in [*lines, _ollama_line(step, api, model=model, text="", done=True)]]
    return _openai_chunks(step, model=model, number=number, include_usage=include_usage)


def model_list(models: Mapping[str, int | None]) -> dict[str, Any]:
    """GET /v1/models; a context length is given as vLLM gives it."""
    data = [
        {"id": name, "object": "model", "created": 1, "owned_by": "test", **({"max_model_len": size} if size else {})}
        for name, size in models.items()
    ]
    return {"object": "list", "data": data}


def ollama_tags(models: Mapping[str, int | None]) -> dict[str, Any]:
    """GET /api/tags."""
    return {"models": [{"name": name, "model": name, "details": {"family": "llama"}} for name in models]}


def ollama_show(size: int | None) -> dict[str, Any]:
    """POST /api/show."""
    info = {"general.architecture": "llama", **({"llama.context_length": size} if size else {})}
    return {"details": {"family": "llama"}, "model_info": info, "capabilities": ["completion"]}


def _openai_usage(step: Step) -> dict[str, int]:
    taken, made = step.input_tokens or 0, step.output_tokens or 0
    return {"prompt_tokens": taken, "completion_tokens": made, "total_tokens": taken + made}


def _embedding_usage(step: Step) -> dict[str, Any]:
    taken = step.input_tokens
    return {"usage": {"prompt_tokens": taken, "total_tokens": taken}} if taken is not None else {}


def _openai_chunks(step: Step, *, model: str, number: int, include_usage: bool) -> list[str]:
    head = {"id": f"chatcmpl-{number}", "object": "chat.completion.chunk", "created": 1, "model": model}
    no_usage = {"usage": None} if include_usage else {}

    def chunk(delta: dict[str, str], reason: str | None) -> dict[str, Any]:
        return {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}], **no_usage}

    objects = [chunk({"role": "assistant", "content": ""}, None)]
    objects += [chunk({"content": piece}, None) for piece in step.pieces]
    objects += [chunk({}, step.finish_reason)]
    if include_usage and step.usage_known:
        objects.append({**head, "choices": [], "usage": _openai_usage(step)})
    return [f"data: {json.dumps(value)}\n\n" for value in objects] + ["data: [DONE]\n\n"]


def _message(model: str, number: int) -> dict[str, Any]:
    return {"id": f"msg_{number}", "type": "message", "role": "assistant", "model": model, "stop_sequence": None}


def _anthropic_usage(step: Step) -> dict[str, int]:
    return {"input_tokens": step.input_tokens or 0, "output_tokens": step.output_tokens or 0}


def _anthropic_reason(reason: str) -> str:
    return {"stop": "end_turn", "length": "max_tokens"}.get(reason, reason)


def _anthropic_events(step: Step, *, model: str, number: int) -> list[str]:
    start: dict[str, Any] = {**_message(model, number), "content": [], "stop_reason": None}
    end: dict[str, Any] = {"type": "message_delta", "delta": {"stop_reason": _anthropic_reason(step.finish_reason)}}
    if step.usage_known:
        start["usage"] = {**_anthropic_usage(step), "output_tokens": 0}
        end["usage"] = _anthropic_usage(step)
    deltas = [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}}
        for piece in step.pieces
    ]
    events = [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *deltas,
        {"type": "content_block_stop", "index": 0},
        end,
        {"type": "message_stop"},
    ]
    return [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events]


def _ollama_line(step: Step, api: str, *, model: str, text: str, done: bool) -> dict[str, Any]:
    line: dict[str, Any] = {
        "model": model,
        "created_at": "2026-01-01T00:00:00Z",
        **({"response": text} if api == GENERATE else {"message": {"role": "assistant", "content": text}}),
        "done": done,
    }
    if done:
        line |= {"done_reason": step.finish_reason, "total_duration": 1_000_000}
        line |= {"prompt_eval_count": step.input_tokens, "eval_count": step.output_tokens} if step.usage_known else {}
    return line
