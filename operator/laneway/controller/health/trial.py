"""What stands between a model and the runs that want it: its cooldown, and after that a trial. Pure.

A model that failed is used by one run first, and by all others when that went well: when a call succeeded, or when its agent has run for a
minute without a failure. Else everybody who waited would meet a server that has just come back, or that is still down. After a failure of the
account this holds for all models of the lane together. A trial is seen in the attempts themselves; nothing has to be remembered.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from laneway.api.agentrun import OnTransientError
from laneway.api.runstatus import Attempt
from laneway.controller.facts.objects import Run
from laneway.controller.facts.views import LaneView, Walk
from laneway.controller.health.cooling import LaneHealth
from laneway.controller.health.records import account_health, is_forgotten, longest_cooldown
from laneway.rules.cooldown import Cooldown

TRIAL_LASTS = timedelta(seconds=60)
"""An agent that has run for so long without a failure has shown enough: not every agent calls its model at once."""


@dataclass(frozen=True)
class Trial:
    """A model, or an account, that has failed and has not succeeded since."""

    of: str
    """The model; empty: the account, and so all models."""
    taken: bool
    """A run tries it now."""
    until: datetime | None = None
    """When that run is let alone, or the next one may try."""


@dataclass(frozen=True)
class Gate:
    """What a run meets that wants a model."""

    cooldown: Cooldown | None = None
    trial: Trial | None = None

    def shut_for(self, run: Run) -> bool:
        """Whether the model's cooldown keeps the run from it. A run that skips ignores our own estimate (S3.25)."""
        if self.cooldown is None:
            return False
        return not (self.cooldown.is_guess and run.spec.on_transient_error is OnTransientError.SKIP)


def gates(view: LaneView, health: LaneHealth, now: datetime) -> dict[str, Gate]:
    """The gate of each model of the lane."""
    active = [attempt for _, attempt in view.active]
    unsettled = _unsettled(view)
    found = {}
    for model, record in health.models.items():
        own = (record, health.account)
        cooldown = longest_cooldown(view.lane, model, (*own, *map(account_health, view.peers)), now)
        failed = None if is_forgotten(health.account, view.lane, model) else health.account.last_failure
        account = _trial("", failed, active, unsettled, now)
        found[model] = Gate(cooldown, account or _trial(model, record.last_failure, active, unsettled, now))
    return found


def _trial(
    of: str, failed: datetime | None, active: Iterable[Attempt], unsettled: Mapping[str, int], now: datetime
) -> Trial | None:
    """The trial after a failure; None when there is none, or when it is over."""
    if failed is None:
        return None
    if now < failed:
        return Trial(of, taken=True, until=failed)
    trying = [
        attempt
        for attempt in active
        if (not of or attempt.step.model == of) and attempt.slot_time and attempt.slot_time >= failed
    ]
    ends = [
        max(attempt.start_time, attempt.moved_time or attempt.start_time) + TRIAL_LASTS
        for attempt in trying
        if attempt.start_time
    ]
    first = min(ends, default=None)
    if first is not None and first <= now:
        return None
    in_doubt = sum(unsettled.values()) if not of else unsettled.get(of, 0)
    return Trial(of, taken=bool(trying or in_doubt), until=first)


def _unsettled(view: LaneView) -> dict[str, int]:
    """Grants whose write had no answer yet, by model: each may be a trial."""
    in_doubt = {held.run_uid for held in view.unsettled}
    found: dict[str, int] = {}
    for run in view.runs if in_doubt else ():
        if run.meta.uid in in_doubt and run.current is None:
            model = wanted_model(run, view)
            found[model] = found.get(model, 0) + 1
    for walk in view.walks:
        if walk.meta.uid in in_doubt:
            found[walk.model] = found.get(walk.model, 0) + 1
    return found


def wanted_model(run: Run | Walk, view: LaneView) -> str:
    """The model of the lane that a run which asks for a slot is about to use."""
    return run.model or view.lane.spec.models[0].name
