"""P10 and P11: what the gateway keeps in memory, and how long it takes to start."""

from __future__ import annotations

import time
from pathlib import Path

from bench import doors, machine
from bench.calls import Setting
from bench.figures import Figure, at_most, growth
from bench.load import FAST, Order, load, start_mock
from bench.report import Part
from bench.stand import build

_STARTS = 5
_CALLS, _CALLS_FULL = 20_000, 100_000
_STEPS = 40
"""Memory is read so often during the calls."""
_AT_ONCE = 16
_NO_SLOPE_MEGABYTES = 5.0
"""Per 100,000 calls: what the allocator may still be settling by."""


async def memory(setting: Setting) -> Part:
    """P10: idle, and over many calls. The first half of them warms up and is not judged; few calls are not either."""
    calls = _CALLS_FULL if setting.full else _CALLS
    place = setting.place()
    stand = await build(setting.kubeconfig, setting.folder, server=f"http://{place}")
    mock = await start_mock(setting.rig, place, stand.folder / "mock.log")
    door = await doors.gateway(stand)
    if door.program is None:
        raise RuntimeError("the gateway is a program")
    try:
        with load(setting.rig) as running:
            watch = machine.Others(str(Path(setting.kubeconfig).parents[1]))
            idle = machine.megabytes(door.program.pid)
            seen = []
            for step in range(1, _STEPS + 1):
                part = Order(
                    door.address, door.tokens[FAST], stream=step % 2 == 0, connections=_AT_ONCE, calls=calls // _STEPS
                )
                running.send(part)
                seen.append((step * part.calls, machine.megabytes(door.program.pid)))
            others = watch.share()
        peak = machine.peak_megabytes(door.program.pid)
    finally:
        door.program.stop()
        mock.stop()
    slope = 100_000 * growth(seen[_STEPS // 2 :])
    limit = at_most(_NO_SLOPE_MEGABYTES, counted=True) if setting.full else None
    return Part(
        f"P10: {calls:,} calls over {_AT_ONCE} connections, whole answers and streams in turn; memory read {_STEPS} times.",
        (
            Figure("P10", "memory of the gateway, idle", "MB", (idle,), at_most(120, counted=True)),
            Figure("P10", "the same, peak under load", "MB", (peak,)),
            Figure("P10", "growth per 100,000 calls, second half of them", "MB", (slope,), limit),
        ),
        (others,),
    )


async def start(setting: Setting) -> Part:
    """P11: from the start of the process to the first answer of a model."""
    place = setting.place()
    stand = await build(setting.kubeconfig, setting.folder, server=f"http://{place}")
    mock = await start_mock(setting.rig, place, stand.folder / "mock.log")
    taken, others = [], []
    try:
        for _ in range(_STARTS):
            watch, begun = machine.Others(str(Path(setting.kubeconfig).parents[1])), time.monotonic()
            door, _ready = doors.start_gateway(stand)
            if door.program is None:
                raise RuntimeError("the gateway is a program")
            try:
                await door.program.until(lambda door=door: doors.answers_a_call(door))
                taken.append(time.monotonic() - begun)
                others.append(watch.share())
            finally:
                door.program.stop()
    finally:
        mock.stop()
    words = (
        f"P11: {_STARTS} starts of the gateway on a namespace with 8 runs; it is asked every 50 ms from the beginning."
    )
    return Part(words, (Figure("P11", "start to first answer", "s", tuple(taken), at_most(2)),), tuple(others))
