"""The port at which a kubelet shows logs, for the nodes of ``standin``: the API server asks there when somebody reads a pod's log."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from support.standin import NodeStandIn

_LOOPBACK = "127.0.0.1"


@dataclass
class Logs:
    """What containers wrote."""

    text: str
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Namespace and pod of each time that it was read."""

    async def answer(self, request: web.Request) -> web.Response:
        """Its last lines, cut after so many bytes."""
        self.asked.append((request.match_info["namespace"], request.match_info["pod"]))
        lines = self.text.splitlines(keepends=True)[-int(request.query["tailLines"]) :]
        return web.Response(body="".join(lines).encode()[: int(request.query["limitBytes"])])


@asynccontextmanager
async def kubelet_port(node: NodeStandIn, *, kubeconfig: str, text: str) -> AsyncIterator[Logs]:
    """Let every container of the node have written this. Of the control plane's certificates its own is the one for this address."""
    keys = Path(kubeconfig).parents[1] / "pki"
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(keys / "apiserver.crt", keys / "apiserver.key")
    logs, app = Logs(text), web.Application()
    app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", logs.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, _LOOPBACK, 0, ssl_context=tls)
        await site.start()
        await node.answers_at(_LOOPBACK, runner.addresses[0][1])
        yield logs
    finally:
        await runner.cleanup()
