"""Token counts of one model call, in one meaning for all providers: input includes what was read from and written to a cache.

None is unknown, never zero (S0 0.16, S1 1.16, S2 2.40).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_MOST = 1_000_000_000
"""No call has more tokens; a larger count is broken, and the sums of many such calls would fit no database."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What one call used."""

    input_tokens: int | None = None
    """Cache reads and writes included."""
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None

    @property
    def known(self) -> bool:
        """Whether input and output were both told."""
        return self.input_tokens is not None and self.output_tokens is not None


def from_chat_completions(usage: Mapping[str, object]) -> Usage:
    """OpenAI chat completions: ``prompt_tokens`` already include cached ones."""
    return _openai(usage, given="prompt_tokens", made="completion_tokens")


def from_responses(usage: Mapping[str, object]) -> Usage:
    """OpenAI responses: ``input_tokens`` already include cached ones, ``output_tokens`` reasoning."""
    return _openai(usage, given="input_tokens", made="output_tokens")


def from_embeddings(usage: Mapping[str, object]) -> Usage:
    """OpenAI embeddings: nothing is generated, so the output is zero."""
    return Usage(input_tokens=count(usage.get("prompt_tokens")), output_tokens=0)


def from_messages(usage: Mapping[str, object]) -> Usage:
    """Anthropic messages: ``input_tokens`` leaves cache reads and writes out, so they are added."""
    plain = count(usage.get("input_tokens"))
    read = count(usage.get("cache_read_input_tokens"))
    written = count(usage.get("cache_creation_input_tokens"))
    return Usage(
        input_tokens=None if plain is None else plain + (read or 0) + (written or 0),
        output_tokens=count(usage.get("output_tokens")),
        cache_read_tokens=read,
        cache_write_tokens=written,
    )


def from_ollama(last_line: Mapping[str, object]) -> Usage:
    """Ollama's ``done: true`` object: a count that is zero is left out of it, so absence is zero here."""
    return Usage(
        input_tokens=count(last_line.get("prompt_eval_count", 0)),
        output_tokens=count(last_line.get("eval_count", 0)),
    )


def from_generate_content(usage: Mapping[str, object]) -> Usage:
    """Gemini: cached tokens are inside the prompt's, thoughts outside the candidates', and counts that are zero are left out."""
    prompt, tools = count(usage.get("promptTokenCount")), count(usage.get("toolUsePromptTokenCount", 0))
    candidates, thoughts = count(usage.get("candidatesTokenCount", 0)), count(usage.get("thoughtsTokenCount", 0))
    return Usage(
        input_tokens=None if prompt is None or tools is None else prompt + tools,
        output_tokens=None if candidates is None or thoughts is None else candidates + thoughts,
        cache_read_tokens=count(usage.get("cachedContentTokenCount")),
    )


def _openai(usage: Mapping[str, object], *, given: str, made: str) -> Usage:
    """The cached part is told in the details of the input, and is in its count already."""
    details = usage.get(f"{given}_details")
    told = details if isinstance(details, Mapping) else {}
    return Usage(
        input_tokens=count(usage.get(given)),
        output_tokens=count(usage.get(made)),
        cache_read_tokens=count(told.get("cached_tokens")),
        cache_write_tokens=count(told.get("cache_write_tokens")),
    )


def count(value: object) -> int | None:
    """A token count as a server told it; None for anything that cannot be one."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST:
        return None
    return value
