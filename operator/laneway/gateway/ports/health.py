"""The listener for the kubelet and for Prometheus."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from laneway.gateway.cluster.tokens import KeyRing
from laneway.gateway.cluster.views import Views
from laneway.gateway.ledger.ledger import Ledger


@dataclass
class Health:
    """Whether calls should come here."""

    views: Views
    keys: KeyRing
    ledger: Ledger | None = None
    serving: bool = False
    """Whether the ports for calls and for the operator are open."""
    draining: bool = False

    def missing(self) -> list[str]:
        """What keeps the gateway from being ready; nothing when it is."""
        failure = self.ledger.failure if self.ledger else None
        checks = {
            "the ledger is not held by this process": self.ledger is not None,
            f"the ledger cannot be written: {failure}": failure is None,
            "runs, lanes and pods were not listed yet": self.views.listed,
            "the token keys were not read yet": self.keys.keys is not None,
            "the ports are not open yet": self.serving,
            "the gateway is leaving": not self.draining,
        }
        return [sentence for sentence, good in checks.items() if not good]

    def app(self) -> web.Application:
        """The application."""
        app = web.Application()
        app.router.add_get("/healthz", _live)
        app.router.add_get("/readyz", self._ready)
        app.router.add_get("/metrics", _metrics)
        return app

    async def _ready(self, request: web.Request) -> web.Response:
        missing = self.missing()
        return web.json_response({"ready": not missing, "missing": missing}, status=503 if missing else 200)


async def _live(request: web.Request) -> web.Response:
    return web.Response(text="ok")


async def _metrics(request: web.Request) -> web.Response:
    return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})
