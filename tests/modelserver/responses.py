"""What OpenAI-compatible servers answer on ``/v1/responses``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelserver.shapes import Step

_STATUS = {"length": ("incomplete", {"reason": "max_output_tokens"})}


def whole(step: Step, *, model: str, number: int) -> dict[str, Any]:
    """A whole answer."""
    status, details = _STATUS.get(step.finish_reason, ("completed", None))
    answer = _head(model, number) | {
        "status": status,
        "incomplete_details": details,
        "output": [_message(step, number)],
    }
    return answer | ({"usage": _usage(step)} if step.usage_known else {})


def chunks(step: Step, *, model: str, number: int) -> list[str]:
    """A streamed answer; its last event is the whole one."""
    begun = _head(model, number) | {"status": "in_progress", "output": [], "usage": None}
    end = whole(step, model=model, number=number)
    place = {"item_id": f"msg_{number}", "output_index": 0, "content_index": 0}
    item = {**_message(step, number), "status": "in_progress", "content": []}
    part = {"type": "output_text", "text": "", "annotations": []}
    values: list[dict[str, Any]] = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.content_part.added", **place, "part": part},
        *({"type": "response.output_text.delta", **place, "delta": piece, "logprobs": []} for piece in step.pieces),
        {"type": "response.output_text.done", **place, "text": "".join(step.pieces), "logprobs": []},
        {"type": "response.output_item.done", "output_index": 0, "item": end["output"][0]},
        {"type": f"response.{end['status']}", "response": end},
    ]
    return [
        f"event: {value['type']}\ndata: {json.dumps({**value, 'sequence_number': place})}\n\n"
        for place, value in enumerate(values)
    ]


def _head(model: str, number: int) -> dict[str, Any]:
    fixed = {"parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "temperature": 1.0, "top_p": 1.0}
    head = {"id": f"resp_{number}", "object": "response", "created_at": 1, "model": model, "error": None}
    return {**head, "incomplete_details": None, "instructions": None, "metadata": {}, **fixed}


def _message(step: Step, number: int) -> dict[str, Any]:
    content = [{"type": "output_text", "text": "".join(step.pieces), "annotations": []}]
    return {"id": f"msg_{number}", "type": "message", "role": "assistant", "status": "completed", "content": content}


def _usage(step: Step) -> dict[str, Any]:
    taken, made = step.input_tokens or 0, step.output_tokens or 0
    details = {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
    return {"input_tokens": taken, "output_tokens": made, "total_tokens": taken + made, **details}
