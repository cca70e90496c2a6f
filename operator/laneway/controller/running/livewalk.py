"""A running attempt and its chain (design section 6): moves that the gateway made within the lane, and steps on another lane that it asks for. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from laneway.api.agentrun import Selection
from laneway.api.gatewaystate import ModelInUse, ModelMove, Wish
from laneway.api.reasons import Cause
from laneway.api.runstatus import Attempt, StepStatus
from laneway.controller.chain import moves
from laneway.controller.chain.passing import passed_by_live
from laneway.controller.chain.survey import Survey, survey
from laneway.controller.decision.effects import Effect
from laneway.controller.facts.views import RunView, Walk
from laneway.rules import wording
from laneway.rules.chain import Shut, below, least_busy, lists_full
from laneway.rules.endpoint import spoken

WALK_TOLD_AFTER = timedelta(seconds=2)
"""A slot of another lane that is granted sooner is not said to be waited for: two writes less."""


def with_moves(view: RunView, now: datetime) -> tuple[RunView, tuple[Effect, ...]]:
    """The view with the run on the model that the gateway uses now, and the Events of the moves that were not recorded yet."""
    attempt, state = view.run.current, view.gateway.state
    used = state.model if state else None
    if attempt is None or used is None or not _is_further_down(view, attempt, used):
        return view, ()
    run, told, seen = view.run, [], survey(view, now)
    for move in _unrecorded(attempt, used):
        to = used.step.model_copy(update={"model": move.to})
        run, event = moves.moved_live(run, to, move.cause, move.time, passed=_passed(seen, used, move))
        told.append(event)
    return replace(view, run=run), tuple(told)


def find_walk(view: RunView, now: datetime) -> Walk | None:
    """The slot of another lane that a held call of the running attempt waits for. None: there is no such call, or no such step is open."""
    wish = current_wish(view, now)
    if wish is None:
        return None
    seen = survey(view, now)
    target = _target(view, seen, wish)
    if target is None:
        return None
    link = seen.links[target]
    if link.model is None:
        raise ValueError("a step that is open names a model")
    step = StepStatus(namespace=link.namespace, lane=link.lane, model=link.model)
    passed = passed_by_live(seen, left=_number(seen, wish.step), to=target, cause=wish.cause, api=wish.api)
    return Walk(view.run, step, wish.cause, wish.since_time, passed)


def current_wish(view: RunView, now: datetime) -> Wish | None:
    """What the gateway asks for, if that is about the run, the step and the attempt as they are now, and the call is held still."""
    run, attempt, pod, state = view.run, view.run.current, view.pod, view.gateway.state
    wish = state.wish if state and not state.closed else None
    if wish is None or attempt is None or pod is None or run.spec.cancel or run.meta.deleting:
        return None
    at_work = attempt.pod_uid == pod.uid and not pod.finished and not pod.deleting and view.gateway.down_since is None
    about_now = wish.step == attempt.step and wish.generation == run.meta.generation and now < wish.until_time
    return wish if at_work and about_now else None


def _is_further_down(view: RunView, attempt: Attempt, used: ModelInUse) -> bool:
    """A running attempt never moves up: what says so was seen before the attempt came to its step."""
    if (used.step.namespace, used.step.lane) != (attempt.step.namespace, attempt.step.lane):
        return False
    before, after = (view.chain.index(step.namespace, step.lane, step.model) for step in (attempt.step, used.step))
    return before is not None and after is not None and after > before


def _unrecorded(attempt: Attempt, used: ModelInUse) -> Iterator[ModelMove]:
    """The moves since the recorded one; as one move if the gateway has forgotten where they began."""
    made = used.moves
    first = next((number for number, move in enumerate(made) if move.from_ == attempt.step.model), None)
    if first is not None:
        yield from made[first:]
    elif made:
        yield made[-1].model_copy(update={"from_": attempt.step.model})


def _passed(seen: Survey, used: ModelInUse, move: ModelMove) -> str | None:
    """What the gateway passed by on its way to another model of the lane."""
    left, to = (_number(seen, used.step.model_copy(update={"model": model})) for model in (move.from_, move.to))
    return None if to is None else passed_by_live(seen, left=left, to=to, cause=move.cause, api=move.api)


def _number(seen: Survey, step: StepStatus) -> int | None:
    return seen.chain.index(step.namespace, step.lane, step.model)


def at_work(view: RunView, walk: Walk | None, now: datetime) -> str:
    """What a running attempt does; if a call of it is held for a slot of another lane, that."""
    if walk is None or now < walk.since + WALK_TOLD_AFTER:
        return "the agent is at work"
    step = walk.run.status.attempts[-1].step
    failed = wording.step_name(step.namespace, step.lane, step.model, home=view.run.meta.namespace)
    lane = "/".join(walk.lane_key)
    return f"a call waits for a slot of lane {lane}: {failed} failed ({wording.CAUSES[walk.cause]})"


def told_next(view: RunView, walk: Walk | None, now: datetime) -> datetime | None:
    """When what is said of a held call changes by itself."""
    wish = current_wish(view, now)
    if wish is None or walk is None:
        return None
    told = walk.since + WALK_TOLD_AFTER
    return told if now < told else wish.until_time


def _target(view: RunView, seen: Survey, wish: Wish) -> int | None:
    """The first open step below on another lane; if that lane is full, one below it that lists Full and has room."""
    failed = _number(seen, wish.step)
    if failed is None or view.direct:
        return None
    shut = {**seen.shut, **dict(_not_live(seen, wish))}
    because = Shut(wish.cause, view.lane is not None and view.lane.spec.advance_on_permanent)
    found = below(seen.links, shut, failed=failed, because=because)
    if view.run.spec.selection is Selection.LEAST_BUSY:
        return least_busy(seen.links, found, seen.runs())
    if not found or seen.has_room(found[0]):
        return next(iter(found), None)
    others = (number for number in range(found[0] + 1, len(seen.links)) if number not in shut)
    return next((number for number in others if lists_full(seen.links[number]) and seen.has_room(number)), found[0])


def _not_live(seen: Survey, wish: Wish) -> Iterator[tuple[int, Shut]]:
    """Steps that only another attempt may take: Direct ones, those whose model is not chosen yet, and those that do not speak as the held call does.

    The gateway has tried its own lane.
    """
    for number, step in enumerate(seen.steps):
        if step.link.key == (wish.step.namespace, wish.step.lane):
            yield number, Shut(wish.cause)
        elif step.lane is not None and not step.shut:
            if step.link.model is None:
                yield number, Shut(Cause.UNSUITABLE)
            unspoken = wish.api is not None and wish.api not in spoken(step.lane.spec.endpoint)
            if step.lane.direct or unspoken:
                yield number, Shut(Cause.WIRE_API_UNSUPPORTED)
