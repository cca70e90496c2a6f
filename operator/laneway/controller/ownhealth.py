"""The health of a model as a run sees it: what the lane's status knows, and what the run's own failed attempts add to that. Pure.

An attempt ends, and in the same pass its run has to know how long its model rests; the lane reads the same failure from the run's status a
moment later. Both use the same rules, and a failure that the lane has entered already changes nothing here.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from laneway.api.modellane import CooldownMode
from laneway.api.reasons import Cause
from laneway.api.runstatus import Attempt, Trouble
from laneway.controller.lanehealth import account_health, model_health
from laneway.controller.views import Lane, Run
from laneway.rules.backoff import Policy
from laneway.rules.cooldown import Cooldown, Evidence, Health, Outcome, after_failure, counts, current

_UNAUTHORIZED = 401


def evidence_of(cause: Cause, trouble: Trouble) -> Evidence:
    """A failed attempt as the rules of cooldowns want it."""
    return Evidence(
        cause=cause,
        sent=trouble.sent_time,
        seen=trouble.seen_time,
        status=trouble.status,
        reset=trouble.reset_time,
        source=trouble.reset_source,
        elsewhere=bool(trouble.elsewhere),
    )


def is_of_account(evidence: Evidence) -> bool:
    """Whether a failure speaks of the key and not of the model (C16)."""
    refused = evidence.cause is Cause.AUTH_FAILED and evidence.status == _UNAUTHORIZED
    return refused or evidence.cause in {Cause.RATE_LIMIT_ACCOUNT, Cause.QUOTA_EXHAUSTED}


def forgotten_before(lane: Lane, model: str) -> datetime:
    """What was sent up to then says nothing: the lane was made then, or a person cleared the model."""
    cleared = [
        entry.set_time
        for entry in lane.spec.cooldowns
        if entry.model == model and entry.mode is CooldownMode.CLEAR and entry.set_time
    ]
    return max([lane.meta.created, *cleared])


def after_attempt(run: Run, lane: Lane, attempt: Attempt) -> Outcome | None:
    """What the failure of an attempt does to its model, or its account; None: the lane has accounted for it already."""
    if attempt.trouble is None or attempt.cause is None:
        return None
    evidence = evidence_of(attempt.cause, attempt.trouble)
    earlier = [one for one in run.status.attempts if one.id < attempt.id]
    own, account = _folded(earlier, lane, attempt.step.model)
    return _counted(account if is_of_account(evidence) else own, evidence, lane, attempt.step.model)


def healths(run: Run, lane: Lane, model: str) -> tuple[Health, Health]:
    """The record of a model and that of its account."""
    return _folded(run.status.attempts, lane, model)


def cooldown_for(run: Run, lane: Lane, model: str, peers: Iterable[Lane], now: datetime) -> Cooldown | None:
    """What keeps a run from a model: the model's cooldown or its account's, wherever that was learned; the longest."""
    elsewhere = (_folded(run.status.attempts, peer, model)[1] for peer in peers)
    records = (*healths(run, lane, model), *elsewhere)
    holding = [known for record in records if (known := current(record, now).cooldown)]
    return max(holding, key=_end, default=None)


def _folded(attempts: Iterable[Attempt], lane: Lane, model: str) -> tuple[Health, Health]:
    own, account = model_health(lane, model), account_health(lane)
    for attempt in attempts:
        step = attempt.step
        if attempt.trouble is None or attempt.cause is None or (step.namespace, step.lane) != lane.meta.key:
            continue
        evidence = evidence_of(attempt.cause, attempt.trouble)
        if is_of_account(evidence):
            outcome = _counted(account, evidence, lane, step.model)
            account = outcome.health if outcome else account
        elif step.model == model:
            outcome = _counted(own, evidence, lane, model)
            own = outcome.health if outcome else own
    return own, account


def _counted(health: Health, evidence: Evidence, lane: Lane, model: str) -> Outcome | None:
    forbidden = evidence.cause is Cause.AUTH_FAILED and not is_of_account(evidence)
    if forbidden or not counts(health, evidence, not_before=forgotten_before(lane, model)):
        return None
    return after_failure(health, evidence, Policy.of(lane.spec))


def _end(cooldown: Cooldown) -> tuple[bool, float]:
    return (cooldown.until is None, cooldown.until.timestamp() if cooldown.until else 0.0)
