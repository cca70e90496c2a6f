"""One trial: the scenario on a stage of its own, behind the proxy, with an operator that is started again whenever it is gone."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from bench.programs import read
from crash.ending import Ending, ending, most_pods_at_once, told
from crash.scene import Scene, direct, log_of
from integration.operators import Program, Stage, free_ports, staged
from laneway.kube.client import Kube
from laneway.kube.errors import NotFound
from laneway.kube.resources import JsonObject, Resource
from support.faultproxy import FaultProxy, Write, fault_proxy

SILENT_ROUNDS = 3
"""So many times everything is looked at again, and nothing may be written."""
_LOOK_SECONDS = 30.0
_MOST_STARTS = 12
_SETTLE_SECONDS = 90.0
_NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
_ACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount")
_PASSES = re.compile(r"^laneway_reconciles_total\{.*\} ([0-9.e+]+)$", re.MULTILINE)
_WAITING = re.compile(r"^laneway_(?:queue_depth|events_waiting) ([0-9.e+]+)$", re.MULTILINE)

T = TypeVar("T")


@dataclass(frozen=True)
class Outcome:
    """What came of a trial."""

    ending: Ending
    told: list[str]
    """Events, one line each."""
    writes: list[Write]
    """All that came, up to the end of the last run and what it brought about."""
    later: list[Write]
    """Writes while everything was looked at again and nothing had changed."""
    most_pods: int
    """At once, on a lane of one slot."""
    starts: int
    """How many operators were started."""
    seconds: float
    gateways: int = 0
    """How many gateways were started."""
    deleted_again: int = 0
    """How often a pod's deletion may come again without any fault."""

    @property
    def done(self) -> Counter[tuple[str, str, str]]:
        """Writes that the API server carried out, by method, resource and object; Events apart."""
        return Counter(
            (write.asked.verb, write.asked.resource, _plain(write.asked.name))
            for write in self.writes
            if write.done and write.asked.resource != "events"
        )


class Trial:
    """A stage with its proxy. Faults may kill the operator by it."""

    def __init__(self, stage: Stage, proxy: FaultProxy, scene: Scene) -> None:
        self.stage = stage
        self.proxy = proxy
        self.scene = scene
        self._metrics = ""

    @property
    def operator(self) -> Program:
        """The one that was started last."""
        return self.stage.operators[-1]

    def start(self) -> None:
        """Start an operator, whose metrics are looked at from now on."""
        [port] = free_ports(1)
        self.stage.settings["LANEWAY_METRICS_PORT"] = str(port)
        self._metrics = f"http://127.0.0.1:{port}/metrics"
        self.stage.start()
        del self.stage.settings["LANEWAY_METRICS_PORT"]  # gateways have their own

    async def run(self, is_expected: Callable[[Ending], bool] = lambda found: True) -> Outcome:
        """Play the scenario, and wait a while for an end that is expected: a write that failed is made up for later."""
        began = time.monotonic()
        await self.scene.set_up()
        self.start()
        keeping = asyncio.create_task(self._keep_up())
        try:
            await self._unless_broken(self.scene.play(), keeping)
            await self._unless_broken(self.proxy.faults.over(), keeping)
            found = await self._unless_broken(self._settle(is_expected), keeping)
            writes = list(self.proxy.writes)
            for _ in range(SILENT_ROUNDS):
                await self._unless_broken(self._look_at_everything(), keeping)
            later = self.proxy.writes[len(writes) :]
        finally:
            keeping.cancel()
            with suppress(asyncio.CancelledError):
                await keeping
        words = await told(self.stage, self.scene)
        return Outcome(
            found,
            words,
            writes,
            later,
            most_pods_at_once(self.stage),
            len(self.stage.operators),
            time.monotonic() - began,
            len(self.stage.gateways),
            self.scene.deleted_again,
        )

    async def _keep_up(self) -> None:
        """Start an operator again whenever it is gone, as the kubelet does; nobody waits for the Lease of the dead."""
        while True:
            if self.operator.code is not None:
                assert len(self.stage.operators) < _MOST_STARTS, "the operator ends again and again"
                with suppress(NotFound):
                    await self.stage.free_lease()
                self.start()
            await asyncio.sleep(0.01)

    async def _unless_broken(self, work: Coroutine[Any, Any, T], keeping: asyncio.Task[None]) -> T:
        """The work's answer, unless no operator could be kept up."""
        doing = asyncio.create_task(work)
        await asyncio.wait((doing, keeping), return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            doing.cancel()
            keeping.result()
        return doing.result()

    async def _settle(self, is_expected: Callable[[Ending], bool]) -> Ending:
        """Wait for an expected end, or for one that a look at everything leaves as it is."""
        deadline = time.monotonic() + _SETTLE_SECONDS
        while True:
            before = self.proxy.asked
            await self._look_at_everything()
            found = await ending(self.stage, self.scene)
            is_quiet = self.proxy.asked == before and all(_is_empty(lane) for lane in found.lanes.values())
            if (is_quiet and is_expected(found)) or time.monotonic() > deadline:
                return found

    async def _look_at_everything(self) -> None:
        """Return when the operator has looked at every object once more and has nothing left to look at."""
        passes = (await self._work())[0]
        await self.scene.touch()
        deadline = time.monotonic() + _LOOK_SECONDS
        while True:
            now, waiting = await self._work()
            passes = 0 if now < passes else passes  # another operator began to count
            if now >= passes + self.scene.size and waiting == 0:
                return
            if time.monotonic() > deadline:
                raise AssertionError(f"{now - passes} passes in {_LOOK_SECONDS:.0f} s; {waiting} wait")
            await asyncio.sleep(0.02)

    async def _work(self) -> tuple[int, int]:
        """Passes so far; keys that wait for one, and Events that wait to be posted."""
        text = await read(self._metrics)
        passes, waiting = (sum(round(float(one)) for one in kind.findall(text)) for kind in (_PASSES, _WAITING))
        return passes, waiting


Scenario = Callable[[Stage], AbstractAsyncContextManager[Scene]]


@asynccontextmanager
async def trial(kubeconfig: str, folder: Path, scenario: Scenario = direct) -> AsyncIterator[Trial]:
    """A trial in a namespace of its own, which goes, in the background, at the end. There are no faults unless its proxy is given some."""
    kube = await Kube.connect(kubeconfig=kubeconfig)
    namespace = f"crash-{secrets.token_hex(4)}"
    place = folder / namespace
    place.mkdir(parents=True)
    await kube.create(_NAMESPACES, None, {"metadata": {"name": namespace}})
    try:
        while not (await kube.list(_ACCOUNTS, namespace=namespace)).items:
            await asyncio.sleep(0.02)
        async with (
            fault_proxy(kubeconfig, place, log_of=log_of) as (proxy, proxied),
            staged(kube, kubeconfig=kubeconfig, namespace=namespace, folder=place) as stage,
        ):
            stage.kubeconfig = proxied
            async with scenario(stage) as scene:
                yield Trial(stage, proxy, scene)
    finally:
        await kube.delete(_NAMESPACES, None, namespace)
        await kube.close()


def _is_empty(lane: JsonObject) -> bool:
    return not lane.get("activeRuns") and not lane.get("queuedRuns")


def _plain(name: str) -> str:
    """A name of ours without the uid in it."""
    return re.sub(r"-[0-9a-f]{8}(?=-|$)", "", name)
