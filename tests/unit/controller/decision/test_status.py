"""How a status is put together: conditions that keep their times, usage that only grows, costs that are known or absent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laneway.agent.envelope import EnvelopeSummary
from laneway.agent.envelope import Usage as EnvelopeUsage
from laneway.api.limits import Limits, OnReached
from laneway.api.reasons import End, Phase, RunCondition, Waiting
from laneway.api.runstatus import AgentRunStatus, CostSource, Usage, UsageSource
from laneway.controller.decision.status import (
    Said,
    active_conditions,
    add_usage,
    envelope_usage,
    finished_conditions,
    gateway_usage,
    is_good,
    merge_conditions,
    waiting_conditions,
    with_conditions,
)
from laneway.rules.money import parse_usd
from support.builders import NOW, at, condition, metered, run


def used(**changes: object) -> Usage:
    plain = {"turns": 1, "input_tokens": 10, "output_tokens": 5, "total_tokens": 15, "source": "Gateway"}
    return Usage.model_validate({**plain, **changes})


# ---- usage

ADDED = {
    "the first attempt's usage is the run's": (None, None, used(complete=True), used(complete=True)),
    "a second attempt's is added": (
        used(complete=True),
        None,
        used(complete=True),
        used(turns=2, input_tokens=20, output_tokens=10, total_tokens=30, complete=True),
    ),
    "an attempt that grows adds only its growth": (
        used(),
        used(),
        used(turns=3, input_tokens=30, output_tokens=15, total_tokens=45),
        used(turns=3, input_tokens=30, output_tokens=15, total_tokens=45),
    ),
    "usage is never lowered, even by a gateway that lost its ledger": (
        used(turns=5, input_tokens=50, output_tokens=25, total_tokens=75),
        used(turns=5, input_tokens=50, output_tokens=25, total_tokens=75),
        used(),
        used(turns=5, input_tokens=50, output_tokens=25, total_tokens=75),
    ),
    "what nobody counted stays unknown": (None, None, Usage(complete=False), Usage(complete=False)),
    "an attempt that nobody counted leaves the sum incomplete": (
        used(complete=True),
        None,
        Usage(complete=False),
        used(complete=False),
    ),
    "a sum that was incomplete stays so": (
        used(complete=False),
        None,
        used(complete=True),
        used(turns=2, input_tokens=20, output_tokens=10, total_tokens=30, complete=False),
    ),
}


@pytest.mark.parametrize(("total", "before", "after", "expected"), ADDED.values(), ids=ADDED.keys())
def test_usage_is_added_up(total: Usage | None, before: Usage | None, after: Usage, expected: Usage) -> None:
    assert add_usage(total, before=before, after=after) == expected


def priced(cost: str | None) -> Usage:
    return used(cost_usd=cost, cost_source=None if cost is None else "Priced")


NOTHING_YET = used(turns=0, input_tokens=0, output_tokens=0, total_tokens=0)

COSTS = {
    "the first cost is the run's": (None, None, priced("0.10"), "0.10"),
    "costs of attempts are added": (priced("0.10"), None, priced("0.25"), "0.35"),
    "a cost that grows adds its growth": (priced("0.10"), priced("0.10"), priced("0.30"), "0.30"),
    "a cost that shrinks is kept": (priced("0.30"), priced("0.30"), priced("0.10"), "0.30"),
    "a sum with an unknown part is unknown": (priced(None), None, priced("0.10"), None),
    "an unknown part makes the sum unknown": (priced("0.10"), None, priced(None), None),
    "nothing spent is not unknown": (None, None, priced("0.00"), "0.00"),
    "the first call of all was open when somebody looked": (NOTHING_YET, NOTHING_YET, priced("0.10"), "0.10"),
    "the first call of another attempt is open": (priced("0.10"), None, NOTHING_YET, "0.10"),
}


@pytest.mark.parametrize(("total", "before", "after", "cost"), COSTS.values(), ids=COSTS.keys())
def test_costs_are_added_up_or_unknown(
    total: Usage | None, before: Usage | None, after: Usage, cost: str | None
) -> None:
    result = add_usage(total, before=before, after=after)
    assert result.cost_usd == cost
    assert result.cost_source == (None if cost is None else CostSource.PRICED)


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=6))
def test_any_course_of_one_attempt_adds_up_to_its_highest_reading(readings: list[int]) -> None:
    total: Usage | None = None
    before: Usage | None = None
    for reading in readings:
        after = used(input_tokens=reading)
        total = add_usage(total, before=before, after=after)
        before = after
    assert total is not None
    assert total.input_tokens is not None
    assert total.input_tokens >= max(readings)


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=5))
def test_attempts_read_once_each_add_up_exactly(costs: list[int]) -> None:
    total: Usage | None = None
    for cost in costs:
        state = metered(input_tokens=1, cost_micro_usd=cost)
        total = add_usage(total, before=None, after=gateway_usage(state, complete=True))
    assert total is not None
    assert total.cost_usd is not None
    assert parse_usd(total.cost_usd) == sum(costs)
    assert total.input_tokens == len(costs)


def test_the_gateways_usage_is_complete_only_if_every_call_was_metered() -> None:
    assert gateway_usage(metered(), complete=True).complete is True
    assert gateway_usage(metered(unmetered_calls=1), complete=True).complete is False
    assert gateway_usage(metered(), complete=None).complete is None
    assert gateway_usage(metered(), complete=True).cost_usd is None


@pytest.mark.parametrize(
    ("closed", "shown"), [pytest.param(False, "0.25", id="open calls"), pytest.param(True, None, id="a closed attempt")]
)
def test_what_open_calls_may_cost_is_shown_while_they_are_open(closed: bool, shown: str | None) -> None:
    state = metered(closed=closed).model_copy(update={"reserved_micro_usd": 250_000})
    usage = gateway_usage(state, complete=None)
    assert usage.reserved_usd == shown
    assert add_usage(used(reserved_usd="9.00"), before=None, after=usage).reserved_usd == shown


def test_an_agents_own_usage_is_marked_as_such() -> None:
    summary = EnvelopeSummary(
        finished=True,
        num_turns=2,
        usage=EnvelopeUsage(10, 5, 4, None),
        usage_is_total=True,
        reported_cost_micro_usd=1500,
    )
    usage = envelope_usage(summary)
    assert (usage.turns, usage.total_tokens, usage.cache_read_tokens, usage.cache_write_tokens) == (2, 15, 4, None)
    assert (usage.cost_usd, usage.cost_source) == ("0.0015", CostSource.REPORTED)
    assert (usage.source, usage.complete) == (UsageSource.ENVELOPE, True)


def test_usage_that_was_added_up_from_a_cut_log_is_not_complete() -> None:
    summary = EnvelopeSummary(finished=False, usage=EnvelopeUsage(10, 5), usage_is_total=False)
    assert envelope_usage(summary).complete is False


@pytest.mark.parametrize("summary", [None, EnvelopeSummary(finished=True)], ids=["no log", "a log without usage"])
def test_an_agent_that_says_nothing_leaves_usage_unknown(summary: EnvelopeSummary | None) -> None:
    assert envelope_usage(summary) == Usage(complete=False)


# ---- conditions


def test_a_condition_keeps_its_time_while_its_status_stays_and_takes_the_new_words() -> None:
    old = (condition("Ready", "True", "Old", message="old", since=-60),)
    [kept] = merge_conditions(old, {"Ready": Said("True", "New", "new")}, generation=7, now=NOW)
    assert (kept.last_transition_time, kept.reason, kept.message) == (at(-60), "New", "new")
    assert kept.observed_generation == 7
    [turned] = merge_conditions(old, {"Ready": Said("False", "New")}, generation=7, now=NOW)
    assert turned.last_transition_time == NOW


def test_a_condition_that_is_no_longer_said_goes_and_a_long_message_is_cut() -> None:
    old = (condition("Gone", "True", "Old"),)
    [only] = merge_conditions(old, {"Ready": Said("True", "New", "x" * 5000)}, generation=1, now=NOW)
    assert (only.type, len(only.message)) == ("Ready", 4096)


@pytest.mark.parametrize(
    "said",
    [
        waiting_conditions(Waiting.WAITING_FOR_SLOT, "m"),
        active_conditions(Phase.RUNNING, "Running", "m", lane="a/b"),
        finished_conditions(End.COMPLETED, "m", good=True),
    ],
    ids=["waiting", "active", "finished"],
)
def test_every_status_has_all_conditions(said: dict[str, Said]) -> None:
    assert set(said) == set(RunCondition)


@pytest.mark.parametrize("reason", list(Waiting))
def test_a_waiting_run_is_stalled_or_on_its_way_and_never_both(reason: Waiting) -> None:
    said = waiting_conditions(reason, "m")
    assert {said[RunCondition.STALLED].status, said[RunCondition.RECONCILING].status} == {"True", "False"}


@pytest.mark.parametrize("good", [True, False])
def test_an_ended_run_has_succeeded_or_is_stalled(good: bool) -> None:
    said = finished_conditions(End.FAILED, "m", good=good)
    assert said[RunCondition.FINISHED].status == "True"
    assert said[RunCondition.RECONCILING].status == "False"
    assert {said[RunCondition.SUCCEEDED].status, said[RunCondition.STALLED].status} == {"True", "False"}
    assert (said[RunCondition.SUCCEEDED].status == "True") == good


@pytest.mark.row("C11", "S4.30")
@pytest.mark.parametrize("end", list(End))
@pytest.mark.parametrize("on_reached", list(OnReached))
def test_a_limit_that_the_user_chose_ends_a_run_well_unless_it_is_to_fail(end: End, on_reached: OnReached) -> None:
    done = end in {End.COMPLETED, End.TRANSIENT_STOP}
    limit = end in {End.BUDGET_REACHED, End.TOKENS_REACHED, End.TURNS_REACHED, End.TIME_REACHED}
    assert is_good(end, Limits(on_reached=on_reached)) == (done or (limit and on_reached is not OnReached.FAIL))


def test_the_words_for_people_stand_beside_the_conditions() -> None:
    said = finished_conditions(End.FAILED, "m", good=False)
    written = with_conditions(run(), AgentRunStatus(), said, phase=Phase.FAILED, reason="Failed", now=NOW)
    assert (written.phase, written.reason, written.observed_generation) == (Phase.FAILED, "Failed", 1)


@pytest.mark.row("S2.40")
@pytest.mark.parametrize(
    ("names", "shown"),
    [
        pytest.param(["big", "small"], ["big", "small"], id="each model"),
        pytest.param(
            [f"m{n:02}" for n in range(16)], [f"m{n:02}" for n in range(16)], id="as many as there is room for"
        ),
        pytest.param([f"m{n:02}" for n in range(17)], [], id="none of more than that"),
        pytest.param(["big", ""], [], id="none if one has no name"),
        pytest.param(["m" * 257], [], id="none if a name is too long"),
        pytest.param([], [], id="none if the log does not tell them apart"),
    ],
)
def test_usage_by_model_is_shown_whole_or_not_at_all(names: list[str], shown: list[str]) -> None:
    by_model = {name: EnvelopeUsage(10, 5, 4) for name in names}
    usage = EnvelopeUsage(10 * len(names), 5 * len(names), 4 * len(names))
    summary = EnvelopeSummary(finished=True, usage=usage, usage_is_total=True, usage_by_model=by_model)
    found = envelope_usage(summary).by_model or ()
    assert [one.model for one in found] == shown
    assert {(one.input_tokens, one.output_tokens, one.cache_read_tokens) for one in found} <= {(10, 5, 4)}
