"""Whether a run may have a slot on a lane now, and if not, the one reason that a person can act on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from laneway.api.base import format_time
from laneway.api.modellane import AllowedFrom
from laneway.api.reasons import Cause, LaneCondition, LaneReason, Waiting
from laneway.controller.ends.repeats import find_pause
from laneway.controller.facts.objects import Lane, Run
from laneway.controller.facts.presets import Preset
from laneway.controller.facts.views import DependencyState, DependencyView
from laneway.controller.limits.spend import reached
from laneway.controller.limits.words import to_continue
from laneway.rules import limits
from laneway.rules.chain import Link
from laneway.rules.endpoint import spoken
from laneway.rules.pricing import prices_of

REFUSED_AGAIN_AFTER = timedelta(seconds=30)
"""How long a run whose pod was refused leaves its place to others before it is tried again."""


@dataclass(frozen=True)
class Blocker:
    """What a run waits for other than a free slot."""

    reason: Waiting
    message: str
    until: datetime | None = None
    cause: Cause | None = None
    """Of a step: what leads from it to another one; None: nothing does."""


@dataclass(frozen=True)
class Question:
    """May this run have a slot on this lane?"""

    run: Run
    lane: Lane | None
    presets: Mapping[str, Preset]
    usable_lanes: tuple[str, ...]
    now: datetime
    dependencies: tuple[DependencyView, ...] = ()
    link: Link | None = None
    """The step that is asked about; None: the one that the run is on."""

    @property
    def lane_key(self) -> tuple[str, str]:
        """Namespace and name of the lane, whether it is there or not."""
        return self.link.key if self.link else self.run.lane_key

    @property
    def model(self) -> str | None:
        """The model that is asked for; None: what the lane's classifier chooses, else the lane's first."""
        return self.link.model if self.link else self.run.model

    @property
    def unclassified(self) -> bool:
        """Whether the lane's classifier has to choose the model first: nothing can be said of it yet."""
        return self.lane is not None and self.lane.spec.classifier is not None and self.model is None


def find_blocker(question: Question) -> Blocker | None:
    """The first thing that keeps the run from a slot; None when only a slot is missing.

    What has to be corrected comes before what has to be waited for.
    """
    return _first(question, _ALL)


def find_run_mistake(question: Question) -> Blocker | None:
    """What a person has to do with the run itself, whatever its step."""
    return _first(question, _RUN_WRONG)


def find_start_blocker(question: Question) -> Blocker | None:
    """What the run's beginning waits for, whatever its step."""
    return _first(question, _START)


def find_step_blocker(question: Question) -> Blocker | None:
    """What keeps any run like this one from a step, cooldowns aside."""
    return _first(question, _STEP)


def find_refusal(question: Question) -> Blocker | None:
    """A refused pod waits its turn, so that it does not take the slot over and over."""
    return _first(question, _REFUSED)


def allows(lane: Lane, namespace: str) -> bool:
    """Whether runs of a namespace may use a lane."""
    return lane.spec.allowed_namespaces.from_ is AllowedFrom.ALL or lane.meta.namespace == namespace


def find_unclassified(question: Question) -> Blocker | None:
    """That the model of a step is not chosen yet."""
    return _first(question, _UNCLASSIFIED)


Check = Callable[[Question], Blocker | None]


def _first(question: Question, checks: tuple[Check, ...]) -> Blocker | None:
    for check in checks:
        if blocker := check(question):
            return blocker
    return None


def _suspended(q: Question) -> Blocker | None:
    if q.run.spec.suspend:
        return Blocker(Waiting.SUSPENDED, "spec.suspend is true; set it to false to go on")
    return None


def _limit(q: Question) -> Blocker | None:
    """Waits for a higher limit; a run that does not pause ends in its own pass instead."""
    limit = q.run.limit_reached
    if limit is None:
        return None
    status = q.run.status
    used = limits.used_of(status.usage, status.active_seconds).of(limit)
    words = limits.words(limit, used, limits.values(q.run.spec.limits)[limit])
    return Blocker(Waiting.LIMIT_PAUSED, to_continue(words, limit))


def _preset(q: Question) -> Blocker | None:
    preset = q.run.spec.agent.preset
    if preset not in q.presets:
        known = ", ".join(sorted(q.presets))
        return Blocker(Waiting.PRESET_NOT_FOUND, f"there is no preset {preset}; presets here: {known}")
    return None


def _image(q: Question) -> Blocker | None:
    """Most agents have no public image; the description of their preset says where to get one."""
    agent = q.run.spec.agent
    preset = q.presets.get(agent.preset)
    if preset is None or agent.image or not preset.needs_image:
        return None
    message = (
        f"preset {agent.preset} brings no image: set spec.agent.image, or the chart's value presets.{agent.preset}.image"
        f" ({preset.description})"
    )
    return Blocker(Waiting.IMAGE_NOT_SET, message)


def _lane_found(q: Question) -> Blocker | None:
    if q.lane is None:
        namespace, name = q.lane_key
        usable = ", ".join(q.usable_lanes) or "none"
        message = f"there is no ModelLane {name} in namespace {namespace}; lanes you may use: {usable}"
        return Blocker(Waiting.LANE_NOT_FOUND, message, cause=Cause.MODEL_NOT_FOUND)
    return None


def _namespace_allowed(q: Question) -> Blocker | None:
    if q.lane and not allows(q.lane, q.run.meta.namespace):
        message = (
            f"lane {_shown(q.lane)} does not allow namespace {q.run.meta.namespace};"
            " its owner can set spec.allowedNamespaces.from to All"
        )
        return Blocker(Waiting.NAMESPACE_NOT_ALLOWED, message, cause=Cause.MODEL_NOT_FOUND)
    return None


def _model_found(q: Question) -> Blocker | None:
    if q.lane and q.lane.model(q.model) is None:
        listed = ", ".join(model.name for model in q.lane.spec.models)
        message = f"lane {_shown(q.lane)} has no model {q.model}; its models: {listed}"
        return Blocker(Waiting.MODEL_NOT_FOUND, message, cause=Cause.MODEL_NOT_FOUND)
    return None


def _wire_api(q: Question) -> Blocker | None:
    """The gateway never translates between protocols, so an agent whose protocol is known needs a lane that speaks it."""
    preset = q.presets.get(q.run.spec.agent.preset)
    if q.lane is None or preset is None or preset.wire_api is None:
        return None
    endpoint = q.lane.spec.endpoint
    apis = spoken(endpoint)
    if preset.wire_api in apis:
        return None
    message = (
        f"lane {'/'.join(q.lane_key)} ({endpoint.server}) speaks {', '.join(sorted(apis))}; the agent of preset {q.run.spec.agent.preset}"
        f" speaks {preset.wire_api}"
    )
    return Blocker(Waiting.WIRE_API_UNSUPPORTED, message, cause=Cause.WIRE_API_UNSUPPORTED)


def _price_known(q: Question) -> Blocker | None:
    """A run with a limit of money cannot be held to it where a price is unknown. On a Direct lane the agent tells its cost."""
    model = q.lane.model(q.model) if q.lane else None
    if q.lane is None or model is None or q.run.spec.limits.cost_usd is None or q.lane.direct or q.unclassified:
        return None
    if prices_of(model.pricing) is not None:
        return None
    message = f"lane {_shown(q.lane)} gives no price for model {model.name}, and the run has spec.limits.costUSD"
    return Blocker(Waiting.PRICE_UNKNOWN, message, cause=Cause.UNSUITABLE)


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
    moment = q.run.not_before
    if moment is None or q.now >= moment:
        return None
    return Blocker(Waiting.NOT_BEFORE, f"it begins at {format_time(moment)} (spec.notBeforeTime)", moment)


def _again(q: Question) -> Blocker | None:
    """A failed task is tried again after a while, and so the next round begins."""
    pause = find_pause(q.run, q.now)
    return Blocker(pause.reason, pause.message, pause.until) if pause else None


def _lane_suspended(q: Question) -> Blocker | None:
    if q.lane and q.lane.spec.suspend:
        return Blocker(Waiting.LANE_SUSPENDED, f"lane {_shown(q.lane)} is suspended", cause=Cause.MANUAL)
    return None


def _lane_ready(q: Question) -> Blocker | None:
    if q.lane and not q.lane.ready:
        message = f"lane {_shown(q.lane)} is not ready: {q.lane.not_ready_because}"
        return Blocker(Waiting.LANE_NOT_READY, message, cause=_why_not_ready(q.lane))
    return None


def _why_not_ready(lane: Lane) -> Cause | None:
    """None while nobody has looked at the lane: a run does not pass its first choice because a probe is on its way."""
    said = next((c for c in lane.status.conditions if c.type == LaneCondition.READY), None)
    if said is None or said.status == "Unknown":
        return None
    if said.reason in {LaneReason.AUTH_FAILED, LaneReason.CREDENTIAL_MISSING}:
        return Cause.AUTH_FAILED
    return Cause.MODEL_NOT_FOUND if said.reason == LaneReason.MODEL_NOT_SERVED else Cause.API_TRANSIENT


def _spend_left(q: Question) -> Blocker | None:
    """What a namespace may spend on the lane is used up until the period ends."""
    spent = reached(q.lane.status, q.run.meta.namespace, q.now) if q.lane else None
    if q.lane is None or spent is None:
        return None
    message = (
        f"namespace {spent.namespace} has used {spent.used_usd} of {spent.limit_usd} USD of this {spent.period.lower()}"
        f" on lane {_shown(q.lane)}; it goes on at {format_time(spent.period_end_time)}, or when spec.spend of the lane is raised"
    )
    return Blocker(Waiting.SPEND_REACHED, message, spent.period_end_time, cause=Cause.QUOTA_EXHAUSTED)


def _model_served(q: Question) -> Blocker | None:
    model = q.lane.model(q.model) if q.lane else None
    if q.lane and model and not q.unclassified and q.lane.served(model.name) is False:
        message = f"the server of lane {_shown(q.lane)} does not serve model {model.name} now"
        return Blocker(Waiting.MODEL_NOT_FOUND, message, cause=Cause.MODEL_NOT_FOUND)
    return None


def _classified(q: Question) -> Blocker | None:
    """A lane grants nothing before the model is chosen. The run itself asks for that once it stands here."""
    if q.unclassified:
        message = f"the classifier of lane {'/'.join(q.lane_key)} chooses its model"
        return Blocker(Waiting.WAITING_FOR_CLASSIFICATION, message)
    return None


def _pod_refused(q: Question) -> Blocker | None:
    refused = q.run.refused
    if refused is None or q.now >= refused.last_transition_time + REFUSED_AGAIN_AFTER:
        return None
    return Blocker(Waiting(refused.reason), refused.message, refused.last_transition_time + REFUSED_AGAIN_AFTER)


def _shown(lane: Lane) -> str:
    return f"{lane.meta.namespace}/{lane.meta.name}"


_RUN_WRONG: tuple[Check, ...] = (_suspended, _limit, _preset, _image)
_STEP_WRONG: tuple[Check, ...] = (_lane_found, _namespace_allowed, _model_found, _price_known, _wire_api)
_START: tuple[Check, ...] = (_dependencies, _not_before, _again)
_STEP_WAITS: tuple[Check, ...] = (_lane_suspended, _lane_ready, _spend_left, _model_served)
_REFUSED: tuple[Check, ...] = (_pod_refused,)
_STEP: tuple[Check, ...] = (*_STEP_WRONG, *_STEP_WAITS)
_UNCLASSIFIED: tuple[Check, ...] = (_classified,)
_ALL: tuple[Check, ...] = (*_RUN_WRONG, *_STEP_WRONG, *_START, *_STEP_WAITS, *_UNCLASSIFIED, *_REFUSED)
