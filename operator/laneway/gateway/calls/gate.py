"""Whether a lane's model may be called now: its cooldown, its account's, and then one call that goes first (design sections 7 and 10).

The lane's status decides. A failure that this gateway has seen holds by itself until the status shows it, by the same rules. A refused key is
the exception: it may have been changed since, so only the status shuts a model for it. All times here are the operator's clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from datetime import datetime

from laneway.api.gatewaystate import CallFailure
from laneway.api.reasons import Cause
from laneway.gateway.cluster.objects import Lane, LaneKey
from laneway.gateway.cluster.views import Views
from laneway.gateway.state.evidence import LaneModel
from laneway.gateway.state.state import Clock, State
from laneway.rules.backoff import Policy
from laneway.rules.cooldown import ACCOUNT_CAUSES, Cooldown, Health, after_failure, after_success, counts, current
from laneway.rules.records import (
    account_key,
    cleared_at,
    evidence_of,
    forgotten_until,
    is_enough,
    is_forgotten,
    longest_cooldown,
)

TRIAL_SECONDS = 30.0
"""A call that goes first and is not answered yet keeps the others waiting for so long: less than a call is held by default."""
_UNHARMED = Health()


@dataclass(frozen=True)
class Shut:
    """Why a model may not be called now."""

    cooldown: Cooldown | None
    """None: another call tries the model first."""
    seconds: float | None
    """Until it may be over; None: nobody knows."""


@dataclass(eq=False, slots=True)
class Pass:
    """A call's leave to call a model."""

    lane: LaneKey
    keys: tuple[Hashable, ...] = ()
    """What it tries first, for all others; empty: nothing."""
    until: float = 0.0
    """By the loop's clock: then the next one may try."""


class Gate:
    """The gates of all models."""

    def __init__(self, *, views: Views, state: State, clock: Clock) -> None:
        self._views = views
        self._state = state
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._trials: dict[Hashable, Pass] = {}
        self._answered: dict[Hashable, datetime] = {}
        """When a model, or an account, last began to answer a call that went first."""
        self._account_failures: dict[LaneKey, CallFailure] = {}
        self._wakers: dict[LaneKey, asyncio.Future[None]] = {}

    def look(self, lane: Lane, model: str, *, skips: bool) -> Shut | Pass:
        """What a call meets now. ``skips``: its run ignores our own estimates (S3.25)."""
        if self._is_unharmed(lane, model):
            return Pass(lane.key)
        now = self._now()
        own = self._model_health(lane, model, now)
        accounts, cleared = self._accounts(lane, now), cleared_at(lane.spec, model)
        cooldown = longest_cooldown(own, accounts, cleared, now)
        if cooldown is not None:
            if skips and cooldown.is_guess:
                return Pass(lane.key)
            seconds = None if cooldown.until is None else (cooldown.until - now).total_seconds()
            return Shut(cooldown, seconds)
        believed = (one for one in accounts if not is_forgotten(one, cleared))
        keys = tuple(self._on_trial(lane, model, own, believed))
        taken = [trial.until for key in keys if (trial := self._trials.get(key)) and trial.until > self._loop.time()]
        if taken:
            return Shut(None, max(taken) - self._loop.time())
        return Pass(lane.key, keys, self._loop.time() + TRIAL_SECONDS)

    def rests(self, lane: Lane, model: str, *, skips: bool) -> Cause | None:
        """Why a model must not be called now; None: it may be, or another call tries it first."""
        found = self.look(lane, model, skips=skips)
        return found.cooldown.cause if isinstance(found, Shut) and found.cooldown is not None else None

    def take(self, found: Pass) -> None:
        """Call the model, with a pass found just now. Whoever took it gives it back by ``leave``."""
        self._trials.update(dict.fromkeys(found.keys, found))

    def begin(self, held: Pass) -> None:
        """The model answers the call: if it went first, all others may follow."""
        if held.keys:
            now = self._now()
            self._answered.update(dict.fromkeys(held.keys, now))
            self.leave(held)

    def leave(self, held: Pass) -> None:
        """The call is over; doing it again changes nothing."""
        mine = [key for key in held.keys if self._trials.get(key) is held]
        for key in mine:
            del self._trials[key]
        if mine:
            self.wake(held.lane)

    def heard(self, lane: Lane, failure: CallFailure | None) -> None:
        """A try has ended."""
        if failure is not None and failure.cause in ACCOUNT_CAUSES and failure.cause is not Cause.AUTH_FAILED:
            self._account_failures[lane.key] = failure
        self.wake(lane.key)

    def waker(self, lane: LaneKey) -> asyncio.Future[None]:
        """Done when anything has changed that may open a model of the lane."""
        if lane not in self._wakers:
            self._wakers[lane] = self._loop.create_future()
        return self._wakers[lane]

    def wake(self, lane: LaneKey) -> None:
        """Let those look again who wait for a model of the lane, or of one that shares its account."""
        if not self._wakers:
            return
        known = self._views.lanes.get(lane)
        for key in {lane, *(peer.key for peer in self._views.peers(known))} if known else {lane}:
            waker = self._wakers.pop(key, None)
            if waker is not None:
                waker.set_result(None)

    def lane_changed(self, key: LaneKey, lane: Lane | None) -> None:
        """The lane was edited, its status has changed, or it is gone."""
        if lane is None:
            self._account_failures.pop(key, None)
            for model in [one for one in self._answered if isinstance(one, LaneModel) and one[:2] == key]:
                del self._answered[model]
        self.wake(key)

    def _is_unharmed(self, lane: Lane, model: str) -> bool:
        """Whether nothing at all is known against the model: the way of nearly every call."""
        if lane.records or self._account_failures or any(peer.account != _UNHARMED for peer in self._views.peers(lane)):
            return False
        known = self._state.evidence_of(LaneModel(*lane.key, model))
        return known is None or known.last_failure is None

    def _now(self) -> datetime:
        return self._clock() + self._state.operator_ahead

    def _model_health(self, lane: Lane, model: str, now: datetime) -> Health:
        """The record in status, with what this gateway knows and the status does not show yet."""
        health = lane.records.get(model, Health())
        known = self._state.evidence_of(LaneModel(*lane.key, model))
        if known is None:
            return current(health, now)
        ahead, failure = self._state.operator_ahead, known.last_failure
        if failure is not None and failure.cause not in ACCOUNT_CAUSES and is_enough(known, failure):
            evidence = evidence_of(failure, ahead=ahead)
            if counts(health, evidence, not_before=forgotten_until(lane.created, cleared_at(lane.spec, model))):
                health = after_failure(health, evidence, Policy.of(lane.spec)).health
        if known.last_success_time is not None:
            health = after_success(health, known.last_success_time + ahead)
        return current(health, now)

    def _accounts(self, lane: Lane, now: datetime) -> list[Health]:
        """The record of the account, as each lane has it that shares it."""
        return [self._account_health(peer, now) for peer in self._views.peers(lane)]

    def _account_health(self, lane: Lane, now: datetime) -> Health:
        health, failure = lane.account, self._account_failures.get(lane.key)
        if failure is not None:
            evidence = evidence_of(failure, ahead=self._state.operator_ahead)
            if counts(health, evidence, not_before=forgotten_until(lane.created)):
                health = after_failure(health, evidence, Policy.of(lane.spec)).health
        return current(health, now)

    def _on_trial(self, lane: Lane, model: str, own: Health, accounts: Iterator[Health]) -> Iterator[Hashable]:
        """What has failed and not answered since: the account with all its models, the model."""
        failed = max((one.last_failure for one in accounts if one.last_failure), default=None)
        for key, last in (
            (account_key(lane.namespace, lane.spec) or lane.key, failed),
            (LaneModel(*lane.key, model), own.last_failure),
        ):
            answered = self._answered.get(key)
            if last is not None and (answered is None or answered < last):
                yield key
