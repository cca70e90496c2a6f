"""A reverse proxy in front of the real API server: it notes every write, and faults of a test's choice come between.

Plain HTTP on loopback towards the operator, the kubeconfig's credentials towards the API server. Watches are passed on line by line. Where there is no
kubelet, logs of pods are told by the test. Leases are no part of the work: their writes are not noted.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from laneway.kube.connection import Connection
from laneway.kube.resources import JsonObject

_WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_PASSED_ON = ("Accept", "Content-Type", "User-Agent")
_LEASES = "leases"
_NO_LIMIT = aiohttp.ClientTimeout(total=None)
_REFUSED = 400


@dataclass(frozen=True)
class Asked:
    """One write, before it is done."""

    number: int
    """Its place among all writes that came, from 1."""
    verb: str
    """The HTTP method."""
    resource: str
    """Such as ``pods`` or ``agentruns/status``."""
    name: str
    """Of the object."""


@dataclass(frozen=True)
class Write:
    """One write and what became of it."""

    asked: Asked
    code: int
    """The API server's answer, or the proxy's if it was refused here."""
    fault: str = ""
    """What was done to it; empty: nothing."""
    version: str = ""
    """The object's resourceVersion after it; empty if the answer names none."""

    @property
    def done(self) -> bool:
        """Whether the API server carried it out."""
        return self.code < _REFUSED


@dataclass(frozen=True)
class Refusal:
    """An answer in the API server's place."""

    code: int
    reason: str
    retry_after: int | None = None


_NO_ANSWER = Refusal(504, "Timeout")


class Faults:
    """None. Kinds of faults override what they need."""

    def refuse(self, asked: Asked) -> Refusal | None:
        """Answer a write in the API server's place; it is not done."""
        return None

    def loses(self, asked: Asked) -> bool:
        """Whether the answer to a write that was done is lost."""
        return False

    def may_renew(self, holder: str) -> bool:
        """Whether the API server answers this holder's renewals of its Lease."""
        return True

    async def done(self, write: Write) -> None:
        """The API server has carried out a write, and its answer has not been given yet."""

    async def given(self, write: Write) -> None:
        """The answer to a write has been given, or lost."""

    async def over(self) -> None:
        """Return when no fault is under way."""

    def listed(self, resource: str, listing: JsonObject) -> JsonObject:
        """What a list tells."""
        return listing

    async def lines(self, resource: str, event: JsonObject) -> AsyncIterator[JsonObject]:
        """What a watch tells in place of an event. Raises Cut to end the watch instead."""
        yield event


class Cut(Exception):  # noqa: N818 - it says what happens
    """The connection ends here."""


@dataclass
class FaultProxy:
    """The proxy, while it serves."""

    server: str
    session: aiohttp.ClientSession
    log_of: Callable[[str], str] | None
    """The agent's log, by the name of its pod. None: the API server is asked."""
    faults: Faults = field(default_factory=Faults)
    writes: list[Write] = field(default_factory=list)
    """All that came, in the order in which they were settled."""
    asked: int = 0
    _watching: set[asyncio.Task[Any]] = field(default_factory=set)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Any request."""
        resource, name = _target(request.path)
        if request.method == "GET" and resource == "pods/log" and self.log_of is not None:
            return web.Response(text=self.log_of(name))
        if request.query.get("watch") == "true":
            watching = asyncio.create_task(self._watch(request, resource))
            self._watching.add(watching)
            watching.add_done_callback(self._watching.discard)
            return await watching
        if request.method in _WRITES and resource != _LEASES:
            return await self._write(request, resource, name)
        if request.method == "PUT" and resource == _LEASES:
            spec = json.loads(await request.read())["spec"]
            if not self.faults.may_renew(spec.get("holderIdentity") or ""):
                return _refused(_NO_ANSWER)
        answer = await self._relay(request)
        if request.method == "GET" and resource and not name and answer.status < _REFUSED:
            return web.json_response(self.faults.listed(resource, json.loads(answer.body or b"")))
        return answer

    async def close(self) -> None:
        """End the watches, which do not end by themselves."""
        for watching in self._watching:
            watching.cancel()
        await asyncio.gather(*self._watching, return_exceptions=True)

    async def _relay(self, request: web.Request) -> web.Response:
        url, body = self.server + request.path_qs, await request.read()
        async with self.session.request(request.method, url, headers=_headers(request), data=body or None) as answer:
            return web.Response(
                status=answer.status, body=await answer.read(), headers={"Content-Type": answer.content_type}
            )

    async def _write(self, request: web.Request, resource: str, name: str) -> web.StreamResponse:
        body = await request.read()
        self.asked += 1
        asked = Asked(self.asked, request.method, resource, name or _name_in(body))
        refusal = self.faults.refuse(asked)
        if refusal is not None:
            self.writes.append(Write(asked, refusal.code, fault=f"{refusal.code}"))
            return _refused(refusal)
        answer = await self._relay(request)
        lost = self.faults.loses(asked)
        write = Write(asked, answer.status, "answer lost" if lost else "", _version_in(answer.body))
        self.writes.append(write)
        await self.faults.done(write)
        if lost:
            _hang_up(request)
        else:
            with suppress(OSError):  # whoever asked is gone
                await answer.prepare(request)
                await answer.write_eof()
        await self.faults.given(write)
        return answer

    async def _watch(self, request: web.Request, resource: str) -> web.StreamResponse:
        url = self.server + request.path_qs
        async with self.session.get(url, headers=_headers(request), timeout=_NO_LIMIT) as source:
            out = web.StreamResponse(status=source.status, headers={"Content-Type": source.content_type})
            with suppress(OSError, aiohttp.ClientError):
                await out.prepare(request)
                try:
                    async for line in source.content:
                        async for event in self.faults.lines(resource, json.loads(line)):
                            await out.write(json.dumps(event).encode() + b"\n")
                except Cut:
                    _hang_up(request)
        return out


def _version_in(body: Any) -> str:
    return str((json.loads(body).get("metadata") or {}).get("resourceVersion") or "")


def _headers(request: web.Request) -> dict[str, str]:
    kept = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
    return {**kept, "Accept-Encoding": "identity"}


def _hang_up(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


def _refused(refusal: Refusal) -> web.Response:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": refusal.code, "reason": refusal.reason}
    headers = {} if refusal.retry_after is None else {"Retry-After": str(refusal.retry_after)}
    return web.json_response({**body, "message": "refused by the test"}, status=refusal.code, headers=headers)


def _target(path: str) -> tuple[str, str]:
    """Resource (with its part) and name of a path of the Kubernetes API; what is no resource is ``""``."""
    parts = path.strip("/").split("/")
    parts = parts[2:] if parts[0] == "api" else parts[3:]
    if parts[:1] == ["namespaces"] and len(parts) > 2:
        parts = parts[2:]
    resource, name, part = [*parts, "", "", ""][:3]
    return f"{resource}/{part}" if part else resource, name


def _name_in(body: bytes) -> str:
    return str(json.loads(body)["metadata"].get("name", "")) if body else ""


@asynccontextmanager
async def fault_proxy(
    kubeconfig: str, folder: Path, *, log_of: Callable[[str], str] | None
) -> AsyncIterator[tuple[FaultProxy, str]]:
    """A proxy before the API server of a kubeconfig, and the kubeconfig that leads to it."""
    connection = await Connection.open(kubeconfig=kubeconfig)
    proxy = FaultProxy(connection.server, connection.new_session(), log_of)
    app = web.Application(client_max_size=2**25)
    app.router.add_route("*", "/{path:.*}", proxy.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        file = folder / "proxied.conf"
        file.write_text(json.dumps(_kubeconfig(port=runner.addresses[0][1])))
        yield proxy, str(file)
    finally:
        await proxy.close()
        await runner.cleanup()
        await connection.close()
        await asyncio.sleep(0)


def _kubeconfig(*, port: int) -> JsonObject:
    cluster = {"name": "proxied", "cluster": {"server": f"http://127.0.0.1:{port}"}}
    context = {"name": "proxied", "context": {"cluster": "proxied", "user": "proxied"}}
    users = [{"name": "proxied", "user": {"token": "none"}}]
    named = {"clusters": [cluster], "contexts": [context], "users": users, "current-context": "proxied"}
    return {"apiVersion": "v1", "kind": "Config", **named}
