"""Objects in memory behind the methods of Kube that the operator uses, for orders of events that no real server can be made to show."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

from laneway.kube.errors import AlreadyExists, Conflict, KubeError, NotFound
from laneway.kube.resources import PODS, JsonObject, Resource

Where = tuple[Resource, str | None, str]


class MemoryKube:
    """Answers like the API server; writes can be held up, fail before or after they were done."""

    def __init__(self) -> None:
        self.objects: dict[Where, JsonObject] = {}
        self.writes: list[tuple[str, str]] = []
        """Verb with resource, and name, of every write that was tried."""
        self.reads: list[tuple[str, str]] = []
        """Resource and name of every object that was asked for."""
        self.slow: Resource | None = None
        """Requests about it wait for ``gate``."""
        self.gate = asyncio.Event()
        self.fails: dict[Resource, KubeError] = {}
        """Raised by writes of a resource, after they were done if ``lands``."""
        self.lands = False
        self.logs: dict[str, str] = {}
        """What containers wrote, by pod."""
        self._version = 1000

    def add(self, resource: Resource, obj: JsonObject) -> JsonObject:
        """Put an object there as it is."""
        self.objects[resource, obj["metadata"].get("namespace"), obj["metadata"]["name"]] = obj
        return obj

    def change(self, resource: Resource, obj: JsonObject) -> JsonObject:
        """Put an object there as somebody else's write: with a version of its own."""
        self._version += 1
        meta = {**obj["metadata"], "resourceVersion": str(self._version)}
        return self.add(resource, {**obj, "metadata": meta})

    async def get(self, resource: Resource, namespace: str | None, name: str) -> JsonObject:
        self.reads.append((resource.plural, name))
        await self._wait(resource)
        if (resource, namespace, name) not in self.objects:
            raise NotFound(f"{resource.plural} {name} not found", status=404)
        return self.objects[resource, namespace, name]

    async def create(self, resource: Resource, namespace: str | None, body: JsonObject) -> JsonObject:
        name = body["metadata"]["name"]
        await self._before("create", resource, name)
        if (resource, namespace, name) in self.objects:
            raise AlreadyExists(f"{name} already exists", status=409)
        made = copy.deepcopy(body)
        made["metadata"] |= {"uid": f"made-{name}", "creationTimestamp": "2026-03-01T12:00:00Z"}
        return self._done(resource, made)

    async def apply_status(
        self, resource: Resource, namespace: str, name: str, *, status: JsonObject, resource_version: str, uid: str
    ) -> JsonObject:
        await self._before("apply", resource, name)
        now = self.objects.get((resource, namespace, name))
        if now is None:
            raise NotFound(f"{resource.plural} {name} not found", status=404)
        if (now["metadata"]["resourceVersion"], now["metadata"]["uid"]) != (resource_version, uid):
            raise Conflict(f"{name} has changed", status=409)
        return self._done(resource, {**copy.deepcopy(now), "status": status})

    async def merge_patch(self, resource: Resource, namespace: str | None, name: str, body: JsonObject) -> JsonObject:
        await self._before("patch", resource, name)
        now = self.objects.get((resource, namespace, name))
        if now is None:
            raise NotFound(f"{resource.plural} {name} not found", status=404)
        wanted = body["metadata"]
        if (now["metadata"]["resourceVersion"], now["metadata"]["uid"]) != (wanted["resourceVersion"], wanted["uid"]):
            raise Conflict(f"{name} has changed", status=409)
        labels = {**(now["metadata"].get("labels") or {}), **wanted.get("labels", {})}
        meta = {**now["metadata"], **({"labels": labels} if labels else {})}
        if "spec" not in body:
            return self._done(resource, {**copy.deepcopy(now), "metadata": meta})
        given = {**now["spec"], **body["spec"]}
        spec = {key: value for key, value in given.items() if value is not None}
        meta["generation"] = meta.get("generation", 0) + 1
        return self._done(resource, {**copy.deepcopy(now), "metadata": meta, "spec": spec})

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
        await self._before("delete", resource, name)
        now = self.objects.get((resource, namespace, name))
        if now is not None and resource_version not in (None, now["metadata"]["resourceVersion"]):
            raise Conflict(f"{name} has changed", status=409)
        return self.objects.pop((resource, namespace, name), None) is not None

    async def read_log(self, namespace: str, pod: str, **_: Any) -> str:
        if pod in self.logs:
            return self.logs[pod]
        raise self.fails.get(PODS) or NotFound("there is no log", status=404)

    async def _wait(self, resource: Resource) -> None:
        if resource is self.slow:
            await self.gate.wait()

    async def _before(self, verb: str, resource: Resource, name: str) -> None:
        self.writes.append((f"{verb} {resource.plural}", name))
        await self._wait(resource)
        if resource in self.fails and not self.lands:
            raise self.fails[resource]

    def _done(self, resource: Resource, obj: JsonObject) -> JsonObject:
        self._version += 1
        obj["metadata"]["resourceVersion"] = str(self._version)
        self.add(resource, obj)
        if resource in self.fails:
            raise self.fails[resource]
        return obj
