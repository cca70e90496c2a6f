"""The status that grants a slot: ``Admitted=True`` together with the new attempt, in one write."""

from __future__ import annotations

from datetime import datetime

from laneway.api.reasons import EventReason, Phase
from laneway.api.runstatus import ATTEMPTS_KEPT, AgentRunStatus, CurrentStep
from laneway.controller import status
from laneway.controller.decide_lane import Grant
from laneway.controller.effects import PostEvent
from laneway.controller.endings import shown

_WAITED = {"backoff": None, "next_attempt_time": None}


def granted_status(grant: Grant, now: datetime) -> AgentRunStatus:
    """The next status of a run that gets a slot."""
    run, attempt = grant.run, grant.attempt
    attempts = (*run.status.attempts, attempt)[-ATTEMPTS_KEPT:]
    changed = run.status.model_copy(
        update={"attempt": attempt.id, "attempts": attempts, "step": _step(grant), "queue": None, **_WAITED}
    )
    lane = f"{attempt.step.namespace}/{attempt.step.lane}"
    said = status.active_conditions(Phase.STARTING, "Starting", "its pod is being made", lane=lane)
    return status.with_conditions(run, changed, said, phase=Phase.STARTING, reason="Starting", now=now)


def _step(grant: Grant) -> CurrentStep:
    """The run's step as it is; a run that was granted a slot at first sight has its first one."""
    step, known = grant.attempt.step, grant.run.status.step
    if known and (known.namespace, known.lane, known.model) == (step.namespace, step.lane, step.model):
        return known
    return CurrentStep(lane=step.lane, namespace=step.namespace, model=step.model)


def granted_event(grant: Grant) -> PostEvent:
    """The Event of a grant."""
    message = f"attempt {grant.attempt.id} got a slot of {shown(grant.attempt)}"
    return PostEvent(EventReason.SLOT_GRANTED, message, key=f"granted-{grant.attempt.id}")
