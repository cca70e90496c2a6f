"""A mirror of one resource by plain list and watch, for a process that must serve on when the API server is away."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing

from laneway.kube.client import Kube
from laneway.kube.errors import Gone, KubeError
from laneway.kube.resources import JsonObject, Key, Resource, key_of

logger = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 15.0


def without_managers(obj: JsonObject) -> JsonObject:
    """An object less who manages which of its fields, which is the larger half of most."""
    obj["metadata"].pop("managedFields", None)
    return obj


async def mirror(
    kube: Kube,
    resource: Resource,
    *,
    namespaces: Sequence[str],
    label_selector: str | None,
    on_list: Callable[[list[JsonObject]], None],
    on_event: Callable[[str, JsonObject], None],
    trim: Callable[[JsonObject], JsonObject] = without_managers,
    on_contact: Callable[[float], None] = lambda moment: None,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Follow a resource for ever; no ``namespaces`` means the whole cluster. Only an error of a callback ends it.

    ``on_list`` gets all objects there are, first when every namespace was listed and again whenever one had to be listed
    anew; what is not in it is gone. ``on_event`` gets ADDED, MODIFIED or DELETED and the object. ``trim`` makes of each object
    what is kept of it, page by page: all of them are held for as long as the mirror lives. ``on_contact`` gets the
    monotonic time at which all namespaces had been heard of; on an idle cluster it moves about once a minute.
    """
    view = _View(places=namespaces or [""], on_list=on_list, on_event=on_event, on_contact=on_contact)
    async with asyncio.TaskGroup() as group:
        for place in view.places:
            follower = _Follower(
                kube,
                resource,
                place,
                label_selector=label_selector,
                trim=trim,
                view=view,
                monotonic=monotonic,
                sleep=sleep,
            )
            group.create_task(follower.run(), name=f"mirror of {resource.plural} in {place or 'all namespaces'}")


class _View:
    """What all followers of one resource know together."""

    def __init__(
        self,
        *,
        places: Sequence[str],
        on_list: Callable[[list[JsonObject]], None],
        on_event: Callable[[str, JsonObject], None],
        on_contact: Callable[[float], None],
    ) -> None:
        self.places = places
        self._on_list = on_list
        self._on_event = on_event
        self._on_contact = on_contact
        self._objects: dict[str, dict[Key, JsonObject]] = {}
        self._heard: dict[str, float] = {}

    def list(self, place: str, items: Sequence[JsonObject]) -> None:
        self._objects[place] = {key_of(item): item for item in items}
        if self._is_whole():
            self._on_list([obj for objects in self._objects.values() for obj in objects.values()])

    def take(self, place: str, kind: str, obj: JsonObject) -> None:
        if kind == "DELETED":
            self._objects[place].pop(key_of(obj), None)
        else:
            self._objects[place][key_of(obj)] = obj
        if self._is_whole():
            self._on_event(kind, obj)

    def hear(self, place: str, moment: float) -> None:
        self._heard[place] = moment
        if self._is_whole():
            self._on_contact(min(self._heard.values()))

    def _is_whole(self) -> bool:
        return len(self._objects) == len(self.places)


class _Follower:
    """Lists one place, then watches it; starts the watch again where it ended, and lists again only when it must."""

    def __init__(
        self,
        kube: Kube,
        resource: Resource,
        place: str,
        *,
        label_selector: str | None,
        trim: Callable[[JsonObject], JsonObject],
        view: _View,
        monotonic: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._kube = kube
        self._resource = resource
        self._place = place
        self._selector = label_selector
        self._trim = trim
        self._view = view
        self._monotonic = monotonic
        self._sleep = sleep
        self._version: str | None = None

    async def run(self) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while True:
            started_from = self._version
            try:
                if self._version is None:
                    await self._list()
                await self._watch()
                pause = _FIRST_PAUSE_SECONDS
                continue
            except Gone:
                self._version = None
            except KubeError as error:
                logger.warning("mirror interrupted", extra={"resource": self._resource.plural, "cause": error.message})
            if self._version is not None and self._version != started_from:
                pause = _FIRST_PAUSE_SECONDS
            await self._sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _list(self) -> None:
        asked_at = self._monotonic()
        kept: list[JsonObject] = []
        version = None
        pages = self._kube.pages(self._resource, namespace=self._place or None, label_selector=self._selector)
        async for page in pages:
            kept += map(self._trim, page.items)
            version = page.resource_version
        self._version = version
        self._view.list(self._place, kept)
        self._view.hear(self._place, asked_at)

    async def _watch(self) -> None:
        assert self._version is not None
        events = self._kube.watch(
            self._resource,
            namespace=self._place or None,
            label_selector=self._selector,
            resource_version=self._version,
        )
        async with aclosing(events):
            async for event in events:
                self._version = event.object["metadata"]["resourceVersion"]
                if event.type != "BOOKMARK":
                    self._view.take(self._place, event.type, self._trim(event.object))
                self._view.hear(self._place, self._monotonic())
        self._view.hear(self._place, self._monotonic())
