"""From what was heard of a lane's models to the health of each, and of the account behind them. Pure.

Three have a say: the gateway, for every call; runs, for the failure that ended an attempt; and a person. All of it is state and is read again at
each pass: the marks in the lane's status keep it from counting twice (``rules/cooldown.py``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import combinations

from laneway.api.modellane import ManualCooldown
from laneway.api.reasons import Cause, LaneReason
from laneway.controller.facts.objects import Lane
from laneway.controller.facts.views import LaneView
from laneway.controller.health import byhand
from laneway.controller.health.records import (
    account_health,
    after_counted,
    cleared_at,
    model_health,
    said_by_hand,
)
from laneway.rules.backoff import Policy
from laneway.rules.cooldown import (
    OVERLOADED,
    Evidence,
    Health,
    after_clear,
    after_failure,
    after_success,
    counts,
    current,
)
from laneway.rules.records import evidence_of, forgotten_until, is_enough

OVERLOADED_TOGETHER = timedelta(seconds=60)
"""Two overloaded models of one account in this time are an overloaded account (C16)."""


@dataclass(frozen=True)
class LaneHealth:
    """The health of a lane's models and of its account, after everything that is known now."""

    models: Mapping[str, Health]
    account: Health
    counted: tuple[Heard, ...] = ()
    """Failures that counted in this pass, the latest last."""


@dataclass(frozen=True)
class Heard:
    """A call that failed, or that succeeded."""

    model: str
    moment: datetime
    """When it failed; of a success, when it was sent."""
    failure: Evidence | None = None
    requests: int = 1
    """Requests that failed since a success."""
    overload: bool = False
    """The second of two models of the account that were overloaded together."""

    @property
    def of_account(self) -> bool:
        """Whether it is a failure of the account."""
        return self.failure is not None and (self.overload or self.failure.of_account)


def work_out(view: LaneView, now: datetime) -> LaneHealth:
    """The health of everything behind a lane."""
    lane = view.lane
    heard = sorted(_heard(view), key=lambda one: (one.moment, one.failure is None, one.model))
    counted: list[Heard] = []
    models = {}
    for model in lane.spec.models:
        own = [one for one in heard if one.model == model.name and not one.of_account]
        models[model.name] = _model(lane, model.name, own, now, counted)
    account = _after(
        account_health(lane), (one for one in heard if one.of_account or one.failure is None), lane, counted
    )
    account = _after_overload(view, models, account, counted)
    account = _after_probe(view, current(account, now))
    return LaneHealth(models, account, tuple(counted))


def _model(lane: Lane, model: str, heard: Iterable[Heard], now: datetime, counted: list[Heard]) -> Health:
    said: ManualCooldown | None = said_by_hand(lane, model)
    health = byhand.released(model_health(lane, model), said, now)
    if cleared := cleared_at(lane, model):
        health = after_clear(health, cleared)
    health = current(_after(health, heard, lane, counted), now)
    return byhand.held(health, said, now)


def _after(health: Health, heard: Iterable[Heard], lane: Lane, counted: list[Heard]) -> Health:
    for one in heard:
        if one.failure is None:
            health = after_success(health, one.moment)
        elif outcome := after_counted(health, one.failure, lane, one.model):
            health = outcome.health
            counted.append(one)
    return health


# ---- what was heard


def _heard(view: LaneView) -> Iterable[Heard]:
    for known in view.evidence:
        failure = known.last_failure
        if failure is not None and is_enough(known, failure):
            evidence = evidence_of(failure, elsewhere=known.run_uid in view.elsewhere)
            yield Heard(known.model, failure.seen_time, evidence, known.failures)
        if known.last_success_time is not None:
            yield Heard(known.model, known.last_success_time)
    for model, troubles in view.troubles.items():
        yield from (Heard(model, trouble.seen, trouble) for trouble in troubles)
    if view.lane.direct:
        yield from (Heard(model, moment) for model, moment in view.successes.items())


# ---- the account


def _after_overload(view: LaneView, models: Mapping[str, Health], account: Health, counted: list[Heard]) -> Health:
    """Two overloaded models are an overloaded account: it rests until the later of the two may be used again (C16)."""
    lanes = {view.lane.meta.key: models}
    lanes |= {
        peer.meta.key: {one.name: model_health(peer, one.name) for one in peer.spec.models} for peer in view.peers
    }
    found = [(name, health) for known in lanes.values() for name, health in known.items() if _is_overloaded(health)]
    for (_, one), (model, other) in combinations(sorted(found, key=_last_failure), 2):
        evidence = _together(one, other)
        if evidence and counts(account, evidence, not_before=forgotten_until(view.lane.meta.created)):
            account = after_failure(account, evidence, Policy.of(view.lane.spec)).health
            counted.append(Heard(model, evidence.seen, evidence, overload=True))
    return account


def _is_overloaded(health: Health) -> bool:
    return health.last_status == OVERLOADED and health.last_failure is not None and health.cooldown is not None


def _last_failure(found: tuple[str, Health]) -> tuple[datetime | None, str]:
    return found[1].last_failure, found[0]


def _together(one: Health, other: Health) -> Evidence | None:
    first, last = one.last_failure, other.last_failure
    ends = [health.cooldown.until for health in (one, other) if health.cooldown and health.cooldown.until]
    if first is None or last is None or other.cooldown is None or not ends or last - first > OVERLOADED_TOGETHER:
        return None
    return Evidence(Cause.API_TRANSIENT, last, last, OVERLOADED, max(ends), other.cooldown.source)


def _after_probe(view: LaneView, account: Health) -> Health:
    """A refused key is believed to be good again when a probe after the refusal found the server reachable with it (S3.36)."""
    refused = account.cooldown is not None and account.cooldown.cause is Cause.AUTH_FAILED
    probe = view.current_probe
    if not refused or probe is None or probe.reason is not LaneReason.BACKEND_REACHABLE:
        return account
    return after_success(account, probe.probed_time)
