"""``laneway gateway``: wires the parts, serves three ports, and leaves without breaking a call if it can."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime

import uvloop
from aiohttp import web

from laneway import collector, logs
from laneway.gateway import metrics
from laneway.gateway.calls import spans
from laneway.gateway.calls.classifying import Classifying
from laneway.gateway.calls.tools import Tools
from laneway.gateway.client.patience import keep_peers_in_bounds, runner_of
from laneway.gateway.cluster.cluster import Cluster
from laneway.gateway.cluster.tokens import Authenticator, KeyRing
from laneway.gateway.cluster.views import Views
from laneway.gateway.ledger.ledger import Ledger, LedgerError, LedgerLocked, prepare_ledger
from laneway.gateway.ledger.seed import read_recorded
from laneway.gateway.ledger.sql import Past
from laneway.gateway.money.purse import Purse
from laneway.gateway.money.spends import Spends, read_spent
from laneway.gateway.ports.agents import CallPort
from laneway.gateway.ports.health import Health
from laneway.gateway.ports.operators import OperatorPort
from laneway.gateway.state.attempts import wait_until_left
from laneway.gateway.state.state import Clock, State
from laneway.gateway.upstream.credentials import Credentials
from laneway.gateway.upstream.prober import Prober
from laneway.gateway.upstream.surroundings import Surroundings
from laneway.gateway.upstream.upstream import open_upstream
from laneway.kube.client import Kube
from laneway.kube.errors import KubeError
from laneway.settings import GatewaySettings
from laneway.tracing import begin_traces

log = logging.getLogger(__name__)

DRAIN_SECONDS = 30.0
_CUT_SECONDS = 5.0
_TOLD_SECONDS = 10.0
"""Ten of the operator's polls: what memory alone knows goes with the process."""
_LOCK_STEP_SECONDS = 1.0
_KEYS_FIRST_STEP_SECONDS = 1.0
_KEYS_STEP_SECONDS = 60.0
_MILLISECONDS = 1000


def _utc_now() -> datetime:
    return datetime.now(UTC)


def run(settings: GatewaySettings, clock: Clock = _utc_now) -> int:
    """Serve until told to leave. Answers the exit code."""
    logs.setup(settings.log)
    code = 1
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            code = runner.run(_serve(settings, clock))
    except* (KubeError, LedgerError, OSError) as errors:
        for error in errors.exceptions:
            log.error("gateway cannot go on", extra={"cause": str(error)})
    return code


async def _serve(settings: GatewaySettings, clock: Clock) -> int:
    stop = _stop_signal()
    async with AsyncExitStack() as stack:
        views = Views()
        kube = await Kube.connect()
        stack.push_async_callback(kube.close)
        cluster = Cluster(kube, views, settings)
        health = Health(views=views, keys=KeyRing(cluster.read_keys))
        await _listen(stack, health.app(), settings.metrics_port, "metrics")
        gateway = _Gateway(settings, cluster, views, health, clock)
        work = asyncio.create_task(gateway.work(stack))
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait([work, stopped], return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        health.draining = True
        await gateway.drain()
        if work.done():
            work.result()
            return 1
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
    return 0


class _Gateway:
    """The parts that live as long as the process."""

    def __init__(self, settings: GatewaySettings, cluster: Cluster, views: Views, health: Health, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._cluster = cluster
        self._views = views
        self._health = health
        self._state: State | None = None
        self._surroundings = Surroundings(settings, cluster.read_api_addresses)

    async def work(self, stack: AsyncExitStack) -> None:
        """Open the ledger, keep the views, and serve once the ledger knows all that status knows; ends only with an error."""
        tools = await self._open(stack)
        await self._surroundings.look()
        async with asyncio.TaskGroup() as group:
            kept = (*self._cluster.mirrors(), self._keep_keys(), tools.ledger.keep(self._now_ms))
            for part in (*kept, self._surroundings.keep_looking()):
                group.create_task(part)
            await self._seed(tools)
            collector.spare()
            runner = await self._serve(stack, tools)
            if self._settings.bind_pod_address:  # else addresses say nothing of who calls
                group.create_task(keep_peers_in_bounds(runner))

    async def _seed(self, tools: Tools) -> None:
        """No call is served, and the operator is told nothing, before: what was counted once must not seem to be less."""
        while not self._views.runs.listed:
            await self._views.wait_for_change()
        recorded = [found for run in self._views.runs if (found := read_recorded(run)) is not None]
        for past in await tools.ledger.seed(recorded, now_ms=self._now_ms()):
            tools.state.remember(past)
        spent = await asyncio.to_thread(read_spent, self._settings.ledger_path, self._clock())
        tools.purse.know_spent(spent)

    async def _serve(self, stack: AsyncExitStack, tools: Tools) -> web.AppRunner:
        """Both ports. Answers what serves the calls."""
        metrics.watch_gauges(open_calls=lambda: len(tools.state.open_calls()), view_age=self._cluster.view_age_seconds)
        authenticator = Authenticator(
            keys=self._health.keys,
            views=self._views,
            confirm=self._cluster.confirm,
            bind_pod_address=self._settings.bind_pod_address,
        )
        calls = CallPort(tools=tools, views=self._views, authenticator=authenticator)
        classifying = Classifying(tools=tools, views=self._views)
        operator = OperatorPort(tools=tools, keys=self._health.keys, classifying=classifying)
        runner = await _listen(stack, calls.app(), self._settings.call_port, "calls")
        await _listen(stack, operator.app(), self._settings.operator_port, "operator")
        self._health.serving = True
        return runner

    async def drain(self) -> None:
        """Serve on until no call is open, or the time is up; then cut what is left.

        With a lost ledger status is the only record of these calls, so the operator gets the time to read them.
        """
        state = self._state
        if state is None:
            return
        deadline = time.monotonic() + DRAIN_SECONDS
        while (calls := state.open_calls()) and (left := deadline - time.monotonic()) > 0:
            await wait_until_left(calls, seconds=left)
        log.info("gateway leaves", extra={"cut_calls": len(calls)})
        state.leaving = bool(calls)
        for call in calls:
            call.cut()
        await wait_until_left(calls, seconds=_CUT_SECONDS)
        if self._health.ledger is not None and self._health.ledger.lost:
            await state.wait_until_read(seconds=_TOLD_SECONDS)

    async def _open(self, stack: AsyncExitStack) -> Tools:
        """Everything that a call works with; waits for the ledger's lock, unready."""
        ledger, past = await self._lock_ledger(stack)
        self._state = state = State(clock=self._clock, past=past)
        upstream = await stack.enter_async_context(open_upstream(self._surroundings.permits))
        credentials = Credentials(self._cluster.read_secret)
        prober = Prober(upstream=upstream, credentials=credentials, state=state, clock=self._clock)
        stack.push_async_callback(prober.close)
        self._views.on_lane.append(prober.take)
        purse = Purse(state, Spends(self._clock, {}))
        exporter = begin_traces(stack, self._settings.traces)
        self._views.on_run += [purse.look, state.look]
        self._views.on_lane += [purse.look_at_lane, metrics.begin_lane]
        return Tools(
            upstream=upstream,
            credentials=credentials,
            ledger=ledger,
            state=state,
            purse=purse,
            clock=self._clock,
            key_changed=prober.wake,
            on_settled=None if exporter is None else spans.teller(self._views, exporter.add),
        )

    async def _lock_ledger(self, stack: AsyncExitStack) -> tuple[Ledger, list[Past]]:
        waiting = False
        while True:
            try:
                path, now_ms = self._settings.ledger_path, self._now_ms()
                opened = await asyncio.to_thread(prepare_ledger, path, now_ms=now_ms)
            except LedgerLocked as error:
                if not waiting:
                    log.warning("waiting for the ledger", extra={"cause": str(error)})
                waiting = True
                await asyncio.sleep(_LOCK_STEP_SECONDS)
                continue
            self._health.ledger = ledger = opened.start()
            stack.push_async_callback(ledger.close)
            return ledger, opened.past

    def _now_ms(self) -> int:
        return int(self._clock().timestamp() * _MILLISECONDS)

    async def _keep_keys(self) -> None:
        """Read the token keys until they are there, then once a minute, so that a key that was taken out dies."""
        while True:
            await self._health.keys.refresh()
            known = self._health.keys.keys is not None
            await asyncio.sleep(_KEYS_STEP_SECONDS if known else _KEYS_FIRST_STEP_SECONDS)


async def _listen(stack: AsyncExitStack, app: web.Application, port: int, name: str) -> web.AppRunner:
    runner = runner_of(app)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, None, port).start()
    log.info("listening", extra={"what": name, "port": runner.addresses[0][1]})
    return runner


def _stop_signal() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop
