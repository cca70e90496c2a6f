"""A run without a slot: which step of its chain it is on, what it waits for there, and when to look again. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from laneway.api.reasons import Cause, End, Outcome, Phase, RunCondition, Waiting
from laneway.api.runstatus import AgentRunStatus, BackoffStatus, Queue
from laneway.controller.between import classification
from laneway.controller.between.choice import came_early, choose, holds_its_place
from laneway.controller.chain import activemodel, moves
from laneway.controller.chain.eligibility import Blocker, Question, find_refusal, find_run_mistake, find_start_blocker
from laneway.controller.chain.survey import Survey, survey
from laneway.controller.decision import status
from laneway.controller.decision.decision import RunDecision
from laneway.controller.decision.effects import Effect
from laneway.controller.ends import endings, repeats
from laneway.controller.facts.objects import Run
from laneway.controller.facts.place import Place
from laneway.controller.facts.views import DependencyState, RunView
from laneway.controller.limits import limitends
from laneway.rules import wording
from laneway.rules.backoff import Policy, jitter, next_attempt
from laneway.rules.cooldown import ceil_second

PLACE_STANDS = timedelta(seconds=5)
"""A place is for people. Written at every move it would cost ten statuses for each slot that is granted; so it is told when it lasts."""
RANGE_STANDS = timedelta(seconds=10)
"""The same for a place far behind, which is told as a range."""
PLACE_TOLD_EVERY = timedelta(minutes=1)
"""A place that never lasts is told this often."""

_PHASES = {
    Waiting.SUSPENDED: Phase.SUSPENDED,
    Waiting.LIMIT_PAUSED: Phase.PAUSED,
    Waiting.SPEND_REACHED: Phase.BACKING_OFF,
    Waiting.WAITING_FOR_RETRY: Phase.BACKING_OFF,
    Waiting.BACKING_OFF: Phase.BACKING_OFF,
    Waiting.ALL_MODELS_COOLING: Phase.BACKING_OFF,
}


def cancelled(view: RunView, now: datetime) -> RunDecision | None:
    """Ends at once, whatever it waits for."""
    if not view.run.spec.cancel:
        return None
    return endings.end_run(view, now, endings.Verdict(Outcome.CANCELLED, End.CANCELLED, "spec.cancel was set"))


def dependency_failed(view: RunView, now: datetime) -> RunDecision | None:
    """What it needs did not come about. A suspended run is left alone: what failed may be deleted and made anew before it goes on."""
    failed = [one for one in view.dependencies if one.state is DependencyState.FAILED]
    if not failed or view.run.spec.suspend:
        return None
    message = f"run {failed[0].name}, which it depends on, did not succeed ({failed[0].reason})"
    return endings.end_run(view, now, endings.Verdict(Outcome.FAILED, End.DEPENDENCY_FAILED, message))


def waits(view: RunView, now: datetime) -> RunDecision:
    """What the run waits for. In the same pass it moves to the step that it should be on, and that step's wait is told."""
    run, gone_on = limitends.resumed(repeats.rested(view.run, now))
    seen = survey(view, now, run)
    seen = replace(seen, run=replace(run, status=moves.with_chain(seen)))
    before, told = seen.run, (*gone_on, *moves.unknown_models(seen))
    if seen.current is None:
        seen, effects = _move(seen, 0, Cause.MANUAL, asked=False)
        told = (*told, *effects)
    held = _before_any_step(view, seen)
    wish = activemodel.wish(seen)
    target = _target(view, seen, held) if wish is None else wish
    if target is not None and target != seen.current:
        cause = _why(seen, target) if wish is None else Cause.MANUAL
        seen, effects = _move(seen, target, cause, asked=wish is not None)
        told = (*told, *effects)
    if seen.run.status.step != before.status.step:
        view = replace(view, place=None)
    decision = _stay(view, seen, held, is_open=target is not None)
    changed = decision.status.step != view.run.status.step or decision.status.reason != view.run.status.reason
    return replace(decision, effects=(*decision.effects, *told)) if changed else decision


def _move(seen: Survey, to: int, cause: Cause, *, asked: bool) -> tuple[Survey, tuple[Effect, ...]]:
    run, told = moves.moved(seen, to, cause, asked=asked)
    return replace(seen, run=run), told


def _before_any_step(view: RunView, seen: Survey) -> Blocker | None:
    """What keeps the run from every step. What has to be corrected comes before what only takes time."""
    question = Question(
        run=seen.run,
        lane=view.lane,
        presets=view.presets,
        usable_lanes=view.usable_lanes,
        now=seen.now,
        dependencies=view.dependencies,
    )
    if mistake := find_run_mistake(question):
        return mistake
    return find_start_blocker(question) if any(step.left for step in seen.steps) else None


def _target(view: RunView, seen: Survey, held: Blocker | None) -> int | None:
    """The step to be on. By itself a run moves only when it could begin."""
    if held is not None:
        return seen.current
    return choose(seen, stands_in_line=view.place is not None)


def _why(seen: Survey, to: int) -> Cause:
    """Why the run leaves its step: what shuts it; on the way back up what had led down; else that its lane is full."""
    current, step = seen.current, seen.run.status.step
    blocker = seen.steps[current].blocker if current is not None else None
    if blocker is not None and blocker.cause is not None:
        return blocker.cause
    up = current is not None and to < current
    return step.cause if up and step is not None and step.cause else Cause.FULL


def _stay(view: RunView, seen: Survey, held: Blocker | None, *, is_open: bool) -> RunDecision:
    """What the run waits for on its step."""
    run, now = seen.run, seen.now
    if held is not None:
        return _blocked(seen, held)
    if not is_open:
        return shut_out(replace(seen, run=with_next_attempt(seen)))
    planned = run.status.next_attempt_time
    if run.status.backoff and planned and now < planned and not came_early(run, now):
        return _blocked(seen, Blocker(Waiting.BACKING_OFF, _backing_off(seen), planned))
    seen = replace(seen, run=replace(run, status=run.status.model_copy(update={"next_attempt_time": None})))
    if unclassified := classification.find_blocker(seen):
        return _classify(replace(view, run=seen.run), seen, unclassified)
    question = Question(run=run, lane=None, presets=view.presets, usable_lanes=(), now=now)
    if refused := find_refusal(question):
        return _blocked(seen, refused)
    return _waited_too_long(replace(view, run=seen.run), now) or queued(view, seen)


def _classify(view: RunView, seen: Survey, blocker: Blocker) -> RunDecision:
    """The model of its step is not chosen yet: ask for it, or take the default tier where there is nobody, or nothing, to ask."""
    answer = classification.without_asking(view, seen)
    if answer is None:
        return replace(_blocked(seen, blocker), effects=(classification.question(seen),))
    view, told = classification.settled(view, answer)
    decision = waits(view, seen.now)
    return replace(decision, effects=(*told, *decision.effects))


def shut_out(seen: Survey) -> RunDecision:
    """No step is open: say what a person can act on, and look again when the first one may be.

    One step: its own blocker. Several: that they cool, with every step and why (S2.38); else the first one's blocker, the others named.
    """
    run, steps = seen.run, seen.steps
    planned = run.status.next_attempt_time
    backs_off = run.status.backoff is not None and planned is not None
    if holds_its_place(seen) or (backs_off and sum(step.left for step in steps) <= 1):
        return _blocked(seen, Blocker(Waiting.BACKING_OFF, _backing_off(seen), planned))
    everything = "; ".join(seen.waits())
    if any(step.cooldown for step in steps):
        again = f"; next attempt {wording.clock(planned, seen.now)}" if planned else ""
        return _blocked(seen, Blocker(Waiting.ALL_MODELS_COOLING, f"{everything}{again}", planned))
    told = next((step.blocker for step in steps if step.blocker and not step.barred), steps[0].blocker)
    if told is None:
        raise ValueError("a run that no step is open for has one that is shut")
    several = f"no step can be used: {everything}" if len(steps) > 1 else told.message
    return _blocked(seen, replace(told, message=several))


def with_next_attempt(seen: Survey) -> Run:
    """The run with the time of its next look: what was planned, while that is to come; else the first end of a cooldown.

    A run that failed adds its share of the spread to that (C17); one that never did begins when the model is back (S4.52).
    """
    run, now = seen.run, seen.now
    backoff, planned = run.status.backoff, run.status.next_attempt_time
    if backoff is not None and planned is not None and now < planned:
        return run
    ends = [step.cooldown.until for step in seen.steps if step.cooldown and step.cooldown.until]
    moment = min(ends, default=None)
    if moment is not None and backoff is not None:
        lane = seen.steps[seen.current].lane if seen.current is not None else None
        moment = next_attempt(
            moment,
            failed=backoff.since_time,
            now=now,
            spread=jitter(run.meta.uid, run.status.attempt or 0),
            ceiling=Policy.of(lane.spec).ceiling if lane else moment - now,
        )
    update = {"next_attempt_time": ceil_second(moment) if moment else None, "backoff": _with_end(seen, backoff)}
    return replace(run, status=run.status.model_copy(update=update))


def _with_end(seen: Survey, backoff: BackoffStatus | None) -> BackoffStatus | None:
    """The wait with the end that holds now: the model may have failed others since."""
    if backoff is None:
        return None
    step = backoff.step
    number = seen.chain.index(step.namespace, step.lane, step.model)
    known = seen.steps[number].cooldown if number is not None else None
    return backoff.model_copy(update={"applied_reset_time": known.until}) if known else backoff


def _backing_off(seen: Survey) -> str:
    backoff, planned = seen.run.status.backoff, seen.run.status.next_attempt_time
    why = wording.CAUSES[backoff.cause] if backoff else ""
    failed = wording.step_name(*_names(backoff), home=seen.run.meta.namespace) if backoff else ""
    waits = "; ".join(seen.waits())
    again = f"next attempt {wording.clock(planned, seen.now)}" if planned else "it waits for a person"
    return "; ".join(part for part in (f"{failed} failed ({why})", waits, again) if part)


def _names(backoff: BackoffStatus) -> tuple[str, str, str]:
    return backoff.step.namespace, backoff.step.lane, backoff.step.model


def _blocked(seen: Survey, blocker: Blocker) -> RunDecision:
    run = seen.run
    next_status = status.with_conditions(
        run,
        run.status.model_copy(update={"queue": None}),
        status.waiting_conditions(blocker.reason, _with_cuts(seen, blocker.message)),
        phase=_PHASES.get(blocker.reason, Phase.PENDING),
        reason=blocker.reason,
        now=seen.now,
    )
    return RunDecision(next_status, due=blocker.until)


def _with_cuts(seen: Survey, message: str) -> str:
    """A chain that had to be cut says so for as long as its run waits (S2.30)."""
    if seen.chain.cycles:
        lanes = ", ".join("/".join(key) for key in seen.chain.cycles)
        message = f"{message} (the fallbacks of lane {lanes} lead back to it; the chain ends there)"
    if seen.chain.shortened:
        message = f"{message} (the chain is longer or deeper than allowed; the rest is left out)"
    return message


def _waited_too_long(view: RunView, now: datetime) -> RunDecision | None:
    """Only a slot has been missing for longer than the run is willing to wait."""
    due = _queue_due(view.run.status, view.run)
    if due is None or now < due:
        return None
    namespace, name = view.run.lane_key
    waited = f"no slot of lane {namespace}/{name} within {view.run.spec.timeouts.queue_seconds} s"
    return endings.end_run(view, now, endings.Verdict(Outcome.TIMED_OUT, End.QUEUE_TIMEOUT, waited))


def _queue_due(changed: AgentRunStatus, run: Run) -> datetime | None:
    seconds, queue = run.spec.timeouts.queue_seconds, changed.queue
    return queue.since + timedelta(seconds=seconds) if seconds and queue else None


def queued(view: RunView, seen: Survey) -> RunDecision:
    """Only a slot is missing. A place that moves on is told once it has stood for a while: at the head of a queue it moves with every slot (0013)."""
    run, place = seen.run, view.place
    namespace, name = run.lane_key
    queue = run.status.queue
    words = place.words if place else "its turn is being worked out"
    message = _with_cuts(seen, f"lane {namespace}/{name}: {words}")
    told = queue is not None and _said_in_line(run) == message
    later = place_told_next(run, place, view.place_since, seen.now) if place else None
    if not told and later:
        return RunDecision(run.status, due=_first(later, _queue_due(run.status, run)))
    if place is not None and not told:
        since = queue.since if queue else seen.now
        queue = Queue(position=place.position, since=since, shown_time=seen.now)
    changed = run.status.model_copy(update={"queue": queue})
    next_status = status.with_conditions(
        run,
        changed,
        status.waiting_conditions(Waiting.WAITING_FOR_SLOT, message),
        phase=Phase.QUEUED,
        reason=Waiting.WAITING_FOR_SLOT,
        now=seen.now,
    )
    return RunDecision(next_status, due=_queue_due(changed, run))


def place_told_next(run: Run, place: Place, since: datetime | None, now: datetime) -> datetime | None:
    """When a run that stands at this place ``since`` then may say so; None: now, or it says something else yet."""
    queue = run.status.queue
    in_line = _said_in_line(run) is not None and run.status.observed_generation == run.meta.generation
    if not in_line or queue is None or queue.shown_time is None:
        return None
    stands = PLACE_STANDS if place.exact else RANGE_STANDS
    later = min((since or queue.shown_time) + stands, queue.shown_time + PLACE_TOLD_EVERY)
    return later if now < later else None


def _said_in_line(run: Run) -> str | None:
    """What the run says of its place; None while it says that it waits for something else."""
    waits = (c for c in run.status.conditions if c.type == RunCondition.ADMITTED)
    return next((c.message for c in waits if c.reason == Waiting.WAITING_FOR_SLOT), None)


def _first(one: datetime, other: datetime | None) -> datetime:
    return min(one, other) if other else one
