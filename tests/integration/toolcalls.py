"""Answers of a model that wants a tool called, whole and streamed, as each API writes them; for the scripted model server."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from laneway.api.endpoint import WireAPI
from modelserver import Step

USAGE = (12, 7)
_TAKEN, _MADE = USAGE
JsonObject = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """What the model wants called."""

    name: str
    arguments: JsonObject

    @property
    def text(self) -> str:
        """The arguments as JSON."""
        return json.dumps(self.arguments)


WEATHER = Call("weather", {"city": "Paris"})


def step(api: WireAPI, call: Call = WEATHER, *, stream: bool) -> Step:
    """The step that answers with the call of a tool."""
    whole, streamed = _SHAPES[api]
    return Step(body=streamed(call) if stream else whole(call))


def _sse(*values: JsonObject, named: bool = False) -> list[str]:
    return [
        f"event: {value['type']}\ndata: {json.dumps(value)}\n\n" if named else f"data: {json.dumps(value)}\n\n"
        for value in values
    ]


def _chat(call: Call) -> JsonObject:
    function = {"name": call.name, "arguments": call.text}
    calls = [{"id": "call_1", "type": "function", "function": function}]
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "tool_calls"}
    return {**_CHAT, "object": "chat.completion", "choices": [choice], "usage": _CHAT_USAGE}


def _chat_stream(call: Call) -> list[str]:
    function = {"name": call.name, "arguments": call.text[:5]}
    deltas: list[JsonObject] = [
        {"role": "assistant", "tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": function}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": call.text[5:]}}]},
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


def _response(call: Call, status: str = "completed") -> JsonObject:
    details = {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
    usage = {"input_tokens": _TAKEN, "output_tokens": _MADE, "total_tokens": _TAKEN + _MADE, **details}
    done = status == "completed"
    return {
        "id": "r1",
        "object": "response",
        "created_at": 1,
        "model": "scripted",
        "status": status,
        "output": [_item(call, call.text)] if done else [],
        "usage": usage if done else None,
        "error": None,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
    }


def _item(call: Call, arguments: str) -> JsonObject:
    return {"type": "function_call", "id": "f1", "call_id": "call_1", "name": call.name, "arguments": arguments}


def _response_stream(call: Call) -> list[str]:
    place = {"item_id": "f1", "output_index": 0}
    events: list[JsonObject] = [
        {"type": "response.created", "response": _response(call, "in_progress")},
        {"type": "response.output_item.added", "output_index": 0, "item": _item(call, "")},
        {"type": "response.function_call_arguments.delta", **place, "delta": call.text[:5]},
        {"type": "response.function_call_arguments.delta", **place, "delta": call.text[5:]},
        {"type": "response.function_call_arguments.done", **place, "name": call.name, "arguments": call.text},
        {"type": "response.output_item.done", "output_index": 0, "item": _item(call, call.text)},
        {"type": "response.completed", "response": _response(call)},
    ]
    return _sse(*({**event, "sequence_number": number} for number, event in enumerate(events)), named=True)


def _message(call: Call) -> JsonObject:
    block = {"type": "tool_use", "id": "t1", "name": call.name, "input": call.arguments}
    return {**_MESSAGE, "content": [block], "stop_reason": "tool_use", "usage": _MESSAGE_USAGE}


def _message_stream(call: Call) -> list[str]:
    block = {"type": "tool_use", "id": "t1", "name": call.name, "input": {}}
    start = {**_MESSAGE, "content": [], "stop_reason": None, "usage": {"input_tokens": _TAKEN, "output_tokens": 0}}
    deltas = [{"type": "input_json_delta", "partial_json": part} for part in (call.text[:5], call.text[5:])]
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


def _ollama(call: Call | None, *, done: bool = True) -> JsonObject:
    calls = {"tool_calls": [{"function": {"name": call.name, "arguments": call.arguments}}]} if call else {}
    line = {"model": "scripted", "created_at": "2026-01-01T00:00:00Z", "done": done}
    counts = {"done_reason": "stop", "prompt_eval_count": _TAKEN, "eval_count": _MADE} if done else {}
    return {**line, "message": {"role": "assistant", "content": "", **calls}, **counts}


def _ollama_stream(call: Call) -> list[str]:
    return [json.dumps(line) + "\n" for line in (_ollama(call, done=False), _ollama(None))]


def _gemini(call: Call) -> JsonObject:
    content = {"role": "model", "parts": [{"functionCall": {"name": call.name, "args": call.arguments}}]}
    usage = {"promptTokenCount": _TAKEN, "candidatesTokenCount": _MADE, "totalTokenCount": _TAKEN + _MADE}
    candidate = {"index": 0, "content": content, "finishReason": "STOP"}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "scripted"}


_SHAPES: dict[WireAPI, tuple[Callable[[Call], JsonObject], Callable[[Call], list[str]]]] = {
    WireAPI.CHAT_COMPLETIONS: (_chat, _chat_stream),
    WireAPI.RESPONSES: (_response, _response_stream),
    WireAPI.MESSAGES: (_message, _message_stream),
    WireAPI.OLLAMA_CHAT: (_ollama, _ollama_stream),
    WireAPI.GENERATE_CONTENT: (_gemini, lambda call: _sse(_gemini(call))),
}
