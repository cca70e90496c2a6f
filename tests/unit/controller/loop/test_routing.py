"""What is looked at again after a change: no more than has to be, and nothing is missed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from laneway.api.modellane import AccountStatus, LaneModelStatus, ModelLaneStatus
from laneway.api.reasons import Cause
from laneway.api.runstatus import AgentRunStatus, ChainStep, CurrentStep, Usage
from laneway.api.runstatus import Queue as Place
from laneway.api.spend import Period, SpendStatus
from laneway.controller.loop.queue import Queue
from laneway.controller.loop.reconcile import WorkKey
from laneway.controller.loop.routing import Router, may_move
from laneway.controller.memory.world import World, make_cache
from laneway.controller.outside.gateway import Changes, GatewayClient
from laneway.kube.cache import Change
from laneway.kube.resources import AGENT_RUNS, MODEL_LANES, PODS, JsonObject, Key, Resource
from support.builders import NOW, admitted, at, attempt, condition, metered, ready
from support.clock import StillClock
from support.objects import raw_lane, raw_pod, raw_run

RUN, OTHER = WorkKey("run", Key("team-a", "hello")), WorkKey("run", Key("team-a", "other"))
LANE, SECOND = WorkKey("lane", Key("team-a", "local")), WorkKey("lane", Key("team-a", "second"))


class Remembering(World):
    """Notes what it was told to forget."""

    def forget(self, uid: str) -> None:
        self.forgotten = [*getattr(self, "forgotten", ()), uid]
        super().forget(uid)


class Desk:
    """A router with its queue, which is emptied after each change."""

    def __init__(self) -> None:
        clock = StillClock()
        self.queue: Queue[WorkKey] = Queue(clock)
        self.gateway = GatewayClient(url="http://127.0.0.1:9", secret="s", clock=clock)
        self.world = Remembering(
            make_cache(),
            on_change=self.on_change,
        )
        self.router = Router(queue=self.queue, world=self.world, gateway=self.gateway)

    def on_change(self, change: Change) -> None:
        self.router.on_change(change)

    async def queued(self) -> set[WorkKey]:
        found = set()
        while len(self.queue):
            key = await asyncio.wait_for(self.queue.get(), 1)
            self.queue.done(key)
            found.add(key)
        return found

    async def after(self, resource: Resource, obj: JsonObject) -> set[WorkKey]:
        self.world.absorb(resource, obj)
        return await self.queued()

    async def after_end(self, resource: Resource, obj: JsonObject) -> set[WorkKey]:
        change = self.world.cache.remove(resource, obj)
        assert change is not None
        self.router.on_change(change)
        return await self.queued()


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def test_a_run_wakes_itself_and_its_lane(desk: Desk) -> None:
    assert await desk.after(AGENT_RUNS, raw_run()) == {RUN, LANE}


async def test_a_run_that_changes_lanes_wakes_both(desk: Desk) -> None:
    await desk.after(AGENT_RUNS, raw_run())
    moved = raw_run(version=2, spec={"models": [{"lane": "second"}]})
    assert await desk.after(AGENT_RUNS, moved) == {RUN, LANE, SECOND}


async def test_a_run_that_goes_wakes_its_lane_and_is_forgotten(desk: Desk) -> None:
    await desk.after(AGENT_RUNS, raw_run())
    known = desk.world.run(RUN.key)
    assert await desk.after_end(AGENT_RUNS, raw_run(version=2)) == {RUN, LANE}
    await desk.after(AGENT_RUNS, raw_run(version=3, uid="made-anew"))
    assert desk.world.run(RUN.key) is not known


SHOWN = [
    pytest.param({"queue": Place(position=2, since=NOW)}, {RUN}, id="its place"),
    pytest.param({"usage": Usage(turns=1), "last_activity_time": at(5)}, {RUN}, id="its usage"),
    pytest.param({"attempts": (attempt(1, usage=Usage(turns=1)),)}, {RUN}, id="its attempt's usage"),
    pytest.param({"conditions": (condition("Admitted", "True", "SlotGranted", message="x"),)}, {RUN}, id="a message"),
    pytest.param({"attempts": (attempt(1, pod_uid="p"),)}, {RUN, LANE}, id="its pod, which its lane reads"),
    pytest.param({"conditions": (condition("Admitted", "False", "Suspended"),)}, {RUN, LANE}, id="a condition too"),
    pytest.param({"attempt": 2}, {RUN, LANE}, id="its attempt too"),
]


@pytest.mark.parametrize(("changed", "woken"), SHOWN)
async def test_a_run_does_not_wake_its_lane_by_what_only_its_status_shows(
    desk: Desk, changed: dict[str, Any], woken: set[WorkKey]
) -> None:
    status = AgentRunStatus(
        conditions=(condition("Admitted", "True", "SlotGranted"),), attempt=1, attempts=(attempt(1),)
    )
    await desk.after(AGENT_RUNS, raw_run(status=status))
    assert await desk.after(AGENT_RUNS, raw_run(version=2, status=status.model_copy(update=changed))) == woken


def ended_as(succeeded: str) -> AgentRunStatus:
    return AgentRunStatus(
        conditions=(condition("Finished", "True", "x"), condition("Succeeded", succeeded, "x")), attempt=1
    )


@pytest.mark.row("S4.40")
async def test_a_run_wakes_those_that_depend_on_it_when_it_comes_ends_and_goes(desk: Desk) -> None:
    waiting = raw_run("other", spec={"dependsOn": [{"name": "hello"}], "models": [{"lane": "second"}]})
    await desk.after(AGENT_RUNS, waiting)
    everyone = {RUN, LANE, OTHER, SECOND}
    assert await desk.after(AGENT_RUNS, raw_run()) == everyone
    assert await desk.after(AGENT_RUNS, raw_run(version=2, status=admitted())) == {RUN, LANE}
    assert await desk.after(AGENT_RUNS, raw_run(version=3, status=ended_as("True"))) == everyone
    assert await desk.after_end(AGENT_RUNS, raw_run(version=4)) == {RUN, OTHER, SECOND}


async def test_a_run_that_has_begun_depends_on_nothing(desk: Desk) -> None:
    begun = raw_run("other", spec={"dependsOn": [{"name": "hello"}]}, status=admitted())
    await desk.after(AGENT_RUNS, begun)
    assert await desk.after(AGENT_RUNS, raw_run()) == {RUN, LANE}


async def test_a_pod_wakes_its_run_and_its_lane(desk: Desk) -> None:
    assert await desk.after(PODS, raw_pod()) == {RUN, LANE}
    assert await desk.after_end(PODS, raw_pod(version=2)) == {RUN, LANE}


async def test_a_pod_that_is_not_ours_wakes_nobody(desk: Desk) -> None:
    stranger = raw_pod()
    stranger["metadata"]["labels"] = {}
    assert await desk.after(PODS, stranger) == set()


def lane_status(**changes: Any) -> ModelLaneStatus:
    return ModelLaneStatus(conditions=(ready(),)).model_copy(update=changes)


async def test_a_lanes_counts_do_not_wake_its_runs(desk: Desk) -> None:
    await desk.after(MODEL_LANES, raw_lane(status=lane_status()))
    await desk.after(AGENT_RUNS, raw_run())
    assert await desk.after(MODEL_LANES, raw_lane(version=2, status=lane_status(active_runs=1))) == {LANE}


async def test_a_lanes_readiness_wakes_its_runs(desk: Desk) -> None:
    await desk.after(MODEL_LANES, raw_lane(status=lane_status()))
    await desk.after(AGENT_RUNS, raw_run())
    away = lane_status(conditions=(ready("False", "connection refused"),))
    assert await desk.after(MODEL_LANES, raw_lane(version=2, status=away)) == {LANE, RUN}


async def test_a_lane_that_comes_or_goes_wakes_its_runs(desk: Desk) -> None:
    await desk.after(AGENT_RUNS, raw_run())
    assert await desk.after(MODEL_LANES, raw_lane()) == {LANE, RUN}
    assert await desk.after_end(MODEL_LANES, raw_lane(version=2)) == {LANE, RUN}


def chained(name: str = "hello", *, step: str = "local", version: int = 1, **spec: Any) -> dict[str, Any]:
    """A run in line on a lane, with steps on local and second."""
    status = AgentRunStatus(
        step=CurrentStep(lane=step, namespace="team-a", model="m"),
        chain=tuple(ChainStep(lane=lane, namespace="team-a", model="m") for lane in ("local", "second")),
        queue=Place(position=1, since=NOW),
    )
    return raw_run(
        name, version=version, status=status, spec={"models": [{"lane": "local"}, {"lane": "second"}], **spec}
    )


SPENT = SpendStatus(
    namespace="team-a", period=Period.DAY, used_usd="5.00", limit_usd="5.00", reached=True, period_end_time=at(60)
)
COOLING = LaneModelStatus(name="m", cooldown_until=at(60), cooldown_reason=Cause.RATE_LIMIT_MODEL)


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"models": (COOLING,)}, id="a model that cools"),
        pytest.param({"account": AccountStatus(reason=Cause.QUOTA_EXHAUSTED)}, id="an account that cools"),
        pytest.param({"spend": (SPENT,)}, id="a namespace that may spend no more"),
    ],
)
@pytest.mark.parametrize("step", ["local", "second"], ids=["on another lane", "on this lane"])
async def test_what_may_be_used_on_a_lane_wakes_all_runs_with_a_step_there(
    desk: Desk, changed: dict[str, Any], step: str
) -> None:
    full = lane_status(active_runs=4)
    await desk.after(MODEL_LANES, raw_lane("second", status=full))
    await desk.after(AGENT_RUNS, chained(step=step))
    cooled = raw_lane("second", version=2, status=full.model_copy(update=changed))
    assert await desk.after(MODEL_LANES, cooled) == {SECOND, RUN}
    assert await desk.after(MODEL_LANES, raw_lane("second", version=3, status=full)) == {SECOND, RUN}


async def test_an_account_that_cools_wakes_runs_of_its_other_lanes(desk: Desk) -> None:
    shared = {"account": "one"}
    await desk.after(MODEL_LANES, raw_lane(spec=shared, status=lane_status()))
    await desk.after(MODEL_LANES, raw_lane("second", spec=shared, status=lane_status()))
    await desk.after(AGENT_RUNS, raw_run())
    account = AccountStatus(cooldown_until=at(60), reason=Cause.RATE_LIMIT_ACCOUNT)
    limited = raw_lane("second", version=2, spec=shared, status=lane_status(account=account))
    assert await desk.after(MODEL_LANES, limited) == {SECOND, RUN}


@pytest.mark.parametrize(
    ("run", "woken"),
    [
        pytest.param(chained(), False, id="one below it, without Full: not"),
        pytest.param(chained(selection="LeastBusy"), True, id="one that takes the least busy"),
        pytest.param(chained(step="second"), False, id="one that is there already: not"),
    ],
)
async def test_a_free_slot_wakes_who_stands_in_line_elsewhere(desk: Desk, run: dict[str, Any], *, woken: bool) -> None:
    await desk.after(MODEL_LANES, raw_lane("second", status=lane_status(active_runs=4)))
    await desk.after(AGENT_RUNS, run)
    free = raw_lane("second", version=2, status=lane_status(active_runs=3))
    assert await desk.after(MODEL_LANES, free) == ({SECOND, RUN} if woken else {SECOND})


async def test_a_free_slot_above_wakes_as_many_runs_as_there_are_slots(desk: Desk) -> None:
    await desk.after(MODEL_LANES, raw_lane(status=lane_status(active_runs=4)))
    for name in ("hello", "other", "third"):
        await desk.after(AGENT_RUNS, chained(name, step="second"))
    two = await desk.after(MODEL_LANES, raw_lane(version=2, status=lane_status(active_runs=2)))
    assert two == {LANE, RUN, OTHER}
    taken = lane_status(active_runs=2, queued_runs=2)
    assert await desk.after(MODEL_LANES, raw_lane(version=3, status=taken)) == {LANE}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        pytest.param({"causes": (Cause.FULL,)}, True, id="a step below that lists Full"),
        pytest.param({}, False, id="one that does not"),
        pytest.param({"queue": None}, False, id="a run that does not stand in line"),
    ],
)
def test_who_may_move_to_a_lane(status: dict[str, Any], *, expected: bool) -> None:
    run = chained()
    run["status"]["chain"][1]["causes"] = list(status.get("causes", ()))
    if "queue" in status:
        del run["status"]["queue"]
    assert may_move(run, Key("team-a", "second")) is expected


async def test_what_the_gateway_saw_wakes_the_run_of_the_pod(desk: Desk) -> None:
    await desk.after(AGENT_RUNS, raw_run(status=admitted()))
    await desk.after(PODS, raw_pod())
    state = metered()
    desk.router.on_gateway(Changes(attempts=[(state.run_uid, 1)], lanes=[("team-a", "second")]))
    assert await desk.queued() == {RUN, SECOND}


async def test_a_gateway_that_turns_wakes_everything(desk: Desk) -> None:
    await desk.after(MODEL_LANES, raw_lane())
    for name in ("hello", "other"):
        await desk.after(AGENT_RUNS, raw_run(name))
    desk.router.on_gateway(Changes(turned=True))
    assert await desk.queued() == {LANE, RUN, OTHER}


async def test_a_run_made_anew_under_its_name_leaves_nothing_of_the_old_one_behind(desk: Desk) -> None:
    await desk.after(AGENT_RUNS, raw_run())
    await desk.after(AGENT_RUNS, raw_run(version=5, uid="made-anew"))
    assert desk.world.forgotten == ["hello-0123456789"]
