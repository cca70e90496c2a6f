"""The port at which a kubelet shows logs and runs commands, for the nodes of ``standin``: the API server asks there for a pod's log, and for exec."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from aiohttp import web

from support.standin import NodeStandIn

_LOOPBACK = "127.0.0.1"
_BEGAN = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
"""When the first line of each log was written; the others a second apart."""
_STDOUT, _STDERR, _END = b"\x01", b"\x02", b"\x03"
_CHANNELS = "v4.channel.k8s.io"


@dataclass
class Log:
    """What one container wrote."""

    lines: list[str]
    ended: bool = True
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def write(self, *lines: str) -> None:
        """More lines, for those who follow too."""
        self.lines += lines
        self._tell()

    def end(self) -> None:
        """Nothing more comes."""
        self.ended = True
        self._tell()

    def _tell(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()


@dataclass
class Logs:
    """What containers wrote, and what commands in them find."""

    text: str
    """What each container wrote that has no log of its own."""
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Namespace and pod of each time that it was read."""
    of_pods: dict[str, Log] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables of the commands that are run."""
    breaks: int = 0
    """So many streams that are followed break off behind what is there when they are asked for."""

    def follow(self, pod: str, *lines: str) -> Log:
        """Give a pod a log that goes on until it is ended."""
        self.of_pods[pod] = Log(list(lines), ended=False)
        return self.of_pods[pod]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """A log, as the kubelet's parameters say."""
        pod, query = request.match_info["pod"], request.query
        self.asked.append((request.match_info["namespace"], pod))
        log = self.of_pods.get(pod) or Log(self.text.splitlines(keepends=True))
        stamped = query.get("timestamps") == "true"
        first = max(0, len(log.lines) - int(query["tailLines"])) if "tailLines" in query else 0
        if "sinceTime" in query:
            first = max(first, int((datetime.fromisoformat(query["sinceTime"]) - _BEGAN).total_seconds()))
        if query.get("follow") == "true":
            return await self._stream(request, log, first, stamped)
        body = _written(log.lines, first, stamped)
        return web.Response(body=body[: int(query.get("limitBytes", len(body)))])

    async def _stream(self, request: web.Request, log: Log, first: int, stamped: bool) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        while True:
            changed = log.changed
            await response.write(_written(log.lines, first, stamped))
            first = len(log.lines)
            if self.breaks:
                self.breaks -= 1
                assert request.transport is not None
                request.transport.abort()
                return response
            if log.ended:
                return response
            await changed.wait()

    async def run(self, request: web.Request) -> web.WebSocketResponse:
        """A command in a container: a process of this machine with the environment that was set."""
        socket = web.WebSocketResponse(protocols=(_CHANNELS,))
        await socket.prepare(request)
        process = await asyncio.create_subprocess_exec(
            *request.query.getall("command"),
            env=dict(self.environment),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        for channel, data in ((_STDOUT, out), (_STDERR, err)):
            if data:
                await socket.send_bytes(channel + data)
        await socket.send_bytes(_END + json.dumps(_end(process.returncode)).encode())
        await socket.close()
        return socket


def _written(lines: list[str], first: int, stamped: bool) -> bytes:
    def shown(number: int) -> str:
        stamp = (_BEGAN + timedelta(seconds=number)).isoformat().replace("+00:00", ".5Z")
        return f"{stamp} {lines[number]}" if stamped else lines[number]

    return "".join(shown(number) for number in range(first, len(lines))).encode()


def _end(code: int | None) -> dict[str, Any]:
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    causes = [{"reason": "ExitCode", "message": str(code)}]
    return {
        "metadata": {},
        "status": "Failure",
        "reason": "NonZeroExitCode",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "details": {"causes": causes},
    }


@asynccontextmanager
async def kubelet_port(node: NodeStandIn, *, kubeconfig: str, text: str) -> AsyncIterator[Logs]:
    """Let every container of the node have written this. Of the control plane's certificates its own is the one for this address."""
    keys = Path(kubeconfig).parents[1] / "pki"
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(keys / "apiserver.crt", keys / "apiserver.key")
    logs, app = Logs(text), web.Application()
    app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", logs.answer)
    app.router.add_get("/exec/{namespace}/{pod}/{container}", logs.run)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, _LOOPBACK, 0, ssl_context=tls)
        await site.start()
        await node.answers_at(_LOOPBACK, runner.addresses[0][1])
        yield logs
    finally:
        await runner.cleanup()
