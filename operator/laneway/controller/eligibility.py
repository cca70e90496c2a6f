"""Whether a run may be granted a slot on its lane now, and if not, the one reason that a person can act on."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from laneway.api.base import format_time
from laneway.api.modellane import AllowedFrom
from laneway.api.reasons import RunCondition, Waiting
from laneway.controller.views import DependencyState, DependencyView, Lane, Run

REFUSED_AGAIN_AFTER = timedelta(seconds=30)
"""How long a run whose pod was refused leaves its place to others before it is tried again."""


@dataclass(frozen=True)
class Blocker:
    """What a run waits for other than a free slot."""

    reason: Waiting
    message: str
    until: datetime | None = None


@dataclass(frozen=True)
class Question:
    """May this run have a slot on this lane?"""

    run: Run
    lane: Lane | None
    presets: Collection[str]
    usable_lanes: tuple[str, ...]
    now: datetime
    dependencies: tuple[DependencyView, ...] = ()


def find_blocker(question: Question) -> Blocker | None:
    """The first thing that keeps the run from a slot; None when only a slot is missing."""
    for check in _CHECKS:
        if blocker := check(question):
            return blocker
    return None


def allows(lane: Lane, namespace: str) -> bool:
    """Whether runs of a namespace may use a lane."""
    return lane.spec.allowed_namespaces.from_ is AllowedFrom.ALL or lane.meta.namespace == namespace


def _suspended(q: Question) -> Blocker | None:
    if q.run.spec.suspend:
        return Blocker(Waiting.SUSPENDED, "spec.suspend is true; set it to false to go on")
    return None


def _preset(q: Question) -> Blocker | None:
    preset = q.run.spec.agent.preset
    if preset not in q.presets:
        known = ", ".join(sorted(q.presets))
        return Blocker(Waiting.PRESET_NOT_FOUND, f"there is no preset {preset}; presets here: {known}")
    return None


def _lane_found(q: Question) -> Blocker | None:
    if q.lane is None:
        namespace, name = q.run.lane_key
        usable = ", ".join(q.usable_lanes) or "none"
        message = f"there is no ModelLane {name} in namespace {namespace}; lanes you may use: {usable}"
        return Blocker(Waiting.LANE_NOT_FOUND, message)
    return None


def _namespace_allowed(q: Question) -> Blocker | None:
    if q.lane and not allows(q.lane, q.run.meta.namespace):
        message = (
            f"lane {_shown(q.lane)} does not allow namespace {q.run.meta.namespace};"
            " its owner can set spec.allowedNamespaces.from to All"
        )
        return Blocker(Waiting.NAMESPACE_NOT_ALLOWED, message)
    return None


def _model_found(q: Question) -> Blocker | None:
    wanted = q.run.spec.models[0].model
    if q.lane and q.lane.model(wanted) is None:
        listed = ", ".join(model.name for model in q.lane.spec.models)
        return Blocker(Waiting.MODEL_NOT_FOUND, f"lane {_shown(q.lane)} has no model {wanted}; its models: {listed}")
    return None


def _dependencies(q: Question) -> Blocker | None:
    """Start conditions hold for the first attempt: what happens to a dependency later is no concern of a run that began."""
    missing = [one.name for one in q.dependencies if one.state is DependencyState.MISSING]
    if missing:
        message = f"there is no run {', '.join(missing)} in namespace {q.run.meta.namespace} yet"
        return Blocker(Waiting.WAITING_FOR_DEPENDENCY, message)
    failed = [f"{one.name} ({one.reason})" for one in q.dependencies if one.state is DependencyState.FAILED]
    if failed:
        return Blocker(Waiting.WAITING_FOR_DEPENDENCY, f"run {', '.join(failed)} did not succeed")
    unfinished = [one.name for one in q.dependencies if one.state is DependencyState.UNFINISHED]
    if unfinished:
        return Blocker(Waiting.WAITING_FOR_DEPENDENCY, f"waits for run {', '.join(unfinished)} to succeed")
    return None


def _not_before(q: Question) -> Blocker | None:
    moment = q.run.spec.not_before_time
    if moment is None or q.run.status.attempt or q.now >= moment:
        return None
    return Blocker(Waiting.NOT_BEFORE, f"it begins at {format_time(moment)} (spec.notBeforeTime)", moment)


def _lane_suspended(q: Question) -> Blocker | None:
    if q.lane and q.lane.spec.suspend:
        return Blocker(Waiting.LANE_SUSPENDED, f"lane {_shown(q.lane)} is suspended")
    return None


def _lane_ready(q: Question) -> Blocker | None:
    if q.lane and not q.lane.ready:
        return Blocker(Waiting.LANE_NOT_READY, f"lane {_shown(q.lane)} is not ready: {q.lane.not_ready_because}")
    return None


def _model_served(q: Question) -> Blocker | None:
    model = q.lane.model(q.run.spec.models[0].model) if q.lane else None
    if q.lane and model and q.lane.served(model.name) is False:
        message = f"the server of lane {_shown(q.lane)} does not serve model {model.name} now"
        return Blocker(Waiting.MODEL_NOT_FOUND, message)
    return None


def _pod_refused(q: Question) -> Blocker | None:
    """A refused pod waits its turn, so that it does not take the slot over and over."""
    for condition in q.run.status.conditions:
        refused = condition.reason in {Waiting.QUOTA_EXCEEDED, Waiting.NAME_TAKEN}
        if condition.type == RunCondition.ADMITTED and condition.status == "False" and refused:
            until = condition.last_transition_time + REFUSED_AGAIN_AFTER
            if q.now < until:
                return Blocker(Waiting(condition.reason), condition.message, until)
    return None


def _shown(lane: Lane) -> str:
    return f"{lane.meta.namespace}/{lane.meta.name}"


_CHECKS: tuple[Callable[[Question], Blocker | None], ...] = (
    _suspended,
    _preset,
    _lane_found,
    _namespace_allowed,
    _model_found,
    _dependencies,
    _not_before,
    _lane_suspended,
    _lane_ready,
    _model_served,
    _pod_refused,
)
