"""The bound of a lane, asserted on every event of a watch: pods that are still stopping count."""

from __future__ import annotations

import asyncio

import pytest

from integration.operators import Stage, condition
from laneway.kube.resources import AGENT_RUNS, MODEL_LANES, JsonObject
from support.standin import Part
from support.witness import most_at_once, pods_of


def one_pod_each(stage: Stage, runs: list[JsonObject]) -> bool:
    return all(len(pods_of(stage.pods, run["metadata"]["uid"])) == 1 for run in runs)


@pytest.mark.row("S2.3", "S2.4")
async def test_ten_runs_on_a_lane_of_two_never_have_more_than_two_pods(stage: Stage) -> None:
    await stage.add_lane(slots=2)
    stage.start()
    runs = [await stage.add_run(f"run-{n}") for n in range(10)]
    ended = await stage.finished(*runs, seconds=40)
    assert {condition(run, "Finished")["reason"] for run in ended} == {"Completed"}
    assert most_at_once(stage.pods) == 2
    assert one_pod_each(stage, runs)


@pytest.mark.row("S2.3")
async def test_capacity_raised_live_starts_more_and_lowered_kills_nothing(stage: Stage) -> None:
    await stage.add_lane(slots=1)
    stage.start()
    parts = [stage.node.play(f"run-{n}", Part.held()) for n in range(3)]
    runs = [await stage.add_run(f"run-{n}") for n in range(3)]
    await stage.condition(runs[2], "Admitted", "WaitingForSlot")
    await stage.resize(2)
    for run in runs[:2]:
        await stage.has_pod(run, phase="Running")
    await stage.resize(1)
    parts[0].released.set()
    await stage.finished(runs[0])
    lane = await stage.lane_says(activeRuns=1, queuedRuns=1)
    assert not pods_of(stage.pods, runs[2]["metadata"]["uid"]), lane["status"]
    parts[1].released.set()
    parts[2].released.set()
    await stage.finished(*runs)
    assert most_at_once(stage.pods) == 2
    assert one_pod_each(stage, runs)


@pytest.mark.row("S2.10")
async def test_deleting_the_head_of_the_queue_lets_the_next_take_its_place(stage: Stage) -> None:
    await stage.add_lane(slots=1)
    stage.start()
    part = stage.node.play("first", Part.held())
    first, second, third = [await stage.add_run(name) for name in ("first", "second", "third")]
    await stage.has_pod(first, phase="Running")
    await stage.position(third, 2)
    await stage.kube.delete(AGENT_RUNS, stage.namespace, "second")
    await stage.position(third, 1)
    part.released.set()
    await stage.finished(first, third)
    assert not pods_of(stage.pods, second["metadata"]["uid"])


async def test_a_cancelled_run_keeps_its_slot_until_its_pod_is_gone(stage: Stage) -> None:
    await stage.add_lane(slots=1)
    stage.start()
    stage.node.play("first", Part.held(stops_seconds=2))
    first, second = await stage.add_run("first"), await stage.add_run("second")
    await stage.has_pod(first, phase="Running")
    await stage.change("first", {"cancel": True})
    await stage.finished(first, second)
    assert most_at_once(stage.pods) == 1


async def test_a_run_made_anew_under_its_name_never_has_the_old_pods_result(stage: Stage) -> None:
    """Deleted at every stage of its life, with pods that need time to stop on a lane of one."""
    await stage.add_lane(slots=1)
    stage.start()
    stage.node.play("hello", Part(runs_seconds=0.4, stops_seconds=0.4, message="the old one"))
    uids = []
    for n in range(30):
        run = await stage.add_run()
        uids.append(run["metadata"]["uid"])
        await asyncio.sleep(n * 0.025)
        await stage.kube.delete(AGENT_RUNS, stage.namespace, "hello", uid=uids[-1])
    stage.node.play("hello", Part(message="the new one"))
    [ended] = await stage.finished(await stage.add_run(), seconds=30)
    assert ended["status"]["result"]["summary"] == "the new one"
    assert ended["status"]["attempts"][0]["pod"].split("-")[1] == ended["metadata"]["uid"][:8]
    assert most_at_once(stage.pods) == 1
    for uid in uids:
        for event in stage.runs.events:
            if event.object["metadata"]["uid"] == uid and "result" in event.object.get("status", {}):
                assert event.object["status"]["attempts"][0]["pod"].split("-")[1] == uid[:8]


async def test_a_lane_made_anew_keeps_its_bound(stage: Stage) -> None:
    await stage.add_lane(slots=1)
    stage.start()
    part = stage.node.play("first", Part.held())
    first = await stage.add_run("first")
    await stage.has_pod(first, phase="Running")
    await stage.kube.delete(MODEL_LANES, stage.namespace, "local")
    second = await stage.add_run("second")
    await stage.condition(second, "Admitted", "LaneNotFound")
    await stage.add_lane(slots=1)
    await stage.condition(second, "Admitted", "WaitingForSlot")
    await stage.position(second, 1)
    part.released.set()
    await stage.finished(first, second)
    assert most_at_once(stage.pods) == 1
