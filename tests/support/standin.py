"""A stand-in for node and kubelet where the tests have an API server only: it binds our pods and tells how they fare.

It writes what a kubelet writes, in the same order: bound, Running, then an exit code with a termination message; on deletion the
end of the containers first and the object's removal (grace 0) after it, so that a stopping pod is seen as stopping.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import ClientError
from kubernetes.aio import config
from kubernetes.aio.client import CoreV1Api
from kubernetes.aio.client.exceptions import ApiException

from laneway.api import names
from laneway.api.base import format_time
from laneway.kube.client import Kube
from laneway.kube.errors import Gone, Unavailable
from laneway.kube.resources import NODES, PODS, JsonObject

_MERGE = "application/merge-patch+json"
_STRATEGIC = "application/strategic-merge-patch+json"
_TERMINATED = 143
_PAUSE_SECONDS = 0.2
"""Before it asks again an API server that is away."""
_BEAT_SECONDS = 10


@dataclass
class Part:
    """How the pods of one run fare."""

    runs_seconds: float = 0.1
    exit_code: int = 0
    message: str = "Paris."
    reason: str = ""
    """Why the pod ended, if not by itself, such as ``Evicted``."""
    stops_seconds: float = 0.05
    """How long a deleted pod needs to leave."""
    starts: bool = True
    released: asyncio.Event = field(default_factory=asyncio.Event)
    """The agent works on until this is set, whatever ``runs_seconds`` says; set from the start unless ``held``."""

    def __post_init__(self) -> None:
        self.released.set()

    @classmethod
    def held(cls, **changes: Any) -> Part:
        """An agent that works until the test lets it go."""
        part = cls(runs_seconds=0, **changes)
        part.released.clear()
        return part


class NodeStandIn:
    """Nodes of the test's own, one at a time, and what their kubelet would say."""

    def __init__(self, kube: Kube, core: CoreV1Api, namespace: str) -> None:
        self._kube = kube
        self._core = core
        self._namespace = namespace
        self._nodes: list[str] = []
        self._parts: dict[str, Part] = {}
        self.default = Part()
        """The part of runs that have none of their own."""
        self._lives: dict[str, asyncio.Task[None]] = {}
        self._stops: dict[str, asyncio.Task[None]] = {}

    def play(self, run: str, part: Part) -> Part:
        """Say how the pods of a run fare from now on."""
        self._parts[run] = part
        return part

    async def serve(self) -> None:
        """Look after all pods of the namespace until cancelled."""
        try:
            while True:
                try:
                    await self._follow()
                except (Gone, Unavailable):
                    await asyncio.sleep(_PAUSE_SECONDS)
        finally:
            tasks = (*self._lives.values(), *self._stops.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self) -> None:
        listing = await self._kube.list(PODS, namespace=self._namespace, label_selector=names.RUN_UID_LABEL)
        for pod in listing.items:
            self._see(pod)
        watch = self._kube.watch(
            PODS,
            namespace=self._namespace,
            label_selector=names.RUN_UID_LABEL,
            resource_version=listing.resource_version,
        )
        async with aclosing(watch):
            async for event in watch:
                if event.type in {"ADDED", "MODIFIED"}:
                    self._see(event.object)

    def _see(self, pod: JsonObject) -> None:
        uid = pod["metadata"]["uid"]
        if uid not in self._lives:
            self._lives[uid] = asyncio.create_task(self._live(pod))
        if "deletionTimestamp" in pod["metadata"] and uid not in self._stops:
            self._lives[uid].cancel()
            self._stops[uid] = asyncio.create_task(self._stop(pod))

    def _part(self, pod: JsonObject) -> Part:
        return self._parts.get(pod["metadata"]["labels"][names.RUN_LABEL], self.default)

    async def _live(self, pod: JsonObject) -> None:
        part = self._part(pod)
        if not (pod.get("spec") or {}).get("nodeName"):
            await self._bind(pod)
        if not part.starts:
            return
        started = _now()
        await self._tell(pod, "Running", ready=True, state={"running": {"startedAt": started}})
        await asyncio.sleep(part.runs_seconds)
        await part.released.wait()
        await self._end(pod, started, part.exit_code, part.message, reason=part.reason)

    async def _stop(self, pod: JsonObject) -> None:
        """SIGTERM, the wait for the agent to leave, the end of its container, and the removal."""
        await asyncio.sleep(self._part(pod).stops_seconds)
        if (pod.get("status") or {}).get("phase") in {"Pending", "Running"}:
            await self._end(pod, _now(), _TERMINATED, "")
        meta = pod["metadata"]
        await self._kube.delete(PODS, meta["namespace"], meta["name"], uid=meta["uid"], grace_seconds=0)

    async def _end(self, pod: JsonObject, started: str, code: int, message: str, *, reason: str = "") -> None:
        ended = {"exitCode": code, "reason": "Completed" if code == 0 else "Error", "message": message}
        ended |= {"startedAt": started, "finishedAt": _now()}
        phase = "Succeeded" if code == 0 else "Failed"
        await self._tell(pod, phase, ready=False, state={"terminated": ended}, reason=reason)

    async def _bind(self, pod: JsonObject) -> None:
        meta = pod["metadata"]
        body = {
            "metadata": {"name": meta["name"], "uid": meta["uid"]},
            "target": {"kind": "Node", "name": self._nodes[-1]},
        }
        with suppress(ApiException):  # gone in between
            answer = await self._core.create_namespaced_pod_binding_without_preload_content(
                meta["name"], meta["namespace"], body
            )
            await answer.read()

    async def _tell(self, pod: JsonObject, phase: str, *, ready: bool, state: JsonObject, reason: str = "") -> None:
        meta = pod["metadata"]
        container = {"name": names.AGENT_CONTAINER, "image": "i", "imageID": "i", "restartCount": 0, "ready": ready}
        status = {
            "phase": phase,
            "reason": reason or None,
            "conditions": [
                {"type": "PodScheduled", "status": "True", "lastTransitionTime": _now()},
                {"type": "Ready", "status": str(ready), "lastTransitionTime": _now()},
            ],
            "containerStatuses": [{**container, "state": state}],
        }
        body = {"metadata": {"uid": meta["uid"]}, "status": status}
        with suppress(ApiException):  # gone in between
            answer = await self._core.patch_namespaced_pod_status_without_preload_content(
                meta["name"], meta["namespace"], body, _content_type=_MERGE
            )
            await answer.read()

    async def runs(self, pod: JsonObject) -> None:
        """Tell that a pod runs which is none of a run's."""
        await self._tell(pod, "Running", ready=True, state={"running": {"startedAt": _now()}})

    async def lose(self, pod: JsonObject) -> None:
        """What the node controller writes about a node that no longer answers, and about its pod; later pods go to a new node."""
        gone = {"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown", "lastTransitionTime": _now()}
        answer = await self._core.patch_node_status_without_preload_content(
            self._nodes[-1], {"status": {"conditions": [gone]}}, _content_type=_STRATEGIC
        )
        await answer.read()
        meta = pod["metadata"]
        unready = {"type": "Ready", "status": "False", "reason": "NodeNotReady", "lastTransitionTime": _now()}
        answer = await self._core.patch_namespaced_pod_status_without_preload_content(
            meta["name"], meta["namespace"], {"status": {"conditions": [unready]}}, _content_type=_STRATEGIC
        )
        await answer.read()
        await self.add_node()

    async def add_node(self) -> None:
        """Make a node for the pods from now on, so that nobody takes them for orphans."""
        name = f"node-{self._namespace}-{len(self._nodes)}"
        ready = {"type": "Ready", "status": "True", "reason": "StandIn", "lastHeartbeatTime": _now()}
        await self._kube.create(NODES, None, {"metadata": {"name": name}, "status": {"conditions": [ready]}})
        self._nodes.append(name)

    async def answers_at(self, address: str, port: int) -> None:
        """Say where the kubelet of the newest node can be asked for logs."""
        status = {
            "addresses": [{"type": "InternalIP", "address": address}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
        }
        answer = await self._core.patch_node_status_without_preload_content(
            self._nodes[-1], {"status": status}, _content_type=_STRATEGIC
        )
        await answer.read()

    async def beat(self) -> None:
        """Say every few seconds that the newest node is well, until cancelled: one that is not heard of for 40 s counts as lost."""
        while True:
            await asyncio.sleep(_BEAT_SECONDS)
            ready = {"type": "Ready", "status": "True", "reason": "StandIn", "lastHeartbeatTime": _now()}
            with suppress(ApiException, ClientError, TimeoutError):  # the next one will do
                answer = await self._core.patch_node_status_without_preload_content(
                    self._nodes[-1], {"status": {"conditions": [ready]}}, _content_type=_STRATEGIC
                )
                await answer.read()

    async def remove_nodes(self) -> None:
        """Take the nodes away."""
        for name in self._nodes:
            await self._kube.delete(NODES, None, name)


@asynccontextmanager
async def node_stand_in(kube: Kube, *, kubeconfig: str, namespace: str) -> AsyncIterator[NodeStandIn]:
    """A node for the pods of one namespace."""
    async with await config.new_client_from_config(kubeconfig) as client:
        node = NodeStandIn(kube, CoreV1Api(client), namespace)
        await node.add_node()
        serving = [asyncio.create_task(node.serve()), asyncio.create_task(node.beat())]
        try:
            yield node
        finally:
            for task in serving:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            await node.remove_nodes()


def _now() -> str:
    return format_time(datetime.now(UTC))
