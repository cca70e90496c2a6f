"""Which attempts have a log, and what is said between them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from laneway.api.runstatus import AgentRunStatus, StepStatus
from laneway.cli import logplan
from laneway.cli.why import Asked
from support.builders import NOW, at, attempt, condition, run

STEP = StepStatus(lane="qwen", namespace="models", model="qwen3")
WAITS = (
    condition("Admitted", "False", "BackingOff", message="until 12:00."),
    condition("Finished", "False", "Waiting"),
)
WORKS = (condition("Admitted", "True", "SlotGranted"), condition("Finished", "False", "Running"))
FAILED = (
    condition("Admitted", "False", "Finished"),
    condition("Finished", "True", "Failed", message="exit code 3"),
    condition("Succeeded", "False", "Failed"),
)


def asked(*numbers: int, conditions: Any = WORKS, last_ended: bool = False) -> Asked:
    attempts = tuple(
        attempt(
            number, step=STEP, pod=f"pod-{number}", end_time=at(number) if last_ended or number != numbers[-1] else None
        )
        for number in numbers
    )
    status = AgentRunStatus(attempts=attempts, conditions=conditions)
    return Asked("team-a", "hello", NOW, 1, False, run().spec, status, NOW)


def test_all_attempts_that_are_kept_are_shown_oldest_first_with_their_steps() -> None:
    parts = logplan.parts_of(asked(3, 4))
    assert [(part.number, part.pod, part.ended) for part in parts] == [(3, "pod-3", True), (4, "pod-4", False)]
    assert parts[0].words == "attempt 3 of hello on models/qwen/qwen3"
    assert [part.number for part in logplan.parts_of(asked(3, 4), attempt=3)] == [3]
    assert [part.number for part in logplan.parts_of(asked(3, 4), previous=True)] == [3]
    assert logplan.parts_of(asked()) == []


@pytest.mark.parametrize(
    ("numbers", "wanted", "said"),
    [
        pytest.param((3, 4), {"attempt": 1}, "hello has no attempt 1; its status has 3 to 4", id="too old"),
        pytest.param((1,), {"attempt": 2}, "hello has no attempt 2; its status has 1", id="not yet"),
        pytest.param((), {"attempt": 1}, "hello has no attempt 1; it has had none yet", id="none at all"),
        pytest.param((1,), {"previous": True}, "hello has had no attempt before its latest", id="no previous one"),
    ],
)
def test_an_attempt_that_is_not_there_is_said(numbers: tuple[int, ...], wanted: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        logplan.parts_of(asked(*numbers), **wanted)


def test_the_next_attempt_is_the_first_that_was_not_shown() -> None:
    part = logplan.next_part(asked(3, 4), 2)
    assert part is not None
    assert part.number == 3
    assert logplan.next_part(asked(3, 4), 4) is None


def test_an_attempt_has_ended_by_its_time_or_with_its_run() -> None:
    assert logplan.has_ended(asked(1, 2), 1)
    assert not logplan.has_ended(asked(1, 2), 2)
    assert logplan.has_ended(asked(1, 2, last_ended=True), 2)
    assert logplan.has_ended(asked(1, 2, conditions=FAILED), 2)


@pytest.mark.parametrize(
    ("conditions", "words"),
    [
        pytest.param(WAITS, "hello waits (BackingOff): until 12:00", id="it waits"),
        pytest.param(WORKS, "", id="it is at work"),
        pytest.param(FAILED, "", id="it has ended"),
        pytest.param((), "", id="nobody has looked at it"),
    ],
)
def test_what_a_run_waits_for_is_said_in_its_own_words(conditions: Any, words: str) -> None:
    assert logplan.waits(asked(1, conditions=conditions)) == words


def test_the_end_is_said_with_its_reason() -> None:
    assert logplan.end(asked(1, conditions=FAILED)) == "hello failed as Failed: exit code 3"
    well = (condition("Finished", "True", "Completed"), condition("Succeeded", "True", "Completed"))
    assert logplan.end(replace(asked(1, conditions=well))) == "hello ended well as Completed"
