"""What to do about one lane: who gets its free slots, who stands where in its queue, and its status. Pure and total.

The slots of a lane are decided here alone, for all its runs at once (design section 3.6). A slot is held, keyed by run uid and attempt, by a run
with an attempt that has not ended, by any labelled pod that is not finished, and by a grant whose write had no answer yet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from laneway.api.modellane import ModelLaneStatus
from laneway.api.runstatus import Attempt
from laneway.controller.decision.effects import Effect
from laneway.controller.facts.objects import Run
from laneway.controller.facts.place import Place
from laneway.controller.facts.views import Held, LaneView, Walk, granted_step
from laneway.controller.health.cooling import Heard, work_out
from laneway.controller.health.trial import Gate, gates, wanted_model
from laneway.controller.lane.admission import Grant
from laneway.controller.lane.candidates import Candidates, find_candidates, past_trials
from laneway.controller.lane.events import health_events, readiness_event
from laneway.controller.lane.lineup import callers_shown, in_fair_order, place, served_times, slots_by_caller
from laneway.controller.lane.status import Counts, gateway_given_up, lane_status
from laneway.controller.limits.spend import next_period
from laneway.rules.fairshare import Caller


@dataclass(frozen=True)
class LaneDecision:
    """What follows from a view of a lane."""

    status: ModelLaneStatus
    grants: tuple[Grant, ...] = ()
    walks: tuple[Walk, ...] = ()
    """Running attempts that get a slot here in place of their old one."""
    take_back: tuple[Run, ...] = ()
    """Grants over capacity, without a pod, found at start; youngest first."""
    places: Mapping[str, Place] = field(default_factory=dict)
    """The place of every run that waits for a slot only, by uid; who is next comes first."""
    effects: tuple[Effect, ...] = ()
    due: datetime | None = None
    counted: tuple[Heard, ...] = ()
    """Failures that made a model or the account rest."""


@dataclass(frozen=True)
class _Line:
    """Who gets a slot now, and who waits for one, in order."""

    granted: list[Run | Walk]
    queued: list[Run | Walk]


def decide_lane(view: LaneView, now: datetime) -> LaneDecision:
    """The next step of a lane."""
    health = work_out(view, now)
    gated = gates(view, health, now)
    candidates = find_candidates(view, gated, now)
    held = held_slots(view)
    slots, active, served = view.lane.spec.capacity.runs, slots_by_caller(view, held), served_times(view)
    free = 0 if view.lane.meta.deleting else max(0, slots - len(held))
    line = _line(view, candidates, gated, active=active, served=served, free=free)
    used = len(held) + len(line.granted)
    take_back = _over_capacity(view, held, slots) if view.first_pass else ()
    active.update(run.caller for run in line.granted)
    active.subtract(run.caller for run in take_back)
    served |= {run.caller: now for run in line.granted}
    counts = Counts(
        active=used - len(take_back),
        queued=len(line.queued),
        backing_off=candidates.backing_off,
        callers=callers_shown(active, Counter(run.caller for run in line.queued), served),
    )
    status = lane_status(view, now, counts=counts, health=health, gates=gated)
    return LaneDecision(
        status=status,
        grants=tuple(Grant(run, _attempt(run, view, now)) for run in line.granted if isinstance(run, Run)),
        walks=tuple(walk for walk in line.granted if isinstance(walk, Walk)),
        take_back=take_back,
        places=_places(view, line, gated, used=used),
        effects=(*readiness_event(view, status), *health_events(view.lane, health, now)),
        due=_due(view, candidates, gated, now),
        counted=health.counted,
    )


def held_slots(view: LaneView) -> frozenset[Held]:
    """Every slot in use. A run counts on the lane of its attempt's step, wherever its spec points now; its pod on that of its label."""
    runs = {Held(run.meta.uid, attempt.id) for run, attempt in view.active}
    pods = {Held(pod.run_uid, pod.attempt) for pod in view.pods if not pod.finished}
    return frozenset(runs | pods | view.unsettled)


def _line(
    view: LaneView,
    candidates: Candidates,
    gated: Mapping[str, Gate],
    *,
    active: Mapping[Caller, int],
    served: Mapping[Caller, datetime],
    free: int,
) -> _Line:
    """The order of the candidates. Those behind a trial keep their place, and others that are free to go pass them."""
    waiting = in_fair_order(view, candidates.runs, active=active, served=served)
    going = past_trials(waiting, view, gated) if free else waiting
    if len(going) == len(waiting):
        return _Line(waiting[:free], waiting[free:])
    granted = in_fair_order(view, going, active=active, served=served)[:free]
    uids = {run.meta.uid for run in granted}
    return _Line(granted, [run for run in waiting if run.meta.uid not in uids])


def _places(view: LaneView, line: _Line, gated: Mapping[str, Gate], *, used: int) -> dict[str, Place]:
    """The place of each run. Those of one range share it."""
    slots = view.lane.spec.capacity.runs
    places: dict[str, Place] = {}
    while len(places) < len(line.queued):
        before = len(places)
        model = wanted_model(line.queued[before], view) if used < slots else ""
        behind = model if model and gated[model].trial else ""
        shown = place(before + 1, used=used, slots=slots, on_trial=behind)
        for run in line.queued[before : shown.position]:
            places[run.meta.uid] = shown
    return places


def _attempt(run: Run, view: LaneView, now: datetime) -> Attempt:
    number = (run.status.attempt or 0) + 1
    return Attempt(id=number, step=granted_step(run, view.lane), access=view.lane.spec.access, admitted_time=now)


def _over_capacity(view: LaneView, held: frozenset[Held], slots: int) -> tuple[Run, ...]:
    """Grants that nothing came of yet, taken back until the lane fits again: the youngest first."""
    with_pod = {pod.run_uid for pod in view.pods}
    idle = [run for run, attempt in view.active if attempt.pod_uid is None and run.meta.uid not in with_pod]
    idle.sort(key=lambda run: (run.meta.created, run.meta.key), reverse=True)
    return tuple(idle[: max(0, len(held) - slots)])


def _due(view: LaneView, candidates: Candidates, gated: Mapping[str, Gate], now: datetime) -> datetime | None:
    """When the lane has to be looked at again although nothing happens."""
    moments = [candidates.due, gateway_given_up(view, now), next_period(view, now)]
    moments += [gate.cooldown.until for gate in gated.values() if gate.cooldown]
    moments += [gate.trial.until for gate in gated.values() if gate.trial]
    return min((moment for moment in moments if moment), default=None)
