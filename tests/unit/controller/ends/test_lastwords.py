"""What the words of a failed attempt hint at, and that nothing is done about it."""

from __future__ import annotations

from typing import Any

import pytest

from laneway.agent.envelope import EnvelopeSummary
from laneway.api.reasons import Cause, End, EventReason
from laneway.controller.decide_run import decide_run
from laneway.controller.decision.decision import RunDecision
from laneway.controller.decision.effects import EventType, PostEvent
from laneway.controller.facts.pods import PodFacts
from support.builders import admitted, at, ended, gateway, lane, metered, run, run_view

STARTED = admitted(pod="hello-hello-01-1", pod_uid="pod-uid", start_time=at(2))
DIRECT = lane(spec={"access": "Direct"})
AUTH, NETWORK = EventReason.AUTH_SUSPECTED, EventReason.NETWORK_BLIP


def decided(pod: PodFacts, envelope: EnvelopeSummary | None = None, **changes: Any) -> RunDecision:
    """How a run goes on whose agent has ended; on a Direct lane unless told otherwise."""
    spec = changes.pop("spec", {})
    view = run_view(run(spec=spec, status=STARTED), **{"lane": DIRECT, **changes}, pods=(pod,), envelope=envelope)
    return decide_run(view, at(11))


def hints(decision: RunDecision) -> list[PostEvent]:
    told = [effect for effect in decision.effects if isinstance(effect, PostEvent)]
    return [event for event in told if event.reason in {AUTH, NETWORK}]


def failed(words: str, **changes: Any) -> EnvelopeSummary:
    return EnvelopeSummary(finished=True, is_error=True, raw_error=words, result_text=words, **changes)


RESET = "connection reset by peer"
REFUSED = "401 unauthorized"
GOOD = EnvelopeSummary(finished=True, is_error=False, result_text=RESET)


@pytest.mark.row("S3.38", "S3.37")
@pytest.mark.parametrize(
    ("decision", "expected"),
    [
        pytest.param(decided(ended(1, message=RESET)), [NETWORK], id="the termination message of an agent that failed"),
        pytest.param(decided(ended(1), failed(RESET)), [NETWORK], id="the error that its log ends with"),
        pytest.param(decided(ended(0), failed(RESET)), [NETWORK], id="whatever its exit code"),
        pytest.param(decided(ended(1, message=RESET), failed(RESET)), [NETWORK], id="both, and it is one Event"),
        pytest.param(decided(ended(1, message=f"{RESET}; dns")), [NETWORK], id="two words, and it is one Event"),
        pytest.param(
            decided(ended(1, message=RESET), lane=lane(), gateway=gateway(metered())), [NETWORK], id="on a Gateway lane"
        ),
        pytest.param(
            decided(ended(1, message=RESET), spec={"retry": {"policy": "Same", "maxRetries": 1}}),
            [NETWORK],
            id="an attempt after which the task is tried again",
        ),
        pytest.param(
            decided(ended(143, message=RESET, deleting=True), spec={"timeouts": {"attemptSeconds": 5}}),
            [NETWORK],
            id="one that ran into its wall",
        ),
        pytest.param(decided(ended(1), log_end=f"{RESET}\nbye\n"), [NETWORK], id="the end of a log that nobody parses"),
        pytest.param(
            decided(ended(1), EnvelopeSummary(finished=False), log_end=RESET), [NETWORK], id="or has no result"
        ),
        pytest.param(decided(ended(1), log_end=RESET + "\nbye" * 5), [], id="not six lines before its end"),
        pytest.param(decided(ended(1, message="bye"), log_end=RESET), [], id="nor of an agent that left a message"),
        pytest.param(decided(ended(1), failed("bye"), log_end=RESET), [], id="or whose log has its error"),
        pytest.param(
            decided(ended(1), log_end=RESET, lane=lane(), gateway=gateway(metered())), [], id="nor on a Gateway lane"
        ),
        pytest.param(decided(ended(0), log_end=RESET), [], id="a success whose log ends with it"),
        pytest.param(decided(ended(0, message=RESET)), [], id="a success that mentions it"),
        pytest.param(decided(ended(0), GOOD), [], id="a success whose log mentions it"),
        pytest.param(
            decided(ended(0, message=RESET), spec={"rounds": {"max": 2}}), [], id="a good round that mentions it"
        ),
        pytest.param(decided(ended(1), GOOD), [], id="a log that ends well, whatever the exit code"),
        pytest.param(decided(ended(1, message="no such file")), [], id="other words"),
        pytest.param(decided(ended(1)), [], id="no words"),
        pytest.param(
            decided(
                ended(143, message=RESET, deleting=True),
                spec={"cancel": True},
            ),
            [],
            id="an attempt that was cancelled",
        ),
        pytest.param(
            decided(ended(1, message=RESET), failed(RESET, api_error_status=503)),
            [],
            id="a call whose status tells what it was",
        ),
        pytest.param(
            decided(ended(1, message=RESET), lane=lane(), gateway=gateway(metered(failure=Cause.MODEL_NOT_FOUND))),
            [],
            id="a call that the gateway saw fail",
        ),
        pytest.param(decided(ended(1, message=REFUSED)), [AUTH], id="a refused key"),
        pytest.param(decided(ended(0, message=REFUSED)), [], id="a success that mentions a refused key"),
        pytest.param(decided(ended(1, message=f"{RESET}\n{REFUSED}")), [AUTH, NETWORK], id="words of both"),
        pytest.param(decided(ended(1), failed("no", api_error_status=401)), [AUTH], id="a status beats words"),
        pytest.param(decided(ended(1), failed("no", error_type="authentication_error")), [AUTH], id="so does a type"),
        pytest.param(decided(ended(1), failed("no", api_error_status=404)), [], id="another status"),
    ],
)
def test_the_words_of_an_attempt_that_failed_are_told(decision: RunDecision, expected: list[EventReason]) -> None:
    found = hints(decision)
    assert [event.reason for event in found] == expected
    assert all(event.type is EventType.WARNING for event in found)


@pytest.mark.row("S3.6", "S3.37", "S3.38")
@pytest.mark.parametrize("words", [RESET, REFUSED], ids=["network", "key"])
def test_words_change_no_end_and_make_nobody_wait(words: str) -> None:
    decision, plain = decided(ended(1, message=words)), decided(ended(1, message="no such file"))
    assert decision.status.reason == plain.status.reason == End.FAILED
    [last] = decision.status.attempts
    assert (last.cause, last.trouble) == (Cause.TASK_FAILURE, None)
    assert (decision.status.backoff, decision.status.next_attempt_time) == (None, None)


def test_a_hint_is_one_event_for_each_attempt_and_repeats_none_of_the_agents_own_words() -> None:
    [event] = hints(decided(ended(1, message="SECRET PLAN: session of Mrs X expired")))
    assert event.key == "auth-1"
    assert event.message == "attempt 1 failed, and what it left speaks of a refused key (session expired)"
