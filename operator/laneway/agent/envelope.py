"""The stream-json envelope: one JSON object a line, written by the built-in agent and by other agents, parsed by the operator.

Lines, in the order in which they are written (S0.19, S0.20):

    {"type": "stream_event", "event": {"type": "content_block_delta", ...}}    each piece of a streamed answer
    {"type": "assistant", "message": {id, model, content[], stop_reason, usage}}    the whole answer, once
    {"type": "result", is_error, api_error_status, result, total_cost_usd, duration_ms, num_turns, usage}    the last line

Other agents also write {"type": "rate_limit_event", "rate_limit_info": {status, rateLimitType, resetsAt}}, or say in the result line
{"status": "error", "error": {code, type, message}} (S3.9).
In a line, ``usage.input_tokens`` is net of cache, as Anthropic counts; a parsed Usage includes it (S4.32). No I/O here: text in, text out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

TAIL_LINES = 50
"""How many lines of a log are read from its end (S3.7)."""
RAW_LIMIT = 200
"""How many characters of an error are kept (S3.7)."""

_MICROS = 1_000_000
_MAX_DOLLARS = 10**9  # more is a broken log, not a cost

Json = Mapping[str, object]


@dataclass(frozen=True)
class Usage:
    """Tokens of one or more calls. None is unknown, never zero."""

    input_tokens: int
    """Input tokens, those read from and written to the provider's cache included."""
    output_tokens: int
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None


@dataclass(frozen=True)
class RateLimitEvent:
    """What a ``rate_limit_event`` line says (S0.20)."""

    status: str | None
    limit_type: str | None
    resets_at: int | None
    """Unix seconds."""


@dataclass(frozen=True)
class EnvelopeSummary:
    """What the end of a log says about the agent's work. None is not said by the log."""

    finished: bool
    """A result line was seen."""
    result_text: str | None = None
    """The text of the result line; without one, of the last assistant line."""
    is_error: bool | None = None
    api_error_status: int | None = None
    raw_error: str | None = None
    """The result's text when it is an error, cut to 200 characters."""
    error_type: str | None = None
    """The server's or the agent's name for the error."""
    model: str | None = None
    """Of the latest assistant line (S3.33)."""
    finish_reason: str | None = None
    """Of the latest assistant line, in the server's own word."""
    num_turns: int | None = None
    duration_milliseconds: int | None = None
    usage: Usage | None = None
    usage_is_total: bool = False
    """True: of the result line. False: added up from the assistant lines that were read, and so at least this much."""
    reported_cost_micro_usd: int | None = None
    """What the agent says it cost, in millionths of a US dollar (S4.34)."""
    rate_limits: tuple[RateLimitEvent, ...] = ()


# Writing


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


def summary_of(text: str) -> str:
    """The section under the last ``## Summary`` heading; the whole text where there is none, or where it is empty (S0.21)."""
    section: list[str] | None = None
    fenced = False
    for line in text.split("\n"):
        if _FENCE.match(line):
            fenced = not fenced
        if not fenced and _SUMMARY_HEADING.match(line):
            section, open_section = [], True
        elif section is not None and open_section:
            open_section = fenced or not _HEADING.match(line)
            if open_section:
                section.append(line)
    return "\n".join(section or []).strip() or text.strip()


_SUMMARY_HEADING = re.compile(r"##[ \t]+summary[ \t]*:?[ \t\r]*$", re.IGNORECASE)
_HEADING = re.compile(r"#{1,2}[ \t]")
_FENCE = re.compile(r"[ ]{0,3}(```|~~~)")


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


# Parsing


def parse(log: str, *, tail_lines: int = TAIL_LINES) -> EnvelopeSummary:
    """Read the end of an agent's log. Lines that are no JSON objects, or not of the envelope, are skipped (S3.7).

    Reading a log again, or a log whose tail was read twice, counts nothing twice: messages are told apart by their id (S4.32).
    """
    lines = [line for line in log.split("\n") if line.strip()][-tail_lines:]
    objects = [value for value in map(_object, lines) if value is not None]
    messages = [_dict(o.get("message")) for o in objects if o.get("type") == "assistant"]
    results = [o for o in objects if o.get("type") == "result"]
    events = [_dict(o.get("rate_limit_info")) for o in objects if o.get("type") == "rate_limit_event"]
    result = results[-1] if results else {}
    last = messages[-1] if messages else {}
    error = _dict(result.get("error"))
    is_error = _bool(result.get("is_error"))
    if is_error is None and (error or result.get("status") == "error"):
        is_error = True
    text = _text(result.get("result"))
    said = text if text is not None else _text(error.get("message"))
    total = _usage(result.get("usage"))
    return EnvelopeSummary(
        finished=bool(results),
        result_text=text if text is not None or not messages else _content_text(last),
        is_error=is_error,
        api_error_status=_first_count(result.get("api_error_status"), error.get("code")),
        raw_error=said[:RAW_LIMIT] if is_error and said is not None else None,
        error_type=_text(error.get("type")),
        model=next((m for m in (_text(message.get("model")) for message in reversed(messages)) if m), None),
        finish_reason=_text(last.get("stop_reason")),
        num_turns=_count(result.get("num_turns")),
        duration_milliseconds=_count(result.get("duration_ms")),
        usage=total or _sum_of_messages(messages),
        usage_is_total=total is not None,
        reported_cost_micro_usd=_micros(result.get("total_cost_usd")),
        rate_limits=tuple(
            RateLimitEvent(_text(e.get("status")), _text(e.get("rateLimitType")), _count(e.get("resetsAt")))
            for e in events
        ),
    )


def _sum_of_messages(messages: Iterable[Json]) -> Usage | None:
    """Usage stands in ``message.usage`` (B9). One message may come in several lines with growing numbers: its last counts."""
    by_message: dict[object, Usage] = {}
    for number, message in enumerate(messages):
        usage = _usage(message.get("usage"))
        if usage is not None:
            by_message[_text(message.get("id")) or number] = usage
    if not by_message:
        return None
    usages = list(by_message.values())
    return Usage(
        input_tokens=sum(u.input_tokens for u in usages),
        output_tokens=sum(u.output_tokens for u in usages),
        cache_read_tokens=_known_sum(u.cache_read_tokens for u in usages),
        cache_write_tokens=_known_sum(u.cache_write_tokens for u in usages),
    )


def _known_sum(counts: Iterable[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _usage(value: object) -> Usage | None:
    usage = _dict(value)
    fresh, output = _count(usage.get("input_tokens")), _count(usage.get("output_tokens"))
    if fresh is None or output is None:
        return None
    read, write = _count(usage.get("cache_read_input_tokens")), _count(usage.get("cache_creation_input_tokens"))
    return Usage(
        input_tokens=fresh + (read or 0) + (write or 0),
        output_tokens=output,
        cache_read_tokens=read,
        cache_write_tokens=write,
    )


def _object(line: str) -> Json | None:
    try:
        value = json.loads(line, parse_float=Decimal, parse_constant=_refuse_constant)
    except (ValueError, ArithmeticError, RecursionError):  # ArithmeticError: an exponent that Decimal cannot hold
        return None
    return value if isinstance(value, dict) else None


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON")


def _content_text(message: Json) -> str | None:
    blocks = message.get("content")
    if not isinstance(blocks, list):
        return None
    texts = [_text(_dict(block).get("text")) for block in blocks if _dict(block).get("type") == "text"]
    return "".join(text for text in texts if text is not None)


def _micros(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | Decimal) or not 0 <= value <= _MAX_DOLLARS:
        return None
    return round(value * _MICROS)


def _dict(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _bool(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _first_count(*values: object) -> int | None:
    return next((count for count in map(_count, values) if count is not None), None)
