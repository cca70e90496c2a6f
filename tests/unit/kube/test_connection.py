"""Which way requests take to the API server, and what the environment may say about it."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from laneway.kube.connection import Connection

LIMIT = aiohttp.ClientTimeout(total=10)
SERVER = "http://192.0.2.1:6443"
"""Of a range that leads nowhere: only a proxy can answer for it."""


@asynccontextmanager
async def listener() -> AsyncGenerator[tuple[str, list[web.BaseRequest]]]:
    """A server that answers everything, and what it was asked."""
    heard: list[web.BaseRequest] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        heard.append(request)
        return web.json_response({})

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", heard
    finally:
        await runner.cleanup()


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "NETRC"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def kubeconfig(folder: Path, server: str, *, token: str = "") -> str:
    user = {"token": token} if token else {}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }
    path = folder / "kubeconfig"
    path.write_text(json.dumps(config))
    return str(path)


async def get(config: str, path: str = "/version") -> int:
    connection = await Connection.open(kubeconfig=config)
    try:
        answer = await connection.request("GET", path, limit=LIMIT)
        await answer.read()
        return answer.status
    finally:
        await connection.close()


async def test_a_proxy_of_the_environment_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with listener() as (proxy, heard):
        monkeypatch.setenv("http_proxy", proxy)
        assert await get(kubeconfig(tmp_path, SERVER)) == 200
    assert [request.headers["Host"] for request in heard] == ["192.0.2.1:6443"]


async def test_a_server_that_no_proxy_names_is_asked_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with listener() as (proxy, by_proxy), listener() as (server, heard):
        monkeypatch.setenv("http_proxy", proxy)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert await get(kubeconfig(tmp_path, server)) == 200
    assert (len(by_proxy), len(heard)) == (0, 1)


async def test_a_netrc_file_has_no_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password hunter2\n")
    monkeypatch.setenv("NETRC", str(netrc))
    async with listener() as (server, heard):
        await get(kubeconfig(tmp_path, server))
    assert "Authorization" not in heard[0].headers


async def test_both_sessions_say_who_they_are(tmp_path: Path) -> None:
    async with listener() as (server, heard):
        connection = await Connection.open(kubeconfig=kubeconfig(tmp_path, server, token="t0k"))
        async with connection.new_session().get(f"{server}/watch") as answer:
            await answer.read()
        await (await connection.request("GET", "/own", limit=LIMIT)).read()
        await connection.close()
    assert [request.headers.get("Authorization") for request in heard] == ["Bearer t0k"] * 2
    assert all(request.headers["User-Agent"].startswith("laneway/") for request in heard)


@pytest.mark.parametrize(
    ("context", "server", "namespace"),
    [
        pytest.param(None, "http://192.0.2.1:6443", "default", id="the current context, which names no namespace"),
        pytest.param("other", "http://192.0.2.2:6443", "team-b", id="a context by its name"),
    ],
)
async def test_a_person_s_connection_is_that_of_the_context(
    context: str | None, server: str, namespace: str, tmp_path: Path
) -> None:
    path = Path(kubeconfig(tmp_path, SERVER))
    config = json.loads(path.read_text())
    config["clusters"].append({"name": "o", "cluster": {"server": "http://192.0.2.2:6443"}})
    config["contexts"].append({"name": "other", "context": {"cluster": "o", "user": "u", "namespace": "team-b"}})
    path.write_text(json.dumps(config))
    connection, found = await Connection.open_for_person(kubeconfig=str(path), context=context)
    try:
        assert (connection.server, found) == (server, namespace)
    finally:
        await connection.close()


async def test_certificates_are_judged_as_kubectl_does_also_by_a_python_that_asks_for_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = ssl.create_default_context

    def as_of_python_3_13(*args: Any, **kwargs: Any) -> ssl.SSLContext:
        context = usual(*args, **kwargs)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", as_of_python_3_13)
    config = kubeconfig(tmp_path, "https://192.0.2.1:6443")
    person, _ = await Connection.open_for_person(kubeconfig=config, context=None)
    for connection in (person, await Connection.open(kubeconfig=config)):
        context = connection._api.rest_client.ssl_context
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert not context.verify_flags & ssl.VERIFY_X509_STRICT
        await connection.close()
