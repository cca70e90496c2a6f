"""Passes over runs and lanes when writes are slow or have no answer: a slot in doubt is a slot in use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from prometheus_client import REGISTRY

from laneway.api import names
from laneway.api.modellane import Failures, ModelLaneStatus
from laneway.api.reasons import Cause, Outcome
from laneway.api.runstatus import AgentRunStatus, BackoffStatus, StepStatus, Trouble
from laneway.controller.loop.gather import Gatherer
from laneway.controller.loop.queue import Queue
from laneway.controller.loop.reconcile import Reconciler, WorkKey
from laneway.controller.loop.routing import Router
from laneway.controller.memory.unsettled import SETTLES_AFTER
from laneway.controller.memory.world import World, make_cache
from laneway.controller.outside.apply import Applier
from laneway.controller.outside.gateway import GatewayClient
from laneway.kube.cache import Change
from laneway.kube.errors import Conflict, Forbidden, Invalid, KubeError, NotFound, Unavailable
from laneway.kube.resources import AGENT_RUNS, CLAIMS, CONFIG_MAPS, EVENTS, MODEL_LANES, PODS, JsonObject, Key, Resource
from laneway.rules.token import TokenKeys
from support.builders import PRESETS, admitted, at, attempt, condition, ready
from support.clock import StillClock
from support.memory import MemoryKube
from support.objects import raw_lane, raw_pod, raw_run

HELLO, OTHER = WorkKey("run", Key("team-a", "hello")), WorkKey("run", Key("team-a", "other"))
LANE = WorkKey("lane", Key("team-a", "local"))
POD = names.pod_name(run="hello", uid="hello-0123456789", attempt=1)
LOOKED_AT = AgentRunStatus(observed_generation=1)
NO_ANSWER = Unavailable("no answer from the API server")


class Desk:
    """A reconciler over objects in memory: a lane of one slot that ``hello`` holds without a pod, and ``other`` waits."""

    def __init__(self) -> None:
        self.clock = StillClock()
        self.kube: Any = MemoryKube()
        self.queue: Queue[WorkKey] = Queue(self.clock)
        self.router: Router | None = None
        self.world = World(make_cache(), on_change=self._on_change)
        gateway = GatewayClient(url="http://127.0.0.1:9", secret="s", clock=self.clock)
        keys = TokenKeys(current="k", keys={"k": b"k" * 32})
        self.reconciler = Reconciler(
            kube=self.kube,
            world=self.world,
            queue=self.queue,
            gateway=gateway,
            applier=Applier(kube=self.kube, world=self.world, gateway=gateway, clock=self.clock, instance="o"),
            gatherer=Gatherer(
                kube=self.kube,
                world=self.world,
                gateway=gateway,
                presets=PRESETS,
                keys=keys,
                agent_image="laneway:test",
                gateway_url="http://gateway",
            ),
            presets=PRESETS,
            clock=self.clock,
        )
        self._gateway = gateway
        self.add(MODEL_LANES, raw_lane(spec={"capacity": {"runs": 1}}, status=ModelLaneStatus(conditions=(ready(),))))

    def route(self) -> None:
        """From now on changes wake those whom they concern."""
        self.router = Router(queue=self.queue, world=self.world, gateway=self._gateway)

    def _on_change(self, change: Change) -> None:
        if self.router is not None:
            self.router.on_change(change)

    def add(self, resource: Resource, obj: JsonObject) -> None:
        """Let an object be there and be known."""
        self.world.absorb(resource, self.kube.add(resource, obj))

    def end(self, name: str) -> None:
        """Let a run be deleted, and let that be known."""
        gone = self.kube.objects.pop((AGENT_RUNS, "team-a", name))
        self.world.cache.remove(AGENT_RUNS, gone)

    def is_admitted(self, work: WorkKey) -> bool:
        run = self.world.run(work.key)
        return run is not None and run.admitted

    @asynccontextmanager
    async def while_slow(self, resource: Resource, work: WorkKey, *, raises: type[KubeError]) -> AsyncIterator[None]:
        """A pass that hangs in a request about a resource; it goes on, to its error, when the block is left."""
        self.kube.slow = resource
        passing = asyncio.create_task(self.reconciler.reconcile(work))
        await asyncio.sleep(0)
        yield
        self.kube.slow = None
        self.kube.gate.set()
        with pytest.raises(raises):
            await passing


def reasons_told(desk: Desk) -> list[str]:
    """The reasons of all Events, in order."""
    return [obj["reason"] for (resource, _, _), obj in desk.kube.objects.items() if resource is EVENTS]


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def granted(desk: Desk) -> Desk:
    """``hello`` holds the slot, its pod is not made yet."""
    desk.add(AGENT_RUNS, raw_run(version=2, status=admitted()))
    desk.add(AGENT_RUNS, raw_run("other", version=3, status=LOOKED_AT))
    return desk


@pytest.mark.row("S2.4")
async def test_a_pod_on_its_way_holds_its_slot_although_its_run_was_deleted(granted: Desk) -> None:
    async with granted.while_slow(CONFIG_MAPS, HELLO, raises=NotFound):
        granted.end("hello")
        await granted.reconciler.reconcile(LANE)
        assert not granted.is_admitted(OTHER)
    assert (PODS, "team-a", POD) in granted.kube.objects
    await granted.reconciler.reconcile(LANE)
    assert not granted.is_admitted(OTHER)


async def test_no_pod_is_made_for_a_run_that_was_deleted_after_it_was_read(granted: Desk) -> None:
    async with granted.while_slow(PODS, HELLO, raises=Conflict):
        granted.end("hello")
        await granted.reconciler.reconcile(LANE)
        assert granted.is_admitted(OTHER)
    assert (PODS, "team-a", POD) not in granted.kube.objects


@pytest.mark.row("S2.4")
@pytest.mark.parametrize("lands", [True, False], ids=["it was made", "it was not made"])
async def test_a_pod_without_an_answer_holds_its_slot_until_it_is_read_live(granted: Desk, *, lands: bool) -> None:
    granted.kube.fails, granted.kube.lands = {PODS: NO_ANSWER}, lands
    with pytest.raises(Unavailable):
        await granted.reconciler.reconcile(HELLO)
    granted.kube.fails = {}
    granted.end("hello")
    await granted.reconciler.reconcile(LANE)
    assert not granted.is_admitted(OTHER)
    granted.clock.move(SETTLES_AFTER.total_seconds())
    await granted.reconciler.reconcile(LANE)
    assert granted.is_admitted(OTHER) is not lands


@pytest.mark.parametrize("lands", [True, False], ids=["it was written", "it was not written"])
async def test_a_grant_without_an_answer_holds_its_slot_until_it_is_read_live(desk: Desk, *, lands: bool) -> None:
    desk.add(AGENT_RUNS, raw_run(version=2, status=LOOKED_AT))
    desk.kube.fails, desk.kube.lands = {AGENT_RUNS: NO_ANSWER}, lands
    await desk.reconciler.reconcile(LANE)
    desk.kube.fails = {}
    desk.add(AGENT_RUNS, raw_run("other", version=3, status=LOOKED_AT))
    await desk.reconciler.reconcile(LANE)
    assert not desk.is_admitted(OTHER)
    assert not desk.is_admitted(HELLO)
    desk.clock.move(SETTLES_AFTER.total_seconds())
    await desk.reconciler.reconcile(LANE)
    assert not desk.is_admitted(OTHER)
    assert desk.is_admitted(HELLO)
    assert [verb for verb, name in desk.kube.writes if name == "hello"] == ["apply agentruns"] * (1 if lands else 2)


@pytest.mark.parametrize("lands", [True, False], ids=["it was written", "it was not written"])
async def test_the_events_of_a_status_without_an_answer_are_told_once_it_is_known_to_be_written(
    desk: Desk, *, lands: bool
) -> None:
    desk.add(AGENT_RUNS, raw_run(version=2, status=LOOKED_AT))
    desk.kube.fails, desk.kube.lands = {AGENT_RUNS: NO_ANSWER}, lands
    await desk.reconciler.reconcile(LANE)
    desk.kube.fails = {}
    await desk.reconciler.all_told()
    assert reasons_told(desk) == []
    desk.clock.move(SETTLES_AFTER.total_seconds())
    await desk.reconciler.reconcile(LANE)
    await desk.reconciler.reconcile(HELLO)
    await desk.reconciler.all_told()
    assert reasons_told(desk) == ["SlotGranted"]


@pytest.mark.row("S2.7", "C8")
@pytest.mark.parametrize("refused", [None, NO_ANSWER], ids=["its run had changed", "there was no answer"])
async def test_a_grant_that_was_not_written_takes_no_turn_from_its_caller(
    desk: Desk, refused: KubeError | None
) -> None:
    ann, bob = ({"caller": caller} for caller in ("ann", "bob"))
    desk.add(AGENT_RUNS, raw_run(version=2, spec=ann, status=LOOKED_AT))
    desk.add(AGENT_RUNS, raw_run("other", version=3, spec=bob, status=LOOKED_AT))
    changed = desk.kube.change(AGENT_RUNS, raw_run(spec=ann, status=LOOKED_AT))
    desk.kube.fails, desk.kube.lands = ({AGENT_RUNS: refused} if refused else {}), False
    await desk.reconciler.reconcile(LANE)
    desk.kube.fails = {}
    desk.world.absorb(AGENT_RUNS, changed)
    desk.clock.move(SETTLES_AFTER.total_seconds())
    await desk.reconciler.reconcile(LANE)
    assert desk.is_admitted(HELLO)
    assert not desk.is_admitted(OTHER)


@pytest.mark.row("S4.46")
async def test_a_pass_that_is_done_twice_makes_one_pod(granted: Desk) -> None:
    await granted.reconciler.reconcile(HELLO)
    granted.world.cache.remove(PODS, granted.kube.objects[PODS, "team-a", POD])
    await granted.reconciler.reconcile(HELLO)
    assert [verb for verb, name in granted.kube.writes if name == POD] == ["create pods"]


async def test_a_pass_over_an_unchanged_run_writes_nothing(granted: Desk) -> None:
    await granted.reconciler.reconcile(HELLO)
    await granted.reconciler.reconcile(HELLO)
    before = len(granted.kube.writes)
    await granted.reconciler.reconcile(HELLO)
    assert len(granted.kube.writes) == before


async def test_a_pod_is_made_right_after_its_grant_without_asking_whether_it_is_there(desk: Desk) -> None:
    desk.add(AGENT_RUNS, raw_run(version=2))
    await desk.reconciler.reconcile(LANE)
    await desk.reconciler.reconcile(HELLO)
    assert (PODS, "team-a", POD) in desk.kube.objects
    assert desk.kube.reads == []


async def test_a_pod_whose_making_had_no_answer_is_asked_for_before_it_is_made_again(desk: Desk) -> None:
    desk.add(AGENT_RUNS, raw_run(version=2))
    await desk.reconciler.reconcile(LANE)
    desk.kube.fails = {PODS: NO_ANSWER}
    with pytest.raises(Unavailable):
        await desk.reconciler.reconcile(HELLO)
    desk.kube.fails = {}
    await desk.reconciler.reconcile(HELLO)
    assert desk.kube.reads[0] == ("pods", POD)


async def test_the_pod_of_a_grant_by_another_process_is_asked_for_before_it_is_made(granted: Desk) -> None:
    await granted.reconciler.reconcile(HELLO)
    assert granted.kube.reads == [("pods", POD)]
    assert (PODS, "team-a", POD) in granted.kube.objects


async def test_the_next_slot_does_not_wait_for_the_events_of_a_grant(desk: Desk) -> None:
    desk.add(AGENT_RUNS, raw_run(version=2))
    desk.kube.slow = EVENTS
    await asyncio.wait_for(desk.reconciler.reconcile(LANE), 5)
    assert desk.is_admitted(HELLO)
    desk.kube.gate.set()
    await desk.reconciler.all_told()
    assert [key[0] for key in desk.kube.objects].count(EVENTS) == 1


async def test_a_run_whose_first_look_is_on_its_way_is_granted_nothing_before_it(desk: Desk) -> None:
    desk.add(AGENT_RUNS, raw_run(version=2))
    desk.queue.add(HELLO)
    await desk.reconciler.reconcile(LANE)
    assert desk.kube.writes == []
    assert await desk.queue.get() == HELLO
    await desk.reconciler.reconcile(HELLO)
    desk.queue.done(HELLO)
    await desk.reconciler.reconcile(LANE)
    assert desk.is_admitted(HELLO)


async def test_free_slots_are_granted_side_by_side(desk: Desk) -> None:
    desk.add(
        MODEL_LANES, raw_lane(version=5, spec={"capacity": {"runs": 2}}, status=ModelLaneStatus(conditions=(ready(),)))
    )
    desk.add(AGENT_RUNS, raw_run(version=2))
    desk.add(AGENT_RUNS, raw_run("other", version=3))
    desk.kube.slow = AGENT_RUNS
    passing = asyncio.create_task(desk.reconciler.reconcile(LANE))
    for _ in range(3):
        await asyncio.sleep(0)
    assert {name for _, name in desk.kube.writes} == {"hello", "other"}
    desk.kube.gate.set()
    await passing


async def test_the_grants_own_status_is_not_written_again_while_the_pod_is_made(desk: Desk) -> None:
    desk.add(AGENT_RUNS, raw_run(version=2))
    await desk.reconciler.reconcile(LANE)
    await desk.reconciler.reconcile(HELLO)
    assert [verb for verb, name in desk.kube.writes if name == "hello"] == ["apply agentruns"]


async def test_a_config_map_in_foreign_hands_is_no_prompt_of_ours(granted: Desk) -> None:
    name = names.prompt_name(run="hello", uid="hello-0123456789")
    foreign = {"metadata": {"name": name, "namespace": "team-a"}, "data": {"prompt": "do evil"}}
    granted.kube.add(CONFIG_MAPS, foreign)
    await granted.reconciler.reconcile(HELLO)
    run = granted.world.run(HELLO.key)
    assert run is not None
    assert (run.status.reason, run.status.attempt) == ("NameTaken", None)
    assert (PODS, "team-a", POD) not in granted.kube.objects


OURS = {"uid": "hello-0123456789", "controller": True, "kind": "AgentRun", "name": "hello"}
OTHERS = {**OURS, "uid": "another"}


@pytest.fixture
def keeps(desk: Desk) -> Desk:
    """``hello`` holds the slot and asks for a workspace; its pod is not made yet."""
    spec = {"agent": {"workspace": {"size": "10Gi"}}}
    desk.add(AGENT_RUNS, raw_run(version=2, spec=spec, status=admitted()))
    return desk


def claim(**meta: Any) -> JsonObject:
    name = names.workspace_name(run="hello", uid="hello-0123456789")
    return {"metadata": {"name": name, "namespace": "team-a", **meta}, "spec": {"volumeName": "pv-1"}}


async def test_the_claim_of_a_workspace_is_made_before_the_pod(keeps: Desk) -> None:
    await keeps.reconciler.reconcile(HELLO)
    made = [verb for verb, _ in keeps.kube.writes if verb.startswith("create")]
    assert made == ["create configmaps", "create persistentvolumeclaims", "create pods"]


async def test_another_attempt_goes_on_with_the_claim_as_it_is(keeps: Desk) -> None:
    kept = keeps.kube.add(CLAIMS, claim(ownerReferences=[OURS]))
    await keeps.reconciler.reconcile(HELLO)
    assert (PODS, "team-a", POD) in keeps.kube.objects
    assert keeps.kube.objects[CLAIMS, "team-a", kept["metadata"]["name"]] == claim(ownerReferences=[OURS])


@pytest.mark.parametrize(
    ("found", "says"),
    [
        pytest.param(claim(), "is not this run's", id="a claim without an owner is not taken"),
        pytest.param(claim(ownerReferences=[OTHERS]), "is not this run's", id="a claim of another run is not taken"),
        pytest.param(
            claim(ownerReferences=[{**OURS, "controller": False}]),
            "is not this run's",
            id="a claim that only mentions the run is not taken",
        ),
        pytest.param(
            claim(ownerReferences=[OURS], deletionTimestamp="2026-03-01T12:00:00Z"),
            "is being deleted",
            id="a claim that goes away is waited for",
        ),
    ],
)
async def test_a_claim_that_is_not_the_runs_is_left_alone(keeps: Desk, found: JsonObject, says: str) -> None:
    keeps.kube.add(CLAIMS, found)
    await keeps.reconciler.reconcile(HELLO)
    run = keeps.world.run(HELLO.key)
    assert run is not None
    assert (run.status.reason, run.status.attempt) == ("NameTaken", None)
    assert run.refused is not None
    assert f"claim {found['metadata']['name']} " in run.refused.message
    assert says in run.refused.message
    assert keeps.kube.objects[CLAIMS, "team-a", found["metadata"]["name"]] == found
    assert (PODS, "team-a", POD) not in keeps.kube.objects


@pytest.mark.parametrize(
    ("error", "reason", "finished"),
    [
        pytest.param(
            Forbidden("claims is forbidden: exceeded quota: disk", status=403),
            "QuotaExceeded",
            False,
            id="a quota that has no room is waited for",
        ),
        pytest.param(
            Invalid("spec.storageClassName is wrong", status=422),
            "PodRejected",
            True,
            id="a claim that the API server will never take ends the run",
        ),
    ],
)
async def test_a_refused_claim_is_treated_as_a_refused_pod(
    keeps: Desk, error: KubeError, reason: str, *, finished: bool
) -> None:
    keeps.kube.fails = {CLAIMS: error}
    await keeps.reconciler.reconcile(HELLO)
    run = keeps.world.run(HELLO.key)
    assert run is not None
    assert (run.status.reason, run.finished) == (reason, finished)
    assert any(error.message in condition.message for condition in run.status.conditions)
    assert (PODS, "team-a", POD) not in keeps.kube.objects


async def test_a_missing_right_to_make_claims_is_the_operators_trouble_and_not_the_runs(keeps: Desk) -> None:
    keeps.kube.fails = {CLAIMS: Forbidden("cannot create resource persistentvolumeclaims", status=403)}
    with pytest.raises(Forbidden):
        await keeps.reconciler.reconcile(HELLO)
    assert keeps.is_admitted(HELLO)


async def test_a_run_ends_although_its_agents_log_cannot_be_read(desk: Desk) -> None:
    recorded = admitted(pod=POD, pod_uid="pod-of-hello-1", start_time=at(1))
    desk.add(AGENT_RUNS, raw_run(version=2, status=recorded))
    pod = raw_pod(phase="Succeeded")
    ended = {
        "exitCode": 0,
        "message": "Paris.",
        "startedAt": "2026-03-01T12:00:01Z",
        "finishedAt": "2026-03-01T12:00:02Z",
    }
    pod["status"]["containerStatuses"] = [{"name": "agent", "state": {"terminated": ended}}]
    desk.add(PODS, pod)
    desk.kube.fails = {PODS: Unavailable("the kubelet does not answer", status=500)}
    await desk.reconciler.reconcile(HELLO)
    run = desk.world.run(HELLO.key)
    assert run is not None
    assert run.finished
    assert run.status.result is not None
    assert run.status.result.summary == "Paris."
    assert run.status.usage is not None
    assert run.status.usage.complete is False


async def test_a_lane_that_is_gone_needs_nothing(desk: Desk) -> None:
    await desk.reconciler.reconcile(WorkKey("lane", Key("team-a", "nowhere")))
    await desk.reconciler.reconcile(OTHER)
    assert desk.kube.writes == []


# ---- cooldowns


def failed_at(seconds: float, *, cause: Cause = Cause.RATE_LIMIT_MODEL) -> AgentRunStatus:
    """The status of a run that ended with a failed call."""
    trouble = Trouble(sent_time=at(seconds), seen_time=at(seconds), status=429)
    last = attempt(1, outcome=Outcome.MODEL_TROUBLE, cause=cause, trouble=trouble)
    return AgentRunStatus(conditions=(condition("Finished", "True", "TransientStop"),), attempt=1, attempts=(last,))


async def work(desk: Desk) -> list[WorkKey]:
    """Do what has to be done now; answers what that was."""
    done = []
    while len(desk.queue):
        one = await asyncio.wait_for(desk.queue.get(), 5)
        await desk.reconciler.reconcile(one)
        desk.queue.done(one)
        done.append(one)
    return done


def lane_status(desk: Desk, name: str = "local") -> ModelLaneStatus:
    lane = desk.world.lane(Key("team-a", name))
    assert lane is not None
    return lane.status


def throttled(reason: str) -> float:
    labels = {"namespace": "team-a", "lane": "local", "model": "smollm2", "reason": reason}
    return REGISTRY.get_sample_value("laneway_upstream_throttled_total", labels) or 0


def gauge(name: str) -> float | None:
    return REGISTRY.get_sample_value(name, {"namespace": "team-a", "lane": "local"})


@pytest.mark.row("S3.10", "C5", "S4.5")
async def test_a_lane_hears_of_the_failure_that_ended_a_run(desk: Desk) -> None:
    await desk.reconciler.reconcile(LANE)
    desk.route()
    before = throttled("RateLimitModel")
    desk.clock.move(15)
    desk.add(AGENT_RUNS, raw_run(version=2, status=failed_at(10)))
    assert LANE in await work(desk)
    assert lane_status(desk).models[0].cooldown_until == at(70)
    assert throttled("RateLimitModel") == before + 1
    assert gauge("laneway_lane_throttled_until_timestamp_seconds") == at(70).timestamp()
    desk.clock.move(55)
    await desk.reconciler.reconcile(LANE)
    assert lane_status(desk).models[0].cooldown_until is None
    assert gauge("laneway_lane_throttled_until_timestamp_seconds") is None


@pytest.mark.row("S3.18", "S4.5", "B7")
async def test_a_failure_that_nobody_had_read_is_found_after_a_restart(desk: Desk) -> None:
    desk.add(AGENT_RUNS, raw_run(version=2, status=failed_at(10)))
    desk.clock.move(15)
    await desk.reconciler.reconcile(LANE)
    assert lane_status(desk).models[0].cooldown_until == at(70)


@pytest.mark.row("S4.5", "C5")
async def test_a_lane_that_looks_before_the_pass_of_a_failed_run_is_over_grants_nobody_its_model(desk: Desk) -> None:
    desk.add(AGENT_RUNS, raw_run(version=2, status=admitted()))
    desk.add(AGENT_RUNS, raw_run("other", version=2, status=LOOKED_AT))
    desk.route()
    await desk.reconciler.reconcile(LANE)
    desk.clock.move(15)
    desk.add(AGENT_RUNS, raw_run(version=3, status=failed_at(10)))  # the watch tells it before the write is answered
    await desk.reconciler.reconcile(LANE)
    assert ("apply agentruns", "other") not in desk.kube.writes
    assert lane_status(desk).models[0].cooldown_until == at(70)


@pytest.mark.row("C5")
async def test_two_hundred_failures_of_one_outage_are_one_write_and_one_event(desk: Desk) -> None:
    await desk.reconciler.reconcile(LANE)
    desk.route()
    desk.clock.move(15)
    before = desk.kube.writes.count(("apply modellanes", "local"))
    for number in range(200):
        name = f"r{number}"
        desk.add(AGENT_RUNS, raw_run(name, version=number + 2, status=failed_at(10 + number % 5)))
        await work(desk)
    assert desk.kube.writes.count(("apply modellanes", "local")) == before + 1
    await desk.reconciler.all_told()
    cooled = [obj for (resource, _, _), obj in desk.kube.objects.items() if resource is EVENTS]
    assert [event["reason"] for event in cooled if event["reason"] == "ModelCooled"] == ["ModelCooled"]
    assert lane_status(desk).models[0].failures == Failures(rate_limit_model=1)


@pytest.mark.row("C16")
async def test_lanes_of_the_same_account_are_woken_when_it_cools(desk: Desk) -> None:
    desk.clock.move(15)
    for version, name in enumerate(("local", "other", "stranger"), start=5):
        spec = {"account": "ours" if name != "stranger" else "theirs"}
        desk.add(MODEL_LANES, raw_lane(name, version=version, spec=spec, status=ModelLaneStatus(conditions=(ready(),))))
    desk.add(AGENT_RUNS, raw_run(version=2, status=failed_at(10, cause=Cause.RATE_LIMIT_ACCOUNT)))
    await desk.reconciler.reconcile(LANE)
    other = WorkKey("lane", Key("team-a", "other"))
    assert await work(desk) == [other]
    assert lane_status(desk, "other").throttled_until == at(310)
    assert await work(desk) == []


@pytest.mark.row("S3.23", "C19")
async def test_a_run_whose_wait_is_over_is_granted_and_told_so_in_order(desk: Desk) -> None:
    step = StepStatus(lane="local", namespace="team-a", model="smollm2")
    backoff = BackoffStatus(
        cause=Cause.RATE_LIMIT_MODEL, step=step, count=1, source="Estimated", since_attempt=1, since_time=at(0)
    )
    waiting = AgentRunStatus(attempt=1, backoff=backoff, next_attempt_time=at(80))
    desk.add(AGENT_RUNS, raw_run(version=2, status=waiting))
    await desk.reconciler.reconcile(LANE)
    assert not desk.is_admitted(HELLO)
    assert (lane_status(desk).backing_off_runs, gauge("laneway_lane_backing_off_runs")) == (1, 1)
    desk.clock.move(80)
    await desk.reconciler.reconcile(LANE)
    assert desk.is_admitted(HELLO)
    await desk.reconciler.all_told()
    assert reasons_told(desk) == ["BackoffElapsed", "SlotGranted"]
    assert (lane_status(desk).backing_off_runs, gauge("laneway_lane_backing_off_runs")) == (0, 0)


async def test_a_lane_of_which_nothing_new_is_known_is_not_written(desk: Desk) -> None:
    desk.add(AGENT_RUNS, raw_run(version=2, status=failed_at(10)))
    desk.clock.move(15)
    await desk.reconciler.reconcile(LANE)
    before = len(desk.kube.writes)
    for _ in range(3):
        desk.clock.move(1)
        await desk.reconciler.reconcile(LANE)
    assert len(desk.kube.writes) == before
