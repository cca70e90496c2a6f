"""Calls that wait for a place on their lane, through a gateway in process: the bound, the time, and what each client sees meanwhile."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import REGISTRY

from laneway.rules.token import AttemptId
from unit.gateway.kit import ATTEMPT, JsonObject, Kit, eventually, gateway, lane_object, pod_object, run_object

WHOLE = {"choices": [{"finish_reason": "stop"}], "usage": {"prompt_tokens": 120, "completion_tokens": 30}}
DELTA = b'data: {"choices":[{"index":0,"delta":{"content":"Par"},"finish_reason":null}]}\n\n'
END = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
CHAT: JsonObject = {"model": "x", "messages": [], "max_tokens": 8}
STREAM = {**CHAT, "stream": True}
OTHER = AttemptId("other", 1)
PATH = "/v1/chat/completions"


class Server:
    """Answers when it is told to; knows how many calls it has at once."""

    def __init__(self) -> None:
        self.open = 0
        self.most = 0
        self.bodies: list[Any] = []
        self.go_on = asyncio.Semaphore(0)

    def let(self, count: int = 1) -> None:
        for _ in range(count):
            self.go_on.release()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            body = await request.json()
            self.bodies.append(body)
            if body.get("stream"):
                return await self._stream(request)
            await self.go_on.acquire()
            return web.json_response(WHOLE)
        finally:
            self.open -= 1

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(DELTA)
        await self.go_on.acquire()
        await response.write(END)
        return response


def bounded(calls: int, hold: int = 60, **capacity: Any) -> JsonObject:
    return {"capacity": {"calls": calls, **capacity}, "timeouts": {"holdSeconds": hold}}


async def call(kit: Kit, body: Mapping[str, Any] = CHAT, path: str = PATH, attempt: AttemptId = ATTEMPT) -> Any:
    async with kit.client.post(kit.url + path, json=body, headers=kit.headers(attempt)) as answer:
        return answer.status, await answer.read(), answer.headers


def start(kit: Kit, count: int, **how: Any) -> list[asyncio.Task[Any]]:
    return [asyncio.create_task(call(kit, **how)) for _ in range(count)]


async def statuses(calls: list[asyncio.Task[Any]]) -> list[int]:
    return [(await one)[0] for one in calls]


@pytest.mark.row("S2.2", "S2.3", "S2.4")
async def test_no_more_calls_reach_the_server_than_the_lane_says(tmp_path: Path) -> None:
    server = Server()
    async with gateway(tmp_path, server.answer, lane=bounded(2)) as kit:
        calls = start(kit, 7)
        await eventually(lambda: len(kit.state.open_calls()) == 7 and server.open == 2)
        for left in range(7):
            server.let()
            await eventually(lambda done=left + 1: sum(one.done() for one in calls) == done)
            assert server.open == min(2, 6 - left) or server.most == 2
        assert set(await statuses(calls)) == {200}
    assert server.most == 2


@pytest.mark.row("S2.3")
async def test_a_wider_lane_lets_waiting_calls_go_at_once(tmp_path: Path) -> None:
    server = Server()
    async with gateway(tmp_path, server.answer, lane=bounded(1)) as kit:
        calls = start(kit, 4)
        await eventually(lambda: len(kit.state.open_calls()) == 4 and server.open == 1)
        kit.views.lanes.put(lane_object(kit.server_url, version=2, **bounded(3)))
        await eventually(lambda: server.open == 3)
        server.let(4)
        assert set(await statuses(calls)) == {200}


@pytest.mark.row("S2.5")
async def test_the_other_caller_is_next(tmp_path: Path) -> None:
    server = Server()
    async with gateway(tmp_path, server.answer, lane=bounded(1)) as kit:
        other = run_object(uid="other")
        other["spec"] = {"caller": "light"}
        kit.views.runs.put(other)
        kit.views.pods.put(pod_object(uid="other"))
        heavy = start(kit, 6)
        await eventually(lambda: len(kit.state.open_calls()) == 6 and server.open == 1)
        light = asyncio.create_task(call(kit, {**CHAT, "who": "light"}, attempt=OTHER))
        await eventually(lambda: len(kit.state.open_calls()) == 7)
        server.let()
        await eventually(lambda: len(server.bodies) == 2)
        assert server.bodies[1].get("who") == "light"
        server.let(6)
        assert set(await statuses([*heavy, light])) == {200}


@pytest.mark.row("S2.12")
async def test_a_stream_gives_its_place_up_with_its_first_byte(tmp_path: Path) -> None:
    server = Server()
    async with gateway(tmp_path, server.answer, lane=bounded(1)) as kit:
        streams = start(kit, 3, body=STREAM)
        await eventually(lambda: server.open == 3)
        server.let(3)
        assert set(await statuses(streams)) == {200}


@pytest.mark.row("S2.12")
async def test_a_stream_holds_its_place_to_its_end_where_the_lane_says_so(tmp_path: Path) -> None:
    server = Server()
    async with gateway(tmp_path, server.answer, lane=bounded(1, streamSlot="Whole")) as kit:
        streams = start(kit, 2, body=STREAM)
        await eventually(lambda: len(kit.state.open_calls()) == 2 and server.open == 1)
        server.let()
        await eventually(lambda: len(server.bodies) == 2)
        server.let()
        assert set(await statuses(streams)) == {200}
    assert server.most == 1


@pytest.mark.row("S2.14")
async def test_the_time_in_the_queue_is_not_the_calls_own(tmp_path: Path) -> None:
    server = Server()
    lane = bounded(1, streamSlot="Whole")
    lane["timeouts"] |= {"callSeconds": 1}
    async with gateway(tmp_path, server.answer, lane=lane) as kit:
        other = start(kit, 1, body=STREAM)
        await eventually(lambda: server.open == 1)
        waiting = start(kit, 1)
        began = time.monotonic()
        await eventually(lambda: time.monotonic() - began > 1.1)
        server.let(2)
        assert await statuses([*other, *waiting]) == [200, 200]


@pytest.mark.row("S0.9", "S2.10", "C25")
@pytest.mark.parametrize("who", ["the client", "the operator"])
async def test_who_leaves_the_queue_is_gone_at_once(tmp_path: Path, who: str) -> None:
    server = Server()
    async with gateway(tmp_path, server.answer, lane=bounded(1)) as kit:
        kit.views.runs.put(run_object(uid="other"))
        kit.views.pods.put(pod_object(uid="other"))
        (first,) = start(kit, 1, attempt=OTHER)
        await eventually(lambda: server.open == 1)
        (waiting,) = start(kit, 1)
        await eventually(lambda: len(kit.state.open_calls()) == 2)
        if who == "the client":
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        else:
            await kit.close()
            assert (await waiting)[0] == 401
        await eventually(lambda: len(kit.state.open_calls()) == 1)
        (last,) = start(kit, 1, attempt=OTHER)
        server.let(2)
        assert await statuses([first, last]) == [200, 200]
    assert len(server.bodies) == 2


@pytest.mark.row("S2.21")
@pytest.mark.parametrize(
    ("server_kind", "path", "status", "where", "word"),
    [
        pytest.param("vLLM", PATH, 429, ("error", "code"), "rate_limit_exceeded", id="chat completions"),
        pytest.param("vLLM", "/v1/responses", 503, ("error", "type"), "server_error", id="responses: Codex obeys 503"),
        pytest.param("vLLM", "/v1/messages", 529, ("error", "type"), "overloaded_error", id="messages"),
        pytest.param("Ollama", "/api/chat", 503, ("error",), None, id="Ollama"),
        pytest.param(
            "Gemini", "/v1beta/models/m:generateContent", 429, ("error", "status"), "RESOURCE_EXHAUSTED", id="Gemini"
        ),
    ],
)
async def test_a_call_without_a_place_is_refused_as_its_client_obeys(
    tmp_path: Path, *, server_kind: str, path: str, status: int, where: tuple[str, ...], word: str | None
) -> None:
    server = Server()
    async with gateway(tmp_path, server.answer, lane={**bounded(1, hold=0), "server": server_kind}) as kit:
        (first,) = start(kit, 1, path=path, body={**CHAT, "stream": False})
        await eventually(lambda: server.open == 1)
        got, body, headers = await call(kit, path=path)
        value = json.loads(body)
        for name in where:
            value = value[name]
        assert (got, headers["Retry-After"]) == (status, "5")
        assert word is None or value == word
        failure = kit.state.attempt_state(ATTEMPT).failure
        assert failure is not None
        assert failure.status is None
        assert (await kit.read_state()).evidence == ()
        server.let()
        await first


KEEP_ALIVE = [
    pytest.param(PATH, b": waiting\n\n", b'"code": "rate_limit_exceeded"', id="chat completions"),
    pytest.param("/v1/responses", b": waiting\n\n", b"event: error\n", id="responses"),
    pytest.param("/v1/messages", b'event: ping\ndata: {"type": "ping"}\n\n', b"event: error\n", id="messages"),
]


@pytest.mark.parametrize(("path", "sign", "error"), KEEP_ALIVE)
async def test_a_held_stream_is_kept_alive_and_an_error_goes_into_it(
    tmp_path: Path, path: str, sign: bytes, error: bytes
) -> None:
    server = Server()
    lane = bounded(1, hold=1, streamSlot="Whole")
    async with gateway(tmp_path, server.answer, lane=lane, keep_alive_seconds=0.2) as kit:
        (first,) = start(kit, 1, body=STREAM)
        await eventually(lambda: server.open == 1)
        status, body, headers = await call(kit, STREAM, path)
        assert (status, headers["Content-Type"]) == (200, "text/event-stream; charset=utf-8")
        assert body.count(sign) >= 3
        assert body.startswith(sign)
        assert error in body.replace(sign, b"")
        server.let()
        await first


@pytest.mark.row("C9")
async def test_a_held_stream_that_gets_its_place_goes_on_after_its_keep_alives(tmp_path: Path) -> None:
    server = Server()
    async with gateway(tmp_path, server.answer, lane=bounded(1, streamSlot="Whole"), keep_alive_seconds=0.02) as kit:
        (first,) = start(kit, 1, body=STREAM)
        await eventually(lambda: server.open == 1)
        async with kit.post(PATH, STREAM) as held:
            assert (await held.content.readany()).startswith(b": waiting\n\n")
            server.let(2)
            rest = (await held.read()).replace(b": waiting\n\n", b"")
        assert rest == DELTA + END
        assert (await first)[0] == 200
        assert kit.state.attempt_state(ATTEMPT).totals.turns == 2


async def test_a_servers_refusal_after_keep_alives_is_an_error_in_the_stream(tmp_path: Path) -> None:
    words = {"message": "Overloaded", "type": "overloaded_error"}
    server = Server()

    async def answer(request: web.Request) -> web.StreamResponse:
        return await server.answer(request) if not server.bodies else web.json_response({"error": words}, status=503)

    async with gateway(tmp_path, answer, lane=bounded(1, streamSlot="Whole"), keep_alive_seconds=0.02) as kit:
        (first,) = start(kit, 1, body=STREAM)
        await eventually(lambda: server.open == 1)
        async with kit.post(PATH, STREAM) as held:
            await held.content.readany()
            server.let()
            rest = (await held.read()).replace(b": waiting\n\n", b"")
        assert rest == b"data: " + json.dumps({"error": words}).encode() + b"\n\ndata: [DONE]\n\n"
        await first


async def test_a_whole_answer_is_held_without_a_word(tmp_path: Path) -> None:
    server = Server()
    async with gateway(tmp_path, server.answer, lane=bounded(1), keep_alive_seconds=0.01) as kit:
        calls = start(kit, 2)
        await eventually(lambda: len(kit.state.open_calls()) == 2 and server.open == 1)
        server.let(2)
        for one in calls:
            status, body, _ = await one
            assert (status, json.loads(body)) == (200, WHOLE)


async def test_a_retry_keeps_its_place(tmp_path: Path) -> None:
    """Another call does not slip in between the tries of one."""
    order: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        who = (await request.json())["who"]
        order.append(who)
        return web.json_response(WHOLE) if order.count(who) > 1 else web.json_response({"error": "no"}, status=503)

    lane = {**bounded(1), "retry": {"initialBackoffMilliseconds": 20}}
    async with gateway(tmp_path, answer, lane=lane) as kit:
        one = start(kit, 1, body={**CHAT, "who": "a"})
        await eventually(lambda: order == ["a"])
        two = start(kit, 1, body={**CHAT, "who": "b"})
        assert await statuses([*one, *two]) == [200, 200]
    assert order == ["a", "a", "b", "b"]


@pytest.mark.row("S0.9", "S2.3", "S2.10")
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_no_place_is_lost_whoever_leaves_whenever(tmp_path: Path, seed: int) -> None:
    """Eighty calls on a lane of three: some clients leave at any moment, some answers are refusals or streams."""
    chance = random.Random(seed)
    most, now = 0, 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal most, now
        now += 1
        most = max(most, now)
        try:
            body = await request.json()
            await asyncio.sleep(chance.random() * 0.01)
            if body["ends"] != 200:
                return web.json_response({"error": "no"}, status=body["ends"])
            if body.get("stream"):
                return web.Response(body=DELTA + END, headers={"Content-Type": "text/event-stream"})
            return web.json_response(WHOLE)
        finally:
            now -= 1

    async def client(kit: Kit) -> int:
        body = {**CHAT, "stream": chance.random() < 0.5, "ends": chance.choice([200, 200, 400, 501])}
        try:
            async with asyncio.timeout(chance.choice([0.005, 0.02, 30])):
                return int((await call(kit, body))[0])
        except (TimeoutError, aiohttp.ClientError):
            return 0

    async with gateway(tmp_path, answer, lane=bounded(3, streamSlot="Whole")) as kit:
        for _ in range(4):
            ended = await asyncio.gather(*(client(kit) for _ in range(20)))
            assert set(ended) <= {0, 200, 400, 501}
            await eventually(lambda: not kit.state.open_calls())
            assert places() == (0, 0)
    assert 1 <= most <= 3


def places() -> tuple[float | None, float | None]:
    """Places in use, and calls that wait for one, as a scrape shows them."""
    labels = {"lane": "lane", "namespace": "agents"}
    names = ("laneway_lane_calls", "laneway_lane_waiting_calls")
    in_use, waiting = (REGISTRY.get_sample_value(name, labels) for name in names)
    return in_use, waiting
