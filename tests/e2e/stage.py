"""One namespace of a test, with what the test puts there and sees there."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import manifests
from e2e.commands import kubectl, until
from laneway.api.names import RUN_UID_LABEL
from laneway.kube.client import Kube
from laneway.kube.errors import NotFound
from laneway.kube.resources import AGENT_RUNS, EVENTS, MODEL_LANES, PODS, JsonObject, Resource

NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
SERVICE_ACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount")
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
SLOW_STOP = 40.0
"""Seconds within which a pod that is told to stop is gone, on a busy machine."""


@dataclass(frozen=True)
class Stage:
    """A namespace and its objects."""

    kube: Kube
    namespace: str

    async def add_lane(self, spec: JsonObject | None = None, *, name: str = "lane") -> JsonObject:
        """A lane to the scripted server, looked at every second."""
        return await self.kube.create(MODEL_LANES, self.namespace, scripted_lane(spec, name=name))

    async def add_run(self, spec: JsonObject | None = None, *, name: str = "run") -> JsonObject:
        """A run on that lane."""
        return await self.kube.create(AGENT_RUNS, self.namespace, scripted_run(spec, name=name))

    async def lane(self, name: str = "lane") -> JsonObject:
        return await self.kube.get(MODEL_LANES, self.namespace, name)

    async def holds_no_slot(self, name: str = "lane") -> None:
        """The lane's status says so; it is written just after the status of the run that gave its slot back."""

        async def is_told() -> bool:
            return bool((await self.lane(name))["status"]["activeRuns"] == 0)

        await until(is_told, seconds=10, what=f"no slot of {name} is held")

    async def read(self, name: str = "run") -> JsonObject:
        return await self.kube.get(AGENT_RUNS, self.namespace, name)

    async def change(self, spec: JsonObject, *, name: str = "run") -> None:
        """Merge into the spec of a run."""
        await self.kube.merge_patch(AGENT_RUNS, self.namespace, name, {"spec": spec})

    async def finished(self, *runs: str, seconds: float = 60.0) -> list[JsonObject]:
        """The runs, once all have finished."""
        return list(await asyncio.gather(*(self._finished(name, seconds) for name in runs or ("run",))))

    async def _finished(self, name: str, seconds: float) -> JsonObject:
        seen: list[JsonObject] = []

        async def look() -> JsonObject | None:
            seen[:] = [await self.read(name)]
            return seen[0] if is_true(seen[0], "Finished") else None

        try:
            return await until(look, seconds=seconds, what=f"{self.namespace}/{name} finished")
        except AssertionError as error:
            raise AssertionError(f"{error}; it stands at {json.dumps([one.get('status') for one in seen])}") from None

    async def succeeded(self, *runs: str, seconds: float = 60.0) -> list[JsonObject]:
        """The runs, once all have ended well."""
        ended = await self.finished(*runs, seconds=seconds)
        for one in ended:
            assert is_true(one, "Succeeded"), f"{one['metadata']['name']} ended badly: {one['status']}"
        return ended

    async def says(self, kind: str, reason: str, *, name: str = "run", seconds: float = 30.0) -> JsonObject:
        """The condition of a run, once it has this reason."""
        return await self._says(lambda: self.read(name), kind, reason, seconds)

    async def waits_for_slot(self, words: str, *, name: str = "run", seconds: float = 30.0) -> None:
        """Wait until a run is told that it waits for a slot, in these words; before its turn is worked out there are others."""

        async def look() -> bool:
            found = condition(await self.read(name), "Admitted")
            return found.get("reason") == "WaitingForSlot" and words in found["message"]

        await until(look, seconds=seconds, what=f"{name} waits: {words}")

    async def lane_says(self, reason: str, *, name: str = "lane", seconds: float = 30.0) -> JsonObject:
        """The condition Ready of a lane, once it has this reason."""
        return await self._says(lambda: self.lane(name), "Ready", reason, seconds)

    async def _says(self, read: Any, kind: str, reason: str, seconds: float) -> JsonObject:
        async def look() -> JsonObject | None:
            found = condition(await read(), kind)
            return found if found.get("reason") == reason else None

        return await until(look, seconds=seconds, what=f"condition {kind} with reason {reason}")

    async def pods(self, run: JsonObject) -> list[JsonObject]:
        """The pods of a run, as they stand."""
        selector = f"{RUN_UID_LABEL}={run['metadata']['uid']}"
        return (await self.kube.list(PODS, namespace=self.namespace, label_selector=selector)).items

    async def running_pod(self, name: str = "run", *, attempt: int = 1, seconds: float = 40.0) -> JsonObject:
        """The pod of an attempt, once its agent runs."""

        async def look() -> JsonObject | None:
            run = await self.read(name)
            for pod in await self.pods(run):
                if (
                    pod["metadata"]["name"].endswith(f"-{attempt}")
                    and (pod.get("status") or {}).get("phase") == "Running"
                ):
                    return pod
            return None

        return await until(look, seconds=seconds, what=f"a running pod of attempt {attempt} of {name}")

    async def pods_gone(self, run: JsonObject, *, seconds: float = SLOW_STOP) -> None:
        """Wait until the run has no pod."""

        async def look() -> bool:
            return not await self.pods(run)

        await until(look, seconds=seconds, what="no pod left")

    async def delete_run(self, name: str = "run") -> None:
        with suppress(NotFound):
            await self.kube.delete(AGENT_RUNS, self.namespace, name)

    async def events(self, run: JsonObject, reason: str) -> list[JsonObject]:
        """The Events of a run that have this reason."""
        found = (await self.kube.list(EVENTS, namespace=self.namespace)).items
        return [
            one for one in found if one["reason"] == reason and one["regarding"].get("uid") == run["metadata"]["uid"]
        ]

    def said(self, run: JsonObject, *, attempt: int = -1) -> Any:
        """What the agent of a finished run printed, one JSON value."""
        return json.loads(self.log(run, attempt=attempt))

    def log(self, run: JsonObject, *, attempt: int = -1) -> str:
        """All that the agent printed."""
        return kubectl("logs", "--namespace", self.namespace, run["status"]["attempts"][attempt]["pod"])


@asynccontextmanager
async def new_stage(kube: Kube) -> AsyncIterator[Stage]:
    """A namespace of its own under Pod Security restricted; it goes, in the background, in the end."""
    name = f"e2e-{secrets.token_hex(3)}"
    await kube.create(NAMESPACES, None, {"metadata": {"name": name, "labels": RESTRICTED}})
    await until(lambda: kube.get(SERVICE_ACCOUNTS, name, "default"))
    yield Stage(kube=kube, namespace=name)
    await kube.delete(NAMESPACES, None, name)


def scripted_lane(spec: JsonObject | None = None, *, name: str = "lane") -> JsonObject:
    """A lane to the scripted model server, which speaks all wire APIs as Ollama does."""
    plain = {
        "endpoint": {"url": "http://scripted:8000", "server": "Ollama"},
        "models": [{"name": "scripted"}],
        "probe": {"periodSeconds": 1, "timeoutSeconds": 3},
    }
    return manifests.merged(manifests.lane(plain, name=name), {"spec": spec or {}})


def scripted_run(spec: JsonObject | None = None, *, name: str = "run") -> JsonObject:
    """A run on that lane."""
    return manifests.merged(manifests.run({"models": [{"lane": "lane"}]}, name=name), {"spec": spec or {}})


def condition(obj: JsonObject, kind: str) -> JsonObject:
    """A condition of an object; empty when it has none of that type."""
    found = (obj.get("status") or {}).get("conditions") or []
    return next((one for one in found if one["type"] == kind), {})


def is_true(obj: JsonObject, kind: str) -> bool:
    """Whether a condition holds."""
    return condition(obj, kind).get("status") == "True"


async def all_ended(stage: Stage, run: JsonObject) -> bool:
    """Whether every pod of a run is gone or has ended."""
    return all(pod["status"]["phase"] in {"Succeeded", "Failed"} for pod in await stage.pods(run))
