"""What a classifier is asked, and how its answer is read (S4.37, C20). Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass

from laneway.api.classification import REASON_LIMIT, Complexity

PROMPT_CHARACTERS = 600
"""So much of a prompt is read."""

QUESTION = (
    "You sort tasks for software agents by how hard they are. Do not do the task. Answer with one JSON object and nothing else:"
    ' {"complexity": "simple" | "medium" | "complex", "reason": "at most twelve words"}.'
    " simple: one small step, a lookup or a short text. medium: some steps with a clear way."
    " complex: design, many files, hard reasoning or an unclear goal."
)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a classifier said."""

    complexity: Complexity
    reason: str
    """Empty unless it came as JSON: other words may repeat the prompt."""


def text_of(title: str | None, prompt: str | None) -> str:
    """What a classifier reads of a run: its title and the first 600 characters of its prompt. Empty: there is nothing to read."""
    parts = (title or "", (prompt or "")[:PROMPT_CHARACTERS])
    return "\n\n".join(part.strip() for part in parts if part.strip())


def read_reply(words: str) -> Reply | None:
    """JSON if it is some; else the first of simple, medium and complex that the words contain. None: none of them (S4.37)."""
    told = _object_in(words)
    if told is not None and (complexity := _known(told.get("complexity"))) is not None:
        return Reply(complexity, one_line(told.get("reason")))
    lowered = words.lower()
    found = next((complexity for complexity in Complexity if complexity.value in lowered), None)
    return None if found is None else Reply(found, "")


def one_line(words: object) -> str:
    """Words for a status: one line, cut to what it may hold; nothing for what are no words."""
    if not isinstance(words, str):
        return ""
    return "".join(each if each.isprintable() else "?" for each in " ".join(words.split()))[:REASON_LIMIT]


def _object_in(words: str) -> dict[str, object] | None:
    try:
        told = json.loads(words)
    except (ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) else None


def _known(word: object) -> Complexity | None:
    return next((one for one in Complexity if isinstance(word, str) and word.strip().lower() == one), None)
