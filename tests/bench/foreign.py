"""What other programs used, where a cluster's own begin and end all the time: those of others are added up instead of ours taken away."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_INIT = 1


@dataclass(frozen=True)
class Process:
    """One process that lives."""

    parent: int
    command: str
    used: float
    """CPU seconds of its own."""
    reaped: float
    """CPU seconds of its children that have ended, and of theirs."""


class Foreigners:
    """Tells how much of the machine programs used that belong neither to this benchmark nor to its clusters.

    An orphan that ends is not counted: init reaps those of the clusters too.
    """

    def __init__(self, runs: Iterable[str]) -> None:
        """``runs`` are state folders of clusters; a cluster's programs name them in their arguments, and its containers descend from those."""
        self._runs = tuple(runs)
        self._begun, self._before = time.monotonic(), self._used()

    def share(self) -> float:
        """Percent of all cores since this was made."""
        seconds = (time.monotonic() - self._begun) * (os.cpu_count() or 1)
        return 100 * max(0.0, self._used() - self._before) / seconds

    def _used(self) -> float:
        return foreign_seconds(_processes(), self._runs, os.getpid())


def foreign_seconds(processes: Mapping[int, Process], runs: Iterable[str], this: int) -> float:
    """CPU seconds of all processes that are not this one, do not name one of the folders, and descend from none of those.

    What a child used is its parent's when it has ended, so that the sum never loses it.
    """
    named = {pid for pid, one in processes.items() if any(run in one.command for run in runs)}
    children: dict[int, list[int]] = defaultdict(list)
    for pid, one in processes.items():
        children[one.parent].append(pid)
    ours: set[int] = set()
    left = [this, *named]
    while left:
        pid = left.pop()
        if pid not in ours:
            ours.add(pid)
            left += children[pid]
    return sum(one.used + (0.0 if pid == _INIT else one.reaped) for pid, one in processes.items() if pid not in ours)


def _processes() -> dict[int, Process]:
    found = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
            command = (folder / "cmdline").read_bytes().decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        used, reaped = (sum(map(int, fields[start : start + 2])) / _TICKS for start in (11, 13))
        found[int(folder.name)] = Process(int(fields[1]), command, used, reaped)
    return found
