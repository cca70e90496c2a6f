"""What the gateway knows of one attempt: its open calls, what they used, how the last one failed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from laneway.api.gatewaystate import AttemptState, CallFailure, LimitRefusal, known_cause
from laneway.api.reasons import ResetSource
from laneway.gateway.ledger.ledger import CallEnd
from laneway.gateway.ledger.sql import Past
from laneway.gateway.state.sums import Sums, sums_of
from laneway.gateway.state.whereabouts import Whereabouts
from laneway.rules.token import AttemptId


@dataclass(eq=False, slots=True)
class OpenCall:
    """A call in flight, and the task that carries it."""

    task: asyncio.Task[object]
    was_cut: bool = False
    """The attempt was closed under it, or the gateway is leaving."""
    left: asyncio.Event = field(default_factory=asyncio.Event)

    def cut(self) -> None:
        """End it now; ``left`` is set when it has settled."""
        if not self.was_cut:
            self.was_cut = True
            self.task.cancel()


@dataclass(slots=True)
class Attempt:
    """One attempt of a run, with its open calls."""

    id: AttemptId
    sums: Sums = field(default_factory=Sums)
    models: dict[str, Sums] = field(default_factory=dict)
    unpriced: bool = False
    calls: int = 0
    open: set[OpenCall] = field(default_factory=set)
    touched: datetime | None = None
    last_activity: datetime | None = None
    finish_reason: str | None = None
    failure: CallFailure | None = None
    failing_since: datetime | None = None
    where: Whereabouts = field(default_factory=Whereabouts)
    refusal: LimitRefusal | None = None
    spent_out: bool = False
    reserved: int | None = None
    closed: bool = False
    version: int = 0

    @property
    def untouched(self) -> bool:
        """Nothing is worth keeping: no call was counted, failed, or is open."""
        return not (self.calls or self.open or self.closed or self.failure or self.refusal or self.spent_out)

    def count(self, end: CallEnd, model: str) -> None:
        """Add what a call has used of a model."""
        self.calls += 1
        self.unpriced = self.unpriced or (end.prices is None and _worked(end))
        self.sums.add(end, unpriced=self.unpriced)
        if _worked(end):
            self.models.setdefault(model, Sums()).add(end, unpriced=self.unpriced)

    def failed(self, failure: CallFailure) -> None:
        """A call has failed, or was refused."""
        self.failure = failure
        self.failing_since = self.failing_since or failure.seen_time

    def served(self, finish_reason: str | None) -> None:
        """A call was answered: what went wrong before is over."""
        self.failure, self.failing_since, self.refusal, self.spent_out = None, None, None, False
        self.finish_reason = finish_reason

    def state(self) -> AttemptState:
        """As the operator gets it."""
        return AttemptState(
            run_uid=self.id.run_uid,
            attempt=self.id.attempt,
            totals=self.sums.totals(),
            models=tuple(sums.of_model(model) for model, sums in self.models.items()),
            calls=self.calls,
            open_calls=len(self.open),
            last_activity_time=self.last_activity,
            finish_reason=self.finish_reason,
            failure=self.failure,
            failing_since_time=self.failing_since,
            model=self.where.model,
            wish=self.where.wish,
            refusal=self.refusal,
            spent_out=self.spent_out,
            reserved_micro_usd=self.reserved,
            closed=self.closed,
            version=self.version,
        )


def from_ledger(past: Past, *, version: int, touched: datetime) -> Attempt:
    """An attempt as the ledger knows it."""
    unpriced = past.unpriced_calls > 0
    failure = _past_failure(past)
    return Attempt(
        id=past.attempt,
        sums=Sums(
            turns=past.turns,
            input_tokens=past.input_tokens,
            output_tokens=past.output_tokens,
            cache_read_tokens=past.cache_read_tokens,
            cache_write_tokens=past.cache_write_tokens,
            cost_micro_usd=None if unpriced or not past.priced_calls else past.cost_micro_usd,
            unmetered_calls=past.unmetered_calls,
        ),
        models={one.model: sums_of(one) for one in past.models},
        unpriced=unpriced,
        calls=past.calls,
        touched=touched,
        last_activity=_moment(past.last_activity_ms),
        finish_reason=past.finish_reason,
        failure=failure,
        failing_since=failure.seen_time if failure else None,
        closed=past.closed,
        version=version,
    )


async def wait_until_left(calls: Iterable[OpenCall], *, seconds: float) -> bool:
    """Wait for calls to end and settle. False: the time was up first."""
    try:
        async with asyncio.timeout(seconds):
            for call in calls:
                await call.left.wait()
    except TimeoutError:
        return False
    return True


def _worked(end: CallEnd) -> bool:
    """Whether the server did anything that could cost money."""
    return end.usage.input_tokens is not None or end.usage.output_tokens is not None


def _past_failure(past: Past) -> CallFailure | None:
    """The last failure of an attempt as the ledger keeps it: without the server's words, to the millisecond."""
    sent, seen = _moment(past.last_started_ms), _moment(past.last_ended_ms)
    if past.last_cause is None or sent is None or seen is None:
        return None
    return CallFailure(
        sent_time=sent,
        seen_time=seen,
        cause=known_cause(past.last_cause),
        status=past.last_status,
        reset_time=_moment(past.last_reset_ms),
        reset_source=past.last_reset_source and ResetSource(past.last_reset_source),
        cut=past.last_cut,
    )


def _moment(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC)
