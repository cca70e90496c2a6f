"""Our lists: what they change in the cache, and that none is ever held whole."""

from __future__ import annotations

import gc
import json
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from laneway.kube.cache import Cache, Change
from laneway.kube.client import Kube, Listing
from laneway.kube.listing import Lister, Place, places
from laneway.kube.resources import AGENT_RUNS, JsonObject
from laneway.kube.resync import Resync

PAGES, PAGE = 20, 40
_NOTHING = json.dumps({"metadata": {"resourceVersion": "10"}, "items": []}).encode()
RUNS = Place(AGENT_RUNS, None, "team")


def a_cache() -> Cache:
    return Cache(
        lanes_of_run=lambda run: [],
        chain_of_run=lambda run: [],
        dependencies_of_run=lambda run: [],
        has_ended=lambda run: True,
    )


def a_run(name: str, version: int, **spec: Any) -> JsonObject:
    meta = {"namespace": "team", "name": name, "uid": f"uid of {name}", "resourceVersion": str(version)}
    return {"metadata": meta, "spec": spec}


class Pages:
    """The methods of Kube that list, over pages of a test's own."""

    def __init__(self, version: int, *pages: list[JsonObject]) -> None:
        self._pages = pages
        self._version = version

    async def pages(self, *_: Any, **__: Any) -> AsyncIterator[Listing]:
        for page in self._pages:
            yield Listing(page, str(self._version))


async def test_a_list_brings_what_is_new_and_drops_what_is_gone() -> None:
    cache, changes = a_cache(), list[Change]()
    for known in (a_run("same", 3), a_run("changed", 4), a_run("gone", 5), a_run("younger than the list", 12)):
        cache.put(AGENT_RUNS, known)
    pages: Any = Pages(10, [a_run("same", 3), a_run("changed", 8)], [a_run("new", 9)])
    lister = Lister(kube=pages, cache=cache, namespaces=["team"])
    await lister.list(RUNS, on_change=changes.append)
    assert lister.versions == {RUNS: "10"}
    assert [(change.key.name, change.before is None, change.after is None) for change in changes] == [
        ("changed", False, False),
        ("new", True, False),
        ("gone", False, True),
    ]
    assert {key.name for key in cache.keys(AGENT_RUNS)} == {"same", "changed", "new", "younger than the list"}


@pytest.mark.parametrize(
    ("namespaces", "expected"),
    [
        pytest.param((), {None}, id="the whole cluster"),
        pytest.param(("a", "b"), {"a", "b"}, id="each namespace by itself"),
    ],
)
async def test_all_lists_are_read_and_their_versions_kept(
    namespaces: tuple[str, ...], expected: set[str | None]
) -> None:
    pages: Any = Pages(10, [])
    lister = Lister(kube=pages, cache=a_cache(), namespaces=namespaces)
    await lister.list_all()
    assert list(lister.versions) == list(places(namespaces))
    assert {place.namespace for place in lister.versions} == expected


@pytest.fixture
async def many_runs(tmp_path: Path) -> AsyncIterator[Kube]:
    """A client of a server with very many runs, in pages."""
    answers = [_page(number) for number in range(PAGES)]

    async def answer(request: web.Request) -> web.Response:
        of_runs = request.path.endswith("/agentruns")
        return web.Response(body=answers[int(request.query.get("continue", 0))] if of_runs else _NOTHING)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    file = tmp_path / "kubeconfig"
    file.write_text(_kubeconfig("http://{}:{}".format(*runner.addresses[0])))
    kube = await Kube.connect(kubeconfig=str(file))
    yield kube
    await kube.close()
    await runner.cleanup()


def _kubeconfig(server: str) -> str:
    named = {
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": "none"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
    }
    return json.dumps({"current-context": "x", **named})


def _page(number: int) -> bytes:
    runs = [a_run(f"run-{number}-{place}", 5, words=["a word"] * 200) for place in range(PAGE)]
    following = {"continue": str(number + 1)} if number + 1 < PAGES else {}
    return json.dumps({"metadata": {"resourceVersion": "10", **following}, "items": runs}).encode()


async def _list(kube: Kube, cache: Cache) -> None:
    await Lister(kube=kube, cache=cache, namespaces=["team"]).list(RUNS)


async def _compare(kube: Kube, cache: Cache) -> None:
    await Resync(kube=kube, cache=cache, on_change=lambda change: None, namespaces=["team"]).compare()


@pytest.mark.parametrize("read", [pytest.param(_list, id="a list"), pytest.param(_compare, id="a comparison")])
async def test_of_many_runs_no_more_than_a_page_is_held_at_once(
    many_runs: Kube, read: Callable[[Kube, Cache], Awaitable[None]]
) -> None:
    cache = a_cache()
    await _list(many_runs, cache)
    tracemalloc.start()
    try:
        page = json.loads(_page(0))
        size_of_page, _ = tracemalloc.get_traced_memory()
        del page
        gc.collect()
        tracemalloc.reset_peak()
        await read(many_runs, cache)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2.4 * size_of_page, "a page, its text, and the lines of the whole list; two pages would be more"
