"""Servers that refuse, break, hang, redirect or compress: what the client gets and what the attempt's state says."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from yarl import URL

from laneway.gateway.upstream.addresses import strict
from unit.gateway.kit import (
    ATTEMPT,
    JsonObject,
    Kit,
    eventually,
    gateway,
    lane_object,
)

CHAT = {"model": "x", "messages": []}
MESSAGES = {**CHAT, "max_tokens": 8}
ANSWER = {"choices": [{"finish_reason": "stop"}], "usage": {"prompt_tokens": 120, "completion_tokens": 30}}
PRICED = {"models": [{"name": "smollm2", "pricing": {"inputUSDPerMillion": "2.50", "outputUSDPerMillion": "10"}}]}


async def never(request: web.Request) -> web.Response:
    raise AssertionError("nothing was to reach the server")


async def status_of(kit: Kit, path: str = "/v1/chat/completions", body: Any = CHAT, **headers: str) -> tuple[int, Any]:
    async with kit.client.post(kit.url + path, json=body, headers=headers or kit.headers()) as answer:
        return answer.status, await answer.json()


@pytest.mark.row("S1.15", "C1", "C2")
@pytest.mark.parametrize(
    ("status", "body", "cause"),
    [
        (
            503,
            {"error": {"message": "busy", "type": "Service Unavailable", "param": None, "code": 503}},
            "APITransient",
        ),
        (429, {"error": {"message": "slow down", "type": "tokens", "code": "rate_limit_exceeded"}}, "RateLimitModel"),
        (429, {"error": {"message": "budget exceeded", "type": "budget_exceeded"}}, "QuotaExhausted"),
        (404, {"error": "model 'nope' not found"}, "ModelNotFound"),
        (400, {"detail": "bad"}, "TaskFailure"),
    ],
)
async def test_a_servers_refusal_passes_unchanged_and_is_classed(
    tmp_path: Path, status: int, body: JsonObject, cause: str
) -> None:
    async def server(request: web.Request) -> web.Response:
        return web.json_response(body, status=status, headers={"Retry-After": "7"})

    async with gateway(tmp_path, server, lane=PRICED) as kit:
        async with kit.post("/v1/chat/completions", CHAT) as answer:
            assert (answer.status, await answer.json(), answer.headers["Retry-After"]) == (status, body, "7")
        state = kit.state.attempt_state(ATTEMPT)
    assert state.failure is not None
    assert (state.failure.cause, state.failure.status) == (cause, status)
    assert (state.calls, state.totals.turns, state.totals.unmetered_calls, state.totals.input_tokens) == (1, 0, 0, 0)


async def test_an_error_inside_a_good_status_is_a_failure(tmp_path: Path) -> None:
    event = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n'

    async def server(request: web.Request) -> web.StreamResponse:
        return web.Response(body=event, content_type="text/event-stream")

    async with gateway(tmp_path, server) as kit:
        async with kit.post("/v1/messages", {**MESSAGES, "stream": True}) as answer:
            assert (answer.status, await answer.read()) == (200, event)
        await eventually(lambda: kit.state.attempt_state(ATTEMPT).open_calls == 0)
        state = kit.state.attempt_state(ATTEMPT)
    assert state.failure is not None
    assert (state.failure.cause, state.failure.message) == ("RateLimitModel", "Overloaded")
    assert (state.totals.turns, state.totals.unmetered_calls) == (0, 1)


async def test_an_answer_that_breaks_off_is_broken_for_the_client_too(tmp_path: Path) -> None:
    async def server(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000", "Content-Type": "application/json"})
        await response.prepare(request)
        await response.write(b'{"choices":')
        assert request.transport is not None
        request.transport.close()
        return response

    async with gateway(tmp_path, server) as kit:
        async with kit.post("/v1/chat/completions", CHAT) as answer:
            with pytest.raises(Exception, match=r"(?i)payload|closed|reset|transfer"):
                await answer.read()
        await eventually(lambda: kit.state.attempt_state(ATTEMPT).open_calls == 0)
        state = kit.state.attempt_state(ATTEMPT)
    assert state.failure is not None
    assert (state.failure.cause, state.totals.unmetered_calls) == ("APITransient", 1)


async def test_a_server_that_is_not_there_is_502_and_costs_nothing(tmp_path: Path, unused_tcp_port: int) -> None:
    async with gateway(tmp_path, never) as kit:
        kit.views.lanes.put(lane_object(f"http://127.0.0.1:{unused_tcp_port}", version=2))
        status, body = await status_of(kit)
        state = kit.state.attempt_state(ATTEMPT)
    assert status == 502
    assert "connection refused" in body["error"]["message"]
    assert "127.0.0.1" not in body["error"]["message"]
    assert state.failure is not None
    assert (state.failure.cause, state.totals.unmetered_calls) == ("APITransient", 0)


@pytest.mark.row("S1.7", "C18")
@pytest.mark.parametrize("stream", [False, True], ids=["a whole answer", "the first byte of a stream"])
async def test_a_server_that_hangs_is_504_in_the_lanes_time(tmp_path: Path, stream: bool) -> None:
    async def server(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        if stream:
            await response.prepare(request)
        await asyncio.sleep(60)
        return response

    lane = {"timeouts": {"requestSeconds" if stream else "answerSeconds": 1}}
    async with gateway(tmp_path, server, lane=lane) as kit:
        started = time.monotonic()
        status, _ = await status_of(kit, body={**CHAT, "stream": stream})
        took = time.monotonic() - started
        state = kit.state.attempt_state(ATTEMPT)
    assert status == 504
    assert 0.9 < took < 5
    assert state.failure is not None
    assert state.failure.cause == "APITimeout"


async def test_silence_inside_a_stream_is_cut_after_the_lanes_time(tmp_path: Path) -> None:
    async def server(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        await response.write(b'{"done":false}\n')
        await asyncio.sleep(60)
        return response

    async with gateway(tmp_path, server, lane={"server": "Ollama", "timeouts": {"streamIdleSeconds": 1}}) as kit:
        async with kit.post("/api/chat", CHAT) as answer:
            with pytest.raises(Exception, match=r"(?i)payload|closed|reset|transfer"):
                await asyncio.wait_for(answer.read(), 5)
        await eventually(lambda: kit.state.attempt_state(ATTEMPT).open_calls == 0)
        failure = kit.state.attempt_state(ATTEMPT).failure
    assert failure is not None
    assert failure.cause == "APITimeout"


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "169.254.169.254", "[::ffff:127.0.0.1]"]
)
async def test_the_shipped_policy_reaches_nothing_of_the_machine_itself(tmp_path: Path, host: str) -> None:
    async with gateway(tmp_path, never, policy=strict) as kit:
        port = URL(kit.server_url).port
        kit.views.lanes.put(lane_object(f"http://{host}:{port}", version=2))
        status, body = await status_of(kit)
    assert status == 502
    assert "not allowed" in body["error"]["message"]


async def test_redirects_are_not_followed_and_not_passed_on(tmp_path: Path) -> None:
    async def server(request: web.Request) -> web.Response:
        assert request.path != "/elsewhere"
        return web.Response(status=307, headers={"Location": "/elsewhere"})

    async with gateway(tmp_path, server) as kit:
        assert (await status_of(kit))[0] == 502


async def test_a_compressed_answer_is_read_all_the_same(tmp_path: Path) -> None:
    asked: list[str] = []

    async def server(request: web.Request) -> web.Response:
        asked.append(request.headers["Accept-Encoding"])
        body = gzip.compress(json.dumps(ANSWER).encode())
        return web.Response(body=body, headers={"Content-Encoding": "gzip", "Content-Type": "application/json"})

    async with gateway(tmp_path, server) as kit:
        assert await status_of(kit) == (200, ANSWER)
        assert kit.state.attempt_state(ATTEMPT).totals.input_tokens == 120
    assert asked == ["identity"]
