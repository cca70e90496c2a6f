"""Runs in the middle of a backoff: no pod, no slot, and what a crash, a suspension and a deletion do then."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Any

import pytest

from e2e import processes, release
from e2e.commands import until
from e2e.scripted import Scripted
from e2e.stage import Stage, condition
from laneway.kube.resources import PODS, JsonObject
from support.witness import pods_of, witness

JUST_AFTER = timedelta(seconds=4)
"""From the time that was set to the grant, on a busy machine; times in status are whole seconds."""


async def backing_off(stage: Stage, name: str = "run") -> JsonObject:
    """The run, once it waits for its model after a failure."""
    said = await stage.says("Admitted", "BackingOff", name=name, seconds=60)
    assert said["status"] == "False"
    return await stage.read(name)


def next_attempt(run: JsonObject) -> datetime:
    return datetime.fromisoformat(run["status"]["nextAttemptTime"])


async def reached(moment: datetime) -> None:
    """Wait until a moment has come."""
    seconds = moment.timestamp() - time.time() + 30
    await until(lambda: time.time() > moment.timestamp(), seconds=seconds, what=str(moment))


@pytest.mark.usefixtures("whole_release")
@pytest.mark.row("S3.24", "C7")
async def test_a_killed_operator_neither_shortens_nor_repeats_a_wait(stage: Stage, scripted: Scripted) -> None:
    scripted.play(steps=[{"status": 529}])
    await stage.add_lane({"backoff": {"transientSeconds": 20}})
    async with witness(stage.kube, PODS, stage.namespace) as pods:
        await stage.add_run()
        waiting = await backing_off(stage)
        [failed] = waiting["status"]["attempts"]
        wait = next_attempt(waiting) - datetime.fromisoformat(failed["trouble"]["seenTime"])
        assert timedelta(seconds=20 + 5) <= wait <= timedelta(seconds=20 + 30 + 2), "the estimate and its spread"
        await stage.holds_no_slot()
        killed = release.leader()
        processes.kill(killed, program=release.OPERATOR)
        await until(lambda: release.leader()["metadata"]["uid"] != killed["metadata"]["uid"], what="the other leads")
        assert next_attempt(await stage.read()) == next_attempt(waiting)
        await reached(next_attempt(waiting) - timedelta(seconds=1))
        assert len(pods_of(pods, waiting["metadata"]["uid"])) == 1
        [ended] = await stage.succeeded()
    _, second = ended["status"]["attempts"]
    late = datetime.fromisoformat(second["admittedTime"]) - next_attempt(waiting)
    assert timedelta(0) <= late <= JUST_AFTER
    assert len(pods_of(pods, waiting["metadata"]["uid"])) == 2
    assert len(scripted.requests()) == 2
    assert len(await stage.events(waiting, "BackingOff")) == 1


@pytest.mark.row("S0.9")
async def test_a_run_that_is_suspended_or_deleted_in_its_wait_makes_no_call_when_the_wait_is_over(
    stage: Stage, scripted: Scripted
) -> None:
    scripted.play(steps=[{"status": 529, "repeat": 2}])
    await stage.add_lane({"backoff": {"transientSeconds": 1}})
    names = ("suspended", "deleted")
    async with witness(stage.kube, PODS, stage.namespace) as pods:
        for name in names:
            await stage.add_run(name=name)
        runs: list[Any] = [await backing_off(stage, name) for name in names]
        await stage.change({"suspend": True}, name="suspended")
        await stage.delete_run("deleted")
        await stage.says("Admitted", "Suspended", name="suspended", seconds=3)
        await reached(max(next_attempt(run) for run in runs) + JUST_AFTER)
        assert [len(pods_of(pods, run["metadata"]["uid"])) for run in runs] == [1, 1]
        assert len(scripted.requests()) == 2
        await stage.change({"suspend": False}, name="suspended")
        [ended] = await stage.succeeded("suspended")
    assert condition(ended, "Finished")["reason"] == "Completed"
    assert [len(pods_of(pods, run["metadata"]["uid"])) for run in runs] == [2, 1]
    assert len(scripted.requests()) == 3
