"""What a lane learns of its models and of its account, from the gateway, from runs and from probes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laneway.api.gatewaystate import ModelEvidence
from laneway.api.reasons import Cause, LaneReason
from laneway.controller.facts.objects import Lane
from laneway.controller.facts.views import LaneView
from laneway.controller.health.records import account_health, account_key, longest_cooldown, model_health
from laneway.rules.cooldown import Evidence, Health, counts
from laneway.rules.records import forgotten_until
from support.builders import at, lane, lane_view, probe
from support.health import (
    BIG,
    SMALL,
    answered,
    condition_of,
    decided,
    hosted,
    model_of,
    rests,
    said,
    since_now,
    stored,
    told,
)

TRANSIENT, TIMEOUT = Cause.API_TRANSIENT, Cause.API_TIMEOUT


def view(*evidence: ModelEvidence, the_lane: Lane | None = None, **changes: object) -> LaneView:
    return lane_view(the_lane=the_lane or hosted(), evidence=evidence, **changes)


def ended(seconds: float, cause: Cause = TRANSIENT, status: int | None = 503) -> Evidence:
    """The failure that ended an attempt."""
    return Evidence(cause, sent=at(seconds), seen=at(seconds), status=status)


LEARNED = {
    "one rate limit of the model": (view(said(10)), 70),
    "one rate limit with the server's time": (view(said(10, reset=25)), 25),
    "one overload": (view(said(10, TRANSIENT, status=529)), 70),
    "two broken calls are not enough": (view(said(10, TRANSIENT, status=503, failures=2)), None),
    "three are": (view(said(10, TRANSIENT, status=503, failures=3)), 70),
    "two time-outs are not enough": (view(said(10, TIMEOUT, status=None, failures=2)), None),
    "three are, for half the time": (view(said(10, TIMEOUT, status=None, failures=3)), 40),
    "an answer that was cut counts like three": (view(said(10, TRANSIENT, status=None, cut=True)), 70),
    "one broken call that ended an attempt": (view(troubles={BIG: (ended(10),)}), 70),
    "a call before the lane was made says nothing": (view(said(0.2)), None),
    "an unknown model is not the model's trouble": (view(said(10, Cause.MODEL_NOT_FOUND, status=404)), None),
    "a bad request is the task's": (view(said(10, Cause.TASK_FAILURE, status=400, failures=9)), None),
    "a later success clears it": (view(said(10, success=12)), None),
    "an earlier success does not": (view(said(10, success=9)), 70),
    "the run whose call it was has another step": (view(said(10, run_uid="x"), elsewhere=frozenset({"x"})), 310),
    "another run has another step": (view(said(10, run_uid="x"), elsewhere=frozenset({"y"})), 70),
}


@pytest.mark.row("C5", "C15", "S2.33", "S2.36", "S2.37", "S4.4", "S3.35")
@pytest.mark.parametrize(("seen", "until"), LEARNED.values(), ids=LEARNED)
def test_how_long_a_model_rests_after(seen: LaneView, until: float | None) -> None:
    decision, _ = decided(seen, 15)
    assert rests(decision) == until
    assert rests(decision, SMALL) is None
    assert (decision.due is None) is (until is None)


@pytest.mark.row("C5")
def test_a_failure_that_both_the_gateway_and_its_run_tell_counts_once() -> None:
    both = view(said(10.6, took=0.4), troubles={BIG: (ended(10, Cause.RATE_LIMIT_MODEL, 429),)})
    decision, _ = decided(both, 15)
    assert model_of(decision).failures.rate_limit_model == 1


@pytest.mark.row("C5", "S4.11")
def test_nothing_moves_on_the_same_evidence() -> None:
    decision, seen = decided(view(said(10)), 15)
    for moment in (16, 40, 69, 70, 71, 500):
        decision, seen = decided(seen, moment)
        assert rests(decision) == (70 if moment < 70 else None)
        assert model_of(decision).failures.rate_limit_model == 1
        assert decision.counted == ()


@pytest.mark.row("S4.11", "C5")
def test_failures_during_a_cooldown_do_not_move_its_end_and_one_after_it_does() -> None:
    _, seen = decided(view(said(10)), 15)
    decision, seen = decided(replace(seen, evidence=(said(40, failures=9),)), 40)
    assert rests(decision) == 70
    _, seen = decided(seen, 70)
    decision, _ = decided(replace(seen, evidence=(said(80, failures=10),)), 80)
    assert (rests(decision), model_of(decision).failures.rate_limit_model) == (200, 2)


@pytest.mark.row("S3.14", "S3.18", "S4.5", "B7", "B21", "C5")
def test_the_curve_goes_on_over_restarts_because_it_is_in_status() -> None:
    """Each pass starts from the status as the API server keeps it, and nothing else."""
    seen, waits, moment = view(), [], 10
    for _ in range(7):
        decision, seen = decided(replace(seen, evidence=(said(moment),)), moment)
        _, seen = decided(replace(seen, evidence=()), moment + 1)
        decision, seen = decided(seen, moment + 2)
        until = rests(decision)
        assert until is not None
        waits.append(until - moment)
        moment = int(until) + 1
        _, seen = decided(seen, moment)
    assert waits == [60, 120, 240, 480, 960, 1800, 1800]


@pytest.mark.row("S3.17", "C19", "S3.39")
def test_a_success_ends_a_row_and_is_told() -> None:
    _, seen = decided(view(said(10)), 15)
    _, seen = decided(seen, 70)
    decision, seen = decided(replace(seen, evidence=(answered(75),)), 76)
    model = model_of(decision)
    assert (model.failures, model.last_failure_time, model.last_failure_status) == (None, None, None)
    assert told(decision) == [("ModelRecovered", f"hosted/{BIG} answers again")]
    again, _ = decided(replace(seen, evidence=(answered(99),)), 100)
    assert (told(again), again.status) == ([], decision.status)


@pytest.mark.row("S4.5", "S4.7", "B17", "C5")
def test_every_model_is_shown_with_what_is_known_of_it() -> None:
    decision, _ = decided(view(said(10, failures=4)), 15)
    shown = [model.to_wire() for model in decision.status.models]
    assert shown == [
        {
            "name": BIG,
            "cooldownUntil": "2026-03-01T12:01:10Z",
            "cooldownReason": "RateLimitModel",
            "cooldownSource": "Estimated",
            "failures": {"rateLimitModel": 1},
            "lastFailureTime": "2026-03-01T12:00:10Z",
            "lastFailureStatus": 429,
            "settledTime": "2026-03-01T12:00:10Z",
        },
        {"name": SMALL},
    ]


# ---- the account


@pytest.mark.row("C16", "S4.10", "S3.12")
@pytest.mark.parametrize(
    ("cause", "status", "until"),
    [
        pytest.param(Cause.RATE_LIMIT_ACCOUNT, 429, 310, id="an account limit"),
        pytest.param(Cause.QUOTA_EXHAUSTED, 402, 1810, id="a used-up quota"),
        pytest.param(Cause.AUTH_FAILED, 401, None, id="a refused key, without end"),
    ],
)
def test_what_is_the_account_s_cools_every_model_of_every_lane_of_it(
    cause: Cause, status: int, until: float | None
) -> None:
    one, other = hosted(), hosted("other")
    decision, _ = decided(view(said(10, cause, status=status), the_lane=one, peers=(other,)), 15)
    assert decision.status.account is not None
    assert since_now(decision.status.account.cooldown_until) == until
    assert decision.status.account.reason == cause
    assert [model.cooldown_reason for model in decision.status.models] == [None, None]
    assert condition_of(decision, "Throttled")[:2] == ("True", "AllModelsCooling")
    peer, _ = decided(view(the_lane=other, peers=(stored(one, decision.status),)), 16)
    assert peer.status.account is None
    assert condition_of(peer, "Throttled")[:2] == ("True", "AllModelsCooling")
    assert since_now(peer.status.throttled_until) == until


@pytest.mark.row("C16", "S4.10")
def test_a_429_on_one_model_leaves_its_sibling_free() -> None:
    decision, _ = decided(view(said(10)), 15)
    assert decision.status.account is None
    assert condition_of(decision, "Throttled")[1] == "SomeModelsCooling"


@pytest.mark.row("C16", "S4.10")
@pytest.mark.parametrize(
    ("second", "cools"),
    [
        pytest.param(60, True, id="the second within 60 s cools the account"),
        pytest.param(61, False, id="the second after more than 60 s does not"),
    ],
)
def test_two_overloaded_models_of_one_account(second: float, *, cools: bool) -> None:
    overload = {"cause": TRANSIENT, "status": 529}
    first, seen = decided(view(said(10, **overload, reset=200)), 10)  # type: ignore[arg-type]
    assert first.status.account is None
    both = (said(10, **overload, reset=200), said(10 + second, **overload, model=SMALL))  # type: ignore[arg-type]
    decision, seen = decided(replace(seen, evidence=both), 10 + second)
    account = decision.status.account
    assert (account is not None) is cools
    assert account is None or since_now(account.cooldown_until) == 200
    again, _ = decided(seen, 11 + second)
    assert again.status.account == account


@pytest.mark.row("C16")
def test_overloads_of_two_lanes_of_one_account_count_together() -> None:
    one = view(said(10, TRANSIENT, status=529))
    _, first = decided(one, 10)
    other = hosted("other", models=[{"name": "third"}])
    overload = said(30, TRANSIENT, status=529, model="third")
    decision, _ = decided(view(overload, the_lane=other, peers=(first.lane,)), 30)
    assert decision.status.account is not None
    assert since_now(decision.status.account.cooldown_until) == 90
    assert [message.partition(";")[0] for _, message in told(decision)] == [
        "other/third answered 529 (server trouble)",
        "two models of the account of other answered 529 within a minute",
    ]


ACCOUNTS = {
    "the same credential": (hosted(), hosted("other"), True),
    "another key of the Secret": (
        hosted(),
        hosted("other", endpoint={"url": "https://x.org", "credentialRef": {"name": "key", "key": "b"}}),
        False,
    ),
    "no credential at all": (lane(), lane("other"), False),
    "the same named account": (hosted(account="a"), lane("other", spec={"account": "a"}), True),
    "a named account and a credential": (hosted(account="key"), hosted("other"), False),
    "another namespace": (hosted(), replace(hosted(), meta=replace(hosted().meta, namespace="team-b")), False),
}


@pytest.mark.row("C16")
@pytest.mark.parametrize(("one", "other", "same"), ACCOUNTS.values(), ids=ACCOUNTS)
def test_lanes_share_an_account_by(one: Lane, other: Lane, *, same: bool) -> None:
    assert (account_key(one) is not None and account_key(one) == account_key(other)) is same


def refused() -> LaneView:
    """A lane whose key was refused at 10 s."""
    found = probe().model_copy(update={"uid": hosted().meta.uid, "probed_time": at(5)})
    return decided(view(said(10, Cause.AUTH_FAILED, status=401), probe=found), 15)[1]


PROBES = {
    "a probe before the refusal": (5, LaneReason.BACKEND_REACHABLE, 1, False),
    "a probe after it that the server accepts": (20, LaneReason.BACKEND_REACHABLE, 1, True),
    "a probe after it that the server refuses": (20, LaneReason.AUTH_FAILED, 1, False),
    "a probe of an older version of the lane": (20, LaneReason.BACKEND_REACHABLE, 0, False),
}


@pytest.mark.row("S3.36", "C22", "S3.35")
@pytest.mark.parametrize(("moment", "reason", "generation", "ends"), PROBES.values(), ids=PROBES)
def test_the_hold_of_a_refused_key_ends_with(moment: float, reason: LaneReason, generation: int, *, ends: bool) -> None:
    seen = refused()
    changes = {"probed_time": at(moment), "reason": reason, "generation": generation}
    assert seen.probe is not None
    decision, _ = decided(replace(seen, probe=seen.probe.model_copy(update=changes)), 30)
    assert (condition_of(decision, "Throttled")[0] == "False") is ends
    assert decision.status.account is not None
    assert (decision.status.account.reason is None) is ends


@pytest.mark.row("S3.36")
def test_the_hold_of_a_refused_key_ends_with_a_call_that_succeeds() -> None:
    decision, _ = decided(replace(refused(), evidence=(answered(20, model=SMALL),)), 30)
    assert condition_of(decision, "Throttled")[0] == "False"
    assert told(decision) == [("ModelRecovered", "the account of hosted answers again")]


def test_a_key_that_the_gateway_did_not_have_holds_no_account() -> None:
    decision, _ = decided(view(said(10, Cause.AUTH_FAILED, status=None)), 15)
    assert decision.status.account is None


# ---- Direct lanes


def direct(**changes: object) -> LaneView:
    the_lane = lane("hosted", spec={"access": "Direct", "models": [{"name": BIG}, {"name": SMALL}]})
    return lane_view(the_lane=the_lane, **changes)


@pytest.mark.row("C5", "S3.17")
@pytest.mark.parametrize(
    ("began", "until"),
    [
        pytest.param(11, None, id="began after the failure: the model is well"),
        pytest.param(9, 70, id="had begun before it: nothing is known"),
    ],
)
def test_on_a_direct_lane_an_attempt_that_ended_well_and(began: float, until: float | None) -> None:
    decision, _ = decided(direct(troubles={BIG: (ended(10),)}, successes={BIG: at(began)}), 15)
    assert rests(decision) == until


def test_a_gateway_lane_takes_no_attempt_for_a_call_that_succeeded() -> None:
    decision, _ = decided(view(troubles={BIG: (ended(10),)}, successes={BIG: at(11)}), 15)
    assert rests(decision) == 70


def test_a_run_s_own_key_that_is_refused_is_nobody_else_s_trouble() -> None:
    decision, _ = decided(direct(troubles={BIG: (ended(10, Cause.AUTH_FAILED, 401),)}), 15)
    assert decision.status.account is None


# ---- properties


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[float, ModelEvidence]]:
    """What the gateway says over time: failures of any class, with and without a time, and successes."""
    moments = sorted(draw(st.lists(st.floats(1, 4000), max_size=12)))
    causes = st.sampled_from(
        [
            (Cause.RATE_LIMIT_MODEL, 429),
            (TRANSIENT, 529),
            (TIMEOUT, None),
            (Cause.RATE_LIMIT_ACCOUNT, 429),
            (Cause.AUTH_FAILED, 401),
        ]
    )
    told = []
    for moment in moments:
        cause, status = draw(causes)
        model = draw(st.sampled_from([BIG, SMALL]))
        reset = draw(st.none() | st.floats(moment - 10, moment + 4000))
        one = said(moment, cause, status=status, reset=reset, took=draw(st.floats(0, 5)), model=model, failures=3)
        told.append((moment, one if draw(st.booleans()) else answered(moment, model=model)))
    return told


@pytest.mark.row("S3.18", "S4.5", "B7", "B21", "C5")
@settings(deadline=None)
@given(histories(), st.floats(0, 5000))
def test_a_restart_changes_nothing(history: list[tuple[float, ModelEvidence]], later: float) -> None:
    """The decision from what is in memory, and that from the status as the API server keeps it, are the same at any later moment."""
    seen = view()
    for moment, one in history:
        others = tuple(known for known in seen.evidence if known.model != one.model)
        decision, seen = decided(replace(seen, evidence=(*others, one)), moment)
        unrounded = replace(seen, lane=replace(seen.lane, status=decision.status))
        after = [decided(each, moment + later)[0] for each in (unrounded, seen)]
        assert after[0].status.to_wire() == after[1].status.to_wire()
        assert [one.effects for one in after] == [after[0].effects] * 2
        assert after[0].counted == ()


@pytest.mark.row("C5")
@given(histories())
def test_what_is_said_once_more_changes_no_status(history: list[tuple[float, ModelEvidence]]) -> None:
    seen = view()
    for moment, one in history:
        decision, seen = decided(replace(seen, evidence=(one,)), moment)
        again, _ = decided(seen, moment)
        assert again.status.to_wire() == decision.status.to_wire()
        assert again.effects == ()


def test_the_longest_cooldown_is_the_one_that_is_told() -> None:
    evidence = (said(10, reset=50), said(20, Cause.RATE_LIMIT_ACCOUNT, reset=100, model=SMALL))
    _, seen = decided(view(*evidence), 25)
    known = longest_cooldown(seen.lane, BIG, (model_health(seen.lane, BIG), account_health(seen.lane)), at(25))
    assert known is not None
    assert (known.cause, since_now(known.until)) == (Cause.RATE_LIMIT_ACCOUNT, 100)
    assert longest_cooldown(seen.lane, BIG, (model_health(seen.lane, BIG), account_health(seen.lane)), at(100)) is None


def test_a_failure_in_the_first_second_of_its_lane_counts() -> None:
    made = lane()
    sent = Evidence(cause=Cause.RATE_LIMIT_MODEL, sent=made.meta.created, seen=made.meta.created)
    assert counts(Health(), sent, not_before=forgotten_until(made.meta.created))
    assert not counts(Health(), sent, not_before=made.meta.created)
