"""The machine's shape, what a process has used of it, and how much of it others used meanwhile."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_IDLE_FIELDS = (3, 4)
"""Idle and waiting for a disk, in the first line of /proc/stat."""


def shape() -> str:
    """Cores, memory and Python, in words."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return f"{os.cpu_count()} cores with {memory:.0f} GB of memory, {platform.machine()}, Python {platform.python_version()}"


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far; 0 for one that has ended."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / _TICKS if fields else 0.0


def peak_megabytes(pid: int) -> float:
    """The most memory that a process ever had resident."""
    return _memory(pid, "VmHWM:")


def megabytes(pid: int) -> float:
    """The memory that a process has resident now."""
    return _memory(pid, "VmRSS:")


def _memory(pid: int, field: str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    [kilobytes] = [line.split()[1] for line in lines if line.startswith(field)]
    return int(kilobytes) * 1024 / 1e6


class Others:
    """Tells how much of the machine was used by programs that are not part of a benchmark."""

    def __init__(self, run: str) -> None:
        """``run`` is the state folder of the control plane; its programs name it in their arguments."""
        self._run = run.encode()
        self._begun = time.monotonic()
        self._before = self._used()

    def share(self) -> float:
        """Percent of all cores since this was made. Processes of ours must live from begin to end, or count as others."""
        seconds = (time.monotonic() - self._begun) * (os.cpu_count() or 1)
        return 100 * max(0.0, self._used() - self._before) / seconds

    def _used(self) -> float:
        fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
        busy = sum(int(ticks) for place, ticks in enumerate(fields) if place not in _IDLE_FIELDS) / _TICKS
        return busy - sum(cpu_seconds(pid) for pid in self._ours())

    def _ours(self) -> Iterator[int]:
        """This process and its children, and all that belongs to the control plane."""
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            pid = int(folder.name)
            fields = _stat(pid)
            if fields and (os.getpid() in (pid, int(fields[1])) or self._run in _arguments(pid)):
                yield pid


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _arguments(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""
