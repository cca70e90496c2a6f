"""A move along the chain: how it stands in the run's status, and who is told. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from laneway.api.reasons import Cause, EventReason, Waiting
from laneway.api.runstatus import (
    HISTORY_KEPT,
    AgentRunStatus,
    ChainStep,
    CurrentStep,
    Fallback,
    NamedStep,
    StepStatus,
)
from laneway.controller.chain.passing import passed_by
from laneway.controller.chain.survey import Survey
from laneway.controller.decision.effects import Effect, EventType, PostEvent
from laneway.controller.facts.objects import Run
from laneway.rules import wording
from laneway.rules.chain import Link


def with_chain(survey: Survey) -> AgentRunStatus:
    """The run's status with its chain, what it asked for first, and its step: before its first look the first one."""
    status, links = survey.run.status, survey.links
    step = status.step
    if step is None:
        step = CurrentStep(**_names(links[0]))
    elif survey.current is not None and step.model is None:
        step = step.model_copy(update={"model": links[survey.current].model})
    return status.model_copy(update={**chain_said(links), "step": step})


def chain_said(links: Sequence[Link]) -> dict[str, object]:
    """The fields of a status that show the chain."""
    return {
        "chain": tuple(ChainStep(**_names(link), causes=link.causes) for link in links),
        "requested_model": NamedStep(**_names(links[0])),
    }


def moved(survey: Survey, to: int, cause: Cause, *, asked: bool = False) -> tuple[Run, tuple[Effect, ...]]:
    """The run on another step, with its history; and the Event. ``asked``: a person sent it there."""
    run, now = survey.run, survey.now
    status = run.status
    link = survey.links[to]
    before = status.step or NamedStep(**_names(survey.links[0]))
    passed = passed_by(survey, left=survey.current, to=to, cause=cause)
    entry = Fallback(
        time=now,
        attempt=status.attempt or 0,
        from_=NamedStep(lane=before.lane, namespace=before.namespace, model=before.model),
        to=NamedStep(**_names(link)),
        cause=cause,
        passed=passed,
    )
    step = CurrentStep(**_names(link), cause=cause if to else None, time=now, asked=asked or None)
    history = (*status.fallback_history, entry)[-HISTORY_KEPT:]
    changed = status.model_copy(update={"step": step, "fallback_history": history})
    return replace(run, status=changed), (_told(survey, before, to, cause, passed),)


def moved_live(
    run: Run, to: StepStatus, cause: Cause, time: datetime, *, passed: str | None = None
) -> tuple[Run, PostEvent]:
    """The run whose attempt has gone on to another step in the middle; and the Event. Only ever down the chain (S4.2).

    ``passed``: the steps that were passed by, and why.
    """
    status, attempt = run.status, run.current
    if attempt is None:
        raise ValueError("only an attempt that holds a slot moves live")
    left, names = attempt.step, {"lane": to.lane, "namespace": to.namespace, "model": to.model}
    entry = Fallback(
        time=time,
        attempt=attempt.id,
        from_=NamedStep(lane=left.lane, namespace=left.namespace, model=left.model),
        to=NamedStep(**names),
        cause=cause,
        live=True,
        passed=passed,
    )
    changed = status.model_copy(
        update={
            "attempts": (*status.attempts[:-1], attempt.model_copy(update={"step": to, "moved_time": time})),
            "step": CurrentStep(**names, cause=cause, time=time),
            "fallback_history": (*status.fallback_history, entry)[-HISTORY_KEPT:],
        }
    )
    home = run.meta.namespace
    before, after = (wording.step_name(one.namespace, one.lane, one.model, home=home) for one in (left, to))
    message = (
        f"moved from {before} to {after} ({wording.CAUSES[cause]}); attempt {attempt.id} goes on{_skipped(passed)}"
    )
    event = PostEvent(EventReason.STEPPED_DOWN, message, key=f"moved-live-{attempt.id}-{after}")
    return replace(run, status=changed), event


def unknown_models(survey: Survey) -> tuple[Effect, ...]:
    """Steps that name a model which the lane does not have are told once for each version of the run (S0.27)."""
    generation = survey.run.meta.generation
    return tuple(
        PostEvent(
            EventReason.UNKNOWN_MODEL,
            step.blocker.message,
            key=f"unknown-model-{generation}-{'/'.join(step.link.key)}/{step.link.model}",
            type=EventType.WARNING,
        )
        for step in survey.steps
        if step.blocker and step.blocker.reason is Waiting.MODEL_NOT_FOUND and not step.barred
    )


def _told(survey: Survey, step: NamedStep, to: int, cause: Cause, passed: str | None) -> PostEvent:
    current = survey.current
    up = current is not None and to < current
    before = step.namespace, step.lane, step.model
    by_itself = up and cause is not Cause.MANUAL
    why = ", which can be used again" if by_itself else f" ({wording.CAUSES[cause]})"
    message = f"moved from {wording.step_name(*before, home=survey.run.meta.namespace)} to {survey.name(to)}{why}{_skipped(passed)}"
    reason = EventReason.STEPPED_UP if up else EventReason.STEPPED_DOWN
    return PostEvent(reason, message, key=f"moved-{survey.now.timestamp():.0f}-{to}")


def _skipped(passed: str | None) -> str:
    return f"; passed by {passed}" if passed else ""


def _names(link: Link) -> dict[str, str | None]:
    return {"lane": link.lane, "namespace": link.namespace, "model": link.model}
