"""Calls for a model that rests, through a gateway in process: held or refused, one first after the rest, and what the attempt is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from laneway.api.base import format_time
from laneway.api.reasons import Cause, ResetSource
from laneway.controller.outside.clock import SystemClock
from laneway.controller.outside.gateway import GatewayClient
from unit.gateway.kit import (
    ATTEMPT,
    OPERATOR,
    JsonObject,
    Kit,
    eventually,
    gateway,
    lane_object,
    run_object,
    utc_now,
)

CHAT: JsonObject = {"model": "x", "messages": []}
STREAM = {**CHAT, "stream": True}
WHOLE = {"choices": [{"finish_reason": "stop"}], "usage": {"prompt_tokens": 120, "completion_tokens": 30}}
END = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
PATH = "/v1/chat/completions"


class Server:
    """Refuses as often as it is told to, then answers well; an event lets its answers go."""

    def __init__(self, *refusals: Mapping[str, str], status: int = 429) -> None:
        self.refusals = list(refusals)
        self.status = status
        self.requests = 0
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        await self.go_on.wait()
        if self.refusals:
            return web.json_response({"error": "no"}, status=self.status, headers=self.refusals.pop(0))
        if not (await request.json()).get("stream"):
            return web.json_response(WHOLE)
        return web.Response(body=END, headers={"Content-Type": "text/event-stream"})


async def call(kit: Kit, body: Mapping[str, Any] = CHAT, path: str = PATH) -> tuple[int, bytes, Mapping[str, str]]:
    async with kit.post(path, body) as answer:
        return answer.status, await answer.read(), answer.headers


def resting(kit: Kit, until: datetime | None, *, version: int, source: str = "RetryAfter", **lane: Any) -> JsonObject:
    found = lane_object(kit.server_url, version=version, **lane)
    model = {"name": "smollm2", "cooldownReason": "RateLimitModel", "cooldownSource": source}
    if until is not None:
        model["cooldownUntil"] = format_time(until)
    return {**found, "status": {"models": [model]}}


def hold(seconds: int) -> JsonObject:
    return {"timeouts": {"holdSeconds": seconds}}


@pytest.mark.row("C9", "S4.6")
async def test_the_call_that_met_the_refusal_is_answered_with_it_and_the_next_is_held_until_the_time(
    tmp_path: Path,
) -> None:
    server = Server({"Retry-After": "1"})
    async with gateway(tmp_path, server.answer) as kit:
        began = utc_now()
        assert (await call(kit))[0] == 429
        assert (await call(kit))[0] == 200
        assert utc_now() - began >= timedelta(seconds=1)
        assert kit.state.attempt_state(ATTEMPT).failure is None
    assert server.requests == 2


@pytest.mark.row("C3", "S2.21")
@pytest.mark.parametrize(
    ("path", "status", "waits"),
    [
        pytest.param(PATH, 429, (60,), id="chat completions, whose clients give up when it is long"),
        pytest.param("/v1/responses", 503, (60,), id="responses"),
        pytest.param("/v1/messages", 429, (60,), id="messages, whose clients would sleep until it is over"),
    ],
)
async def test_a_call_for_a_model_that_rests_for_longer_is_refused_at_once_with_the_time(
    tmp_path: Path, path: str, status: int, waits: Collection[int]
) -> None:
    server = Server({"Retry-After": "900"})
    async with gateway(tmp_path, server.answer) as kit:
        assert (await call(kit))[0] == 429
        first = kit.state.attempt_state(ATTEMPT).failure
        got, body, headers = await call(kit, path=path)
        told = kit.state.attempt_state(ATTEMPT).failure
        (known,) = (await kit.read_state()).evidence
    assert (got, server.requests, known.failures) == (status, 1, 1)
    assert int(headers["Retry-After"]) in waits
    assert b"smollm2" in body
    assert first is not None
    assert told is not None
    assert (told.cause, told.status, told.reset_source) == (Cause.RATE_LIMIT_MODEL, None, ResetSource.RETRY_AFTER)
    assert first.reset_time is not None
    assert told.reset_time is not None
    assert timedelta(0) <= told.reset_time - first.reset_time <= timedelta(seconds=1.1)


@pytest.mark.parametrize(
    ("lane", "source"),
    [
        pytest.param(hold(0), "RetryAfter", id="a lane that holds nothing"),
        pytest.param(hold(5), "RetryAfter", id="a rest that outlasts the holding"),
    ],
)
async def test_a_lanes_status_is_enough(tmp_path: Path, lane: JsonObject, source: str) -> None:
    server = Server()
    async with gateway(tmp_path, server.answer) as kit:
        kit.views.lanes.put(resting(kit, utc_now() + timedelta(seconds=30), version=2, source=source, **lane))
        assert (await call(kit))[0] == 429
    assert server.requests == 0


async def test_an_estimate_is_told_without_a_time_of_a_server(tmp_path: Path) -> None:
    async with gateway(tmp_path, Server().answer) as kit:
        until = utc_now() + timedelta(seconds=900)
        kit.views.lanes.put(resting(kit, until, version=2, source="Estimated"))
        assert (await call(kit))[0] == 429
        told = kit.state.attempt_state(ATTEMPT).failure
    assert told is not None
    assert (told.cause, told.reset_time, told.reset_source) == (Cause.RATE_LIMIT_MODEL, None, None)


async def test_a_run_that_skips_is_not_held_by_an_estimate(tmp_path: Path) -> None:
    async with gateway(tmp_path, Server().answer) as kit:
        kit.views.lanes.put(resting(kit, utc_now() + timedelta(seconds=900), version=2, source="Estimated"))
        skips = run_object(version=2)
        skips["spec"] = {"onTransientError": "Skip"}
        kit.views.runs.put(skips)
        assert (await call(kit))[0] == 200


async def test_a_held_call_goes_when_a_person_clears_the_model(tmp_path: Path) -> None:
    server = Server()
    async with gateway(tmp_path, server.answer) as kit:
        kit.views.lanes.put(resting(kit, utc_now() + timedelta(seconds=30), version=2))
        waiting = asyncio.create_task(call(kit))
        await eventually(lambda: len(kit.state.open_calls()) == 1)
        assert server.requests == 0
        kit.views.lanes.put(lane_object(kit.server_url, version=3))
        assert (await waiting)[0] == 200


@pytest.mark.row("C22", "S3.36")
async def test_a_lane_whose_key_was_refused_says_so_at_once(tmp_path: Path) -> None:
    server = Server()
    account = {"reason": "AuthFailed", "source": "Estimated", "lastFailureTime": format_time(utc_now())}
    async with gateway(tmp_path, server.answer) as kit:
        kit.views.lanes.put({**lane_object(kit.server_url, version=2), "status": {"account": account}})
        status, body, _ = await call(kit)
        told = kit.state.attempt_state(ATTEMPT).failure
    assert (status, json.loads(body)["error"]["type"], server.requests) == (403, "permission_error", 0)
    assert told is not None
    assert told.cause is Cause.AUTH_FAILED


async def test_after_a_rest_one_call_reaches_the_server_and_the_rest_follow_its_answer(tmp_path: Path) -> None:
    """A count of tokens shows nothing of a model's health: it neither goes first nor waits."""
    server = Server()
    async with gateway(tmp_path, server.answer) as kit:
        failed = format_time(utc_now() - timedelta(seconds=2))
        model = {"name": "smollm2", "lastFailureTime": failed, "settledTime": failed}
        kit.views.lanes.put({**lane_object(kit.server_url, version=2), "status": {"models": [model]}})
        server.go_on.clear()
        calls = [asyncio.create_task(call(kit)) for _ in range(8)]
        await eventually(lambda: len(kit.state.open_calls()) == 8 and server.requests == 1)
        count = asyncio.create_task(call(kit, path="/v1/messages/count_tokens"))
        await eventually(lambda: server.requests == 2)
        server.go_on.set()
        assert {(await one)[0] for one in (*calls, count)} == {200}
    assert server.requests == 9


@pytest.mark.row("C5")
async def test_three_failed_tries_of_one_call_keep_others_from_the_model(tmp_path: Path) -> None:
    server = Server({}, {}, {}, status=503)

    async def no_wait(seconds: float) -> None:
        pass

    async with gateway(tmp_path, server.answer, lane={"retry": {}, **hold(0)}, sleep=no_wait) as kit:
        assert (await call(kit))[0] == 503
        assert (await call(kit))[0] == 429
    assert server.requests == 3


async def test_the_operators_clock_is_told_with_each_poll(tmp_path: Path) -> None:
    """The gateway's clock is 90 s fast; the operator's time in a lane's status means the same moment to both."""
    async with gateway(tmp_path, Server().answer, clock=lambda: utc_now() + timedelta(seconds=90), lane=hold(0)) as kit:
        client = GatewayClient(url=kit.operator_url, secret=OPERATOR, clock=SystemClock())
        for _ in range(2):
            await client.poll()
        assert abs(kit.state.operator_ahead + timedelta(seconds=90)) < timedelta(seconds=1)
        kit.views.lanes.put(resting(kit, utc_now() + timedelta(seconds=30), version=2, **hold(0)))
        status, _, headers = await call(kit)
        assert (status, 25 <= int(headers["Retry-After"]) <= 31) == (429, True)
        await client.close()


def elsewhere(kit: Kit) -> JsonObject:
    """Another lane of the same server."""
    found = lane_object(kit.server_url)
    return {**found, "metadata": {**found["metadata"], "name": "other", "uid": "other-uid"}}


@pytest.mark.parametrize("seen", [pytest.param(True, id="of this process"), pytest.param(False, id="of another")])
async def test_a_call_to_a_lane_that_is_gone_goes_when_one_of_its_name_is_back(tmp_path: Path, seen: bool) -> None:
    """What a lane that this process has not seen says of holding is not known: its default holds."""
    server = Server()
    async with gateway(tmp_path, server.answer, lane=hold(30 if seen else 0)) as kit:
        kit.views.lanes.on_list([])
        if not seen:
            kit.views.runs.put(run_object(version=2, lane="other"))
        waiting = asyncio.create_task(call(kit))
        await eventually(lambda: len(kit.state.open_calls()) == 1)
        kit.views.lanes.put(lane_object(kit.server_url, version=2) if seen else elsewhere(kit))
        assert (await waiting)[0] == 200
        assert kit.state.attempt_state(ATTEMPT).failure is None
    assert server.requests == 1


async def test_a_stream_is_kept_alive_while_its_lane_is_gone(tmp_path: Path) -> None:
    async with gateway(tmp_path, Server().answer, lane=hold(30), keep_alive_seconds=0.02) as kit:
        kit.views.lanes.on_list([])
        async with kit.post(PATH, STREAM) as answer:
            assert answer.status == 200
            assert (await answer.content.readline()).startswith(b":")
            kit.views.lanes.put(lane_object(kit.server_url, version=2))
            assert (await answer.read()).endswith(END)


@pytest.mark.parametrize("seconds", [0, 1])
async def test_a_lane_that_does_not_come_back_in_time_is_not_found(tmp_path: Path, seconds: int) -> None:
    async with gateway(tmp_path, Server().answer, lane=hold(seconds)) as kit:
        kit.views.lanes.on_list([])
        began = utc_now()
        status, body, _ = await call(kit)
        held = utc_now() - began
        told = kit.state.attempt_state(ATTEMPT).failure
    assert (status, b"lane agents/lane does not exist" in body) == (404, True)
    assert timedelta(seconds=seconds) <= held < timedelta(seconds=seconds + 5)
    assert told is not None
    assert told.cause is Cause.MODEL_NOT_FOUND


async def test_a_call_to_a_lane_that_is_gone_follows_its_run_to_another_one(tmp_path: Path) -> None:
    async with gateway(tmp_path, Server().answer, lane=hold(30)) as kit:
        kit.views.lanes.on_list([elsewhere(kit)])
        waiting = asyncio.create_task(call(kit))
        await eventually(lambda: len(kit.state.open_calls()) == 1)
        kit.views.runs.put(run_object(version=2, lane="other"))
        assert (await waiting)[0] == 200
