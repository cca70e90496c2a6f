"""Events, posted behind the passes: no pass waits for one.

What fails for a while (409, 429, 5xx, no answer) is tried again, for half a minute; a repeat is harmless, for the name is derived from what is told.
Events of one object come in order. All of it is in memory alone: an operator that is killed may cost Events.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable

from laneway.controller import metrics
from laneway.kube.client import Kube
from laneway.kube.errors import AlreadyExists, Conflict, KubeError, Unavailable
from laneway.kube.resources import EVENTS, JsonObject

log = logging.getLogger(__name__)

PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds before each further try; after the last one an Event is dropped."""
LONGEST_PAUSE = 30.0
"""Seconds. A server that asks for a longer pause is asked again after this one."""
MOST_WAITING = 5_000
"""Events kept at once, each of some 2 kB; what comes on top is dropped."""
_AT_ONCE = 8


class Teller:
    """Events that are still to be posted."""

    def __init__(self, kube: Kube, pause: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._kube = kube
        self._pause = pause
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._lines: dict[str, deque[JsonObject]] = {}
        """By the uid of the object that they tell of."""
        self._waiting = 0
        self._telling: set[asyncio.Task[None]] = set()

    def tell(self, event: JsonObject) -> None:
        """Post an Event, after those of the same object that came before it."""
        if self._waiting >= MOST_WAITING:
            log.warning("an Event was not posted, too many wait", extra={"reason": event["reason"]})
            return
        self._count(1)
        about = event["regarding"]["uid"]
        if about in self._lines:
            self._lines[about].append(event)
            return
        self._lines[about] = deque([event])
        task = asyncio.create_task(self._tell_all(about))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def all_told(self) -> None:
        """Wait until nothing is left to post."""
        while self._telling:
            await asyncio.gather(*self._telling)

    async def _tell_all(self, about: str) -> None:
        line = self._lines[about]
        try:
            while line:
                await self._post(line[0])
                line.popleft()
                self._count(-1)
        finally:
            del self._lines[about]
            self._count(-len(line))

    def _count(self, more: int) -> None:
        self._waiting += more
        metrics.EVENTS_WAITING.set(self._waiting)

    async def _post(self, event: JsonObject) -> None:
        """Post one, with all its tries; no Event is worth an error."""
        try:
            for pause in PAUSES:
                try:
                    return await self._try(event)
                except Conflict:
                    asked = 0.0
                except Unavailable as error:
                    asked = error.retry_after or 0.0
                await self._pause(min(max(pause, asked), LONGEST_PAUSE))
            await self._try(event)
        except KubeError as error:
            log.warning("an Event was not posted", extra={"reason": event["reason"], "error": error.message})

    async def _try(self, event: JsonObject) -> None:
        """One that was posted before is success."""
        try:
            async with self._places:
                await self._kube.create(EVENTS, event["metadata"]["namespace"], event)
        except AlreadyExists:
            return
