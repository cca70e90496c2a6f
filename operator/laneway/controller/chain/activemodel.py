"""``spec.activeModel``: shown by us, changed by people, dropped by tools that put whole objects (design section 6). Pure.

The record is ``status.step``; the spec only shows it. ``step.shown`` says that the spec was seen to say the same: what differs after that,
somebody did. What differs before that is our own patch that has not been made yet, for example because the process died in between.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from laneway.api.reasons import EventReason, RunCondition
from laneway.api.runstatus import RESTORES_KEPT, AgentRunStatus, NamedStep
from laneway.api.steps import ActiveModel
from laneway.controller.chain.survey import Survey, survey
from laneway.controller.decision.decision import RunDecision
from laneway.controller.decision.effects import EventType, PatchActiveModel, PostEvent
from laneway.controller.facts.objects import Run
from laneway.controller.facts.views import RunView
from laneway.rules.chain import Chain, Identity

_WRITTEN_OVER = "; spec.activeModel was written over"
RESTORES_WITHIN = timedelta(minutes=10)
"""After so many restores (RESTORES_KEPT) in this time we leave the field alone."""


def wish(seen: Survey) -> int | None:
    """The open step to which a person has sent the run; None when nobody has."""
    run = seen.run
    if run.spec.active_model is None or _is_ours(run, run.status, seen.chain):
        return None
    number = _index(run, seen.chain)
    sent = number is not None and number != seen.current
    return number if sent and (number not in seen.shut or seen.steps[number].barred) else None


def unsaid(view: RunView) -> RunView:
    """The view without what an earlier pass said of the field: nobody else compares, keeps or repeats those words."""
    if not view.run.status.active_model_restores:
        return view
    status = _with_message(view.run.status, lambda said: said.partition(_WRITTEN_OVER)[0])
    return replace(view, run=replace(view.run, status=status))


def attend(view: RunView, decision: RunDecision, now: datetime) -> RunDecision:
    """The decision with what has to be done about the field: nothing, show it, mark that it was seen, or write it again."""
    run, status = view.run, decision.status
    if status.step is None or status.completion_time is not None or run.meta.deleting or not view.chain.links:
        return decision
    if _says(run, view.chain) == _step_said(status, view.chain):
        return _seen(decision)
    recent = tuple(moment for moment in status.active_model_restores if now - moment < RESTORES_WITHIN)
    if len(recent) >= RESTORES_KEPT:
        return _left_alone(view, decision, recent[0] + RESTORES_WITHIN)
    patch = PatchActiveModel(_shown_value(status, view.chain))
    if _is_ours(run, status, view.chain):
        return replace(decision, effects=(*decision.effects, patch))
    if run.admitted and _is_open_step(view, now):
        return decision
    what = "removed" if run.spec.active_model is None else "changed"
    restored = PostEvent(
        EventReason.ACTIVE_MODEL_RESTORED,
        f"spec.activeModel was {what} by {_others(view)}; it shows again where the run is",
        key=f"restored-{now.timestamp():.0f}",
        type=EventType.WARNING,
    )
    changed = status.model_copy(update={"active_model_restores": (*recent, now)})
    return replace(decision, status=changed, effects=(*decision.effects, patch, restored))


def was_touched(run: Run, chain: Chain) -> bool:
    """Whether somebody else took or changed the field, as far as the run alone tells."""
    status = run.status
    differs = status.step is not None and bool(chain.links) and _says(run, chain) != _step_said(status, chain)
    return differs and not run.finished and not _is_ours(run, status, chain)


def _seen(decision: RunDecision) -> RunDecision:
    """The field says what it should. That is noted once it ever said something else than the first step."""
    step, status = decision.status.step, decision.status
    if step is None or step.shown or not status.fallback_history:
        return decision
    return replace(decision, status=status.model_copy(update={"step": step.model_copy(update={"shown": True})}))


def _left_alone(view: RunView, decision: RunDecision, until: datetime) -> RunDecision:
    """Two managers that write against each other end here; the run goes on from its status."""
    words = f"{_WRITTEN_OVER} {RESTORES_KEPT} times in 10 minutes and is left to {_others(view)}"
    due = min(moment for moment in (decision.due, until) if moment)
    return replace(decision, status=_with_message(decision.status, lambda said: said + words), due=due)


def _with_message(status: AgentRunStatus, change: Callable[[str], str]) -> AgentRunStatus:
    conditions = tuple(
        c.model_copy(update={"message": change(c.message)}) if c.type == RunCondition.ADMITTED else c
        for c in status.conditions
    )
    return status.model_copy(update={"conditions": conditions})


def _others(view: RunView) -> str:
    return " or ".join(view.other_managers) or "another manager"


def _is_ours(run: Run, status: AgentRunStatus, chain: Chain) -> bool:
    """Whether the field still says what it said before our own last moves."""
    if status.step is None or status.step.shown or not status.fallback_history:
        return False
    before = [_identity(move.from_) for move in status.fallback_history]
    return run.spec.active_model is None or _says(run, chain) in before


def _is_open_step(view: RunView, now: datetime) -> bool:
    number = _index(view.run, view.chain)
    return number is not None and number not in survey(view, now).shut


def _index(run: Run, chain: Chain) -> int | None:
    value = run.spec.active_model
    if value is None:
        return 0
    return chain.index(value.namespace or run.meta.namespace, value.lane, value.model)


def _says(run: Run, chain: Chain) -> Identity:
    """The step that the field names; absent, it is the first one."""
    value, number = run.spec.active_model, _index(run, chain)
    if number is not None:
        return chain.links[number].identity
    if value is None:
        raise ValueError("an absent field means the first step")
    return value.namespace or run.meta.namespace, value.lane, value.model


def _step_said(status: AgentRunStatus, chain: Chain) -> Identity:
    if status.step is None:
        raise ValueError("a run that was looked at has a step")
    number = chain.index(status.step.namespace, status.step.lane, status.step.model)
    return chain.links[number].identity if number is not None else _identity(status.step)


def _shown_value(status: AgentRunStatus, chain: Chain) -> ActiveModel | None:
    namespace, lane, model = _step_said(status, chain)
    if (namespace, lane, model) == chain.links[0].identity:
        return None
    return ActiveModel(lane=lane, namespace=namespace, model=model)


def _identity(step: NamedStep) -> Identity:
    return step.namespace, step.lane, step.model
