"""What one life of the gateway keeps: memory, open files and threads, read again and again from /proc."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from bench import machine
from bench.figures import Figure, at_most
from soak.oracle import ROW

FEWEST = 16
"""A life with fewer samples is not judged."""
_MOST = (
    ("memory", "MB", 8.0),
    ("open files", "", 16.0),
    ("threads", "", 2.0),
)
"""By so much the mean of the last quarter of a life may be over that of the second: pools and the allocator settle by it."""


@dataclass(frozen=True)
class Sample:
    """One look at a process."""

    megabytes: float
    files: int
    threads: int


def look(pid: int) -> Sample:
    """Look now. Raises OSError when the process is gone."""
    return Sample(
        machine.megabytes(pid),
        sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()),
        sum(1 for _ in Path(f"/proc/{pid}/task").iterdir()),
    )


def rise(values: Sequence[float]) -> float:
    """The mean of the last quarter less that of the second: the first one warms up. Raises ValueError for fewer than four."""
    quarter = len(values) // 4
    if not quarter:
        raise ValueError("quarters need four values")
    return fmean(values[-quarter:]) - fmean(values[quarter : 2 * quarter])


def figures(lives: Sequence[Sequence[Sample]]) -> tuple[Figure, ...]:
    """The greatest rise over all lives that were long enough. Raises ValueError if none was: then nothing is known."""
    judged = [life for life in lives if len(life) >= FEWEST]
    if not judged:
        raise ValueError(f"no life of the gateway has {FEWEST} samples: more calls, or fewer kills")
    reads: tuple[Callable[[Sample], float], ...] = (
        lambda one: one.megabytes,
        lambda one: one.files,
        lambda one: one.threads,
    )
    return tuple(
        Figure(
            ROW,
            f"{what}, rise from a life's second quarter to its last: the most of {len(judged)} lives",
            unit,
            (max(rise([read(one) for one in life]) for life in judged),),
            at_most(most, counted=True),
        )
        for (what, unit, most), read in zip(_MOST, reads, strict=True)
    )
