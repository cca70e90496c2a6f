"""Between a lane's status and the rules of cooldowns: the record of a model and of an account, read and written. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from laneway.api.modellane import AccountStatus, CooldownMode, Failures, LaneModelStatus, ManualCooldown
from laneway.api.reasons import Cause, ResetSource
from laneway.api.runstatus import Trouble
from laneway.controller.views import Lane
from laneway.rules.backoff import Policy
from laneway.rules.cooldown import Cooldown, Evidence, Health, Outcome, after_failure, counts, current

_NEVER = datetime.max.replace(tzinfo=UTC)


def model_health(lane: Lane, model: str) -> Health:
    """What the lane's status knows of a model."""
    known = next((one for one in lane.status.models if one.name == model), None)
    if known is None:
        return Health()
    failures = known.failures or Failures()
    by_cause = {
        Cause.RATE_LIMIT_MODEL: failures.rate_limit_model,
        Cause.API_TRANSIENT: failures.api_transient,
        Cause.API_TIMEOUT: failures.api_timeout,
    }
    return Health(
        cooldown=_cooldown(known.cooldown_reason, known.cooldown_source, known.cooldown_until),
        counts={cause: count for cause, count in by_cause.items() if count},
        last_failure=known.last_failure_time,
        last_status=known.last_failure_status,
        mark=known.settled_time,
    )


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
    known = lane.status.account
    if known is None:
        return Health()
    cooldown = _cooldown(known.reason, known.source, known.cooldown_until)
    return Health(cooldown=cooldown, last_failure=known.last_failure_time, mark=known.settled_time)


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
    if own_key or not counts(health, evidence, not_before=forgotten_until(lane, model)):
        return None
    return after_failure(health, evidence, Policy.of(lane.spec))


def said_by_hand(lane: Lane, model: str) -> ManualCooldown | None:
    """What a person says of a model."""
    return next((entry for entry in lane.spec.cooldowns if entry.model == model), None)


def cleared_at(lane: Lane, model: str) -> datetime | None:
    """When a person cleared a model."""
    entry = said_by_hand(lane, model)
    return entry.set_time if entry and entry.mode is CooldownMode.CLEAR else None


def forgotten_until(lane: Lane, model: str) -> datetime:
    """Calls that were sent up to then say nothing: the lane was made then, or a person cleared the model."""
    return max(lane.meta.created, cleared_at(lane, model) or lane.meta.created)


def longest_cooldown(lane: Lane, model: str, records: tuple[Health, ...], now: datetime) -> Cooldown | None:
    """Of a model's own record (the first) and those of its account, on whichever lane that was learned, the cooldown that ends last.

    A person who cleared the model is believed over what was learned of the account before.
    """
    own, *accounts = records
    believed = (own, *(one for one in accounts if not is_forgotten(one, lane, model)))
    holding = [known for record in believed if (known := current(record, now).cooldown)]
    return max(holding, key=lambda one: one.until or _NEVER, default=None)


def is_forgotten(account: Health, lane: Lane, model: str) -> bool:
    """Whether a person cleared a model after what is known of its account was learned."""
    cleared = cleared_at(lane, model)
    return cleared is not None and account.mark is not None and account.mark <= cleared


def account_key(lane: Lane) -> tuple[str, ...] | None:
    """Lanes of a namespace with the same key share their account; None: nothing to share."""
    if lane.spec.account is not None:
        return lane.meta.namespace, lane.spec.account
    ref = lane.spec.endpoint.credential_ref
    return (lane.meta.namespace, ref.name, ref.key) if ref else None


def _cooldown(cause: Cause | None, source: ResetSource | None, until: datetime | None) -> Cooldown | None:
    return Cooldown(cause, source, until) if cause and source else None
