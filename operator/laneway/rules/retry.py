"""Whether one model call is tried again before its first byte, and how long to wait for that (S1.2 to S1.4, B1, C4, C6).

This is the small layer inside a call. Waits between attempts of a run are another matter: there the pod ends and holds nothing.
S0's numbers are reachable: 3 retries, 1000 ms, at most 300 s, no jitter, rate limits too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from laneway.api.reasons import Cause

RETRIED_STATUSES = frozenset({500, 502, 503, 504})
RETRIED_CAUSES = frozenset({Cause.RATE_LIMIT_MODEL, Cause.API_TRANSIENT, Cause.API_TIMEOUT})
"""Whatever the status, nothing else passes so soon: not a quota that is used up, not an address that is not allowed."""
_REFUSED_FOR_NOW = frozenset({429, 529})
_TIMED_OUT = 408
_LONGEST_HINT_SECONDS = 5
_LONGEST_HINT_FOR_RATE_LIMITS_SECONDS = 60
_SHORTEST_HINT_SECONDS = 1

Pick = Callable[[int, int], int]
"""Answers a whole number between two bounds, both included."""


@dataclass(frozen=True)
class RetryPolicy:
    """How often a call is tried again. The defaults are those of a lane's ``retry``."""

    max_retries: int = 2
    """Tries after the first one."""
    initial_backoff_milliseconds: int = 100
    """Doubles with each failure."""
    max_backoff_seconds: int | None = None
    """Longest backoff; None: no bound."""
    jitter: bool = True
    """Draw each wait between half of the backoff and all of it."""
    rate_limits: bool = False
    """Treat 429 and 529 as other failures, and obey a hint up to a minute."""
    timeouts: bool = False
    """Try again when no answer came in time: off, because the server may still be at work on the first try."""


NO_RETRIES = RetryPolicy(max_retries=0)


@dataclass(frozen=True)
class Failure:
    """What ended one try."""

    status: int | None = None
    """The answer's status; None when there was no answer."""
    timed_out: bool = False
    """There was a connection, but no answer in time."""
    retry_after_seconds: float | None = None
    """What the server asked for; None, too, if that lies in the past."""
    lasting: bool = False
    """Its class is none of RETRIED_CAUSES."""


def wait_milliseconds(policy: RetryPolicy, failure: Failure, *, failures: int, pick: Pick) -> int | None:
    """How long to wait before the next try; None when there is none, so that nobody sleeps after the last one (B1).

    ``failures`` counts the tries that failed, this one included. A hint of the server up to 5 s (60 s with ``rate_limits``) replaces our own
    estimate; a longer one ends the tries, because a pod that sleeps holds a slot.
    """
    if failures > policy.max_retries or not _may_retry(policy, failure, failures=failures):
        return None
    hint = failure.retry_after_seconds
    if hint is not None:
        longest = _LONGEST_HINT_FOR_RATE_LIMITS_SECONDS if policy.rate_limits else _LONGEST_HINT_SECONDS
        return round(max(hint, _SHORTEST_HINT_SECONDS) * 1000) if hint <= longest else None
    backoff = policy.initial_backoff_milliseconds * 2 ** (failures - 1)
    if policy.max_backoff_seconds is not None:
        backoff = min(backoff, policy.max_backoff_seconds * 1000)
    lowest = backoff // 2 if policy.jitter else backoff
    return pick(lowest, backoff) if lowest < backoff else backoff


def _may_retry(policy: RetryPolicy, failure: Failure, *, failures: int) -> bool:
    if failure.lasting:
        return False
    if failure.timed_out or failure.status == _TIMED_OUT:
        return policy.timeouts
    if failure.status in _REFUSED_FOR_NOW:
        return policy.rate_limits or (failures == 1 and failure.retry_after_seconds is not None)
    return failure.status is None or failure.status in RETRIED_STATUSES
