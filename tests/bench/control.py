"""P2, P3 and P5: what the operator does on a real API server. Rounds of both sides take turns, in an order that turns round too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from bench.carry import Carried, carry
from bench.figures import Figure, at_least, at_most, percentile, ratios
from bench.ground import Ground, ground
from bench.refill import refill_seconds
from bench.report import Part
from bench.sides import Side, job_controller, laneway

Enter = Callable[[Ground], AbstractAsyncContextManager[Side]]


@dataclass(frozen=True)
class Setting:
    """Where and how much to measure."""

    kubeconfig: str
    programs: Path
    folder: Path
    full: bool
    profile: Path | None


@dataclass(frozen=True)
class Shape:
    """So many runs over so many lanes of so many slots, in so many rounds."""

    runs: int
    lanes: int
    slots: int
    rounds: int
    seconds: float
    """A round that takes longer has failed."""


_CARRY = Shape(runs=500, lanes=10, slots=10, rounds=5, seconds=600)
_CARRY_FULL = Shape(runs=5_000, lanes=10, slots=10, rounds=3, seconds=1800)
_FREE = Shape(runs=200, lanes=10, slots=30, rounds=5, seconds=600)
_REFILL = Shape(runs=200, lanes=2, slots=2, rounds=5, seconds=600)


async def throughput(setting: Setting) -> Part:
    """Runs and Jobs carried from created to finished: P2, and P5 of the same runs."""
    shape = _CARRY_FULL if setting.full else _CARRY
    sides: list[tuple[str, Enter]] = [("runs", _laneway(setting, shape)), ("jobs", _jobs(setting))]
    found: dict[str, list[Carried]] = {"runs": [], "jobs": []}
    for number in range(shape.rounds):
        for name, enter in sides if number % 2 == 0 else reversed(sides):
            found[name].append(await _round(setting, name, enter, shape))
    ours, theirs = found["runs"], found["jobs"]
    waits = [refill_seconds(one.pods, slots=shape.slots, since=one.made_at) for one in ours]
    ratio = ratios([one.rate for one in ours], [one.rate for one in theirs])
    return Part(
        f"P2: {shape.runs:,} runs over {shape.lanes} lanes of {shape.slots} slots, and {shape.runs:,} Jobs of one pod, all made at once; pods run 0.2 s.",
        (
            Figure("P2", "runs carried", "1/s", tuple(one.rate for one in ours), at_least(60)),
            Figure("P2", "Jobs carried", "1/s", tuple(one.rate for one in theirs)),
            Figure("P2", "runs over Jobs, same round", "x", ratio, at_least(1, compared=True)),
            Figure("P2", "CPU of the operator for a run", "ms", tuple(one.cpu_milliseconds for one in ours)),
            Figure("P2", "CPU of the Job controller for a Job", "ms", tuple(one.cpu_milliseconds for one in theirs)),
            Figure("P2", "memory of the operator, peak", "MB", tuple(one.peak_megabytes for one in ours)),
            Figure("P2", "memory of the Job controller, peak", "MB", tuple(one.peak_megabytes for one in theirs)),
            *_refills("all slots busy", waits, judged=False),
            Figure(
                "P5", "writes for a run, most of them waiting at first", "", _writes(ours), at_most(6, counted=True)
            ),
            *_by_resource("of these", ours),
            Figure("P5", "writes for a Job", "", _writes(theirs)),
        ),
        _others([*ours, *theirs]),
    )


async def refill(setting: Setting) -> Part:
    """How long a slot stands empty where neither the machine nor the API server is the limit: P3, and P5 of the same runs."""
    shape = _REFILL
    rounds = [await _round(setting, "refill", _laneway(setting, shape), shape) for _ in range(shape.rounds)]
    waits = [refill_seconds(one.pods, slots=shape.slots, since=one.made_at) for one in rounds]
    fewest = min(len(each) for each in waits)
    return Part(
        f"P3: {shape.runs:,} runs over {shape.lanes} lanes of {shape.slots} slots, at least {fewest} refills a round.",
        (
            *_refills(f"{shape.lanes * shape.slots} slots", waits, judged=True),
            Figure("P3", "runs carried meanwhile", "1/s", tuple(one.rate for one in rounds)),
            Figure(
                "P5", "writes for a run in a long queue for few slots", "", _writes(rounds), at_most(6, counted=True)
            ),
            *_by_resource("of these", rounds),
        ),
        _others(rounds),
    )


async def writes(setting: Setting) -> Part:
    """Writes for runs that never wait for a slot: P5 by itself."""
    shape = _FREE
    rounds = [await _round(setting, "free", _laneway(setting, shape), shape) for _ in range(shape.rounds)]
    return Part(
        f"P5: {shape.runs:,} runs over {shape.lanes} lanes of {shape.slots} slots; those of P2 and P3 are counted too.",
        (
            Figure("P5", "writes for a run that finds a free slot", "", _writes(rounds), at_most(6, counted=True)),
            Figure("P5", "the same, as the operator counts", "", tuple(one.own_writes_each for one in rounds)),
            *_by_resource("of these", rounds),
        ),
        _others(rounds),
    )


async def _round(setting: Setting, name: str, enter: Enter, shape: Shape) -> Carried:
    async with ground(setting.kubeconfig, setting.folder, name) as here, enter(here) as side:
        carried = await carry(here, side, shape.runs, seconds=shape.seconds)
    print(
        f"  {side.name}: {carried.count} in {carried.seconds:.1f} s, writes {carried.writes}, others {carried.others:.0f} %",
        flush=True,
    )
    return carried


def _laneway(setting: Setting, shape: Shape) -> Enter:
    def enter(here: Ground) -> AbstractAsyncContextManager[Side]:
        profile = setting.profile / f"{here.namespace}.prof" if setting.profile else None
        return laneway(here, lanes=shape.lanes, slots=shape.slots, profile=profile)

    return enter


def _jobs(setting: Setting) -> Enter:
    return lambda here: job_controller(here, setting.programs)


def _others(rounds: list[Carried]) -> tuple[float, ...]:
    return tuple(one.others for one in rounds)


def _refills(where: str, waits: list[list[float]], *, judged: bool) -> list[Figure]:
    figures = []
    for percent, limit in ((50, 100), (99, 500)):
        values = tuple(percentile(each, percent) * 1000 for each in waits)
        target = at_most(limit) if judged else None
        figures.append(Figure("P3", f"slot freed to next pod, {where}: p{percent}", "ms", values, target))
    return figures


def _writes(rounds: list[Carried]) -> tuple[float, ...]:
    return tuple(one.writes_each for one in rounds)


def _by_resource(what: str, rounds: list[Carried]) -> list[Figure]:
    kinds = sum((Counter(one.writes) for one in rounds), Counter())
    return [
        Figure("P5", f"{what}: {kind}", "", tuple(one.writes.get(kind, 0) / one.count for one in rounds))
        for kind in sorted(kinds)
    ]
