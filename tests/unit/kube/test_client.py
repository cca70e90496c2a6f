"""The client against a small server on loopback that answers what the test tells it to: faults that a real one seldom shows."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio.config import incluster_config
from prometheus_client import REGISTRY

from laneway.kube.client import Kube
from laneway.kube.connection import Connection
from laneway.kube.errors import Forbidden, Gone, KubeError, NotLeader, Unavailable
from laneway.kube.resources import CONFIG_MAPS, PODS, JsonObject
from laneway.kube.table import Listed

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
AUTHORITY = """\
-----BEGIN CERTIFICATE-----
MIIBdTCCARugAwIBAgIUPKKjRiQuBBHCxRSVC2h5PlEczwUwCgYIKoZIzj0EAwIw
DzENMAsGA1UEAwwEdGVzdDAgFw0yNjExMjEwNjE0MjRaGA8yMTI2MTAyODA2MTQy
NFowDzENMAsGA1UEAwwEdGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABIRw
JRkNSVZ1TrAuJ8Ehu6i2tE5SXrauzRLjs9q9g09SzBrLnhGH92mMfV0xPSc2LE9g
D9fOvjlXgYvMk6ocj1SjUzBRMB0GA1UdDgQWBBRSVyTkY6T3QhmRb8oU4RBjTR/R
BDAfBgNVHSMEGDAWgBRSVyTkY6T3QhmRb8oU4RBjTR/RBDAPBgNVHRMBAf8EBTAD
AQH/MAoGCCqGSM49BAMCA0gAMEUCIQC1A2alaOF13/4PFi3LsCodq692GuDgq125
iashaKYx3wIgI21mPXZdD8ULpZAQOBHMk7EDzFqX2re/k7vZFlJ+ArE=
-----END CERTIFICATE-----
"""
PAGES = [{"limit": "500", "labelSelector": "a=b"}, {"limit": "500", "labelSelector": "a=b", "continue": "more"}]
OBJECT = {"metadata": {"name": "x", "namespace": "team", "resourceVersion": "1", "uid": "u"}}


class Server:
    """Answers from ``script``, one entry a request; the last one stays. Keeps what was asked."""

    def __init__(self) -> None:
        self.url = ""
        self.script: list[web.Response | Handler] = []
        self.asked: list[web.Request] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        await request.read()
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        return await step(request) if callable(step) else _copy(step)


def _copy(response: web.Response) -> web.Response:
    return web.Response(status=response.status, body=response.body, headers=response.headers)


def says(body: Any, status: int = 200, **headers: str) -> web.Response:
    return web.Response(status=status, body=json.dumps(body).encode(), headers=headers)


def refuses(status: int, reason: str, **headers: str) -> web.Response:
    return says({"kind": "Status", "code": status, "reason": reason, "message": reason}, status, **headers)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.answer)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = "http://{}:{}".format(*runner.addresses[0])
    yield made
    await runner.cleanup()


def kubeconfig(folder: Path, url: str) -> str:
    path = folder / "kubeconfig"
    cluster, context = {"server": url}, {"cluster": "c", "user": "u"}
    path.write_text(
        json.dumps(
            {
                "current-context": "x",
                "contexts": [{"name": "x", "context": context}],
                "clusters": [{"name": "c", "cluster": cluster}],
                "users": [{"name": "u", "user": {"token": "secret"}}],
            }
        )
    )
    return str(path)


@pytest.fixture
async def kube(server: Server, tmp_path: Path) -> AsyncIterator[Kube]:
    client = await Kube.connect(kubeconfig=kubeconfig(tmp_path, server.url))
    yield client
    await client.close()


async def create(kube: Kube) -> JsonObject:
    return await kube.create(CONFIG_MAPS, "team", {"metadata": {"name": "x"}})


WRITES: list[Any] = [
    pytest.param(create, "POST", id="create"),
    pytest.param(lambda kube: kube.replace(CONFIG_MAPS, "team", "x", OBJECT), "PUT", id="replace"),
    pytest.param(lambda kube: kube.merge_patch(CONFIG_MAPS, "team", "x", {}), "PATCH", id="merge patch"),
    pytest.param(lambda kube: kube.delete(CONFIG_MAPS, "team", "x"), "DELETE", id="delete"),
    pytest.param(
        lambda kube: kube.apply_status(CONFIG_MAPS, "team", "x", status={}, resource_version="1", uid="u"),
        "PATCH",
        id="status",
    ),
]


@pytest.mark.parametrize(("write", "method"), WRITES)
async def test_a_write_is_sent_once_with_a_time_limit_for_the_server(
    kube: Kube, server: Server, write: Callable[[Kube], Awaitable[Any]], method: str
) -> None:
    server.script = [refuses(503, "ServiceUnavailable")]
    with pytest.raises(Unavailable):
        await write(kube)
    assert [request.method for request in server.asked] == [method]
    assert server.asked[0].query["timeout"] == "4s"
    assert server.asked[0].headers["Authorization"] == "Bearer secret"


@pytest.mark.parametrize(("write", "method"), WRITES)
async def test_a_write_is_not_sent_by_who_does_not_lead(
    server: Server, tmp_path: Path, write: Callable[[Kube], Awaitable[Any]], method: str
) -> None:
    server.script = [says(OBJECT)]
    kube = await Kube.connect(
        kubeconfig=kubeconfig(tmp_path, server.url),
        write_guard=lambda: False,
    )
    try:
        with pytest.raises(NotLeader):
            await write(kube)
        assert await kube.get(CONFIG_MAPS, "team", "x") == OBJECT
    finally:
        await kube.close()
    assert [request.method for request in server.asked] == ["GET"]


async def test_a_write_that_had_to_wait_asks_the_guard_after_the_wait(server: Server, tmp_path: Path) -> None:
    leads, free = [True], asyncio.Event()

    async def slowly(_: web.Request) -> web.Response:
        await free.wait()
        return says(OBJECT)

    server.script = [slowly]
    kube = await Kube.connect(
        kubeconfig=kubeconfig(tmp_path, server.url),
        write_guard=lambda: leads[0],
    )
    try:
        reads = [asyncio.create_task(kube.get(CONFIG_MAPS, "team", "x")) for _ in range(64)]
        while len(server.asked) < 64:
            await asyncio.sleep(0.005)
        write = asyncio.create_task(create(kube))
        await asyncio.sleep(0.05)
        leads[0] = False
        free.set()
        await asyncio.gather(*reads)
        with pytest.raises(NotLeader):
            await write
    finally:
        await kube.close()
    assert len(server.asked) == 64


@pytest.mark.parametrize("warm", [pytest.param(False, id="a new connection"), pytest.param(True, id="a kept one")])
async def test_a_write_asks_the_guard_again_when_it_has_its_connection(
    server: Server, tmp_path: Path, warm: bool
) -> None:
    answers = [True, False]
    server.script = [says(OBJECT)]
    kube = await Kube.connect(kubeconfig=kubeconfig(tmp_path, server.url), write_guard=lambda: answers.pop(0))
    try:
        if warm:
            await kube.get(CONFIG_MAPS, "team", "x")
        with pytest.raises(NotLeader):
            await create(kube)
        assert await kube.get(CONFIG_MAPS, "team", "x") == OBJECT
    finally:
        await kube.close()
    assert [request.method for request in server.asked] == ["GET"] * (1 + warm)


async def test_a_read_is_tried_again_and_waits_as_long_as_asked(kube: Kube, server: Server) -> None:
    server.script = [
        refuses(429, "TooManyRequests", **{"Retry-After": "1"}),
        refuses(500, "InternalError"),
        says(OBJECT),
    ]
    began = asyncio.get_running_loop().time()
    assert await kube.get(CONFIG_MAPS, "team", "x") == OBJECT
    assert asyncio.get_running_loop().time() - began >= 1.0
    assert len(server.asked) == 3


async def test_a_read_gives_up_after_four_tries(kube: Kube, server: Server) -> None:
    server.script = [refuses(503, "ServiceUnavailable")]
    with pytest.raises(Unavailable):
        await kube.get(CONFIG_MAPS, "team", "x")
    assert len(server.asked) == 4


async def test_a_read_leaves_a_long_wait_to_its_caller(kube: Kube, server: Server) -> None:
    server.script = [refuses(429, "TooManyRequests", **{"Retry-After": "60"})]
    with pytest.raises(Unavailable) as caught:
        await kube.get(CONFIG_MAPS, "team", "x")
    assert caught.value.retry_after == 60.0
    assert len(server.asked) == 1


async def test_a_refusal_is_not_tried_again(kube: Kube, server: Server) -> None:
    server.script = [refuses(403, "Forbidden")]
    with pytest.raises(Forbidden):
        await kube.get(CONFIG_MAPS, "team", "x")
    assert len(server.asked) == 1


async def test_no_connection_is_unavailable_without_a_status(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        kube = await Kube.connect(kubeconfig=kubeconfig(tmp_path, f"http://127.0.0.1:{taken.getsockname()[1]}"))
        with pytest.raises(Unavailable) as caught:
            await create(kube)
        await kube.close()
    assert caught.value.status is None


async def test_an_answer_that_breaks_off_is_unavailable(kube: Kube, server: Server) -> None:
    async def half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"{")
        assert request.transport is not None
        request.transport.close()
        return response

    server.script = [half]
    with pytest.raises(Unavailable):
        await create(kube)


async def test_a_list_follows_its_pages_and_an_empty_one_is_null(kube: Kube, server: Server) -> None:
    server.script = [
        says({"metadata": {"resourceVersion": "7", "continue": "more"}, "items": [OBJECT]}),
        says({"metadata": {"resourceVersion": "7"}, "items": None}),
    ]
    listing = await kube.list(PODS, label_selector="a=b")
    assert (listing.items, listing.resource_version) == ([OBJECT], "7")
    assert [dict(request.query) for request in server.asked] == PAGES


async def test_lines_follow_the_pages_of_a_metadata_list(kube: Kube, server: Server) -> None:
    server.script = [
        says({"metadata": {"resourceVersion": "7", "continue": "more"}, "items": [OBJECT]}),
        says({"metadata": {"resourceVersion": "7"}, "items": None}),
    ]
    assert await kube.lines(PODS, label_selector="a=b") == ([Listed.of(OBJECT)], 7)
    assert [dict(request.query) for request in server.asked] == PAGES
    assert server.asked[0].headers["Accept"].startswith("application/json;as=PartialObjectMetadataList")


def streams(*lines: bytes, cut: bool = False) -> Handler:
    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        for line in lines:
            await response.write(line)
        if cut:
            assert request.transport is not None
            request.transport.close()
        return response

    return stream


def event(kind: str, **body: Any) -> bytes:
    return json.dumps({"type": kind, "object": body or OBJECT}).encode() + b"\n"


async def watched(kube: Kube) -> list[str]:
    async with aclosing(kube.watch(PODS, resource_version="5")) as events:
        return [one.type async for one in events]


async def test_a_watch_ends_quietly_when_the_server_ends_it(kube: Kube, server: Server) -> None:
    server.script = [streams(event("ADDED"), event("BOOKMARK"))]
    assert await watched(kube) == ["ADDED", "BOOKMARK"]
    assert dict(server.asked[0].query) == {
        "watch": "true",
        "allowWatchBookmarks": "true",
        "timeoutSeconds": "60",
        "resourceVersion": "5",
    }


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        pytest.param(streams(event("ERROR", code=410, reason="Expired")), Gone, id="410 inside the stream"),
        pytest.param(refuses(410, "Expired"), Gone, id="410 instead of a stream"),
        pytest.param(streams(event("ERROR", code=500)), Unavailable, id="500 inside the stream"),
        pytest.param(streams(event("ADDED"), b'{"type": "MOD', cut=True), Unavailable, id="a cut inside a line"),
        pytest.param(streams(event("ADDED"), b'{"type": "MOD'), Unavailable, id="an end inside a line"),
    ],
)
async def test_a_watch_fails_as(kube: Kube, server: Server, step: Any, expected: type[KubeError]) -> None:
    server.script = [step]
    with pytest.raises(expected):
        await watched(kube)


async def test_a_log_with_broken_characters_is_read(kube: Kube, server: Server) -> None:
    server.script = [web.Response(body=b"fine \xff\n")]
    text = await kube.read_log("team", "x", container="agent", tail_lines=5, limit_bytes=100)
    assert text == "fine \N{REPLACEMENT CHARACTER}\n"
    assert dict(server.asked[0].query) == {"container": "agent", "tailLines": "5", "limitBytes": "100"}


async def test_a_log_is_read_with_its_times(kube: Kube, server: Server) -> None:
    server.script = [web.Response(body=b"2026-03-01T12:00:00Z fine\n")]
    await kube.read_log("team", "x", container="agent", tail_lines=1, limit_bytes=64, timestamps=True)
    assert server.asked[0].query["timestamps"] == "true"


async def test_requests_are_counted_by_verb_resource_and_code(kube: Kube, server: Server) -> None:
    def count(code: str) -> float:
        labels = {"verb": "get", "resource": "configmaps", "code": code}
        return REGISTRY.get_sample_value("laneway_kube_requests_total", labels) or 0.0

    before = count("500"), count("200")
    server.script = [refuses(500, "InternalError"), says(OBJECT)]
    await kube.get(CONFIG_MAPS, "team", "x")
    assert (count("500"), count("200")) == (before[0] + 1, before[1] + 1)


async def test_in_a_pod_a_rotated_token_is_read_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    token, authority = tmp_path / "token", tmp_path / "ca.crt"
    token.write_text("first")
    authority.write_text(AUTHORITY)
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(authority))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "6443")
    connection = await Connection.open()
    try:
        assert connection.server == "https://127.0.0.1:6443"
        assert await connection.credentials() == {"authorization": "bearer first"}
        token.write_text("second")
        assert await connection.credentials() == {"authorization": "bearer first"}

        class Later(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> Any:
                return datetime.now(tz) + timedelta(minutes=2)

        monkeypatch.setattr(incluster_config, "datetime", SimpleNamespace(datetime=Later, timedelta=timedelta))
        assert await connection.credentials() == {"authorization": "bearer second"}
    finally:
        await connection.close()


async def test_without_any_configuration_the_error_says_so(tmp_path: Path) -> None:
    with pytest.raises(KubeError, match="no usable Kubernetes configuration"):
        await Kube.connect(kubeconfig=str(tmp_path / "missing"))
