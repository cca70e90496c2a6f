"""The health of a model as a run sees it: what the lane's status knows, and what the run's own failed attempts add to that. Pure.

An attempt ends, and in the same pass its run has to know how long its model rests; the lane reads the same failure from the run's status a
moment later. Both use the same rules, and a failure that the lane has entered already changes nothing here.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from laneway.api.runstatus import Attempt
from laneway.controller.facts.objects import Lane, Run
from laneway.controller.health.records import account_health, after_counted, evidence_of, longest_cooldown, model_health
from laneway.rules.cooldown import Cooldown, Health, Outcome


def after_attempt(run: Run, lane: Lane, attempt: Attempt) -> Outcome | None:
    """What the failure of an attempt does to its model, or its account; None: the lane has accounted for it already."""
    if attempt.trouble is None or attempt.cause is None:
        return None
    evidence = evidence_of(attempt.cause, attempt.trouble)
    earlier = [one for one in run.status.attempts if one.id < attempt.id]
    own, account = _folded(earlier, lane, attempt.step.model)
    return after_counted(account if evidence.of_account else own, evidence, lane, attempt.step.model)


def healths(run: Run, lane: Lane, model: str) -> tuple[Health, Health]:
    """The record of a model and that of its account."""
    return _folded(run.status.attempts, lane, model)


def cooldown_for(run: Run, lane: Lane, model: str, peers: Iterable[Lane], now: datetime) -> Cooldown | None:
    """What keeps a run from a model: the model's cooldown or its account's, wherever that was learned; the longest."""
    elsewhere = (_folded(run.status.attempts, peer, model)[1] for peer in peers)
    return longest_cooldown(lane, model, (*healths(run, lane, model), *elsewhere), now)


def _folded(attempts: Iterable[Attempt], lane: Lane, model: str) -> tuple[Health, Health]:
    own, account = model_health(lane, model), account_health(lane)
    for attempt in attempts:
        step = attempt.step
        if attempt.trouble is None or attempt.cause is None or (step.namespace, step.lane) != lane.meta.key:
            continue
        evidence = evidence_of(attempt.cause, attempt.trouble)
        if evidence.of_account:
            outcome = after_counted(account, evidence, lane, step.model)
            account = outcome.health if outcome else account
        elif step.model == model:
            outcome = after_counted(own, evidence, lane, model)
            own = outcome.health if outcome else own
    return own, account
