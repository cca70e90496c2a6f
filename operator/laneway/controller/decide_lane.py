"""What to do about one lane: who gets its free slots, who stands where in its queue, and its status. Pure and total.

The slots of a lane are decided here alone, for all its runs at once (design section 3.6). A slot is held, keyed by run uid and attempt, by a run
with an attempt that has not ended, by any labelled pod that is not finished, and by a grant whose write had no answer yet.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from laneway.api.modellane import LaneModelStatus, ModelLaneStatus
from laneway.api.reasons import EventReason, LaneCondition, LaneReason
from laneway.api.runstatus import Attempt
from laneway.controller.effects import Effect, EventType, PostEvent
from laneway.controller.eligibility import Question, find_blocker
from laneway.controller.endings import GATEWAY_AWAY_FOR
from laneway.controller.lineup import callers_shown, in_fair_order, place, served_times, slots_by_caller
from laneway.controller.status import Said, merge_conditions
from laneway.controller.views import Held, LaneView, Place, Run, granted_step


@dataclass(frozen=True)
class Grant:
    """A slot for a run: the attempt that it begins."""

    run: Run
    attempt: Attempt


@dataclass(frozen=True)
class LaneDecision:
    """What follows from a view of a lane."""

    status: ModelLaneStatus
    grants: tuple[Grant, ...] = ()
    take_back: tuple[Run, ...] = ()
    """Grants over capacity, without a pod, found at start; youngest first."""
    places: tuple[tuple[str, Place], ...] = ()
    """Run uid and place of every run that waits for a slot only."""
    effects: tuple[Effect, ...] = ()
    due: datetime | None = None


def decide_lane(view: LaneView, now: datetime) -> LaneDecision:
    """The next step of a lane."""
    held = held_slots(view)
    active = slots_by_caller(view, held)
    slots = view.lane.spec.capacity.runs
    candidates, due = _candidates(view, now)
    served = served_times(view)
    waiting = in_fair_order(view, candidates, active=active, served=served)
    free = 0 if view.lane.meta.deleting else max(0, slots - len(held))
    grants = tuple(Grant(run, _attempt(run, view, now)) for run in waiting[:free])
    used = len(held) + len(grants)
    queued = waiting[free:]
    places = tuple((run.meta.uid, place(n, used=used, slots=slots)) for n, run in enumerate(queued, start=1))
    take_back = _over_capacity(view, held, slots) if view.first_pass else ()
    active.update(grant.run.caller for grant in grants)
    active.subtract(run.caller for run in take_back)
    served |= {grant.run.caller: now for grant in grants}
    counts = {
        "active_runs": used - len(take_back),
        "queued_runs": len(places),
        "callers": callers_shown(active, Counter(run.caller for run in queued), served),
    }
    next_status = _status(view, now, counts)
    due = min((moment for moment in (due, _gateway_given_up(view, now)) if moment), default=None)
    return LaneDecision(next_status, grants, take_back, places, _readiness_event(view, next_status), due)


def held_slots(view: LaneView) -> frozenset[Held]:
    """Every slot in use. A run counts on the lane that its attempt began on, wherever its spec points now."""
    runs = {Held(run.meta.uid, run.current.id) for run in view.runs if run.current and _is_on(run.current, view)}
    pods = {Held(pod.run_uid, pod.attempt) for pod in view.pods if not pod.finished}
    return frozenset(runs | pods | view.unsettled)


def _candidates(view: LaneView, now: datetime) -> tuple[list[Run], datetime | None]:
    """Runs that lack nothing but a slot, in no order; and when the next blocked one may."""
    free: list[Run] = []
    until: list[datetime] = []
    unsettled = {held.run_uid for held in view.unsettled}
    for run in view.runs:
        if not _waits_here(run, view) or run.meta.uid in unsettled:
            continue
        question = Question(
            run=run,
            lane=view.lane,
            presets=view.presets,
            usable_lanes=(),
            now=now,
            dependencies=view.dependencies.get(run.meta.uid, ()),
        )
        blocker = find_blocker(question)
        if blocker is None:
            free.append(run)
        elif blocker.until is not None:
            until.append(blocker.until)
    return free, min(until, default=None)


def _waits_here(run: Run, view: LaneView) -> bool:
    gone = run.finished or run.spec.cancel or run.meta.deleting
    return not gone and not run.admitted and run.lane_key == view.lane.meta.key


def _attempt(run: Run, view: LaneView, now: datetime) -> Attempt:
    number = (run.status.attempt or 0) + 1
    return Attempt(id=number, step=granted_step(run, view.lane), admitted_time=now)


def _over_capacity(view: LaneView, held: frozenset[Held], slots: int) -> tuple[Run, ...]:
    """Grants that nothing came of yet, taken back until the lane fits again: the youngest first."""
    with_pod = {pod.run_uid for pod in view.pods}
    idle = [
        run
        for run in view.runs
        if run.current and run.current.pod_uid is None and run.meta.uid not in with_pod and _is_on(run.current, view)
    ]
    idle.sort(key=lambda run: (run.meta.created, run.meta.key), reverse=True)
    return tuple(idle[: max(0, len(held) - slots)])


def _is_on(attempt: Attempt, view: LaneView) -> bool:
    return (attempt.step.namespace, attempt.step.lane) == view.lane.meta.key


# ---- status


def _status(view: LaneView, now: datetime, counts: dict[str, object]) -> ModelLaneStatus:
    lane = view.lane
    said: dict[str, Said] = {LaneCondition.READY: _ready(view, now), LaneCondition.PAUSED: _paused(view)}
    probe = view.probe if _is_current(view) else None
    known = {model.name: model for model in probe.models} if probe else {}
    before = {model.name: model for model in lane.status.models}
    models = []
    for model in lane.spec.models:
        seen, old = known.get(model.name), before.get(model.name)
        served = seen.served if seen else old.served if old else None
        context = seen.context_tokens if seen else old.context_tokens if old else None
        models.append(LaneModelStatus(name=model.name, served=served, context_tokens=context))
    return lane.status.model_copy(
        update={
            "observed_generation": lane.meta.generation,
            "conditions": merge_conditions(lane.status.conditions, said, generation=lane.meta.generation, now=now),
            **counts,
            "models": tuple(models),
            "last_probe_time": probe.probed_time if probe else lane.status.last_probe_time,
        }
    )


def _ready(view: LaneView, now: datetime) -> Said:
    lane = view.lane
    if lane.direct:
        return Said("True", LaneReason.NOT_PROBED, "a Direct lane is not probed; its runs call the server themselves")
    if view.gateway_down_since is not None and now - view.gateway_down_since >= GATEWAY_AWAY_FOR:
        since = f"{view.gateway_down_since:%H:%M:%SZ}"
        return Said("False", LaneReason.GATEWAY_UNAVAILABLE, f"the gateway has not answered since {since}")
    if view.probe is None or not _is_current(view):
        return _ready_before(view)
    good = view.probe.reachable and view.probe.reason is LaneReason.BACKEND_REACHABLE
    return Said("True" if good else "False", view.probe.reason, view.probe.message)


def _gateway_given_up(view: LaneView, now: datetime) -> datetime | None:
    """When a gateway that is away makes the lane not ready, if that is still to come."""
    if view.lane.direct or view.gateway_down_since is None:
        return None
    moment = view.gateway_down_since + GATEWAY_AWAY_FOR
    return moment if moment > now else None


def _ready_before(view: LaneView) -> Said:
    """Until the gateway has looked at this generation, what was known of it stands."""
    for condition in view.lane.status.conditions:
        if condition.type == LaneCondition.READY and condition.observed_generation == view.lane.meta.generation:
            return Said(condition.status, condition.reason, condition.message)
    return Said("Unknown", LaneReason.NOT_PROBED, "the gateway has not looked at it yet")


def _paused(view: LaneView) -> Said:
    if view.lane.spec.suspend:
        return Said("True", LaneReason.SUSPENDED_BY_USER, "spec.suspend is true: no new slots are granted")
    return Said("False", LaneReason.NOT_SUSPENDED)


def _is_current(view: LaneView) -> bool:
    """Every judgement of the gateway carries the generation it was made on; another one's is ignored."""
    probe, meta = view.probe, view.lane.meta
    return probe is not None and probe.uid == meta.uid and probe.generation == meta.generation


def _readiness_event(view: LaneView, status: ModelLaneStatus) -> tuple[Effect, ...]:
    old = next((c.status for c in view.lane.status.conditions if c.type == LaneCondition.READY), None)
    ready = next(c for c in status.conditions if c.type == LaneCondition.READY)
    if ready.status in {old, "Unknown"}:
        return ()
    good = ready.status == "True"
    reason = EventReason.LANE_READY if good else EventReason.LANE_NOT_READY
    key = f"ready-{ready.status}-{ready.last_transition_time.timestamp():.0f}"
    severity = EventType.NORMAL if good else EventType.WARNING
    return (PostEvent(reason, ready.message, key=key, type=severity),)
