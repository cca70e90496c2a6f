"""Agents that run and get nowhere: stuck, idle, or lingering after their result. Pure.

Stuck is what the gateway sees: calls that only fail. Idle is what nobody sees: no open call, no call, no line in the log. Lingering is an agent
whose log has its result while the container goes on. When each is due follows from the object, the pod, the gateway's state and the log, all of
which outlive a restart. What is not known (a gateway that is away, a log that cannot be read) ends nothing.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from laneway.api.agentrun import RunTimeouts
from laneway.api.gatewaystate import AttemptState
from laneway.api.health import Stopped
from laneway.api.reasons import StopReason
from laneway.controller.facts.pods import PodFacts
from laneway.controller.facts.presets import LogParser
from laneway.controller.facts.views import RunView
from laneway.rules.chain import TRANSIENT_CAUSES

STUCK_SECONDS = 180
"""Row S4.13; less where idleSeconds is short."""
LONGEST_QUIET = timedelta(seconds=600)
"""Row S4.22: after so long without a sign an agent is looked at more closely, and said to be stalled; or after half of idleSeconds."""
_LOOK_EVERY = timedelta(seconds=60)
"""How often a log is tried that could not be read."""
_RESULT_LOOK_EVERY = timedelta(seconds=10)
"""How often, at most, a log is looked at for a result."""


def find(view: RunView, now: datetime) -> Stopped | None:
    """What an agent that runs is to be stopped for."""
    if not is_watched(view):
        return None
    return _lingering(view, now) or _stuck(view, now) or _idle(view, now)


def next_look(view: RunView, now: datetime) -> datetime | None:
    """When to look again although nothing happens."""
    if not is_watched(view):
        return None
    quiet, heard, grace = quiet_since(view), heard_last(view), _grace(view)
    moments = [stuck_at(view), _after(quiet, stalls_after(view)), _after(quiet, idles_after(view)), _lingers_at(view)]
    if grace is not None and heard is not None and _said(view) is None:
        first = heard + grace
        moments.append(first if first > now else now + max(grace, _RESULT_LOOK_EVERY))
    if wants_log(view, now) and view.live_log is None:
        moments.append(now + _LOOK_EVERY)
    return min((moment for moment in moments if moment is not None and moment > now), default=None)


def wants_log(view: RunView, now: datetime) -> bool:
    """Whether the log of a running agent has to be looked at: it has been quiet for long, or may have said its result."""
    heard, grace = heard_last(view), _grace(view)
    if not is_watched(view) or heard is None:
        return False
    return now >= heard + stalls_after(view) or (grace is not None and now >= heard + grace)


def wants_result(view: RunView) -> bool:
    """Whether it is to be looked for the result, too."""
    return _grace(view) is not None


def is_watched(view: RunView) -> bool:
    """Whether the agent of the current attempt is at work, and nothing stops it yet."""
    pod, attempt = view.pod, view.run.current
    at_work = pod is not None and pod.started is not None and not pod.finished and not pod.deleting
    return at_work and attempt is not None and attempt.stopped is None


def is_blind(view: RunView) -> bool:
    """Whether nobody can tell now what the agent does: the gateway that carries its calls is away."""
    return not view.direct and (view.gateway.down_since is not None or not view.gateway.known)


def quiet_since(view: RunView) -> datetime | None:
    """Since when nothing was heard of the agent, neither by the gateway nor in its log; None: a call is open, or nobody knows."""
    heard, log = heard_last(view), view.live_log
    if heard is None or log is None or log.last_output is None:
        return heard
    return max(heard, log.last_output)


def stalls_after(view: RunView) -> timedelta:
    """How long an agent is quiet before that is told: half of what ends it."""
    idle = idles_after(view)
    return LONGEST_QUIET if idle is None else idle / 2


def idles_after(view: RunView) -> timedelta | None:
    """How long an agent may be quiet; None: as long as it likes."""
    seconds = view.run.spec.timeouts.idle_seconds
    return timedelta(seconds=seconds) if seconds else None


def stuck_at(view: RunView) -> datetime | None:
    """When an attempt whose calls only fail has done so for too long; None: they do not, or it needs another failure to say so.

    An agent that goes on calling is stuck once its failures span the time: a call that is open may still be answered. One that has fallen
    silent after a failure that passes by itself hangs on it; after any other failure it may be at work on something else.
    """
    state, limit = _gateway_state(view), _stuck_after(view.run.spec.timeouts)
    if state is None or limit is None or state.failure is None or state.failing_since_time is None:
        return None
    due = state.failing_since_time + limit
    hangs = not state.open_calls and state.failure.cause in TRANSIENT_CAUSES
    return due if hangs or state.failure.seen_time >= due else None


def _stuck(view: RunView, now: datetime) -> Stopped | None:
    due, state = stuck_at(view), _gateway_state(view)
    if due is None or now < due or state is None or state.failing_since_time is None:
        return None
    message = f"stuck: since {state.failing_since_time:%H:%M:%SZ} its model calls have only failed"
    return Stopped(reason=StopReason.STUCK, time=now, message=message)


def _idle(view: RunView, now: datetime) -> Stopped | None:
    quiet, limit = quiet_since(view), idles_after(view)
    if quiet is None or limit is None or view.live_log is None or now < quiet + limit:
        return None
    message = f"no model call and no output for {limit.total_seconds():.0f} s (spec.timeouts.idleSeconds)"
    return Stopped(reason=StopReason.IDLE, time=now, message=message)


def _lingering(view: RunView, now: datetime) -> Stopped | None:
    due, log = _lingers_at(view), view.live_log
    if due is None or log is None or now < due:
        return None
    seconds = view.run.spec.timeouts.grace_after_result_seconds
    message = f"the agent said its result and was still there {seconds} s later (spec.timeouts.graceAfterResultSeconds)"
    return Stopped(reason=StopReason.LINGERED, time=now, message=message, succeeded=log.succeeded or None)


def _lingers_at(view: RunView) -> datetime | None:
    """When an agent that said its result should be gone. One with an open call has not ended."""
    return _after(_said(view), _grace(view)) if heard_last(view) is not None else None


def _said(view: RunView) -> datetime | None:
    return view.live_log.result if view.live_log else None


def _grace(view: RunView) -> timedelta | None:
    seconds, preset = view.run.spec.timeouts.grace_after_result_seconds, view.preset
    parsed = preset is not None and preset.log_parser is not LogParser.NONE
    return timedelta(seconds=seconds) if seconds and parsed else None


def _stuck_after(timeouts: RunTimeouts) -> timedelta | None:
    """0 is never; unset is what is less of 180 s and half of idleSeconds."""
    seconds = timeouts.stuck_seconds
    if seconds is None:
        seconds = min(STUCK_SECONDS, timeouts.idle_seconds // 2) if timeouts.idle_seconds else STUCK_SECONDS
    return timedelta(seconds=seconds) if seconds else None


def heard_last(view: RunView) -> datetime | None:
    """When the gateway last heard of the agent. On Direct lanes that is its start; None: a call is open, or the gateway is away."""
    pod: PodFacts | None = view.pod
    if pod is None or pod.started is None:
        return None
    if view.direct:
        return pod.started
    gateway = view.gateway
    if is_blind(view) or (gateway.state and gateway.state.open_calls):
        return None
    # Calls that were open when the gateway began anew were lost with it.
    told = (gateway.state.last_activity_time if gateway.state else None, gateway.started)
    return max([pod.started, *(moment for moment in told if moment)])


def _gateway_state(view: RunView) -> AttemptState | None:
    """What the gateway says now; nothing on Direct lanes, or while it is away."""
    return None if view.direct or is_blind(view) else view.gateway.state


def _after(moment: datetime | None, time: timedelta | None) -> datetime | None:
    return moment + time if moment is not None and time is not None else None
