"""Lines of OpenAI's Codex (``codex exec --json``).

    {"type": "thread.started", ...}  {"type": "turn.started"}  {"type": "item.completed", "item": {id, type, text}}
    {"type": "turn.completed", "usage": {input_tokens, cached_input_tokens, output_tokens}}
    {"type": "turn.failed", "error": {message}}    {"type": "error", message}

``usage`` is of all turns so far, its input includes what was cached, and all zeros mean that the server told nothing. An ``error`` line may be a
connection that is tried again, so only the line that ends a turn says how the work went. Turns are prompts there, not calls: they are not told.
"""

from __future__ import annotations

from collections.abc import Sequence

from laneway.agent.envelope.fields import Json, count_of, error_words, object_of, text_of
from laneway.agent.envelope.values import EnvelopeSummary, Usage

_OWN = ("thread.", "turn.", "item.")
_STARTED, _COMPLETED, _FAILED = "turn.started", "turn.completed", "turn.failed"


def is_own(line: Json) -> bool:
    """Whether it is a line that no other agent writes."""
    return str(line.get("type", "")).startswith(_OWN)


def read(objects: Sequence[Json]) -> EnvelopeSummary:
    """What these lines say."""
    turns = [line for line in objects if line.get("type") in {_STARTED, _COMPLETED, _FAILED}]
    end = turns[-1] if turns and turns[-1].get("type") != _STARTED else {}
    is_error = end.get("type") == _FAILED if end else None
    raw = _error_words(end, objects) if is_error is not False else None
    usages = [usage for usage in (_usage(line.get("usage")) for line in turns) if usage is not None]
    return EnvelopeSummary(
        finished=bool(end),
        result_text=_last_message(objects),
        is_error=is_error,
        raw_error=error_words(raw),
        usage=usages[-1] if usages else None,
        usage_is_total=end.get("type") == _COMPLETED and bool(usages),
    )


def _last_message(objects: Sequence[Json]) -> str | None:
    items = [object_of(line.get("item")) for line in objects if line.get("type") == "item.completed"]
    texts = [text_of(item.get("text")) for item in items if item.get("type") == "agent_message"]
    return next((text for text in reversed(texts) if text is not None), None)


def _error_words(end: Json, objects: Sequence[Json]) -> str | None:
    told = text_of(object_of(end.get("error")).get("message"))
    errors = [text_of(line.get("message")) for line in objects if line.get("type") == "error"]
    return told or next((words for words in reversed(errors) if words), None)


def _usage(value: object) -> Usage | None:
    usage = object_of(value)
    read, output = count_of(usage.get("input_tokens")), count_of(usage.get("output_tokens"))
    if read is None or output is None or read + output == 0:
        return None
    return Usage(read, output, cache_read_tokens=count_of(usage.get("cached_input_tokens")))
