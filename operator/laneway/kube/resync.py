"""The regular comparison that makes good what the watch did not tell.

A watch can fall silent for good, and an event can be lost on its way. So within every minute (S4.45) the metadata of everything is listed:
what is gone is dropped (ghosts), and what the watch has not told a moment later is read. A watch that has told nothing at all while things
went on changing is deaf, and the process must end; the start that follows lists everything.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence

from prometheus_client import Counter

from laneway.kube.cache import Cache, Change
from laneway.kube.client import Kube
from laneway.kube.errors import KubeError, NotFound
from laneway.kube.listing import FOLLOWED, Place, places
from laneway.kube.resources import Resource
from laneway.kube.table import Listed

logger = logging.getLogger(__name__)

_PERIOD_SECONDS = 45.0
_ON_ITS_WAY_SECONDS = 10.0
"""An event may take so long on a busy machine."""
_READ_AT_ONCE = 200
"""So much is made good in one comparison; the rest in the next ones."""
_DEAF_AFTER = 5
"""Comparisons in a row that found something untold, while no event came at all."""

GHOSTS = Counter(
    "laneway_resync_ghosts", "Objects that the resync dropped because no event had told their end.", ["resource"]
)
MISSED = Counter(
    "laneway_resync_missed", "Objects that the resync read because no event had told of their change.", ["resource"]
)


class DeafWatch(Exception):  # noqa: N818 - it says what happened
    """The watch no longer tells what changes; the process must end and start anew."""


class Resync:
    """Compares the cache with the cluster at regular times."""

    def __init__(
        self,
        *,
        kube: Kube,
        cache: Cache,
        on_change: Callable[[Change], None],
        namespaces: Sequence[str],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        spread: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._kube = kube
        self._cache = cache
        self._on_change = on_change
        self._places = tuple(places(namespaces))
        self._sleep = sleep
        self._spread = spread
        self._silent: dict[Resource, int] = {}
        """How often in a row something was untold while no event came."""
        self._events: dict[Resource, int] = {}

    async def run(self) -> None:
        """Compare for ever. Raises DeafWatch; a comparison that the API server does not allow is left for the next time."""
        while True:
            await self._sleep(_PERIOD_SECONDS * self._spread(0.9, 1.1))
            try:
                await self.compare()
            except KubeError as error:
                logger.warning("resync failed", extra={"cause": error.message})

    async def compare(self) -> None:
        """Drop ghosts, and read what is newer than the cache and still untold a moment later. Raises DeafWatch."""
        untold: list[tuple[Resource, Listed]] = []
        for place in self._places:
            untold += [(place.resource, listed) for listed in await self._compare(place)]
        if untold:
            await self._sleep(_ON_ITS_WAY_SECONDS)
        still = [(resource, listed) for resource, listed in untold if self._cache.lacks(resource, listed)]
        missed = {resource for resource, listed in still[:_READ_AT_ONCE] if await self._make_good(resource, listed)}
        for resource, _ in FOLLOWED:
            self._listen(resource, missed=resource in missed)

    async def _make_good(self, resource: Resource, listed: Listed) -> bool:
        """Read what no event told; an object that came and went between two events is no news."""
        try:
            found = await self._kube.get(resource, listed.key.namespace, listed.key.name)
        except NotFound:
            return False
        change = self._cache.put(resource, found)
        if change is None:
            return False
        MISSED.labels(resource.plural).inc()
        self._on_change(change)
        return True

    def _listen(self, resource: Resource, *, missed: bool) -> None:
        """Raises DeafWatch."""
        events, before = self._cache.events(resource), self._events.get(resource)
        self._events[resource] = events
        self._silent[resource] = self._silent.get(resource, 0) + 1 if missed and events == before else 0
        if self._silent[resource] >= _DEAF_AFTER:
            raise DeafWatch(f"{resource.plural} changed, and in {_DEAF_AFTER} comparisons no event told of any")

    async def _compare(self, place: Place) -> list[Listed]:
        """Drop the ghosts of one place; answers what the cache lacks."""
        listed, version = await self._kube.lines(
            place.resource, namespace=place.namespace, label_selector=place.selector
        )
        for change in self._cache.retain(place.resource, listed, version=version, namespace=place.namespace):
            GHOSTS.labels(place.resource.plural).inc()
            self._on_change(change)
        return [line for line in listed if self._cache.lacks(place.resource, line)]
