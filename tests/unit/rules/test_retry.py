"""Retries of one call: how many, how long between them, and never a wait that nothing follows."""

from __future__ import annotations

import random

import pytest

from laneway.rules.retry import Failure, RetryPolicy, wait_milliseconds

DEFAULTS = RetryPolicy()


def longest(_: int, high: int) -> int:
    return high


def waits(failure: Failure, policy: RetryPolicy = DEFAULTS) -> list[int]:
    """The waits of a call whose every try ends in the same failure."""
    found: list[int] = []
    while (wait := wait_milliseconds(policy, failure, failures=len(found) + 1, pick=longest)) is not None:
        found.append(wait)
    return found


@pytest.mark.row("S1.2", "B1")
def test_three_tries_have_two_waits_and_none_after_the_last() -> None:
    assert len(waits(Failure(status=503))) == 2


@pytest.mark.row("S1.3")
def test_the_backoff_doubles_without_a_cap() -> None:
    assert waits(Failure(status=503), RetryPolicy(max_retries=7)) == [100, 200, 400, 800, 1600, 3200, 6400]


@pytest.mark.row("S1.4")
@pytest.mark.parametrize(
    ("failures", "low", "high"),
    [
        pytest.param(1, 50, 100, id="50 to 100 ms after the first"),
        pytest.param(2, 100, 200, id="100 to 200 ms after the second"),
        pytest.param(3, 200, 400, id="200 to 400 ms after the third"),
    ],
)
def test_a_thousand_waits_stay_between_half_and_the_whole_backoff(failures: int, low: int, high: int) -> None:
    pick = random.Random(7).randint
    policy = RetryPolicy(max_retries=3)
    seen = {wait_milliseconds(policy, Failure(status=503), failures=failures, pick=pick) for _ in range(1000)}
    found = [wait for wait in seen if wait is not None]
    assert (min(found), max(found)) == (low, high)
    assert len(seen) >= 10


@pytest.mark.row("S1.4")
def test_a_backoff_of_nothing_is_not_drawn() -> None:
    policy = RetryPolicy(initial_backoff_milliseconds=0)
    assert wait_milliseconds(policy, Failure(status=503), failures=1, pick=lambda low, high: 1 // (high - low)) == 0


@pytest.mark.row("C6")
@pytest.mark.parametrize(
    ("failure", "tries"),
    [
        pytest.param(Failure(), 3, id="no connection"),
        *(pytest.param(Failure(status=status), 3, id=f"{status}") for status in (500, 502, 503, 504)),
        *(
            pytest.param(Failure(status=status), 1, id=f"{status} is permanent")
            for status in (400, 401, 403, 404, 422, 501, 505)
        ),
        pytest.param(Failure(status=408), 1, id="408 is a time-out"),
        pytest.param(Failure(timed_out=True), 1, id="no answer in time"),
        pytest.param(Failure(status=429), 1, id="429 without a hint"),
        pytest.param(Failure(status=529), 1, id="529 without a hint"),
        pytest.param(Failure(status=429, retry_after_seconds=5), 2, id="429 for 5 s, once"),
        pytest.param(Failure(status=529, retry_after_seconds=1), 2, id="529 for 1 s, once"),
        pytest.param(Failure(status=429, retry_after_seconds=6), 1, id="429 for longer"),
        pytest.param(Failure(status=503, retry_after_seconds=6), 1, id="503 for longer"),
    ],
)
def test_what_may_pass_soon_is_tried_again(failure: Failure, tries: int) -> None:
    assert len(waits(failure)) + 1 == tries


@pytest.mark.row("S1.7", "C6")
def test_time_outs_are_tried_again_where_the_policy_says_so() -> None:
    assert len(waits(Failure(timed_out=True), RetryPolicy(timeouts=True))) == 2

    assert len(waits(Failure(status=408), RetryPolicy(timeouts=True))) == 2


@pytest.mark.row("S0.4", "S0.5", "S0.7")
def test_the_numbers_of_s0_are_reachable() -> None:
    policy = RetryPolicy(
        max_retries=10,
        initial_backoff_milliseconds=1000,
        max_backoff_seconds=300,
        jitter=False,
        rate_limits=True,
    )
    found = waits(Failure(status=429), policy)
    assert [wait / 1000 for wait in found] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]
    assert len(waits(Failure(status=429), RetryPolicy(max_retries=3, rate_limits=True))) == 3


@pytest.mark.row("C4", "C6", "S0.6")
@pytest.mark.parametrize(
    ("failure", "tries"),
    [
        pytest.param(Failure(status=429), 3, id="429 without a hint"),
        pytest.param(Failure(status=529, retry_after_seconds=60), 3, id="529 for a minute"),
        pytest.param(Failure(status=503, retry_after_seconds=60), 3, id="503 for a minute"),
        pytest.param(Failure(status=429, retry_after_seconds=61), 1, id="429 for longer"),
        pytest.param(Failure(status=429, lasting=True), 1, id="a quota that is used up"),
    ],
)
def test_a_lane_may_try_rate_limits_again(failure: Failure, tries: int) -> None:
    assert len(waits(failure, RetryPolicy(rate_limits=True))) + 1 == tries


def test_what_lasts_is_not_tried_again_whatever_its_status() -> None:
    assert waits(Failure(status=503, lasting=True)) == []
    assert waits(Failure(status=429, retry_after_seconds=1, lasting=True)) == []


@pytest.mark.row("S1.11", "C4")
@pytest.mark.parametrize(
    ("hint", "wait"),
    [
        pytest.param(2.0, 2000, id="up"),
        pytest.param(0.01, 1000, id="at least a second"),
        pytest.param(1.5, 1500, id="a fraction"),
    ],
)
def test_a_short_hint_of_the_server_replaces_our_estimate(hint: float, wait: int) -> None:
    assert waits(Failure(status=503, retry_after_seconds=hint))[0] == wait
