"""A watch from one resourceVersion that keeps every event, so that a bound is judged on all of them and never by sampling."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field

from laneway.api import names
from laneway.kube.client import Kube, WatchEvent
from laneway.kube.resources import JsonObject, Resource

_DONE = frozenset({"Succeeded", "Failed"})


@dataclass
class Witness:
    """What a watch has told so far, oldest first."""

    events: list[WatchEvent] = field(default_factory=list)
    error: BaseException | None = None
    told: asyncio.Condition = field(default_factory=asyncio.Condition)

    def of(self, name: str) -> list[WatchEvent]:
        """The events of one object."""
        return [event for event in self.events if event.object["metadata"]["name"] == name]

    def objects(self) -> dict[str, JsonObject]:
        """The last known state of every object ever seen, by uid."""
        return {event.object["metadata"]["uid"]: event.object for event in self.events}

    async def until(self, true: Callable[[], object], *, seconds: float = 20.0) -> None:
        """Return when something is true; asked again at every event. Fails after ``seconds``."""
        try:
            async with asyncio.timeout(seconds), self.told:
                await self.told.wait_for(lambda: self.error is not None or bool(true()))
        except TimeoutError:
            raise AssertionError(f"not within {seconds} s of {len(self.events)} events: {true}") from None
        if self.error is not None:
            raise self.error

    async def follow(self, kube: Kube, resource: Resource, namespace: str | None, version: str) -> None:
        """Keep every event after ``version``; a watch that the server ends is taken up where it ended."""
        try:
            while True:
                version = await self._listen(kube, resource, namespace, version)
        except Exception as error:
            self.error = error
            async with self.told:
                self.told.notify_all()
            raise

    async def _listen(self, kube: Kube, resource: Resource, namespace: str | None, version: str) -> str:
        """Keep the events of one watch request; answers the version that it came to."""
        async with aclosing(kube.watch(resource, namespace=namespace, resource_version=version)) as watch:
            async for event in watch:
                version = event.object["metadata"]["resourceVersion"]
                if event.type != "BOOKMARK":
                    self.events.append(event)
                async with self.told:
                    self.told.notify_all()
        return version


@asynccontextmanager
async def witness(kube: Kube, resource: Resource, namespace: str | None) -> AsyncIterator[Witness]:
    """A witness of one kind in one namespace, or in all of them at once, from now on."""
    seen = Witness()
    version = (await kube.list(resource, namespace=namespace)).resource_version
    task = asyncio.create_task(seen.follow(kube, resource, namespace, version))
    try:
        yield seen
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def most_at_once(pods: Witness, *, lane: str | None = None) -> int:
    """The most pods that were there and not finished after any one event; a pod that is stopping counts."""
    there: set[str] = set()
    most = 0
    for event in pods.events:
        meta, phase = event.object["metadata"], (event.object.get("status") or {}).get("phase")
        labels = meta.get("labels") or {}
        if names.RUN_UID_LABEL not in labels or (lane and labels.get(names.LANE_LABEL) != lane):
            continue
        if event.type == "DELETED" or phase in _DONE:
            there.discard(meta["uid"])
        else:
            there.add(meta["uid"])
        most = max(most, len(there))
    return most


def pods_of(pods: Witness, run_uid: str) -> list[str]:
    """Names of all pods that a run ever had, in order."""
    found = {
        event.object["metadata"]["uid"]: event.object["metadata"]["name"]
        for event in pods.events
        if (event.object["metadata"].get("labels") or {}).get(names.RUN_UID_LABEL) == run_uid
    }
    return list(found.values())


def status_writes(runs: Witness, name: str) -> int:
    """How many times a run's status became another one."""
    before: object = None
    count = 0
    for event in runs.of(name):
        status = event.object.get("status")
        if event.type == "MODIFIED" and status != before:
            count += 1
        before = status
    return count
