"""What follows when a limit is reached: the run ends, or waits for a higher one; and how it goes on when somebody raises it. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from laneway.api.limits import OnReached
from laneway.api.reasons import End, EventReason, Outcome, Phase, Waiting
from laneway.controller.decision import status
from laneway.controller.decision.decision import RunDecision
from laneway.controller.decision.effects import EventType, PostEvent
from laneway.controller.ends import endings
from laneway.controller.ends.endings import Verdict
from laneway.controller.facts.objects import Run
from laneway.controller.facts.views import RunView
from laneway.controller.limits.limitwatch import Hit
from laneway.controller.limits.words import to_continue
from laneway.rules import limits


def follow(view: RunView, now: datetime, hit: Hit) -> RunDecision:
    """The end of an attempt that has reached a limit, once it is closed and its pod is being stopped."""
    if view.run.spec.limits.on_reached is OnReached.PAUSE:
        return _pause_attempt(view, now, hit)
    return endings.end_run(view, now, _verdict(hit))


def stop_waiting(view: RunView, now: datetime) -> RunDecision | None:
    """A run without a slot that may begin no other attempt: it ends, or says what it waits for."""
    hit = _standing(view.run)
    if hit is None or view.run.spec.suspend:
        return None
    if view.run.spec.limits.on_reached is not OnReached.PAUSE:
        return endings.end_run(view, now, _verdict(hit))
    record = view.run.status.limit_reached
    if record is not None and limits.still_reached(view.run.spec.limits, record):
        return None
    return _paused(view.run, now, hit)


def resumed(run: Run) -> tuple[Run, tuple[PostEvent, ...]]:
    """The run without the limit that it waited for, once that was raised or removed; and the Event."""
    record = run.status.limit_reached
    if record is None or limits.still_reached(run.spec.limits, record):
        return run, ()
    value = limits.values(run.spec.limits).get(record.limit)
    now_is = f"is {limits.value_text(record.limit, value)} now" if value is not None else "was removed"
    message = f"spec.limits.{record.limit}, for which it waited, {now_is}; it goes on"
    event = PostEvent(EventReason.RESUMED, message, key=f"resumed-{record.limit}-{run.meta.generation}")
    return replace(run, status=run.status.model_copy(update={"limit_reached": None})), (event,)


def begin_again(view: RunView, now: datetime) -> RunDecision:
    """A limit was raised while the attempt was being ended for it: another one follows, and that is no retry."""
    words = "what the attempt was stopped for no longer holds; it is begun again"
    decision = _queue_again(view, now, words)
    key = f"resumed-{decision.status.attempts[-1].id}"
    return replace(decision, effects=(PostEvent(EventReason.RESUMED, words, key=key),))


def leave_lane(view: RunView, now: datetime) -> RunDecision:
    """The namespace may spend no more on the lane: the attempt is over, and the run waits without pod and slot, or takes another step."""
    words = "its namespace may spend no more on the lane in this period"
    decision = _queue_again(view, now, words)
    attempt = decision.status.attempts[-1]
    return replace(decision, effects=(endings.ended_event(attempt.id, Verdict(Outcome.LIMIT, _end(view), words)),))


def _queue_again(view: RunView, now: datetime, words: str) -> RunDecision:
    """The attempt closed, and the run in line again; its next pass says what it waits for."""
    closed = endings.close_books(view, now, Verdict(Outcome.LIMIT, _end(view), words))
    next_status = status.with_conditions(
        view.run,
        view.run.status.model_copy(update=closed.update),
        status.waiting_conditions(Waiting.WAITING_FOR_SLOT, words),
        phase=Phase.QUEUED,
        reason=Waiting.WAITING_FOR_SLOT,
        now=now,
    )
    return RunDecision(next_status)


def _pause_attempt(view: RunView, now: datetime, hit: Hit) -> RunDecision:
    verdict = _verdict(hit)
    closed = endings.close_books(view, now, verdict)
    run = replace(view.run, status=view.run.status.model_copy(update=closed.update))
    decision = _paused(run, now, hit)
    return replace(decision, effects=(endings.ended_event(closed.attempts[-1].id, verdict), *decision.effects))


def _paused(run: Run, now: datetime, hit: Hit) -> RunDecision:
    message = to_continue(hit.words, hit.limit)
    record = hit.record(now)
    next_status = status.with_conditions(
        run,
        run.status.model_copy(
            update={"limit_reached": record, "queue": None, "backoff": None, "next_attempt_time": None}
        ),
        status.waiting_conditions(Waiting.LIMIT_PAUSED, message),
        phase=Phase.PAUSED,
        reason=Waiting.LIMIT_PAUSED,
        now=now,
    )
    key = f"paused-{hit.limit}-{record.value}-{run.status.attempt or 0}"
    return RunDecision(next_status, (PostEvent(EventReason.LIMIT_PAUSED, message, key=key, type=EventType.WARNING),))


def _end(view: RunView) -> End:
    """How the run would have ended."""
    refusal = view.gateway.state.refusal if view.gateway.state else None
    return status.LIMIT_ENDS[refusal.limit] if refusal else End.BUDGET_REACHED


def _standing(run: Run) -> Hit | None:
    limit = run.limit_reached
    if limit is None:
        return None
    used = limits.used_of(run.status.usage, run.status.active_seconds)
    return Hit(limit, limits.values(run.spec.limits)[limit], used.of(limit))


def _verdict(hit: Hit) -> Verdict:
    return Verdict(Outcome.LIMIT, status.LIMIT_ENDS[hit.limit], f"{hit.words} (spec.limits.{hit.limit})")
