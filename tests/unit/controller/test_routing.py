"""What is looked at again after a change: no more than has to be, and nothing is missed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from laneway.api.modellane import ModelLaneStatus
from laneway.api.runstatus import AgentRunStatus, Usage
from laneway.api.runstatus import Queue as Place
from laneway.controller.gatewayclient import Changes, GatewayClient
from laneway.controller.queue import Queue
from laneway.controller.reconcile import WorkKey
from laneway.controller.routing import Router
from laneway.controller.world import World, chain_of_run, dependencies_of_run, lanes_of_run
from laneway.kube.cache import Cache, Change
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
            Cache(lanes_of_run=lanes_of_run, chain_of_run=chain_of_run, dependencies_of_run=dependencies_of_run),
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
