"""What the operator is told of attempts and lanes, and when it counts as new."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from laneway.api.gatewaystate import CallFailure, LaneState, ModelState
from laneway.api.reasons import Cause, LaneReason
from laneway.gateway.ledgersql import Past
from laneway.gateway.state import AttemptClosed, State, TooManyCalls
from laneway.rules.token import AttemptId
from laneway.rules.usage import Usage
from unit.gateway.kit import call_end

ATTEMPT, OTHER = AttemptId("uid", 1), AttemptId("uid-2", 1)
START = datetime(2026, 11, 21, tzinfo=UTC)


class Hand:
    """A clock moved by hand."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


def lane(*, message: str = "the server answers", at: datetime = START, name: str = "lane") -> LaneState:
    return LaneState(
        namespace="n",
        name=name,
        uid="u",
        generation=1,
        reachable=True,
        reason=LaneReason.BACKEND_REACHABLE,
        message=message,
        models=(ModelState(name="m", served=True),),
        probed_time=at,
    )


def failure() -> CallFailure:
    return CallFailure(sent_time=START, cause=Cause.API_TRANSIENT, status=503)


async def test_only_what_changed_after_a_version_is_told() -> None:
    state = State(clock=Hand())
    state.settle(ATTEMPT, call_end(), failure=None)
    seen = state.version
    state.settle(OTHER, call_end(), failure=None)
    state.put_lane(lane())
    changed = state.since(epoch=state.epoch, version=seen)
    assert [one.run_uid for one in changed.attempts] == ["uid-2"]
    assert [one.name for one in changed.lanes] == ["lane"]
    assert state.since(epoch=state.epoch, version=changed.version).attempts == ()
    assert len(state.since(epoch="another", version=changed.version).attempts) == 2


async def test_a_probe_that_finds_the_same_is_no_change() -> None:
    state = State(clock=Hand())
    state.put_lane(lane())
    version = state.version
    state.put_lane(lane(at=START + timedelta(minutes=1)))
    assert state.version == version
    state.put_lane(lane(message="refused", at=START + timedelta(minutes=2)))
    assert state.version == version + 1


async def test_a_stream_makes_a_new_version_only_now_and_then() -> None:
    clock = Hand()
    state = State(clock=clock)
    state.open(ATTEMPT)
    version = state.version
    for _ in range(40):
        clock.now += timedelta(milliseconds=200)
        state.saw_activity(ATTEMPT)
    assert state.version == version + 1
    assert state.attempt_state(ATTEMPT).last_activity_time == clock.now


async def test_a_success_clears_the_failure_and_a_cut_does_not() -> None:
    state = State(clock=Hand())
    state.settle(ATTEMPT, call_end(turn=False, cause="APITransient", usage=Usage(), cost=None), failure=failure())
    state.settle(ATTEMPT, call_end(turn=False, metered=False, usage=Usage(), cost=None), failure=None)
    assert state.attempt_state(ATTEMPT).failure == failure()
    state.settle(ATTEMPT, call_end(), failure=None)
    after = state.attempt_state(ATTEMPT)
    assert (after.failure, after.finish_reason) == (None, "stop")
    assert (after.calls, after.totals.turns, after.totals.unmetered_calls) == (3, 1, 1)


@pytest.mark.parametrize(
    ("ends", "cost"),
    [
        pytest.param([], None, id="no call, no cost yet"),
        pytest.param([call_end(), call_end(cost=23)], 623, id="priced calls add up"),
        pytest.param(
            [call_end(), call_end(prices=None, cost=None)], None, id="one call without a price makes the whole unknown"
        ),
        pytest.param([call_end(prices=None, cost=None), call_end()], None, id="in any order"),
        pytest.param(
            [call_end(), call_end(usage=Usage(), cost=None, metered=False, turn=False)],
            600,
            id="a cut call leaves the known part, and counts as unmetered",
        ),
        pytest.param(
            [call_end(usage=Usage(), cost=None, prices=None, turn=False)], None, id="a refused call without prices"
        ),
        pytest.param([call_end(cost=0)], 0, id="free is zero"),
    ],
)
async def test_the_cost_of_an_attempt(ends: list[object], cost: int | None) -> None:
    state = State(clock=Hand())
    for one in ends:
        state.settle(ATTEMPT, one, failure=None)
    assert state.attempt_state(ATTEMPT).totals.cost_micro_usd == cost


async def test_thirty_two_calls_may_be_open_and_not_one_more() -> None:
    state = State(clock=Hand())
    calls = [state.open(ATTEMPT) for _ in range(32)]
    with pytest.raises(TooManyCalls):
        state.open(ATTEMPT)
    state.open(OTHER)
    state.leave(ATTEMPT, calls[0])
    state.open(ATTEMPT)


async def test_closing_cuts_what_is_open_and_lets_nothing_in() -> None:
    state = State(clock=Hand())
    began = asyncio.Event()

    async def carry() -> None:
        call = state.open(ATTEMPT)
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            state.leave(ATTEMPT, call)

    task = asyncio.create_task(carry())
    await began.wait()
    (cut,) = state.close(ATTEMPT)
    await asyncio.wait_for(cut.left.wait(), 1)
    assert await asyncio.gather(task, return_exceptions=True) != [None]
    assert state.is_closed(ATTEMPT)
    assert state.close(ATTEMPT) == []
    with pytest.raises(AttemptClosed):
        state.open(ATTEMPT)


async def test_a_caller_that_was_never_admitted_leaves_no_trace() -> None:
    state = State(clock=Hand())
    state.leave(ATTEMPT, state.open(ATTEMPT))
    assert not state.knows(ATTEMPT)


async def test_attempts_leave_memory_after_two_days_but_not_before() -> None:
    clock = Hand()
    state = State(clock=clock)
    state.settle(ATTEMPT, call_end(), failure=None)
    state.close(ATTEMPT)
    clock.now += timedelta(hours=47)
    state.close(OTHER)
    assert state.knows(ATTEMPT)
    clock.now += timedelta(hours=2)
    state.close(AttemptId("third", 1))
    assert not state.knows(ATTEMPT)
    assert state.knows(OTHER)


async def test_what_the_ledger_remembers_is_told_in_a_new_epoch() -> None:
    past = Past(
        attempt=ATTEMPT,
        calls=2,
        turns=1,
        input_tokens=5,
        output_tokens=6,
        unmetered_calls=1,
        cost_micro_usd=7,
        priced_calls=2,
        last_activity_ms=1_800_000_000_000,
        last_cause="APITimeout",
        last_status=None,
        last_started_ms=1_800_000_000_000,
    )
    state = State(clock=Hand(), past=[past])
    (told,) = state.since(epoch=None, version=0).attempts
    assert (told.totals.cost_micro_usd, told.totals.unmetered_calls, told.calls) == (7, 1, 2)
    assert told.failure is not None
    assert told.failure.cause is Cause.API_TIMEOUT
