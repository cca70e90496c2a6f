"""What is noticed of a running attempt before anything ends it: stalled, long-running; said once each. Pure.

That turns are nearly used up is a warning of their limit, see ``limitwatch``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from laneway.api.health import HealthWarning
from laneway.api.reasons import EventReason, HealthKind
from laneway.controller.decision.decision import RunDecision
from laneway.controller.decision.effects import EventType, PostEvent
from laneway.controller.facts.views import RunView
from laneway.controller.running import watchdogs

LONG_AFTER = timedelta(minutes=60)
"""Row S4.22."""

_SILENT_AFTER = timedelta(seconds=60)
"""An agent that was heard of less long ago is looked at again then."""

_EVENTS = {HealthKind.STALLED: EventReason.RUN_STALLED, HealthKind.LONG_RUNNING: EventReason.LONG_RUNNING}


def attend(view: RunView, decision: RunDecision, now: datetime) -> RunDecision:
    """The decision with what is noticed now, an Event for what is new, and when watchdogs have to look again."""
    if view.run.finished or view.run.meta.deleting:
        return decision
    known = {one.kind: one for one in view.run.status.health}
    seen = tuple(_noticed(view, now)) if watchdogs.is_watched(view) else ()
    health = tuple(known.get(one.kind, one) for one in seen)
    events = tuple(_event(view, one) for one in seen if one.kind not in known)
    if health != decision.status.health:
        decision = replace(decision, status=decision.status.model_copy(update={"health": health}))
    goes_on = replace(view.run, status=decision.status).admitted
    own = _next_look(view, now) if goes_on else None
    sooner = decision.due is not None and (own is None or decision.due <= own)
    due = decision.due if sooner else _soon(view, own, now)
    return replace(decision, effects=(*decision.effects, *events), due=due)


def _noticed(view: RunView, now: datetime) -> Iterator[HealthWarning]:
    quiet, pod = watchdogs.quiet_since(view), view.pod
    if _is_stalled(view, quiet, now):
        message = f"no model call and no output since {quiet:%H:%M:%SZ}" if quiet else "no model call and no output"
        yield HealthWarning(kind=HealthKind.STALLED, time=now, message=message)
    if pod is not None and pod.started is not None and now >= pod.started + LONG_AFTER:
        message = f"the agent has run for {LONG_AFTER.total_seconds() / 60:.0f} minutes"
        yield HealthWarning(kind=HealthKind.LONG_RUNNING, time=now, message=message)


def _is_stalled(view: RunView, quiet: datetime | None, now: datetime) -> bool:
    """While nobody can tell, what was said before stands."""
    was = any(one.kind is HealthKind.STALLED for one in view.run.status.health)
    if watchdogs.is_blind(view):
        return was
    if quiet is None or now < quiet + watchdogs.stalls_after(view):
        return False
    return was or view.live_log is not None


def _next_look(view: RunView, now: datetime) -> datetime | None:
    """When something is due. While a call is open its end is told, and everything is looked at then."""
    pod = view.pod
    if not watchdogs.is_watched(view) or pod is None or pod.started is None:
        return None
    long = pod.started + LONG_AFTER if watchdogs.heard_last(view) is not None else None
    moments = (watchdogs.next_look(view, now), long)
    return min((moment for moment in moments if moment is not None and moment > now), default=None)


def _soon(view: RunView, due: datetime | None, now: datetime) -> datetime | None:
    """A far time is not set while an agent is busy: it would leave one behind for each of its calls."""
    heard = watchdogs.heard_last(view)
    if due is None or heard is None or not now < heard + _SILENT_AFTER < due:
        return due
    return heard + _SILENT_AFTER


def _event(view: RunView, one: HealthWarning) -> PostEvent:
    key = f"{one.kind.lower()}-{view.run.status.attempt}-{one.time:%Y%m%d%H%M%S}"
    return PostEvent(_EVENTS[one.kind], one.message, key=key, type=EventType.WARNING)
