"""What runs have used, as lines: summed, and written as a table, JSON or CSV. Pure.

Unknown is absent and is counted beside it, never zero.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from laneway.api.ledgersums import LedgerSum
from laneway.rules.money import MICROS, format_usd

_THOUSAND, _MILLION, _BILLION = 1000, 1_000_000, 1_000_000_000
_CENT = MICROS // 100
_SHOWN_WHOLE = 10_000
"""Tokens that are shown to the last one."""


@dataclass(frozen=True)
class Share:
    """How much of a limit is used."""

    used_micro_usd: int
    limit_micro_usd: int
    name: str
    """Which limit it is."""

    @property
    def percent(self) -> int:
        """Whole percents; a limit of nothing is used up."""
        return 100 if not self.limit_micro_usd else self.used_micro_usd * 100 // self.limit_micro_usd

    @property
    def words(self) -> str:
        """Which limit, and how much of it."""
        return f"{self.name}: {format_usd(self.used_micro_usd)} of {format_usd(self.limit_micro_usd)}"


@dataclass(frozen=True)
class Line:
    """One group of calls, or of runs. None is unknown."""

    names: Mapping[str, str | None]
    """What the group is by, under the names of the JSON form; None where nobody knows to which group it belongs."""
    runs: int
    calls: int | None = None
    turns: int | None = None
    input_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    output_tokens: int | None = None
    cost_micro_usd: int | None = None
    unpriced: int = 0
    """Calls, or runs, whose cost is missing in the sum."""
    unknown: int = 0
    """Calls, or runs, of whose usage something is missing in the sums."""
    estimated_calls: int | None = None
    estimated_micro_usd: int | None = None
    open: int = 0
    """Calls under way, or runs at work: the numbers still grow."""
    limit: Share | None = None
    parts: Sequence[str] = field(default=(), compare=False)
    """Uids of its runs, where they are known."""

    @property
    def is_least(self) -> bool:
        """Whether the cost is known to be too low."""
        return bool(self.unpriced or self.unknown)


def line_of(one: LedgerSum, names: Mapping[str, str | None]) -> Line:
    """A sum of the ledger."""
    return Line(
        names=names,
        runs=one.runs,
        calls=one.calls,
        turns=one.turns,
        input_tokens=one.input_tokens,
        cache_read_tokens=one.cache_read_tokens,
        cache_write_tokens=one.cache_write_tokens,
        output_tokens=one.output_tokens,
        cost_micro_usd=one.cost_micro_usd,
        unpriced=one.unpriced_calls,
        unknown=one.unknown_calls,
        estimated_calls=one.estimated_calls,
        estimated_micro_usd=one.estimated_micro_usd,
        open=one.open_calls,
    )


def added(lines: Iterable[Line]) -> list[Line]:
    """Lines of the same names made one, in the order of their names; what nobody can place comes last."""
    groups: dict[tuple[tuple[str, str | None], ...], list[Line]] = {}
    for line in lines:
        groups.setdefault(tuple(line.names.items()), []).append(line)
    return [_sum(groups[key]) for key in sorted(groups, key=_order)]


def _order(names: tuple[tuple[str, str | None], ...]) -> list[tuple[bool, str]]:
    return [(value is None, value or "") for _, value in names]


def _sum(lines: Sequence[Line]) -> Line:
    def known(name: str) -> int | None:
        values = [value for line in lines if (value := getattr(line, name)) is not None]
        return sum(values) if values else None

    turns_unknown = any(line.turns is None and line.input_tokens is not None for line in lines)
    uids = sorted({uid for line in lines for uid in line.parts})
    return Line(
        names=lines[0].names,
        runs=len(uids),
        turns=None if turns_unknown else known("turns"),
        input_tokens=known("input_tokens"),
        cache_read_tokens=known("cache_read_tokens"),
        cache_write_tokens=known("cache_write_tokens"),
        output_tokens=known("output_tokens"),
        cost_micro_usd=known("cost_micro_usd"),
        unpriced=sum(line.unpriced for line in lines),
        unknown=sum(line.unknown for line in lines),
        open=sum(line.open for line in lines),
        limit=lines[0].limit,
        parts=uids,
    )


# JSON and CSV


def record(line: Line) -> dict[str, Any]:
    """All of a line, exact; the same names in JSON and CSV."""
    return {
        **line.names,
        "runs": line.runs,
        "calls": line.calls,
        "turns": line.turns,
        "inputTokens": line.input_tokens,
        "cacheReadTokens": line.cache_read_tokens,
        "cacheWriteTokens": line.cache_write_tokens,
        "outputTokens": line.output_tokens,
        "costUSD": _exact(line.cost_micro_usd),
        "withoutPrice": line.unpriced,
        "withoutUsage": line.unknown,
        "estimatedCalls": line.estimated_calls,
        "estimatedUSD": _exact(line.estimated_micro_usd),
        "underWay": line.open,
        "limitUSD": _exact(line.limit.limit_micro_usd) if line.limit else None,
        "limitUsedUSD": _exact(line.limit.used_micro_usd) if line.limit else None,
        "limitName": line.limit.name if line.limit else None,
    }


def csv_text(lines: Sequence[Line], names: Sequence[str]) -> str:
    """The records as CSV; ``names``: those of the group, for a header without lines."""
    columns = [*names, *(name for name in record(Line(names={}, runs=0)))]
    text = io.StringIO()
    table = csv.DictWriter(text, columns, lineterminator="\n")
    table.writeheader()
    table.writerows(record(line) for line in lines)
    return text.getvalue()


def _exact(micros: int | None) -> str | None:
    return None if micros is None else format_usd(micros)


# The table


def table_of(
    lines: Sequence[Line], heads: Sequence[str], *, wide: bool
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Heads and cells; ``heads``: those of the group's names. Columns of which nothing is known are left out."""
    columns: list[tuple[str, list[str]]] = [
        (head, [list(line.names.values())[number] or "(unknown)" for line in lines])
        for number, head in enumerate(heads)
    ]
    columns += [
        ("RUNS", [f"{line.runs:,}" for line in lines]),
        ("CALLS", [_count(line.calls) for line in lines]),
        ("TURNS", [_count(line.turns) for line in lines] if wide or _none(lines, "calls") else [""]),
        ("INPUT", [_tokens(line.input_tokens) for line in lines]),
        ("CACHED", [_tokens(line.cache_read_tokens) for line in lines]),
        ("WRITTEN", [_tokens(line.cache_write_tokens) for line in lines] if wide else [""]),
        ("OUTPUT", [_tokens(line.output_tokens) for line in lines]),
        ("COST (USD)", [_cost(line) for line in lines]),
        ("OF LIMIT", [f"{line.limit.percent} %" if line.limit else "" for line in lines]),
        ("LIMIT", [line.limit.words if line.limit else "" for line in lines] if wide else [""]),
    ]
    always = {*heads, "RUNS", "INPUT", "OUTPUT", "COST (USD)"}
    shown = [(head, cells) for head, cells in columns if head in always or any(cells)]
    return tuple(head for head, _ in shown), list(zip(*(cells for _, cells in shown), strict=True))


def notes(lines: Sequence[Line], *, unit: str) -> list[str]:
    """What the numbers do not say by themselves; ``unit``: what is counted as missing, call or run."""
    estimated = sum(line.estimated_calls or 0 for line in lines)
    money = sum(line.estimated_micro_usd or 0 for line in lines)
    unpriced, unknown = sum(line.unpriced for line in lines), sum(line.unknown for line in lines)
    under_way = sum(line.open for line in lines)
    found = []
    if estimated:
        priced = any(line.estimated_micro_usd is not None for line in lines)
        charged = f"at their reservation: {shown_usd(money)}" if priced else "their reservation, without a price"
        found.append(f"({_many(estimated, 'call')} without usage {_was(estimated)} charged {charged})")
    if unpriced:
        found.append(f"({_many(unpriced, unit)} {_has(unpriced)} no known cost: it is missing in the sums)")
    if unknown:
        found.append(f"({_many(unknown, unit)} told no usage, or not all of it: the numbers are too low)")
    if under_way:
        found.append(f"({_many(under_way, unit)} {_is(under_way)} under way: the numbers still grow)")
    return found


def shown_usd(micros: int) -> str:
    """Money for people: to the cent, and exact below one."""
    return format_usd(micros if 0 < micros < _CENT else (micros + _CENT // 2) // _CENT * _CENT)


def _cost(line: Line) -> str:
    if line.cost_micro_usd is None:
        return ""
    return f"{'at least ' if line.is_least else ''}{shown_usd(line.cost_micro_usd)}"


def _tokens(number: int | None) -> str:
    if number is None:
        return ""
    if number < _SHOWN_WHOLE:
        return f"{number:,}"
    for unit, name in ((_BILLION, "G"), (_MILLION, "M")):
        if number >= unit // 10:
            return f"{number / unit:.1f}{name}"
    return f"{number / _THOUSAND:.1f}K"


def _count(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _none(lines: Sequence[Line], name: str) -> bool:
    return all(getattr(line, name) is None for line in lines)


def _many(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def _was(number: int) -> str:
    return "was" if number == 1 else "were"


def _has(number: int) -> str:
    return "has" if number == 1 else "have"


def _is(number: int) -> str:
    return "is" if number == 1 else "are"
