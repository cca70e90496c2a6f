"""Two replicas and one Lease: one works, the other stands by; a leader that was paused does no harm when it wakes."""

from __future__ import annotations

import asyncio

import pytest

from integration.operators import Program, Stage, condition
from support.standin import Part
from support.witness import most_at_once, pods_of


async def led(stage: Stage, operator: Program) -> None:
    """Wait until an operator holds the Lease."""
    await stage.until(stage.holder, operator.identity, seconds=30)


@pytest.mark.row("S4.41", "S2.4")
async def test_a_leader_that_was_paused_for_20_s_exits_without_a_second_grant_or_pod(stage: Stage) -> None:
    await stage.add_lane(slots=2)
    stage.node.default = Part(runs_seconds=1.5, stops_seconds=0.3)
    first = stage.start()
    await led(stage, first)
    second = stage.start()
    runs = [await stage.add_run(f"run-{n}") for n in range(10)]
    await stage.has_pod(runs[0], phase="Running")
    first.pause()
    paused = asyncio.get_running_loop().time()
    await led(stage, second)
    assert asyncio.get_running_loop().time() - paused < 20
    await asyncio.sleep(max(0.0, paused + 20 - asyncio.get_running_loop().time()))
    first.go_on()
    await stage.left(first)
    assert first.code == 1
    ended = await stage.finished(*runs, seconds=30)
    assert {condition(run, "Finished")["reason"] for run in ended} == {"Completed"}
    assert most_at_once(stage.pods) == 2
    assert all(len(pods_of(stage.pods, run["metadata"]["uid"])) == 1 for run in runs)
    assert second.code is None


async def test_a_leader_that_is_told_to_stop_hands_over_at_once(stage: Stage) -> None:
    await stage.add_lane()
    first = stage.start()
    await led(stage, first)
    second = stage.start()
    await stage.ready(second)
    first.terminate()
    await stage.left(first)
    assert first.code == 0
    begun = asyncio.get_running_loop().time()
    await led(stage, second)
    assert asyncio.get_running_loop().time() - begun < 5
    await stage.finished(await stage.add_run())
