"""The gateway's mirror on a real API server, and through faults put between both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

import pytest

from laneway.kube.client import Kube, Listing, WatchEvent
from laneway.kube.errors import Unavailable
from laneway.kube.resources import MODEL_LANES, JsonObject, key_of
from laneway.kube.watch import mirror
from manifests import lane


class View:
    """What a gateway would keep."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.lists = 0
        self.heard = 0.0

    def on_list(self, items: list[JsonObject]) -> None:
        self.lists += 1
        self.names = {str(key_of(item)) for item in items}

    def on_event(self, kind: str, obj: JsonObject) -> None:
        (self.names.discard if kind == "DELETED" else self.names.add)(str(key_of(obj)))

    def on_contact(self, moment: float) -> None:
        assert moment >= self.heard
        self.heard = moment


@pytest.fixture
def view() -> View:
    return View()


@pytest.fixture
async def follow(view: View) -> AsyncIterator[Callable[..., None]]:
    tasks: list[asyncio.Task[None]] = []

    def begin(kube: Any, *namespaces: str) -> None:
        following = mirror(
            kube,
            MODEL_LANES,
            namespaces=namespaces,
            label_selector=None,
            on_list=view.on_list,
            on_event=view.on_event,
            on_contact=view.on_contact,
        )
        tasks.append(asyncio.create_task(following))

    yield begin
    for task in tasks:
        assert not task.done(), "a mirror never ends"
        task.cancel()
    await asyncio.wait(tasks)


class Faulty:
    """A real client whose watches fail as told: ``stale`` starts one from version 1, ``cut`` breaks the open ones."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self.stale = 0
        self.refused = 0
        self._cuts: set[asyncio.Event] = set()

    def cut(self) -> None:
        for cut in self._cuts:
            cut.set()

    async def pages(self, *args: Any, **options: Any) -> AsyncGenerator[Listing]:
        if self.refused:
            self.refused -= 1
            raise Unavailable("no connection")
        async for page in self._kube.pages(*args, **options):
            yield page

    async def watch(self, *args: Any, resource_version: str, **options: Any) -> AsyncGenerator[WatchEvent]:
        if self.stale:
            self.stale -= 1
            resource_version = "1"
        cut = asyncio.Event()
        self._cuts.add(cut)
        events = self._kube.watch(*args, resource_version=resource_version, **options)
        try:
            while True:
                event = asyncio.ensure_future(anext(events))
                ended = asyncio.ensure_future(cut.wait())
                try:
                    await asyncio.wait([event, ended], return_when=asyncio.FIRST_COMPLETED)
                    if cut.is_set():
                        raise Unavailable("cut")
                    yield event.result()
                finally:
                    for task in (event, ended):
                        task.cancel()
                    await asyncio.wait([event, ended])
        finally:
            self._cuts.discard(cut)
            await events.aclose()


async def test_a_mirror_follows_what_comes_and_goes(
    kube: Kube, namespace: str, view: View, follow: Callable[..., None], until: Any
) -> None:
    await kube.create(MODEL_LANES, namespace, lane(name="early"))
    follow(kube, namespace)
    await until(lambda: view.names == {f"{namespace}/early"})
    assert view.heard > 0
    await kube.create(MODEL_LANES, namespace, lane(name="late"))
    await until(lambda: view.names == {f"{namespace}/early", f"{namespace}/late"})
    await kube.delete(MODEL_LANES, namespace, "early")
    await until(lambda: view.names == {f"{namespace}/late"})
    assert view.lists == 1


async def test_a_mirror_of_two_namespaces_is_one_view_of_both(
    kube: Kube, namespace: str, view: View, follow: Callable[..., None], until: Any
) -> None:
    await kube.create(MODEL_LANES, namespace, lane(name="here"))
    await kube.create(MODEL_LANES, "default", lane(name=namespace))
    try:
        follow(kube, namespace, "default")
        await until(lambda: view.names >= {f"{namespace}/here", f"default/{namespace}"})
    finally:
        await kube.delete(MODEL_LANES, "default", namespace)
    await until(lambda: f"default/{namespace}" not in view.names)
    assert f"{namespace}/here" in view.names


async def test_a_mirror_whose_watch_breaks_goes_on_where_it_was_without_a_list(
    kube: Kube, namespace: str, view: View, follow: Callable[..., None], until: Any
) -> None:
    faulty = Faulty(kube)
    follow(faulty, namespace)
    await until(lambda: view.lists)
    faulty.cut()
    await kube.create(MODEL_LANES, namespace, lane(name="missed"))
    await until(lambda: view.names == {f"{namespace}/missed"})
    assert view.lists == 1


async def test_a_mirror_whose_version_is_gone_lists_again_and_forgets_what_was_deleted(
    kube: Kube, namespace: str, view: View, follow: Callable[..., None], until: Any
) -> None:
    await kube.create(MODEL_LANES, namespace, lane(name="ghost"))
    faulty = Faulty(kube)
    follow(faulty, namespace)
    await until(lambda: view.names == {f"{namespace}/ghost"})
    faulty.stale = 1
    faulty.cut()
    await kube.delete(MODEL_LANES, namespace, "ghost")
    await kube.create(MODEL_LANES, namespace, lane(name="new"))
    await until(lambda: view.names == {f"{namespace}/new"})
    assert view.lists == 2


async def test_a_mirror_starts_as_soon_as_the_api_server_answers(
    kube: Kube, namespace: str, view: View, follow: Callable[..., None], until: Any
) -> None:
    faulty = Faulty(kube)
    faulty.refused = 2
    follow(faulty, namespace)
    await until(lambda: view.lists == 1)
    assert faulty.refused == 0
