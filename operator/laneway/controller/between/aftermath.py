"""After an attempt that trouble of its model ended: the run walks on, waits, or ends. Pure.

All of it is decided in the pass that judges the attempt, and written at once with the attempt's end, so that no moment is left in which a crash
could lose the failure or let the run begin again too soon.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from laneway.api.agentrun import OnTransientError
from laneway.api.gatewaystate import CallFailure
from laneway.api.reasons import Cause, End, EventReason, ResetSource
from laneway.api.runstatus import RAW_LIMIT, Attempt, BackoffStatus, Trouble
from laneway.controller.between import waiting
from laneway.controller.between.choice import choose, is_soon, step_after
from laneway.controller.chain import moves
from laneway.controller.chain.survey import Survey, survey
from laneway.controller.decision.decision import RunDecision
from laneway.controller.decision.effects import PostEvent
from laneway.controller.ends import endings
from laneway.controller.ends.endings import Verdict
from laneway.controller.facts.objects import Lane, Run
from laneway.controller.facts.views import RunView
from laneway.controller.health.own import after_attempt
from laneway.controller.health.records import model_health
from laneway.rules import wording
from laneway.rules.backoff import ATTEMPT_SPACING, Policy, jitter, next_attempt
from laneway.rules.chain import TRANSIENT_CAUSES, Shut, admits, reached
from laneway.rules.cooldown import Outcome, ceil_second

_WALKING_CAUSES = frozenset({Cause.MODEL_NOT_FOUND, Cause.WIRE_API_UNSUPPORTED, Cause.UNSUITABLE})
"""Permanent for this step, and no reason to stop while the chain has another."""
_UNSUITABLE_STATUSES = frozenset({400, 422})


@dataclass(frozen=True)
class _Failed:
    """An attempt that failed, and the chain after it."""

    view: RunView
    verdict: Verdict
    run: Run
    """With the attempt closed."""
    seen: Survey
    step: int | None
    """Where its step stands in the chain; None: the chain has changed."""
    because: Shut
    target: int | None
    """The step to go to at once."""

    @property
    def attempt(self) -> Attempt:
        return self.run.status.attempts[-1]

    @property
    def cause(self) -> Cause:
        return self.attempt.cause or Cause.UNKNOWN


def follow(view: RunView, now: datetime, verdict: Verdict, failure: CallFailure) -> RunDecision:
    """What follows a verdict of model trouble."""
    view = _where_it_failed(view, failure)
    failed = _close(view, now, verdict, failure)
    if failed.cause in TRANSIENT_CAUSES:
        return _passing(failed, failure, now)
    return _lasting(failed, now)


def _where_it_failed(view: RunView, failure: CallFailure) -> RunView:
    """The view with the attempt on the step whose call failed last: it may have been sent to another one just before it ended."""
    step, attempts = failure.step, view.run.status.attempts
    if step is None or step == attempts[-1].step:
        return view
    there = (*attempts[:-1], attempts[-1].model_copy(update={"step": step}))
    run = replace(view.run, status=view.run.status.model_copy(update={"attempts": there}))
    return replace(view, run=run, lane=view.lanes.get((step.namespace, step.lane)))


def _close(view: RunView, now: datetime, verdict: Verdict, failure: CallFailure) -> _Failed:
    """The attempt closed, and the chain as it is with what was learned. With another step to go to, the model rests as C15 says."""
    verdict = replace(verdict, cause=_cause(view, verdict, failure))
    trouble = Trouble(
        sent_time=_floor(failure.sent_time),
        seen_time=_floor(failure.seen_time),
        status=failure.status,
        reset_time=ceil_second(failure.reset_time) if failure.reset_time else None,
        reset_source=failure.reset_source,
    )
    failed = _with(view, now, replace(verdict, trouble=trouble))
    if failed.target is None:
        return failed
    return _with(view, now, replace(verdict, trouble=trouble.model_copy(update={"elsewhere": True})))


def _with(view: RunView, now: datetime, verdict: Verdict) -> _Failed:
    closed = endings.close_books(view, now, verdict)
    run = replace(view.run, status=view.run.status.model_copy(update=closed.update))
    seen = survey(view, now, run)
    seen = replace(seen, run=replace(run, status=moves.with_chain(seen)))
    step = closed.attempts[-1].step
    number = seen.chain.index(step.namespace, step.lane, step.model)
    because = Shut(verdict.cause, view.lane is not None and view.lane.spec.advance_on_permanent)
    return _Failed(view, verdict, seen.run, seen, number, because, step_after(seen, failed=number, because=because))


def _cause(view: RunView, verdict: Verdict, failure: CallFailure) -> Cause:
    """A 400 or 422 is the step's own fault if another one has served this run and this one never has (design section 6)."""
    cause = verdict.cause or Cause.UNKNOWN
    if cause is not Cause.TASK_FAILURE or failure.status not in _UNSUITABLE_STATUSES:
        return cause
    *_, current = view.run.status.attempts
    served = {attempt.step for attempt in view.run.status.attempts[:-1] if attempt.usage and attempt.usage.turns}
    turns = endings.final_usage(view, current).turns
    here = turns and _has_served(view, current)
    elsewhere = served or (turns and not here)
    return Cause.UNSUITABLE if not here and elsewhere and current.step not in served else cause


def _has_served(view: RunView, attempt: Attempt) -> bool:
    """Whether the turns of an attempt came, at least in part, from the step that it is on."""
    used = view.gateway.state.model if view.gateway.state else None
    if used is not None and used.step == attempt.step:
        return used.served
    return attempt.moved_time is None


def has_other_step(view: RunView, now: datetime) -> bool:
    """Whether a run could go on at once on another step if the model of its own failed in a way that passes."""
    seen = survey(view, now)
    return step_after(seen, failed=seen.current or 0, because=Shut(Cause.API_TRANSIENT)) is not None


# ---- what passes by itself


def _passing(failed: _Failed, failure: CallFailure, now: datetime) -> RunDecision:
    """Another step at once; else the wait, or the end that the run asked for. A server's time that is near is waited for (C10b)."""
    lane, action = failed.view.lane, failed.run.spec.on_transient_error
    backoff = _backoff(failed, lane, failure) if lane else None
    within = timedelta(seconds=lane.spec.fallback_after_seconds) if lane else timedelta(0)
    waits_here = backoff is not None and is_soon(backoff, within) and action is not OnTransientError.STOP
    if failed.target is not None and not waits_here:
        return _move_on(failed, failed.target)
    if action is OnTransientError.STOP:
        message = f"{failed.verdict.message}; no other step is free, and spec.onTransientError is Stop"
        return endings.end_run(failed.view, now, replace(failed.verdict, end=End.TRANSIENT_STOP, message=message))
    return _back_off(failed, backoff, lane, now, here=waits_here)


def _back_off(
    failed: _Failed, backoff: BackoffStatus | None, lane: Lane | None, now: datetime, *, here: bool
) -> RunDecision:
    if backoff is None or lane is None:
        return _told(failed, waiting.shut_out(replace(failed.seen, run=waiting.with_next_attempt(failed.seen))))
    update = {"backoff": backoff, "next_attempt_time": _next(failed, backoff, lane, now, here=here)}
    run = replace(failed.run, status=failed.run.status.model_copy(update=update))
    decision = waiting.shut_out(replace(failed.seen, run=run))
    event = PostEvent(
        EventReason.BACKING_OFF, _words(failed, run, backoff, now), key=f"backing-off-{failed.attempt.id}"
    )
    return _told(failed, replace(decision, effects=(*decision.effects, event)))


def _next(failed: _Failed, backoff: BackoffStatus, lane: Lane, now: datetime, *, here: bool) -> datetime | None:
    """When the run looks again. ``here``: only its own model counts; else the first end of a cooldown among its steps."""
    if failed.run.spec.on_transient_error is OnTransientError.SKIP:
        waits = replace(failed.run, status=failed.run.status.model_copy(update={"backoff": backoff}))
        if not here and choose(replace(failed.seen, run=waits), stands_in_line=False) is not None:
            return ceil_second(backoff.since_time + ATTEMPT_SPACING)
    others = [step.cooldown.until for step in failed.seen.steps if step.cooldown and step.cooldown.until and not here]
    own = [backoff.applied_reset_time] if backoff.applied_reset_time else []
    until = min([*others, *own], default=None)
    if until is None:
        return None
    spread = jitter(failed.run.meta.uid, failed.attempt.id)
    ceiling = Policy.of(lane.spec).ceiling
    return ceil_second(next_attempt(until, failed=backoff.since_time, now=now, spread=spread, ceiling=ceiling))


def _backoff(failed: _Failed, lane: Lane, failure: CallFailure) -> BackoffStatus:
    """The wait as status shows it: by the failure itself, or by what the lane knows already of the same outage (C5)."""
    attempt, trouble = failed.attempt, failed.verdict.trouble
    if trouble is None:
        raise ValueError("an attempt that model trouble ended has its trouble")
    outcome = after_attempt(failed.run, lane, attempt) or _known(failed, lane)
    cooldown = outcome.health.cooldown
    source = cooldown.source if cooldown else trouble.reset_source or ResetSource.ESTIMATED
    hinted = trouble.reset_time is not None and source is ResetSource.RETRY_AFTER
    hint = failure.reset_time - failure.seen_time if hinted and failure.reset_time else None
    return BackoffStatus(
        cause=failed.cause,
        step=attempt.step,
        count=outcome.count,
        source=source,
        since_attempt=attempt.id,
        since_time=trouble.seen_time,
        retry_after_seconds=max(0, round(hint.total_seconds())) if hint is not None else None,
        original_reset_time=outcome.original,
        applied_reset_time=cooldown.until if cooldown else outcome.original or trouble.seen_time,
        capped=outcome.capped or None,
        raw=failure.message[:RAW_LIMIT] or None,
    )


def _known(failed: _Failed, lane: Lane) -> Outcome:
    """The lane has heard of this outage by another run: its cooldown holds, and its counter."""
    health = model_health(lane, failed.attempt.step.model)
    shown = failed.seen.steps[failed.step].cooldown if failed.step is not None else None
    estimated = shown is not None and shown.source is ResetSource.ESTIMATED
    return Outcome(
        replace(health, cooldown=shown),
        count=health.counts.get(failed.cause, 0) if estimated else 0,
        original=shown.until if shown else None,
    )


def _words(failed: _Failed, run: Run, backoff: BackoffStatus, now: datetime) -> str:
    row = f", {backoff.count} in a row" if backoff.count > 1 else ""
    capped = ", the longest that the lane allows" if backoff.capped else ""
    planned = run.status.next_attempt_time
    until = wording.clock(backoff.applied_reset_time, now) if backoff.applied_reset_time else "somebody acts"
    step = backoff.step
    name = wording.step_name(step.namespace, step.lane, step.model, home=run.meta.namespace)
    again = f"next attempt {wording.clock(planned, now)}" if planned else "it waits for a person"
    return (
        f"{name} failed ({wording.CAUSES[backoff.cause]}{row}) and rests until {until}"
        f" ({wording.source(backoff.source)}{capped}); {again}; no pod and no slot is held until then"
    )


# ---- what does not pass by itself


def _lasting(failed: _Failed, now: datetime) -> RunDecision:
    """Another step if the cause leads to one; a wait if such a step only cools; else the end."""
    if not _looks_elsewhere(failed):
        return endings.end_run(failed.view, now, failed.verdict)
    if failed.target is not None:
        return _move_on(failed, failed.target)
    if _is_any_left(failed):
        return _told(failed, waiting.shut_out(replace(failed.seen, run=waiting.with_next_attempt(failed.seen))))
    if len(failed.seen.steps) == 1:
        return endings.end_run(failed.view, now, failed.verdict)
    everything = "; ".join(failed.seen.waits())
    message = f"{failed.verdict.message}; no step of the chain is left: {everything}"
    return endings.end_run(failed.view, now, replace(failed.verdict, end=End.CHAIN_EXHAUSTED, message=message))


def _looks_elsewhere(failed: _Failed) -> bool:
    below = failed.seen.links[failed.step + 1 :] if failed.step is not None else failed.seen.links
    return failed.cause in _WALKING_CAUSES or any(admits(link, failed.because) for link in below)


def _is_any_left(failed: _Failed) -> bool:
    seen = failed.seen
    led = set(reached(seen.links, seen.shut))
    if failed.step is not None:
        led |= set(reached(seen.links, {**seen.shut, failed.step: failed.because}, start=failed.step))
    return any(seen.steps[number].left for number in led if number != failed.step)


# ---- in common


def _move_on(failed: _Failed, to: int) -> RunDecision:
    if to == failed.seen.current:
        return _told(failed, waiting.queued(replace(failed.view, place=None), failed.seen))
    run, told = moves.moved(failed.seen, to, failed.cause)
    decision = waiting.queued(replace(failed.view, place=None), replace(failed.seen, run=run))
    return _told(failed, replace(decision, effects=(*decision.effects, *told)))


def _told(failed: _Failed, decision: RunDecision) -> RunDecision:
    event = endings.ended_event(failed.attempt.id, failed.verdict)
    return replace(decision, effects=(event, *decision.effects))


def _floor(moment: datetime) -> datetime:
    """As status keeps it: what the lane reads there must be what this pass reckoned with."""
    return moment.replace(microsecond=0)
