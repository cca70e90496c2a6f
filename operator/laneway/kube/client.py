"""The only client of the Kubernetes API: plain dicts in and out, our errors, time limits, a bound on parallel requests.

Reads are retried here, a bounded number of times. Writes are never: whoever writes decides with a fresh view. A write is
refused when the write guard says no: asked after the wait for a free place, and again when the connection is there and
the next step is to hand the whole request to the kernel. From there on it has 4 s on the server. So a write that the guard
let through 10 s after the last renewal of the Lease has settled before the Lease can change hands at 15 s. A process that is
stopped within the some 50 microseconds of that last step could still send late; the preconditions of each write stop that.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias
from urllib.parse import urlencode

import aiohttp
from prometheus_client import Counter, Histogram

from laneway.api.names import SPEC_MANAGER, STATUS_MANAGER
from laneway.kube.connection import Connection
from laneway.kube.errors import Conflict, NotFound, NotLeader, Unavailable, error_of
from laneway.kube.metadata import Page
from laneway.kube.resources import PODS, JsonObject, Resource, uid_of
from laneway.kube.table import Listed

PAGE = 500
_PARALLEL = 64
_READ_TRIES = 4
_READ_BACKOFF_SECONDS = 0.2
_RETRY_AFTER_LIMIT_SECONDS = 10.0
_READ_LIMIT = aiohttp.ClientTimeout(total=30, sock_connect=5)
_WRITE_LIMIT = aiohttp.ClientTimeout(total=6, sock_connect=2)
_WRITE_SERVER_LIMIT = "4s"
_WATCH_SECONDS = 60
_WATCH_LIMIT = aiohttp.ClientTimeout(total=75, sock_connect=5)
_METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_MERGE_PATCH = "application/merge-patch+json"
_APPLY_PATCH = "application/apply-patch+yaml"
_METHODS = {"create": "POST", "apply": "PATCH", "patch": "PATCH", "replace": "PUT", "delete": "DELETE"}
_FIRST_ERROR = 400

REQUESTS = Counter(
    "laneway_kube_requests",
    "Requests to the Kubernetes API by verb, resource and HTTP status; code is 'none' when there was no answer.",
    ["verb", "resource", "code"],
)
SECONDS = Histogram(
    "laneway_kube_request_seconds",
    "Seconds from sending a request to the Kubernetes API until its answer was read; of a watch, until it began.",
    ["verb", "resource"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)

Query: TypeAlias = Mapping[str, str | int | None]


@dataclass(frozen=True)
class Listing:
    """All objects of a list, and the version of the resource at which they were read."""

    items: list[JsonObject]
    resource_version: str


@dataclass(frozen=True)
class WatchEvent:
    """One line of a watch: ADDED, MODIFIED, DELETED, or BOOKMARK, which carries only a resourceVersion."""

    type: str
    object: JsonObject


@dataclass(frozen=True)
class _Call:
    """One request, before it is sent."""

    verb: str
    resource: Resource
    path: str
    query: Query
    limit: aiohttp.ClientTimeout = _READ_LIMIT
    accept: str = "application/json"
    content_type: str = "application/json"
    body: JsonObject | None = None

    @property
    def method(self) -> str:
        return _METHODS.get(self.verb, "GET")

    @property
    def target(self) -> str:
        given = {name: value for name, value in self.query.items() if value not in (None, "")}
        return f"{self.path}?{urlencode(given)}" if given else self.path


class Kube:
    """The Kubernetes API. Every method raises KubeError."""

    def __init__(
        self, connection: Connection, *, write_guard: Callable[[], bool] | None = None, manager: str = SPEC_MANAGER
    ) -> None:
        self._connection = connection
        self._manager = manager
        self._may_write = write_guard or (lambda: True)
        self._places = asyncio.Semaphore(_PARALLEL)

    @classmethod
    async def connect(cls, *, write_guard: Callable[[], bool] | None = None, kubeconfig: str | None = None) -> Kube:
        """Connect with ``kubeconfig``, else the pod's service account, else the file that KUBECONFIG names."""
        return cls(await Connection.open(kubeconfig=kubeconfig), write_guard=write_guard)

    async def close(self) -> None:
        """Close all connections."""
        await self._connection.close()

    # Reading

    async def get(self, resource: Resource, namespace: str | None, name: str) -> JsonObject:
        """One object, read from the store. Raises NotFound."""
        return await self._read(_Call("get", resource, resource.path(namespace, name), {}))

    async def list(
        self,
        resource: Resource,
        *,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
    ) -> Listing:
        """All objects at one version, read in pages; without a namespace, those of the whole cluster."""
        items: list[JsonObject] = []
        version = ""
        async for page in self.pages(
            resource, namespace=namespace, label_selector=label_selector, field_selector=field_selector
        ):
            items += page.items
            version = page.resource_version
        return Listing(items, version)

    async def pages(
        self,
        resource: Resource,
        *,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
    ) -> AsyncGenerator[Listing]:
        """The pages of a list, all of one version, each emptied before the next is read: two are never held at once.

        Raises Gone if the reader took minutes and the next page expired.
        """
        query: dict[str, str | int | None] = {
            "limit": PAGE,
            "labelSelector": label_selector,
            "fieldSelector": field_selector,
        }
        while True:
            answer = await self._read(_Call("list", resource, resource.path(namespace), query))
            meta = answer["metadata"]
            page = Listing(answer.pop("items", None) or [], meta["resourceVersion"])
            yield page
            page.items.clear()
            if not meta.get("continue"):
                return
            query["continue"] = meta["continue"]

    async def lines(
        self, resource: Resource, *, namespace: str | None = None, label_selector: str | None = None
    ) -> tuple[Sequence[Listed], int]:
        """What a list tells of each object, without the objects; and the version that it was read at."""
        query: dict[str, str | int | None] = {"limit": PAGE, "labelSelector": label_selector}
        lines: list[Listed] = []
        while True:
            call = _Call("list", resource, resource.path(namespace), query, accept=_METADATA_LIST)
            page = Page.model_validate_json(await self._retrying(call))
            lines += page.lines
            if not page.metadata.following:
                return lines, page.metadata.resource_version
            query["continue"] = page.metadata.following

    async def read_log(
        self, namespace: str, pod: str, *, container: str, tail_lines: int, limit_bytes: int, timestamps: bool = False
    ) -> str:
        """The last lines of a container's log, cut after ``limit_bytes``; bytes that are not UTF-8 are replaced.

        ``timestamps``: each line begins with when it was written, in RFC 3339, and a space.
        """
        query: Query = {
            "container": container,
            "tailLines": tail_lines,
            "limitBytes": limit_bytes,
            "timestamps": "true" if timestamps else None,
        }
        call = _Call("log", PODS, PODS.path(namespace, pod, "log"), query, accept="*/*")
        return (await self._retrying(call)).decode("utf-8", "replace")

    async def watch(
        self,
        resource: Resource,
        *,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
        resource_version: str,
    ) -> AsyncGenerator[WatchEvent]:
        """Changes after ``resource_version``, bookmarks included; ends when the server ends it, after about a minute.

        Raises Gone if the version is no longer kept, Unavailable if the stream breaks or falls silent.
        """
        query: Query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": _WATCH_SECONDS,
            "resourceVersion": resource_version,
            "labelSelector": label_selector,
            "fieldSelector": field_selector,
        }
        call = _Call("watch", resource, resource.path(namespace), query, limit=_WATCH_LIMIT)
        response = await self._send(call)
        try:
            async for line in response.content:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise error_of(status=int(event["object"].get("code") or 500), body=event["object"])
                yield WatchEvent(event["type"], event["object"])
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise Unavailable(f"the watch broke: {_cause(error)}") from error
        finally:
            response.close()

    # Writing

    async def create(
        self, resource: Resource, namespace: str | None, body: JsonObject, *, dry_run: bool = False
    ) -> JsonObject:
        """Make an object; ``dry_run``: only say what it would be. Raises AlreadyExists if the name is taken."""
        query = {"fieldManager": self._manager, "dryRun": "All" if dry_run else None}
        return await self._write(_Call("create", resource, resource.path(namespace), query, body=body))

    async def apply_status(
        self, resource: Resource, namespace: str, name: str, *, status: JsonObject, resource_version: str, uid: str
    ) -> JsonObject:
        """Write the whole status by server-side apply. Raises Conflict if the object is not the one that was read.

        The version decides that (it is never used twice); the API server does not compare the uid of a status.
        """
        body = {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {"name": name, "namespace": namespace, "resourceVersion": resource_version, "uid": uid},
            "status": status,
        }
        path = resource.path(namespace, name, "status")
        # To warn of unknown fields, which nobody would read, the API server would parse the body a second time.
        query = {"fieldManager": STATUS_MANAGER, "force": "true", "fieldValidation": "Ignore"}
        return await self._write(_Call("apply", resource, path, query, body=body, content_type=_APPLY_PATCH))

    async def merge_patch(self, resource: Resource, namespace: str | None, name: str, body: JsonObject) -> JsonObject:
        """Change the fields in ``body``; ``metadata.resourceVersion`` and ``uid`` in it are preconditions."""
        path = resource.path(namespace, name)
        query = {"fieldManager": self._manager}
        return await self._write(_Call("patch", resource, path, query, body=body, content_type=_MERGE_PATCH))

    async def replace(self, resource: Resource, namespace: str | None, name: str, body: JsonObject) -> JsonObject:
        """Put the whole object; ``metadata.resourceVersion`` in it is the precondition."""
        query = {"fieldManager": self._manager}
        return await self._write(_Call("replace", resource, resource.path(namespace, name), query, body=body))

    async def delete(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
        grace_seconds: int | None = None,
    ) -> bool:
        """Ask for deletion; children go in the background. False: it, or the one of that uid, was gone already.

        Raises Conflict, also if it is not in the ``resource_version`` that is asked for.
        """
        options: JsonObject = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        wanted = {"uid": uid, "resourceVersion": resource_version}
        options["preconditions"] = {name: value for name, value in wanted.items() if value is not None}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        try:
            await self._write(_Call("delete", resource, resource.path(namespace, name), {}, body=options))
        except NotFound:
            return False
        except Conflict:
            if uid is None or await self._is_there(resource, namespace, name, uid):
                raise
            return False
        return True

    async def _is_there(self, resource: Resource, namespace: str | None, name: str, uid: str) -> bool:
        """Whether the object of this name is the one of this uid: a conflict may mean that, or another one."""
        try:
            return uid_of(await self.get(resource, namespace, name)) == uid
        except NotFound:
            return False

    # Sending

    async def _read(self, call: _Call) -> JsonObject:
        return _parsed(await self._retrying(call))

    async def _retrying(self, call: _Call) -> bytes:
        for attempt in range(_READ_TRIES - 1):
            try:
                return await self._exchange(call)
            except Unavailable as error:
                pause = max(_READ_BACKOFF_SECONDS * 2**attempt, error.retry_after or 0.0)
                if pause > _RETRY_AFTER_LIMIT_SECONDS:
                    raise
            await asyncio.sleep(pause)
        return await self._exchange(call)

    async def _write(self, call: _Call) -> JsonObject:
        query = {**call.query, "timeout": _WRITE_SERVER_LIMIT}
        return _parsed(await self._exchange(replace(call, query=query, limit=_WRITE_LIMIT), guarded=True))

    def _check_guard(self) -> None:
        if not self._may_write():
            raise NotLeader("the write was not sent: this process may no longer write")

    async def _exchange(self, call: _Call, *, guarded: bool = False) -> bytes:
        async with self._places:
            check = self._check_guard if guarded else None
            if check:
                check()
            started = time.monotonic()
            response = await self._send(call, check)
            try:
                answer = await response.read()
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise Unavailable(f"the answer broke off: {_cause(error)}") from error
            finally:
                response.release()
            SECONDS.labels(call.verb, call.resource.plural).observe(time.monotonic() - started)
            return answer

    async def _send(self, call: _Call, check: Callable[[], None] | None = None) -> aiohttp.ClientResponse:
        """Send it and read the head of the answer; an answer that is not a success is raised as its error."""
        try:
            response = await self._connection.request(
                call.method,
                call.target,
                limit=call.limit,
                accept=call.accept,
                content_type=call.content_type,
                body=call.body,
                before_body=check,
            )
            code = response.status
            refusal = await response.read() if code >= _FIRST_ERROR else None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if isinstance(error.__cause__, NotLeader):
                raise error.__cause__ from None
            REQUESTS.labels(call.verb, call.resource.plural, "none").inc()
            raise Unavailable(f"no answer from the API server: {_cause(error)}") from error
        REQUESTS.labels(call.verb, call.resource.plural, str(code)).inc()
        if refusal is not None:
            raise error_of(status=code, body=refusal, retry_after=response.headers.get("Retry-After"))
        return response


def _parsed(answer: bytes) -> JsonObject:
    parsed: JsonObject = json.loads(answer)
    return parsed


def _cause(error: BaseException) -> str:
    return str(error) or type(error).__name__
