"""One chain over lanes of different protocols, with the real operator and gateway: a step that cannot serve is passed by, and that is said."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from integration.agents import add_lane, reachable_server, start_both, token_of
from integration.operators import Stage, condition
from laneway.kube.resources import EVENTS, JsonObject
from modelserver import ModelServer, Step
from support.standin import Part

CHAT: JsonObject = {"model": "any", "messages": [{"role": "user", "content": "hi"}]}
CONTENTS: JsonObject = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
CALLS = {
    "Gemini": ("/v1beta/models/any:generateContent", CONTENTS),
    "OpenAI": ("/v1/chat/completions", CHAT),
}
PASSED = {
    "Gemini": "its server (OpenAI) speaks ChatCompletions, Embeddings, Responses; the call speaks GenerateContent",
    "OpenAI": "its server (Gemini) speaks GenerateContent; the call speaks ChatCompletions",
}
OTHER = {"Gemini": "OpenAI", "OpenAI": "Gemini"}


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with reachable_server(models={"first": 8192, "second": 8192, "third": 8192}) as server:
        yield server


async def add_lanes(stage: Stage, server: ModelServer, *servers: str) -> list[dict[str, str]]:
    """Lanes ``first``, ``second`` and so on, each of this kind of server with a model of its own name; answers a chain of them."""
    names = ("first", "second", "third")[: len(servers)]
    for name, kind in zip(names, servers, strict=True):
        await add_lane(stage, server, name=name, endpoint={"url": server.url, "server": kind}, models=[{"name": name}])
    return [{"lane": name} for name in names]


async def speak(stage: Stage, pod: JsonObject, dialect: str) -> tuple[int, Any]:
    """One call of an agent that speaks this protocol."""
    path, body = CALLS[dialect]
    headers = {"Authorization": f"Bearer {token_of(pod)}"}
    url = stage.settings["LANEWAY_GATEWAY_URL"] + path
    async with aiohttp.ClientSession() as session, session.post(url, json=body, headers=headers) as answer:
        return answer.status, json.loads(await answer.text())


async def told(stage: Stage, reason: str) -> list[str]:
    """What the Events of this reason say."""
    events = (await stage.kube.list(EVENTS, namespace=stage.namespace)).items
    return [event["note"] for event in events if event["reason"] == reason]


@pytest.mark.row("S2.27", "S2.32")
@pytest.mark.parametrize("dialect", ["Gemini", "OpenAI"])
async def test_the_step_that_cannot_serve_is_passed_by_in_the_middle_of_a_call_and_that_is_said(
    stage: Stage, server: ModelServer, dialect: str
) -> None:
    server.play([Step(status=429, model="first", repeat=None)])
    await start_both(stage)
    models = await add_lanes(stage, server, dialect, OTHER[dialect], dialect)
    part = stage.node.play("hello", Part.held())
    run = await stage.add_run(spec={"models": models})
    pod = await stage.has_pod(run, phase="Running")
    status, answer = await speak(stage, pod, dialect)
    assert status == 200, answer
    asked = [request.model for request in server.requests if request.model]
    assert (set(asked), asked[-1]) == ({"first", "third"}, "third")
    part.released.set()
    [ended] = await stage.finished(run)
    assert condition(ended, "Finished")["reason"] == "Completed"
    [entry] = ended["status"]["fallbackHistory"]
    assert (entry["from"]["lane"], entry["to"]["lane"], entry["cause"]) == ("first", "third", "RateLimitModel")
    assert entry["passed"] == f"second/second ({PASSED[dialect]})"
    [event] = await told(stage, "SteppedDown")
    assert event.endswith(f"attempt 1 goes on; passed by second/second ({PASSED[dialect]})")


@pytest.mark.parametrize("dialect", ["Gemini", "OpenAI"])
async def test_an_agent_whose_first_step_does_not_speak_its_protocol_goes_on_where_one_does(
    stage: Stage, server: ModelServer, dialect: str
) -> None:
    """The agent's protocol is not known before it calls, so its run begins on the first step."""
    await start_both(stage)
    models = await add_lanes(stage, server, OTHER[dialect], dialect)
    part = stage.node.play("hello", Part.held())
    run = await stage.add_run(spec={"models": models})
    status, answer = await speak(stage, await stage.has_pod(run, phase="Running"), dialect)
    assert status == 200, answer
    assert [request.model for request in server.requests if request.model] == ["second"]
    part.released.set()
    [ended] = await stage.finished(run)
    [entry] = ended["status"]["fallbackHistory"]
    assert (entry["to"]["lane"], entry["cause"], entry["live"]) == ("second", "WireAPIUnsupported", True)
    assert await told(stage, "SteppedDown") == [
        "moved from first/first to second/second (another protocol); attempt 1 goes on"
    ]


@pytest.mark.parametrize("dialect", ["Gemini", "OpenAI"])
async def test_with_no_step_that_speaks_it_the_agent_is_told_in_its_own_dialect_and_the_run_ends(
    stage: Stage, server: ModelServer, dialect: str
) -> None:
    await start_both(stage)
    models = await add_lanes(stage, server, OTHER[dialect], OTHER[dialect])
    part = stage.node.play("hello", Part.held(exit_code=1))
    run = await stage.add_run(spec={"models": models})
    status, answer = await speak(stage, await stage.has_pod(run, phase="Running"), dialect)
    error = answer["error"]
    assert status == 404
    assert (error["code"], error.get("status")) == (
        (404, "NOT_FOUND") if dialect == "Gemini" else ("model_not_found", None)
    )
    name = f"{stage.namespace}/second/second"
    assert "does not speak" in error["message"]
    assert f"no step below it in the run's chain can take the call: {name} (WireAPIUnsupported)" in error["message"]
    assert not [request for request in server.requests if request.model]
    last = stage.node.play("hello", Part.held(exit_code=1))
    part.released.set()
    again = await stage.has_pod(run, phase="Running", number=2)
    assert (await speak(stage, again, dialect))[0] == 404
    last.released.set()
    [ended] = await stage.finished(run)
    finished = condition(ended, "Finished")
    assert finished["reason"] == "ChainExhausted"
    assert "does not speak" in finished["message"]
    assert [attempt["class"] for attempt in ended["status"]["attempts"]] == ["WireAPIUnsupported"] * 2
