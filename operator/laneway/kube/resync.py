"""The first full listing, and the regular comparison that makes good what the watch did not tell.

kopf does not report what vanished while a watch was down (ghosts), and its watch can fall silent for good. So within every minute (S4.45) the
metadata of everything is listed: ghosts are dropped, and what the watch has not told a moment later is read. A watch that has told nothing at
all while things went on changing is deaf, and the process must end; the start that follows lists everything.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence

from prometheus_client import Counter

from laneway.api.names import RUN_UID_LABEL
from laneway.kube.cache import Cache, Change
from laneway.kube.client import Kube
from laneway.kube.errors import KubeError, NotFound
from laneway.kube.resources import AGENT_RUNS, MODEL_LANES, PODS, Resource
from laneway.kube.table import Listed

logger = logging.getLogger(__name__)

FOLLOWED: tuple[tuple[Resource, str | None], ...] = ((MODEL_LANES, None), (AGENT_RUNS, None), (PODS, RUN_UID_LABEL))
"""What the cache holds, and the label that objects need to have for it."""

_PERIOD_SECONDS = 45.0
_FIRST_SECONDS = 20.0
"""Soon after the start: what was deleted between our first listing and kopf's own is a ghost until then."""
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


async def list_all(kube: Kube, cache: Cache, *, namespaces: Sequence[str]) -> None:
    """Fill the cache, page by page; no ``namespaces`` means the whole cluster. Raises KubeError."""
    for resource, selector in FOLLOWED:
        for place in _places(namespaces):
            async for page in kube.pages(resource, namespace=place, label_selector=selector):
                for obj in page.items:
                    cache.put(resource, obj)


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
        self._places = _places(namespaces)
        self._sleep = sleep
        self._spread = spread
        self._silent: dict[Resource, int] = {}
        """How often in a row something was untold while no event came."""
        self._events: dict[Resource, int] = {}

    async def run(self) -> None:
        """Compare for ever. Raises DeafWatch; a comparison that the API server does not allow is left for the next time."""
        await self._sleep(_FIRST_SECONDS)
        while True:
            try:
                await self.compare()
            except KubeError as error:
                logger.warning("resync failed", extra={"cause": error.message})
            await self._sleep(_PERIOD_SECONDS * self._spread(0.9, 1.1))

    async def compare(self) -> None:
        """Drop ghosts, and read what is newer than the cache and still untold a moment later. Raises DeafWatch."""
        untold: list[tuple[Resource, Listed]] = []
        for resource, selector in FOLLOWED:
            for place in self._places:
                untold += await self._compare(resource, selector, place)
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

    async def _compare(
        self, resource: Resource, selector: str | None, place: str | None
    ) -> list[tuple[Resource, Listed]]:
        """Drop the ghosts of one resource in one place; answers what the cache lacks."""
        listing = await self._kube.list(resource, namespace=place, label_selector=selector, metadata_only=True)
        listed = [Listed.of(item) for item in listing.items]
        for change in self._cache.retain(resource, listed, version=int(listing.resource_version), namespace=place):
            GHOSTS.labels(resource.plural).inc()
            self._on_change(change)
        return [(resource, line) for line in listed if self._cache.lacks(resource, line)]


def _places(namespaces: Sequence[str]) -> Sequence[str | None]:
    return namespaces or [None]
