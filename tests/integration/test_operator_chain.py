"""Chains of chains on the real API server: what lanes fall back to stands in the run's chain, once each, and a circle ends."""

from __future__ import annotations

import pytest

from integration.operators import Stage, condition
from laneway.kube.errors import Invalid
from laneway.kube.resources import MODEL_LANES


@pytest.mark.row("S2.30", "C23")
async def test_chains_inside_chains_stand_in_place_without_duplicates_and_a_circle_is_said(stage: Stage) -> None:
    models = [{"name": "x"}, {"name": "y"}]
    await stage.add_lane({"models": models, "fallback": [{"lane": "b"}], "suspend": True}, name="a")
    fallback = [{"lane": "a", "model": "x"}, {"lane": "c"}]
    await stage.add_lane({"models": [{"name": "z"}], "fallback": fallback, "suspend": True}, name="b")
    await stage.add_lane({"models": [{"name": "w"}], "suspend": True}, name="c")
    stage.start()
    run = await stage.add_run(
        spec={"models": [{"lane": "a", "model": "x"}, {"lane": "b"}, {"lane": "a", "model": "y"}]}
    )
    said = await stage.condition(run, "Admitted", "LaneSuspended")
    status = (await stage.run())["status"]
    assert [(step["lane"], step["model"]) for step in status["chain"]] == [
        ("a", "x"),
        ("b", "z"),
        ("c", "w"),
        ("a", "y"),
    ]
    assert status["requestedModel"]["model"] == "x"
    assert "lead back" in said["message"]


@pytest.mark.row("S2.30")
async def test_a_lane_that_falls_back_to_itself_is_refused_by_the_api_server(stage: Stage) -> None:
    with pytest.raises(Invalid, match="does not fall back to itself"):
        await stage.add_lane({"fallback": [{"lane": "self"}]}, name="self")


@pytest.mark.row("S2.28")
async def test_an_edited_fallback_holds_for_a_run_that_waits(stage: Stage) -> None:
    await stage.add_lane({"suspend": True}, name="a")
    await stage.add_lane(name="b")
    stage.start()
    run = await stage.add_run(spec={"models": [{"lane": "a"}]})
    await stage.condition(run, "Admitted", "LaneSuspended")
    await stage.kube.merge_patch(MODEL_LANES, stage.namespace, "a", {"spec": {"fallback": [{"lane": "b"}]}})
    [ended] = await stage.finished(run)
    assert condition(ended, "Finished")["reason"] == "Completed"
    assert ended["status"]["attempts"][0]["step"]["lane"] == "b"
    assert ended["spec"]["activeModel"]["lane"] == "b"
