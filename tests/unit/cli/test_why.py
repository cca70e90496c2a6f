"""The paragraph on a run: what it waits for or does, since when, until when, and what a person can do."""

from __future__ import annotations

import re
from typing import Any

import pytest

from laneway.api.base import Condition
from laneway.api.health import HealthWarning
from laneway.api.limits import LimitName, LimitReached
from laneway.api.modellane import LaneCaller, ModelLane, ModelLaneStatus
from laneway.api.reasons import Cause, End, HealthKind, Outcome, ResetSource, Waiting
from laneway.api.runstatus import AgentRunStatus, BackoffStatus, CurrentStep, Queue, StepStatus, Usage
from laneway.api.spend import Period, SpendStatus
from laneway.cli.advice import ENDS, WAITS
from laneway.cli.why import Asked, Holder, explain
from support.builders import NOW, at, attempt, condition, lane, run

STEP = StepStatus(lane="qwen", namespace="models", model="qwen3")
LATEST = attempt(2, step=STEP, pod="hello-pod-2", admitted_time=at(-300), start_time=at(-290), end_time=at(-60))


def waiting(reason: str, message: str = "the operator's words", **status: Any) -> AgentRunStatus:
    conditions = (
        condition("Admitted", "False", reason, message=message, since=-180),
        condition("Finished", "False", "Waiting"),
    )
    return known(conditions, **status)


def working(reason: str = "Running", message: str = "the agent is at work", **status: Any) -> AgentRunStatus:
    conditions = (
        condition("Admitted", "True", "SlotGranted", since=-180),
        condition("Finished", "False", "Running"),
        condition("Reconciling", "True", reason, message=message),
    )
    return known(conditions, **{"attempt": 2, "attempts": (LATEST.model_copy(update={"end_time": None}),), **status})


def ended(end: str, *, good: bool = False, **status: Any) -> AgentRunStatus:
    conditions = (
        condition("Admitted", "False", "Finished"),
        condition("Finished", "True", end, message="so it ended", since=-60),
        condition("Succeeded", "True" if good else "False", end),
    )
    return known(conditions, **{"attempt": 2, "attempts": (LATEST,), "completion_time": at(-60), **status})


def known(conditions: tuple[Condition, ...], **status: Any) -> AgentRunStatus:
    step = CurrentStep(lane="qwen", namespace="models", model="qwen3")
    return AgentRunStatus(conditions=conditions, step=step, **{"observed_generation": 1, **status})


def about(status: AgentRunStatus, *, spec: dict[str, Any] | None = None, **changes: Any) -> str:
    the_run = run(spec={"models": [{"lane": "qwen", "namespace": "models"}], **(spec or {})})
    given = {
        "namespace": "team-a",
        "name": "hello",
        "created": at(-3600),
        "generation": 1,
        "deleting": False,
        "now": NOW,
        **changes,
    }
    return explain(Asked(spec=the_run.spec, status=status, **given))


def the_lane(**status: Any) -> ModelLane:
    return ModelLane(spec=lane().spec, status=ModelLaneStatus(**status))


QUEUE = Queue(position=3, since=at(-180))
BACKOFF = BackoffStatus(
    cause=Cause.RATE_LIMIT_MODEL,
    step=STEP,
    count=1,
    source=ResetSource.RETRY_AFTER,
    since_attempt=2,
    since_time=at(-60),
)
AGAIN = (LATEST.model_copy(update={"again_time": at(30)}),)

WAITING = {
    Waiting.WAITING_FOR_SLOT: (
        {"message": "lane models/qwen: 2 of 2 slots used, position 3", "queue": QUEUE},
        (
            "hello waits for a slot: lane models/qwen: 2 of 2 slots used, position 3. It has waited since 11:57:00Z (3m ago)."
            " To start sooner: raise spec.capacity.runs of lane qwen"
        ),
    ),
    Waiting.LANE_NOT_FOUND: (
        {},
        "waits for a lane that does not exist: the operator's words. It has had no slot since 11:57:00Z",
    ),
    Waiting.LANE_NOT_READY: ({}, "waits for its lane to be ready"),
    Waiting.LANE_SUSPENDED: ({}, "Set spec.suspend of lane qwen to false"),
    Waiting.MODEL_NOT_FOUND: ({}, "add the model to lane qwen, or load it on the server."),
    Waiting.NAMESPACE_NOT_ALLOWED: ({}, "The lane's owner can set spec.allowedNamespaces.from to All"),
    Waiting.PRESET_NOT_FOUND: ({}, "Correct spec.agent.preset"),
    Waiting.IMAGE_NOT_SET: ({}, "Set spec.agent.image"),
    Waiting.QUOTA_EXCEEDED: ({}, "Raise the quota or lower spec.agent.resources"),
    Waiting.NAME_TAKEN: ({}, "Delete or rename that object"),
    Waiting.WORKSPACE_IN_USE: ({}, "kubectl delete pod --force"),
    Waiting.SUSPENDED: (
        {},
        "waits because it is suspended: the operator's words. It has had no slot since 11:57:00Z (3m ago). To let it go on: kubectl laneway resume hello -n team-a",
    ),
    Waiting.WAITING_FOR_DEPENDENCY: ({}, "waits for another run to succeed"),
    Waiting.NOT_BEFORE: ({}, "It looks again at 13:00:00Z, in 60m. To begin sooner change spec.notBeforeTime."),
    Waiting.BACKING_OFF: (
        {"backoff": BACKOFF, "next_attempt_time": at(40)},
        (
            "It has waited since 11:59:00Z (60s ago). It looks again at 12:00:40Z, in 40s."
            " If you know that the model is well again: kubectl laneway cooldown clear qwen -n models"
        ),
    ),
    Waiting.ALL_MODELS_COOLING: ({"next_attempt_time": at(86_400)}, "It looks again at 2026-03-02T12:00:00Z, in 24h."),
    Waiting.WIRE_API_UNSUPPORTED: ({}, "does not speak its agent's protocol"),
    Waiting.PRICE_UNKNOWN: ({}, 'Add pricing to the model in lane qwen ("0" if it is free)'),
    Waiting.LIMIT_PAUSED: (
        {"limit_reached": LimitReached(limit=LimitName.COST, value="2.50", time=at(-600))},
        "is paused at a limit: the operator's words. It has waited since 11:50:00Z (10m ago). Raise or remove that limit",
    ),
    Waiting.SPEND_REACHED: ({}, "It looks again at 2026-03-02T00:00:00Z, in 12h."),
    Waiting.WAITING_FOR_RETRY: (
        {"attempts": AGAIN},
        (
            "It has waited since 11:59:00Z (60s ago). It looks again at 12:00:30Z, in 30s."
            " To give up instead: kubectl laneway cancel hello -n team-a"
        ),
    ),
    Waiting.WAITING_FOR_ROUND: (
        {"attempts": AGAIN},
        "To hold it between two rounds: kubectl laneway suspend hello -n team-a",
    ),
    Waiting.WAITING_FOR_CLASSIFICATION: ({}, "waits for its lane to choose a model"),
}

ENDED = {
    End.COMPLETED: "hello ended well at 11:59:00Z (60s ago) as Completed: so it ended. Its answer: kubectl get agentrun hello -n team-a -o jsonpath='{.status.result.summary}'",
    End.FAILED: "hello failed at 11:59:00Z (60s ago) as Failed: so it ended. Read its log with: kubectl logs hello-pod-2 -n team-a; then: kubectl laneway retry hello -n team-a",
    End.NO_OUTPUT: "Look at its arguments, its key and its log",
    End.CANCELLED: "To run it after all: kubectl laneway retry hello -n team-a",
    End.AUTH_FAILED: "Mend the key of lane qwen",
    End.PERMANENT_MODEL_ERROR: "the same again ends the same",
    End.START_TIMEOUT: "raise spec.timeouts.startSeconds",
    End.ATTEMPT_TIMEOUT: "Give a new run more spec.timeouts.attemptSeconds",
    End.IDLE_TIMEOUT: "a tool that waits for input is the usual cause",
    End.IMAGE_UNAVAILABLE: "Correct spec.agent.image",
    End.OUT_OF_MEMORY: "Raise spec.agent.resources.limits.memory",
    End.POD_REJECTED: "the policy that refused its pod",
    End.PROMPT_MISSING: "Create the ConfigMap or key of spec.promptFrom",
    End.EVICTED: "the pressure on its node",
    End.LOST_POD: "what happened to its pods and nodes",
    End.GATEWAY_UNAVAILABLE: "See whether the gateway is well",
    End.QUEUE_TIMEOUT: "raise spec.capacity.runs of lane qwen",
    End.DEPENDENCY_FAILED: "Mend that run and make it anew",
    End.CHAIN_EXHAUSTED: "Every step of spec.models was refused",
    End.TRANSIENT_STOP: "when the model is well: kubectl laneway retry hello -n team-a",
    End.BUDGET_REACHED: "a higher spec.limits.costUSD",
    End.TOKENS_REACHED: "a higher spec.limits.tokens",
    End.TURNS_REACHED: "a higher spec.limits.turns",
    End.TIME_REACHED: "a higher spec.limits.activeSeconds",
}


def test_every_reason_to_wait_and_every_end_has_advice_and_a_case_here() -> None:
    assert set(WAITS) == set(WAITING) == set(Waiting)
    assert set(ENDS) == set(ENDED) == set(End)


@pytest.mark.parametrize(
    "reason", [pytest.param(one, id=f"a run with {one} is told what it is and what to do") for one in Waiting]
)
def test_a_waiting_run(reason: Waiting) -> None:
    status, expected = WAITING[reason]
    spent = SpendStatus(
        namespace="team-a", period=Period.DAY, used_usd="5", limit_usd="5", reached=True, period_end_time=at(43_200)
    )
    said = about(waiting(reason, **status), spec={"notBeforeTime": at(3600)}, lane=the_lane(spend=(spent,)))
    assert expected in said
    assert_is_prose(said)


@pytest.mark.parametrize(
    "end", [pytest.param(one, id=f"a run that ended as {one} is told so, and what to do") for one in End]
)
def test_an_ended_run(end: End) -> None:
    said = about(ended(end, good=end is End.COMPLETED))
    assert ENDED[end] in said
    assert_is_prose(said)


def assert_is_prose(said: str) -> None:
    """One paragraph, nothing left unfilled, no word of Python's."""
    assert "\n" not in said
    assert not re.search(r"\{(run|lane|n|lane_n|pod)\}|None|\.\.|  ", said)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        pytest.param(
            about(
                waiting(Waiting.WAITING_FOR_SLOT, queue=QUEUE),
                holders=(Holder("team-a", "refactor", at(-3600)), Holder("team-b", "docs", None)),
            ),
            "Slots are held by team-a/refactor since 11:00:00Z, team-b/docs.",
            id="who waits for a slot is told which runs have them",
        ),
        pytest.param(
            about(
                waiting(Waiting.WAITING_FOR_SLOT, queue=QUEUE),
                holders=tuple(Holder("team-a", f"run-{number}", None) for number in range(7)),
            ),
            "team-a/run-4 and 2 more.",
            id="of many holders five are named",
        ),
        pytest.param(
            about(
                waiting(Waiting.WAITING_FOR_SLOT, queue=QUEUE),
                lane=the_lane(
                    callers=(
                        LaneCaller(namespace="team-b", caller="ann", active=2, queued=0),
                        LaneCaller(namespace="team-c", active=0, queued=4),
                    )
                ),
            ),
            "Slots are held by team-b for ann (2).",
            id="who may not list all runs is told which namespaces have the slots",
        ),
        pytest.param(
            about(waiting(Waiting.WAITING_FOR_SLOT, queue=QUEUE), spec={"timeouts": {"queueSeconds": 600}}),
            "Without a slot by 12:07:00Z it ends as QueueTimeout.",
            id="a bound on the wait is told",
        ),
        pytest.param(
            about(waiting(Waiting.BACKING_OFF, backoff=BACKOFF, next_attempt_time=at(-1))),
            "Its time has come",
            id="a time that is past is not promised",
        ),
        pytest.param(
            about(waiting("ReasonOfTomorrow")),
            "hello waits (ReasonOfTomorrow): the operator's words.",
            id="a reason of a newer operator is told with its own words",
        ),
        pytest.param(
            about(ended("EndOfTomorrow")),
            "as EndOfTomorrow: so it ended. See its Events: kubectl describe agentrun hello -n team-a",
            id="an end of a newer operator is told with its own words",
        ),
        pytest.param(
            about(AgentRunStatus()),
            "hello was created 60m ago, and the operator has not looked at it yet.",
            id="a run that nobody looked at says so",
        ),
        pytest.param(
            about(working(last_activity_time=at(-5), usage=Usage(turns=3, total_tokens=1))),
            "hello is at work on models/qwen/qwen3 since 11:55:10Z (4m50s ago), attempt 2."
            " It last called a model 5s ago. It used 3 turns, 1 token in 2 attempts. Its output: kubectl logs hello-pod-2 -n team-a",
            id="a run at work says where, since when, and what it used",
        ),
        pytest.param(
            about(working(health=(HealthWarning(kind=HealthKind.STALLED, time=NOW, message="no call for 600 s"),))),
            "no call for 600 s.",
            id="a run at work says what is noticed of it",
        ),
        pytest.param(
            about(
                working(
                    "ErrImagePull",
                    "the image cannot be pulled",
                    attempts=(LATEST.model_copy(update={"start_time": None, "end_time": None}),),
                )
            ),
            "hello has a slot on models/qwen/qwen3 and its agent does not run yet (ErrImagePull): the image cannot be pulled."
            " It has the slot since 11:55:00Z (5m ago).",
            id="a run that does not start says what keeps it",
        ),
        pytest.param(
            about(working(), spec={"suspend": True}),
            "It is suspended: this attempt goes on to its end, and no other begins.",
            id="a run that is suspended at work says that it goes on",
        ),
        pytest.param(about(working(), spec={"cancel": True}), "It is being cancelled.", id="a cancel is told"),
        pytest.param(about(working(), deleting=True), "It is being deleted.", id="a deletion is told"),
        pytest.param(
            about(waiting(Waiting.LANE_NOT_FOUND), generation=2),
            "has not looked at the latest change",
            id="a change that nobody looked at is told",
        ),
        pytest.param(
            about(ended(End.COMPLETED, usage=Usage(turns=1, cost_usd="0.12", complete=False))),
            "It used at least 1 turn, 0.12 USD in 2 attempts.",
            id="a count that misses calls is a least one",
        ),
    ],
)
def test_the_paragraph_says(said: str, expected: str) -> None:
    assert expected in said
    assert_is_prose(said)


def test_usage_that_is_unknown_is_not_told_as_nothing() -> None:
    assert "It used" not in about(ended(End.FAILED, usage=Usage(complete=False)))


def test_the_outcome_of_an_attempt_does_not_stand_for_the_end_of_the_run() -> None:
    lost = LATEST.model_copy(update={"outcome": Outcome.FAILED})
    assert "failed at" not in about(waiting(Waiting.WAITING_FOR_RETRY, attempts=(lost,)))


@pytest.mark.parametrize(
    ("keeper", "expected"),
    [
        pytest.param("", "It is deleted at 12:09:00Z (ttlSecondsAfterFinished).", id="when it is deleted"),
        pytest.param(
            "Argo CD (application shop)",
            "ttlSecondsAfterFinished does not delete it, for Argo CD (application shop) would bring it again",
            id="why it is not",
        ),
    ],
)
def test_an_ended_run_with_a_time_to_stay_is_told(keeper: str, expected: str) -> None:
    said = about(ended(End.COMPLETED, good=True), spec={"ttlSecondsAfterFinished": 600}, keeper=keeper)
    assert expected in said
    assert_is_prose(said)
