"""What a run's limits say of what it has used."""

from __future__ import annotations

from typing import Any

import pytest

from laneway.api.base import format_time
from laneway.api.limits import LimitName, LimitReached, Limits
from laneway.rules.limits import Used, nearly_used, parse_value, reached, still_reached, value_text, warn_at, words
from support.builders import NOW


def limits(**given: Any) -> Limits:
    return Limits.model_validate(given)


@pytest.mark.row("S4.35")
@pytest.mark.parametrize(
    ("given", "used", "expected"),
    [
        pytest.param({}, Used(cost=9, tokens=9, turns=9, seconds=9), None, id="what is not limited is not reached"),
        pytest.param({}, Used(turns=1000), LimitName.TURNS, id="turns are limited to 1000 by themselves"),
        pytest.param({"costUSD": "1.00"}, Used(cost=999_999), None, id="a cost just under its limit is not reached"),
        pytest.param({"costUSD": 1}, Used(cost=1_000_000), LimitName.COST, id="a cost at its limit is reached"),
        pytest.param({"costUSD": "1.00"}, Used(cost=None), None, id="an unknown cost is not judged"),
        pytest.param({"tokens": 5, "turns": 1}, Used(tokens=5, turns=1), LimitName.TOKENS, id="the first one is told"),
        pytest.param({"activeSeconds": 60}, Used(seconds=60), LimitName.TIME, id="time is a limit like the others"),
    ],
)
def test_a_limit_is_reached_when_it_is_used_up(given: dict[str, Any], used: Used, expected: LimitName | None) -> None:
    assert reached(limits(**given), used) is expected


@pytest.mark.parametrize(
    ("given", "before", "at", "limit"),
    [
        pytest.param({"costUSD": "1.00"}, Used(cost=799_999), Used(cost=800_000), LimitName.COST, id="money at 80 %", marks=pytest.mark.row("S4.28")),
        pytest.param({"turns": 10}, Used(turns=7), Used(turns=8), LimitName.TURNS, id="turns at 80 %", marks=pytest.mark.row("S4.27")),
        pytest.param({"turns": 9}, Used(turns=6), Used(turns=7), LimitName.TURNS, id="turns at 80 %, rounded down", marks=pytest.mark.row("S4.27")),
        pytest.param({"activeSeconds": 60}, Used(seconds=47), Used(seconds=48), LimitName.TIME, id="time at 80 %", marks=pytest.mark.row("S4.29")),
        pytest.param({"tokens": 100, "warnPercent": 50}, Used(tokens=49), Used(tokens=50), LimitName.TOKENS, id="another percentage"),
    ],
)  # fmt: skip
def test_a_warning_comes_at_its_percent_and_not_before(
    given: dict[str, Any], before: Used, at: Used, limit: LimitName
) -> None:
    assert list(nearly_used(limits(**given), before)) == []
    assert list(nearly_used(limits(**given), at)) == [limit]


def test_nobody_is_warned_of_nothing() -> None:
    assert warn_at(limits(turns=1), 1) == 1


@pytest.mark.parametrize(
    ("given", "still"),
    [
        pytest.param({"costUSD": "2.50"}, True, id="the same number"),
        pytest.param({"costUSD": "2.00"}, True, id="a lower number"),
        pytest.param({"costUSD": "2.500001"}, False, id="a higher number"),
        pytest.param({}, False, id="no limit any more"),
    ],
)
def test_a_run_waits_for_a_limit_until_it_is_raised_or_removed(given: dict[str, Any], still: bool) -> None:
    record = LimitReached(limit=LimitName.COST, value="2.50", time=NOW)
    assert still_reached(limits(**given), record) is still


@pytest.mark.parametrize(
    ("limit", "value", "text"),
    [
        pytest.param(LimitName.COST, 2_500_000, "2.50", id="money is a decimal of dollars"),
        pytest.param(LimitName.TURNS, 12, "12", id="all else is a whole number"),
    ],
)
def test_a_value_is_written_and_read(limit: LimitName, value: int, text: str) -> None:
    assert value_text(limit, value) == text
    assert parse_value(limit, text) == value
    assert LimitReached.model_validate({"limit": limit, "value": text, "time": format_time(NOW)})


@pytest.mark.parametrize(
    ("used", "said"),
    [
        pytest.param(2_400_000, "2.40 of 2.50 USD used", id="both numbers"),
        pytest.param(None, "an unknown part of 2.50 USD used", id="unknown is said"),
    ],
)
def test_people_are_told_both_numbers(used: int | None, said: str) -> None:
    assert words(LimitName.COST, used, 2_500_000) == said
