"""Model servers that are slow, never end, or explode: each call ends in its time."""

from __future__ import annotations

import asyncio
import zlib
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from yarl import URL

from laneway.gateway.upstream.upstream import Outgoing, open_upstream
from unit.gateway.kit import ATTEMPT, Kit, allow_all, eventually, gateway, lane_object

CHAT = {"model": "x", "messages": []}
PATH = "/v1/chat/completions"


async def never(request: web.Request) -> web.Response:
    raise AssertionError("nothing was to reach the server")


class RawServer:
    """A model server that says what a test wants, byte by byte."""

    def __init__(self, *parts: bytes, again: bytes = b"", every: float = 0.02) -> None:
        self._parts = parts
        self._again = again
        self._every = every
        self.left = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            for part in self._parts:
                writer.write(part)
                await writer.drain()
            while self._again or await reader.read(1):
                writer.write(self._again)
                await writer.drain()
                await asyncio.sleep(self._every)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.left.set()
            writer.close()


SLOW = {"requestSeconds": 1, "answerSeconds": 1, "streamIdleSeconds": 1}
OK = b"HTTP/1.1 200 OK\r\n"
JSON = b"Content-Type: application/json\r\n"


class TestSlowServers:
    @pytest.mark.parametrize(
        ("server", "stream", "status"),
        [
            pytest.param(RawServer(), True, 504, id="it says nothing"),
            pytest.param(RawServer(OK, again=b"X: a\r\n"), True, (502, 504), id="its headers have no end"),
            pytest.param(RawServer(OK + b"X: ", again=b"a"), True, (502, 504), id="one header has no end"),
            pytest.param(
                RawServer(b"HTTP/1.1 100 Continue\r\n\r\n", again=b"HTTP/1.1 100 Continue\r\n\r\n"),
                True,
                504,
                id="it asks to go on, again and again",
            ),
            pytest.param(
                RawServer(OK + JSON + b"Content-Length: 9999\r\n\r\n{"), False, None, id="a whole answer stops"
            ),
            pytest.param(
                RawServer(OK + JSON + b"Content-Length: 9999\r\n\r\n{", again=b" "),
                False,
                None,
                id="a whole answer trickles",
            ),
            pytest.param(
                RawServer(OK + b"Content-Type: text/event-stream\r\n\r\ndata: {}\n\n"),
                True,
                None,
                id="a stream falls silent",
            ),
            pytest.param(
                RawServer(b"HTTP/1.1 500 No\r\nContent-Length: 9999\r\n\r\n{", again=b" "),
                True,
                500,
                id="an error trickles",
            ),
            pytest.param(
                RawServer(b"HTTP/1.1 500 No\r\n\r\n", again=b"a" * 100_000, every=0.0),
                True,
                500,
                id="an error has no end",
            ),
        ],
    )
    async def test_a_call_ends_in_its_time_and_the_server_is_cut(
        self, tmp_path: Path, server: RawServer, *, stream: bool, status: Any
    ) -> None:
        """``status`` None: the answer had begun, so it is broken off."""
        server.left = asyncio.Event()
        listener = await asyncio.start_server(server, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        async with listener, gateway(tmp_path, never) as kit:
            kit.views.lanes.put(lane_object(url, version=2, timeouts=SLOW))
            got, body = await asyncio.wait_for(self._answer(kit, stream=stream), 8)
            await asyncio.wait_for(server.left.wait(), 5)
            await eventually(lambda: not kit.state.open_calls())
            failure = kit.state.attempt_state(ATTEMPT).failure
        assert failure is not None
        assert len(body) < 2 * 2**20
        assert got == status if not isinstance(status, tuple) else got in status

    @staticmethod
    async def _answer(kit: Kit, *, stream: bool) -> tuple[int | None, bytes]:
        async with kit.post(PATH, {**CHAT, "stream": stream}) as answer:
            try:
                return answer.status, await answer.read()
            except Exception:  # noqa: BLE001 - whatever the client library calls a broken answer
                return None, b""

    async def test_a_compressed_answer_that_explodes_is_unpacked_in_small_parts(self) -> None:
        pack = zlib.compressobj(wbits=31)
        bomb = b"".join([*(pack.compress(bytes(2**20)) for _ in range(64)), pack.flush()])
        lengths = b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
        listener = await asyncio.start_server(RawServer(OK + JSON + lengths + bomb), "127.0.0.1", 0)
        url = URL(f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}")
        largest = total = 0
        async with listener, open_upstream(allow_all) as upstream:
            incoming = await upstream.send(Outgoing("POST", url, {}, b""))
            while part := await incoming.read_some():
                largest, total = max(largest, len(part)), total + len(part)
            incoming.close()
        assert total == 64 * 2**20
        assert largest <= 2**20
