"""How long a model that failed is left alone by our own estimate, and how long a run waits (S3.13 to S3.21, S4.42, C3, C15, C17)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from laneway.api.modellane import ModelLaneSpec
from laneway.api.reasons import Cause

_MOST_DOUBLINGS = 5
_JITTER_SECONDS = (5.0, 30.0)
_FIRST_RETRY, _LONGEST_RETRY = timedelta(seconds=30), timedelta(minutes=10)
_RETRY_SPREAD = 0.3
ATTEMPT_SPACING = timedelta(seconds=6)
"""At least this long lies between a failure and the next attempt (S3.26)."""

CURVE_CAUSES = (Cause.RATE_LIMIT_MODEL, Cause.API_TRANSIENT, Cause.API_TIMEOUT)
"""Classes whose waits are our own estimates, each with a counter of its own."""


@dataclass(frozen=True)
class Policy:
    """A lane's settings of waiting."""

    first: dict[Cause, timedelta]
    longest: timedelta
    ceiling: timedelta
    cooldown: timedelta
    fallback_after: timedelta

    @classmethod
    def of(cls, spec: ModelLaneSpec) -> Policy:
        """From the lane's spec."""
        backoff = spec.backoff
        return cls(
            first={
                Cause.RATE_LIMIT_MODEL: timedelta(seconds=backoff.rate_limit_seconds),
                Cause.API_TRANSIENT: timedelta(seconds=backoff.transient_seconds),
                Cause.API_TIMEOUT: timedelta(seconds=backoff.timeout_seconds),
            },
            longest=timedelta(seconds=backoff.max_seconds),
            ceiling=timedelta(seconds=backoff.ceiling_seconds),
            cooldown=timedelta(seconds=spec.cooldown_seconds),
            fallback_after=timedelta(seconds=spec.fallback_after_seconds),
        )


@dataclass(frozen=True)
class Estimate:
    """Our own idea of a wait."""

    length: timedelta
    first: timedelta
    """Before it was doubled."""
    capped: bool
    """The doubled time was over the lane's longest."""


def estimate(policy: Policy, cause: Cause, *, failures: int) -> Estimate:
    """The wait after a failure of a class; ``failures`` counts those in a row before this one.

    ``first * 2 ** min(failures, 5)``, cut to the lane's longest: 60, 120, 240, 480, 960, 1800 s, or 30 ... 960 s for time-outs.
    """
    first = policy.first[cause]
    raw = first * 2 ** min(failures, _MOST_DOUBLINGS)
    return Estimate(length=min(raw, policy.longest), first=first, capped=raw > policy.longest)


def jitter(run_uid: str, attempt: int) -> timedelta:
    """5 to 30 s, evenly spread over runs and attempts, and the same each time it is asked: a restart changes no wait."""
    low, high = _JITTER_SECONDS
    return timedelta(seconds=low + _share(run_uid, attempt) * (high - low))


def retry_delay(retries: int, run_uid: str, attempt: int) -> timedelta:
    """The wait before a failed task is tried again (S4.42); ``retries`` counts those before this one.

    ``min(30 s * 2 ** retries, 600 s)``, and up to 30 % less or more, by run and attempt: 21 to 39 s the first time.
    """
    length: timedelta = min(_FIRST_RETRY * 2 ** min(retries, _MOST_DOUBLINGS), _LONGEST_RETRY)
    return length + length * _RETRY_SPREAD * (2 * _share(run_uid, attempt) - 1)


def _share(run_uid: str, attempt: int) -> float:
    digest = hashlib.sha256(f"{run_uid}/{attempt}".encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64


def next_attempt(
    until: datetime, *, failed: datetime, now: datetime, spread: timedelta, ceiling: timedelta
) -> datetime:
    """When a run looks again: after the model is back plus ``spread``, never sooner than 6 s after the failure.

    A wait over the ceiling is cut to the ceiling, without spread; then the run looks again (S3.21).
    """
    wanted = max(until + spread, failed + ATTEMPT_SPACING)
    return min(wanted, now + ceiling)
