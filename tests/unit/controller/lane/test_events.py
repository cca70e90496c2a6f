"""What people are told when models of a lane cool and come back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from laneway.api.gatewaystate import ModelEvidence
from laneway.api.reasons import Cause
from laneway.controller.decision.effects import EventType, PostEvent
from laneway.rules.cooldown import Evidence
from support.builders import at, lane_view
from support.health import BIG, SMALL, answered, condition_of, decided, hosted, said, told

TRANSIENT = Cause.API_TRANSIENT
WORDS = {
    "a server's time": (
        said(10, Cause.RATE_LIMIT_ACCOUNT, reset=9605),
        (
            "hosted/big-model answered 429 (rate limit of the account);"
            " the account may be used again at 14:40:05Z, as the server said"
        ),
    ),
    "our own estimate": (
        said(10, TRANSIENT, status=529, failures=3),
        "hosted/big-model answered 529 3 times (server trouble); it may be used again at 12:01:10Z, our own estimate",
    ),
    "a time on another day": (
        said(10, reset=50_000),
        "hosted/big-model answered 429 (rate limit); it may be used again at 2026-03-02T01:53:20Z, as the server said",
    ),
    "an account limit without a time": (
        said(10, Cause.RATE_LIMIT_ACCOUNT),
        (
            "hosted/big-model answered 429 (rate limit of the account);"
            " the account may be used again at 12:05:10Z, the server named no time"
        ),
    ),
    "no answer": (
        said(10, Cause.API_TIMEOUT, status=None, failures=3),
        (
            "hosted/big-model did not answer 3 times (no answer in time);"
            " it may be used again at 12:00:40Z, our own estimate"
        ),
    ),
    "a refused key": (
        said(10, Cause.AUTH_FAILED, status=401),
        (
            "hosted/big-model answered 401 (key refused);"
            " nothing uses the account until a probe or a call with its key succeeds"
        ),
    ),
}


@pytest.mark.row("S3.10", "S3.39")
@pytest.mark.parametrize(("evidence", "words"), WORDS.values(), ids=WORDS)
def test_a_cooldown_is_told_with_its_reason_its_end_and_who_says_so(evidence: ModelEvidence, words: str) -> None:
    decision, _ = decided(lane_view(the_lane=hosted(), evidence=(evidence,)), 15)
    (event,) = [effect for effect in decision.effects if isinstance(effect, PostEvent)]
    assert (event.reason, event.message, event.type) == ("ModelCooled", words, EventType.WARNING)


@pytest.mark.row("S3.19")
def test_a_row_of_failures_is_told_with_its_length() -> None:
    _, seen = decided(lane_view(the_lane=hosted(), evidence=(said(10),)), 15)
    _, seen = decided(seen, 70)
    decision, seen = decided(replace(seen, evidence=(said(75),)), 76)
    assert told(decision)[0][1].endswith(
        "it may be used again at 12:03:15Z, our own estimate, after 2 failures in a row"
    )
    decision, _ = decided(replace(seen, evidence=(answered(200),)), 201)
    assert told(decision) == [("ModelRecovered", "hosted/big-model answers again after 2 failures in a row")]


@pytest.mark.row("C19")
def test_the_end_of_a_cooldown_is_told_to_nobody() -> None:
    _, seen = decided(lane_view(the_lane=hosted(), evidence=(said(10),)), 15)
    decision, _ = decided(seen, 70)
    assert condition_of(decision, "Throttled")[0] == "False"
    assert decision.effects == ()


def test_a_failure_and_a_success_after_it_that_are_told_together_are_no_news() -> None:
    decision, _ = decided(lane_view(the_lane=hosted(), evidence=(said(10, success=12),)), 15)
    assert decision.effects == ()


def test_a_cooldown_that_is_moved_is_told_under_another_key_and_one_that_stands_is_not() -> None:
    first, seen = decided(lane_view(the_lane=hosted(), evidence=(said(10),)), 15)
    same, seen = decided(replace(seen, evidence=(said(20),)), 25)
    moved, _ = decided(replace(seen, evidence=(said(30, reset=500),)), 35)
    keys = [[effect.key for effect in one.effects if isinstance(effect, PostEvent)] for one in (first, same, moved)]
    assert [len(each) for each in keys] == [1, 0, 1]
    assert keys[0] != keys[2]


def test_each_model_speaks_for_itself() -> None:
    failure = Evidence(TRANSIENT, sent=at(11), seen=at(11), status=503)
    view = lane_view(the_lane=hosted(), evidence=(said(10, model=SMALL),), troubles={BIG: (failure,)})
    assert [words.partition(" ")[0] for _, words in told(decided(view, 15)[0])] == [f"hosted/{BIG}", f"hosted/{SMALL}"]


CONDITIONS: dict[str, tuple[tuple[ModelEvidence, ...], tuple[str, str, str]]] = {
    "nothing has failed": ((), ("False", "NotThrottled", "every model may be used")),
    "one of two rests": (
        (said(10, reset=9605),),
        (
            "True",
            "SomeModelsCooling",
            "big-model cooling until 14:40:05Z (rate limit, as the server said); small-model free",
        ),
    ),
    "both rest": (
        (said(10), said(10, TRANSIENT, status=503, model=SMALL, failures=3)),
        (
            "True",
            "AllModelsCooling",
            (
                "big-model cooling until 12:01:10Z (rate limit, our own estimate);"
                " small-model cooling until 12:01:10Z (server trouble, our own estimate)"
            ),
        ),
    ),
    "the account rests": (
        (said(10, Cause.AUTH_FAILED, status=401),),
        (
            "True",
            "AllModelsCooling",
            "big-model not used for now (key refused); small-model not used for now (key refused)",
        ),
    ),
}


@pytest.mark.row("S3.39", "S4.7", "B17", "S3.35")
@pytest.mark.parametrize(("evidence", "says"), CONDITIONS.values(), ids=CONDITIONS)
def test_throttled_names_every_model_with_its_time(evidence: tuple[ModelEvidence, ...], says: Any) -> None:
    decision, _ = decided(lane_view(the_lane=hosted(), evidence=evidence), 15)
    assert condition_of(decision, "Throttled") == says


@pytest.mark.row("S3.39", "S3.35")
def test_throttled_until_is_when_the_last_model_is_back() -> None:
    evidence = said(10), said(10, reset=500, model=SMALL)
    decision, seen = decided(lane_view(the_lane=hosted(), evidence=evidence), 15)
    assert decision.status.throttled_until == at(500)
    assert decided(seen, 100)[0].status.throttled_until == at(500)
    assert decided(seen, 500)[0].status.throttled_until is None
