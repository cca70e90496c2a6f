"""The bound of a lane and the progress of its runs while operators are killed and stopped without end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from e2e import agents, processes, release, storm
from e2e.commands import until
from e2e.scripted import Scripted
from e2e.stage import Stage, condition, is_true, new_stage
from laneway.kube.resources import AGENT_RUNS, PODS, JsonObject
from support.witness import Witness, most_at_once, pods_of, witness

pytestmark = pytest.mark.usefixtures("whole_release")
LANE = "storm"
"""A name that no other test has: its pods are counted in all namespaces."""
SLOTS = 3
RUNS_EACH = 50
QUICK_BLOW, QUICK_SECONDS = 5.0, 60.0
SLOW_BLOW, SLOW_SECONDS, STOPPED_SECONDS = 25.0, 125.0, 20.0
"""A stop is longer than a Lease and shorter than the kubelet's patience with a process that does not answer."""
REST_SECONDS = 400.0
"""For what is left after the last blow: a node gets through one run a second, at best."""


@pytest.fixture
async def stages(stage: Stage) -> AsyncIterator[list[Stage]]:
    """Four namespaces; the lane is in the first."""
    async with AsyncExitStack() as stack:
        yield [stage, *[await stack.enter_async_context(new_stage(stage.kube)) for _ in range(3)]]


@pytest.mark.row("S2.3", "S4.41", "S4.43", "S4.44", "C7")
async def test_two_hundred_runs_keep_the_bound_of_three_in_a_storm_and_all_end_well(
    stages: list[Stage], scripted: Scripted, test_image: str
) -> None:
    kube = stages[0].kube
    async with witness(kube, PODS, None) as pods, witness(kube, AGENT_RUNS, None) as runs:
        await begin(stages)
        hands = release.lease().get("leaseTransitions", 0)
        quick = await quick_blows()
        tell("after the quick blows", pods, runs, blows=quick, changes=changed_hands(hands))
        assert most_at_once(pods, lane=LANE) == SLOTS
        done = await slow_blows(runs)
        tell("after the slow blows", pods, runs, done_at_each_blow=done, changes=changed_hands(hands))
        await until(lambda: len(finished(runs)) == len(ours(runs)), seconds=REST_SECONDS, every=1, what="all ended")
    tell("in the end", pods, runs, most=most_at_once(pods, lane=LANE))
    assert (pods.error, runs.error) == (None, None), "every event was seen"
    assert most_at_once(pods, lane=LANE) == SLOTS
    for before, after in zip(done, done[2:], strict=False):
        assert after > before, f"no run ended within two blows, {2 * SLOW_BLOW:.0f} s: {done}"
    assert len(ours(runs)) == len(stages) * RUNS_EACH
    for run in ours(runs):
        ended_well_in_one_pod(run, pods)


async def begin(stages: list[Stage]) -> None:
    """Make the lane and all its runs, which take turns by namespace."""
    home = stages[0]
    await home.add_lane({"capacity": {"runs": SLOTS}, "allowedNamespaces": {"from": "All"}}, name=LANE)
    await home.lane_says("BackendReachable", name=LANE)
    spec = {
        "models": [{"lane": LANE, "namespace": home.namespace}],
        "agent": agents.says("done"),
        "podTTLSeconds": 1,
    }
    await asyncio.gather(*(stage.add_run(spec, name=f"run-{n}") for n in range(RUNS_EACH) for stage in stages))


async def quick_blows() -> int:
    """The leader and the other operator in turn, every 5 s for a minute; answers how many blows."""
    rhythm, blows = storm.Rhythm(), 0
    while rhythm.seconds < QUICK_SECONDS:
        leading = blows % 2 == 0
        blow = storm.remove if leading else storm.crash
        await asyncio.to_thread(lambda: blow(storm.victim(leading=leading)))  # noqa: B023 - awaited here
        blows += 1
        await rhythm.reach(blows * QUICK_BLOW)
    return blows


async def slow_blows(runs: Witness) -> list[int]:
    """The leader is killed or stopped in turn, every 25 s; answers how many had at each blow."""
    rhythm, done = storm.Rhythm(), [len(finished(runs))]
    while rhythm.seconds < SLOW_SECONDS and done[-1] < len(ours(runs)):
        begun = (len(done) - 1) * SLOW_BLOW
        leader = await asyncio.to_thread(storm.victim, leading=True)
        if len(done) % 2:
            await asyncio.to_thread(storm.crash, leader)
        else:
            with processes.paused(leader, program=release.OPERATOR):
                await rhythm.reach(begun + STOPPED_SECONDS)
        await rhythm.reach(begun + SLOW_BLOW)
        done.append(len(finished(runs)))
    return done


def ours(runs: Witness) -> list[JsonObject]:
    """The runs of the lane, as they were seen last."""
    return [run for run in runs.objects().values() if run["spec"]["models"][0]["lane"] == LANE]


def finished(runs: Witness) -> list[JsonObject]:
    """Those that have ended."""
    return [run for run in ours(runs) if is_true(run, "Finished")]


def ended_well_in_one_pod(run: JsonObject, pods: Witness) -> None:
    """A run has had one pod, or one more for each attempt that its status says was disrupted."""
    name, status = run["metadata"]["name"], run["status"]
    assert is_true(run, "Succeeded"), f"{name} ended as {condition(run, 'Finished')}"
    disrupted = [one["outcome"] for one in status["attempts"]].count("Disrupted")
    had = pods_of(pods, run["metadata"]["uid"])
    assert len(had) == 1 + disrupted, f"{name} had {had}; its attempts: {status['attempts']}"


def changed_hands(before: int) -> int:
    """How often the Lease went to another operator since then."""
    return int(release.lease().get("leaseTransitions", 0)) - before


def tell(when: str, pods: Witness, runs: Witness, **more: object) -> None:
    """Print what happened, for people."""
    had = {uid for run in ours(runs) for uid in pods_of(pods, run["metadata"]["uid"])}
    print(f"{when}: {len(had)} pods, {len(finished(runs))} of {len(ours(runs))} runs ended, {more}")
