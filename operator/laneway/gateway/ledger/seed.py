"""What a new or older ledger lacks: the usage that the status of active runs says and no row holds.

Status is written from the gateway's own counts, so it may know calls whose rows were lost with a ledger. The difference is entered as rows
of the state ``seeded``, attempt by attempt: doing it again finds no difference. Such rows count as unmetered, because calls that ended after
the last write of the status are in neither; a new ledger has one for each attempt that may have made such calls.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, fields
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from laneway.api.runstatus import NamedStep, Usage, UsageSource
from laneway.gateway.cluster.objects import Run
from laneway.gateway.ledger import sql
from laneway.gateway.ledger.sql import Past
from laneway.rules.money import parse_usd
from laneway.rules.token import AttemptId

log = logging.getLogger(__name__)

_EARLIER = 0
"""Stands for the attempts that the status no longer lists."""
_INSERT = (
    "INSERT INTO calls (id, run_uid, attempt, namespace, caller, lane_namespace, lane, model, wire_api, started_ms, ended_ms, state,"
    " turn, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, cost_micro_usd)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, '', ?, ?, 'seeded', ?, ?, ?, ?, ?, ?)"
)


@dataclass(frozen=True, slots=True)
class Counts:
    """What was used. None is unknown."""

    turns: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    cost_micro_usd: int | None = None

    def beyond(self, known: Counts) -> Counts:
        """How much more this is than what is known; never less than nothing."""
        return Counts(*(_beyond(mine, theirs) for mine, theirs in zip(astuple(self), astuple(known), strict=True)))

    @property
    def something(self) -> bool:
        """Whether anything was used."""
        return any(astuple(self))


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the status of a run says of its usage."""

    run: Run
    last_activity_ms: int | None
    total: Counts
    attempts: Mapping[int, tuple[NamedStep, Usage]]
    """Those that the status lists with their usage, by number."""
    began: int | None
    """The last attempt, if it had a pod: it may have made calls that nothing tells of."""


def read_recorded(run: Run) -> Recorded | None:
    """The usage in a run's status; None when it is final, before the first attempt, and when it cannot be read."""
    status = run.recorded
    if status is None:
        return None
    try:
        attempts = {
            int(one["id"]): (NamedStep.model_validate(one["step"]), Usage.model_validate(one["usage"]))
            for one in status.get("attempts") or ()
            if one.get("usage")
        }
        total = _counts(Usage.model_validate(status.get("usage") or {}))
        last = status["attempts"][-1]
        began = int(last["id"]) if last.get("podUID") else None
        seen = status.get("lastActivityTime")
        moment = datetime.fromisoformat(seen) if seen else None
    except (ValidationError, ValueError, KeyError) as error:
        log.error("usage of a run cannot be read", extra={"run_uid": run.uid, "error": type(error).__name__})
        return None
    return Recorded(run, int(moment.timestamp() * 1000) if moment else None, total, attempts, began)


def fill(connection: sqlite3.Connection, runs: Iterable[Recorded], *, new: bool, now_ms: int) -> list[Past]:
    """Enter what is missing, and answer the attempts that grew. Of what began before a new ledger, nothing is known for sure."""
    grown: list[Past] = []
    for recorded in runs:
        lacking = missing(recorded, sql.read_run(connection, recorded.run.uid))
        if new and recorded.began is not None:
            lacking.setdefault(recorded.began, Counts())
        for attempt, counts in lacking.items():
            connection.execute(_INSERT, _row(recorded, attempt, counts, now_ms))
            log.warning("usage was taken from status", extra={"run_uid": recorded.run.uid, "attempt": attempt})
            if attempt != _EARLIER:
                past = sql.read_past(connection, AttemptId(recorded.run.uid, attempt))
                grown += [past] if past else []
    return grown


def missing(recorded: Recorded, known: Iterable[Past]) -> dict[int, Counts]:
    """What the ledger lacks of a run, by attempt."""
    by_attempt = {past.attempt.attempt: _past_counts(past) for past in known}
    listed = {attempt: _counts(usage) for attempt, (_, usage) in recorded.attempts.items()}
    metered = {
        attempt: listed[attempt]
        for attempt, (_, usage) in recorded.attempts.items()
        if usage.source is not UsageSource.ENVELOPE
    }
    wanted = {_EARLIER: recorded.total.beyond(_sum(listed.values())), **metered}
    earlier = _sum(counts for attempt, counts in by_attempt.items() if attempt not in listed)
    lacking = {
        attempt: counts.beyond(earlier if attempt == _EARLIER else by_attempt.get(attempt, Counts()))
        for attempt, counts in wanted.items()
    }
    return {attempt: counts for attempt, counts in lacking.items() if counts.something}


def _row(recorded: Recorded, attempt: int, counts: Counts, now_ms: int) -> tuple[Any, ...]:
    run, moment = recorded.run, recorded.last_activity_ms or now_ms
    step = recorded.attempts[attempt][0] if attempt in recorded.attempts else None
    where = (step.namespace, step.lane, step.model or "") if step else ("", "", "")
    turns, *rest = astuple(counts)
    name = f"seed-{run.uid}-{attempt}-{now_ms}"
    return (name, run.uid, attempt, run.namespace, run.caller, *where, moment, moment, turns or 0, *rest)


def _counts(usage: Usage) -> Counts:
    return Counts(
        turns=usage.turns,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        cost_micro_usd=None if usage.cost_usd is None else parse_usd(usage.cost_usd),
    )


def _past_counts(past: Past) -> Counts:
    return Counts(**{one.name: getattr(past, one.name) for one in fields(Counts)})


def _sum(all_counts: Iterable[Counts]) -> Counts:
    columns = zip(*(astuple(counts) for counts in all_counts), strict=True)
    return Counts(*(sum(value or 0 for value in column) for column in columns))


def _beyond(mine: int | None, theirs: int | None) -> int | None:
    return None if mine is None else max(0, mine - (theirs or 0))
