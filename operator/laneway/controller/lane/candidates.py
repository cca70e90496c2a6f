"""Which runs may have a slot of a lane now, in what order, and what the others wait for. Pure.

This runs over every waiting run at each pass over a lane, ten thousand at times: what is quickest to see is looked at first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from laneway.controller.chain.eligibility import Blocker, Question, find_blocker
from laneway.controller.ends.repeats import is_planned
from laneway.controller.facts.objects import Run, Wish
from laneway.controller.facts.views import LaneView, Walk
from laneway.controller.health.trial import Gate, wanted_model


@dataclass(frozen=True)
class Candidates:
    """The runs that want a slot of the lane."""

    runs: tuple[Run | Walk, ...]
    """Those that lack nothing but a slot, in no order; running attempts of other lanes among them."""
    backing_off: int
    """How many wait for a model to be usable again."""
    due: datetime | None
    """When the next one of the others may be a candidate."""


def find_candidates(view: LaneView, gates: Mapping[str, Gate], now: datetime) -> Candidates:
    """Sort the runs of a lane."""
    runs: list[Run | Walk] = list(_walks(view, gates))
    backing_off = 0
    moments: list[datetime] = []
    judge = _Judge(view, now)
    shut = {model for model, gate in gates.items() if gate.cooldown}
    for run in _waiting_here(view):
        planned = run.next_attempt
        if planned is not None and now < planned:
            backing_off += not is_planned(run)
            moments.append(planned)
        elif planned is not None and _looks_first(run):
            backing_off += not is_planned(run)
        elif blocker := judge.blocker(run):
            moments += [blocker.until] if blocker.until else []
        elif shut and (model := wanted_model(run, view)) in shut and gates[model].shut_for(run):
            backing_off += 1  # the lane looks again anyway when the cooldown ends
        else:
            runs.append(run)
    return Candidates(tuple(runs), backing_off, due=min(moments, default=None))


def past_trials(line: Iterable[Run | Walk], view: LaneView, gates: Mapping[str, Gate]) -> list[Run | Walk]:
    """Those of a line that no trial holds back: of the runs that want a model on trial the first, if none tries it yet."""
    if not any(gate.trial for gate in gates.values()):
        return list(line)
    free: list[Run | Walk] = []
    taken: set[str] = set()
    for run in line:
        trial = gates[wanted_model(run, view)].trial
        if trial is not None:
            if trial.taken or trial.of in taken:
                continue
            taken.add(trial.of)
        free.append(run)
    return free


def _waiting_here(view: LaneView) -> Iterable[Run]:
    unsettled = {held.run_uid for held in view.unsettled}
    key = view.lane.meta.key
    return [run for run in view.runs if run.waits and run.lane_key == key and run.meta.uid not in unsettled]


def _walks(view: LaneView, gates: Mapping[str, Gate]) -> Iterable[Walk]:
    """Attempts that may come here now. Never to a cooled step: its run looks for another one when the lane says that it cools."""
    unsettled = {held.run_uid for held in view.unsettled}
    for walk in view.walks:
        gate = gates.get(walk.model)
        if gate is not None and gate.cooldown is None and walk.meta.uid not in unsettled:
            yield walk


def _looks_first(run: Run) -> bool:
    """Whether the run itself has to say first which step of its chain it takes after its wait (C10e)."""
    return len(run.status.chain) > 1


class _Judge:
    """What keeps runs from a slot of one lane at one moment. Runs that wait for nothing by themselves are judged once for each wish."""

    def __init__(self, view: LaneView, now: datetime) -> None:
        self._view = view
        self._now = now
        self._known: dict[Wish, Blocker | None] = {}

    def blocker(self, run: Run) -> Blocker | None:
        """The first thing that keeps a run from a slot; None when only a slot is missing."""
        begins = run.not_before
        if not run.unhindered or (begins is not None and self._now < begins):
            return find_blocker(self._question(run))
        if run.wish not in self._known:
            self._known[run.wish] = find_blocker(self._question(run))
        return self._known[run.wish]

    def _question(self, run: Run) -> Question:
        return Question(
            run=run,
            lane=self._view.lane,
            presets=self._view.presets,
            usable_lanes=(),
            now=self._now,
            dependencies=self._view.dependencies.get(run.meta.uid, ()),
        )
