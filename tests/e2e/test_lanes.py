"""What a lane says of its endpoint, from real probes."""

from __future__ import annotations

import pytest

from e2e.scripted import Scripted
from e2e.stage import Stage, is_true


async def test_a_model_that_the_server_does_not_list_is_said_until_it_does(stage: Stage, scripted: Scripted) -> None:
    await stage.add_lane({"models": [{"name": "other"}]})
    ready = await stage.lane_says("ModelNotServed")
    assert (ready["status"], "other" in ready["message"]) == ("False", True)
    await stage.add_run()
    await stage.says("Admitted", "LaneNotReady")
    scripted.play(models={"other": 4096})
    await stage.succeeded()
    assert (await stage.lane())["status"]["models"] == [{"name": "other", "served": True, "contextTokens": 4096}]


async def test_a_lane_serves_on_when_one_of_its_models_is_missing(stage: Stage, scripted: Scripted) -> None:
    await stage.add_lane({"models": [{"name": "scripted"}, {"name": "other"}]})
    await stage.lane_says("BackendReachable")
    served = {model["name"]: model["served"] for model in (await stage.lane())["status"]["models"]}
    assert served == {"scripted": True, "other": False}
    await stage.add_run({"models": [{"lane": "lane", "model": "other"}]}, name="waits")
    await stage.add_run(name="runs")
    await stage.says("Admitted", "ModelNotFound", name="waits")
    await stage.succeeded("runs")


@pytest.mark.row("S0.24")
async def test_a_run_waits_for_a_server_that_is_down_and_goes_on_when_it_is_back(
    stage: Stage, scripted: Scripted
) -> None:
    await stage.add_lane()
    await stage.lane_says("BackendReachable")
    scripted.stop()
    ready = await stage.lane_says("BackendUnreachable")
    assert (ready["status"], bool(ready["message"])) == ("False", True)
    run = await stage.add_run()
    waiting = await stage.says("Admitted", "LaneNotReady")
    assert waiting["status"] == "False"
    assert not await stage.pods(run), "waiting costs no pod"
    await scripted.start()
    [run] = await stage.succeeded()
    assert is_true(await stage.lane(), "Ready")
