"""What a lane's status knows of its models and its account, as the rules of cooldowns want it. Read by the operator and the gateway. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from laneway.api.gatewaystate import CallFailure, ModelEvidence
from laneway.api.modellane import CooldownMode, Failures, ModelLaneSpec, ModelLaneStatus
from laneway.api.reasons import Cause, ResetSource
from laneway.rules.cooldown import OVERLOADED, Cooldown, Evidence, Health, current

FAILURES_NEEDED = 3
"""Requests that have to fail before trouble that may pass at once cools a model, unless one ended an attempt or was cut (C15)."""
_AT_ONCE = frozenset({Cause.RATE_LIMIT_MODEL, Cause.RATE_LIMIT_ACCOUNT, Cause.QUOTA_EXHAUSTED, Cause.AUTH_FAILED})
_NEVER = datetime.max.replace(tzinfo=UTC)
_NO_SHIFT = timedelta(0)
_MOMENT = timedelta(microseconds=1)


def model_record(status: ModelLaneStatus, model: str) -> Health:
    """The record of a model."""
    known = next((one for one in status.models if one.name == model), None)
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


def account_record(status: ModelLaneStatus) -> Health:
    """The record of the account behind the lane's key."""
    known = status.account
    if known is None:
        return Health()
    cooldown = _cooldown(known.reason, known.source, known.cooldown_until)
    return Health(cooldown=cooldown, last_failure=known.last_failure_time, mark=known.settled_time)


def account_key(namespace: str, spec: ModelLaneSpec) -> tuple[str, ...] | None:
    """Lanes of a namespace with the same key share their account; None: nothing to share."""
    if spec.account is not None:
        return namespace, spec.account
    ref = spec.endpoint.credential_ref
    return (namespace, ref.name, ref.key) if ref else None


def cleared_at(spec: ModelLaneSpec, model: str) -> datetime | None:
    """When a person cleared a model."""
    entry = next((entry for entry in spec.cooldowns if entry.model == model), None)
    return entry.set_time if entry and entry.mode is CooldownMode.CLEAR else None


def forgotten_until(created: datetime, cleared: datetime | None = None) -> datetime:
    """Calls that were sent up to then say nothing: the lane was ``created`` after them, or a person ``cleared`` the model.

    A time of creation is a whole second, and so are the times in status: a failure in the lane's first second counts.
    """
    before = created - _MOMENT
    return max(before, cleared or before)


def is_forgotten(account: Health, cleared: datetime | None) -> bool:
    """Whether a person cleared a model after what is known of its account was learned."""
    return cleared is not None and account.mark is not None and account.mark <= cleared


def longest_cooldown(
    own: Health, accounts: Iterable[Health], cleared: datetime | None, now: datetime
) -> Cooldown | None:
    """Of a model's own record and those of its account, on whichever lane that was learned, the cooldown that ends last.

    A person who ``cleared`` the model is believed over what was learned of the account before.
    """
    believed = (own, *(one for one in accounts if not is_forgotten(one, cleared)))
    holding = [known for record in believed if (known := current(record, now).cooldown)]
    return max(holding, key=lambda one: one.until or _NEVER, default=None)


def is_enough(known: ModelEvidence, failure: CallFailure) -> bool:
    """One refusal is enough where the server says what is wrong; a broken connection may be just that one."""
    at_once = failure.cause in _AT_ONCE or failure.status == OVERLOADED
    return at_once or failure.cut or known.failures >= FAILURES_NEEDED


def evidence_of(failure: CallFailure, *, elsewhere: bool = False, ahead: timedelta = _NO_SHIFT) -> Evidence:
    """A failed call as it may count. ``ahead``: how far the clock of the records is before that of the failure's times."""
    return Evidence(
        cause=failure.cause,
        sent=failure.sent_time + ahead,
        seen=failure.seen_time + ahead,
        status=failure.status,
        reset=failure.reset_time + ahead if failure.reset_time else None,
        source=failure.reset_source,
        elsewhere=elsewhere,
    )


def _cooldown(cause: Cause | None, source: ResetSource | None, until: datetime | None) -> Cooldown | None:
    return Cooldown(cause, source, until) if cause and source else None
