"""When the pods of a namespace were first seen, when their agents ran and when they were gone, by one watch."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass

from bench.api import Api
from laneway.api import names
from laneway.kube.resources import PODS, JsonObject

_SECONDS = 120.0
"""What takes longer has failed."""


@dataclass
class Life:
    """A pod as the watch told of it, in monotonic seconds."""

    made: float
    runs: float | None = None
    gone: bool = False


class PodWatch:
    """What the watch has told."""

    def __init__(self) -> None:
        self._lives: dict[str, Life] = {}
        self._told = asyncio.Condition()

    async def running(self, name: str) -> tuple[float, float]:
        """When the pod was first seen and when its agent ran, once it does; the pod of a run goes by the run's name. Raises TimeoutError."""
        await self._until(lambda: name in self._lives and self._lives[name].runs is not None)
        life = self._lives[name]
        return life.made, life.runs or life.made

    async def gone(self, wanted: Iterable[str]) -> None:
        """Wait until these pods are gone. Raises TimeoutError."""
        pods = [self._lives[name] for name in wanted]
        await self._until(lambda: all(pod.gone for pod in pods))

    async def tell(self, kind: str, pod: JsonObject, now: float) -> None:
        """One event. Raises RuntimeError for a pod that ends before anybody told it to."""
        life = self._lives.setdefault(name_of(pod), Life(now))
        life.gone = kind == "DELETED"
        state = agent_state(pod)
        if state == "running" and life.runs is None:
            life.runs = now
        if state == "terminated" and "deletionTimestamp" not in pod["metadata"]:
            raise RuntimeError(f"the agent of {pod['metadata']['name']} ended by itself: {pod['status']}")
        async with self._told:
            self._told.notify_all()

    async def _until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(_SECONDS), self._told:
            await self._told.wait_for(true)


@asynccontextmanager
async def pod_watch(api: Api, namespace: str) -> AsyncGenerator[PodWatch]:
    """Watches the pods of a namespace; what goes wrong with the watch ends all."""
    told, path = PodWatch(), PODS.path(namespace)
    version = (await api.get(path))["metadata"]["resourceVersion"]

    async def follow() -> None:
        async with aclosing(api.watch(path, version=version, accept="application/json")) as watch:
            async for kind, pod in watch:
                await told.tell(kind, pod, time.monotonic())

    async with asyncio.TaskGroup() as group:
        following = group.create_task(follow())
        yield told
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following


def name_of(pod: JsonObject) -> str:
    """The name of a pod's run, or its own if it has none."""
    labels = pod["metadata"].get("labels") or {}
    return str(labels.get(names.RUN_LABEL) or pod["metadata"]["name"])


def agent_state(pod: JsonObject) -> str:
    """What a pod's status says of the agent's container: waiting, running or terminated; empty while it says nothing."""
    for one in (pod.get("status") or {}).get("containerStatuses") or ():
        if one["name"] == names.AGENT_CONTAINER:
            return next(iter(one.get("state") or {}), "")
    return ""
