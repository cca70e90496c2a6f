"""Whether one model call is tried again before its first byte, and how long to wait for that (S1.2 to S1.4, B1, C4, C6).

This is the small layer inside a call. Waits between attempts of a run are another matter: there the pod ends and holds nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

RETRIED_STATUSES = frozenset({500, 502, 503, 504})
_REFUSED_FOR_NOW = frozenset({429, 529})
_LONGEST_HINT_SECONDS = 5
_SHORTEST_HINT_SECONDS = 1


@dataclass(frozen=True)
class RetryPolicy:
    """How often a call is tried again. The defaults are those of a lane's ``retry``."""

    max_retries: int = 2
    """Tries after the first one."""
    initial_backoff_milliseconds: int = 100
    """Doubles with each failure."""
    timeouts: bool = False
    """Try again when no answer came in time: off, because the server may still be at work on the first try."""


@dataclass(frozen=True)
class Failure:
    """What ended one try."""

    status: int | None = None
    """The answer's status; None when there was no answer."""
    timed_out: bool = False
    """There was a connection, but no answer in time."""
    retry_after_seconds: float | None = None
    """What the server asked for, as ``resets.retry_after_seconds`` reads it."""


def wait_milliseconds(
    policy: RetryPolicy, failure: Failure, *, failures: int, pick: Callable[[int, int], int]
) -> int | None:
    """How long to wait before the next try; None when there is none, so that nobody sleeps after the last one (B1).

    ``failures`` counts the tries that failed, this one included. ``pick`` answers a whole number between two bounds, both included.
    A hint of the server up to 5 s replaces our own estimate; a longer one ends the tries, because a pod that sleeps holds a slot.
    """
    if failures > policy.max_retries or not _may_retry(policy, failure, failures=failures):
        return None
    hint = failure.retry_after_seconds
    if hint is not None:
        return round(max(hint, _SHORTEST_HINT_SECONDS) * 1000) if hint <= _LONGEST_HINT_SECONDS else None
    backoff = policy.initial_backoff_milliseconds * 2 ** (failures - 1)
    lowest = backoff // 2
    return pick(lowest, backoff) if lowest < backoff else backoff


def _may_retry(policy: RetryPolicy, failure: Failure, *, failures: int) -> bool:
    if failure.timed_out:
        return policy.timeouts
    if failure.status in _REFUSED_FOR_NOW:
        return failures == 1 and failure.retry_after_seconds is not None
    return failure.status is None or failure.status in RETRIED_STATUSES
