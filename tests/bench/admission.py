"""P1: how long one look at a lane takes, by the number of runs that wait for it.

A cycle is one ``decide_lane`` of one lane: all that the operator computes to give out a slot that came free. Its view is made before, from objects
with the statuses that the operator itself would have written.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from statistics import median

from bench import machine
from bench.figures import Figure, at_most, percentile, ratios
from bench.report import Part
from laneway import collector
from laneway.controller.decide_lane import decide_lane
from laneway.controller.decide_run import decide_run
from laneway.controller.facts.objects import Lane, Run
from laneway.controller.facts.place import Place
from laneway.controller.facts.views import LaneView
from support import builders

ROUNDS = 5
_NAMESPACES = 20
_CALLERS = 3
_SLOTS = 10
_DECIDED = builders.at(3600)


@dataclass(frozen=True)
class Size:
    """So many lanes with so many waiting runs each, and how often each lane is decided in a round."""

    lanes: int
    waiting: int
    repeats: int

    @property
    def words(self) -> str:
        """The size for people."""
        where = "one lane" if self.lanes == 1 else f"each of {self.lanes} lanes"
        return f"{self.waiting:,} waiting on {where}"


_SMALL, _TARGET, _LARGE = Size(10, 100, 100), Size(10, 1_000, 20), Size(1, 10_000, 20)
QUICK = (_SMALL, _TARGET, _LARGE)
FULL = (_SMALL, _TARGET, _LARGE, Size(10, 10_000, 5), Size(1, 100_000, 5))


def measure(*, full: bool, run: str) -> Part:
    """All sizes. ``run`` is the state folder of the control plane. Growth is judged from 1,000 to 10,000 waiting runs of one lane: ten times as long is linear."""
    sizes = FULL if full else QUICK
    others = machine.Others(run)
    seconds = {size: _cycles(size) for size in sizes}
    figures = []
    for size, rounds in seconds.items():
        target = at_most(10) if size is _TARGET else None
        middle, tail = (tuple(percentile(one, p) * 1000 for one in rounds) for p in (50, 99))
        figures.append(Figure("P1", f"decide one lane, {size.words}: p50", "ms", middle))
        figures.append(Figure("P1", f"decide one lane, {size.words}: p99", "ms", tail, target))
    growth = ratios(*([median(one) / size.waiting for one in seconds[size]] for size in (_LARGE, _TARGET)))
    figures.append(Figure("P1", "time per waiting run, at 10,000 over at 1,000", "x", growth, at_most(1.5)))
    named = "; ".join(f"{size.words} ({size.lanes * size.repeats} cycles a round)" for size in sizes)
    words = f"P1: {named}; {_NAMESPACES} namespaces with {_CALLERS} callers each, one of {_SLOTS} slots free."
    return Part(words, tuple(figures), (others.share(),))


def _cycles(size: Size) -> list[list[float]]:
    """The seconds of every cycle, by round."""
    views = [lane_view(f"lane-{number}", waiting=size.waiting) for number in range(size.lanes)]
    collector.spare()  # as the operator does when it has listed everything
    return [_round(views, size.repeats) for _ in range(ROUNDS)]


def _round(views: Sequence[LaneView], repeats: int) -> list[float]:
    """Collections during the cycles count, as they do in the operator; the garbage of making the views does not."""
    gc.collect()
    taken = []
    for _ in range(repeats):
        for view in views:
            begun = time.perf_counter()
            decision = decide_lane(view, _DECIDED)
            taken.append(time.perf_counter() - begun)
            if len(decision.grants) != 1 or len(decision.places) != len(view.runs) - _SLOTS:
                raise AssertionError("every cycle must grant the one free slot and place all other runs")
    return taken


def lane_view(name: str, *, waiting: int) -> LaneView:
    """A lane with one free slot, with runs that hold the others and runs that wait."""
    shares = [{"namespace": _namespace(number), "weight": 1 + number % 3} for number in range(_NAMESPACES)]
    spec = {"capacity": {"runs": _SLOTS}, "allowedNamespaces": {"from": "All"}, "shares": shares}
    lane = builders.lane(name, namespace="lanes", spec=spec)
    active = [_active(name, number) for number in range(_SLOTS - 1)]
    queued = [_waiting(lane, number) for number in range(waiting)]
    pods = tuple(
        builders.running(name=run.meta.name, run=run.meta.name, run_uid=run.meta.uid, lane=lane.meta.key)
        for run in active
    )
    return builders.lane_view(*active, *queued, the_lane=lane, pods=pods)


def _active(lane: str, number: int) -> Run:
    run = _run(lane, f"active-{number}", number)
    status = builders.admitted()
    step = status.attempts[0].step.model_copy(update={"lane": lane, "namespace": "lanes"})
    attempts = (status.attempts[0].model_copy(update={"step": step, "pod_uid": "known"}),)
    return replace(run, status=status.model_copy(update={"attempts": attempts, "step": step}))


def _waiting(lane: Lane, number: int) -> Run:
    run = _run(lane.meta.name, f"waiting-{number}", number)
    place = Place(position=number + 1, used=_SLOTS, slots=_SLOTS)
    view = builders.run_view(run, lane=lane, place=place)
    return replace(run, status=decide_run(view, builders.NOW + timedelta(seconds=1)).status)


def _run(lane: str, name: str, number: int) -> Run:
    return builders.run(
        f"{lane}-{name}",
        namespace=_namespace(number),
        created=number % 600,
        spec={
            "models": [{"lane": lane, "namespace": "lanes"}],
            "caller": f"caller-{number // _NAMESPACES % _CALLERS}",
            "priority": number % 4,
        },
    )


def _namespace(number: int) -> str:
    return f"team-{number % _NAMESPACES}"
