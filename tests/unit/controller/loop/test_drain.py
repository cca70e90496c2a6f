"""A queue that empties: who is next, and how many statuses are written until nobody waits."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from laneway.api.base import format_time
from laneway.api.modellane import ModelLaneStatus
from laneway.api.runstatus import AgentRunStatus
from laneway.controller.loop.gather import Gatherer
from laneway.controller.loop.queue import Queue
from laneway.controller.loop.reconcile import Reconciler, WorkKey
from laneway.controller.loop.routing import Router
from laneway.controller.memory.world import World, make_cache
from laneway.controller.outside.apply import Applier
from laneway.controller.outside.gateway import GatewayClient
from laneway.kube.cache import Change
from laneway.kube.resources import AGENT_RUNS, MODEL_LANES, PODS, JsonObject, Resource
from laneway.rules.token import TokenKeys
from support.builders import PRESETS, at, condition, ready
from support.clock import StillClock
from support.memory import MemoryKube
from support.objects import raw_lane, raw_pod, raw_run


class Office:
    """An operator without a network: the real router, queue and passes over objects in memory; a node ends runs when told."""

    def __init__(self, *, slots: int) -> None:
        self.clock = StillClock()
        self.kube: Any = MemoryKube()
        self.cache = make_cache()
        self.start()
        lane = raw_lane(spec={"capacity": {"runs": slots}}, status=ModelLaneStatus(conditions=(ready(),)))
        self.add(MODEL_LANES, lane)

    def start(self) -> None:
        """A new operator process: nothing is left but the objects."""
        self.queue: Queue[WorkKey] = Queue(self.clock)
        self.world = World(self.cache, on_change=self.on_change)
        gateway = GatewayClient(url="http://127.0.0.1:9", secret="s", clock=self.clock)
        self.router = Router(queue=self.queue, world=self.world, gateway=gateway)
        gatherer = Gatherer(
            kube=self.kube,
            world=self.world,
            gateway=gateway,
            presets=PRESETS,
            keys=TokenKeys(current="k", keys={"k": b"k" * 32}),
            agent_image="laneway:test",
            gateway_url="http://gateway",
        )
        self.reconciler = Reconciler(
            kube=self.kube,
            world=self.world,
            queue=self.queue,
            gateway=gateway,
            applier=Applier(kube=self.kube, world=self.world, gateway=gateway, clock=self.clock, instance="o"),
            gatherer=gatherer,
            presets=PRESETS,
            clock=self.clock,
        )
        self.router.everything()

    def on_change(self, change: Change) -> None:
        self.router.on_change(change)

    def add(self, resource: Resource, obj: JsonObject) -> None:
        """Let an object be there and be known."""
        self.world.absorb(resource, self.kube.add(resource, obj))

    def add_run(self, name: str, number: int, **spec: Any) -> None:
        """A run that was made so many seconds after the first."""
        made = raw_run(name, version=number + 1, spec=spec)
        made["metadata"]["creationTimestamp"] = format_time(at(number))
        self.add(AGENT_RUNS, made)

    async def due(self) -> None:
        """Work on one key whose time has come by itself."""
        work = await asyncio.wait_for(self.queue.get(), 5)
        await self.reconciler.reconcile(work)
        self.queue.done(work)

    async def settle(self) -> None:
        """Work until nothing is left to do now."""
        while len(self.queue):
            work = await asyncio.wait_for(self.queue.get(), 5)
            await self.reconciler.reconcile(work)
            self.queue.done(work)

    @property
    def running(self) -> list[JsonObject]:
        """Pods that have not ended, in the order in which they were made."""
        pods = [obj for (resource, _, _), obj in self.kube.objects.items() if resource is PODS]
        return [pod for pod in pods if pod.get("status", {}).get("phase") != "Succeeded"]

    def end(self, pod: JsonObject) -> str:
        """Let a pod end well; answers its run's name."""
        state = {"terminated": {"exitCode": 0, "startedAt": format_time(at(1)), "finishedAt": format_time(at(2))}}
        version = str(int(pod["metadata"]["resourceVersion"]) + 1_000_000)
        meta = {**pod["metadata"], "resourceVersion": version}
        status = {"phase": "Succeeded", "containerStatuses": [{"name": "agent", "state": state}]}
        self.add(PODS, {**pod, "metadata": meta, "status": status})
        return str(pod["metadata"]["labels"]["laneway.dev/run"])

    async def drain(self, *, seconds: float = 1) -> list[str]:
        """End one run after the other, so many seconds apart, until nobody is left; answers their names in this order."""
        ended = []
        await self.settle()
        while self.running:
            self.clock.move(seconds)
            ended.append(self.end(self.running[0]))
            await self.settle()
        return ended

    def writes(self, kind: str) -> int:
        """How many statuses of a kind were written."""
        return sum(1 for verb, _ in self.kube.writes if verb == f"apply {kind}")

    def said(self, name: str) -> Any:
        """The status of a run."""
        return self.kube.objects[AGENT_RUNS, "team-a", name]["status"]


@pytest.mark.row("S2.9")
async def test_a_queue_of_two_hundred_is_emptied_with_a_bounded_number_of_writes_a_run() -> None:
    office = Office(slots=3)
    for number in range(200):
        office.add_run(f"run-{number:03}", number, caller=f"caller-{number % 7}")
    assert len(await office.drain()) == 200
    places = 1.5  # one a minute, and those ranges that stand for 10 s, while 3 slots end one run a second
    others = 4  # first place, granted, started, ended
    assert office.writes("agentruns") <= 200 * (places + others)
    assert office.writes("modellanes") <= 200 * 4


async def test_a_lane_whose_line_gets_shorter_says_so_once_a_second_and_says_at_once_when_it_is_empty() -> None:
    office = Office(slots=2)
    for number in range(100):
        office.add_run(f"run-{number:03}", number)
    await office.settle()
    before = office.writes("modellanes")
    await office.drain(seconds=0.1)
    assert office.writes("modellanes") - before <= 100 * 0.1 + 4
    status = office.kube.objects[MODEL_LANES, "team-a", "local"]["status"]
    assert (status["activeRuns"], status["queuedRuns"]) == (0, 0)


async def test_a_run_that_joins_a_queue_is_told_its_place_in_its_first_status() -> None:
    office = Office(slots=1)
    office.add_run("run-0", 0)
    await office.settle()
    office.add_run("run-1", 1)
    await office.settle()
    assert office.said("run-1")["queue"]["position"] == 1
    assert [verb for verb, name in office.kube.writes if name == "run-1"] == ["apply agentruns"]


async def test_twice_the_queue_costs_twice_the_writes() -> None:
    counts = []
    for size in (100, 200):
        office = Office(slots=2)
        for number in range(size):
            office.add_run(f"run-{number:03}", number)
        await office.drain()
        counts.append(office.writes("agentruns"))
    assert counts[1] < counts[0] * 2.5


@pytest.mark.row("S2.5", "S2.7", "C8")
@pytest.mark.parametrize(
    "seconds", [pytest.param(1, id="runs of a second"), pytest.param(0.1, id="runs shorter than a status can tell")]
)
async def test_two_callers_take_turns_on_a_lane_of_one(seconds: float) -> None:
    office = Office(slots=1)
    for number in range(4):
        office.add_run(f"a{number}", number, caller="a")
    await office.settle()
    office.add_run("b0", 4, caller="b")
    office.add_run("b1", 5, caller="b", priority=10)
    assert await office.drain(seconds=seconds) == ["a0", "b1", "a1", "b0", "a2", "a3"]


@pytest.mark.row("S2.13", "C8")
async def test_a_restart_at_any_moment_leaves_the_order_as_it_was() -> None:
    expected = ["a0", "b0", "a1", "b1", "a2", "b2"]
    for restarts_after in range(len(expected)):
        office = Office(slots=1)
        for number in range(3):
            office.add_run(f"a{number}", number, caller="a")
            office.add_run(f"b{number}", 10 + number, caller="b")
        await office.settle()
        ended = []
        while office.running:
            if len(ended) == restarts_after:
                office.start()
                await office.settle()
            office.clock.move(1)
            ended.append(office.end(office.running[0]))
            await office.settle()
        assert ended == expected, restarts_after


@pytest.mark.row("S4.40")
async def test_a_chain_of_dependencies_runs_from_its_beginning_whatever_the_order_of_creation() -> None:
    office = Office(slots=4)
    for number, name in enumerate("cba"):
        office.add_run(name, number, dependsOn=[{"name": chr(ord(name) - 1)}] if name != "a" else [])
    assert await office.drain() == ["a", "b", "c"]


@pytest.mark.row("S4.40")
async def test_a_failed_beginning_ends_the_whole_chain_without_a_pod() -> None:
    office = Office(slots=4)
    office.add_run("a", 0, cancel=True)
    for number, name in enumerate("bc", start=1):
        office.add_run(name, number, dependsOn=[{"name": chr(ord(name) - 1)}])
    assert await office.drain() == []
    assert [office.said(name)["reason"] for name in "abc"] == ["Cancelled", "DependencyFailed", "DependencyFailed"]


@pytest.mark.row("S4.40")
async def test_a_run_starts_at_its_time_although_nothing_happens() -> None:
    office = Office(slots=1)
    office.add_run("later", 0, notBeforeTime="2026-03-01T12:01:00Z")
    assert await office.drain() == []
    assert office.said("later")["reason"] == "NotBefore"
    office.clock.move(60)
    await office.due()
    assert await office.drain() == ["later"]


@pytest.mark.row("S2.22")
async def test_a_run_that_waits_too_long_for_a_slot_ends_although_nothing_happens() -> None:
    office = Office(slots=1)
    office.add_run("first", 0)
    office.add_run("second", 1, timeouts={"queueSeconds": 60})
    await office.settle()
    office.clock.move(61)
    await office.due()
    await office.settle()
    assert office.said("second")["reason"] == "QueueTimeout"
    assert "attempts" not in office.said("second")
    assert await office.drain() == ["first"]


@pytest.mark.row("C7", "C8")
async def test_a_pod_that_outlives_its_run_counts_for_the_caller_of_that_run() -> None:
    office = Office(slots=2)
    over = AgentRunStatus(conditions=(condition("Finished", "True", "Cancelled"),))
    office.add(AGENT_RUNS, raw_run("over", status=over, spec={"caller": "u"}))
    office.add(PODS, raw_pod("over"))
    office.add_run("u1", 1, caller="u")
    office.add_run("v1", 2, caller="v")
    await office.settle()
    assert office.said("v1")["attempt"] == 1
    assert "attempt" not in office.said("u1")


@pytest.mark.row("S2.10")
async def test_who_leaves_the_queue_leaves_its_place() -> None:
    office = Office(slots=1)
    for number in range(4):
        office.add_run(f"run-{number}", number)
    await office.settle()
    assert office.said("run-3")["queue"]["position"] == 3
    gone = office.kube.objects.pop((AGENT_RUNS, "team-a", "run-1"))
    change = office.cache.remove(AGENT_RUNS, gone)
    assert change is not None
    office.on_change(change)
    await office.settle()
    assert office.said("run-3")["queue"]["position"] == 3, "a place is told once it has stood for 5 s"
    office.clock.move(5)
    await office.due()
    await office.settle()
    assert office.said("run-3")["queue"]["position"] == 2
    assert await office.drain() == ["run-0", "run-2", "run-3"]
