"""The model that an attempt's calls go to, and what the operator is told of it and of held calls."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from laneway.api.gatewaystate import MOVES_KEPT, Wish
from laneway.api.reasons import Cause
from laneway.api.runstatus import StepStatus
from laneway.gateway.state.state import State
from laneway.gateway.state.whereabouts import Whereabouts
from laneway.rules.token import AttemptId

START = datetime(2026, 11, 21, tzinfo=UTC)
ATTEMPT = AttemptId("uid", 1)


def step(model: str, lane: str = "lane") -> StepStatus:
    return StepStatus(namespace="n", lane=lane, model=model)


def wish(*, seconds: float = 60, generation: int = 1) -> Wish:
    return Wish(
        step=step("m1"),
        cause=Cause.RATE_LIMIT_MODEL,
        since_time=START,
        until_time=START + timedelta(seconds=seconds),
        generation=generation,
    )


def test_a_move_is_kept_with_its_cause_and_time_and_the_new_model_has_not_served() -> None:
    where = Whereabouts()
    where.served(step("m1"))
    assert where.move(step("m1"), "m2", Cause.API_TRANSIENT, START)
    assert where.model is not None
    assert (where.model.step, where.model.served) == (step("m2"), False)
    [move] = where.model.moves
    assert (move.from_, move.to, move.cause, move.time) == ("m1", "m2", Cause.API_TRANSIENT, START)


def test_of_parallel_calls_that_fail_on_one_model_the_first_one_moves() -> None:
    where = Whereabouts()
    assert where.move(step("m1"), "m2", Cause.API_TRANSIENT, START)
    assert not where.move(step("m1"), "m2", Cause.API_TRANSIENT, START)
    assert where.model is not None
    assert len(where.model.moves) == 1


def test_a_late_success_of_the_model_that_was_left_moves_nothing_back() -> None:
    where = Whereabouts()
    where.move(step("m1"), "m2", Cause.API_TRANSIENT, START)
    where.served(step("m1"))
    assert where.model is not None
    assert (where.model.step, where.model.served) == (step("m2"), False)
    where.served(step("m2"))
    assert where.model.served


def test_a_success_on_another_lane_begins_anew_without_the_moves_of_the_old_one() -> None:
    where = Whereabouts()
    where.move(step("m1"), "m2", Cause.API_TRANSIENT, START)
    where.served(step("m1", lane="other"))
    assert where.model is not None
    assert (where.model.step, where.model.moves) == (step("m1", lane="other"), ())


def test_only_the_last_moves_are_kept() -> None:
    where = Whereabouts()
    for number in range(MOVES_KEPT + 3):
        where.move(step(f"m{number}"), f"m{number + 1}", Cause.API_TRANSIENT, START)
    assert where.model is not None
    assert [move.from_ for move in where.model.moves] == [f"m{n}" for n in range(3, MOVES_KEPT + 3)]


def test_of_several_held_calls_the_one_that_is_held_longest_is_told() -> None:
    where, first, second = Whereabouts(), object(), object()
    where.ask(first, wish(seconds=60))
    where.ask(second, wish(seconds=90))
    assert where.wish == wish(seconds=90)
    where.withdraw(second)
    assert where.wish == wish(seconds=60)
    where.withdraw(first)
    assert where.wish is None


def test_a_wish_is_a_change_for_the_operator_once_and_again_when_it_is_withdrawn() -> None:
    state, call = State(clock=lambda: START), object()
    state.ask(ATTEMPT, call, wish())
    version = state.version
    assert state.attempt_state(ATTEMPT).wish == wish()
    state.ask(ATTEMPT, call, wish())
    assert state.version == version
    state.ask(ATTEMPT, call, wish(generation=2))
    assert state.version == version + 1
    state.withdraw(ATTEMPT, call)
    assert state.version == version + 2
    assert state.attempt_state(ATTEMPT).wish is None
    state.withdraw(ATTEMPT, call)
    assert state.version == version + 2
