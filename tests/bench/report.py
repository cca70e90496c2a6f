"""What a run of the benchmarks leaves: a table for people, JSON for programs, and an exit code."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.figures import Figure

MET, MISSED = 0, 1
_BEGIN, _END = "<!-- results -->", "<!-- /results -->"


@dataclass(frozen=True)
class Report:
    """The figures of one run, and under what conditions they were measured."""

    machine: str
    """The machine's shape; no names."""
    sizes: tuple[str, ...]
    """One sentence for each benchmark that was run."""
    figures: tuple[Figure, ...]
    notes: tuple[str, ...] = ()
    """What somebody who reads the numbers has to know."""

    @property
    def code(self) -> int:
        """The exit code: 0 if no target was missed, else 1."""
        return MISSED if any(figure.met is False for figure in self.figures) else MET

    def markdown(self) -> str:
        """All of it for a page."""
        head = ["| | what | unit | mean | spread | rounds | target | |", "|---|---|---|---|---|---|---|---|"]
        rows = [f"| {' | '.join(_cells(figure))} |" for figure in self.figures]
        text = [f"Measured on {self.machine}.", "", *(f"- {line}" for line in (*self.sizes, *self.notes)), ""]
        return "\n".join([*text, *head, *rows])

    def table(self) -> str:
        """All of it for a terminal."""
        lines = [("", "what", "unit", "mean", "spread", "rounds", "target", "")]
        lines += [_cells(figure) for figure in self.figures]
        widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
        table = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
        return "\n".join([self.machine, *self.sizes, *self.notes, "", *(line.rstrip() for line in table)])

    def json(self) -> str:
        """All of it for a program, every round included."""
        return json.dumps(
            {
                "machine": self.machine,
                "sizes": self.sizes,
                "notes": self.notes,
                "met": self.code == MET,
                "figures": [_fields(figure) for figure in self.figures],
            },
            indent=1,
        )

    def record(self, page: Path) -> None:
        """Write it into a page, between its marks. Raises ValueError if they are not there."""
        before, begin, rest = page.read_text().partition(_BEGIN)
        _, end, after = rest.partition(_END)
        if not begin or not end:
            raise ValueError(f"{page.name} must have {_BEGIN} and {_END}")
        page.write_text(f"{before}{begin}\n{self.markdown()}\n{end}{after}")


def _cells(figure: Figure) -> Sequence[str]:
    target = figure.target.words if figure.target else ""
    verdict = {None: "", True: "met", False: "MISSED"}[figure.met]
    spread = f"{_number(min(figure.rounds))} to {_number(max(figure.rounds))}"
    return (
        figure.row,
        figure.what,
        figure.unit,
        _number(figure.mean),
        spread,
        str(len(figure.rounds)),
        target,
        verdict,
    )


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


def joined(reports: Iterable[Report]) -> Report:
    """Several reports of one machine as one."""
    parts = list(reports)
    return Report(
        machine=parts[0].machine,
        sizes=tuple(line for part in parts for line in part.sizes),
        figures=tuple(figure for part in parts for figure in part.figures),
        notes=tuple(dict.fromkeys(line for part in parts for line in part.notes)),
    )
