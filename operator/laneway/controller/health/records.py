"""Between a lane's status and the rules of cooldowns: the record of a model and of an account, read and written. Pure."""

from __future__ import annotations

from datetime import datetime

from laneway.api.modellane import AccountStatus, Failures, LaneModelStatus, ManualCooldown
from laneway.api.reasons import Cause
from laneway.api.runstatus import Trouble
from laneway.controller.facts.objects import Lane
from laneway.rules import records
from laneway.rules.backoff import Policy
from laneway.rules.cooldown import Cooldown, Evidence, Health, Outcome, after_failure, counts


def model_health(lane: Lane, model: str) -> Health:
    """What the lane's status knows of a model."""
    return records.model_record(lane.status, model)


def with_model_health(status: LaneModelStatus, health: Health) -> LaneModelStatus:
    """The status of a model with this record."""
    failures = Failures(
        rate_limit_model=health.counts.get(Cause.RATE_LIMIT_MODEL),
        api_transient=health.counts.get(Cause.API_TRANSIENT),
        api_timeout=health.counts.get(Cause.API_TIMEOUT),
    )
    cooldown = health.cooldown
    return status.model_copy(
        update={
            "cooldown_until": cooldown.until if cooldown else None,
            "cooldown_reason": cooldown.cause if cooldown else None,
            "cooldown_source": cooldown.source if cooldown else None,
            "failures": failures if health.counts else None,
            "last_failure_time": health.last_failure,
            "last_failure_status": health.last_status,
            "settled_time": health.mark,
        }
    )


def account_health(lane: Lane) -> Health:
    """What the lane's status knows of its account."""
    return records.account_record(lane.status)


def with_account_health(health: Health) -> AccountStatus | None:
    """The status of an account with this record; None when it never failed."""
    if health == Health():
        return None
    cooldown = health.cooldown
    return AccountStatus(
        cooldown_until=cooldown.until if cooldown else None,
        reason=cooldown.cause if cooldown else None,
        source=cooldown.source if cooldown else None,
        last_failure_time=health.last_failure,
        settled_time=health.mark,
    )


def evidence_of(cause: Cause, trouble: Trouble) -> Evidence:
    """The failure that ended an attempt, as the rules of cooldowns want it."""
    return Evidence(
        cause=cause,
        sent=trouble.sent_time,
        seen=trouble.seen_time,
        status=trouble.status,
        reset=trouble.reset_time,
        source=trouble.reset_source,
        elsewhere=bool(trouble.elsewhere),
    )


def after_counted(health: Health, evidence: Evidence, lane: Lane, model: str) -> Outcome | None:
    """What a failure does to the record of the lane's model, or account; None: it is accounted for already, or says nothing of it.

    A run of a Direct lane brings its own key: that it is refused is nobody else's trouble.
    """
    own_key = lane.direct and evidence.cause is Cause.AUTH_FAILED
    not_before = records.forgotten_until(lane.meta.created, cleared_at(lane, model))
    if own_key or not counts(health, evidence, not_before=not_before):
        return None
    return after_failure(health, evidence, Policy.of(lane.spec))


def said_by_hand(lane: Lane, model: str) -> ManualCooldown | None:
    """What a person says of a model."""
    return next((entry for entry in lane.spec.cooldowns if entry.model == model), None)


def cleared_at(lane: Lane, model: str) -> datetime | None:
    """When a person cleared a model."""
    return records.cleared_at(lane.spec, model)


def longest_cooldown(lane: Lane, model: str, known: tuple[Health, ...], now: datetime) -> Cooldown | None:
    """Of a model's own record (the first) and those of its account, on whichever lane that was learned, the cooldown that ends last."""
    own, *accounts = known
    return records.longest_cooldown(own, accounts, cleared_at(lane, model), now)


def is_forgotten(account: Health, lane: Lane, model: str) -> bool:
    """Whether a person cleared a model after what is known of its account was learned."""
    return records.is_forgotten(account, cleared_at(lane, model))


def account_key(lane: Lane) -> tuple[str, ...] | None:
    """Lanes of a namespace with the same key share their account; None: nothing to share."""
    return records.account_key(lane.meta.namespace, lane.spec)
