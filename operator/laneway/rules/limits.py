"""What a run's limits say of what it has used: reached, nearly used up, raised. Pure.

Unknown is not zero: a limit on something that nobody counted is not judged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from laneway.api.limits import LimitName, LimitReached, Limits
from laneway.api.runstatus import Usage
from laneway.rules.budget import Bounds
from laneway.rules.money import format_usd, parse_usd


@dataclass(frozen=True, slots=True)
class Used:
    """What all attempts of a run used together. None: not known."""

    cost: int | None = None
    """Micro-dollars."""
    tokens: int | None = None
    turns: int | None = None
    seconds: int | None = None

    def of(self, limit: LimitName) -> int | None:
        """The part that a limit is about."""
        return {
            LimitName.COST: self.cost,
            LimitName.TOKENS: self.tokens,
            LimitName.TURNS: self.turns,
            LimitName.TIME: self.seconds,
        }[limit]


def used_of(usage: Usage | None, active_seconds: int | None) -> Used:
    """What a status says of it. An incomplete usage is a lower bound, and is judged as far as it goes."""
    if usage is None:
        return Used(seconds=active_seconds)
    cost = None if usage.cost_usd is None else parse_usd(usage.cost_usd)
    return Used(cost, usage.total_tokens, usage.turns, active_seconds)


def values(limits: Limits) -> Mapping[LimitName, int]:
    """The limits that are set, money in micro-dollars."""
    given = {
        LimitName.COST: None if limits.cost_usd is None else parse_usd(limits.cost_usd),
        LimitName.TOKENS: limits.tokens,
        LimitName.TURNS: limits.turns,
        LimitName.TIME: limits.active_seconds,
    }
    return {limit: value for limit, value in given.items() if value is not None}


@lru_cache(maxsize=1024)
def bounds(limits: Limits) -> Bounds:
    """The limits that calls use up. Kept, because each call is judged by those of its run."""
    given = values(limits)
    return Bounds(cost=given.get(LimitName.COST), tokens=given.get(LimitName.TOKENS), turns=given.get(LimitName.TURNS))


def reached(limits: Limits, used: Used) -> LimitName | None:
    """The first limit that is used up."""
    return next((limit for limit, value in values(limits).items() if _has_used(used, limit, value)), None)


def nearly_used(limits: Limits, used: Used) -> Iterator[LimitName]:
    """Limits of which ``warnPercent`` is used, rounded down (S4.27 to S4.29)."""
    for limit, value in values(limits).items():
        if _has_used(used, limit, warn_at(limits, value)):
            yield limit


def warn_at(limits: Limits, value: int) -> int:
    """How much of a limit is used when a warning is given; at least 1, so that nobody is warned of nothing."""
    return max(1, value * limits.warn_percent // 100)


def still_reached(limits: Limits, record: LimitReached) -> bool:
    """Whether a limit for which a run waits still stands: it was neither raised nor removed."""
    value = values(limits).get(record.limit)
    return value is not None and value <= parse_value(record.limit, record.value)


def value_text(limit: LimitName, value: int) -> str:
    """A limit as status shows it: dollars as a decimal, else a whole number."""
    return format_usd(value) if limit is LimitName.COST else str(value)


def parse_value(limit: LimitName, text: str) -> int:
    """The number behind ``value_text``."""
    return parse_usd(text) if limit is LimitName.COST else int(text)


_UNITS = {
    LimitName.COST: "USD",
    LimitName.TOKENS: "tokens",
    LimitName.TURNS: "turns",
    LimitName.TIME: "s of running time",
}


def words(limit: LimitName, used: int | None, value: int) -> str:
    """Both numbers for people: "2.40 of 2.50 USD used"."""
    how_much = "an unknown part" if used is None else value_text(limit, used)
    return f"{how_much} of {value_text(limit, value)} {_UNITS[limit]} used"


def _has_used(used: Used, limit: LimitName, value: int) -> bool:
    known = used.of(limit)
    return known is not None and known >= value
