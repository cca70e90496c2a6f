"""The operator and the gateway as two real processes: an agent's one call goes on to another lane, and the agent never notices."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from integration.agents import add_lane, call, reachable_server, start_both
from integration.operators import Stage, condition
from laneway.api import names
from laneway.kube.resources import MODEL_LANES, JsonObject
from modelserver import ModelServer, Step
from support.standin import Part
from support.witness import pods_of


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with reachable_server(models={"smollm2": 8192, "big": 8192}) as server:
        yield server


async def begin(stage: Stage, server: ModelServer) -> tuple[JsonObject, JsonObject, Part]:
    """A run on the first of two lanes, its pod with an agent at work, and what that agent does."""
    await start_both(stage)
    await add_lane(stage, server, name="first")
    await add_lane(stage, server, name="second", models=[{"name": "big"}])
    part = stage.node.play("hello", Part.held())
    run = await stage.add_run(spec={"models": [{"lane": "first"}, {"lane": "second"}]})
    return run, await stage.has_pod(run, phase="Running"), part


@pytest.mark.row("S2.32", "C10")
async def test_a_call_whose_lane_is_rate_limited_is_answered_by_the_next_lane_in_the_same_attempt(
    stage: Stage, server: ModelServer
) -> None:
    server.play([Step(status=429)])
    run, pod, part = await begin(stage, server)
    status, answer = await call(stage, pod)
    assert status == 200, answer
    assert [request.model for request in server.requests if request.model] == ["smollm2", "big"]
    uid = pod["metadata"]["uid"]
    await stage.pods.until(lambda: stage.pods.objects()[uid]["metadata"]["labels"][names.LANE_LABEL] == "second")
    part.released.set()
    [ended] = await stage.finished(run)
    assert condition(ended, "Finished")["reason"] == "Completed"
    [entry] = ended["status"]["fallbackHistory"]
    assert (entry["from"]["lane"], entry["to"]["lane"], entry["live"]) == ("first", "second", True)
    assert (entry["cause"], entry["attempt"]) == ("RateLimitModel", 1)
    assert ended["spec"]["activeModel"]["lane"] == "second"
    assert len(pods_of(stage.pods, run["metadata"]["uid"])) == 1


@pytest.mark.row("S2.32", "S2.3")
async def test_a_call_waits_for_a_slot_of_a_full_lane_and_goes_on_when_it_is_free(
    stage: Stage, server: ModelServer
) -> None:
    await start_both(stage)
    await add_lane(stage, server, name="first")
    await add_lane(stage, server, name="second", models=[{"name": "big"}], capacity={"runs": 1})
    holder = stage.node.play("holder", Part.held())
    first = await stage.add_run("holder", spec={"models": [{"lane": "second"}]})
    await stage.has_pod(first, phase="Running")
    part = stage.node.play("hello", Part.held())
    run = await stage.add_run(spec={"models": [{"lane": "first"}, {"lane": "second"}]})
    pod = await stage.has_pod(run, phase="Running")
    server.play([Step(status=429)])
    calling = asyncio.create_task(call(stage, pod))
    uid = run["metadata"]["uid"]
    await stage.runs.until(
        lambda: "waits for a slot of lane" in condition(stage.last(uid), "Succeeded").get("message", "")
    )
    assert not calling.done()
    holder.released.set()
    assert (await calling)[0] == 200
    part.released.set()
    [ended] = await stage.finished(run)
    assert condition(ended, "Finished")["reason"] == "Completed"
    assert len(ended["status"]["attempts"]) == 1


@pytest.mark.row("S2.40")
async def test_a_call_whose_lane_was_deleted_is_answered_by_the_next_lane_in_the_same_attempt(
    stage: Stage, server: ModelServer
) -> None:
    run, pod, part = await begin(stage, server)
    assert (await call(stage, pod))[0] == 200
    await stage.kube.delete(MODEL_LANES, stage.namespace, "first")

    async def next_model() -> str | None:
        status, answer = await call(stage, pod)
        assert status == 200, answer
        return server.requests[-1].model

    await stage.until(next_model, "big")
    part.released.set()
    [ended] = await stage.finished(run)
    assert condition(ended, "Finished")["reason"] == "Completed"
    [entry] = ended["status"]["fallbackHistory"]
    assert (entry["to"]["lane"], entry["cause"], entry["live"]) == ("second", "ModelNotFound", True)
    [attempt], usage = ended["status"]["attempts"], ended["status"]["usage"]
    asked = [request.model for request in server.requests if request.model]
    assert usage["byModel"] == attempt["usage"]["byModel"]
    assert [(one["model"], one["inputTokens"], one["outputTokens"]) for one in usage["byModel"]] == [
        (model, 12 * asked.count(model), 7 * asked.count(model)) for model in ("big", "smollm2")
    ]
