"""What all trials came to, as a table for people."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from crash.oracle import refused
from crash.trial import Outcome
from support import pages


@dataclass(frozen=True)
class Result:
    """One trial."""

    kind: str
    faults: int
    """How many faults there were; 0: the scenario was over before, so nothing was shown."""
    outcome: Outcome | None
    """None: it came to no end."""
    wrong: tuple[str, ...]
    """What did not hold."""


@dataclass(frozen=True)
class Table:
    """All of them."""

    machine: str
    seed: int
    results: tuple[Result, ...]
    left: int
    """Trials that the time was too short for."""

    @property
    def is_well(self) -> bool:
        """Whether there was a trial, and every one came to the same end."""
        return bool(self.results) and not any(result.wrong for result in self.results)

    def markdown(self) -> str:
        """The table, with what one has to know of it."""
        met = [result for result in self.results if result.faults]
        early = f"; the time was too short for {self.left} more" if self.left else ""
        over = len(self.results) - len(met)
        head = [
            f"Measured on {self.machine}. {len(self.results)} trials in the order of seed {self.seed}{early}.",
            f"{over} of them met no fault: the scenario was over before that write, whose number differs by a few.",
            "",
            "| fault | trials | faults | operators started | writes that the API server refused as done or stale | other ends, pods too many, writes in silence |",
            "|---|---|---|---|---|---|",
        ]
        kinds = Counter(result.kind for result in met)
        return "\n".join([*head, *(self._row(kind) for kind in sorted(kinds)), self._total(met)])

    def record(self, page: Path) -> None:
        """Write it into a page, between its marks. Raises ValueError if they are not there."""
        pages.record(page, "crash", self.markdown())

    def _row(self, kind: str) -> str:
        return _cells(kind, [result for result in self.results if result.kind == kind and result.faults])

    @staticmethod
    def _total(met: list[Result]) -> str:
        return _cells("all", met)


def _cells(words: str, results: list[Result]) -> str:
    ended = [result.outcome for result in results if result.outcome]
    counts = (
        len(results),
        sum(result.faults for result in results),
        sum(outcome.starts for outcome in ended),
        sum(refused(outcome).total() for outcome in ended),
        sum(bool(result.wrong) for result in results),
    )
    return f"| {words} | {' | '.join(f'{count:,}' for count in counts)} |"
