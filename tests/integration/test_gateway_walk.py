"""Calls that go to another step of their run's chain, through a gateway in process: the agent never notices (design section 6)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from laneway.api.base import format_time
from laneway.api.gatewaystate import Wish
from laneway.api.reasons import Cause
from laneway.api.runstatus import StepStatus
from unit.gateway.kit import ATTEMPT, JsonObject, Kit, eventually, gateway, lane_object, run_object, utc_now

CHAT: JsonObject = {"model": "x", "messages": []}
PATH = "/v1/chat/completions"
USAGE = {"prompt_tokens": 120, "completion_tokens": 30}
END = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


class Server:
    """Answers with the name of the model that was asked; the models that it is told to refuse, it refuses."""

    def __init__(self, **refused: int) -> None:
        self.refused = refused
        self.asked: list[str] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        model = body["model"]
        self.asked.append(model)
        if model in self.refused:
            return web.json_response({"error": {"message": "no"}}, status=self.refused[model])
        if body.get("stream"):
            return web.Response(body=END, headers={"Content-Type": "text/event-stream"})
        return web.json_response(
            {"choices": [{"message": {"content": model}, "finish_reason": "stop"}], "usage": USAGE}
        )


def chained(kit: Kit, *steps: str, on: int = 0, version: int = 2, **lane: Any) -> None:
    """The run has this chain of ``lane/model`` and is on one of its steps; all lanes lead to the one server."""
    chain = [
        {"lane": name, "namespace": "agents", "model": model} for name, model in (step.split("/") for step in steps)
    ]
    for name in {step["lane"] for step in chain}:
        models = [{"name": step["model"]} for step in chain if step["lane"] == name]
        made = lane_object(kit.server_url, version=version, models=models, **lane)
        made["metadata"] |= {"name": name, "uid": f"{name}-uid"}
        kit.views.lanes.put(made)
    grant(kit, chain[on], chain=chain, version=version)


def grant(kit: Kit, step: JsonObject, *, chain: list[JsonObject], version: int) -> None:
    """The operator's answer: the attempt is on this step."""
    raw = run_object(version=version)
    raw["metadata"]["generation"] = 1
    raw["status"] |= {"chain": chain, "attempts": [{"id": ATTEMPT.attempt, "step": step}], "step": step}
    kit.views.runs.put(raw)


def rests(kit: Kit, model: str, seconds: float, *, reason: str = "RateLimitModel", version: int = 3) -> None:
    """The lane's status says that a model cools."""
    made = lane_object(kit.server_url, version=version, models=[{"name": one} for one in ("first", "second")])
    until = format_time(utc_now() + timedelta(seconds=seconds))
    cooled = {"name": model, "cooldownReason": reason, "cooldownSource": "Estimated", "cooldownUntil": until}
    kit.views.lanes.put({**made, "status": {"models": [cooled]}})


async def call(kit: Kit, body: Mapping[str, Any] = CHAT, *, path: str = PATH) -> tuple[int, str]:
    async with kit.post(path, body) as answer:
        return answer.status, await answer.text()


def wish_of(kit: Kit) -> Wish | None:
    return kit.state.attempt_state(ATTEMPT).wish


@pytest.mark.row("S1.14", "S2.32")
async def test_a_call_goes_to_the_next_model_of_its_lane_and_so_do_all_later_ones(tmp_path: Path) -> None:
    server = Server(first=429)
    async with gateway(tmp_path, server.answer) as kit:
        chained(kit, "lane/first", "lane/second")
        status, text = await call(kit)
        assert (status, "second" in text) == (200, True)
        assert (await call(kit))[0] == 200
        told = kit.state.attempt_state(ATTEMPT)
        rows = (await kit.ledger.past_of(ATTEMPT)) or pytest.fail("no rows")
    assert server.asked == ["first", "second", "second"]
    assert told.failure is None
    assert told.model is not None
    assert [(move.from_, move.to, move.cause) for move in told.model.moves] == [
        ("first", "second", Cause.RATE_LIMIT_MODEL)
    ]
    assert (rows.calls, rows.turns) == (3, 2)


async def test_a_model_that_rests_is_not_asked_while_another_step_is_free(tmp_path: Path) -> None:
    server = Server()
    async with gateway(tmp_path, server.answer) as kit:
        chained(kit, "lane/first", "lane/second")
        rests(kit, "first", 900)
        assert (await call(kit))[0] == 200
    assert server.asked == ["second"]


async def test_with_no_step_left_the_agent_gets_the_last_refusal(tmp_path: Path) -> None:
    server = Server(first=429, second=503)
    async with gateway(tmp_path, server.answer) as kit:
        chained(kit, "lane/first", "lane/second")
        assert (await call(kit))[0] == 503
    assert server.asked == ["first", "second"]


@pytest.mark.row("S1.14")
@pytest.mark.parametrize("streamed", [False, True], ids=["a whole answer", "a stream, which is kept alive"])
async def test_a_call_is_held_until_the_operator_grants_a_slot_of_another_lane(
    tmp_path: Path, *, streamed: bool
) -> None:
    server = Server(first=429)
    async with gateway(tmp_path, server.answer, keep_alive_seconds=0.05) as kit:
        chained(kit, "lane/first", "other/second")
        asking = asyncio.ensure_future(call(kit, {**CHAT, "stream": streamed}))
        await eventually(lambda: wish_of(kit) is not None)
        wish = wish_of(kit)
        assert wish is not None
        assert (wish.step, wish.cause) == (StepStatus(namespace="agents", lane="lane", model="first"), "RateLimitModel")
        await asyncio.sleep(0.2)
        assert not asking.done()
        chain = [{"lane": "lane", "namespace": "agents", "model": "first"}]
        chain.append({"lane": "other", "namespace": "agents", "model": "second"})
        grant(kit, chain[1], chain=chain, version=9)
        status, text = await asking
        assert wish_of(kit) is None
    assert (status, server.asked) == (200, ["first", "second"])
    assert text.startswith(":") is streamed


@pytest.mark.row("S1.14")
async def test_without_a_slot_in_time_the_call_gets_its_failure_and_the_attempt_has_failed(tmp_path: Path) -> None:
    server = Server(first=429)
    async with gateway(tmp_path, server.answer) as kit:
        chained(kit, "lane/first", "other/second", timeouts={"holdSeconds": 1})
        assert (await call(kit))[0] == 429
        told = kit.state.attempt_state(ATTEMPT)
    assert (server.asked, told.wish) == (["first"], None)
    assert told.failure is not None
    assert told.failure.cause is Cause.RATE_LIMIT_MODEL


async def test_a_client_that_leaves_takes_its_wish_along(tmp_path: Path) -> None:
    server = Server(first=429)
    async with gateway(tmp_path, server.answer) as kit:
        chained(kit, "lane/first", "other/second")
        asking = asyncio.ensure_future(call(kit))
        await eventually(lambda: wish_of(kit) is not None)
        asking.cancel()
        await eventually(lambda: wish_of(kit) is None)
        await eventually(lambda: not kit.state.open_calls())


async def test_a_held_call_keeps_no_place_of_the_lane_that_failed(tmp_path: Path) -> None:
    server = Server(first=429)
    async with gateway(tmp_path, server.answer) as kit:
        chained(kit, "lane/first", "other/second", capacity={"calls": 1})
        calls = [asyncio.ensure_future(call(kit)) for _ in range(2)]
        await eventually(lambda: kit.state.attempt_state(ATTEMPT).open_calls == 2 and wish_of(kit) is not None)
        chain = [{"lane": "lane", "namespace": "agents", "model": "first"}]
        chain.append({"lane": "other", "namespace": "agents", "model": "second"})
        grant(kit, chain[1], chain=chain, version=9)
        assert [status for status, _ in await asyncio.gather(*calls)] == [200, 200]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        pytest.param(400, ["first"], id="a bad request is the agent's own fault"),
        pytest.param(401, ["first"], id="a refused key does not walk"),
        pytest.param(500, ["first", "second"], id="a server that fails"),
        pytest.param(404, ["first", "second"], id="a model that the server does not know"),
    ],
)
async def test_what_leads_to_the_next_step(tmp_path: Path, status: int, expected: list[str]) -> None:
    server = Server(first=status)
    async with gateway(tmp_path, server.answer) as kit:
        chained(kit, "lane/first", "lane/second")
        await call(kit)
    assert server.asked == expected


# ---- a step that cannot take the call, whatever is tried

GEMINI = "/v1beta/models/x:generateContent"
CONTENTS: JsonObject = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}


def speaks(kit: Kit, name: str, model: str, server: str, *, version: int = 5) -> None:
    made = lane_object(kit.server_url, server=server, version=version, models=[{"name": model}])
    made["metadata"] |= {"name": name, "uid": f"{name}-uid"}
    kit.views.lanes.put(made)


def links(*steps: str) -> list[JsonObject]:
    return [{"lane": name, "namespace": "agents", "model": model} for name, model in (one.split("/") for one in steps)]


async def test_a_step_that_does_not_speak_the_call_is_left_for_one_that_does(tmp_path: Path) -> None:
    server = Server()
    async with gateway(tmp_path, server.answer) as kit:
        chained(kit, "lane/first", "other/second")
        speaks(kit, "lane", "first", "Gemini")
        asking = asyncio.ensure_future(call(kit))
        await eventually(lambda: wish_of(kit) is not None)
        wish = wish_of(kit)
        grant(kit, links("other/second")[0], chain=links("lane/first", "other/second"), version=9)
        assert (await asking)[0] == 200
    assert wish is not None
    assert (wish.cause, wish.api) == (Cause.WIRE_API_UNSUPPORTED, "ChatCompletions")
    assert server.asked == ["second"]


async def test_an_agent_that_only_tries_whether_its_step_speaks_more_stays_on_it(tmp_path: Path) -> None:
    """Some clients ask for a newer API first in each call, and use the older one after a 404."""
    server = Server()
    async with gateway(tmp_path, server.answer) as kit:
        chained(kit, "lane/first", "other/second")
        speaks(kit, "lane", "first", "Other")
        assert (await call(kit))[0] == 200
        status, text = await call(kit, path="/v1/messages")
        assert (status, wish_of(kit)) == (404, None)
    assert "does not speak Messages" in text
    assert "no step below" not in text
    assert server.asked == ["first"]


async def test_with_no_step_that_speaks_the_call_the_agent_is_told_in_its_own_dialect(tmp_path: Path) -> None:
    server = Server()
    async with gateway(tmp_path, server.answer) as kit:
        chained(kit, "lane/first", "other/second")
        status, text = await call(kit, CONTENTS, path=GEMINI)
        told = kit.state.attempt_state(ATTEMPT).failure
    error = json.loads(text)["error"]
    assert (status, error["code"], error["status"]) == (404, 404, "NOT_FOUND")
    assert "lane agents/lane does not speak GenerateContent; its server (vLLM) speaks" in error["message"]
    assert "no step below it in the run's chain can take the call: agents/other/second (WireAPIUnsupported)" in text
    assert told is not None
    assert told.cause is Cause.WIRE_API_UNSUPPORTED
    assert server.asked == []


async def test_a_model_that_its_lane_lost_is_left_for_the_next_one(tmp_path: Path) -> None:
    server = Server()
    async with gateway(tmp_path, server.answer) as kit:
        chained(kit, "lane/first", "lane/second")
        speaks(kit, "lane", "second", "vLLM")
        assert (await call(kit))[0] == 200
    assert server.asked == ["second"]


@pytest.mark.parametrize(
    "comes_back",
    [
        pytest.param(False, id="a slot of another lane is granted"),
        pytest.param(True, id="the lane is back first"),
    ],
)
async def test_a_call_whose_lane_is_gone_asks_for_another_step_meanwhile(tmp_path: Path, *, comes_back: bool) -> None:
    server = Server()
    async with gateway(tmp_path, server.answer) as kit:
        chained(kit, "lane/first", "other/second")
        gone = lane_object(kit.server_url, version=3, models=[{"name": "first"}])
        kit.views.lanes.on_event("DELETED", gone)
        asking = asyncio.ensure_future(call(kit))
        await eventually(lambda: wish_of(kit) is not None)
        wish = wish_of(kit)
        if comes_back:
            kit.views.lanes.put({**gone, "metadata": {**gone["metadata"], "resourceVersion": "9"}})
        else:
            grant(kit, links("other/second")[0], chain=links("lane/first", "other/second"), version=9)
        assert (await asking)[0] == 200
        await eventually(lambda: wish_of(kit) is None)
    assert wish is not None
    assert (wish.step.lane, wish.cause) == ("lane", Cause.MODEL_NOT_FOUND)
    assert server.asked == (["first"] if comes_back else ["second"])
