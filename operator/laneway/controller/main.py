"""``laneway operator``: stands by until it leads, then lists everything, then acts; leaves at once when it may no longer lead."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any, NoReturn

from laneway import collector, logs
from laneway.controller import metrics
from laneway.controller.facts.presets import Preset
from laneway.controller.loop import probes
from laneway.controller.loop.gather import Gatherer
from laneway.controller.loop.queue import Queue
from laneway.controller.loop.reconcile import Reconciler, WorkKey
from laneway.controller.loop.routing import Router
from laneway.controller.memory.world import UnreadableObject, World, make_cache
from laneway.controller.outside.apply import Applier
from laneway.controller.outside.clock import Clock, SystemClock
from laneway.controller.outside.gateway import Changes, GatewayClient
from laneway.controller.outside.presetfiles import SHIPPED, PresetError, load_presets
from laneway.controller.outside.tokens import ensure_keys
from laneway.kube.cache import Change
from laneway.kube.client import Kube
from laneway.kube.errors import Conflict, KubeError, NotFound, NotLeader, Unavailable
from laneway.kube.feed import run_feed
from laneway.kube.lease import Elector
from laneway.kube.listing import Lister
from laneway.kube.resync import Resync
from laneway.rules.token import TokenKeys, operator_secret
from laneway.settings import OperatorSettings
from laneway.tracing import Exporter, begin_traces

log = logging.getLogger(__name__)

WORKERS = 16
_LAST_WORK_SECONDS = 10
_AFTER_NO_ANSWER = timedelta(seconds=5)
"""A write without an answer may still land for 4 s; what was decided before it is not tried again sooner."""


def run(settings: OperatorSettings, clock: Clock | None = None) -> int:
    """Run until told to stop; the exit code is not 0 when the process gave up and has to be started again."""
    logs.setup(settings.log)
    try:
        presets = load_presets([SHIPPED, *([settings.presets_dir] if settings.presets_dir else [])])
    except PresetError as error:
        log.error("a preset cannot be read", extra={"why": str(error)})
        return 2
    return asyncio.run(_serve(settings, presets, clock or SystemClock()))


async def _serve(settings: OperatorSettings, presets: dict[str, Preset], clock: Clock) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    state = probes.Health()
    listeners = await probes.serve(settings, state)
    ticking = asyncio.create_task(state.tick_forever())
    lease_kube = await Kube.connect()
    elector = Elector(
        kube=lease_kube, namespace=settings.namespace, name=settings.lease_name, identity=settings.identity
    )
    try:
        state.state = "standby"
        log.info("standing by", extra={"identity": elector.identity})
        if not await _unless_stopped(elector.acquire(), stop):
            return 0
        log.info("leading", extra={"identity": elector.identity})
        state.state = "syncing"
        return await Leader(settings, presets, clock, state, elector).lead(stop)
    finally:
        ticking.cancel()
        await lease_kube.close()
        for listener in listeners:
            await listener.cleanup()


async def _unless_stopped(work: Coroutine[Any, Any, None], stop: asyncio.Event) -> bool:
    """Whether the work was done before the stop."""
    working, stopped = asyncio.create_task(work), asyncio.create_task(stop.wait())
    await asyncio.wait((working, stopped), return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if working.done():
        working.result()
        return True
    working.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await working
    return False


class Leader:
    """All that a leading operator runs."""

    def __init__(
        self,
        settings: OperatorSettings,
        presets: dict[str, Preset],
        clock: Clock,
        state: probes.Health,
        elector: Elector,
    ) -> None:
        self._settings = settings
        self._presets = presets
        self._clock = clock
        self._state = state
        self._elector = elector
        self._queue: Queue[WorkKey] = Queue(clock)
        self._cache = make_cache()
        self._world = World(self._cache, on_change=self._on_change)
        self._router: Router | None = None
        self._busy: set[str] = set()
        self._leaving = False
        metrics.QUEUE_DEPTH.set_function(lambda: float(len(self._queue)))

    def _on_change(self, change: Change) -> None:
        if self._router is not None:
            self._router.on_change(change)

    async def lead(self, stop: asyncio.Event) -> int:
        """Lead until stopped (0) or until something ended that must not end (1)."""
        settings = self._settings
        holding = asyncio.create_task(self._elector.hold(), name="lease")
        kube = await Kube.connect(write_guard=self._elector.may_write)
        keys = await ensure_keys(kube, namespace=settings.namespace, name=settings.token_secret)
        gateway = GatewayClient(
            url=settings.gateway_operator_url, secret=operator_secret(keys.keys[keys.current]), clock=self._clock
        )
        self._router = Router(queue=self._queue, world=self._world, gateway=gateway)
        async with contextlib.AsyncExitStack() as stack:
            exporter = begin_traces(stack, settings.traces)
            stack.push_async_callback(kube.close)
            stack.push_async_callback(gateway.close)
            stack.callback(holding.cancel)
            lister = Lister(kube=kube, cache=self._cache, namespaces=settings.watch_namespaces)
            await lister.list_all()
            await self._world.read_outcomes()
            collector.spare()
            changes = await gateway.poll()
            log.info("in step with the cluster", extra={"cache": repr(self._cache), "gateway": changes.turned})
            self._router.everything()
            self._state.state = "leading"
            watching = self._watch(kube, lister, stop)
            reconciler = self._reconciler(kube, gateway, keys, exporter)
            return await self._run(stop, holding, watching, gateway, reconciler)

    def _reconciler(self, kube: Kube, gateway: GatewayClient, keys: TokenKeys, exporter: Exporter | None) -> Reconciler:
        settings = self._settings
        gatherer = Gatherer(
            kube=kube,
            world=self._world,
            gateway=gateway,
            presets=self._presets,
            keys=keys,
            agent_image=settings.agent_image,
            gateway_url=settings.gateway_url,
            trace_ratio=None if settings.traces is None else settings.traces.ratio,
        )
        applier = Applier(
            kube=kube, world=self._world, gateway=gateway, clock=self._clock, instance=self._elector.identity
        )
        return Reconciler(
            kube=kube,
            world=self._world,
            queue=self._queue,
            gateway=gateway,
            applier=applier,
            gatherer=gatherer,
            presets=self._presets,
            clock=self._clock,
            trace=None if exporter is None else exporter.add,
        )

    def _watch(self, kube: Kube, lister: Lister, stop: asyncio.Event) -> set[asyncio.Task[None]]:
        """Keep the cache in step with the cluster from here on."""
        resync = Resync(kube=kube, cache=self._cache, on_change=self._on_change, namespaces=lister.namespaces)
        feed = run_feed(cache=self._cache, lister=lister, on_change=self._on_change, stop=stop)
        return {asyncio.create_task(resync.run(), name="resync"), asyncio.create_task(feed, name="feed")}

    async def _run(
        self,
        stop: asyncio.Event,
        holding: asyncio.Task[None],
        watching: set[asyncio.Task[None]],
        gateway: GatewayClient,
        reconciler: Reconciler,
    ) -> int:
        workers = [
            asyncio.create_task(self._work(reconciler, f"worker {n}"), name=f"worker {n}") for n in range(WORKERS)
        ]
        kept = {
            holding,
            *watching,
            *workers,
            asyncio.create_task(gateway.poll_forever(self._on_gateway), name="gateway poll"),
        }
        stopped = asyncio.create_task(stop.wait(), name="stop")
        done, _ = await asyncio.wait({*kept, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not stop.is_set():
            _give_up(done)
        await self._leave(kept - {holding}, workers, reconciler)
        await self._elector.release()
        return 0

    async def _leave(
        self, kept: set[asyncio.Task[None]], workers: list[asyncio.Task[None]], reconciler: Reconciler
    ) -> None:
        """Take no new work, let what is in work finish, then end the rest."""
        self._leaving = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORK_SECONDS):
                busy = [worker for worker in workers if worker.get_name() in self._busy]
                if busy:
                    await asyncio.wait(busy)
                await reconciler.all_told()
        for task in kept:
            task.cancel()
        await asyncio.gather(*kept, return_exceptions=True)

    def _on_gateway(self, changes: Changes) -> None:
        if self._router is not None:
            self._router.on_gateway(changes)

    async def _work(self, reconciler: Reconciler, name: str) -> None:
        while not self._leaving:
            work = await self._queue.get()
            self._busy.add(name)
            try:
                await self._pass(reconciler, work)
            finally:
                self._busy.discard(name)
            await asyncio.sleep(0)  # a pass without I/O must still let signals and the Lease through

    async def _pass(self, reconciler: Reconciler, work: WorkKey) -> None:
        try:
            await reconciler.reconcile(work)
        except (Conflict, NotFound):
            self._failed(work, "stale", timedelta(0))
        except Unavailable as error:
            asked = timedelta(seconds=error.retry_after or 0)
            self._failed(work, "unavailable", max(_AFTER_NO_ANSWER, asked))
        except UnreadableObject as error:
            log.warning("an object cannot be read; it is left alone until it changes", extra={"why": str(error)})
            metrics.RECONCILES.labels(work.kind, "unreadable").inc()
            self._queue.done(work)
        except NotLeader:
            raise
        except Exception as error:
            # The boundary of all passes: one object that cannot be handled must not stop the others.
            log.exception("a pass failed", extra={"kind": work.kind, "key": str(work.key), "why": _why(error)})
            self._failed(work, "failed", timedelta(seconds=1))
        else:
            metrics.RECONCILES.labels(work.kind, "done").inc()
            self._queue.done(work)

    def _failed(self, work: WorkKey, outcome: str, at_least: timedelta) -> None:
        metrics.RECONCILES.labels(work.kind, outcome).inc()
        self._queue.failed(work, at_least=at_least)


def _why(error: Exception) -> str:
    return error.message if isinstance(error, KubeError) else type(error).__name__


def _give_up(done: set[asyncio.Task[Any]]) -> NoReturn:
    """Something ended that must not: say what, and leave at once.

    The loop's own end waits for every task, and one that waits for another that is gone keeps a process that may not write and does not leave.
    Nothing is lost: what the process knew is in the cluster.
    """
    for task in done:
        error = task.exception() if not task.cancelled() else None
        log.error("giving up", extra={"task": task.get_name(), "error": repr(error)})
    os._exit(1)
