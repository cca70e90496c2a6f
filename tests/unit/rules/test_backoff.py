"""How long a model that failed is left alone, and how long a run waits."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laneway.api.reasons import Cause
from laneway.rules.backoff import CURVE_CAUSES, Policy, estimate, jitter, next_attempt, retry_delay
from support.builders import NOW, at, lane

POLICY = Policy.of(lane().spec)
EIGHT_HOURS = 28_800
CURVES = {
    Cause.RATE_LIMIT_MODEL: (60, 120, 240, 480, 960, 1800, 1800, 1800),
    Cause.API_TRANSIENT: (60, 120, 240, 480, 960, 1800, 1800, 1800),
    Cause.API_TIMEOUT: (30, 60, 120, 240, 480, 960, 960, 960),
}


def seconds(length: timedelta) -> float:
    return length.total_seconds()


@pytest.mark.row("S3.13", "S3.14", "S3.15", "C3")
@pytest.mark.parametrize(("cause", "waits"), CURVES.items(), ids=CURVES)
def test_each_failure_in_a_row_doubles_the_wait_up_to_the_cap(cause: Cause, waits: tuple[int, ...]) -> None:
    guesses = [estimate(POLICY, cause, failures=n) for n in range(len(waits))]
    assert [seconds(guess.length) for guess in guesses] == list(waits)
    assert {seconds(guess.first) for guess in guesses} == {waits[0]}


@pytest.mark.row("S3.15")
@pytest.mark.parametrize(
    ("cause", "failures", "capped"),
    [
        pytest.param(Cause.RATE_LIMIT_MODEL, 4, False, id="the fifth rate limit waits 960 s as reckoned"),
        pytest.param(Cause.RATE_LIMIT_MODEL, 5, True, id="the sixth would wait 1920 s"),
        pytest.param(Cause.RATE_LIMIT_MODEL, 400, True, id="and so would every one after it"),
        pytest.param(Cause.API_TIMEOUT, 5, False, id="the sixth time-out waits 960 s as reckoned"),
        pytest.param(Cause.API_TIMEOUT, 400, False, id="time-outs never come to the cap"),
    ],
)
def test_the_cap_is_said_only_where_it_bites(cause: Cause, failures: int, *, capped: bool) -> None:
    assert estimate(POLICY, cause, failures=failures).capped is capped


@pytest.mark.row("S3.13")
def test_a_lane_s_own_numbers_replace_the_defaults() -> None:
    backoff = {"rateLimitSeconds": 7, "transientSeconds": 8, "timeoutSeconds": 9, "maxSeconds": 20}
    policy = Policy.of(lane(spec={"backoff": backoff}).spec)
    assert [seconds(estimate(policy, cause, failures=1).length) for cause in CURVE_CAUSES] == [14, 16, 18]
    assert estimate(policy, Cause.RATE_LIMIT_MODEL, failures=2).length == timedelta(seconds=20)


@pytest.mark.row("S3.20", "C17")
def test_waits_are_spread_evenly_between_5_and_30_seconds() -> None:
    """200 runs that failed together: every 5 s of the spread gets a fifth of them, give or take."""
    spread = [seconds(jitter(f"run-{n}", 1)) for n in range(200)]
    assert all(5 <= each <= 30 for each in spread)
    fifths = Counter(int((each - 5) // 5) for each in spread)
    assert sorted(fifths) == [0, 1, 2, 3, 4]
    assert all(25 <= count <= 55 for count in fifths.values())
    assert len(set(spread)) == 200


@pytest.mark.row("S3.20", "C17", "S3.24")
@given(st.text(max_size=40), st.integers(1, 1_000_000))
def test_a_run_s_spread_is_the_same_each_time_it_is_asked(uid: str, attempt: int) -> None:
    spread = jitter(uid, attempt)
    assert spread == jitter(uid, attempt)
    assert timedelta(seconds=5) <= spread <= timedelta(seconds=30)


def test_a_run_s_spread_differs_between_its_attempts() -> None:
    assert len({jitter("run", attempt) for attempt in range(1, 20)}) == 19


def waits(until: datetime, *, spread: float = 10, now: datetime = NOW) -> float:
    moment = next_attempt(
        until, failed=NOW, now=now, spread=timedelta(seconds=spread), ceiling=timedelta(seconds=EIGHT_HOURS)
    )
    return seconds(moment - now)


@pytest.mark.row("S3.20", "S3.21", "S3.22", "S3.26", "C3", "B5")
@pytest.mark.parametrize(
    ("until", "wait"),
    [
        pytest.param(at(60), 70, id="the model's time and the spread"),
        pytest.param(at(-5), 6, id="at least 6 s after the failure"),
        pytest.param(at(-3600), 6, id="a reset that has passed keeps nobody longer"),
        pytest.param(at(EIGHT_HOURS - 10), EIGHT_HOURS, id="just within the ceiling, the spread included"),
        pytest.param(at(EIGHT_HOURS - 5), EIGHT_HOURS, id="the spread does not lead over the ceiling"),
        pytest.param(at(24 * 3600), EIGHT_HOURS, id="a server that says 24 h is asked again after exactly 8 h"),
    ],
)
def test_the_wait_of_a_run(until: datetime, wait: float) -> None:
    assert waits(until) == wait


@pytest.mark.row("C3", "S3.21", "S3.26")
@given(st.integers(-100_000, 1_000_000), st.floats(5, 30))
def test_no_wait_is_longer_than_the_ceiling_or_ends_before_the_model_is_back(until: int, spread: float) -> None:
    wait = waits(at(until), spread=spread)
    assert 6 <= wait <= EIGHT_HOURS
    assert wait == EIGHT_HOURS or wait > until


@pytest.mark.row("B23")
def test_a_wait_is_worked_out_from_the_failure_and_not_from_when_somebody_looks() -> None:
    looks = [
        next_attempt(at(60), failed=NOW, now=at(late), spread=timedelta(seconds=9), ceiling=timedelta(hours=8))
        for late in (0, 3, 50)
    ]
    assert set(looks) == {at(69)}


@pytest.mark.row("S4.42")
@pytest.mark.parametrize(
    ("retries", "middle"),
    [(0, 30), (1, 60), (2, 120), (3, 240), (4, 480), (5, 600), (6, 600), (999, 600)],
)
def test_the_wait_for_a_retry_doubles_up_to_ten_minutes_and_is_spread_by_30_percent(retries: int, middle: int) -> None:
    waits = [seconds(retry_delay(retries, f"uid-{number}", retries + 1)) for number in range(200)]
    assert all(0.7 * middle <= wait <= 1.3 * middle for wait in waits)
    assert min(waits) < 0.75 * middle
    assert max(waits) > 1.25 * middle
    assert waits == [seconds(retry_delay(retries, f"uid-{number}", retries + 1)) for number in range(200)]
