"""Our lists: page by page into the cache. No list is ever held whole, for the process would keep the room that it took."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from laneway.api.names import RUN_UID_LABEL
from laneway.kube.cache import Cache, Change
from laneway.kube.client import Kube
from laneway.kube.resources import AGENT_RUNS, MODEL_LANES, PODS, Resource
from laneway.kube.table import Listed


class Place(NamedTuple):
    """One resource in one namespace, or in the whole cluster: what one list reads and one watch follows."""

    resource: Resource
    selector: str | None
    """The label that objects need to have for the cache."""
    namespace: str | None
    """None: the whole cluster."""


FOLLOWED: tuple[tuple[Resource, str | None], ...] = ((MODEL_LANES, None), (AGENT_RUNS, None), (PODS, RUN_UID_LABEL))
"""What the cache holds, with the label that objects need to have for it."""


def places(namespaces: Sequence[str]) -> Iterator[Place]:
    """What the cache holds, one after the other; no ``namespaces`` means the whole cluster."""
    for resource, selector in FOLLOWED:
        for namespace in namespaces or (None,):
            yield Place(resource, selector, namespace)


class Lister:
    """Fills a cache with all there is, and knows at which version it read each place: a watch goes on from there."""

    def __init__(self, *, kube: Kube, cache: Cache, namespaces: Sequence[str]) -> None:
        """No ``namespaces`` means the whole cluster."""
        self.namespaces = namespaces
        self._kube = kube
        self._cache = cache
        self.versions: dict[Place, str] = {}

    async def list_all(self) -> None:
        """List every place. Raises KubeError."""
        for place in places(self.namespaces):
            await self.list(place)

    async def list(self, place: Place, *, on_change: Callable[[Change], None] = lambda change: None) -> None:
        """Take in all there is in one place, and drop what is gone. Raises KubeError."""
        listed: list[Listed] = []
        version = ""
        async for page in self._kube.pages(place.resource, namespace=place.namespace, label_selector=place.selector):
            version = page.resource_version
            for obj in page.items:
                listed.append(Listed.of(obj))
                change = self._cache.put(place.resource, obj)
                if change is not None:
                    on_change(change)
        for change in self._cache.retain(place.resource, listed, version=int(version), namespace=place.namespace):
            on_change(change)
        self.versions[place] = version
