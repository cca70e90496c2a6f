"""What a lane tells people: one Event for each change of its readiness and of its models' health. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from laneway.api.modellane import CooldownMode, ModelLaneStatus
from laneway.api.reasons import EventReason, LaneCondition, ResetSource
from laneway.controller.decision.effects import EventType, PostEvent
from laneway.controller.facts.objects import Lane
from laneway.controller.facts.views import LaneView
from laneway.controller.health.byhand import is_held
from laneway.controller.health.cooling import Heard, LaneHealth
from laneway.controller.health.records import account_health, cleared_at, model_health, said_by_hand
from laneway.rules import wording
from laneway.rules.cooldown import OVERLOADED, Health, ceil_second


def readiness_event(view: LaneView, status: ModelLaneStatus) -> Iterator[PostEvent]:
    """A lane became ready, or ceased to be."""
    old = next((c.status for c in view.lane.status.conditions if c.type == LaneCondition.READY), None)
    ready = next(c for c in status.conditions if c.type == LaneCondition.READY)
    if ready.status not in {old, "Unknown"}:
        good = ready.status == "True"
        reason = EventReason.LANE_READY if good else EventReason.LANE_NOT_READY
        key = f"ready-{ready.status}-{ready.last_transition_time.timestamp():.0f}"
        severity = EventType.NORMAL if good else EventType.WARNING
        yield PostEvent(reason, ready.message, key=key, type=severity)


def health_events(lane: Lane, health: LaneHealth, now: datetime) -> Iterator[PostEvent]:
    """Models and the account cooled, answered again, or were set or cleared by a person. That a cooldown is over is told to nobody: it ends as said."""
    records = [(name, model_health(lane, name), after) for name, after in health.models.items()]
    for name, before, after in records:
        failure = _counted(health, after, name)
        if failure:
            yield _cooled(lane, failure, after, now)
        elif _recovered(before, after) and not _was_cleared(lane, name, before):
            yield _answers_again(f"{lane.meta.name}/{name}", before, key=name)
        yield from _by_hand(lane, name, before, after, now)
    before = account_health(lane)
    failure = _counted(health, health.account, None)
    if failure:
        yield _cooled(lane, failure, health.account, now)
    elif _recovered(before, health.account):
        yield _answers_again(f"the account of {lane.meta.name}", before, key="")


def _counted(health: LaneHealth, after: Health, model: str | None) -> Heard | None:
    """The failure that the record stands on, if it counted in this pass."""
    for one in reversed(health.counted):
        about = one.of_account if model is None else one.model == model and not one.of_account
        if about and after.cooldown and after.last_failure == ceil_second(one.moment):
            return one
    return None


def _cooled(lane: Lane, heard: Heard, after: Health, now: datetime) -> PostEvent:
    message = f"{_what_failed(lane, heard)}; {_rest(heard, after, now)}"
    key = f"cooled-{'' if heard.of_account else heard.model}-{_stamp(after.last_failure)}"
    return PostEvent(EventReason.MODEL_COOLED, message, key=key, type=EventType.WARNING)


def _what_failed(lane: Lane, heard: Heard) -> str:
    evidence, times = heard.failure, f" {heard.requests} times" if heard.requests > 1 else ""
    if heard.overload or evidence is None:
        return f"two models of the account of {lane.meta.name} answered {OVERLOADED} within a minute"
    did = f"answered {evidence.status}" if evidence.status else "did not answer"
    return f"{lane.meta.name}/{heard.model} {did}{times} ({wording.CAUSES[evidence.cause]})"


def _rest(heard: Heard, after: Health, now: datetime) -> str:
    cooldown = after.cooldown
    if cooldown is None or cooldown.until is None:
        return "nothing uses the account until a probe or a call with its key succeeds"
    what = "the account" if heard.of_account else "it"
    row = after.counts.get(cooldown.cause, 0)
    often = f", after {row} failures in a row" if row > 1 and cooldown.source is ResetSource.ESTIMATED else ""
    return f"{what} may be used again at {wording.clock(cooldown.until, now)}, {wording.source(cooldown.source)}{often}"


def _recovered(before: Health, after: Health) -> bool:
    return before.last_failure is not None and after.last_failure is None


def _was_cleared(lane: Lane, model: str, before: Health) -> bool:
    cleared = cleared_at(lane, model)
    return cleared is not None and before.last_failure is not None and before.last_failure <= cleared


def _answers_again(who: str, before: Health, *, key: str) -> PostEvent:
    failures = sum(before.counts.values())
    row = f" after {failures} failures in a row" if failures > 1 else ""
    return PostEvent(
        EventReason.MODEL_RECOVERED,
        f"{who} answers again{row}",
        key=f"recovered-{key}-{_stamp(before.last_failure)}",
    )


def _by_hand(lane: Lane, model: str, before: Health, after: Health, now: datetime) -> Iterator[PostEvent]:
    entry, name = said_by_hand(lane, model), f"{lane.meta.name}/{model}"
    held = after.cooldown if after.cooldown and after.cooldown.source is ResetSource.MANUAL else None
    was_held = before.cooldown if before.cooldown and before.cooldown.source is ResetSource.MANUAL else None
    key = f"{model}-{lane.meta.generation}"
    if held and held != was_held:
        until = f"until {wording.clock(held.until, now)}" if held.until else "for as long as spec.cooldowns has it"
        yield PostEvent(EventReason.COOLDOWN_SET, f"{name} is held {until}, set by hand", key=f"set-{key}")
    taken_away = was_held and not is_held(entry, now) and was_held.holds(now)
    forgot = entry and entry.mode is CooldownMode.CLEAR and before.last_failure and not after.last_failure
    if taken_away or (forgot and _was_cleared(lane, model, before)):
        yield PostEvent(EventReason.COOLDOWN_CLEARED, f"{name} may be used, cleared by hand", key=f"cleared-{key}")


def _stamp(moment: datetime | None) -> str:
    return f"{moment.timestamp():.0f}" if moment else ""
