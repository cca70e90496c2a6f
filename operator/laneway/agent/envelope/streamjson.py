"""stream-json as Anthropic's agent writes it, and others that followed: ``assistant`` lines, then one ``result`` line.

Beside the fields of ``laneway.agent.envelope`` there may be

- in the result line ``modelUsage`` by model ``{inputTokens, outputTokens, cacheReadInputTokens, cacheCreationInputTokens}``, with the calls of
  helpers in it that ``usage`` leaves out; ``subtype: error_...`` with ``errors[]`` instead of ``result``;
- ``{"type": "rate_limit_event", "rate_limit_info": {status, rateLimitType, resetsAt}}`` lines (S0.20);
- from Google's agent ``{"type": "message", role, content, delta}`` lines, and in the result line ``status``, ``error {code, type, message}`` and
  ``stats {total_tokens, input_tokens, output_tokens, cached, models}``, whose input includes what was cached (S3.9).

In ``usage`` and ``modelUsage`` the input is net of cache, as Anthropic counts; a Usage includes it (S4.32).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from laneway.agent.envelope.fields import (
    Json,
    bool_of,
    count_of,
    error_words,
    first_count,
    micros_of,
    object_of,
    text_of,
)
from laneway.agent.envelope.values import EnvelopeSummary, RateLimitEvent, Usage, added

_FINISH_REASON_LIMIT = 64
_ERROR_SUBTYPE = "error"
_STATUSES = {"error": True, "success": False}


def read(objects: Sequence[Json]) -> EnvelopeSummary:
    """What these lines say."""
    messages = [object_of(o.get("message")) for o in objects if o.get("type") == "assistant"]
    events = [object_of(o.get("rate_limit_info")) for o in objects if o.get("type") == "rate_limit_event"]
    result = _last_result(objects)
    last = messages[-1] if messages else {}
    error = object_of(result.get("error"))
    is_error = _is_error(result, error)
    raw = _error_words(result, error) if is_error else None
    by_model = _by_model(result)
    total = _total(result, by_model)
    return EnvelopeSummary(
        finished=bool(result),
        result_text=_result_text(result, messages, objects),
        is_error=is_error,
        api_error_status=first_count(result.get("api_error_status"), error.get("code")),
        raw_error=error_words(raw),
        error_type=text_of(error.get("type")),
        model=next((m for m in (text_of(message.get("model")) for message in reversed(messages)) if m), None),
        finish_reason=(text_of(last.get("stop_reason")) or "")[:_FINISH_REASON_LIMIT] or None,
        num_turns=count_of(result.get("num_turns")),
        duration_milliseconds=count_of(result.get("duration_ms")),
        usage=total or _sum_of_messages(messages),
        usage_is_total=total is not None,
        usage_by_model=by_model if total is not None and total == added(list(by_model.values())) else {},
        reported_cost_micro_usd=micros_of(result.get("total_cost_usd")),
        rate_limits=tuple(
            RateLimitEvent(text_of(e.get("status")), text_of(e.get("rateLimitType")), count_of(e.get("resetsAt")))
            for e in events
        ),
    )


def _last_result(objects: Sequence[Json]) -> Json:
    """The last result line; none if the agent went on to work after it."""
    told = [line for line in objects if line.get("type") == "result" or _is_work(line)]
    return told[-1] if told and not _is_work(told[-1]) else {}


def _is_work(line: Json) -> bool:
    return line.get("type") == "assistant" and isinstance(object_of(line.get("message")).get("content"), list)


def _is_error(result: Json, error: Json) -> bool | None:
    """By its own word. A subtype that names an error is one, even where ``is_error`` says no: an agent that ran out of turns did not finish."""
    if (text_of(result.get("subtype")) or "").startswith(_ERROR_SUBTYPE):
        return True
    said = bool_of(result.get("is_error"))
    if said is not None:
        return said
    return True if error else _STATUSES.get(str(result.get("status")))


def _error_words(result: Json, error: Json) -> str | None:
    text = text_of(result.get("result"))
    if text is not None:
        return text
    errors = result.get("errors")
    words = [text_of(one) for one in errors] if isinstance(errors, list) else []
    told = "; ".join(word for word in words if word)
    return text_of(error.get("message")) or told or None


def _result_text(result: Json, messages: Sequence[Json], objects: Sequence[Json]) -> str | None:
    text = text_of(result.get("result"))
    if text is not None:
        return text
    return _content_text(messages[-1]) if messages else _joined_pieces(objects)


def _content_text(message: Json) -> str | None:
    blocks = message.get("content")
    if not isinstance(blocks, list):
        return None
    texts = [text_of(object_of(block).get("text")) for block in blocks if object_of(block).get("type") == "text"]
    return "".join(text for text in texts if text is not None)


def _joined_pieces(objects: Iterable[Json]) -> str | None:
    """The last answer of an agent that writes it in pieces only: a line of another kind between two pieces ends an answer."""
    pieces: list[str] = []
    ended = False
    for line in objects:
        text = text_of(line.get("content"))
        if line.get("type") == "message" and line.get("role") == "assistant" and text is not None:
            pieces, ended = ([] if ended else pieces) + [text], False
        else:
            ended = True
    return "".join(pieces) if pieces else None


# Usage


def _total(result: Json, by_model: dict[str, Usage]) -> Usage | None:
    """Of the whole work: by the models if that is more, because the calls of helpers are told there only."""
    told = _usage(result.get("usage")) or _stats(result.get("stats"))
    summed = added(list(by_model.values()))
    if told is None or summed is None:
        return told or summed
    is_more = summed.input_tokens >= told.input_tokens and summed.output_tokens >= told.output_tokens
    return summed if is_more else told


def _by_model(result: Json) -> dict[str, Usage]:
    """Empty as soon as the numbers of one model cannot be read: a part is not the whole."""
    models = object_of(result.get("modelUsage")) or object_of(object_of(result.get("stats")).get("models"))
    read = {text_of(name) or "": _model_usage(value) or _stats(value) for name, value in models.items()}
    known = {name: usage for name, usage in read.items() if usage is not None}
    return known if len(known) == len(read) else {}


def _usage(value: object) -> Usage | None:
    usage = object_of(value)
    return _net_of_cache(
        usage.get("input_tokens"),
        usage.get("output_tokens"),
        usage.get("cache_read_input_tokens"),
        usage.get("cache_creation_input_tokens"),
    )


def _model_usage(value: object) -> Usage | None:
    usage = object_of(value)
    return _net_of_cache(
        usage.get("inputTokens"),
        usage.get("outputTokens"),
        usage.get("cacheReadInputTokens"),
        usage.get("cacheCreationInputTokens"),
    )


def _net_of_cache(fresh: object, output: object, read: object, written: object) -> Usage | None:
    fresh_count, output_count = count_of(fresh), count_of(output)
    if fresh_count is None or output_count is None:
        return None
    read_count, written_count = count_of(read), count_of(written)
    return Usage(
        input_tokens=fresh_count + (read_count or 0) + (written_count or 0),
        output_tokens=output_count,
        cache_read_tokens=read_count,
        cache_write_tokens=written_count,
    )


def _stats(value: object) -> Usage | None:
    """Google's numbers. Thoughts are in the total only, and cost what output costs."""
    stats = object_of(value)
    prompt, output = count_of(stats.get("input_tokens")), count_of(stats.get("output_tokens"))
    if prompt is None or output is None:
        return None
    beyond = (count_of(stats.get("total_tokens")) or 0) - prompt
    return Usage(prompt, max(output, beyond), cache_read_tokens=count_of(stats.get("cached")))


def _sum_of_messages(messages: Iterable[Json]) -> Usage | None:
    """Usage stands in ``message.usage`` (B9). One message may come in several lines with growing numbers: its last counts."""
    by_message: dict[object, Usage] = {}
    for number, message in enumerate(messages):
        usage = _usage(message.get("usage"))
        if usage is not None:
            by_message[text_of(message.get("id")) or number] = usage
    return added(list(by_message.values()))
