"""Builders of what is heard of a lane's models: calls that failed or succeeded, and lanes that know of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from laneway.api.gatewaystate import CallFailure, ModelEvidence
from laneway.api.modellane import ModelLaneStatus
from laneway.api.reasons import Cause, ResetSource
from laneway.controller.decide_lane import LaneDecision, decide_lane
from laneway.controller.decision.effects import PostEvent
from laneway.controller.facts.objects import Lane
from laneway.controller.facts.views import LaneView
from support.builders import NOW, at, lane

BIG, SMALL = "big-model", "small-model"


def hosted(name: str = "hosted", **spec: Any) -> Lane:
    """A lane of two models behind one key, that is ready."""
    endpoint = {"url": "https://models.example.com", "server": "OpenAI", "credentialRef": {"name": "key"}}
    given = {"endpoint": endpoint, "models": [{"name": BIG}, {"name": SMALL}], **spec}
    return lane(name, spec=given)


def said(
    seconds: float,
    cause: Cause = Cause.RATE_LIMIT_MODEL,
    *,
    status: int | None = 429,
    reset: float | None = None,
    took: float = 0.5,
    model: str = BIG,
    failures: int = 1,
    run_uid: str = "somebody",
    cut: bool = False,
    success: float | None = None,
) -> ModelEvidence:
    """The gateway's word on a model whose last failure was so many seconds after NOW."""
    failure = CallFailure(
        sent_time=at(seconds - took),
        seen_time=at(seconds),
        cause=cause,
        status=status,
        reset_time=None if reset is None else at(reset),
        reset_source=None if reset is None else ResetSource.RETRY_AFTER,
        cut=cut,
    )
    known = answered(success if success is not None else 0, model=model)
    known = known if success is not None else known.model_copy(update={"last_success_time": None})
    return known.model_copy(update={"failures": failures, "last_failure": failure, "run_uid": run_uid})


def answered(seconds: float, *, model: str = BIG) -> ModelEvidence:
    """The gateway's word on a model whose last call was sent so many seconds after NOW and succeeded."""
    return ModelEvidence(namespace="team-a", lane="hosted", model=model, last_success_time=at(seconds))


def decided(view: LaneView, seconds: float) -> tuple[LaneDecision, LaneView]:
    """A decision, and the view with its status written and read again."""
    decision = decide_lane(view, at(seconds))
    return decision, replace(view, lane=stored(view.lane, decision.status))


def stored(the_lane: Lane, status: ModelLaneStatus) -> Lane:
    """The lane with a status as the API server keeps it: text, and whole seconds."""
    return replace(the_lane, status=ModelLaneStatus.model_validate(status.to_wire()))


def model_of(decision: LaneDecision, name: str = BIG) -> Any:
    """What a decision says of a model."""
    return next(one for one in decision.status.models if one.name == name)


def rests(decision: LaneDecision, name: str = BIG) -> float | None:
    """When a model's own cooldown ends, in seconds after NOW."""
    return since_now(model_of(decision, name).cooldown_until)


def since_now(moment: datetime | None) -> float | None:
    return None if moment is None else (moment - NOW).total_seconds()


def condition_of(decision: LaneDecision, kind: str) -> tuple[str, str, str]:
    """Status, reason and message of a condition."""
    found = next(one for one in decision.status.conditions if one.type == kind)
    return found.status, found.reason, found.message


def told(decision: LaneDecision) -> list[tuple[str, str]]:
    """Reason and words of the Events of a decision."""
    return [(effect.reason, effect.message) for effect in decision.effects if isinstance(effect, PostEvent)]
