"""The watch, by kopf, and nothing else of kopf: events enter the cache, and what changed is told on.

Only ``@kopf.on.event`` is used, which writes nothing: no finalizer, no annotation, no Event. Lists are ours (``kopflists``).
The settings bound what was measured to go wrong: a half-open stream (both time-outs), the inactivity time-out that can end a
watcher without a word (switched off), memory under load (short-lived workers). An HTTP 410 and any error in a stream other
than 410 end kopf with an exception; it goes on to the caller, who must end the process, for a start is cheap and correct.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any

import kopf

from laneway.kube.cache import Cache, Change
from laneway.kube.connection import Connection
from laneway.kube.kopflists import NoLists
from laneway.kube.kopfstorage import NoDiffBase, NoProgress
from laneway.kube.listing import FOLLOWED, Lister
from laneway.kube.resources import Resource

_NEVER_SECONDS = 999_999_999.0
_REQUEST_SECONDS = 120
"""A list of ours may be in it; each of its pages has time limits of its own."""
_KOPF_FOLDER = str(Path(kopf.__file__).parent)


async def run_feed(
    *,
    cache: Cache,
    lister: Lister,
    on_change: Callable[[Change], None],
    stop: asyncio.Event,
    kubeconfig: str | None = None,
) -> None:
    """Feed the cache until ``stop`` is set. Raises whatever ended it before.

    It goes on from what ``lister`` has listed, and has it list the rest.

    In the main thread SIGTERM and SIGINT are made to set ``stop``: kopf takes both signals for itself, so they have to be
    taken back. Another handler of the caller has to be installed after the feed has started.
    """
    failed: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    connection = await Connection.open(kubeconfig=kubeconfig)
    lists = NoLists(lister, on_change=partial(_tell, on_change, failed), server=connection.server)
    try:
        tasks = await kopf.spawn_tasks(
            registry=_registry(cache, on_change, connection, lists, failed),
            settings=_settings(),
            standalone=True,
            clusterwide=not lister.namespaces,
            namespaces=lister.namespaces,
        )
        _take_signals(stop)
        await _run_until(stop, failed=failed, tasks=tasks)
    finally:
        await connection.close()


def _registry(
    cache: Cache,
    on_change: Callable[[Change], None],
    connection: Connection,
    lists: NoLists,
    failed: asyncio.Future[Any],
) -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()

    async def log_in(**_: Any) -> kopf.AiohttpSession:
        return kopf.AiohttpSession(server=connection.server, aiohttp_session=connection.new_session(lists))

    kopf.on.login(registry=registry)(log_in)
    for resource, _selector in FOLLOWED:
        on_event = kopf.on.event(resource.group, resource.version, resource.plural, registry=registry)
        on_event(_handler(resource, cache, on_change, failed))
    return registry


def _handler(resource: Resource, cache: Cache, on_change: Callable[[Change], None], failed: asyncio.Future[Any]) -> Any:
    async def handle(event: Any, **_: Any) -> None:
        try:
            change = cache.take_event(resource, event["type"], event["object"])
            if change is not None:
                on_change(change)
        except Exception as error:  # noqa: BLE001 - kopf logs a handler's error and goes on; ours must end the process
            if not failed.done():
                failed.set_exception(error)

    return handle


def _tell(on_change: Callable[[Change], None], failed: asyncio.Future[Any], change: Change) -> None:
    """What a list tells. Of an error in kopf's own watcher kopf does not always let us know."""
    try:
        on_change(change)
    except Exception as error:
        if not failed.done():
            failed.set_exception(error)
        raise


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.watching.server_timeout = 60
    settings.watching.client_timeout = 75
    settings.watching.inactivity_timeout = _NEVER_SECONDS
    settings.watching.connect_timeout = 10
    for resource, selector in FOLLOWED:
        if selector is not None:
            settings.watching.label_selectors[resource.group, resource.version, resource.plural] = selector
    settings.networking.connect_timeout = 10
    settings.networking.request_timeout = _REQUEST_SECONDS
    settings.networking.error_backoffs = (0.5, 1, 2, 4)
    settings.queueing.idle_timeout = 0.5
    settings.posting.enabled = False
    settings.persistence.diffbase_storage = NoDiffBase()
    settings.persistence.progress_storage = NoProgress()
    settings.scanning.disabled = True
    settings.process.ultimate_exiting_timeout = None
    logging.getLogger("kopf").setLevel(logging.WARNING)
    return settings


def _take_signals(stop: asyncio.Event) -> None:
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)


async def _run_until(stop: asyncio.Event, *, failed: asyncio.Future[Any], tasks: Collection[asyncio.Task[Any]]) -> None:
    """Wait for ``stop``, a failure of ours, or the end of one of kopf's tasks, none of which ends by itself.

    kopf's own runner would cancel every task of the process that is younger than kopf; this one ends kopf's tasks alone.
    """
    stopped = asyncio.create_task(stop.wait(), name="stop of the feed")
    try:
        done, _ = await asyncio.wait([*tasks, stopped, failed], return_when=asyncio.FIRST_COMPLETED)
    finally:
        await _cancel([*tasks, stopped])
        await _cancel([task for task in asyncio.all_tasks() if _is_of_kopf(task)])
    for ended in done:
        ended.result()
    if stopped not in done:
        raise RuntimeError("the watch ended by itself")


async def _cancel(tasks: Collection[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)


def _is_of_kopf(task: asyncio.Task[Any]) -> bool:
    """Whether kopf made it: a watcher whose orchestrator was cancelled before it could cancel its own."""
    code = getattr(task.get_coro(), "cr_code", None)
    return code is not None and code.co_filename.startswith(_KOPF_FOLDER)
