"""Exit codes and result lines: which of them says how an attempt ended, and when a log is read for it."""

from __future__ import annotations

from typing import Any

import pytest

from laneway.agent.envelope import EnvelopeSummary
from laneway.agent.envelope import Usage as AgentUsage
from laneway.api.gatewaystate import AttemptState
from laneway.api.reasons import Cause, End, Outcome
from laneway.api.runstatus import AgentRunStatus
from laneway.controller.decide_run import decide_run
from laneway.controller.facts.pods import PodFacts
from laneway.controller.facts.presets import LogParser
from laneway.controller.logs.result import wants_log
from support.builders import admitted, at, ended, gateway, lane, metered, run, run_view, running

STARTED = admitted(pod="hello-hello-01-1", pod_uid="pod-uid", start_time=at(2))
DIRECT = lane(spec={"access": "Direct"})
GOOD = EnvelopeSummary(
    finished=True, is_error=False, result_text="Done.", usage=AgentUsage(20, 8), usage_is_total=True, num_turns=1
)
BAD = EnvelopeSummary(finished=True, is_error=True, raw_error="the disk is full")


def status_of(pod: PodFacts, envelope: EnvelopeSummary | None, *, direct: bool = True) -> AgentRunStatus:
    """Of a run whose only attempt has ended; on a Gateway lane the gateway has closed it."""
    seen: dict[str, Any] = {"lane": DIRECT} if direct else {"gateway": gateway(metered())}
    return decide_run(run_view(run(status=STARTED), pods=(pod,), envelope=envelope, **seen), at(30)).status


KILLED = [
    pytest.param(ended(137), id="killed"),
    pytest.param(ended(143), id="told to leave"),
    pytest.param(ended(137, deleting=True), id="its pod deleted by somebody"),
    pytest.param(ended(143, disruption="EvictionByEvictionAPI"), id="evicted"),
    pytest.param(ended(137, reason="OOMKilled"), id="out of memory"),
]


@pytest.mark.row("S4.19", "S4.43")
@pytest.mark.parametrize("direct", [True, False], ids=["Direct", "Gateway"])
@pytest.mark.parametrize("pod", KILLED)
def test_a_dead_pod_with_a_good_result_in_its_log_has_done_its_work(pod: PodFacts, *, direct: bool) -> None:
    status = status_of(pod, GOOD, direct=direct)
    assert status.reason == End.COMPLETED
    assert status.attempts[-1].outcome is Outcome.SUCCEEDED
    assert "had finished its work, as its log says; then" in (status.attempts[-1].message or "")
    assert status.result is not None
    assert (status.result.summary, status.result.exit_code) == ("Done.", pod.agent.exit_code if pod.agent else None)


@pytest.mark.row("S4.19")
@pytest.mark.parametrize("pod", KILLED)
@pytest.mark.parametrize(
    "envelope",
    [
        pytest.param(None, id="no log"),
        pytest.param(BAD, id="an error"),
        pytest.param(EnvelopeSummary(finished=False, result_text="Half"), id="no result"),
        pytest.param(EnvelopeSummary(finished=True), id="a result that claims nothing"),
    ],
)
def test_a_dead_pod_without_a_good_result_has_not(pod: PodFacts, envelope: EnvelopeSummary | None) -> None:
    status = status_of(pod, envelope)
    assert status.attempts[-1].outcome is not Outcome.SUCCEEDED
    assert status.reason != End.COMPLETED


@pytest.mark.row("S3.32")
@pytest.mark.parametrize("code", [1, 3, 255])
def test_an_exit_code_that_the_agent_chose_is_not_made_better(code: int) -> None:
    status = status_of(ended(code), GOOD)
    assert status.reason == End.FAILED
    assert status.attempts[-1].cause is Cause.TASK_FAILURE


def test_on_a_direct_lane_an_error_in_the_log_is_one_although_the_exit_code_is_0() -> None:
    status = status_of(ended(0), BAD)
    assert (status.reason, status.attempts[-1].cause) == (End.FAILED, Cause.TASK_FAILURE)
    assert status.attempts[-1].message == "the agent exited with 0, but its log ends with an error: the disk is full"
    assert status.result is not None
    assert (status.result.summary, status.result.exit_code) == (None, 0)


@pytest.mark.row("S3.3", "S3.4")
def test_model_trouble_in_the_log_is_trouble_although_the_exit_code_is_0() -> None:
    overloaded = EnvelopeSummary(finished=True, is_error=True, api_error_status=529, raw_error="Overloaded")
    status = status_of(ended(0), overloaded)
    assert status.attempts[-1].outcome is Outcome.MODEL_TROUBLE
    assert status.attempts[-1].cause is Cause.API_TRANSIENT
    assert status.completion_time is None


@pytest.mark.row("S0.2")
def test_a_number_in_the_words_of_a_failed_agent_is_no_rate_limit() -> None:
    words = EnvelopeSummary(finished=True, is_error=True, raw_error="model used 14290 tokens and gave up")
    status = status_of(ended(1), words)
    assert (status.reason, status.backoff) == (End.FAILED, None)


def test_on_a_gateway_lane_exit_code_0_is_success_whatever_the_log_says() -> None:
    assert status_of(ended(0), BAD, direct=False).reason == End.COMPLETED


@pytest.mark.row("S0.23")
def test_on_a_gateway_lane_the_gateway_counts_whatever_the_log_says() -> None:
    usage = status_of(ended(137), GOOD, direct=False).usage
    assert usage is not None
    assert (usage.source, usage.input_tokens, usage.output_tokens) == ("Gateway", 12, 7)


SERVED, UNSERVED = metered(), AttemptState(run_uid="u", attempt=1, closed=True)
JSON_LINES, NONE = LogParser.STREAM_JSON, LogParser.NONE


@pytest.mark.parametrize(
    ("pod", "parser", "state", "direct", "wanted"),
    [
        pytest.param(ended(0, message="Done."), JSON_LINES, None, True, True, id="Direct: always"),
        pytest.param(ended(1), JSON_LINES, None, True, True, id="Direct: of a failure too"),
        pytest.param(ended(0), NONE, None, True, False, id="Direct: not without a parser"),
        pytest.param(ended(0, message="Done."), JSON_LINES, SERVED, False, False, id="Gateway: not of a plain success"),
        pytest.param(ended(1), JSON_LINES, SERVED, False, False, id="Gateway: not of a plain failure"),
        pytest.param(ended(137), JSON_LINES, SERVED, False, True, id="Gateway: of an agent that was killed"),
        pytest.param(ended(0), JSON_LINES, SERVED, False, True, id="Gateway: of one that left no summary"),
        pytest.param(
            ended(0), NONE, UNSERVED, False, True, id="without a parser: of one that seems to have done nothing"
        ),
        pytest.param(ended(0), NONE, SERVED, False, False, id="without a parser: not of one that called a model"),
        pytest.param(ended(0), NONE, None, False, False, id="without a parser: not while nobody knows of its calls"),
        pytest.param(running(), JSON_LINES, None, True, False, id="not while it runs"),
        pytest.param(ended(0, agent=None), JSON_LINES, None, True, False, id="not of a pod whose agent never ran"),
        pytest.param(None, JSON_LINES, None, True, False, id="not without a pod"),
    ],
)
def test_a_log_is_read_only_for_what_nothing_else_tells(
    pod: PodFacts | None, parser: LogParser, state: AttemptState | None, *, direct: bool, wanted: bool
) -> None:
    assert wants_log(pod, parser, state, direct=direct) is wanted
