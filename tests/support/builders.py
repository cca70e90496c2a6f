"""Builders of the objects that tests speak of. Every default is the plainest valid thing; a test names only what it is about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from laneway.api.agentrun import AgentRunSpec
from laneway.api.base import Condition
from laneway.api.gatewaystate import AttemptState, CallFailure, LaneState, ModelEvidence, ModelState, Totals
from laneway.api.modellane import ModelLaneSpec, ModelLaneStatus
from laneway.api.reasons import Cause, LaneReason
from laneway.api.runstatus import AgentRunStatus, Attempt, CurrentStep, StepStatus
from laneway.controller.between.classification import steps_of
from laneway.controller.facts.objects import Lane, Meta, Run
from laneway.controller.facts.pods import PodFacts, Termination
from laneway.controller.facts.views import GatewayView, LaneView, RunView, Surroundings
from laneway.controller.outside.presetfiles import SHIPPED, load_presets
from laneway.rules.chain import Chain, expand

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
PRESETS = load_presets([SHIPPED])
SURROUNDINGS = Surroundings(
    agent_image="laneway:test", gateway_url="http://laneway-gateway.laneway-system.svc:8080", token="lw1.k.uid.1.mac"
)


def at(seconds: float) -> datetime:
    """A moment so many seconds after NOW."""
    return NOW + timedelta(seconds=seconds)


def meta(
    name: str = "hello",
    *,
    namespace: str = "team-a",
    uid: str = "",
    created: float = 0,
    deleting: bool = False,
    keeper: str = "",
) -> Meta:
    return Meta(
        namespace=namespace,
        name=name,
        uid=uid or f"{name}-0123456789",
        generation=1,
        resource_version="1",
        created=at(created),
        deleting=deleting,
        keeper=keeper,
    )


def run(
    name: str = "hello",
    *,
    spec: Mapping[str, Any] | None = None,
    status: AgentRunStatus | None = None,
    namespace: str = "team-a",
    created: float = 0,
    deleting: bool = False,
    keeper: str = "",
    lane: str = "local",
) -> Run:
    """A run with an inline prompt for lane ``local`` of its own namespace."""
    given = {"prompt": "What is the capital of France?", "models": [{"lane": lane}], **(spec or {})}
    given = {key: value for key, value in given.items() if value is not None}
    return Run(
        meta=meta(name, namespace=namespace, created=created, deleting=deleting, keeper=keeper),
        spec=AgentRunSpec.model_validate(given),
        status=status or AgentRunStatus(),
    )


def condition(kind: str, status: str, reason: str, *, message: str = "", since: float = 0) -> Condition:
    return Condition(
        type=kind, status=status, reason=reason, message=message, last_transition_time=at(since), observed_generation=1
    )


def ready(status: str = "True", message: str = "it answers") -> Condition:
    return condition("Ready", status, LaneReason.BACKEND_REACHABLE, message=message)


def lane(
    name: str = "local",
    *,
    namespace: str = "team-a",
    spec: Mapping[str, Any] | None = None,
    conditions: tuple[Condition, ...] = (ready(),),
    served: Mapping[str, bool] | None = None,
) -> Lane:
    """An Ollama lane with model ``smollm2`` that is ready."""
    given = {
        "endpoint": {"url": "http://ollama:11434", "server": "Ollama"},
        "models": [{"name": "smollm2"}],
        **(spec or {}),
    }
    known = tuple({"name": model, "served": is_served} for model, is_served in (served or {}).items())
    return Lane(
        meta=meta(name, namespace=namespace),
        spec=ModelLaneSpec.model_validate(given),
        status=ModelLaneStatus.model_validate({"conditions": (), "models": known}).model_copy(
            update={"conditions": conditions}
        ),
    )


def attempt(number: int = 1, **changes: Any) -> Attempt:
    step = StepStatus(lane="local", namespace="team-a", model="smollm2")
    return Attempt(id=number, step=step, admitted_time=NOW).model_copy(update=changes)


def admitted(number: int = 1, *, usage: Any = None, **changes: Any) -> AgentRunStatus:
    """The status of a run that holds a slot for its attempt ``number``."""
    current = attempt(number, **changes)
    return AgentRunStatus(
        conditions=(condition("Admitted", "True", "SlotGranted"), condition("Finished", "False", "Starting")),
        attempt=number,
        attempts=(current,),
        step=CurrentStep(lane=current.step.lane, namespace=current.step.namespace, model=current.step.model),
        usage=usage,
    )


def pod(**changes: Any) -> PodFacts:
    """The pending pod of attempt 1 of run ``hello``."""
    plain = PodFacts(
        namespace="team-a",
        name="hello-hello-01-1",
        uid="pod-uid",
        run="hello",
        run_uid="hello-0123456789",
        attempt=1,
        lane=("team-a", "local"),
        created=NOW,
        deleting=False,
        phase="Pending",
        reason="",
        message="",
        started=None,
        waiting_reason="",
        waiting_message="",
        scheduled=NOW,
        unschedulable="",
        disruption="",
        ready=None,
        node="node1",
        agent=None,
        failed_init=None,
    )
    return replace(plain, **changes)


def running(**changes: Any) -> PodFacts:
    return pod(**{"phase": "Running", "started": at(2), "ready": True, **changes})


def ended(code: int = 0, *, message: str = "", reason: str = "", **changes: Any) -> PodFacts:
    """A pod whose agent has exited."""
    agent = Termination(exit_code=code, reason=reason, message=message, started=at(2), ended=at(10))
    phase = "Succeeded" if code == 0 else "Failed"
    return pod(**{"phase": phase, "started": at(2), "ready": False, "agent": agent, **changes})


def metered(*, number: int = 1, closed: bool = True, failure: Cause | None = None, **totals: Any) -> AttemptState:
    """What the gateway says of an attempt."""
    return AttemptState(
        run_uid="hello-0123456789",
        attempt=number,
        calls=1,
        closed=closed,
        finish_reason="stop",
        last_activity_time=at(9),
        totals=Totals(**{"turns": 1, "input_tokens": 12, "output_tokens": 7, **totals}),
        failure=failure and call_failure(failure, status=404, message="model not found"),
    )


def call_failure(
    cause: Cause = Cause.API_TRANSIENT, *, sent: float = 8, seen: float = 9, **changes: Any
) -> CallFailure:
    """A call that failed a second after it was sent."""
    return CallFailure(sent_time=at(sent), seen_time=at(seen), cause=cause, **changes)


def evidence(model: str = "smollm2", *, failures: int = 1, **changes: Any) -> ModelEvidence:
    """What the gateway knows of a model of lane ``local``; with failures the last one is a 503."""
    failure = call_failure(status=503) if failures else None
    plain = ModelEvidence(
        namespace="team-a",
        lane="local",
        model=model,
        failures=failures,
        last_failure=failure,
        run_uid="hello-0123456789",
    )
    return plain.model_copy(update=changes)


def gateway(state: AttemptState | None = None, **changes: Any) -> GatewayView:
    return GatewayView(state=state, **changes)


def run_view(the_run: Run | None = None, **changes: Any) -> RunView:
    """A view of a run on a ready lane."""
    the_run = the_run or run()
    one = changes.get("lane", lane())
    lanes = {known.meta.key: known for known in changes.pop("lanes", [one] if one else [])}
    chain = expand(
        the_run.spec.models,
        namespace=the_run.meta.namespace,
        lane_of=lambda key: steps_of(lanes[key], the_run.status) if key in lanes else None,
    )
    plain = RunView(
        run=the_run,
        surroundings=SURROUNDINGS,
        lane=lanes.get(the_run.lane_key),
        lanes=lanes,
        chain=Chain() if the_run.finished else chain,
        presets=PRESETS,
    )
    return replace(plain, **changes)


def lane_view(*runs: Run, the_lane: Lane | None = None, **changes: Any) -> LaneView:
    plain = LaneView(lane=the_lane or lane(), runs=runs, presets=PRESETS)
    return replace(plain, **changes)


def probe(
    *, reachable: bool = True, reason: LaneReason = LaneReason.BACKEND_REACHABLE, generation: int = 1, **served: bool
) -> LaneState:
    """What the gateway's probe found."""
    return LaneState(
        namespace="team-a",
        name="local",
        uid="local-0123456789",
        generation=generation,
        reachable=reachable,
        reason=reason,
        message="it answers" if reachable else "connection refused",
        models=tuple(ModelState(name=name, served=is_served) for name, is_served in served.items()),
        probed_time=NOW,
    )
