"""The wall of an attempt: how long its agent may run, whatever it does (S3.27). Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from laneway.api.reasons import Cause, End, Outcome
from laneway.controller.ends.endings import Verdict
from laneway.controller.facts.views import RunView


def due_at(view: RunView) -> datetime | None:
    """When the agent is stopped; None: it has not started, or may run as long as it likes."""
    seconds, attempt = view.run.spec.timeouts.attempt_seconds, view.run.current
    began = (view.pod.started if view.pod else None) or (attempt.start_time if attempt else None)
    return began + timedelta(seconds=seconds) if seconds is not None and began is not None else None


def is_over(view: RunView, now: datetime) -> bool:
    """Whether the agent has run into its wall. One that left by itself before that is judged by how it left."""
    due, pod = due_at(view), view.pod
    if due is None or now < due:
        return False
    if pod is None:
        return _was_stopped(view)
    return pod.deleting or not pod.finished


def verdict(view: RunView) -> Verdict:
    """How such an attempt ends: its task has failed, and may be tried again."""
    seconds = view.run.spec.timeouts.attempt_seconds
    message = f"the agent ran for {seconds} s and was stopped (spec.timeouts.attemptSeconds)"
    return Verdict(Outcome.TIMED_OUT, End.ATTEMPT_TIMEOUT, message, Cause.TASK_FAILURE)


def _was_stopped(view: RunView) -> bool:
    """Of a pod that is gone: whether its attempt was closed, as we do before a pod is stopped. On Direct lanes nobody can tell."""
    state = view.gateway.state
    return view.direct or (state is not None and state.closed)
