"""Running attempts that move to another lane: what is written, in which order, and what a crash at any write leaves to do."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laneway.api import names
from laneway.controller.metrics import FALLBACKS
from laneway.kube.errors import Unavailable
from laneway.kube.resources import EVENTS, PODS
from support.hall import BIG, SMALL, Died, Hall, label, open_attempt

NO_ANSWER = Unavailable("no answer from the API server")


async def at_work(*, big: int = 3, small: int = 1, runs: int = 1) -> Hall:
    """All runs are at work on the big lane, as far as it has slots."""
    hall = Hall(big=big, small=small, runs=runs)
    await hall.settle()
    return hall


def lanes(hall: Hall) -> dict[str, str]:
    """The lane of each attempt that holds a slot."""
    found = {name: open_attempt(hall.run(name)) for name in hall.names}
    return {name: attempt["step"]["lane"] for name, attempt in found.items() if attempt}


def labels(hall: Hall) -> dict[str, str]:
    """The lane of each pod that has not ended, by its run."""
    return {label(pod, names.RUN_LABEL): label(pod, names.LANE_LABEL) for pod in hall.pods()}


def events(hall: Hall, reason: str) -> list[Any]:
    return [obj for (kind, *_), obj in hall.kube.objects.items() if kind is EVENTS and obj["reason"] == reason]


@pytest.mark.row("S2.32")
async def test_the_status_is_written_first_then_the_label_then_the_spec() -> None:
    hall = await at_work()
    before = FALLBACKS.labels("team-a", BIG, "RateLimitModel")._value.get()
    hall.ask("run-0")
    hall.kube.writes.clear()
    await hall.settle()
    of_the_run = [verb for verb, name in hall.kube.writes if verb.split()[1] in {"agentruns", "pods"}]
    assert of_the_run == [
        "apply agentruns",  # the step, with the slot
        "apply agentruns",  # what it has used so far
        "patch pods",
        "patch agentruns",
        "apply agentruns",  # the spec was seen to say the same
    ]
    assert (lanes(hall), labels(hall)) == ({"run-0": SMALL}, {"run-0": SMALL})
    assert hall.run("run-0")["spec"]["activeModel"]["lane"] == SMALL
    assert hall.said("run-0")["phase"] == "Running"
    [entry] = hall.said("run-0")["fallbackHistory"]
    assert (entry["from"]["lane"], entry["to"]["lane"], entry["live"]) == (BIG, SMALL, True)
    assert len(events(hall, "SteppedDown")) == 1
    assert FALLBACKS.labels("team-a", BIG, "RateLimitModel")._value.get() == before + 1
    assert hall.kube.held(BIG) == set()
    hall.end("run-0")
    await hall.settle()
    assert hall.said("run-0")["reason"] == "Completed"
    assert len(hall.said("run-0")["attempts"]) == 1


@pytest.mark.row("S2.3", "S2.4")
async def test_a_full_lane_takes_the_next_one_when_a_slot_comes_free_and_the_old_slot_is_kept_meanwhile() -> None:
    hall = await at_work(runs=3)
    for name in hall.names:
        hall.ask(name)
    await hall.settle()
    first = [name for name, lane in lanes(hall).items() if lane == SMALL]
    assert len(first) == 1
    assert len(hall.kube.held(BIG)) == 2
    await hall.later(3)
    waiting = [name for name in hall.names if name not in first]
    assert all("waits for a slot of lane team-a/small" in str(hall.said(name)["conditions"]) for name in waiting)
    hall.end(first[0])
    await hall.settle()
    assert len([lane for lane in lanes(hall).values() if lane == SMALL]) == 1
    assert hall.said(first[0])["reason"] == "Completed"


@pytest.mark.row("S2.32")
async def test_without_a_slot_in_time_the_attempt_ends_and_its_run_waits_for_the_new_lane() -> None:
    hall = await at_work(runs=2)
    for name in hall.names:
        hall.ask(name)
    await hall.settle()
    [late] = [name for name, lane in lanes(hall).items() if lane == BIG]
    await hall.later(61)
    status = hall.said(late)
    assert (status["reason"], status["step"]["lane"]) == ("WaitingForSlot", SMALL)
    assert status["attempts"][-1]["outcome"] == "ModelTrouble"
    assert "live" not in status["fallbackHistory"][-1]
    hall.end(next(name for name in hall.names if name != late))
    await hall.settle()
    assert lanes(hall) == {late: SMALL}


async def test_an_attempt_that_waits_goes_before_the_waiting_runs_of_its_caller() -> None:
    hall = Hall(big=1, small=1, runs=1)
    await hall.settle()
    hall.ask("run-0")
    await hall.settle()
    assert lanes(hall) == {"run-0": SMALL}


@pytest.mark.parametrize("write", range(1, 6))
@pytest.mark.parametrize(
    "after", [pytest.param(True, id="once it was done"), pytest.param(False, id="before it was done")]
)
@pytest.mark.parametrize(
    "error", [pytest.param(Died(), id="the operator dies"), pytest.param(NO_ANSWER, id="no answer")]
)
async def test_whatever_write_goes_wrong_the_attempt_is_on_the_new_lane_in_the_end(
    error: Exception,
    write: int,
    *,
    after: bool,
) -> None:
    hall = await at_work()
    hall.ask("run-0")
    hall.kube.fail(error, at_write=write, after=after)
    await hall.settle()
    for _ in range(4):
        await hall.later(7)
    assert (lanes(hall), labels(hall)) == ({"run-0": SMALL}, {"run-0": SMALL})
    assert hall.run("run-0")["spec"]["activeModel"]["lane"] == SMALL
    assert len(hall.said("run-0")["fallbackHistory"]) == 1
    assert hall.kube.held(BIG) == set()


@pytest.mark.row("S2.4")
@pytest.mark.parametrize("write", [1, 2, 3])
async def test_a_grant_without_an_answer_holds_its_slot_until_it_is_read_live(write: int) -> None:
    """The hall judges the bound after every write; the watches tell nothing meanwhile."""
    hall = await at_work(runs=2)
    hall.deaf = 4
    hall.ask("run-0")
    hall.kube.fail(NO_ANSWER, at_write=write, after=True)
    await hall.settle()
    hall.ask("run-1")
    await hall.later(1)
    await hall.later(7)
    await hall.later(7)
    assert sorted(lanes(hall).values()) == [BIG, SMALL]


async def test_a_pod_that_changed_is_labelled_at_the_next_look() -> None:
    hall = await at_work()
    hall.ask("run-0")
    real = hall.kube.merge_patch

    async def overtaken(resource: Any, namespace: str, name: str, body: Any) -> Any:
        if resource is PODS:
            hall.kube.merge_patch = real
            hall.kube.change(PODS, hall.kube.objects[PODS, namespace, name])
        return await real(resource, namespace, name, body)

    hall.kube.merge_patch = overtaken
    await hall.settle()
    await hall.later(1)
    assert labels(hall) == {"run-0": SMALL}


async def test_a_gateway_that_restarts_takes_its_wish_with_it() -> None:
    hall = await at_work(runs=2)
    for name in hall.names:
        hall.ask(name)
    await hall.settle()
    hall.restart_gateway()
    await hall.later(3)
    assert not any("waits for a slot" in str(hall.said(name)["conditions"]) for name in hall.names)
    hall.end(next(name for name, lane in lanes(hall).items() if lane == SMALL))
    await hall.settle()
    assert list(lanes(hall).values()) == [BIG]


NUMBER = st.integers(0, 4)
ACTIONS = st.one_of(
    st.tuples(st.just("ask"), NUMBER),
    st.tuples(st.just("ask"), NUMBER),
    st.tuples(st.just("give up"), NUMBER),
    st.tuples(st.just("end"), NUMBER),
    st.tuples(st.just("die"), st.integers(1, 6), st.booleans()),
    st.tuples(st.just("no answer"), st.integers(1, 6), st.booleans()),
    st.tuples(st.just("later"), st.sampled_from([1, 7, 40])),
    st.tuples(st.just("gateway"), NUMBER),
    st.tuples(st.just("deaf"), st.integers(2, 4)),
)


async def act(hall: Hall, action: tuple[Any, ...]) -> None:
    kind, number, *rest = action
    name = hall.names[number % len(hall.names)]
    match kind:
        case "ask":
            hall.ask(name)
        case "give up":
            hall.give_up(name)
        case "end":
            hall.end(name)
        case "die":
            hall.kube.fail(Died(), at_write=number, after=rest[0])
        case "no answer":
            hall.kube.fail(NO_ANSWER, at_write=number, after=rest[0])
        case "later":
            hall.clock.move(number)
        case "gateway":
            hall.restart_gateway()
        case "deaf":
            hall.deaf = number
    await hall.settle()


@pytest.mark.row("S2.3", "S2.4", "S4.2")
@settings(max_examples=60)
@given(st.integers(1, 3), st.integers(1, 2), st.integers(1, 5), st.lists(ACTIONS, max_size=20))
def test_neither_lane_is_ever_over_its_bound_and_no_run_is_lost_whatever_dies(
    big: int, small: int, runs: int, actions: list[tuple[Any, ...]]
) -> None:
    """The bound is judged after each write, by the objects alone."""

    async def play() -> None:
        hall = await at_work(big=big, small=small, runs=runs)
        for action in actions:
            await act(hall, action)
        hall.kube.fail(None)
        for _ in range(60):
            if all(hall.is_finished(name) for name in hall.names):
                break
            await hall.later(120)
            assert all(lane == lanes(hall).get(name, lane) for name, lane in labels(hall).items())
            for name in hall.names:
                hall.end(name)
        assert {hall.said(name)["reason"] for name in hall.names} == {"Completed"}

    asyncio.run(play())
