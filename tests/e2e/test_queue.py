"""The queue of a lane with real pods: turns of callers, a run that leaves it, and a bound that changes."""

from __future__ import annotations

import pytest

from e2e import agents
from e2e.commands import kubectl
from e2e.scripted import Scripted
from e2e.stage import Stage
from laneway.kube.resources import MODEL_LANES, PODS, JsonObject
from support.witness import most_at_once, pods_of, witness

CALLERS = ("ann", "bob")


async def set_lane(stage: Stage, **spec: object) -> None:
    """Merge into the spec of the lane."""
    await stage.kube.merge_patch(MODEL_LANES, stage.namespace, "lane", {"spec": spec})


def served(runs: list[JsonObject]) -> list[str]:
    """Names of runs in the order of their agents' starts."""
    return [one["metadata"]["name"] for one in sorted(runs, key=lambda run: run["status"]["startTime"])]


@pytest.mark.row("S2.5", "S2.10", "C8")
async def test_two_callers_take_turns_on_one_slot_and_who_is_deleted_leaves_the_queue(
    stage: Stage, scripted: Scripted, test_image: str
) -> None:
    async with witness(stage.kube, PODS, stage.namespace) as pods:
        await stage.add_lane({"capacity": {"runs": 1}, "suspend": True})
        for caller in CALLERS:
            for number in range(4):
                spec = {"agent": agents.says("done", before="sleep 1"), "caller": caller}
                await stage.add_run(spec, name=f"{caller}-{number}")
        await set_lane(stage, suspend=False)
        await stage.running_pod("ann-0")
        gone = await stage.read("ann-1")
        await stage.says("Admitted", "WaitingForSlot", name="ann-1")
        await stage.delete_run("ann-1")
        names = [f"{caller}-{number}" for caller in CALLERS for number in range(4) if f"{caller}-{number}" != "ann-1"]
        ended = await stage.succeeded(*names, seconds=90)
    assert served(ended) == ["ann-0", "bob-0", "ann-2", "bob-1", "ann-3", "bob-2", "bob-3"]
    assert pods_of(pods, gone["metadata"]["uid"]) == []
    assert most_at_once(pods, lane="lane") == 1


@pytest.mark.row("S2.3")
async def test_a_raised_bound_starts_more_at_once_and_a_lowered_one_stops_nothing(
    stage: Stage, scripted: Scripted, test_image: str
) -> None:
    names = [f"run-{number}" for number in range(5)]
    async with witness(stage.kube, PODS, stage.namespace) as pods:
        await stage.add_lane({"capacity": {"runs": 1}})
        for name in names:
            await stage.add_run({"agent": agents.says(name, before=agents.UNTIL_TOLD)}, name=name)
        at_work = [await stage.running_pod("run-0")]
        await set_lane(stage, capacity={"runs": 3})
        at_work += [await stage.running_pod(name) for name in names[1:3]]
        await set_lane(stage, capacity={"runs": 1})
        await stage.waits_for_slot("3 of 1 slots used", name="run-3")
        for pod in at_work[:2]:
            tell(pod)
        await stage.succeeded(*names[:2])
        await stage.waits_for_slot("1 of 1 slots used", name="run-3")
        assert not await stage.pods(await stage.read("run-3")), "nothing begins before the lane is under its bound"
        tell(at_work[2])
        for name in names[3:]:
            tell(await stage.running_pod(name))
        ended = await stage.succeeded(*names)
    assert [len(run["status"]["attempts"]) for run in ended] == [1] * len(names), "nothing was stopped"
    assert most_at_once(pods, lane="lane") == 3


def tell(pod: JsonObject) -> None:
    """Tell an agent that works until it is told."""
    meta = pod["metadata"]
    kubectl("exec", "-n", meta["namespace"], meta["name"], "--", "touch", "go")
