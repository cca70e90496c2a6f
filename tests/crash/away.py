"""The gateway goes away for a while, or loses its ledger, right after a write of the operator."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass

from crash.ending import Ending
from crash.kinds import Counted
from crash.metered import Metered
from crash.scene import SECONDS
from crash.trial import Trial
from integration.operators import is_finished
from laneway.kube.resources import AGENT_RUNS, MODEL_LANES
from support.faultproxy import Write

_LOOK_SECONDS = 0.02
_ONLY_IN_THE_LEDGER = re.compile(
    r"runs\.(?P<run>\w+)\[1\]\.(usage\.complete|result(\.finishReason)?|attempts\[\d\]\.usage\.(complete|byModel.*))"
)
"""Paths in the end state. That usage is complete is judged apart."""


class GatewayAway(Counted):
    """Nobody answers the operator or an agent for so many seconds. No call is under way then: what becomes of those is shown elsewhere."""

    is_another = True
    """Whether another process answers afterwards."""

    def __init__(self, trial: Trial, number: int, *, seconds: float) -> None:
        super().__init__()
        assert isinstance(trial.scene, Metered)
        self.stage = trial.stage
        self._scene = trial.scene
        self._number = number
        self._seconds = seconds
        self._away: asyncio.Task[None] | None = None
        self._is_over = False

    async def given(self, write: Write) -> None:
        if write.asked.number == self._number and not self._is_over:
            self._away = asyncio.create_task(self._go())

    async def over(self) -> None:
        """A write that comes later is met by nothing: nobody would wait for what becomes of it."""
        self._is_over = True
        if self._away is not None:
            await self._away

    async def _go(self) -> None:
        await self._scene.has_gateway.wait()
        async with self._scene.calling:
            await self._written()
            await self.leave()
        probed, second = await self._probed(), int(time.time())
        await asyncio.sleep(self._seconds)
        await self.stage.within(lambda: int(time.time()) > second, seconds=2)  # lanes tell times in whole seconds
        await self.come_back()
        if self.is_another:
            await self._is_probed_anew(probed)

    async def _written(self) -> None:
        """Wait until the end of every call is in the ledger: that comes just after its answer."""
        ledger = self.stage.folder / "ledger.db"
        while ledger.exists():
            with (
                closing(sqlite3.connect(ledger)) as reader,
                suppress(sqlite3.OperationalError),
            ):  # its table is still to come
                if not reader.execute("SELECT count(*) FROM calls WHERE state = 'open'").fetchone()[0]:
                    return
            await asyncio.sleep(_LOOK_SECONDS)

    async def begin_anew(self) -> None:
        """Start another process, and wait until it serves the operator."""
        gateway = self.stage.start_gateway()
        listens = await self.stage.within(lambda: "listening what=operator" in gateway.log, seconds=SECONDS)
        assert listens, f"the gateway does not serve: {gateway.log}"

    async def _is_probed_anew(self, before: Mapping[str, str | None]) -> None:
        """Wait until the lanes tell of the probes of another process: each is news, and brings a write."""
        async with asyncio.timeout(SECONDS):
            while any(moment == before[lane] for lane, moment in (await self._probed()).items()):
                await asyncio.sleep(_LOOK_SECONDS)

    async def _probed(self) -> dict[str, str | None]:
        """When each lane was probed, by its status."""
        lanes = (await self.stage.kube.list(MODEL_LANES, namespace=self.stage.namespace)).items
        return {lane["metadata"]["name"]: (lane.get("status") or {}).get("lastProbeTime") for lane in lanes}

    async def leave(self) -> None:
        """The gateway goes."""
        raise NotImplementedError

    async def come_back(self) -> None:
        """The gateway is there again."""
        raise NotImplementedError


class Stopped(GatewayAway):
    """Its process stands still: connections stay and nothing answers."""

    is_another = False

    async def leave(self) -> None:
        self.stage.gateways[-1].pause()
        self.count["gateway stopped"] += 1

    async def come_back(self) -> None:
        self.stage.gateways[-1].go_on()


class Killed(GatewayAway):
    """Its process is killed, and another one begins on the same ledger."""

    async def leave(self) -> None:
        self.stage.gateways[-1].kill()
        self.count["gateway killed"] += 1

    async def come_back(self) -> None:
        await self.begin_anew()


@dataclass(frozen=True)
class Forgotten:
    """What a ledger that is gone took with it: of runs that had begun and not ended, all that status does not say.

    Nobody can say that all their calls are known (``complete: false``), nor why the last answer ended, nor which models the calls of that
    attempt went to. An attempt that began or ended while the gateway came back may be either.
    """

    before: frozenset[str]
    """Runs that had begun and not ended, when the ledger went."""
    after: frozenset[str]
    """The same when the next gateway listened."""

    def may_differ(self, path: str) -> bool:
        """Whether this part of the end state may be another one. That usage is complete is judged apart."""
        found = _ONLY_IN_THE_LEDGER.fullmatch(path)
        return found is not None and False in self._complete(found["run"])

    def wrongs(self, found: Ending) -> list[str]:
        """Whose usage says that it is complete although nobody can know, or the reverse."""
        said = {name: run[1]["usage"].get("complete") for name, run in found.runs.items()}
        return [
            f"runs.{name}: usage.complete is {complete}"
            for name, complete in said.items()
            if complete not in self._complete(name)
        ]

    def _complete(self, name: str) -> set[bool]:
        return {name not in self.before, name not in self.after}


_NOTHING = Forgotten(frozenset(), frozenset())


class LedgerGone(GatewayAway):
    """Its process is killed and its ledger removed: the next one begins from the status of the runs.

    Every number is the same, for status knows every call here.
    """

    _forgotten = _NOTHING

    async def leave(self) -> None:
        self.stage.gateways[-1].kill()
        for path in self.stage.folder.glob("ledger.db*"):
            path.unlink()
        self._begun = await self._now()
        self.count["ledger gone"] += 1

    async def come_back(self) -> None:
        await self.begin_anew()
        self._forgotten = Forgotten(self._begun, await self._now())

    async def _now(self) -> frozenset[str]:
        """Runs whose status names a pod and that have not ended."""
        runs = (await self.stage.kube.list(AGENT_RUNS, namespace=self.stage.namespace)).items
        attempts = {
            run["metadata"]["name"]: run.get("status", {}).get("attempts") for run in runs if not is_finished(run)
        }
        return frozenset(name for name, listed in attempts.items() if listed and listed[-1].get("podUID"))

    def may_differ(self, path: str) -> bool:
        return self._forgotten.may_differ(path)

    def wrongs(self, found: Ending) -> list[str]:
        return self._forgotten.wrongs(found)
