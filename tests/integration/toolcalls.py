"""Answers of a model that wants a tool called, whole and streamed, as each API writes them; for the scripted model server."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from laneway.api.endpoint import WireAPI
from modelserver import Step

NAME, ARGUMENTS = "weather", {"city": "Paris"}
TEXT = json.dumps(ARGUMENTS)
USAGE = (12, 7)
_TAKEN, _MADE = USAGE
JsonObject = dict[str, Any]


def step(api: WireAPI, *, stream: bool) -> Step:
    """The step that answers with the call of a tool."""
    whole, streamed = _SHAPES[api]
    return Step(body=streamed() if stream else whole())


def _sse(*values: JsonObject, named: bool = False) -> list[str]:
    return [
        f"event: {value['type']}\ndata: {json.dumps(value)}\n\n" if named else f"data: {json.dumps(value)}\n\n"
        for value in values
    ]


def _chat() -> JsonObject:
    call = {"id": "call_1", "type": "function", "function": {"name": NAME, "arguments": TEXT}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "tool_calls"}
    return {**_CHAT, "object": "chat.completion", "choices": [choice], "usage": _CHAT_USAGE}


def _chat_stream() -> list[str]:
    function = {"name": NAME, "arguments": TEXT[:5]}
    deltas: list[JsonObject] = [
        {"role": "assistant", "tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": function}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": TEXT[5:]}}]},
        {},
    ]
    last = len(deltas) - 1
    head = {**_CHAT, "object": "chat.completion.chunk"}
    chunks = [
        {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": "tool_calls" if n == last else None}]}
        for n, delta in enumerate(deltas)
    ]
    return [*_sse(*chunks, {**head, "choices": [], "usage": _CHAT_USAGE}), "data: [DONE]\n\n"]


_CHAT = {"id": "c1", "created": 1, "model": "scripted"}
_CHAT_USAGE = {"prompt_tokens": _TAKEN, "completion_tokens": _MADE, "total_tokens": _TAKEN + _MADE}


def _response(status: str = "completed") -> JsonObject:
    details = {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
    usage = {"input_tokens": _TAKEN, "output_tokens": _MADE, "total_tokens": _TAKEN + _MADE, **details}
    done = status == "completed"
    return {
        "id": "r1",
        "object": "response",
        "created_at": 1,
        "model": "scripted",
        "status": status,
        "output": [_item(TEXT)] if done else [],
        "usage": usage if done else None,
        "error": None,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
    }


def _item(arguments: str) -> JsonObject:
    return {"type": "function_call", "id": "f1", "call_id": "call_1", "name": NAME, "arguments": arguments}


def _response_stream() -> list[str]:
    place = {"item_id": "f1", "output_index": 0}
    events: list[JsonObject] = [
        {"type": "response.created", "response": _response("in_progress")},
        {"type": "response.output_item.added", "output_index": 0, "item": _item("")},
        {"type": "response.function_call_arguments.delta", **place, "delta": TEXT[:5]},
        {"type": "response.function_call_arguments.delta", **place, "delta": TEXT[5:]},
        {"type": "response.function_call_arguments.done", **place, "name": NAME, "arguments": TEXT},
        {"type": "response.output_item.done", "output_index": 0, "item": _item(TEXT)},
        {"type": "response.completed", "response": _response()},
    ]
    return _sse(*({**event, "sequence_number": number} for number, event in enumerate(events)), named=True)


def _message() -> JsonObject:
    block = {"type": "tool_use", "id": "t1", "name": NAME, "input": ARGUMENTS}
    return {**_MESSAGE, "content": [block], "stop_reason": "tool_use", "usage": _MESSAGE_USAGE}


def _message_stream() -> list[str]:
    block = {"type": "tool_use", "id": "t1", "name": NAME, "input": {}}
    start = {**_MESSAGE, "content": [], "stop_reason": None, "usage": {"input_tokens": _TAKEN, "output_tokens": 0}}
    deltas = [{"type": "input_json_delta", "partial_json": part} for part in (TEXT[:5], TEXT[5:])]
    return _sse(
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": block},
        *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": _MESSAGE_USAGE},
        {"type": "message_stop"},
        named=True,
    )


_MESSAGE = {"id": "m1", "type": "message", "role": "assistant", "model": "scripted", "stop_sequence": None}
_MESSAGE_USAGE = {"input_tokens": _TAKEN, "output_tokens": _MADE}


def _ollama(*, call: bool = True, done: bool = True) -> JsonObject:
    calls = {"tool_calls": [{"function": {"name": NAME, "arguments": ARGUMENTS}}]} if call else {}
    line = {"model": "scripted", "created_at": "2026-01-01T00:00:00Z", "done": done}
    counts = {"done_reason": "stop", "prompt_eval_count": _TAKEN, "eval_count": _MADE} if done else {}
    return {**line, "message": {"role": "assistant", "content": "", **calls}, **counts}


def _ollama_stream() -> list[str]:
    return [json.dumps(line) + "\n" for line in (_ollama(done=False), _ollama(call=False))]


def _gemini() -> JsonObject:
    content = {"role": "model", "parts": [{"functionCall": {"name": NAME, "args": ARGUMENTS}}]}
    usage = {"promptTokenCount": _TAKEN, "candidatesTokenCount": _MADE, "totalTokenCount": _TAKEN + _MADE}
    candidate = {"index": 0, "content": content, "finishReason": "STOP"}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "scripted"}


_SHAPES: dict[WireAPI, tuple[Callable[[], JsonObject], Callable[[], list[str]]]] = {
    WireAPI.CHAT_COMPLETIONS: (_chat, _chat_stream),
    WireAPI.RESPONSES: (_response, _response_stream),
    WireAPI.MESSAGES: (_message, _message_stream),
    WireAPI.OLLAMA_CHAT: (_ollama, _ollama_stream),
    WireAPI.GENERATE_CONTENT: (_gemini, lambda: _sse(_gemini())),
}
