"""What a client or a model server cannot use up: memory, time, connections. Raw sockets on both sides, on loopback."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from yarl import URL

from laneway.gateway.client.bodies import Bodies
from laneway.gateway.client.patience import keep_peers_in_bounds, runner_of
from laneway.gateway.wire import jsontext
from laneway.rules.token import AttemptId
from unit.gateway.kit import ATTEMPT, Kit, eventually, gateway, pod_object, run_object

CHAT = {"model": "x", "messages": []}
ANSWER = {"choices": [{"finish_reason": "stop"}], "usage": {"prompt_tokens": 120, "completion_tokens": 30}}
PATH = "/v1/chat/completions"


async def good(request: web.Request) -> web.Response:
    return web.json_response(ANSWER)


async def never(request: web.Request) -> web.Response:
    raise AssertionError("nothing was to reach the server")


def body_of(size: int) -> bytes:
    """A chat body of exactly so many bytes."""
    start, end = b'{"model":"x","messages":[],"pad":"', b'"}'
    return start + b"a" * (size - len(start) - len(end)) + end


async def post(kit: Kit, body: bytes, attempt: AttemptId = ATTEMPT) -> tuple[int, Any, str | None]:
    async with kit.client.post(kit.url + PATH, data=io.BytesIO(body), headers=kit.headers(attempt)) as answer:
        return answer.status, await answer.json(), answer.headers.get("Retry-After")


@asynccontextmanager
async def connection(kit: Kit) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", URL(kit.url).port, limit=2**16)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


def head(kit: Kit, *more: str) -> bytes:
    lines = [f"POST {PATH} HTTP/1.1", "Host: g", f"Authorization: {kit.headers()['Authorization']}", *more]
    return "\r\n".join([*lines, "", ""]).encode()


async def all_of(reader: asyncio.StreamReader, seconds: float = 5.0) -> bytes:
    return await asyncio.wait_for(reader.read(), seconds)


class TestBodies:
    async def test_the_body_that_finds_no_room_is_refused_with_a_time_and_the_next_one_fits_again(
        self, tmp_path: Path
    ) -> None:
        go_on = asyncio.Event()

        async def server(request: web.Request) -> web.Response:
            await go_on.wait()
            return web.json_response(ANSWER)

        bodies = Bodies(one=1000, run=10_000, total=2_500)
        async with gateway(tmp_path, server, bodies=bodies) as kit:
            held = [asyncio.ensure_future(post(kit, body_of(1000))) for _ in range(2)]
            await eventually(lambda: bodies.held == 2000)
            status, answer, retry_after = await post(kit, body_of(600))
            assert (status, retry_after) == (429, "2")
            assert "request bodies" in answer["error"]["message"]
            small = asyncio.ensure_future(post(kit, body_of(500)))
            await eventually(lambda: bodies.held == 2500)
            go_on.set()
            assert [(await each)[0] for each in [*held, small]] == [200, 200, 200]
            assert bodies.held == 0
            assert (await post(kit, body_of(1000)))[0] == 200

    async def test_one_run_cannot_fill_the_room_of_all(self, tmp_path: Path) -> None:
        go_on = asyncio.Event()

        async def server(request: web.Request) -> web.Response:
            await go_on.wait()
            return web.json_response(ANSWER)

        bodies, other = Bodies(one=1000, run=1500, total=10_000), AttemptId("other", 1)
        async with gateway(tmp_path, server, bodies=bodies) as kit:
            kit.views.runs.put(run_object(uid="other"))
            kit.views.pods.put(pod_object(uid="other"))
            first = asyncio.ensure_future(post(kit, body_of(1000)))
            await eventually(lambda: bodies.held == 1000)
            status, answer, _ = await post(kit, body_of(600))
            assert (status, "the run's" in answer["error"]["message"]) == (429, True)
            second = asyncio.ensure_future(post(kit, body_of(1000), other))
            await eventually(lambda: bodies.held == 2000)
            go_on.set()
            assert [(await first)[0], (await second)[0]] == [200, 200]

    async def test_a_body_makes_room_with_the_first_byte_of_its_stream(self, tmp_path: Path) -> None:
        go_on = asyncio.Event()

        async def server(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            await response.write(b'data: {"choices":[]}\n\n')
            await go_on.wait()
            await response.write(b"data: [DONE]\n\n")
            return response

        bodies = Bodies()
        async with gateway(tmp_path, server, bodies=bodies) as kit:
            body = {**CHAT, "stream": True, "stream_options": {"include_usage": True}}
            async with kit.post(PATH, body) as answer:
                await answer.content.readany()
                assert (bodies.held, kit.state.attempt_state(ATTEMPT).open_calls) == (0, 1)
                go_on.set()
                await answer.read()

    @pytest.mark.parametrize(
        ("headers", "sent", "status", "words"),
        [
            pytest.param(["Content-Length: 900"], b"{", 504, "did not arrive in time", id="it stops after a byte"),
            pytest.param(["Content-Length: 900"], b"", 504, "did not arrive in time", id="it never begins"),
            pytest.param(
                ["Transfer-Encoding: chunked"],
                b"1\r\n{\r\n",
                504,
                "did not arrive in time",
                id="its last chunk is missing",
            ),
            pytest.param(["Content-Length: 1001"], b"", 413, "larger than 1000", id="it is announced as too large"),
            pytest.param(
                ["Transfer-Encoding: chunked"],
                b"401\r\n" + b"a" * 1025 + b"\r\n",
                413,
                "larger",
                id="it grows too large",
            ),
            pytest.param(["Transfer-Encoding: chunked"], b"zz\r\n{}\r\n0\r\n\r\n", 400, "", id="a chunk is no chunk"),
            pytest.param(["Content-Length: 4"], b"null", 400, "not a JSON object", id="it is no object"),
            pytest.param(
                ["Content-Length: 4", "Content-Encoding: gzip"],
                b"junk",
                400,
                "broken",
                id="it is not compressed as it says",
            ),
        ],
    )
    async def test_a_body_that_does_not_come_as_it_should(
        self, tmp_path: Path, headers: list[str], sent: bytes, status: int, words: str
    ) -> None:
        bodies = Bodies(one=1000, idle_seconds=0.2, seconds=5.0)
        async with gateway(tmp_path, never, bodies=bodies) as kit, connection(kit) as (reader, writer):
            writer.write(head(kit, *headers) + sent)
            line = await asyncio.wait_for(reader.readline(), 5)
            assert line.split()[1] == str(status).encode(), line
            assert words in (await asyncio.wait_for(reader.read(4096), 5)).decode()
            await eventually(lambda: bodies.held == 0 and not kit.state.open_calls())

    async def test_a_body_that_comes_byte_by_byte_has_a_time_as_a_whole(self, tmp_path: Path) -> None:
        bodies = Bodies(idle_seconds=5.0, seconds=0.3)
        async with gateway(tmp_path, never, bodies=bodies) as kit, connection(kit) as (reader, writer):
            writer.write(head(kit, "Content-Length: 100000"))

            async def trickle() -> None:
                while True:
                    writer.write(b" ")
                    await asyncio.sleep(0.02)

            trickling = asyncio.ensure_future(trickle())
            line = await asyncio.wait_for(reader.readline(), 5)
            trickling.cancel()
            assert line.split()[1] == b"504"

    async def test_a_client_that_leaves_in_the_middle_of_its_body_leaves_nothing(self, tmp_path: Path) -> None:
        bodies = Bodies()
        async with gateway(tmp_path, never, bodies=bodies) as kit:
            async with connection(kit) as (_, writer):
                writer.write(head(kit, "Content-Length: 100000") + b"{" * 5000)
                await eventually(lambda: bodies.held == 5000)
            await eventually(lambda: bodies.held == 0 and not kit.state.open_calls())

    async def test_a_compressed_body_counts_as_what_it_unpacks_to(self, tmp_path: Path) -> None:
        bomb = gzip.compress(b" " * 50_000_000)
        bodies = Bodies()
        async with gateway(tmp_path, never, bodies=bodies) as kit:
            headers = {**kit.headers(), "Content-Encoding": "gzip"}
            async with kit.client.post(kit.url + PATH, data=bomb, headers=headers) as answer:
                assert answer.status == 413
            assert bodies.held == 0

    async def test_a_body_of_millions_of_empty_values_is_not_built_in_memory(self, tmp_path: Path) -> None:
        bomb = b'{"messages":[' + b"[]," * jsontext.VALUES_LIMIT + b"[]]}"
        async with gateway(tmp_path, never) as kit:
            status, answer, _ = await post(kit, bomb)
        assert (status, answer["error"]["message"]) == (400, "the body has too many values")


class TestConnections:
    @pytest.mark.parametrize(
        "sent",
        [b"", b"POST", b"POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nX-Slow: "],
        ids=["nothing", "a word", "half"],
    )
    async def test_a_connection_without_a_whole_head_is_closed(self, tmp_path: Path, sent: bytes) -> None:
        async with gateway(tmp_path, never, head_seconds=0.2) as kit, connection(kit) as (reader, writer):
            writer.write(sent)
            assert await all_of(reader) == b""

    async def test_an_address_that_opens_too_many_loses_the_newest(self) -> None:
        runner = runner_of(web.Application())
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        here = [await asyncio.open_connection("127.0.0.1", port) for _ in range(5)]
        there = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.9", 0))
        await eventually(lambda: runner.server is not None and len(runner.server.connections) == 6)
        sweeping = asyncio.ensure_future(keep_peers_in_bounds(runner, limit=3))
        assert [await all_of(reader) for reader, _ in here[3:]] == [b"", b""]
        for reader, writer in (*here[:3], there):
            writer.write(b"GET / HTTP/1.1\r\nHost: g\r\n\r\n")
            assert (await asyncio.wait_for(reader.readline(), 5)).startswith(b"HTTP/1.1 404")
        sweeping.cancel()
        for _, writer in (*here, there):
            writer.transport.abort()
        await runner.cleanup()

    async def test_a_head_that_comes_byte_by_byte_has_a_time_as_a_whole(self, tmp_path: Path) -> None:
        async with gateway(tmp_path, never, head_seconds=0.3) as kit, connection(kit) as (reader, writer):
            ended = asyncio.ensure_future(all_of(reader))
            writer.write(b"GET / HTTP/1.1\r\nX: ")
            while not ended.done():
                writer.write(b"a")
                await asyncio.wait({ended}, timeout=0.02)
            with suppress(ConnectionResetError):  # what a close is when bytes were on their way
                assert ended.result() == b""

    @pytest.mark.parametrize(
        "sent",
        [
            pytest.param(b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n", id="a line of 9 KB"),
            pytest.param(b"GET / HTTP/1.1\r\nX: " + b"a" * 9000 + b"\r\n\r\n", id="a header of 9 KB"),
            pytest.param(b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 200 + b"\r\n", id="200 headers"),
            pytest.param(b"GET / HTTP/1.1\r\n" + b"X" * 9000 + b": a\r\n\r\n", id="a name of 9 KB"),
        ],
    )
    async def test_a_head_that_is_too_large_is_refused_and_the_connection_closed(
        self, tmp_path: Path, sent: bytes
    ) -> None:
        async with gateway(tmp_path, never) as kit, connection(kit) as (reader, writer):
            writer.write(sent)
            assert (await all_of(reader)).startswith((b"HTTP/1.1 400", b"HTTP/1.0 400"))


class TestClientsThatDoNotRead:
    @pytest.mark.parametrize(
        ("kind", "stream"),
        [("text/event-stream", True), ("application/json", False)],
        ids=["a stream", "a whole answer"],
    )
    async def test_the_server_is_cut_and_the_call_settled_without_blame_for_the_model(
        self, tmp_path: Path, kind: str, *, stream: bool
    ) -> None:
        cut = asyncio.Event()

        async def server(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Type": kind})
            await response.prepare(request)
            try:
                while True:
                    await response.write(b'data: {"choices":[]}\n\n' * 5000)
            finally:
                cut.set()

        lane = {"timeouts": {"streamIdleSeconds": 1}}
        body = json.dumps({**CHAT, "stream": stream}).encode()
        async with gateway(tmp_path, server, lane=lane) as kit, connection(kit) as (_, writer):
            writer.write(head(kit, f"Content-Length: {len(body)}") + body)
            await asyncio.wait_for(cut.wait(), 10)
            await eventually(lambda: not kit.state.open_calls())
            state = kit.state.attempt_state(ATTEMPT)
        assert (state.calls, state.totals.turns, state.totals.unmetered_calls, state.failure) == (1, 0, 1, None)
