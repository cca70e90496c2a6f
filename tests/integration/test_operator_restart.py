"""SIGKILL of the operator after each of its writes: the next process ends in the same state, with one pod a run."""

from __future__ import annotations

import pytest

from integration.operators import Stage, condition, is_finished
from laneway.kube.resources import PODS, JsonObject
from support.standin import Part
from support.witness import most_at_once, pods_of


def writes(stage: Stage, uid: str) -> int:
    """What the API server shows of the operator's work on a run: status changes, and its pod."""
    changes = sum(event.object["metadata"]["uid"] == uid for event in stage.runs.events)
    return changes + len(pods_of(stage.pods, uid))


async def killed_after(stage: Stage, run: JsonObject, count: int) -> None:
    """Kill the operator as soon as so many writes about a run are seen, or the run has ended."""
    uid, operator = run["metadata"]["uid"], stage.operators[-1]
    await stage.any_event(lambda: writes(stage, uid) >= count or is_finished(stage.last(uid)))
    operator.kill()
    await stage.free_lease()


@pytest.mark.row("S4.43", "S4.44", "S4.46")
@pytest.mark.parametrize("count", range(1, 8), ids=lambda count: f"killed when write {count} is seen")
async def test_a_killed_operators_run_comes_to_the_same_end_with_one_pod(stage: Stage, count: int) -> None:
    await stage.add_lane()
    run = await stage.add_run()
    stage.start()
    await killed_after(stage, run, count)
    stage.start()
    [ended] = await stage.finished(run)
    assert condition(ended, "Finished")["reason"] == "Completed"
    assert ended["status"]["result"] == {"summary": "Paris.", "exitCode": 0}
    assert [attempt["outcome"] for attempt in ended["status"]["attempts"]] == ["Succeeded"]
    assert len(pods_of(stage.pods, run["metadata"]["uid"])) == 1


@pytest.mark.row("S4.43")
async def test_a_restart_keeps_running_pods_and_records_their_results(stage: Stage) -> None:
    await stage.add_lane()
    operator = stage.start()
    parts = [stage.node.play(f"run-{n}", Part.held(message=f"answer {n}")) for n in range(3)]
    runs = [await stage.add_run(f"run-{n}") for n in range(3)]
    for run in runs:
        await stage.has_pod(run, phase="Running")
    operator.kill()
    await stage.free_lease()
    parts[0].released.set()
    await stage.has_pod(runs[0], phase="Succeeded")
    stage.start()
    for part in parts:
        part.released.set()
    ended = await stage.finished(*runs)
    assert [run["status"]["result"]["summary"] for run in ended] == ["answer 0", "answer 1", "answer 2"]
    assert all(len(pods_of(stage.pods, run["metadata"]["uid"])) == 1 for run in runs)


async def test_a_pod_that_went_while_no_operator_ran_was_lost_and_is_begun_again(stage: Stage) -> None:
    await stage.add_lane()
    operator = stage.start()
    stage.node.play("hello", Part.held())
    run = await stage.add_run()
    pod = await stage.has_pod(run, phase="Running")
    await stage.condition(run, "Finished", "Running")
    operator.kill()
    await stage.free_lease()
    await stage.kube.delete(PODS, stage.namespace, pod["metadata"]["name"])
    await stage.gone(pod)
    stage.node.play("hello", Part())
    stage.start()
    [ended] = await stage.finished(run)
    assert [attempt["outcome"] for attempt in ended["status"]["attempts"]] == ["Disrupted", "Succeeded"]


@pytest.mark.row("S2.13", "S2.4")
async def test_the_queue_goes_on_in_its_order_after_a_kill_within_its_bound(stage: Stage) -> None:
    """First come, first served, against the order of their names."""
    await stage.add_lane(slots=1)
    operator = stage.start()
    part = stage.node.play("d", Part.held())
    runs = []
    for name in ("d", "c", "b", "a"):
        runs.append(await stage.add_run(name))
        await stage.tick(runs[-1])
    await stage.has_pod(runs[0], phase="Running")
    await stage.position(runs[3], 3)
    operator.kill()
    await stage.free_lease()
    part.released.set()
    stage.start()
    await stage.finished(*runs)
    assert most_at_once(stage.pods) == 1
    order = [pods_of(stage.pods, run["metadata"]["uid"])[0] for run in runs]
    assert list(dict.fromkeys(event.object["metadata"]["name"] for event in stage.pods.events)) == order


@pytest.mark.row("S2.4", "S4.20")
async def test_kills_in_a_row_never_break_the_bound_and_all_runs_end(stage: Stage) -> None:
    """Killed every few writes, with pods that need time to stop and a cancelled run among them."""
    await stage.add_lane(slots=2)
    stage.node.default = Part(runs_seconds=0.3, stops_seconds=0.5)
    runs = [await stage.add_run(f"run-{n}") for n in range(8)]

    def over() -> bool:
        return all(is_finished(stage.last(run["metadata"]["uid"])) for run in runs)

    for kill in range(6):
        stage.start()
        seen = len(stage.runs.events)
        await stage.any_event(lambda seen=seen: len(stage.runs.events) >= seen + 6 or over())
        if kill == 2:
            await stage.change("run-7", {"cancel": True})
        stage.operators[-1].kill()
        await stage.free_lease()
    stage.start()
    ended = await stage.finished(*runs)
    reasons = {run["metadata"]["name"]: condition(run, "Finished")["reason"] for run in ended}
    assert reasons.pop("run-7") == "Cancelled"
    assert set(reasons.values()) == {"Completed"}
    assert most_at_once(stage.pods) <= 2
    assert all(len(pods_of(stage.pods, run["metadata"]["uid"])) <= 1 for run in runs)
