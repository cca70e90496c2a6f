"""What other programs used, where a cluster's own begin and end all the time: those of others are added up instead of ours taken away."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
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


Processes = Mapping[int, Process]
"""By process id."""


class Foreigners:
    """Tells how much of the machine programs used that belong neither to this benchmark nor to its clusters.

    What began and ended meanwhile as an orphan is not counted: init reaps those of the clusters too.
    """

    def __init__(self, runs: Iterable[str]) -> None:
        """``runs`` are state folders of clusters; a cluster's programs name them in their arguments, and its containers descend from those."""
        self._runs = tuple(runs)
        self._begun, self._before = time.monotonic(), _processes()

    def share(self) -> float:
        """Percent of all cores since this was made."""
        seconds = (time.monotonic() - self._begun) * (os.cpu_count() or 1)
        return 100 * foreign_seconds(self._before, _processes(), self._runs, os.getpid()) / seconds


def foreign_seconds(before: Processes, after: Processes, runs: Sequence[str], this: int) -> float:
    """CPU seconds that processes used which are not this one, do not name one of the folders, and descend from none of those.

    What a process used is its parent's once it has ended; what it had used before is taken away there again.
    """
    ours = _ours(before, runs, this) | _ours(after, runs, this)
    grown = {pid: _total(pid, after) - _total(pid, before) for pid in after if pid not in ours}
    for pid in before.keys() - after.keys() - ours:
        heir = pid
        while heir in before and heir not in after:
            heir = before[heir].parent
        if heir in grown and heir != _INIT:
            grown[heir] -= _total(pid, before)
    return sum(max(0.0, seconds) for seconds in grown.values())


def _total(pid: int, processes: Processes) -> float:
    if pid not in processes:
        return 0.0
    return processes[pid].used + (0.0 if pid == _INIT else processes[pid].reaped)


def _ours(processes: Processes, runs: Sequence[str], this: int) -> set[int]:
    children: dict[int, list[int]] = defaultdict(list)
    for pid, one in processes.items():
        children[one.parent].append(pid)
    left = [this, *(pid for pid, one in processes.items() if any(run in one.command for run in runs))]
    ours: set[int] = set()
    while left:
        pid = left.pop()
        if pid not in ours:
            ours.add(pid)
            left += children[pid]
    return ours


def _processes() -> Processes:
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
