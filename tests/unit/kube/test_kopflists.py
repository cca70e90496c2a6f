"""What becomes of kopf's requests on their way through its session. That the API server answers so is shown on a real one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from laneway.kube.errors import Forbidden, KubeError, Unavailable
from laneway.kube.kopflists import NoLists
from laneway.kube.listing import Place, places

RUNS = "/apis/laneway.dev/v1alpha1/agentruns"
RUNS_OF_A = "/apis/laneway.dev/v1alpha1/namespaces/a/agentruns"
RUNS_OF_DEFAULT = "/apis/laneway.dev/v1alpha1/namespaces/default/agentruns"
EMPTY = {"fieldSelector": "metadata.name=-", "resourceVersion": "7", "resourceVersionMatch": "Exact"}
POD_LABEL = {"labelSelector": "laneway.dev/run-uid"}
WATCH = {"watch": "true", "resourceVersion": "9"}


class Lists:
    """A lister that has listed everything at version 7, and lists it anew at 8, 9 and so on."""

    def __init__(self, *namespaces: str) -> None:
        self.namespaces = namespaces
        self.versions = dict.fromkeys(places(namespaces), "7")
        self.listed: list[Place] = []
        self.fails: list[KubeError] = []

    async def list(self, place: Place, *, on_change: Callable[[Any], None]) -> None:
        self.listed.append(place)
        if self.fails:
            raise self.fails.pop(0)
        self.versions[place] = str(7 + len(self.listed))


class ApiServer:
    """Notes what is asked for, and answers with ``status``."""

    def __init__(self) -> None:
        self.url = ""
        self.status = 200
        self.asked: list[tuple[str, dict[str, str]]] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append((request.path, dict(request.query)))
        return web.json_response({}, status=self.status)


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    made = ApiServer()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = "http://{}:{}".format(*runner.addresses[0])
    yield made
    await runner.cleanup()


async def ask(lists: Any, server: str, path: str, **query: str) -> None:
    lists_nothing = NoLists(lists, on_change=lambda change: None, server=server)
    async with (
        aiohttp.ClientSession(middlewares=(lists_nothing,)) as session,
        session.get(server.rstrip("/") + path, params=query) as answer,
    ):
        await answer.read()


@pytest.mark.parametrize(
    ("namespaces", "path", "query", "sent"),
    [
        pytest.param((), RUNS, {"limit": "500"}, (RUNS_OF_DEFAULT, EMPTY), id="a list of the cluster is one of nobody"),
        pytest.param(("a", "b"), RUNS_OF_A, {}, (RUNS_OF_A, EMPTY), id="a list of a namespace is one of nobody there"),
        pytest.param(
            (), "/api/v1/pods", POD_LABEL, ("/api/v1/namespaces/default/pods", EMPTY), id="a list of pods too"
        ),
        pytest.param((), RUNS, WATCH, (RUNS, WATCH), id="a watch goes as it is"),
        pytest.param((), "/api/v1/nodes", {"limit": "1"}, ("/api/v1/nodes", {"limit": "1"}), id="another resource too"),
        pytest.param(("b",), RUNS_OF_A, {}, (RUNS_OF_A, {}), id="and another namespace"),
        pytest.param((), "/apis/laneway.dev/v1alpha1", {}, ("/apis/laneway.dev/v1alpha1", {}), id="and discovery"),
    ],
)
@pytest.mark.parametrize("root", ["", "/k8s/clusters/c-1/"], ids=["at the root", "behind a path"])
async def test_requests_for_a_list_are_answered_with_nothing(
    *,
    server: ApiServer,
    root: str,
    namespaces: tuple[str, ...],
    path: str,
    query: dict[str, str],
    sent: tuple[str, dict[str, str]],
) -> None:
    lists = Lists(*namespaces)
    await ask(lists, server.url + root, path, **query)
    assert server.asked == [(root.rstrip("/") + sent[0], sent[1])]
    assert not lists.listed, "what was listed before counts"


async def test_who_asks_again_is_answered_after_a_new_list(server: ApiServer) -> None:
    lists = Lists()
    for _ in range(3):
        await ask(lists, server.url, RUNS)
    assert [query["resourceVersion"] for _, query in server.asked] == ["7", "8", "9"]
    assert {place.resource.plural for place in lists.listed} == {"agentruns"}


async def test_a_list_stays_good_until_kopf_knows_its_version(server: ApiServer) -> None:
    lists = Lists()
    server.status = 500
    await ask(lists, server.url, RUNS)
    server.status = 200
    await ask(lists, server.url, RUNS)
    assert [query["resourceVersion"] for _, query in server.asked] == ["7", "7"]


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        pytest.param(
            Unavailable("away"), aiohttp.ClientConnectionError, id="an API server that is away is tried again"
        ),
        pytest.param(Forbidden("no", status=403), Forbidden, id="a refusal ends the feed"),
    ],
)
async def test_a_list_that_fails_is_no_answer(server: ApiServer, error: KubeError, raised: type[Exception]) -> None:
    lists = Lists()
    lists.versions.clear()
    lists.fails = [error]
    with pytest.raises(raised):
        await ask(lists, server.url, RUNS)
    assert not server.asked
    await ask(lists, server.url, RUNS)
    assert [query["resourceVersion"] for _, query in server.asked] == ["9"]
