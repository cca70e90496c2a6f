"""Who gets the next slot, on a real API server: turns, edits of a lane while runs go on, start conditions and a bounded wait."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from integration.operators import Stage, condition
from laneway.api.base import format_time
from laneway.kube.resources import AGENT_RUNS, JsonObject
from support.standin import Part
from support.witness import most_at_once, pods_of


def starts(stage: Stage) -> list[str]:
    """Names of the runs in the order in which their pods were made."""
    added = [event.object for event in stage.pods.events if event.type == "ADDED"]
    return [pod["metadata"]["labels"]["laneway.dev/run"] for pod in added]


async def held_first(stage: Stage, *, caller: str) -> Part:
    """A run that has the only slot until it is let go, so that those behind it can line up."""
    part = stage.node.play("first", Part.held())
    await stage.has_pod(await stage.add_run("first", {"caller": caller}), phase="Running")
    return part


@pytest.mark.row("S2.5", "S2.6", "S2.7", "C8")
async def test_two_callers_take_turns_on_a_lane_of_one(stage: Stage) -> None:
    """Caller a was first and has five more; b comes later, with priorities that count for b alone."""
    await stage.add_lane(slots=1)
    stage.start()
    part = await held_first(stage, caller="a")
    runs = [await stage.add_run(f"a{n}", {"caller": "a"}) for n in range(5)]
    runs += [await stage.add_run(f"b{n}", {"caller": "b", "priority": n}) for n in range(2)]
    lane = await stage.lane_says(activeRuns=1, queuedRuns=7)
    assert [(c["caller"], c["active"], c["queued"]) for c in lane["status"]["callers"]] == [("a", 1, 5), ("b", 0, 2)]
    part.released.set()
    await stage.finished(*runs, seconds=40)
    assert starts(stage)[:5] == ["first", "b1", "a0", "b0", "a1"]
    assert most_at_once(stage.pods) == 1


@pytest.mark.row("S2.7")
async def test_a_priority_that_is_raised_while_waiting_moves_the_run_up(stage: Stage) -> None:
    await stage.add_lane(slots=1)
    stage.start()
    part = await held_first(stage, caller="")
    runs = [await stage.add_run(f"r{n}") for n in range(3)]
    await stage.position(runs[2], 3)
    await stage.change("r2", {"priority": 1})
    await stage.position(runs[2], 1)
    part.released.set()
    await stage.finished(*runs)
    assert starts(stage) == ["first", "r2", "r0", "r1"]


@pytest.mark.row("S2.3", "S2.9")
async def test_places_fall_when_a_lane_grows_while_runs_go_on(stage: Stage) -> None:
    await stage.add_lane(slots=1)
    stage.start()
    parts = [stage.node.play(f"r{n}", Part.held()) for n in range(4)]
    runs = [await stage.add_run("r0")]
    await stage.has_pod(runs[0], phase="Running")
    for n in range(1, 4):
        runs.append(await stage.add_run(f"r{n}", {"priority": -n}))
        await stage.position(runs[n], n)
    said = condition(stage.last(runs[3]["metadata"]["uid"]), "Admitted")["message"]
    assert said == f"lane {stage.namespace}/local: 1 of 1 slots used, position 3"
    await stage.resize(3)
    for run in runs[1:3]:
        await stage.has_pod(run, phase="Running")
    await stage.position(runs[3], 1)
    await stage.resize(1)
    for part in parts:
        part.released.set()
    await stage.finished(*runs)
    assert most_at_once(stage.pods) == 3


@pytest.mark.row("S2.10")
async def test_a_caller_whose_queue_is_deleted_leaves_its_turns_to_others(stage: Stage) -> None:
    await stage.add_lane(slots=1)
    stage.start()
    part = await held_first(stage, caller="a")
    gone = [await stage.add_run(f"b{n}", {"caller": "b"}) for n in range(3)]
    left = [await stage.add_run(f"a{n}", {"caller": "a"}) for n in range(2)]
    await stage.lane_says(queuedRuns=5)
    for run in gone:
        await stage.kube.delete(AGENT_RUNS, stage.namespace, run["metadata"]["name"])
    lane = await stage.lane_says(queuedRuns=2)
    assert [(c["caller"], c["queued"]) for c in lane["status"]["callers"]] == [("a", 2)]
    part.released.set()
    await stage.finished(*left)
    assert starts(stage) == ["first", "a0", "a1"]


@pytest.mark.row("S2.13", "C8")
async def test_another_operator_goes_on_with_the_same_turns(stage: Stage) -> None:
    """Who was served last is known from the objects alone."""
    await stage.add_lane(slots=1)
    operator = stage.start()
    part = await held_first(stage, caller="a")
    second = stage.node.play("a0", Part.held())
    runs = [await stage.add_run(f"a{n}", {"caller": "a"}) for n in range(2)]
    part.released.set()
    await stage.has_pod(runs[0], phase="Running")
    late = await stage.add_run("z", {"caller": "z", "priority": -1})
    await stage.position(late, 1)
    operator.kill()
    await stage.free_lease()
    stage.start()
    second.released.set()
    await stage.finished(*runs, late)
    assert starts(stage) == ["first", "a0", "z", "a1"]


def named(*names: str) -> list[dict[str, str]]:
    return [{"name": name} for name in names]


@pytest.mark.row("S4.40")
async def test_a_chain_of_dependencies_runs_in_its_own_order(stage: Stage) -> None:
    await stage.add_lane()
    stage.start()
    last = await stage.add_run("last", {"dependsOn": named("middle", "side")})
    await stage.condition(last, "Admitted", "WaitingForDependency")
    assert "there is no run middle, side" in condition(stage.last(last["metadata"]["uid"]), "Admitted")["message"]
    middle = await stage.add_run("middle", {"dependsOn": named("begin")})
    side = await stage.add_run("side")
    await stage.finished(side)
    begin = await stage.add_run("begin")
    ended = await stage.finished(begin, middle, last)
    assert {condition(run, "Finished")["reason"] for run in ended} == {"Completed"}
    assert starts(stage) == ["side", "begin", "middle", "last"]


@pytest.mark.row("S4.40")
async def test_a_failed_dependency_ends_all_that_follow_without_a_pod(stage: Stage) -> None:
    await stage.add_lane()
    stage.start()
    stage.node.play("begin", Part(exit_code=1))
    last = await stage.add_run("last", {"dependsOn": named("middle")})
    middle = await stage.add_run("middle", {"dependsOn": named("begin")})
    await stage.finished(await stage.add_run("begin"), middle, last)
    for run, cause in ((middle, "begin"), (last, "middle")):
        said = await stage.condition(run, "Finished", "DependencyFailed")
        assert f"run {cause}, which it depends on, did not succeed" in said["message"]
        assert not pods_of(stage.pods, run["metadata"]["uid"])


@pytest.mark.row("S4.40")
async def test_a_run_does_not_begin_before_its_time(stage: Stage) -> None:
    ahead = stage.own_clock()
    await stage.add_lane()
    stage.start()
    moment = ahead.now().replace(microsecond=0) + timedelta(seconds=300)
    run = await stage.add_run("later", {"notBeforeTime": format_time(moment)})
    await stage.condition(run, "Admitted", "NotBefore")
    ahead.move_to(moment)
    [ended] = await stage.finished(run)
    assert datetime.fromisoformat(ended["status"]["attempts"][0]["admittedTime"]) >= moment


@pytest.mark.row("S2.21", "S2.22")
async def test_a_run_that_waits_too_long_for_a_slot_ends_without_a_pod(stage: Stage) -> None:
    await stage.add_lane(slots=1)
    stage.start()
    part = await held_first(stage, caller="")
    run = await stage.add_run("impatient", {"timeouts": {"queueSeconds": 2}})
    [ended] = await stage.finished(run)
    assert reasons(ended) == ("QueueTimeout", "QueueTimeout")
    assert not {"attempts", "usage", "queue"} & ended["status"].keys()
    assert not pods_of(stage.pods, run["metadata"]["uid"])
    part.released.set()


def reasons(run: JsonObject) -> tuple[str, str]:
    return condition(run, "Finished")["reason"], condition(run, "Succeeded")["reason"]
