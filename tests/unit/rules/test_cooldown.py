"""How failures, successes and a person's word change what is known of a model's health."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laneway.api.reasons import Cause, ResetSource
from laneway.rules.backoff import CURVE_CAUSES, Policy
from laneway.rules.cooldown import (
    Cooldown,
    Evidence,
    Health,
    Outcome,
    after_clear,
    after_failure,
    after_success,
    counts,
    current,
)
from support.builders import NOW, at, lane

POLICY = Policy.of(lane().spec)
BLANK = Health()
MODEL, TRANSIENT, TIMEOUT = CURVE_CAUSES


def failed(
    seconds: float = 0,
    cause: Cause = MODEL,
    *,
    took: float = 0,
    reset: float | None = None,
    source: ResetSource = ResetSource.RETRY_AFTER,
    status: int | None = 429,
    elsewhere: bool = False,
) -> Evidence:
    """A call that failed so many seconds after NOW; ``reset`` likewise."""
    return Evidence(
        cause=cause,
        sent=at(seconds - took),
        seen=at(seconds),
        status=status,
        reset=None if reset is None else at(reset),
        source=None if reset is None else source,
        elsewhere=elsewhere,
    )


def rest(outcome: Outcome) -> float | None:
    """Seconds of the cooldown that a failure led to."""
    cooldown, since = outcome.health.cooldown, outcome.health.last_failure
    assert since is not None
    return (cooldown.until - since).total_seconds() if cooldown and cooldown.until else None


def fold(health: Health, failures: list[Evidence], *, policy: Policy = POLICY) -> Health:
    """What remains of failures that arrive one after another."""
    for one in failures:
        if counts(health, one):
            health = after_failure(health, one, policy).health
    return health


def row_of(causes: list[Cause]) -> list[float | None]:
    """Rests after failures in a row, each just after the cooldown of the one before."""
    health, rests, moment = BLANK, [], 0.0
    for cause in causes:
        health = current(health, at(moment))
        assert counts(health, failed(moment + 1, cause))
        outcome = after_failure(health, failed(moment + 1, cause), POLICY)
        rests.append(rest(outcome))
        health = outcome.health
        moment += 1 + (rests[-1] or 0)
    return rests


# ---- how long


@pytest.mark.row("S3.13", "S3.14", "S3.15", "C5")
@pytest.mark.parametrize(
    ("cause", "waits"),
    [
        pytest.param(MODEL, [60, 120, 240, 480, 960, 1800, 1800], id="rate limits of the model"),
        pytest.param(TRANSIENT, [60, 120, 240, 480, 960, 1800, 1800], id="server trouble"),
        pytest.param(TIMEOUT, [30, 60, 120, 240, 480, 960, 960], id="time-outs"),
    ],
)
def test_the_curve_of_failures_in_a_row(cause: Cause, waits: list[float]) -> None:
    assert row_of([cause] * len(waits)) == waits


@pytest.mark.row("S3.16")
def test_each_class_counts_for_itself() -> None:
    assert row_of([MODEL, TIMEOUT, MODEL, TRANSIENT, TIMEOUT]) == [60, 30, 120, 60, 60]


@pytest.mark.row("S3.15")
def test_an_estimate_that_was_cut_says_so() -> None:
    five = Health(counts={MODEL: 5}, last_failure=at(-1))
    outcome = after_failure(five, failed(), POLICY)
    assert (outcome.capped, outcome.count, outcome.original) == (True, 6, at(60))
    assert not after_failure(five, failed(cause=TIMEOUT), POLICY).capped


SERVER = {
    "a server's time is used as it is": (failed(reset=1234), 1234, ResetSource.RETRY_AFTER),
    "shorter than our own": (failed(reset=7), 7, ResetSource.RETRY_AFTER),
    "for longer than any estimate": (failed(reset=86_400), 86_400, ResetSource.RETRY_AFTER),
    "an account's time too": (
        failed(cause=Cause.RATE_LIMIT_ACCOUNT, reset=9000, source=ResetSource.SERVER_EVENT),
        9000,
        ResetSource.SERVER_EVENT,
    ),
    "an account limit without its time is 300 s": (
        failed(cause=Cause.RATE_LIMIT_ACCOUNT),
        300,
        ResetSource.SERVER_MISSING,
    ),
    "a used-up quota rests for our longest": (
        failed(cause=Cause.QUOTA_EXHAUSTED, status=402),
        1800,
        ResetSource.ESTIMATED,
    ),
    "a refused key rests until somebody acts": (
        failed(cause=Cause.AUTH_FAILED, status=401),
        None,
        ResetSource.ESTIMATED,
    ),
    "less than a second is a second": (failed(reset=0.2), 1, ResetSource.RETRY_AFTER),
    "a part of a second is rounded up: never sooner than the server said": (
        failed(reset=9.3),
        10,
        ResetSource.RETRY_AFTER,
    ),
}


@pytest.mark.row("S3.11", "S3.12", "C3", "B5")
@pytest.mark.parametrize(("failure", "wait", "source"), SERVER.values(), ids=SERVER)
def test_what_the_server_says_holds_and_raises_no_counter(
    failure: Evidence, wait: float | None, source: ResetSource
) -> None:
    known = {MODEL: 3, TIMEOUT: 1}
    outcome = after_failure(Health(counts=known, last_failure=at(-9)), failure, POLICY)
    assert rest(outcome) == wait
    assert outcome.health.cooldown is not None
    assert (outcome.health.cooldown.source, outcome.health.counts, outcome.count) == (source, known, 0)
    assert not outcome.capped


@pytest.mark.row("S3.11")
def test_two_account_limits_in_a_row_wait_as_told_and_count_nothing() -> None:
    first = after_failure(BLANK, failed(cause=Cause.RATE_LIMIT_ACCOUNT, reset=600), POLICY).health
    second = failed(700, Cause.RATE_LIMIT_ACCOUNT, reset=1300)
    assert counts(current(first, at(600)), second)
    outcome = after_failure(current(first, at(600)), second, POLICY)
    assert (rest(outcome), outcome.count, outcome.original, outcome.health.counts) == (600, 0, at(1300), {})


@pytest.mark.row("S3.22")
def test_a_reset_that_has_passed_means_go_and_clears_the_counters() -> None:
    outcome = after_failure(Health(counts={MODEL: 4}, last_failure=at(-99)), failed(reset=-1), POLICY)
    assert (outcome.health.cooldown, outcome.health.counts) == (None, {})


@pytest.mark.row("C15", "S4.4", "S2.37")
@pytest.mark.parametrize(
    ("failure", "wait"),
    [
        pytest.param(failed(elsewhere=True), 300, id="our own estimate gives way to a flat 300 s"),
        pytest.param(failed(cause=TIMEOUT, status=None, elsewhere=True), 300, id="for time-outs as well"),
        pytest.param(failed(elsewhere=True, reset=1000), 1000, id="a server's later time holds"),
        pytest.param(failed(elsewhere=True, reset=200), 300, id="a server's earlier time does not"),
        pytest.param(failed(elsewhere=True, reset=180), 180, id="what is back soon is waited for, not left alone"),
    ],
)
def test_with_another_step_free_a_model_is_left_alone(failure: Evidence, wait: float) -> None:
    assert rest(after_failure(BLANK, failure, POLICY)) == wait


@pytest.mark.row("S2.36", "S2.37", "C15")
def test_a_bench_does_not_grow_while_the_chain_has_other_steps_but_its_row_is_counted() -> None:
    health, moment = BLANK, 0.0
    for number in range(1, 5):
        outcome = after_failure(current(health, at(moment)), failed(moment, elsewhere=True), POLICY)
        assert (rest(outcome), outcome.count) == (300, number)
        health, moment = outcome.health, moment + 301
    assert rest(after_failure(current(health, at(moment)), failed(moment), POLICY)) == 960


# ---- what counts


@pytest.mark.row("C5", "S4.11")
@pytest.mark.parametrize(
    ("evidence", "is_counted"),
    [
        pytest.param(failed(0.5, took=1), False, id="a call that was on its way when the outage was seen"),
        pytest.param(failed(30, took=5), False, id="a call of an agent that still runs, while the model rests"),
        pytest.param(failed(90, took=60), False, id="one that was sent while it rested and failed after that"),
        pytest.param(failed(61, took=0.9), True, id="a call that was sent when the rest was over"),
        pytest.param(failed(30, reset=50), False, id="a server's time that is over before ours"),
        pytest.param(failed(30, reset=500), True, id="a server's later time"),
        pytest.param(failed(30, Cause.TASK_FAILURE), False, id="a failure that is not the model's"),
        pytest.param(failed(90, Cause.MODEL_NOT_FOUND), False, id="a model that is not there"),
        pytest.param(failed(90, Cause.CONTEXT_TOO_LONG), False, id="a request that is too long"),
        pytest.param(failed(90, Cause.AUTH_FAILED, status=403), False, id="a 403, which may be about one model only"),
        pytest.param(failed(90, Cause.AUTH_FAILED, status=None), False, id="a key that the gateway did not have"),
        pytest.param(failed(90, Cause.AUTH_FAILED, status=401), True, id="a key that the server refused"),
    ],
)
def test_which_failures_count_after_one_that_rests_60_seconds(evidence: Evidence, *, is_counted: bool) -> None:
    health = fold(BLANK, [failed()])
    assert counts(health, evidence) is is_counted
    if evidence.seen >= at(60):
        assert counts(current(health, at(60)), evidence) is is_counted


@pytest.mark.row("S2.33")
def test_an_unknown_model_leaves_no_blame() -> None:
    assert fold(BLANK, [failed(cause=Cause.MODEL_NOT_FOUND, status=404)]) == BLANK


@pytest.mark.row("C5")
def test_failures_up_to_a_moment_can_be_left_out() -> None:
    assert not counts(BLANK, failed(5, took=1), not_before=at(4))
    assert counts(BLANK, failed(5, took=1), not_before=at(3))


@st.composite
def storms(draw: st.DrawFn) -> list[Evidence]:
    """200 calls that were in flight at once, or are made by agents that still run, and fail within 20 s, told in any order."""
    took = draw(st.lists(st.floats(0, 5), min_size=200, max_size=200))
    moments = draw(st.lists(st.floats(0, 20), min_size=200, max_size=200))
    return [failed(moment, took=length) for moment, length in zip(moments, took, strict=True)]


@pytest.mark.row("C5")
@given(storms())
def test_one_outage_counts_once_whoever_sees_it_and_in_whatever_order(storm: list[Evidence]) -> None:
    health = fold(BLANK, storm)
    assert health.counts == {MODEL: 1}
    assert health.cooldown is not None
    assert health.cooldown.until is not None
    assert at(60) <= health.cooldown.until <= at(81)


@pytest.mark.row("C5", "S4.11")
@given(storms(), st.integers(0, 4000))
def test_evidence_that_is_told_again_changes_nothing_however_late(storm: list[Evidence], later: int) -> None:
    health = fold(BLANK, storm)
    known = current(health, at(later))
    assert fold(known, storm) == known


@pytest.mark.row("C5")
@given(storms(), st.integers(21, 100))
def test_no_late_evidence_counts_after_a_success(storm: list[Evidence], sent: int) -> None:
    well = after_success(fold(BLANK, storm), at(sent))
    assert well.last_failure is None
    assert fold(well, storm) == well


@pytest.mark.row("S4.11")
def test_a_later_time_of_the_server_moves_the_end_and_no_counter() -> None:
    health = fold(BLANK, [failed(), failed(5, reset=400), failed(6, reset=300)])
    assert health.cooldown == Cooldown(MODEL, ResetSource.RETRY_AFTER, at(400))
    assert health.counts == {MODEL: 1}


# ---- how it ends


@pytest.mark.row("S4.6", "S4.4")
def test_a_cooldown_ends_exactly_at_its_time_and_by_itself() -> None:
    health = fold(BLANK, [failed(elsewhere=True)])
    assert current(health, at(299.999)).cooldown is not None
    over = current(health, at(300))
    assert over.cooldown is None
    assert over.on_trial


@pytest.mark.row("C19", "S3.18")
def test_the_end_of_a_cooldown_keeps_the_counters() -> None:
    over = current(fold(BLANK, [failed()]), at(60))
    assert over.counts == {MODEL: 1}
    assert rest(after_failure(over, failed(61), POLICY)) == 120


@pytest.mark.row("S3.17", "C19", "C5")
@pytest.mark.parametrize(
    ("failures", "cooldown"),
    [
        pytest.param([failed()], None, id="our own estimate ends"),
        pytest.param(
            [failed(reset=500)],
            Cooldown(MODEL, ResetSource.RETRY_AFTER, at(500)),
            id="a server's word stays until its time",
        ),
    ],
)
def test_a_success_that_was_sent_after_the_failure_empties_all_counters(
    failures: list[Evidence], cooldown: Cooldown | None
) -> None:
    sick = replace(fold(BLANK, failures), counts={MODEL: 3, TIMEOUT: 2})
    well = after_success(sick, at(1))
    assert (well.counts, well.cooldown, well.on_trial) == ({}, cooldown, False)


@pytest.mark.row("C5")
def test_a_success_that_was_sent_before_the_failure_says_nothing() -> None:
    health = fold(BLANK, [failed(10)])
    assert after_success(health, at(10)) == health
    assert after_success(BLANK, at(10)) == BLANK


@pytest.mark.row("S4.9")
@pytest.mark.parametrize(
    "health",
    [
        pytest.param(fold(BLANK, [failed()]), id="our own estimate"),
        pytest.param(fold(BLANK, [failed(reset=5000)]), id="a server's word"),
        pytest.param(current(fold(BLANK, [failed()]), at(60)), id="a cooldown that is over"),
        pytest.param(after_success(fold(BLANK, [failed(reset=5000)]), at(2)), id="a server's word after a success"),
    ],
)
def test_a_clear_forgets_what_failed_before_it(health: Health) -> None:
    cleared = after_clear(health, at(60))
    assert (cleared.cooldown, cleared.counts, cleared.on_trial) == (None, {}, False)
    assert after_clear(cleared, at(60)) == cleared
    assert fold(cleared, [failed(), failed(59)]) == cleared


def test_a_clear_leaves_what_failed_after_it() -> None:
    health = fold(BLANK, [failed(10)])
    assert after_clear(health, at(9)) == health
    assert after_clear(BLANK, at(9)) == BLANK


@pytest.mark.row("C16")
@pytest.mark.parametrize(
    ("cause", "status", "of_account"),
    [
        pytest.param(Cause.RATE_LIMIT_ACCOUNT, 429, True, id="an account limit"),
        pytest.param(Cause.QUOTA_EXHAUSTED, 402, True, id="a quota"),
        pytest.param(Cause.AUTH_FAILED, 401, True, id="a refused key"),
        pytest.param(Cause.AUTH_FAILED, 403, False, id="a key that may not do this"),
        pytest.param(Cause.RATE_LIMIT_MODEL, 429, False, id="a 429"),
        pytest.param(Cause.API_TRANSIENT, 529, False, id="one overloaded model"),
    ],
)
def test_what_is_of_the_account(cause: Cause, status: int, *, of_account: bool) -> None:
    assert failed(cause=cause, status=status).of_account is of_account


@pytest.mark.row("S3.25")
def test_only_our_own_estimate_of_what_passes_can_be_ignored() -> None:
    kinds = [
        failed(),
        failed(cause=Cause.QUOTA_EXHAUSTED),
        failed(reset=9),
        failed(cause=Cause.AUTH_FAILED, status=401),
    ]
    cooldowns = [fold(BLANK, [one]).cooldown for one in kinds]
    assert [one.is_guess for one in cooldowns if one] == [True, True, False, False]


@given(
    st.lists(st.tuples(st.floats(0, 9000), st.sampled_from([*CURVE_CAUSES, Cause.RATE_LIMIT_ACCOUNT]), st.booleans()))
)
def test_marks_and_times_of_a_record_are_whole_seconds(told: list[tuple[float, Cause, bool]]) -> None:
    health = BLANK
    for moment, cause, fails in sorted(told):
        health = fold(health, [failed(moment, cause)]) if fails else after_success(health, at(moment))
        moments = [health.mark, health.last_failure, health.cooldown.until if health.cooldown else None]
        assert all(one == _whole(one) for one in moments if one)
        assert health.last_failure is None or health.last_failure <= (health.mark or NOW)


def _whole(moment: datetime) -> datetime:
    return moment - timedelta(microseconds=moment.microsecond)
