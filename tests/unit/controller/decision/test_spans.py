"""Spans of runs and attempts: one when an end is recorded, none before and none after."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from laneway.api.reasons import Cause, Outcome
from laneway.api.runstatus import AgentRunStatus, Fallback, NamedStep, Usage
from laneway.controller.decision.spans import new_spans
from laneway.controller.facts.objects import Run
from laneway.rules import traces
from support.builders import NOW, admitted, at, attempt, condition, run

UID = "hello-0123456789"
ENDED = {"start_time": at(2), "end_time": at(10), "outcome": Outcome.SUCCEEDED, "pod": "pod-1"}


def finished(reason: str = "Completed", good: str = "True", **changes: Any) -> AgentRunStatus:
    """The status of a run that has ended at 11 s with its only attempt."""
    plain = AgentRunStatus(
        reason=reason,
        conditions=(condition("Finished", "True", reason), condition("Succeeded", good, reason)),
        attempt=1,
        attempts=(attempt(1, **ENDED),),
        usage=Usage(input_tokens=12, output_tokens=7, turns=1, cost_usd="0.000017"),
        start_time=at(2),
        completion_time=at(11),
    )
    return plain.model_copy(update=changes)


def with_status(status: AgentRunStatus) -> Run:
    return replace(run(), status=status)


def test_an_end_makes_a_span_of_the_attempt_and_one_of_the_run() -> None:
    tried, whole = new_spans(with_status(admitted(start_time=at(2))), finished())
    assert (tried.trace_id, whole.trace_id) == (traces.trace_id(UID),) * 2
    assert (whole.parent_id, tried.parent_id) == (None, whole.span_id)
    assert whole.name == "invoke_agent laneway"
    assert (whole.start, whole.end, whole.failed) == (NOW, at(11), False)
    assert (tried.start, tried.end, tried.failed) == (NOW, at(10), False)
    assert [(one.name, one.time) for one in tried.happenings] == [("agent started", at(2))]
    assert whole.attributes["gen_ai.operation.name"] == "invoke_agent"
    assert whole.attributes["gen_ai.usage.input_tokens"] == 12
    assert whole.attributes["laneway.cost.micro_usd"] == 17
    assert whole.attributes["laneway.reason"] == "Completed"
    assert tried.attributes["k8s.pod.name"] == "pod-1"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(admitted(), admitted(start_time=at(2)), id="an attempt that has begun"),
        pytest.param(finished(), finished(usage=Usage(input_tokens=13)), id="usage that was corrected afterwards"),
        pytest.param(AgentRunStatus(), admitted(), id="a slot that was granted"),
    ],
)
def test_nothing_is_told_of(before: AgentRunStatus, after: AgentRunStatus) -> None:
    assert new_spans(with_status(before), after) == []


def test_an_attempt_that_is_followed_by_another_is_told_at_its_own_end() -> None:
    lost = attempt(1, end_time=at(10), outcome=Outcome.MODEL_TROUBLE, cause=Cause.RATE_LIMIT_MODEL)
    waiting = admitted().model_copy(update={"attempts": (lost,)})
    [span] = new_spans(with_status(admitted()), waiting)
    assert span.failed
    assert span.attributes["error.type"] == "RateLimitModel"
    [after] = new_spans(with_status(waiting), waiting.model_copy(update={"attempts": (lost, attempt(2, **ENDED))}))
    assert after.attributes["laneway.attempt"] == 2


@pytest.mark.parametrize(
    ("reason", "good", "error"),
    [
        pytest.param("Completed", "True", None, id="a success is none"),
        pytest.param("ChainExhausted", "False", "ChainExhausted", id="a failure says which"),
        pytest.param("Cancelled", "False", None, id="a person's wish is none"),
    ],
)
def test_an_error_of_a_run(reason: str, good: str, error: str | None) -> None:
    whole = new_spans(with_status(admitted()), finished(reason, good))[-1]
    assert (whole.failed, whole.attributes["error.type"]) == (error is not None, error)


def test_steps_of_the_chain_are_marked_in_the_run() -> None:
    here, there = (NamedStep(lane=name, namespace="team-a", model="m") for name in ("first", "second"))
    move = Fallback(time=at(5), attempt=1, from_=here, to=there, cause=Cause.RATE_LIMIT_MODEL, live=True)
    [happening] = new_spans(with_status(admitted()), finished(fallback_history=(move,)))[-1].happenings
    assert happening.time == at(5)
    assert happening.attributes == {
        "laneway.cause": "RateLimitModel",
        "laneway.from": "team-a/first m",
        "laneway.to": "team-a/second m",
        "laneway.live": True,
    }


def test_no_words_of_the_run_its_agent_or_a_server_are_in_a_span() -> None:
    said = attempt(1, **{**ENDED, "outcome": Outcome.FAILED, "message": "secret words"})
    status = finished("Failed", "False", attempts=(said,))
    spans = new_spans(replace(run(spec={"title": "secret title"}), status=admitted()), status)
    assert "secret" not in repr(spans)
    assert "capital of France" not in repr(spans)
