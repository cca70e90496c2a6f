"""The first full listing, and the regular comparison that finds what the watch did not tell.

kopf does not report what vanished while a watch was down (ghosts), and its watch can fall silent for good. So every five
minutes the metadata of everything is listed: ghosts are dropped, and if the cache still lacks a listed version a minute
later, the watch is deaf and the process must end; the start that follows lists everything.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence

from prometheus_client import Counter

from laneway.api.names import RUN_UID_LABEL
from laneway.kube.cache import Cache, Change
from laneway.kube.client import Kube
from laneway.kube.errors import KubeError, NotFound
from laneway.kube.resources import AGENT_RUNS, MODEL_LANES, PODS, Key, Resource, uid_of
from laneway.kube.table import Listed

logger = logging.getLogger(__name__)

FOLLOWED: tuple[tuple[Resource, str | None], ...] = ((MODEL_LANES, None), (AGENT_RUNS, None), (PODS, RUN_UID_LABEL))
"""What the cache holds, and the label that objects need to have for it."""

_PERIOD_SECONDS = 300.0
_FIRST_SECONDS = 20.0
"""Soon after the start: what was deleted between our first listing and kopf's own is a ghost until then."""
_DEAF_AFTER_SECONDS = 60.0

GHOSTS = Counter(
    "laneway_resync_ghosts", "Objects that the resync dropped because no event had told their end.", ["resource"]
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
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        spread: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._kube = kube
        self._cache = cache
        self._on_change = on_change
        self._places = _places(namespaces)
        self._monotonic = monotonic
        self._sleep = sleep
        self._spread = spread
        self.passed_at = monotonic()
        """Monotonic time of the last whole comparison; of the start before the first. Three periods old is unhealthy."""

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
        """Drop ghosts now, and see a minute later whether the watch has told all that is newer. Raises DeafWatch."""
        untold: list[tuple[Resource, Listed]] = []
        for resource, selector in FOLLOWED:
            for place in self._places:
                untold += await self._compare(resource, selector, place)
        self.passed_at = self._monotonic()
        if untold:
            await self._sleep(_DEAF_AFTER_SECONDS)
            for resource, listed in untold:
                if self._cache.lacks(resource, listed) and await self._exists(resource, listed):
                    raise DeafWatch(f"no event told of {resource.kind} {listed.key} for {_DEAF_AFTER_SECONDS:.0f} s")

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

    async def _exists(self, resource: Resource, listed: Listed) -> bool:
        """Whether it is still there: an object that came and went between two events is no sign of deafness."""
        key: Key = listed.key
        try:
            return uid_of(await self._kube.get(resource, key.namespace, key.name)) == listed.uid
        except NotFound:
            return False


def _places(namespaces: Sequence[str]) -> Sequence[str | None]:
    return namespaces or [None]
