"""What is known of a model's (or an account's) health, and how failures, successes and a person's word change it. Pure.

The record is in lane status and is all there is: counters, the last failure, the cooldown, and a mark up to which everything is accounted
for. One outage counts once (C5): a failure counts only if its call was sent after the mark, and not while a cooldown holds. Calls that are
still made then, by attempts that run already, only show what is known; else an agent's own retries would drive the counter up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from laneway.api.reasons import Cause, ResetSource
from laneway.rules.backoff import CURVE_CAUSES, Policy, estimate

SERVER_SILENT_FOR = timedelta(seconds=300)
"""An account limit whose end the server does not name (S3.12)."""
_AT_LEAST = timedelta(seconds=1)

ACCOUNT_CAUSES = frozenset({Cause.RATE_LIMIT_ACCOUNT, Cause.QUOTA_EXHAUSTED, Cause.AUTH_FAILED})
"""These cool every model behind the same key (C16)."""
COOLING_CAUSES = frozenset({*CURVE_CAUSES, *ACCOUNT_CAUSES})
"""A failure of any other class says nothing of the model's health (S2.33)."""
OVERLOADED = 529
_UNAUTHORIZED = 401


@dataclass(frozen=True)
class Evidence:
    """A failed call that may count. Times are the operator's clock."""

    cause: Cause
    sent: datetime
    seen: datetime
    """When it failed."""
    status: int | None = None
    reset: datetime | None = None
    """When the model may be used again, as the server said."""
    source: ResetSource | None = None
    elsewhere: bool = False
    """The run has another step that is free."""

    @property
    def of_account(self) -> bool:
        """Whether it speaks of the key and not of the model (C16). A 403 may be about one model only, and so speaks of neither."""
        return self.cause in ACCOUNT_CAUSES and (self.cause is not Cause.AUTH_FAILED or self.status == _UNAUTHORIZED)

    @property
    def of_health(self) -> bool:
        """Whether it says anything of the health of a model or an account."""
        return self.cause in CURVE_CAUSES or self.of_account


@dataclass(frozen=True)
class Cooldown:
    """A time during which nobody uses the model."""

    cause: Cause
    source: ResetSource
    until: datetime | None
    """None: until a person or a probe says otherwise."""

    def holds(self, now: datetime) -> bool:
        """Whether it is in force. It ends exactly at its time (S4.6)."""
        return self.until is None or now < self.until

    @property
    def is_guess(self) -> bool:
        """Whether it is our own estimate of something that passes by itself: a run may choose to ignore it (S3.25)."""
        return self.source is ResetSource.ESTIMATED and self.until is not None


@dataclass(frozen=True)
class Health:
    """The record of one model or account."""

    cooldown: Cooldown | None = None
    counts: Mapping[Cause, int] = field(default_factory=dict)
    """Failures in a row by class."""
    last_failure: datetime | None = None
    """When the last failure was counted; None after a success."""
    last_status: int | None = None
    mark: datetime | None = None
    """Failures of calls that were sent up to then are accounted for. Rounded up to a second, as status keeps it."""

    @property
    def on_trial(self) -> bool:
        """It failed, and nothing has succeeded since: after the cooldown one call goes first."""
        return self.last_failure is not None


@dataclass(frozen=True)
class Outcome:
    """What a failure does: the health after it, and how its wait came about."""

    health: Health
    count: int = 0
    """Failures of this class in a row; 0 where the server's word holds."""
    original: datetime | None = None
    """The server's time, or our estimate before it was doubled."""
    capped: bool = False


def counts(health: Health, evidence: Evidence, *, not_before: datetime | None = None) -> bool:
    """Whether a failure counts. ``not_before``: what was sent up to then is forgotten (a lane made anew, a manual Clear).

    While a cooldown holds only a server's later time counts: it moves the end (S4.11).
    """
    if not evidence.of_health:
        return False
    if any(mark is not None and evidence.sent <= mark for mark in (health.mark, not_before)):
        return False
    known = health.cooldown
    if known is None:
        return True
    if known.until is None:
        return False
    later = evidence.reset is not None and evidence.reset > known.until
    return later or evidence.sent > known.until  # not >=: once it is over, its end is the mark


def after_failure(health: Health, evidence: Evidence, policy: Policy) -> Outcome:
    """The health after a failure that counts.

    A server's time is used as it is and leaves the counters alone; only our own estimates grow (C3, S3.11). With another step free the
    model rests for the lane's ``cooldownSeconds``, or longer if the server says so (C15).
    """
    seen, cause = evidence.seen, evidence.cause
    kept = dict(health.counts)
    count, capped = 0, False
    if evidence.reset is not None and evidence.source is not None:
        if evidence.reset <= seen:
            return Outcome(_failed(health, evidence, None, {}), original=evidence.reset)
        source, original = evidence.source, evidence.reset
        until = max(original, seen + _AT_LEAST)
    elif cause is Cause.AUTH_FAILED:
        return Outcome(_failed(health, evidence, Cooldown(cause, ResetSource.ESTIMATED, None), kept))
    elif cause is Cause.RATE_LIMIT_ACCOUNT:
        source, original = ResetSource.SERVER_MISSING, seen + SERVER_SILENT_FOR
        until = original
    elif cause is Cause.QUOTA_EXHAUSTED:
        source, original = ResetSource.ESTIMATED, seen + policy.longest
        until = original
    else:
        guess = estimate(policy, cause, failures=kept.get(cause, 0))
        count = kept[cause] = kept.get(cause, 0) + 1
        source, original, capped = ResetSource.ESTIMATED, seen + guess.first, guess.capped
        until = seen + (policy.cooldown if evidence.elsewhere else guess.length)
    if evidence.elsewhere and until - seen > policy.fallback_after:
        until = max(until, seen + policy.cooldown)
    return Outcome(_failed(health, evidence, Cooldown(cause, source, until), kept), count, original, capped)


def after_success(health: Health, sent: datetime) -> Health:
    """The health after a call that succeeded, if it was sent after the last failure: counters are emptied, our own estimate ends.

    A server's word and a person's stay until their time.
    """
    if health.last_failure is None or sent <= health.last_failure:
        return health
    kept = health.cooldown
    if kept is not None and kept.source is ResetSource.ESTIMATED:
        kept = None
    return Health(cooldown=kept, mark=_later(health.mark, sent))


def after_clear(health: Health, cleared: datetime) -> Health:
    """The health after a person said that failures up to ``cleared`` are forgotten. Said twice it changes nothing more (S4.9)."""
    blank = health.cooldown is None and health.last_failure is None
    learned = health.last_failure or health.mark
    if blank or (learned is not None and learned > cleared):
        return health
    return Health(mark=_later(health.mark, cleared))


def current(health: Health, now: datetime) -> Health:
    """Without a cooldown that is over; counters stay until a success (C19)."""
    if health.cooldown is None or health.cooldown.holds(now):
        return health
    return replace(health, cooldown=None, mark=_later(health.mark, health.cooldown.until))


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    known = [ceil_second(moment) for moment in (one, other) if moment is not None]
    return max(known, default=None)


def ceil_second(moment: datetime) -> datetime:
    """The next whole second: status keeps no fractions, a mark must not lie before what it marks, and no wait be shorter than the server said."""
    floor = moment.replace(microsecond=0)
    return floor if floor == moment else floor + timedelta(seconds=1)


def _failed(health: Health, evidence: Evidence, cooldown: Cooldown | None, counts: Mapping[Cause, int]) -> Health:
    seen = ceil_second(evidence.seen)
    if cooldown is not None and cooldown.until is not None:
        cooldown = replace(cooldown, until=ceil_second(cooldown.until))
    return Health(
        cooldown=cooldown,
        counts=dict(counts),
        last_failure=seen,
        last_status=evidence.status,
        mark=_later(health.mark, seen),
    )
