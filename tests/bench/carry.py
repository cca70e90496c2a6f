"""One round: objects are made, a side carries them to their end, and what that took is counted."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from bench import machine, writes
from bench.ground import Ground
from bench.player import PodTimes
from bench.programs import read
from bench.sides import Side

_MAKERS = 16
_WARM = 40
_SETTLED_SECONDS = 0.5


@dataclass(frozen=True)
class Carried:
    """What one round took, from the first creation to the last end."""

    count: int
    seconds: float
    made_at: float
    """When the last object had been made, in monotonic seconds."""
    cpu_seconds: float
    """Of the side's program alone."""
    peak_megabytes: float
    writes: dict[str, int]
    """Writes of the program to the API server, by verb and resource."""
    pods: list[PodTimes]
    own_writes: int | None
    """The same, as the program counts; None if it does not."""
    others: float
    """Percent of the machine that other programs used meanwhile."""

    @property
    def rate(self) -> float:
        """Objects a second."""
        return self.count / self.seconds

    @property
    def cpu_milliseconds(self) -> float:
        """CPU of the program for one object."""
        return 1000 * self.cpu_seconds / self.count

    @property
    def own_writes_each(self) -> float:
        """Writes for one object, as the program counts. Raises ValueError if it does not."""
        if self.own_writes is None:
            raise ValueError("this side shows no count of its own")
        return self.own_writes / self.count

    @property
    def writes_each(self) -> float:
        """Writes for one object."""
        return sum(self.writes.values()) / self.count


async def carry(ground: Ground, side: Side, count: int, *, seconds: float) -> Carried:
    """Carry so many objects, after a few that warm everything up. Raises TimeoutError."""
    ends = _Ends(ground, side)
    async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
        watching = group.create_task(ends.watch())
        await ends.ready.wait()
        await _make(ground, side, range(_WARM))
        await ends.reach(_WARM)
        before, own_before = await settled(ground), await _own_writes(side)
        others = machine.Others(str(Path(ground.kubeconfig).parents[1]))
        used, begun = machine.cpu_seconds(side.program.pid), time.monotonic()
        await _make(ground, side, range(_WARM, _WARM + count))
        made_at = time.monotonic()
        await ends.reach(_WARM + count)
        took = time.monotonic() - begun
        cpu = machine.cpu_seconds(side.program.pid) - used
        share = others.share()
        after, own_after = await settled(ground), await _own_writes(side)
        watching.cancel()
    peak = machine.peak_megabytes(side.program.pid)
    pods = [pod for pod in ground.lives() if pod.created >= begun]
    return Carried(
        count=count,
        seconds=took,
        made_at=made_at,
        cpu_seconds=cpu,
        peak_megabytes=peak,
        writes=writes.of_the_program(before, after),
        own_writes=own_after - own_before if side.metrics else None,
        pods=pods,
        others=share,
    )


class _Ends:
    """Counts the objects that have ended."""

    def __init__(self, ground: Ground, side: Side) -> None:
        self._ground = ground
        self._side = side
        self._ended: set[str] = set()
        self._told = asyncio.Condition()
        self.ready = asyncio.Event()

    async def watch(self) -> None:
        """Follow the objects until cancelled."""
        path = self._side.resource.path(self._ground.namespace)
        version = (await self._ground.api.get(path))["metadata"]["resourceVersion"]
        self.ready.set()
        async with aclosing(self._ground.api.watch(path, version=version, accept="application/json")) as watch:
            async for _, obj in watch:
                if self._side.finished(obj):
                    self._ended.add(obj["metadata"]["uid"])
                    async with self._told:
                        self._told.notify_all()

    async def reach(self, count: int) -> None:
        """Wait until so many have ended."""
        async with self._told:
            await self._told.wait_for(lambda: len(self._ended) >= count)


async def _make(ground: Ground, side: Side, numbers: range) -> None:
    """Create objects, a few at a time."""
    left = iter(numbers)
    path = side.resource.path(ground.namespace)

    async def maker() -> None:
        for number in left:
            await ground.api.send("POST", path, side.body(number))

    await asyncio.gather(*(maker() for _ in range(_MAKERS)))


async def settled(ground: Ground) -> dict[str, int]:
    """What the API server has counted, once it counts no more."""
    last: dict[str, int] = {}
    while (now := dict(writes.counted(await ground.api.text("/metrics")))) != last:
        last = now
        await asyncio.sleep(_SETTLED_SECONDS)
    return now


async def _own_writes(side: Side) -> int:
    return writes.counted_by_operator(await read(side.metrics)) if side.metrics else 0
