"""The operator and the gateway as two real processes: a lane becomes ready, an attempt is metered and closed, and the gateway may go."""

from __future__ import annotations

import pytest

from integration.agents import add_lane, call, start_both
from integration.operators import Stage, condition
from modelserver import ModelServer
from support.standin import Part
from support.witness import pods_of


async def test_a_run_waits_for_the_gateways_word_and_is_metered_closed_and_shut_out(
    stage: Stage, server: ModelServer
) -> None:
    stage.listen()
    stage.start()
    part = stage.node.play("hello", Part.held())
    await add_lane(stage, server)
    run = await stage.add_run()
    await stage.condition(run, "Admitted", "LaneNotReady")
    stage.start_gateway()
    pod = await stage.has_pod(run, phase="Running")
    status, answer = await call(stage, pod)
    assert status == 200, answer
    assert server.requests[-1].model == "smollm2"
    part.released.set()
    [ended] = await stage.finished(run)
    assert condition(ended, "Finished")["reason"] == "Completed"
    usage = ended["status"]["usage"]
    assert (usage["source"], usage["complete"], usage["turns"]) == ("Gateway", True, 1)
    assert (usage["inputTokens"], usage["outputTokens"], usage["totalTokens"]) == (12, 7, 19)
    assert ended["status"]["attempts"][-1]["usage"] == usage
    assert ended["status"]["result"]["finishReason"] == "stop"
    assert (await call(stage, pod))[0] == 401


async def test_a_pod_that_ends_while_the_gateway_is_away_is_judged_when_it_is_back(
    stage: Stage, server: ModelServer
) -> None:
    gateway = await start_both(stage)
    part = stage.node.play("hello", Part.held())
    await add_lane(stage, server)
    run = await stage.add_run()
    pod = await stage.has_pod(run, phase="Running")
    assert (await call(stage, pod))[0] == 200
    gateway.terminate()
    await stage.left(gateway)
    part.released.set()
    await stage.condition(run, "Reconciling", "Closing")
    stage.start_gateway()
    [ended] = await stage.finished(run)
    assert condition(ended, "Finished")["reason"] == "Completed"
    usage = ended["status"]["usage"]
    assert (usage["source"], usage["complete"], usage["totalTokens"]) == ("Gateway", True, 19)


async def test_cancel_stops_the_pod_although_the_gateway_is_away(stage: Stage, server: ModelServer) -> None:
    gateway = await start_both(stage)
    stage.node.play("hello", Part.held())
    await add_lane(stage, server)
    run = await stage.add_run()
    pod = await stage.has_pod(run, phase="Running")
    gateway.kill()
    await stage.change("hello", {"cancel": True})
    await stage.gone(pod)
    stage.start_gateway()
    [ended] = await stage.finished(run)
    assert condition(ended, "Finished")["reason"] == "Cancelled"
    assert len(pods_of(stage.pods, run["metadata"]["uid"])) == 1


@pytest.mark.row("S4.43")
async def test_a_killed_operator_closes_the_attempt_that_ended_meanwhile(stage: Stage, server: ModelServer) -> None:
    await start_both(stage)
    [operator] = stage.operators
    part = stage.node.play("hello", Part.held())
    await add_lane(stage, server)
    run = await stage.add_run()
    pod = await stage.has_pod(run, phase="Running")
    assert (await call(stage, pod))[0] == 200
    operator.kill()
    await stage.free_lease()
    part.released.set()
    await stage.has_pod(run, phase="Succeeded")
    stage.start()
    [ended] = await stage.finished(run)
    assert ended["status"]["usage"]["totalTokens"] == 19
    assert (await call(stage, pod))[0] == 401
