"""What the operator is told of attempts and lanes, and when it counts as new."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from laneway.api.gatewaystate import CallFailure, LaneState, ModelState, ModelTotals
from laneway.api.reasons import Cause, LaneReason, ResetSource
from laneway.api.runstatus import StepStatus
from laneway.gateway.cluster.objects import Run
from laneway.gateway.ledger.ledger import CallEnd
from laneway.gateway.ledger.sql import Past
from laneway.gateway.state.evidence import LaneModel
from laneway.gateway.state.state import AttemptClosed, State, TooManyCalls
from laneway.rules.token import AttemptId
from laneway.rules.usage import Usage
from unit.gateway.kit import call_end

ATTEMPT, OTHER = AttemptId("uid", 1), AttemptId("uid-2", 1)
MODEL = LaneModel("n", "lane", "m")
STEP = StepStatus(namespace="n", lane="lane", model="m")
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
    return CallFailure(sent_time=START, seen_time=START, cause=Cause.API_TRANSIENT, status=503)


def settle(
    state: State,
    end: CallEnd,
    *,
    attempt: AttemptId = ATTEMPT,
    failure: CallFailure | None = None,
    sent: datetime = START,
) -> None:
    """A call for model ``m`` of lane ``n/lane`` ends now."""
    state.settle(attempt, end, model=MODEL, sent=sent, failure=failure)


async def test_only_what_changed_after_a_version_is_told() -> None:
    state = State(clock=Hand())
    settle(state, call_end())
    seen = state.version
    settle(state, call_end(), attempt=OTHER)
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
    settle(state, call_end(turn=False, cause="APITransient", usage=Usage(), cost=None), failure=failure())
    settle(state, call_end(turn=False, metered=False, usage=Usage(), cost=None))
    known = state.attempt_state(ATTEMPT).failure
    assert known == failure().model_copy(update={"step": STEP})
    settle(state, call_end())
    after = state.attempt_state(ATTEMPT)
    assert (after.failure, after.finish_reason) == (None, "stop")
    assert (after.calls, after.totals.turns, after.totals.unmetered_calls) == (3, 1, 1)


@pytest.mark.row("S4.12", "S4.13")
async def test_since_when_calls_only_fail_is_told_until_an_answer_begins() -> None:
    clock = Hand()
    state = State(clock=clock)

    def fail(seconds: int, *, refused: bool = False) -> datetime | None:
        clock.now = START + timedelta(seconds=seconds)
        told = failure().model_copy(update={"seen_time": clock.now})
        if refused:
            state.fail(ATTEMPT, told)
        else:
            settle(state, call_end(turn=False, cause="APITransient", usage=Usage(), cost=None), failure=told)
        return state.attempt_state(ATTEMPT).failing_since_time

    assert state.attempt_state(ATTEMPT).failing_since_time is None
    first = START + timedelta(seconds=1)
    assert [fail(1), fail(2), fail(3, refused=True)] == [first, first, first]
    settle(state, call_end(turn=False, metered=False, usage=Usage(), cost=None))  # a call that was cut
    assert state.attempt_state(ATTEMPT).failing_since_time == first
    version = state.version
    state.saw_activity(ATTEMPT)
    assert state.attempt_state(ATTEMPT).failing_since_time is None
    assert state.version == version + 1
    assert fail(4) == START + timedelta(seconds=4)
    settle(state, call_end())
    assert state.attempt_state(ATTEMPT).failing_since_time is None
    assert fail(5) == START + timedelta(seconds=5)


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
async def test_the_cost_of_an_attempt(ends: list[CallEnd], cost: int | None) -> None:
    state = State(clock=Hand())
    for one in ends:
        settle(state, one)
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
    settle(state, call_end())
    state.close(ATTEMPT)
    clock.now += timedelta(hours=47)
    state.close(OTHER)
    assert state.knows(ATTEMPT)
    clock.now += timedelta(hours=2)
    state.close(AttemptId("third", 1))
    assert not state.knows(ATTEMPT)
    assert state.knows(OTHER)


def finished(*, recorded: dict[str, object] | None = None) -> Run:
    return Run("team-a", "hello", "uid", 7, attempt=2, finished=True, lane=None, model=None, recorded=recorded)


async def test_attempts_of_a_run_that_has_ended_with_all_its_usage_in_its_status_leave_memory_at_once() -> None:
    state = State(clock=Hand())
    for number in (0, 1, 2):
        settle(state, call_end(), attempt=AttemptId("uid", number))
    settle(state, call_end(), attempt=OTHER)
    state.look("uid", replace(finished(), finished=False))
    state.look("uid", finished(recorded={"attempts": []}))
    assert all(state.knows(AttemptId("uid", number)) for number in (0, 1, 2))
    state.look("uid", finished())
    assert not any(state.knows(AttemptId("uid", number)) for number in (0, 1, 2))
    assert state.knows(OTHER)


async def test_an_attempt_with_an_open_call_stays_until_that_has_settled() -> None:
    state = State(clock=Hand())
    call = state.open(ATTEMPT)
    state.look("uid", finished())
    assert state.open_calls() == [call]


async def test_what_the_ledger_remembers_is_told_in_a_new_epoch() -> None:
    past = Past(
        attempt=ATTEMPT,
        calls=2,
        turns=1,
        input_tokens=5,
        output_tokens=6,
        models=(ModelTotals(model="smollm2", input_tokens=5, output_tokens=6),),
        unmetered_calls=1,
        cost_micro_usd=7,
        priced_calls=2,
        last_activity_ms=1_800_000_000_000,
        last_cause="APITimeout",
        last_status=None,
        last_started_ms=1_800_000_000_000,
        last_ended_ms=1_800_000_002_000,
        last_reset_ms=1_800_000_060_000,
        last_reset_source="RetryAfter",
        last_cut=True,
    )
    state = State(clock=Hand(), past=[past])
    (told,) = state.since(epoch=None, version=0).attempts
    assert (told.totals.cost_micro_usd, told.totals.unmetered_calls, told.calls) == (7, 1, 2)
    assert told.models == past.models
    sent = datetime.fromtimestamp(1_800_000_000, UTC)
    assert told.failure == CallFailure(
        sent_time=sent,
        seen_time=sent + timedelta(seconds=2),
        cause=Cause.API_TIMEOUT,
        reset_time=sent + timedelta(seconds=60),
        reset_source=ResetSource.RETRY_AFTER,
        cut=True,
    )
    assert told.failing_since_time == sent + timedelta(seconds=2)


@pytest.mark.row("B6")
async def test_a_class_that_another_version_wrote_is_unknown_and_no_error() -> None:
    past = Past(
        attempt=ATTEMPT, last_cause="Sunspots", last_started_ms=1_800_000_000_000, last_ended_ms=1_800_000_000_001
    )
    told = State(clock=Hand(), past=[past]).attempt_state(ATTEMPT)
    assert told.failure is not None
    assert told.failure.cause is Cause.UNKNOWN
    read = CallFailure.model_validate_json(told.failure.model_dump_json(by_alias=True).replace("Unknown", "Sunspots"))
    assert read == told.failure


async def test_evidence_is_told_like_everything_else_and_with_the_time_of_the_answer() -> None:
    clock = Hand()
    state = State(clock=clock)
    settle(state, call_end(turn=False), failure=failure())
    seen = state.version
    clock.now += timedelta(seconds=1)
    told = state.since(epoch=state.epoch, version=0)
    assert [(one.model, one.failures, one.run_uid) for one in told.evidence] == [("m", 1, "uid")]
    assert told.answered_time == clock.now
    assert state.since(epoch=state.epoch, version=seen).evidence == ()
    assert len(state.since(epoch="another", version=seen).evidence) == 1
    assert state.attempt_state(ATTEMPT).answered_time == clock.now


async def test_a_call_that_was_cut_is_no_failure_of_its_model_and_no_success() -> None:
    state = State(clock=Hand())
    settle(state, call_end(turn=False, metered=False, usage=Usage(), cost=None))
    assert state.since(epoch=None, version=0).evidence == ()


async def test_a_refusal_of_the_gateways_own_blames_no_model() -> None:
    state = State(clock=Hand())
    state.fail(ATTEMPT, failure().model_copy(update={"cause": Cause.AUTH_FAILED, "status": None}))
    assert state.since(epoch=None, version=0).evidence == ()
    assert state.attempt_state(ATTEMPT).failure is not None


async def test_a_lane_that_is_gone_takes_the_evidence_of_its_models_with_it() -> None:
    state = State(clock=Hand())
    settle(state, call_end(turn=False), failure=failure())
    state.keep_models("n", "lane", ["m"])
    assert len(state.since(epoch=None, version=0).evidence) == 1
    state.drop_lane("n", "lane")
    assert state.since(epoch=None, version=0).evidence == ()


async def test_what_the_operator_has_read_shows_in_its_next_question() -> None:
    state = State(clock=Hand())
    state.fail(ATTEMPT, failure())
    assert not await state.wait_until_read(seconds=0)
    told = state.since(epoch=None, version=0)
    assert not await state.wait_until_read(seconds=0)
    waiting = asyncio.ensure_future(state.wait_until_read(seconds=60))
    await asyncio.sleep(0)
    state.since(epoch=told.epoch, version=told.version)
    assert await waiting
