"""One Application of Argo CD, and every verdict that it ever had."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from argocd.argo import ArgoCD
from argocd.repository import Repository
from laneway.kube.client import Kube
from laneway.kube.resources import JsonObject, Resource
from support.witness import Witness, witness

APPLICATIONS = Resource("argoproj.io", "v1alpha1", "applications", "Application")
_REFRESH = "argocd.argoproj.io/refresh"


@dataclass(frozen=True)
class Verdict:
    """What Argo CD says of an Application."""

    sync: str
    health: str
    operation: str


@dataclass
class Application:
    """An Application that syncs a repository to a namespace by itself, heals and prunes."""

    argo: ArgoCD
    kube: Kube
    name: str
    seen: Witness

    @property
    def object(self) -> JsonObject:
        """As it was last seen."""
        events = self.seen.of(self.name)
        return events[-1].object if events else {}

    @property
    def verdict(self) -> Verdict:
        """The last one."""
        return _verdict(self.object)

    def verdicts(self, *, since: int = 0) -> list[Verdict]:
        """All from the event of this number on."""
        return [_verdict(event.object) for event in self.seen.events[since:]]

    @property
    def count(self) -> int:
        """How many events there were."""
        return len(self.seen.events)

    def health_of(self, kind: str, name: str) -> tuple[str, str]:
        """Status and message of one object's health, as the Application has it."""
        for one in (self.object.get("status") or {}).get("resources") or ():
            if (one["kind"], one["name"]) == (kind, name):
                health = one.get("health") or {}
                return health.get("status", ""), health.get("message", "")
        return "", ""

    async def until(self, true: Callable[[], object], *, seconds: float = 60) -> None:
        """Wait until something is true of what was seen."""
        try:
            await self.seen.until(true, seconds=seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}; now {self.verdict}, {self.object.get('status')}") from None

    async def says(self, sync: str, health: str, *, seconds: float = 60) -> None:
        """Wait for a verdict."""
        await self.until(lambda: (self.verdict.sync, self.verdict.health) == (sync, health), seconds=seconds)

    async def healthy_as(self, kind: str, expected: dict[str, tuple[str, str]]) -> None:
        """Wait until objects, by name, have these statuses of health, and messages that begin so."""

        def found() -> dict[str, tuple[str, str]]:
            return {name: self.health_of(kind, name) for name in expected}

        def all_right() -> bool:
            return all(
                is_[0] == want[0] and is_[1].startswith(want[1])
                for is_, want in zip(found().values(), expected.values(), strict=True)
            )

        try:
            await self.seen.until(all_right, seconds=90)
        except AssertionError as error:
            raise AssertionError(f"{found()}, not {expected}") from error

    async def refresh(self) -> None:
        """Have it compared with Git now, and wait until that is done."""
        patch = {"metadata": {"annotations": {_REFRESH: "normal"}}}
        await self.kube.merge_patch(APPLICATIONS, self.argo.namespace, self.name, patch)
        deadline = time.monotonic() + 60
        while _REFRESH in ((await self._read())["metadata"].get("annotations") or {}):
            assert time.monotonic() < deadline, "it was not refreshed"
            await asyncio.sleep(0.05)

    async def sync(self, *flags: str) -> None:
        """``argocd app sync``: applies everything again, whether it differs or not. It waits for the operation's end.

        One that the controller has begun by itself is waited for: it refuses a second one.
        """
        await asyncio.to_thread(self.argo.cli, "app", "wait", self.name, "--operation", "--timeout=60")
        await asyncio.to_thread(self.argo.cli, "app", "sync", self.name, *flags)

    async def _read(self) -> JsonObject:
        return await self.kube.get(APPLICATIONS, self.argo.namespace, self.name)


def _verdict(application: JsonObject) -> Verdict:
    status = application.get("status") or {}
    return Verdict(
        (status.get("sync") or {}).get("status", ""),
        (status.get("health") or {}).get("status", ""),
        (status.get("operationState") or {}).get("phase", ""),
    )


def spec(repository: Repository, namespace: str, *options: str) -> JsonObject:
    """An Application's spec that syncs by itself, heals and prunes, with these sync options."""
    return {
        "project": "default",
        "source": {"repoURL": repository.url, "path": ".", "targetRevision": "main"},
        "destination": {"server": "https://kubernetes.default.svc", "namespace": namespace},
        "syncPolicy": {"automated": {"prune": True, "selfHeal": True}, "syncOptions": list(options)},
    }


@asynccontextmanager
async def application(
    argo: ArgoCD, kube: Kube, namespace: str, repository: Repository, *options: str
) -> AsyncIterator[Application]:
    """An Application of the plainest kind, named after its namespace."""
    async with applied(argo, kube, namespace, spec(repository, namespace, *options)) as app:
        yield app


@asynccontextmanager
async def applied(argo: ArgoCD, kube: Kube, name: str, spec: JsonObject) -> AsyncIterator[Application]:
    """An Application with this spec; its objects stay when it goes."""
    async with witness(kube, APPLICATIONS, argo.namespace) as seen:
        made = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": {"name": name}, "spec": spec}
        await kube.create(APPLICATIONS, argo.namespace, made)
        try:
            yield Application(argo, kube, name, seen)
        finally:
            await kube.delete(APPLICATIONS, argo.namespace, name)
