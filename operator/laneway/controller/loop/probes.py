"""Probes: alive while the loop turns, ready while standing by or in step with the cluster; and /metrics."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from aiohttp import web
from prometheus_client import Gauge
from prometheus_client.aiohttp import make_aiohttp_handler

from laneway.settings import OperatorSettings

log = logging.getLogger(__name__)

LAG_WARNING_SECONDS = 0.25
LAG_LIMIT_SECONDS = 10.0
_TICK_SECONDS = 0.5

LAG = Gauge("laneway_loop_lag_seconds", "How late the event loop was at its last tick.")


class Health:
    """What the kubelet asks."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._ticked = monotonic()
        self.state = "starting"
        """starting, standby, syncing or leading."""

    @property
    def alive(self) -> bool:
        """Whether the loop turned within the limit."""
        return self._monotonic() - self._ticked < LAG_LIMIT_SECONDS

    @property
    def ready(self) -> bool:
        """Whether this replica does its part: it leads in step with the cluster, or stands by."""
        return self.alive and self.state in {"standby", "leading"}

    async def tick_forever(self) -> None:
        """Measure how late the loop is."""
        while True:
            due = self._monotonic() + _TICK_SECONDS
            await asyncio.sleep(_TICK_SECONDS)
            self._ticked = self._monotonic()
            late = max(0.0, self._ticked - due)
            LAG.set(late)
            if late > LAG_WARNING_SECONDS:
                log.warning("the event loop was late", extra={"seconds": round(late, 3)})


async def serve(settings: OperatorSettings, health: Health) -> list[web.AppRunner]:
    """Start the health and the metrics listener; the runners are to be cleaned up."""
    probes = web.Application()

    async def healthz(_: web.Request) -> web.Response:
        return _probe(ok=health.alive, text=health.state)

    async def readyz(_: web.Request) -> web.Response:
        return _probe(ok=health.ready, text=health.state)

    probes.router.add_get("/healthz", healthz)
    probes.router.add_get("/readyz", readyz)
    metrics = web.Application()
    metrics.router.add_get("/metrics", make_aiohttp_handler())
    runners = []
    for app, port in ((probes, settings.health_port), (metrics, settings.metrics_port)):
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, port=port).start()
        runners.append(runner)
    return runners


def _probe(*, ok: bool, text: str) -> web.Response:
    return web.Response(text=text + "\n", status=200 if ok else 503)
