"""Tables and ages as kubectl shows them, and colours for terminals. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from enum import IntEnum

_GAP = 3
_MINUTE, _HOUR, _DAY, _YEAR = 60, 3600, 86_400, 365 * 86_400


class Colour(IntEnum):
    """Colours of a terminal."""

    RED = 31
    GREEN = 32
    YELLOW = 33
    GREY = 90


def age(span: timedelta) -> str:
    """A span in the form of kubectl's AGE: two units at most, the second one only where it still matters."""
    seconds = max(0, int(span.total_seconds()))
    if seconds < 2 * _MINUTE:
        return f"{seconds}s"
    if seconds < 3 * _HOUR:
        return _two(seconds, _MINUTE, "m", 1, "s", both_below=10 * _MINUTE)
    if seconds < 2 * _DAY:
        return _two(seconds, _HOUR, "h", _MINUTE, "m", both_below=8 * _HOUR)
    if seconds < 2 * _YEAR:
        return _two(seconds, _DAY, "d", _HOUR, "h", both_below=8 * _DAY)
    return _two(seconds, _YEAR, "y", _DAY, "d", both_below=8 * _YEAR)


def _two(seconds: int, unit: int, name: str, rest: int, rest_name: str, *, both_below: int) -> str:
    whole, left = divmod(seconds, unit)
    smaller = left // rest
    return f"{whole}{name}{smaller}{rest_name}" if seconds < both_below and smaller else f"{whole}{name}"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, colours: Mapping[str, Colour] | None = None) -> str:
    """Columns wide enough for their cells. Cells that are a word of ``colours`` get its colour."""
    widths = [max(len(line[number]) for line in [heads, *rows]) for number in range(len(heads))]
    return "".join(f"{_line(line, widths, colours or {})}\n" for line in [heads, *rows])


def _line(cells: Sequence[str], widths: Sequence[int], colours: Mapping[str, Colour]) -> str:
    parts = []
    for number, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        padding = "" if number == len(cells) - 1 else " " * (width - len(cell) + _GAP)
        colour = colours.get(cell)
        parts.append((f"\x1b[{colour.value}m{cell}\x1b[0m" if colour else cell) + padding)
    return "".join(parts).rstrip()
