"""What a run of the benchmarks leaves: a table for people, JSON for programs, and an exit code."""

from __future__ import annotations

import json
import re
import string
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.figures import Figure
from support import pages

MET, MISSED, UNSURE = 0, 1, 2
BUSY_PERCENT = 10.0
"""Other programs that use more of the machine than this make times worthless."""
_HEAD = ("| | what | unit | mean | spread | rounds | target | |", "|---|---|---|---|---|---|---|---|")
_ABOUT = re.compile(r"(?:- |\| )(\w+(?:, \w+)*)(?:: | \|)")
_MET, _MISSED, _MISSED_BUSY, _BUSY = "met", "MISSED", "missed, machine busy", "not judged, machine busy"


@dataclass(frozen=True)
class Part:
    """One benchmark."""

    size: str
    """What was run, as a sentence."""
    figures: tuple[Figure, ...]
    """None: it could not be measured, and its sentence says why."""
    others: tuple[float, ...]
    """Percent of the machine that other programs used, by round."""


@dataclass(frozen=True)
class Report:
    """The figures of one run, and under what conditions they were measured."""

    machine: str
    """The machine's shape; no names."""
    parts: tuple[Part, ...]

    @property
    def figures(self) -> tuple[Figure, ...]:
        """All figures."""
        return tuple(figure for part in self.parts for figure in part.figures)

    @property
    def others(self) -> float:
        """The most that other programs used of the machine in any round, in percent."""
        return max((share for part in self.parts for share in part.others), default=0.0)

    @property
    def code(self) -> int:
        """The exit code: 0 if no target was missed, 1 if one was, 2 if the machine was too busy to tell or could not carry a benchmark."""
        verdicts = {_verdict(figure, busy=self.others > BUSY_PERCENT) for figure in self.figures}
        if _MISSED in verdicts:
            return MISSED
        unknown = not all(part.figures for part in self.parts)
        return UNSURE if unknown or verdicts & {_MISSED_BUSY, _BUSY} else MET

    @property
    def notes(self) -> tuple[str, ...]:
        """What was run, and what somebody who reads the numbers has to know."""
        sizes = tuple(part.size for part in self.parts)
        if self.others <= BUSY_PERCENT:
            return sizes
        rows = ", ".join(dict.fromkeys(figure.row for figure in self.figures))
        busy = f"{rows}: other programs used up to {self.others:.0f} % of the machine. Times and rates are worse than on a quiet one, and a missed one is not judged; nor is what was compared."
        return (*sizes, busy)

    def markdown(self, before: str = "") -> str:
        """All of it for a page, with what the page had ``before`` of rows that were not measured this time."""
        mine = {figure.row for figure in self.figures}
        kept = [line for line in before.splitlines() if (rows := _rows_of(line)) and not rows <= mine]
        notes = [*(f"- {line}" for line in self.notes), *(line for line in kept if line.startswith("- "))]
        lines = [f"| {' | '.join(line)} |" for line in self._lines()]
        lines += [line for line in kept if line.startswith("| ")]
        text = [f"Measured on {self.machine}.", "", *sorted(notes, key=_first_row), ""]
        return "\n".join([*text, *_HEAD, *sorted(lines, key=_first_row)])

    def table(self) -> str:
        """All of it for a terminal."""
        lines = [("", "what", "unit", "mean", "spread", "rounds", "target", "")]
        lines += self._lines()
        widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
        table = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
        return "\n".join([self.machine, *self.notes, "", *(line.rstrip() for line in table)])

    def _lines(self) -> list[tuple[str, ...]]:
        return [_cells(figure, busy=self.others > BUSY_PERCENT) for figure in self.figures]

    def json(self) -> str:
        """All of it for a program, every round included."""
        return json.dumps(
            {
                "machine": self.machine,
                "notes": self.notes,
                "others": [part.others for part in self.parts],
                "code": self.code,
                "figures": [_fields(figure) for figure in self.figures],
            },
            indent=1,
        )

    def record(self, page: Path) -> None:
        """Write it into a page, between its marks; rows that were not measured stay. Raises ValueError if the marks are not there."""
        pages.record(page, "results", self.markdown(pages.recorded(page, "results")))


def _rows_of(line: str) -> set[str]:
    """The rows that a line of a page is about; none for a line of another kind."""
    found = _ABOUT.match(line)
    return set(found[1].split(", ")) if found else set()


def _first_row(line: str) -> int:
    return min((int(row.lstrip(string.ascii_letters) or 0) for row in _rows_of(line)), default=0)


def _cells(figure: Figure, *, busy: bool) -> tuple[str, ...]:
    target = figure.target.words if figure.target else ""
    spread = f"{_number(min(figure.rounds))} to {_number(max(figure.rounds))}"
    return (
        figure.row,
        figure.what,
        figure.unit,
        _number(figure.mean),
        spread,
        str(len(figure.rounds)),
        target,
        _verdict(figure, busy=busy),
    )


def _verdict(figure: Figure, *, busy: bool) -> str:
    if figure.target is None:
        return ""
    if busy and figure.target.compared:
        return _BUSY
    if figure.met:
        return _MET
    return _MISSED_BUSY if busy and not figure.target.counted else _MISSED


def _fields(figure: Figure) -> dict[str, Any]:
    target = figure.target
    return {
        "row": figure.row,
        "what": figure.what,
        "unit": figure.unit,
        "mean": figure.mean,
        "rounds": figure.rounds,
        "target": {"limit": target.limit, "atLeast": target.at_least} if target else None,
        "met": figure.met,
    }


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
