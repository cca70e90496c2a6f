"""Places in a queue as they are shown: exact up to 10, then ranges (11 to 20, 21 to 50, 51 to 100, 101 to 200, ...).

With exact numbers for all, each run that leaves the head of a queue would rewrite the status of every run behind it: n runs, n * n / 2 writes. With
ranges a departure moves ten runs and one at each border of a range.
"""

from __future__ import annotations

from itertools import cycle

EXACT_UP_TO = 10


def position_range(rank: int) -> tuple[int, int]:
    """First and last place of the range that a place (1 is next) is shown as; both are the place itself up to 10."""
    if rank <= EXACT_UP_TO:
        return rank, rank
    low = EXACT_UP_TO
    for numerator, denominator in cycle(((2, 1), (5, 2), (2, 1))):
        high = low * numerator // denominator
        if rank <= high:
            break
        low = high
    return low + 1, high
