"""A gateway that serves in a thread of its own, for tests that speak to it by plain sockets, one after the other."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web
from yarl import URL

from laneway.gateway.client.bodies import Bodies
from unit.gateway.kit import Kit, gateway, lane_object

ANSWER = {"choices": [{"finish_reason": "stop"}], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}
STATUS = re.compile(rb"HTTP/\d\.\d (\d\d\d) ")
SLOW = {"requestSeconds": 1, "answerSeconds": 1, "streamIdleSeconds": 1}


@dataclass
class Surface:
    """A gateway that serves in a thread of its own, and what its model server saw."""

    kit: Kit
    bodies: Bodies
    port: int
    loop: asyncio.AbstractEventLoop
    stop: asyncio.Event
    seen: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    errors: list[logging.LogRecord] = field(default_factory=list)
    answer: bytes = b""

    @property
    def bearer(self) -> bytes:
        return b"Authorization: " + self.kit.headers()["Authorization"].encode()

    def exchange(self, *parts: bytes, patience: float = 0.3, half_close: bool = False) -> bytes:
        """What comes back for these bytes, until the gateway closes or falls silent."""
        got = b""
        with socket.create_connection(("127.0.0.1", self.port), timeout=patience) as connection, suppress(OSError):
            for part in parts:
                connection.sendall(part)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
            while data := connection.recv(65536):
                got += data
        return got

    def statuses(self, *parts: bytes, patience: float = 0.3) -> list[int]:
        return [int(code) for code in STATUS.findall(self.exchange(*parts, patience=patience))]

    def is_well(self) -> bool:
        """It still serves, and nothing is left of what was sent before."""
        assert self.statuses(b"GET / HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n", patience=5.0) == [200]
        return not self.kit.state.open_calls() and self.bodies.held == 0

    def wait_until_well(self) -> None:
        for _ in range(100):
            if self.is_well():
                return
            threading.Event().wait(0.05)
        raise AssertionError("calls or bodies are left")


class _Errors(logging.Handler):
    """Errors of the server that are not the parser's refusals, of a head or of a body."""

    def __init__(self, found: list[logging.LogRecord]) -> None:
        super().__init__(logging.ERROR)
        self._found = found

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if type(error).__module__ != "aiohttp.http_exceptions" and not isinstance(error, web.RequestPayloadError):
            self._found.append(record)


@contextmanager
def serving(folder: Path, *, raw: bool = False) -> Iterator[Surface]:
    """The gateway, its model server (``raw``: it answers ``Surface.answer`` as it stands, and closes), and what went wrong."""
    ready, made = threading.Event(), list[Surface]()
    thread = threading.Thread(target=lambda: asyncio.run(_serve(folder, made, ready, raw=raw)), daemon=True)
    thread.start()
    assert ready.wait(10)
    handler = _Errors(made[0].errors)
    logging.getLogger().addHandler(handler)
    try:
        yield made[0]
    finally:
        logging.getLogger().removeHandler(handler)
        made[0].loop.call_soon_threadsafe(made[0].stop.set)
        thread.join(10)


async def _serve(folder: Path, made: list[Surface], ready: threading.Event, *, raw: bool) -> None:
    async def model_server(request: web.Request) -> web.Response:
        body = await request.read()
        made[0].seen.append((request.method, request.raw_path, dict(request.headers), body))
        return web.json_response(ANSWER)

    async def raw_server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(made[0].answer)
            await writer.drain()
        writer.close()

    bodies = Bodies(one=100_000, idle_seconds=0.5, seconds=2.0)
    listener = await asyncio.start_server(raw_server, "127.0.0.1", 0)
    async with (
        listener,
        gateway(folder, model_server, bodies=bodies, head_seconds=1.0, lane={"server": "Ollama"}) as kit,
    ):
        port, stop = URL(kit.url).port, asyncio.Event()
        assert port is not None
        if raw:
            url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
            kit.views.lanes.put(lane_object(url, version=2, server="Ollama", timeouts=SLOW))
        made.append(Surface(kit, bodies, port, asyncio.get_running_loop(), stop))
        ready.set()
        await stop.wait()
