"""What an agent's log says, whichever agent wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from laneway.agent.envelope.fields import MAX_COUNT


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
    """A result line was seen, and no more work after it."""
    result_text: str | None = None
    """The text of the result line; without one, of the last assistant line."""
    is_error: bool | None = None
    api_error_status: int | None = None
    raw_error: str | None = None
    """The result's text when it is an error, cut to 200 characters; without what looks like a key."""
    error_type: str | None = None
    """The server's or the agent's name for the error."""
    model: str | None = None
    """Of the latest assistant line (S3.33)."""
    finish_reason: str | None = None
    """Of the latest assistant line, in the server's own word, cut to 64 characters."""
    num_turns: int | None = None
    duration_milliseconds: int | None = None
    usage: Usage | None = None
    usage_is_total: bool = False
    """True: of the result line. False: added up from the assistant lines that were read, and so at least this much."""
    usage_by_model: Mapping[str, Usage] = field(default_factory=dict)
    """The same by the names of the models, where the log gives it; it adds up to ``usage``."""
    reported_cost_micro_usd: int | None = None
    """What the agent says it cost, in millionths of a US dollar (S4.34)."""
    rate_limits: tuple[RateLimitEvent, ...] = ()


def added(usages: list[Usage]) -> Usage | None:
    """The sum; None of nothing, and of more than can be true. A cache count that nobody told stays unknown."""
    input_tokens, output_tokens = sum(u.input_tokens for u in usages), sum(u.output_tokens for u in usages)
    if not usages or max(input_tokens, output_tokens) > MAX_COUNT:
        return None
    return Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cache_read_tokens=_known_sum([usage.cache_read_tokens for usage in usages]),
        cache_write_tokens=_known_sum([usage.cache_write_tokens for usage in usages]),
    )


def _known_sum(counts: list[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
