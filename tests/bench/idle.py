"""P6: what runs that lie in the cluster cost the operator while nothing happens, and how late what is due begins."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import manifests
from bench import machine, writes
from bench.carry import settled as counted
from bench.control import Setting
from bench.figures import Figure, at_most, percentile
from bench.ground import Ground, ground
from bench.report import Part
from bench.sides import Side, laneway
from laneway.api.base import format_time
from laneway.controller.loop.queue import Queue
from laneway.controller.loop.reconcile import WorkKey
from laneway.controller.outside.clock import SystemClock
from laneway.kube.resources import AGENT_RUNS, MODEL_LANES, JsonObject, Key

_RUNS, _RUNS_FULL = 2_000, 30_000
_WAITING_OF = 10
"""One run in so many has not ended: it is suspended. All others have."""
_PROMPT = "Say what changed in this repository since last week, and why. " * 32
_MAKERS = 16
_IDLE_SECONDS = 30
_QUIET = 0.02
"""So much of a core is idle enough to begin."""
_MERGE = "application/merge-patch+json"
_DUE_A_SECOND, _DUE_SECONDS, _DUE_ROUNDS = 500, 10, 3
_WORKERS = 16


@dataclass(frozen=True)
class Rest:
    """What an operator needs that was started when all runs were there."""

    megabytes: float
    peak: float
    gateway: float
    """Megabytes of the gateway beside it, at its peak."""
    percent: float
    """CPU of one core while nothing happens."""
    writes: int
    looked_at: float
    """Seconds from its start until it had looked at everything."""


async def idle(setting: Setting) -> Part:
    """The operator beside a quarter of the runs and beside all of them, and the queue's punctuality by itself."""
    count = _RUNS_FULL if setting.full else _RUNS
    few = count // 4
    others = machine.Others(str(Path(setting.kubeconfig).parents[1]))
    async with ground(setting.kubeconfig, setting.folder, "idle") as here:
        lane = manifests.lane({"access": "Direct"}, name="lane-0", namespace=here.namespace)
        await here.api.send("POST", MODEL_LANES.path(here.namespace), lane)
        await _make(here, range(few))
        less = await _rest(here)
        await _make(here, range(few, count))
        more = await _rest(here)
    late = [await _lateness() for _ in range(_DUE_ROUNDS)]
    each = 1000 * (more.megabytes - less.megabytes) / (count - few)
    judged = at_most(300, counted=True) if setting.full else None
    return Part(
        f"P6: {count:,} runs, nine in ten of them ended, with prompts of 2 KB; {_DUE_A_SECOND} keys due a second for {_DUE_SECONDS} s.",
        (
            Figure("P6", f"memory of the operator beside {count:,} runs", "MB", (more.megabytes,), judged),
            Figure("P6", "the same, peak", "MB", (more.peak,)),
            Figure("P6", "memory of the gateway beside them, peak", "MB", (more.gateway,)),
            Figure("P6", f"each run more than {few:,}", "kB", (each,)),
            Figure("P6", "CPU of the operator while nothing happens", "% of a core", (more.percent,), at_most(5)),
            Figure("P6", "its writes meanwhile", "", (float(more.writes),), at_most(0, counted=True)),
            Figure("P6", "from its start until all was looked at", "s", (more.looked_at,)),
            *_punctuality(late),
        ),
        (others.share(),),
    )


def _punctuality(late: list[list[float]]) -> Iterator[Figure]:
    for percent, target in ((50, None), (99, at_most(50))):
        values = tuple(1000 * percentile(one, percent) for one in late)
        yield Figure("P6", f"what is due begins late: p{percent}", "ms", values, target)


async def _rest(here: Ground) -> Rest:
    begun = time.monotonic()
    async with laneway(here, lanes=0, slots=0) as side:
        await _quiet(side)
        looked_at = time.monotonic() - begun
        before, used = await counted(here), machine.cpu_seconds(side.program.pid)
        await asyncio.sleep(_IDLE_SECONDS)
        percent = 100 * (machine.cpu_seconds(side.program.pid) - used) / _IDLE_SECONDS
        made = writes.of_the_program(before, await counted(here))
        held, peak = machine.megabytes(side.program.pid), machine.peak_megabytes(side.program.pid)
        gateway = machine.peak_megabytes(side.gateway.pid) if side.gateway else 0.0
    return Rest(held, peak, gateway, percent, sum(made.values()), looked_at)


async def _make(here: Ground, numbers: range) -> None:
    left = iter(numbers)
    path = AGENT_RUNS.path(here.namespace)

    async def maker() -> None:
        for number in left:
            ends = number % _WAITING_OF != 0
            spec: JsonObject = {"models": [{"lane": "lane-0"}], "prompt": _PROMPT, "suspend": not ends}
            run = manifests.run(spec, name=f"run-{number}")
            await here.api.send("POST", path, run)
            if ends:
                own = AGENT_RUNS.path(here.namespace, run["metadata"]["name"], "status")
                await here.api.send("PATCH", own, {"status": _ended(here.namespace)}, content_type=_MERGE)

    await asyncio.gather(*(maker() for _ in range(_MAKERS)))


def _ended(namespace: str) -> JsonObject:
    """The status of a run that went well on its first attempt, through the gateway."""
    now = format_time(datetime.now(UTC))
    step = {"namespace": namespace, "lane": "lane-0", "model": "smollm2"}
    usage = {"source": "Gateway", "complete": True, "calls": 12, "inputTokens": 48_211, "outputTokens": 3_120}
    attempt = {"id": 1, "step": step, "admittedTime": now, "startTime": now, "endTime": now, "usage": usage}
    said = {"lastTransitionTime": now, "observedGeneration": 1, "reason": "Completed", "message": "the agent is done"}
    kinds = {"Admitted": "False", "Finished": "True", "Succeeded": "True", "Reconciling": "False", "Stalled": "False"}
    return {
        "phase": "Succeeded",
        "reason": "Completed",
        "observedGeneration": 1,
        "attempt": 1,
        "step": step,
        "chain": [{**step, "causes": []}],
        "attempts": [{**attempt, "access": "Gateway", "outcome": "Succeeded", "message": "the agent is done"}],
        "usage": usage,
        "startTime": now,
        "completionTime": now,
        "result": {"exitCode": 0, "summary": "Three files changed; the parser no longer fails on empty input."},
        "conditions": [{"type": kind, "status": status, **said} for kind, status in kinds.items()],
    }


async def _quiet(side: Side) -> None:
    """Wait until the program has looked at everything."""
    while True:
        used = machine.cpu_seconds(side.program.pid)
        await asyncio.sleep(5)
        if (machine.cpu_seconds(side.program.pid) - used) / 5 < _QUIET:
            return


async def _lateness() -> list[float]:
    """Seconds between the moment that each key is due and the moment that a worker has it."""
    clock = SystemClock()
    queue: Queue[WorkKey] = Queue(clock)
    first, late = clock.now() + timedelta(seconds=1), []
    due = {
        WorkKey("run", Key("team", f"run-{number}")): first + timedelta(seconds=number / _DUE_A_SECOND)
        for number in range(_DUE_A_SECOND * _DUE_SECONDS)
    }
    for key, moment in due.items():
        queue.add_at(key, moment)

    async def work() -> None:
        while len(late) < len(due):
            key = await queue.get()
            late.append((clock.now() - due[key]).total_seconds())
            queue.done(key)

    workers = [asyncio.create_task(work()) for _ in range(_WORKERS)]
    await asyncio.wait(workers, return_when=asyncio.FIRST_COMPLETED)
    for worker in workers:
        worker.cancel()
    return late
