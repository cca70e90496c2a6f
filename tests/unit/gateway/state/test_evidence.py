"""What is held against a model, and what is not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from laneway.api.gatewaystate import CallFailure, ModelEvidence
from laneway.api.reasons import Cause
from laneway.gateway.state.evidence import MODELS_LIMIT, Evidence, LaneModel

START = datetime(2026, 11, 21, tzinfo=UTC)
MODEL, SIBLING = LaneModel("models", "lane", "m"), LaneModel("models", "lane", "m2")


class Book:
    """Evidence with versions of its own, and seconds for times."""

    def __init__(self) -> None:
        self.version = 0
        self.evidence = Evidence(self._next)

    def _next(self) -> int:
        self.version += 1
        return self.version

    def fails(self, sent: float, seen: float, cause: Cause = Cause.API_TRANSIENT, *, model: LaneModel = MODEL) -> None:
        failure = CallFailure(sent_time=at(sent), seen_time=at(seen), cause=cause)
        self.evidence.failed(model, failure, run_uid=f"run-{sent:g}")

    def succeeds(self, sent: float, *, model: LaneModel = MODEL) -> None:
        self.evidence.succeeded(model, sent=at(sent))

    def known(self, model: LaneModel = MODEL) -> ModelEvidence | None:
        return next((one for one in self.evidence.since(0) if one.model == model.model), None)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


@pytest.fixture
def book() -> Book:
    return Book()


@pytest.mark.row("C15")
def test_failures_are_counted_until_a_call_succeeds(book: Book) -> None:
    for second in range(3):
        book.fails(second, second + 0.5)
    known = book.known()
    assert known is not None
    assert (known.failures, known.run_uid, known.last_success_time) == (3, "run-2", None)
    assert known.last_failure is not None
    assert known.last_failure.seen_time == at(2.5)
    book.succeeds(4)
    known = book.known()
    assert known is not None
    assert (known.failures, known.last_failure, known.run_uid, known.last_success_time) == (0, None, None, at(4))


@pytest.mark.row("C5")
def test_a_success_of_a_call_that_was_sent_before_the_last_failure_clears_nothing(book: Book) -> None:
    book.fails(5, 6)
    book.succeeds(5.9)
    known = book.known()
    assert known is not None
    assert (known.failures, known.last_success_time) == (1, at(5.9))


def test_the_latest_success_is_told_in_whatever_order_calls_end(book: Book) -> None:
    book.succeeds(7)
    book.succeeds(3)
    known = book.known()
    assert known is not None
    assert known.last_success_time == at(7)


@pytest.mark.row("S2.33", "C2")
@pytest.mark.parametrize(
    ("cause", "counted"),
    [
        pytest.param(Cause.RATE_LIMIT_MODEL, True, id="a rate limit is held against the model"),
        pytest.param(Cause.RATE_LIMIT_ACCOUNT, True, id="so is one of the account"),
        pytest.param(Cause.QUOTA_EXHAUSTED, True, id="so is exhausted quota"),
        pytest.param(Cause.API_TRANSIENT, True, id="so is a server error"),
        pytest.param(Cause.API_TIMEOUT, True, id="so is a time-out"),
        pytest.param(Cause.AUTH_FAILED, True, id="so is a key that the server refuses"),
        pytest.param(Cause.TASK_FAILURE, False, id="a bad request is not"),
        pytest.param(Cause.MODEL_NOT_FOUND, False, id="an unknown model is not"),
        pytest.param(Cause.CONTEXT_TOO_LONG, False, id="a long prompt is not"),
        pytest.param(Cause.WIRE_API_UNSUPPORTED, False, id="an API that is not spoken is not"),
        pytest.param(Cause.UNKNOWN, False, id="a class that nobody knows is not"),
    ],
)
def test_what_counts_as_a_failure_of_the_model(book: Book, cause: Cause, *, counted: bool) -> None:
    book.fails(1, 2, cause)
    assert (book.known() is not None) is counted


def test_what_says_nothing_of_the_model_is_no_success_either(book: Book) -> None:
    book.fails(1, 2)
    version = book.version
    book.fails(3, 4, Cause.TASK_FAILURE)
    known = book.known()
    assert known is not None
    assert (known.failures, book.version) == (1, version)


def test_models_are_told_apart_and_only_what_changed_is_told(book: Book) -> None:
    book.fails(1, 2)
    version = book.version
    book.succeeds(1, model=SIBLING)
    assert [one.model for one in book.evidence.since(version)] == ["m2"]
    assert [one.model for one in book.evidence.since(0)] == ["m2", "m"]


def test_a_model_that_its_lane_no_longer_lists_is_forgotten_and_no_other(book: Book) -> None:
    book.fails(1, 2)
    book.succeeds(1, model=SIBLING)
    book.succeeds(1, model=LaneModel("elsewhere", "lane", "m"))
    book.evidence.keep("models", "lane", ["m2"])
    assert [(one.namespace, one.model) for one in book.evidence.since(0)] == [("elsewhere", "m"), ("models", "m2")]


def test_memory_is_bounded_and_the_oldest_goes_first(book: Book) -> None:
    book.fails(1, 2)
    for number in range(MODELS_LIMIT):
        book.succeeds(1, model=LaneModel("models", "gone", f"m{number}"))
    assert len(book.evidence.since(0)) == MODELS_LIMIT
    assert all(one.lane == "gone" for one in book.evidence.since(0))
