"""The status that grants a slot: ``Admitted=True`` together with the new attempt, in one write. A wait is over with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from laneway.api.reasons import EventReason, Phase
from laneway.api.runstatus import ATTEMPTS_KEPT, AgentRunStatus, Attempt, CurrentStep
from laneway.controller.chain import moves
from laneway.controller.decision import status
from laneway.controller.decision.effects import PostEvent
from laneway.controller.ends import repeats
from laneway.controller.ends.endings import shown
from laneway.controller.facts.objects import Run
from laneway.controller.facts.views import Walk
from laneway.controller.limits import limitends
from laneway.controller.limits.words import held_lane
from laneway.rules import wording
from laneway.rules.chain import Link


@dataclass(frozen=True)
class Grant:
    """A slot for a run: the attempt that it begins."""

    run: Run
    attempt: Attempt


def granted_status(grant: Grant, links: Sequence[Link], now: datetime) -> AgentRunStatus:
    """The next status of a run that gets a slot.

    ``links``: its chain, which is said here if its lane was quicker than its own first look. The gateway needs it as soon as the agent can call.
    """
    run, attempt = grant.run, grant.attempt
    changed = run.status.model_copy(
        update={
            "attempt": attempt.id,
            "attempts": (*run.status.attempts, attempt)[-ATTEMPTS_KEPT:],
            "step": _step(grant),
            "queue": None,
            "backoff": None,
            "next_attempt_time": None,
            "limit_reached": None,
            **repeats.counted(run),
            **(moves.chain_said(links) if links and not run.status.chain else {}),
        }
    )
    lane, message = held_lane(attempt), "its pod is being made"
    said = status.active_conditions(Phase.STARTING, "Starting", message, lane=lane)
    return status.with_conditions(run, changed, said, phase=Phase.STARTING, reason="Starting", now=now)


def walked(walk: Walk, now: datetime) -> tuple[AgentRunStatus, PostEvent]:
    """The next status of a running attempt that gets a slot of another lane: it holds that one from now on; and the Event."""
    run, event = moves.moved_live(walk.run, walk.step, walk.cause, now, passed=walk.passed)
    lane = f"{walk.step.namespace}/{walk.step.lane}"
    said = status.active_conditions(Phase.RUNNING, "Running", "the agent is at work", lane=lane)
    changed = status.with_conditions(run, run.status, said, phase=Phase.RUNNING, reason="Running", now=now)
    return changed, event


def granted_events(grant: Grant, now: datetime) -> tuple[PostEvent, ...]:
    """The Events of a grant. The end of a wait is told before it; that the model is well again only a success can say (C19)."""
    number, backoff = grant.attempt.id, grant.run.status.backoff
    message = f"attempt {number} got a slot of {shown(grant.attempt)}"
    granted = PostEvent(EventReason.SLOT_GRANTED, message, key=f"granted-{number}")
    if backoff is None:
        _, gone_on = limitends.resumed(grant.run)
        return (*gone_on, granted)
    waited = round((now - backoff.since_time).total_seconds())
    step = backoff.step
    failed = wording.step_name(step.namespace, step.lane, step.model, home=grant.run.meta.namespace)
    over = f"waited {waited} s after {failed} failed ({wording.CAUSES[backoff.cause]})"
    return (PostEvent(EventReason.BACKOFF_ELAPSED, over, key=f"backoff-elapsed-{number}"), granted)


def _step(grant: Grant) -> CurrentStep:
    """The run's step with the lane's defaults filled in; what led to it stays."""
    named = grant.attempt.step
    names = {"lane": named.lane, "namespace": named.namespace, "model": named.model}
    step = grant.run.status.step
    return step.model_copy(update=names) if step else CurrentStep(**names)
