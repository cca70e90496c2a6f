"""A call that the gateway refuses for a limit ends or pauses its run, with both as real processes."""

from __future__ import annotations

import asyncio

import pytest

from integration.agents import add_lane, call, start_both
from integration.operators import Stage, condition
from modelserver import ModelServer
from support.standin import Part

PRICED = [{"name": "smollm2", "pricing": {"inputUSDPerMillion": "1000", "outputUSDPerMillion": "1000"}, "maxOutputTokens": 7}]  # fmt: skip


@pytest.mark.row("S4.28", "S4.30", "S4.31", "C11", "C12")
async def test_a_refused_call_ends_the_run_well_and_frees_the_lane(stage: Stage, server: ModelServer) -> None:
    await start_both(stage)
    stage.node.play("hello", Part.held())
    stage.node.play("next", Part.held())
    await add_lane(stage, server, models=PRICED, capacity={"runs": 1})
    run = await stage.add_run(spec={"limits": {"turns": 1}})
    pod = await stage.has_pod(run, phase="Running")
    after = await stage.add_run("next")
    assert (await call(stage, pod))[0] == 200
    status, said = await call(stage, pod)
    assert (status, said["error"]["code"]) == (403, "insufficient_quota")
    [ended] = await stage.finished(run, seconds=10)
    assert condition(ended, "Succeeded")["status"] == "True"
    assert condition(ended, "Succeeded")["reason"] == "TurnsReached"
    assert (ended["status"]["usage"]["turns"], ended["status"]["usage"]["complete"]) == (1, True)
    assert await stage.has_pod(after, phase="Running")


async def test_a_limit_that_is_raised_in_the_moment_of_its_refusal_wins(stage: Stage, server: ModelServer) -> None:
    await start_both(stage)
    part = stage.node.play("hello", Part.held(exit_code=1))
    await add_lane(stage, server, models=PRICED)
    run = await stage.add_run(spec={"limits": {"turns": 1}})
    pod = await stage.has_pod(run, phase="Running")
    assert (await call(stage, pod))[0] == 200
    (status, _), _ = await asyncio.gather(call(stage, pod), stage.change("hello", {"limits": {"turns": 5}}))
    assert status in {200, 403}
    part.released.set()
    if status == 200:
        [ended] = await stage.finished(run)
        assert condition(ended, "Finished")["reason"] == "Failed"
        return
    second = await stage.has_pod(run, number=2)
    assert second["metadata"]["labels"]["laneway.dev/attempt"] == "2"


@pytest.mark.row("S1.15")
async def test_a_namespace_that_has_spent_all_waits_for_the_next_period(stage: Stage, server: ModelServer) -> None:
    await start_both(stage)
    stage.node.play("hello", Part.held())
    spend = [{"namespace": stage.namespace, "period": "Month", "limitUSD": "0.05"}]
    await add_lane(stage, server, models=PRICED, spend=spend)
    run = await stage.add_run()
    pod = await stage.has_pod(run, phase="Running")
    statuses = [(await call(stage, pod))[0] for _ in range(4)]
    assert statuses[0] == 200
    assert statuses[-1] == 403
    waits = await stage.condition(run, "Admitted", "SpendReached")
    assert "of 0.05 USD of this month" in waits["message"]
    await stage.gone(pod)
    assert (await stage.lane_says())["status"]["spend"][0]["reached"] is True
