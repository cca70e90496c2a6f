"""Events of a status whose write had no answer are told if it was written, and only then."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from laneway.api.reasons import EventReason
from laneway.controller.decision.effects import PostEvent
from laneway.controller.memory import doubts
from laneway.controller.memory.doubts import Doubts
from laneway.kube.resources import JsonObject

OLD, NEW, OTHER = {"phase": "Queued"}, {"phase": "Running"}, {"phase": "Failed"}
TOLD = (PostEvent(EventReason.ATTEMPT_STARTED, "attempt 1", key="started-1"),)
LATER = (PostEvent(EventReason.RUN_FINISHED, "Completed", key="finished"),)


def in_doubt(made: Doubts) -> None:
    made.note("hello", NEW, TOLD)


def failed_twice(made: Doubts) -> None:
    made.note("hello", NEW, TOLD)
    made.note("hello", OTHER, LATER)


def written_later(made: Doubts) -> None:
    made.note("hello", NEW, TOLD)
    made.settle("hello")


@pytest.mark.parametrize(
    ("before", "known", "told"),
    [
        pytest.param(in_doubt, NEW, TOLD, id="it was written"),
        pytest.param(in_doubt, OLD, (), id="it was not, or nothing is heard of it yet"),
        pytest.param(in_doubt, {}, (), id="nothing is known"),
        pytest.param(failed_twice, NEW, (), id="the one before was read and is overtaken"),
        pytest.param(failed_twice, OTHER, LATER, id="the last one counts"),
        pytest.param(written_later, NEW, (), id="a later write was answered"),
        pytest.param(lambda made: None, NEW, (), id="there was no doubt"),
    ],
)
def test_what_is_told(before: Callable[[Doubts], None], known: JsonObject, told: tuple[PostEvent, ...]) -> None:
    made = Doubts()
    before(made)
    assert made.landed("other", known) == ()
    assert made.landed("hello", known) == told
    assert made.landed("hello", known) == ()


def test_a_status_that_is_seen_late_is_told_then() -> None:
    made = Doubts()
    in_doubt(made)
    assert made.landed("hello", OLD) == ()
    assert made.landed("hello", NEW) == TOLD


def test_the_oldest_doubts_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doubts, "MOST", 2)
    made = Doubts()
    for uid in ("a", "b", "a", "c"):
        made.note(uid, NEW, TOLD)
    assert [uid for uid in ("a", "b", "c") if made.landed(uid, NEW)] == ["a", "c"]
