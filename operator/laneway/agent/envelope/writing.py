"""Lines as the built-in agent writes them. ``usage.input_tokens`` of a line is net of cache, as Anthropic counts; a Usage includes it (S4.32)."""

from __future__ import annotations

import json

from laneway.agent.envelope.fields import Json
from laneway.agent.envelope.values import Usage


def delta_line(text: str) -> str:
    """One piece of a streamed answer."""
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
    return _line({"type": "stream_event", "event": delta})


def assistant_line(
    *, text: str, message_id: str | None, model: str | None, finish_reason: str | None, usage: Usage | None
) -> str:
    """The whole answer, as one block (S0.19)."""
    message = {
        "id": message_id,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [{"type": "text", "text": text}],
        "stop_reason": finish_reason,
        "usage": _usage_object(usage),
    }
    return _line({"type": "assistant", "message": message})


def result_line(
    *,
    text: str,
    is_error: bool,
    api_error_status: int | None,
    duration_milliseconds: int,
    num_turns: int,
    usage: Usage | None,
) -> str:
    """The last line. The built-in agent knows no prices, so the cost is null: unknown, not free."""
    result = {
        "type": "result",
        "subtype": "error_during_execution" if is_error else "success",
        "is_error": is_error,
        "api_error_status": api_error_status,
        "result": text,
        "total_cost_usd": None,
        "duration_ms": duration_milliseconds,
        "num_turns": num_turns,
        "usage": _usage_object(usage),
    }
    return _line(result)


def _line(value: Json) -> str:
    # ASCII only: whatever splits lines (U+2028, U+0085) or cannot be encoded (half a surrogate pair) stays inside its string.
    return json.dumps(value, separators=(",", ":"), allow_nan=False) + "\n"


def _usage_object(usage: Usage | None) -> dict[str, int | None] | None:
    if usage is None:
        return None
    cached = (usage.cache_read_tokens or 0) + (usage.cache_write_tokens or 0)
    return {
        "input_tokens": usage.input_tokens - cached,
        "output_tokens": usage.output_tokens,
        "cache_read_input_tokens": usage.cache_read_tokens,
        "cache_creation_input_tokens": usage.cache_write_tokens,
    }
