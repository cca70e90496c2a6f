"""Limits with the operator and the gateway as real processes: what the gateway counted, and what time has run out."""

from __future__ import annotations

import pytest

from integration.agents import add_lane, call, start_both
from integration.operators import Stage, condition
from laneway.kube.resources import EVENTS, JsonObject
from modelserver import ModelServer
from support.standin import Part

PRICED = [{"name": "smollm2", "pricing": {"inputUSDPerMillion": "1000", "outputUSDPerMillion": "1000"}}]
"""A call of 12 and 7 tokens costs 0.019 dollars."""
QUIET = 25.0
"""Seconds in which an agent that used its last turn, and made no call since, has been stopped: 20 and a little more."""


async def events(stage: Stage, reason: str) -> list[JsonObject]:
    listing = await stage.kube.list(EVENTS, namespace=stage.namespace)
    return [one for one in listing.items if one.get("reason") == reason]


@pytest.mark.row("S4.29", "S4.30", "C21")
async def test_an_agent_is_warned_and_stopped_when_its_time_has_run_out(stage: Stage) -> None:
    stage.start()
    stage.node.play("hello", Part.held())
    await stage.add_lane()
    run = await stage.add_run(spec={"limits": {"activeSeconds": 5}})
    pod = await stage.has_pod(run, phase="Running")
    [ended] = await stage.finished(run)
    done = condition(ended, "Succeeded")
    assert (done["status"], done["reason"]) == ("True", "TimeReached")
    assert "5 of 5 s of running time used" in done["message"]
    assert ended["status"]["attempts"][-1]["outcome"] == "Limit"
    assert 5 <= ended["status"]["activeSeconds"] <= 7
    assert [one["limit"] for one in ended["status"]["warnings"]] == ["activeSeconds"]
    assert len(await events(stage, "TimeWarning")) == 1
    await stage.gone(pod)


@pytest.mark.row("S4.28", "C12")
async def test_an_agent_that_stays_after_its_last_turn_is_stopped_and_the_run_pauses_until_the_limit_is_raised(
    stage: Stage, server: ModelServer
) -> None:
    await start_both(stage)
    stage.node.play("hello", Part.held())
    await add_lane(stage, server, models=PRICED)
    limits = {"turns": 2, "costUSD": "1.00", "onReached": "Pause"}
    run = await stage.add_run(spec={"limits": limits})
    pod = await stage.has_pod(run, phase="Running")
    for _ in range(2):
        assert (await call(stage, pod))[0] == 200
    waits = await stage.condition(run, "Admitted", "LimitPaused", seconds=QUIET + 10)
    assert waits["message"] == "2 of 2 turns used; raise spec.limits.turns to continue"
    await stage.gone(pod)
    assert (await call(stage, pod))[0] == 401
    paused = await stage.run()
    assert paused["status"]["limitReached"]["limit"] == "turns"
    assert (paused["status"]["usage"]["costUSD"], paused["status"]["usage"]["complete"]) == ("0.038", True)
    await stage.change("hello", {"limits": {"turns": 10}})
    second = await stage.has_pod(run, phase="Running", number=2)
    assert (await call(stage, second))[0] == 200
    await stage.change("hello", {"cancel": True})
    [ended] = await stage.finished(run)
    assert ended["status"]["usage"]["turns"] == 3
    assert "disruptionCount" not in ended["status"]
    assert len(await events(stage, "LimitPaused")) >= 1
    assert len(await events(stage, "Resumed")) >= 1
