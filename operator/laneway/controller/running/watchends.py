"""What follows when a watchdog has bitten: the attempt is closed and its pod stopped; then the run goes on or ends. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from laneway.api.health import Stopped
from laneway.api.reasons import Cause, End, EventReason, Outcome, StopReason
from laneway.controller.between import aftermath, rounds
from laneway.controller.decision.decision import RunDecision
from laneway.controller.decision.effects import EventType, PostEvent
from laneway.controller.ends import endings
from laneway.controller.ends.endings import Verdict
from laneway.controller.facts.views import RunView
from laneway.controller.limits import limitends
from laneway.controller.running import watchdogs

_EVENTS = {
    StopReason.STUCK: EventReason.RUN_STUCK,
    StopReason.IDLE: EventReason.RUN_IDLE,
    StopReason.LINGERED: EventReason.GRACE_KILL,
}


Stop = Callable[[RunView, datetime], RunDecision | None]
"""Closes an attempt and stops its pod; None: both are done."""


def attend(view: RunView, now: datetime, *, stop: Stop) -> RunDecision | None:
    """An agent that gets nowhere is stopped. What for is written first, with its Event, and stands from then on."""
    attempt = view.run.current
    if attempt is None or _ends_by_itself(view):
        return None
    if attempt.stopped is not None:
        return stop(view, now) or follow(view, now, attempt.stopped)
    found = watchdogs.find(view, now)
    stopping = stop(_noted(view, found), now) if found is not None else None
    if found is None or stopping is None:
        return None
    return replace(stopping, effects=(*stopping.effects, _told(view, found)))


def _noted(view: RunView, stopped: Stopped) -> RunView:
    """The view with what its attempt is stopped for in the run's status."""
    attempts = view.run.status.attempts
    latest = attempts[-1].model_copy(update={"stopped": stopped})
    status = view.run.status.model_copy(update={"attempts": (*attempts[:-1], latest)})
    return replace(view, run=replace(view.run, status=status))


def _told(view: RunView, stopped: Stopped) -> PostEvent:
    """The Event of it."""
    number = view.run.status.attempt
    message = f"attempt {number}: {stopped.message}; it is stopped"
    kind = EventType.NORMAL if stopped.succeeded else EventType.WARNING
    return PostEvent(_EVENTS[stopped.reason], message, key=f"stopped-{number}", type=kind)


def _ends_by_itself(view: RunView) -> bool:
    """Whether the agent came to its end before it could be stopped: it is judged by that."""
    return view.pod is not None and view.pod.finished and not view.pod.deleting


def follow(view: RunView, now: datetime, stopped: Stopped) -> RunDecision | None:
    """The end of an attempt that was stopped, once it is closed. None: its pod tells how it ended."""
    match stopped.reason:
        case StopReason.STUCK:
            return _was_stuck(view, now, stopped)
        case StopReason.IDLE:
            verdict = Verdict(Outcome.TIMED_OUT, End.IDLE_TIMEOUT, stopped.message, Cause.TASK_FAILURE)
            return rounds.follow(view, now, verdict)
        case StopReason.LINGERED if stopped.succeeded:
            return rounds.follow(view, now, Verdict(Outcome.SUCCEEDED, End.COMPLETED, stopped.message))
        case StopReason.LINGERED:
            return RunDecision(view.run.status) if view.pod is not None and not view.pod.finished else None


def _was_stuck(view: RunView, now: datetime, stopped: Stopped) -> RunDecision:
    """Trouble of its model like any other. If a call was answered at the last moment, the attempt is begun again."""
    failure = view.gateway.state.failure if view.gateway.state else None
    if failure is None:
        return limitends.begin_again(view, now)
    verdict = endings.model_trouble(Verdict(Outcome.FAILED, End.FAILED, stopped.message), failure)
    message = f"{stopped.message}; {verdict.message}"
    return aftermath.follow(view, now, replace(verdict, message=message), failure)
