"""Passes over runs with chains: what is written, in which order, and what a crash between two writes leaves to do."""

from __future__ import annotations

from typing import Any

import pytest

from laneway.api.modellane import LaneModelStatus, ModelLaneStatus
from laneway.api.reasons import Cause, ResetSource
from laneway.controller.facts.objects import Run
from laneway.controller.loop.gather import Gatherer
from laneway.controller.loop.queue import Queue
from laneway.controller.loop.reconcile import Reconciler, WorkKey
from laneway.controller.memory.world import World, make_cache
from laneway.controller.metrics import FALLBACKS
from laneway.controller.outside.apply import Applier
from laneway.controller.outside.gateway import GatewayClient
from laneway.kube.errors import Conflict
from laneway.kube.resources import AGENT_RUNS, EVENTS, MODEL_LANES, PODS, JsonObject, Key, Resource
from laneway.rules.token import TokenKeys
from support.builders import PRESETS, at, ready
from support.clock import StillClock
from support.memory import MemoryKube
from support.objects import raw_lane, raw_run

RUN = WorkKey("run", Key("team-a", "hello"))
FIRST, SECOND = (WorkKey("lane", Key("team-a", name)) for name in ("first", "second"))
MODELS = {"models": [{"lane": "first"}, {"lane": "second"}]}


class Desk:
    """A reconciler over objects in memory: two Direct lanes, and a run with a step on each."""

    def __init__(self) -> None:
        self.clock = StillClock()
        self.kube: Any = MemoryKube()
        self.queue: Queue[WorkKey] = Queue(self.clock)
        cache = make_cache()
        self.world = World(cache, on_change=lambda change: None)
        gateway = GatewayClient(url="http://127.0.0.1:9", secret="s", clock=self.clock)
        keys = TokenKeys(current="k", keys={"k": b"k" * 32})
        self.gatherer = Gatherer(
            kube=self.kube,
            world=self.world,
            gateway=gateway,
            presets=PRESETS,
            keys=keys,
            agent_image="laneway:test",
            gateway_url="http://gateway",
        )
        self.reconciler = Reconciler(
            kube=self.kube,
            world=self.world,
            queue=self.queue,
            gateway=gateway,
            applier=Applier(kube=self.kube, world=self.world, gateway=gateway, clock=self.clock, instance="o"),
            gatherer=self.gatherer,
            presets=PRESETS,
            clock=self.clock,
        )

    def add(self, resource: Resource, obj: JsonObject) -> None:
        self.world.absorb(resource, self.kube.add(resource, obj))

    def change(self, resource: Resource, obj: JsonObject) -> None:
        """Somebody else writes."""
        self.world.absorb(resource, self.kube.change(resource, obj))

    def add_lanes(self, *, cooled: bool = False, version: int = 1) -> None:
        """The lanes; the first one's model cools for five minutes, if that is said."""
        model = LaneModelStatus(
            name="smollm2",
            cooldown_until=at(300),
            cooldown_reason=Cause.RATE_LIMIT_MODEL,
            cooldown_source=ResetSource.ESTIMATED,
        )
        shut = ModelLaneStatus(conditions=(ready(),), models=(model,) if cooled else ())
        self.add(MODEL_LANES, raw_lane("first", version=version, status=shut))
        self.add(MODEL_LANES, raw_lane("second", version=version, status=ModelLaneStatus(conditions=(ready(),))))

    def run(self) -> Run:
        run = self.world.run(RUN.key)
        assert run is not None
        return run

    def writes(self) -> list[str]:
        """Verbs of all writes but Events."""
        return [verb for verb, _ in self.kube.writes if not verb.endswith(EVENTS.plural)]

    async def passes(self, *work: WorkKey) -> None:
        for key in work:
            await self.reconciler.reconcile(key)
            await self.reconciler.all_told()


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def test_a_move_is_written_to_status_first_and_then_shown_in_the_spec(desk: Desk) -> None:
    desk.add_lanes(cooled=True)
    desk.add(AGENT_RUNS, raw_run(version=2, spec=MODELS))
    before = FALLBACKS.labels("team-a", "first", "RateLimitModel")._value.get()
    await desk.passes(RUN)
    assert desk.writes() == ["apply agentruns", "patch agentruns"]
    run = desk.run()
    assert run.spec.active_model is not None
    assert (run.spec.active_model.lane, run.spec.active_model.model) == ("second", "smollm2")
    assert FALLBACKS.labels("team-a", "first", "RateLimitModel")._value.get() == before + 1
    await desk.passes(RUN, RUN)
    assert desk.writes() == ["apply agentruns", "patch agentruns", "apply agentruns"]
    assert desk.run().status.observed_generation == desk.run().meta.generation
    assert desk.run().status.step is not None
    assert desk.run().status.step.shown


async def test_a_crash_between_both_writes_is_made_good_without_an_event(desk: Desk) -> None:
    desk.add_lanes(cooled=True)
    desk.add(AGENT_RUNS, raw_run(version=2, spec=MODELS))
    await desk.passes(RUN)
    written = desk.kube.objects[AGENT_RUNS, "team-a", "hello"]
    spec = {name: field for name, field in written["spec"].items() if name != "activeModel"}
    crashed = {**written, "spec": spec, "metadata": {**written["metadata"], "generation": 1}}
    again = Desk()
    again.add_lanes(cooled=True)
    again.change(AGENT_RUNS, crashed)
    await again.passes(RUN)
    assert again.writes() == ["patch agentruns"]
    assert again.kube.writes == [("patch agentruns", "hello")]
    assert again.run().spec.active_model is not None
    assert again.run().status.active_model_restores == ()


async def test_who_changed_the_run_after_the_status_was_written_is_heard_first(desk: Desk) -> None:
    desk.add_lanes(cooled=True)
    desk.add(AGENT_RUNS, raw_run(version=2, spec=MODELS))
    real = desk.kube.apply_status

    async def overtaken(*args: Any, **changes: Any) -> JsonObject:
        answer: JsonObject = await real(*args, **changes)
        desk.change(AGENT_RUNS, {**answer, "spec": {**answer["spec"], "priority": 7}})
        return answer

    desk.kube.apply_status = overtaken
    with pytest.raises(Conflict):
        await desk.passes(RUN)
    desk.kube.apply_status = real
    await desk.passes(RUN)
    assert desk.run().spec.active_model is not None
    assert desk.run().spec.priority == 7


async def test_a_plain_run_costs_six_writes(desk: Desk) -> None:
    desk.add_lanes()
    desk.add(AGENT_RUNS, raw_run(version=2, spec=MODELS))
    await desk.passes(RUN, FIRST, RUN, RUN)
    [pod] = [obj for (resource, *_), obj in desk.kube.objects.items() if resource is PODS]
    started = {"phase": "Running", "containerStatuses": [{"name": "agent", "ready": True, "state": _running()}]}
    for status in ({"phase": "Pending"}, started, _ended()):
        desk.change(PODS, {**pod, "status": status})
        await desk.passes(RUN, RUN)
    assert desk.run().finished
    runs_and_children = [verb for verb in desk.writes() if not verb.endswith(MODEL_LANES.plural)]
    assert runs_and_children == [
        "apply agentruns",  # its first look
        "apply agentruns",  # the grant
        "create configmaps",
        "create pods",
        "apply agentruns",  # the agent runs
        "apply agentruns",  # its end
    ]


async def test_the_manager_who_took_the_field_is_named(desk: Desk) -> None:
    desk.add_lanes(cooled=True)
    desk.add(AGENT_RUNS, raw_run(version=2, spec=MODELS))
    await desk.passes(RUN, RUN)
    put = desk.kube.objects[AGENT_RUNS, "team-a", "hello"]
    managers = [{"manager": "kubectl-replace", "operation": "Update", "time": "2026-03-01T12:00:09Z"}]
    spec = {name: field for name, field in put["spec"].items() if name != "activeModel"}
    desk.change(AGENT_RUNS, {**put, "metadata": {**put["metadata"], "managedFields": managers}, "spec": spec})
    await desk.passes(RUN)
    assert desk.run().spec.active_model is not None
    notes = [obj["note"] for (resource, *_), obj in desk.kube.objects.items() if resource is EVENTS]
    assert any("removed by kubectl-replace" in note for note in notes)


async def test_whether_a_run_has_another_step_is_asked_of_the_lanes_as_they_are(desk: Desk) -> None:
    desk.add_lanes()
    desk.add(AGENT_RUNS, raw_run(version=2, spec=MODELS))
    desk.add(AGENT_RUNS, raw_run("single", version=3, spec={"models": [{"lane": "first"}]}))
    single = desk.world.run(Key("team-a", "single"))
    assert single is not None
    assert desk.gatherer.elsewhere(desk.run(), at(0))
    assert not desk.gatherer.elsewhere(single, at(0))


def _running() -> JsonObject:
    return {"running": {"startedAt": "2026-03-01T12:00:02Z"}}


def _ended() -> JsonObject:
    over = {"exitCode": 0, "startedAt": "2026-03-01T12:00:02Z", "finishedAt": "2026-03-01T12:00:03Z"}
    return {"phase": "Succeeded", "containerStatuses": [{"name": "agent", "state": {"terminated": over}}]}
