"""Passes over a run of several rounds, from its first look to its end; the operator may die between any two of them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from laneway.api import names
from laneway.api.base import format_time
from laneway.api.modellane import ModelLaneStatus
from laneway.api.reasons import End
from laneway.controller.facts.objects import Run
from laneway.controller.loop.gather import Gatherer
from laneway.controller.loop.queue import Queue
from laneway.controller.loop.reconcile import Reconciler, WorkKey
from laneway.controller.memory.world import World, make_cache
from laneway.controller.outside.apply import Applier
from laneway.controller.outside.gateway import GatewayClient
from laneway.kube.resources import AGENT_RUNS, CLAIMS, MODEL_LANES, PODS, JsonObject, Key
from laneway.rules.token import TokenKeys
from support.builders import PRESETS, ready
from support.clock import StillClock
from support.memory import MemoryKube
from support.objects import raw_lane, raw_run

RUN, LANE = WorkKey("run", Key("team-a", "hello")), WorkKey("lane", Key("team-a", "local"))
SPEC = {
    "agent": {"workspace": {"size": "1Gi"}},
    "retry": {"policy": "Same", "maxRetries": 2},
    "rounds": {"max": 4, "delaySeconds": 3},
}
LIFE = [(0, "Begun."), (1, "no compiler"), (0, "Half."), (0, "All of it.\nlaneway: done the tests pass")]
"""How the agent exits, attempt by attempt, and what it leaves."""


class Shop:
    """A Direct lane of one slot and a run; the operator is made anew for each pass, or stays."""

    def __init__(self, *, dies: bool) -> None:
        self.clock = StillClock()
        self.kube: Any = MemoryKube()
        self.kube.add(
            MODEL_LANES, raw_lane(spec={"capacity": {"runs": 1}}, status=ModelLaneStatus(conditions=(ready(),)))
        )
        self.kube.add(AGENT_RUNS, raw_run(version=2, spec=SPEC))
        self.dies = dies
        self.operator = self._start()

    def _start(self) -> tuple[World, Reconciler]:
        world = World(
            make_cache(),
            on_change=lambda change: None,
        )
        for (resource, *_), obj in self.kube.objects.items():
            if resource in {MODEL_LANES, AGENT_RUNS, PODS}:
                world.absorb(resource, obj)
        gateway = GatewayClient(url="http://127.0.0.1:9", secret="s", clock=self.clock)
        gatherer = Gatherer(
            kube=self.kube,
            world=world,
            gateway=gateway,
            presets=PRESETS,
            keys=TokenKeys(current="k", keys={"k": b"k" * 32}),
            agent_image="laneway:test",
            gateway_url="http://gateway",
        )
        reconciler = Reconciler(
            kube=self.kube,
            world=world,
            queue=Queue(self.clock),
            gateway=gateway,
            applier=Applier(kube=self.kube, world=world, gateway=gateway, clock=self.clock, instance="o"),
            gatherer=gatherer,
            presets=PRESETS,
            clock=self.clock,
        )
        return world, reconciler

    async def passes(self) -> None:
        for work in (RUN, LANE, RUN, LANE, RUN):
            if self.dies:
                self.operator = self._start()
            await self.operator[1].reconcile(work)
            await self.operator[1].all_told()

    @property
    def run(self) -> Run:
        found = self.operator[0].run(RUN.key)
        assert found is not None
        return found

    @property
    def pods(self) -> list[JsonObject]:
        return [obj for (resource, *_), obj in self.kube.objects.items() if resource is PODS]

    def exits(self, pod: JsonObject, code: int, message: str) -> None:
        """The agent has run for ten seconds and exits now."""
        began, ended = format_time(self.clock.now()), format_time(self.clock.now() + timedelta(seconds=10))
        self.clock.move(10)
        said = {"exitCode": code, "message": message, "startedAt": began, "finishedAt": ended}
        phase = "Failed" if code else "Succeeded"
        status = {"phase": phase, "containerStatuses": [{"name": "agent", "state": {"terminated": said}}]}
        self.operator[0].absorb(PODS, self.kube.change(PODS, {**pod, "status": status}))

    async def lives(self) -> None:
        """Each agent in its turn; time moves on to the moment that the run itself names."""
        for number, (code, message) in enumerate(LIFE, 1):
            await self.passes()
            [pod] = [pod for pod in self.pods if "status" not in pod]
            assert pod["metadata"]["labels"][names.ATTEMPT_LABEL] == str(number)
            self.exits(pod, code, message)
            await self.passes()
            planned = self.run.status.next_attempt_time
            if planned is None:
                continue
            assert len(self.pods) == number, "no pod before its time"
            self.clock.move((planned - self.clock.now()).total_seconds())


def environment(pod: JsonObject) -> dict[str, str]:
    return {one["name"]: one.get("value", "") for one in pod["spec"]["containers"][0]["env"]}


@pytest.mark.row("S4.42", "S3.29", "S3.31")
@pytest.mark.parametrize("dies", [False, True], ids=["one operator", "an operator that dies after every pass"])
async def test_a_run_of_three_rounds_and_one_retry(*, dies: bool) -> None:
    shop = Shop(dies=dies)
    await shop.lives()
    status = shop.run.status
    assert (status.reason, status.attempt, status.round, status.retries) == (End.COMPLETED, 4, 3, 1)
    assert status.active_seconds == 40
    told = [environment(pod) for pod in shop.pods]
    assert [(one["LANEWAY_ATTEMPT"], one["LANEWAY_ROUND"]) for one in told] == [
        ("1", "1"),
        ("2", "2"),
        ("3", "2"),
        ("4", "3"),
    ]
    assert ["LANEWAY_LAST_ERROR_FILE" in one for one in told] == [False, False, True, False]
    assert "no compiler" in shop.pods[2]["metadata"]["annotations"][names.LAST_ERROR_ANNOTATION]
    claims = [name for resource, _, name in shop.kube.objects if resource is CLAIMS]
    mounted = {
        volume["persistentVolumeClaim"]["claimName"]
        for pod in shop.pods
        for volume in pod["spec"]["volumes"]
        if "persistentVolumeClaim" in volume
    }
    assert mounted == set(claims)
    assert len(claims) == 1, "all attempts find the same workspace"


async def test_an_operator_that_dies_after_every_pass_leaves_the_same_end() -> None:
    statuses = []
    for dies in (False, True):
        shop = Shop(dies=dies)
        await shop.lives()
        statuses.append(shop.run.status)
    assert statuses[0] == statuses[1]
