"""Builders of chains: lanes in some state of health, and a run that has steps on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from laneway.api.gatewaystate import CallFailure
from laneway.api.modellane import AccountStatus, LaneModelStatus, ModelLaneStatus
from laneway.api.reasons import Cause, ResetSource
from laneway.api.runstatus import AgentRunStatus, Attempt, CurrentStep, StepStatus, Usage
from laneway.controller.facts.objects import Lane, Run
from laneway.controller.facts.views import RunView
from support.builders import admitted, at, call_failure, condition, ended, gateway, lane, metered, ready, run, run_view

A, B, C = "a", "b", "c"


def hosted(name: str = A, *models: str, **spec: Any) -> Lane:
    """A hosted lane; its one model is ``m`` unless others are named. ``namespace`` may be given."""
    where = {"namespace": spec.pop("namespace")} if "namespace" in spec else {}
    given = {
        "endpoint": {"url": "https://models.example", "server": "OpenAI"},
        "models": [{"name": model} for model in models or ("m",)],
        **spec,
    }
    return lane(name, spec=given, **where)


def with_status(known: Lane, **changes: Any) -> Lane:
    return replace(known, status=known.status.model_copy(update=changes))


def cooled(
    known: Lane,
    until: float | None,
    *,
    model: str = "m",
    cause: Cause = Cause.RATE_LIMIT_MODEL,
    source: ResetSource = ResetSource.ESTIMATED,
    **changes: Any,
) -> Lane:
    """The lane with a model that cools until so many seconds after NOW."""
    entry = LaneModelStatus(
        name=model,
        cooldown_until=None if until is None else at(until),
        cooldown_reason=cause,
        cooldown_source=source,
        last_failure_time=at(0),
        settled_time=at(0),
    ).model_copy(update=changes)
    others = tuple(one for one in known.status.models if one.name != model)
    return with_status(known, models=(*others, entry))


def account_cooled(known: Lane, until: float | None, cause: Cause = Cause.RATE_LIMIT_ACCOUNT) -> Lane:
    """The lane with an account that cools."""
    end = None if until is None else at(until)
    return with_status(known, account=AccountStatus(cooldown_until=end, reason=cause, source=ResetSource.SERVER_EVENT))


def not_ready(known: Lane, status: str = "False", message: str = "connection refused") -> Lane:
    return with_status(known, conditions=(ready(status, message),))


def busy(known: Lane, *, active: int, queued: int = 0) -> Lane:
    return with_status(known, active_runs=active, queued_runs=queued)


def step(lane_name: str, model: str = "m", *, namespace: str = "team-a") -> StepStatus:
    return StepStatus(lane=lane_name, namespace=namespace, model=model)


def chained(*names: str, status: AgentRunStatus | None = None, created: float = 0, **spec: Any) -> Run:
    """A run with a step on each of these lanes."""
    return run(spec={"models": [{"lane": name} for name in names], **spec}, status=status, created=created)


def on(lane_name: str, model: str = "m", **changes: Any) -> CurrentStep:
    return CurrentStep(lane=lane_name, namespace="team-a", model=model).model_copy(update=changes)


def at_work(lane_name: str = A, *, number: int = 1, model: str = "m", **changes: Any) -> AgentRunStatus:
    """The status of a run whose attempt has run on a lane and is recorded with its pod."""
    began = admitted(number, pod="hello-hello-01-1", pod_uid="pod-uid", start_time=at(2), step=step(lane_name, model))
    return began.model_copy(update={"step": on(lane_name, model), **changes})


def failed_view(
    the_run: Run,
    lanes: list[Lane],
    failure: CallFailure | None = None,
    *,
    turns: int = 0,
    exit_code: int = 1,
    **changes: Any,
) -> RunView:
    """The view of a run whose agent has exited after a failed call, closed at the gateway."""
    number = the_run.status.attempt or 1
    state = metered(number=number, turns=turns).model_copy(update={"failure": failure or call_failure()})
    pods = (ended(exit_code, attempt=number),)
    return run_view(the_run, lanes=lanes, pods=pods, gateway=gateway(state), **changes)


def past_attempt(lane_name: str, number: int = 1, *, turns: int = 1, **changes: Any) -> Attempt:
    """An attempt that has ended."""
    done = {"end_time": at(-10), "usage": Usage(turns=turns), **changes}
    return Attempt(id=number, step=step(lane_name), admitted_time=at(-60)).model_copy(update=done)


def messages(status: AgentRunStatus) -> Mapping[str, str]:
    """What the conditions say."""
    return {one.type: one.message for one in status.conditions}


def lane_status(**changes: Any) -> ModelLaneStatus:
    """The status of a ready lane."""
    return ModelLaneStatus(conditions=(condition("Ready", "True", "BackendReachable"),)).model_copy(update=changes)
