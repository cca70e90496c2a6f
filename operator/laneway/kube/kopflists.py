"""kopf's lists, answered with nothing: what there is comes into the cache by our own lists, and kopf's watch goes on from there.

kopf lists before it watches, and keeps each object of that for half a second with a task of its own: all of them at once, some 20 kB each,
room that the process never gives back. What it needs of a list is the version to watch from. So in its session, which is ours, a request for
a list is turned into one for an object that nobody can have, read exactly at the version of our list: the answer is an empty list of that version.

The first list is there before kopf starts. When kopf asks again, its version is too old for a watch, and we list anew. What vanished
meanwhile is told then, which kopf by itself does not do.
"""

from __future__ import annotations

from collections.abc import Callable

import aiohttp
from yarl import URL

from laneway.kube.cache import Change
from laneway.kube.errors import Unavailable
from laneway.kube.listing import Lister, Place, places

_NOBODY = "metadata.name=-"
"""No name of an object begins with a dash."""
_ANY_NAMESPACE = "default"
"""In one namespace the API server looks up the one name; without one it would walk through all objects."""


class NoLists:
    """A middleware for kopf's session."""

    def __init__(self, lister: Lister, *, on_change: Callable[[Change], None], server: str) -> None:
        """``lister`` has listed what it has a version of; ``server`` is the root URL of the API server."""
        self._lister = lister
        self._on_change = on_change
        self._root = URL(server).path.rstrip("/")
        self._places = {self._root + place.resource.path(place.namespace): place for place in places(lister.namespaces)}

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Hand on a request; one for a list is changed first. Raises KubeError, and what ``on_change`` raises."""
        place = self._places.get(request.url.path)
        if place is None or "watch" in request.url.query:
            return await handler(request)
        if place not in self._lister.versions:
            await self._list(place)
        request.url = self._empty_list(request.url, place)
        answer = await handler(request)
        if answer.ok:
            self._lister.versions.pop(place, None)
        return answer

    async def _list(self, place: Place) -> None:
        try:
            await self._lister.list(place, on_change=self._on_change)
        except Unavailable as error:
            raise aiohttp.ClientConnectionError(error.message) from error  # kopf tries again after these

    def _empty_list(self, url: URL, place: Place) -> URL:
        version = self._lister.versions[place]
        path = self._root + place.resource.path(place.namespace or _ANY_NAMESPACE)
        return url.with_path(path).with_query(
            fieldSelector=_NOBODY, resourceVersion=version, resourceVersionMatch="Exact"
        )
