"""Tries of one call through a gateway in process: how many, how far apart, within which limits, and what each leaves behind."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from laneway.api.reasons import Cause
from unit.gateway.kit import ATTEMPT, Handler, Kit, eventually, gateway, lane_object

ANSWER = {"choices": [{"finish_reason": "stop"}], "usage": {"prompt_tokens": 120, "completion_tokens": 30}}
DELTA = b'data: {"choices":[{"index":0,"delta":{"content":"Par"},"finish_reason":null}]}\n\n'
END = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
CHAT = {"model": "x", "messages": [{"role": "user", "content": "a secret prompt"}]}
STREAM = {**CHAT, "stream": True}
DEFAULTS: dict[str, Any] = {"retry": {}}
OF_S0 = {"retry": {"maxRetries": 3, "initialBackoffMilliseconds": 1000, "maxBackoffSeconds": 300, "jitter": "None"}}


class Server:
    """Answers one after the other; the last one again and again."""

    def __init__(self, *answers: Handler) -> None:
        self.answers = list(answers)
        self.requests = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return await answer(request)


class Waits:
    """Notes waits and does not wait; chance takes the longest."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.seconds.append(seconds)

    @property
    def tools(self) -> dict[str, Any]:
        return {"sleep": self.sleep, "pick": lambda low, high: high}


async def good(request: web.Request) -> web.StreamResponse:
    return web.json_response(ANSWER)


async def good_stream(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    await response.write(DELTA + END)
    return response


async def drop(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def broken_stream(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    await response.write(DELTA)
    return await drop(request)


async def silent(request: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    return web.Response()


async def redirect(request: web.Request) -> web.StreamResponse:
    return web.Response(status=307, headers={"Location": "/elsewhere"})


def refusal(status: int, error: Mapping[str, Any] | str = "no", **headers: str) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.json_response({"error": error}, status=status, headers=headers)

    return answer


async def call(kit: Kit, body: Mapping[str, Any] = CHAT, path: str = "/v1/chat/completions") -> int:
    async with kit.post(path, body) as answer:
        try:
            await answer.read()
        except aiohttp.ClientError:
            return 0
        return int(answer.status)


def ledger_rows(folder: Path) -> list[tuple[Any, ...]]:
    with sqlite3.connect(folder / "ledger.sqlite") as reader:
        return reader.execute("SELECT state, status, class FROM calls ORDER BY rowid").fetchall()


@pytest.mark.row("S1.1", "S1.2", "S1.3", "S1.4", "S1.5", "S0.7", "B1", "C6")
@pytest.mark.parametrize(
    ("answer", "status"),
    [
        pytest.param(refusal(503), 503, id="a server that is overloaded"),
        pytest.param(drop, 502, id="a server that breaks connections"),
    ],
)
async def test_a_lane_that_says_nothing_tries_three_times_with_two_waits(
    tmp_path: Path, answer: Handler, status: int
) -> None:
    server, waits = Server(answer), Waits()
    async with gateway(tmp_path, server.answer, lane=DEFAULTS, **waits.tools) as kit:
        assert await call(kit) == status
        known = (await kit.read_state()).evidence
        assert [one.failures for one in known] == [3]
        assert (await kit.close()).calls == 3
    assert (server.requests, waits.seconds) == (3, [0.1, 0.2])
    assert {state for state, *_ in ledger_rows(tmp_path)} == {"settled"}


@pytest.mark.row("S0.13", "C6", "B4")
@pytest.mark.parametrize(
    ("body", "last"), [pytest.param(CHAT, good, id="whole"), pytest.param(STREAM, good_stream, id="a stream")]
)
async def test_an_agent_sees_one_good_answer_after_two_failures(
    tmp_path: Path, body: Mapping[str, Any], last: Handler
) -> None:
    """The opening of a stream is tried again like a whole call (C9)."""
    server, waits = Server(refusal(503), drop, last), Waits()
    async with gateway(tmp_path, server.answer, lane=OF_S0, **waits.tools) as kit:
        assert await call(kit, body) == 200
        state = await kit.close()
    assert (server.requests, waits.seconds) == (3, [1.0, 2.0])
    assert (state.failure, state.totals.turns, state.calls) == (None, 1, 3)
    assert ledger_rows(tmp_path) == [
        ("settled", 503, "APITransient"),
        ("settled", None, "APITransient"),
        ("settled", 200, None),
    ]


@pytest.mark.row("S0.4", "S0.6", "S0.7", "S1.11", "C4")
@pytest.mark.parametrize(
    ("retry", "hint", "waited"),
    [
        pytest.param({}, {}, [], id="a rate limit without a hint is not tried again"),
        pytest.param({}, {"Retry-After": "5"}, [5.0], id="one of 5 s is, once"),
        pytest.param({}, {"Retry-After": "6"}, [], id="one of 6 s is not"),
        pytest.param({}, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, [], id="a date in the past says nothing"),
        pytest.param(
            {"rateLimits": True, "jitter": "None", "maxRetries": 3},
            {},
            [0.1, 0.2, 0.4],
            id="a lane may try them again",
        ),
        pytest.param({"rateLimits": True}, {"Retry-After": "60"}, [60.0, 60.0], id="and wait a minute"),
        pytest.param({"rateLimits": True}, {"Retry-After": "61"}, [], id="and no longer"),
    ],
)
async def test_rate_limits(
    tmp_path: Path, retry: Mapping[str, Any], hint: Mapping[str, str], waited: list[float]
) -> None:
    server, waits = Server(refusal(429, **hint)), Waits()
    async with gateway(tmp_path, server.answer, lane={"retry": retry}, **waits.tools) as kit:
        assert await call(kit) == 429
    assert (server.requests, waits.seconds) == (len(waited) + 1, waited)


@pytest.mark.row("S0.8", "S1.6", "S1.10")
@pytest.mark.parametrize(
    ("answer", "path"),
    [
        *(pytest.param(refusal(status), None, id=str(status)) for status in (400, 401, 404, 408, 422, 501)),
        pytest.param(redirect, None, id="a redirect"),
        pytest.param(
            refusal(429, {"type": "insufficient_quota"}, **{"Retry-After": "1"}), None, id="a quota that is used up"
        ),
        pytest.param(refusal(503), "/v1/embeddings", id="embeddings"),
        pytest.param(refusal(503), "/v1/messages/count_tokens", id="a count of tokens"),
    ],
)
async def test_what_is_asked_once(tmp_path: Path, answer: Handler, path: str | None) -> None:
    server, waits = Server(answer), Waits()
    async with gateway(tmp_path, server.answer, lane=DEFAULTS, **waits.tools) as kit:
        assert await call(kit, path=path or "/v1/chat/completions") >= 400
    assert (server.requests, waits.seconds) == (1, [])


async def test_an_address_that_is_not_allowed_is_asked_once(tmp_path: Path) -> None:
    waits = Waits()
    async with gateway(tmp_path, good, policy=lambda address: False, lane=DEFAULTS, **waits.tools) as kit:
        assert await call(kit) == 502
    assert waits.seconds == []


@pytest.mark.row("S1.9", "S2.18", "C9")
async def test_nothing_is_tried_again_after_the_first_byte(tmp_path: Path) -> None:
    server, waits = Server(broken_stream), Waits()
    async with gateway(tmp_path, server.answer, lane=DEFAULTS, **waits.tools) as kit:
        assert await call(kit, STREAM) == 0
        state = await kit.close()
    assert (server.requests, waits.seconds) == (1, [])
    assert state.failure is not None
    assert state.failure.cut


@pytest.mark.row("S1.7", "S1.5", "C6")
async def test_time_outs_are_tried_again_where_the_lane_says_so(tmp_path: Path) -> None:
    server, waits = Server(silent), Waits()
    lane = {"retry": {"timeouts": True}, "timeouts": {"requestSeconds": 1, "answerSeconds": 1}}
    async with gateway(tmp_path, server.answer, lane=lane, **waits.tools) as kit:
        began = time.monotonic()
        assert await call(kit) == 504
        seconds = time.monotonic() - began
        state = await kit.close()
    assert (server.requests, waits.seconds) == (3, [0.1, 0.2])
    assert 3.0 <= seconds < 5.0
    assert state.failure is not None
    assert state.failure.cause is Cause.API_TIMEOUT


async def test_a_time_out_is_final_unless_the_lane_says_otherwise(tmp_path: Path) -> None:
    server = Server(silent)
    async with gateway(tmp_path, server.answer, lane={"retry": {}, "timeouts": {"requestSeconds": 1}}) as kit:
        assert await call(kit, STREAM) == 504
    assert server.requests == 1


@pytest.mark.row("S2.15", "S2.17", "S1.7")
async def test_all_tries_together_have_a_limit_and_the_error_says_which_it_was(tmp_path: Path) -> None:
    server, waits = Server(silent), Waits()
    lane = {"retry": {"timeouts": True}, "timeouts": {"callSeconds": 1}}
    async with gateway(tmp_path, server.answer, lane=lane, **waits.tools) as kit:
        assert await call(kit) == 504
        first = (await kit.close()).failure
    assert first is not None
    assert "callSeconds" in first.message
    assert server.requests == 1


@pytest.mark.row("S2.18", "S1.9")
async def test_the_limit_of_a_call_ends_with_the_first_byte_of_a_stream(tmp_path: Path) -> None:
    over = asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(DELTA)
        await asyncio.wait_for(over.wait(), 10)
        await response.write(END)
        return response

    async with gateway(tmp_path, slow, lane={"timeouts": {"callSeconds": 1, "answerSeconds": 1}}) as kit:
        began = time.monotonic()
        async with kit.post("/v1/chat/completions", STREAM) as answer:
            assert await answer.content.readany() == DELTA
            await eventually(lambda: time.monotonic() - began > 1.2)
            over.set()
            assert (await answer.read()).endswith(END)


@pytest.mark.row("S0.9", "C25")
@pytest.mark.parametrize("who", ["the client", "the operator"])
async def test_leaving_during_a_wait_ends_the_call_at_once(tmp_path: Path, who: str) -> None:
    waiting = asyncio.Event()

    async def for_ever(seconds: float) -> None:
        waiting.set()
        await asyncio.Event().wait()

    server = Server(refusal(503))
    async with gateway(tmp_path, server.answer, lane=DEFAULTS, sleep=for_ever) as kit:
        calling = asyncio.ensure_future(call(kit))
        await asyncio.wait_for(waiting.wait(), 5)
        if who == "the client":
            calling.cancel()
            await asyncio.gather(calling, return_exceptions=True)
        else:
            await kit.close()
            assert await calling == 401
        await eventually(lambda: not kit.state.open_calls())
        assert server.requests == 1


@pytest.mark.row("S0.9", "B18")
async def test_a_client_that_leaves_during_a_try_closes_the_way_to_the_server_at_once(tmp_path: Path) -> None:
    arrived, left = asyncio.Event(), asyncio.Event()

    async def server(request: web.Request) -> web.StreamResponse:
        arrived.set()
        try:
            await asyncio.Event().wait()
        finally:
            left.set()
        return web.Response()

    async with gateway(tmp_path, server, lane=DEFAULTS) as kit:
        calling = asyncio.ensure_future(call(kit))
        await asyncio.wait_for(arrived.wait(), 5)
        calling.cancel()
        await asyncio.wait_for(left.wait(), 5)
        await eventually(lambda: not kit.state.open_calls())


@pytest.mark.row("S1.12", "S1.13")
async def test_an_edit_of_the_lane_changes_the_tries_of_the_next_call(tmp_path: Path) -> None:
    server, waits = Server(refusal(503)), Waits()
    async with gateway(tmp_path, server.answer, lane={"retry": {"maxRetries": 1}}, **waits.tools) as kit:
        await call(kit)
        assert server.requests == 2
        kit.views.lanes.put(lane_object(kit.server_url, version=2, timeouts={"holdSeconds": 0}))
        await call(kit)
        assert server.requests == 3


@pytest.mark.row("S2.23", "S2.24", "S2.26", "B19")
async def test_a_failure_is_logged_with_its_run_and_without_the_prompt(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    words = {"type": "rate_limit_error", "message": "slow down: a secret prompt"}
    async with (
        gateway(tmp_path, refusal(429, words), lane=DEFAULTS) as kit,
        kit.post("/v1/chat/completions", CHAT) as answer,
    ):
        assert (await answer.json())["error"] == words
    (record,) = [one for one in caplog.records if one.name == "laneway.gateway.calls.exchange"]
    said = {
        name: vars(record)[name] for name in ("namespace", "run_uid", "attempt", "lane", "model", "class", "status")
    }
    assert said == {
        "namespace": "agents",
        "run_uid": ATTEMPT.run_uid,
        "attempt": 1,
        "lane": "agents/lane",
        "model": "smollm2",
        "class": "RateLimitModel",
        "status": 429,
    }
    assert "secret" not in str([vars(one) for one in caplog.records])
