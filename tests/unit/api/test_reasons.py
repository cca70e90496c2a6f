"""Words that software may act on: valid as Kubernetes wants them, and the fixed set that others rely on."""

from __future__ import annotations

import re
from enum import StrEnum

import pytest

from laneway.api import reasons
from laneway.api.base import Condition
from laneway.api.reasons import Cause, LaneCondition, RunCondition

ENUMS = [
    value
    for value in vars(reasons).values()
    if isinstance(value, type) and issubclass(value, StrEnum) and value is not StrEnum
]
WORDS = [pytest.param(word, id=f"{enum.__name__} {word}") for enum in ENUMS for word in enum]
CAMEL_CASE = re.compile(r"[A-Z][A-Za-z]*")


@pytest.mark.parametrize("word", WORDS)
def test_a_word_is_short_camel_case_that_fits_a_condition_and_an_event(word: str) -> None:
    assert CAMEL_CASE.fullmatch(word)
    assert len(word) <= 64
    assert (
        Condition.model_validate(
            {"type": "Ready", "status": "True", "reason": word, "lastTransitionTime": "2026-01-01T00:00:00Z"}
        ).reason
        == word
    )


@pytest.mark.row("S3.1")
def test_the_four_classes_of_model_trouble_are_there() -> None:
    assert {"RateLimitAccount", "RateLimitModel", "APITransient", "APITimeout"} <= set(Cause)


def test_the_conditions_that_others_wait_for_keep_their_names() -> None:
    assert set(RunCondition) == {"Admitted", "Finished", "Succeeded", "Reconciling", "Stalled"}
    assert {"Ready", "Paused"} <= set(LaneCondition)
