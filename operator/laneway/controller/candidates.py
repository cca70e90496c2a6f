"""Which runs may have a slot of a lane now, in what order, and what the others wait for. Pure.

This runs over every waiting run at each pass over a lane, ten thousand at times: what is quickest to see is looked at first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from laneway.controller.eligibility import Question, find_blocker
from laneway.controller.trial import Gate, wanted_model
from laneway.controller.views import LaneView, Run


@dataclass(frozen=True)
class Candidates:
    """The runs that want a slot of the lane."""

    runs: tuple[Run, ...]
    """Those that lack nothing but a slot, in no order."""
    backing_off: int
    """How many wait for a model to be usable again."""
    due: datetime | None
    """When the next one of the others may be a candidate."""


def find_candidates(view: LaneView, gates: Mapping[str, Gate], now: datetime) -> Candidates:
    """Sort the runs of a lane."""
    runs: list[Run] = []
    backing_off = 0
    due: datetime | None = None
    unsettled = {held.run_uid for held in view.unsettled}
    shut = {model for model, gate in gates.items() if gate.cooldown}
    for run in view.runs:
        if not _waits_here(run, view) or run.meta.uid in unsettled:
            continue
        planned = run.status.next_attempt_time
        if planned is not None and not run.spec.suspend and (now < planned or _looks_first(run)):
            backing_off += 1
            until = planned if now < planned else None
        elif blocker := find_blocker(_question(run, view, now)):
            until = blocker.until
        elif shut and (model := wanted_model(run, view)) in shut and gates[model].shut_for(run):
            backing_off += 1
            until = None  # the lane looks again anyway when the cooldown ends
        else:
            runs.append(run)
            continue
        due = until if due is None else min(due, until or due)
    return Candidates(tuple(runs), backing_off, due)


def past_trials(line: Iterable[Run], view: LaneView, gates: Mapping[str, Gate]) -> list[Run]:
    """Those of a line that no trial holds back: of the runs that want a model on trial the first, if none tries it yet."""
    if not any(gate.trial for gate in gates.values()):
        return list(line)
    free: list[Run] = []
    taken: set[str] = set()
    for run in line:
        trial = gates[wanted_model(run, view)].trial
        if trial is not None:
            if trial.taken or trial.of in taken:
                continue
            taken.add(trial.of)
        free.append(run)
    return free


def _waits_here(run: Run, view: LaneView) -> bool:
    if run.spec.cancel or run.meta.deleting or run.lane_key != view.lane.meta.key:
        return False
    return not run.finished and not run.admitted


def _looks_first(run: Run) -> bool:
    """Whether the run itself has to say first which step of its chain it takes after its wait (C10e)."""
    return len(run.status.chain) > 1


def _question(run: Run, view: LaneView, now: datetime) -> Question:
    return Question(
        run=run,
        lane=view.lane,
        presets=view.presets,
        usable_lanes=(),
        now=now,
        dependencies=view.dependencies.get(run.meta.uid, ()),
    )
