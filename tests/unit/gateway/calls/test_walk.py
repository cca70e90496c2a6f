"""Where a call goes when its step fails, and how it waits for a slot of another lane."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from laneway.api.endpoint import WireAPI
from laneway.api.gatewaystate import CallFailure
from laneway.api.reasons import Cause, ResetSource
from laneway.api.runstatus import StepStatus
from laneway.gateway.calls.walk import Held, Next, Walker, back_soon, granted, shut_steps, step_of, where_next
from laneway.gateway.cluster.objects import LaneKey, Run
from laneway.gateway.cluster.views import Views
from laneway.gateway.state.evidence import LaneModel
from laneway.gateway.state.state import State
from laneway.rules.chain import Link, Shut
from unit.gateway.kit import ATTEMPT, call_end, eventually, lane_object, run_object

START = datetime(2026, 11, 21, tzinfo=UTC)
LIMITED = Shut(Cause.RATE_LIMIT_MODEL)


def links(*steps: str, **causes: list[Cause]) -> list[dict[str, Any]]:
    """Steps written as ``lane/model``; ``causes`` by model."""
    made = []
    for step in steps:
        lane, model = step.split("/")
        one: dict[str, Any] = {"lane": lane, "namespace": "agents", "model": model}
        made.append(one | ({"causes": [str(cause) for cause in causes[model]]} if model in causes else {}))
    return made


def seen(views: Views, *steps: str, on: int = 0, version: int = 1, **causes: list[Cause]) -> Run:
    """A run with this chain, whose attempt is on one of its steps; with its lanes in the views."""
    chain = links(*steps, **causes)
    raw = run_object(version=version)
    raw["metadata"]["generation"] = version
    raw["status"] |= {"chain": chain, "attempts": [{"id": 1, "step": chain[on]}]}
    views.runs.put(raw)
    for name in {step["lane"] for step in chain}:
        add_lane(views, name, *(step["model"] for step in chain if step["lane"] == name))
    run = views.run(ATTEMPT.run_uid)
    assert run is not None
    return run


def add_lane(views: Views, name: str, *models: str, version: int = 1, **spec: Any) -> None:
    made = lane_object("http://server", version=version, models=[{"name": model} for model in models], **spec)
    made["metadata"] |= {"name": name, "uid": f"{name}-uid"}
    views.lanes.put(made)


def step(lane: str, model: str) -> StepStatus:
    return StepStatus(namespace="agents", lane=lane, model=model)


def none_cool(lane: LaneKey, model: str) -> None:
    return None


@pytest.mark.row("S1.14", "S2.32")
@pytest.mark.parametrize(
    ("steps", "shut", "because", "expected"),
    [
        pytest.param(
            ("a/1", "a/2", "b/1"), {}, LIMITED, ("a/2", False), id="a model of the same lane is gone to at once"
        ),
        pytest.param(("a/1", "b/1", "a/2"), {}, LIMITED, ("b/1", True), id="a step on another lane needs a slot there"),
        pytest.param(("a/1", "a/2", "b/1"), {1: LIMITED}, LIMITED, ("b/1", True), id="a step that cools is passed by"),
        pytest.param(
            ("a/1", "a/2"), {1: Shut(Cause.WIRE_API_UNSUPPORTED)}, LIMITED, None, id="with none left it is answered"
        ),
        pytest.param(("a/1", "a/2"), {}, Shut(Cause.AUTH_FAILED), None, id="a refused key does not walk"),
        pytest.param(
            ("a/1", "a/2"), {}, Shut(Cause.AUTH_FAILED, advances=True), ("a/2", False), id="unless the lane says so"
        ),
        pytest.param(("a/1", "a/2"), {}, Shut(Cause.TASK_FAILURE), None, id="a bad request does not walk"),
        pytest.param(
            ("a/1", "a/2"), {}, Shut(Cause.UNSUITABLE), ("a/2", False), id="a request that only this model refuses does"
        ),
    ],
)
def test_the_first_open_step_below_is_next(
    steps: tuple[str, ...], shut: dict[int, Shut], because: Shut, expected: tuple[str, bool] | None
) -> None:
    run = seen(Views(), *steps)
    found = where_next(run, step("a", "1"), because, shut)
    assert found == (expected and Next(Link("agents", *expected[0].split("/")), needs_slot=expected[1]))


@pytest.mark.row("S4.2")
def test_a_running_attempt_never_moves_up() -> None:
    run = seen(Views(), "a/1", "a/2", on=1)
    assert where_next(run, step("a", "2"), LIMITED, {}) is None


def test_a_step_that_the_chain_does_not_have_leads_nowhere() -> None:
    assert where_next(seen(Views(), "a/1", "a/2"), step("x", "1"), LIMITED, {}) is None


def test_full_alone_leads_nowhere_and_listed_causes_are_obeyed() -> None:
    views = Views()
    run = seen(views, "a/1", "a/2", "a/3", **{"2": [Cause.FULL], "3": [Cause.RATE_LIMIT_MODEL]})
    found = where_next(run, step("a", "1"), LIMITED, {})
    assert found is not None
    assert found.link.model == "3"


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        pytest.param({}, None, id="another lane of the gateway is open"),
        pytest.param(
            {"access": "Direct"}, Cause.WIRE_API_UNSUPPORTED, id="to a Direct lane a run walks between attempts"
        ),
        pytest.param(
            {"server": "Anthropic"}, Cause.WIRE_API_UNSUPPORTED, id="a server that does not speak the call is skipped"
        ),
        pytest.param({"suspend": True}, Cause.MANUAL, id="a suspended lane takes nobody in"),
        pytest.param({"models": [{"name": "x"}]}, Cause.MODEL_NOT_FOUND, id="a model that its lane does not list"),
    ],
)
def test_what_shuts_a_step_for_a_running_attempt(spec: dict[str, Any], expected: Cause | None) -> None:
    views = Views()
    run = seen(views, "a/1", "b/1")
    given = {"models": [{"name": "1"}], **spec}
    made = lane_object("http://server", version=2, **given)
    made["metadata"] |= {"name": "b", "uid": "b-uid"}
    views.lanes.put(made)
    shut = shut_steps(run, views, WireAPI.CHAT_COMPLETIONS, none_cool)
    assert shut == ({1: Shut(expected)} if expected else {})


def test_a_lane_that_is_gone_or_does_not_allow_the_namespace_shuts_its_steps() -> None:
    views = Views()
    run = seen(views, "a/1", "b/1")
    views.lanes.on_list([])
    shut = shut_steps(run, views, WireAPI.CHAT_COMPLETIONS, none_cool)
    assert shut == {0: Shut(Cause.MODEL_NOT_FOUND), 1: Shut(Cause.MODEL_NOT_FOUND)}


def test_a_model_that_cools_shuts_its_step() -> None:
    views = Views()
    run = seen(views, "a/1", "a/2")
    shut = shut_steps(
        run, views, WireAPI.CHAT_COMPLETIONS, lambda lane, model: Cause.API_TRANSIENT if model == "2" else None
    )
    assert shut == {1: Shut(Cause.API_TRANSIENT)}


@pytest.mark.row("C10")
@pytest.mark.parametrize(
    ("source", "seconds", "expected"),
    [
        pytest.param(ResetSource.RETRY_AFTER, 180, True, id="back within fallbackAfterSeconds, as the server says"),
        pytest.param(ResetSource.RETRY_AFTER, 181, False, id="back later"),
        pytest.param(None, None, False, id="the server named no time"),
    ],
)
def test_a_model_that_is_back_soon_is_waited_for(
    source: ResetSource | None, seconds: float | None, *, expected: bool
) -> None:
    views = Views()
    seen(views, "a/1")
    lane = views.lanes.get(("agents", "a"))
    assert lane is not None
    reset = START + timedelta(seconds=seconds) if seconds is not None else None
    failure = CallFailure(
        sent_time=START, seen_time=START, cause=Cause.RATE_LIMIT_MODEL, reset_time=reset, reset_source=source
    )
    assert back_soon(failure, lane) is expected


def test_calls_go_to_the_model_that_this_process_has_moved_to_until_the_run_shows_another_lane() -> None:
    views, state = Views(), State(clock=lambda: START)
    run = seen(views, "a/1", "a/2", "b/1")
    assert step_of(run, state, ATTEMPT) == step("a", "1")
    state.move(ATTEMPT, step("a", "1"), "2", Cause.API_TRANSIENT)
    assert step_of(run, state, ATTEMPT) == step("a", "2")
    run = seen(views, "a/1", "a/2", "b/1", on=2, version=2)
    assert step_of(run, state, ATTEMPT) == step("b", "1")


def test_a_step_further_down_that_the_run_shows_counts_and_not_what_was_left() -> None:
    views, state = Views(), State(clock=lambda: START)
    run = seen(views, "a/1", "b/1", "a/2", on=2)
    state.move(ATTEMPT, step("a", "0"), "1", Cause.API_TRANSIENT)
    assert step_of(run, state, ATTEMPT) == step("a", "2")


# ---- the wait for a slot


class Hold:
    """A call of an attempt on a/1 that waits for a slot of another lane."""

    def __init__(self, *, seconds: float = 60) -> None:
        self.views, self.state = Views(), State(clock=lambda: START)
        seen(self.views, "a/1", "a/2", "b/1")
        self.held = Held(ATTEMPT, step("a", "1"), Cause.API_TRANSIENT, WireAPI.MESSAGES, START, seconds)
        self.task = asyncio.ensure_future(granted(self.held, self.state, self.views))

    def show(self, version: int, *, on: int) -> None:
        seen(self.views, "a/1", "a/2", "b/1", on=on, version=version)

    @property
    def generation(self) -> int | None:
        wish = self.state.attempt_state(ATTEMPT).wish
        return wish.generation if wish else None

    async def answer(self) -> Run | None:
        return await asyncio.wait_for(self.task, 5)


@pytest.mark.row("S2.32")
async def test_a_held_call_goes_on_when_the_run_shows_a_step_on_another_lane() -> None:
    hold = Hold()
    await eventually(lambda: hold.generation == 1)
    wish = hold.state.attempt_state(ATTEMPT).wish
    assert wish is not None
    assert (wish.step, wish.cause, wish.api) == (step("a", "1"), Cause.API_TRANSIENT, WireAPI.MESSAGES)
    assert wish.until_time == START + timedelta(seconds=60)
    hold.show(2, on=2)
    run = await hold.answer()
    assert run is not None
    assert (run.lane, run.model) == (("agents", "b"), "1")
    assert hold.generation is None


async def test_the_wish_is_told_anew_with_each_generation_of_the_run() -> None:
    hold = Hold()
    await eventually(lambda: hold.generation == 1)
    hold.show(2, on=0)
    await eventually(lambda: hold.generation == 2)
    hold.show(3, on=1)
    await eventually(lambda: hold.generation == 3)
    assert not hold.task.done(), "that the operator records a move within the lane is no slot"
    hold.task.cancel()


async def test_without_a_slot_in_time_the_wish_is_withdrawn() -> None:
    hold = Hold(seconds=0.01)
    assert await hold.answer() is None
    assert hold.generation is None


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"finished": True}, id="the run has ended"),
        pytest.param({"attempt": 2}, id="another attempt has begun"),
    ],
)
async def test_the_wait_ends_with_the_attempt(change: dict[str, Any]) -> None:
    hold = Hold()
    await eventually(lambda: hold.generation == 1)
    hold.views.runs.put(run_object(version=2, **change))
    assert await hold.answer() is None
    assert hold.generation is None


async def test_an_agent_that_leaves_takes_its_wish_with_it() -> None:
    hold = Hold()
    await eventually(lambda: hold.generation == 1)
    hold.task.cancel()
    await asyncio.wait({hold.task})
    assert hold.generation is None


# ---- one call from step to step


def walker(views: Views, state: State) -> Walker:
    return Walker(state=state, views=views, attempt=ATTEMPT, api=WireAPI.CHAT_COMPLETIONS, cools=none_cool)


def refusal(status: int = 503, **changes: Any) -> CallFailure:
    plain = CallFailure(sent_time=START, seen_time=START, cause=Cause.API_TRANSIENT, status=status)
    return plain.model_copy(update=changes)


def on_step(one: Walker, views: Views) -> tuple[LaneKey | None, str | None]:
    run = views.run(ATTEMPT.run_uid)
    assert run is not None
    placed = one.on_its_step(run)
    return placed.lane, placed.model


@pytest.mark.row("S1.14", "S2.32")
async def test_a_call_goes_on_to_the_next_model_of_its_lane_and_so_do_the_calls_after_it() -> None:
    views, state = Views(), State(clock=lambda: START)
    seen(views, "a/1", "a/2", "b/1")
    first, second = walker(views, state), walker(views, state)
    assert await first.go_on(step("a", "1"), refusal(), hold_seconds=60)
    assert on_step(first, views) == (("agents", "a"), "2")
    used = state.attempt_state(ATTEMPT).model
    assert used is not None
    assert [(move.from_, move.to, move.cause) for move in used.moves] == [("1", "2", Cause.API_TRANSIENT)]
    assert await second.go_on(step("a", "1"), refusal(), hold_seconds=60), "a parallel call goes where the first one is"
    assert on_step(second, views) == (("agents", "a"), "2")
    assert state.attempt_state(ATTEMPT).model == used


@pytest.mark.row("S2.32")
async def test_a_call_whose_next_step_is_on_another_lane_is_held_until_the_run_shows_it() -> None:
    views, state = Views(), State(clock=lambda: START)
    seen(views, "a/1", "b/1")
    one = walker(views, state)
    going = asyncio.ensure_future(one.go_on(step("a", "1"), refusal(), hold_seconds=60))
    await eventually(lambda: state.attempt_state(ATTEMPT).wish is not None)
    seen(views, "a/1", "b/1", on=1, version=2)
    assert await asyncio.wait_for(going, 5)
    assert on_step(one, views) == (("agents", "b"), "1")
    assert not await one.go_on(step("b", "1"), refusal(), hold_seconds=60), "there is no step below"


@pytest.mark.row("C10")
async def test_a_call_does_not_go_on_while_its_model_is_back_soon() -> None:
    views, state = Views(), State(clock=lambda: START)
    seen(views, "a/1", "a/2")
    near = refusal(429, reset_time=START + timedelta(seconds=30), reset_source=ResetSource.RETRY_AFTER)
    assert not await walker(views, state).go_on(step("a", "1"), near, hold_seconds=60)
    assert state.attempt_state(ATTEMPT).model is None


@pytest.mark.parametrize(
    ("answered", "goes_on"),
    [
        pytest.param([], False, id="of the first step ends the call"),
        pytest.param(["1", "2"], False, id="of a step that has answered before ends the call"),
        pytest.param(["1"], True, id="of a step that never has, after another did, leads on"),
    ],
)
async def test_a_bad_request(answered: list[str], *, goes_on: bool) -> None:
    views, state = Views(), State(clock=lambda: START)
    seen(views, "a/1", "a/2", "a/3", on=1)
    for model in answered:
        state.settle(ATTEMPT, call_end(), model=LaneModel("agents", "a", model), sent=START, failure=None)
    bad = refusal(400, cause=Cause.TASK_FAILURE)
    assert await walker(views, state).go_on(step("a", "2"), bad, hold_seconds=60) is goes_on
