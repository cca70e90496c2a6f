"""Money: dollars as decimal strings outside, whole micro-dollars inside."""

from __future__ import annotations

from decimal import InvalidOperation

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laneway.api.runstatus import Usage
from laneway.rules.money import format_usd, parse_usd


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        pytest.param("0", 0, id="nothing"),
        pytest.param("2.50", 2_500_000, id="cents"),
        pytest.param("7", 7_000_000, id="a whole number"),
        pytest.param("0.000001", 1, id="the smallest amount"),
        pytest.param("0.0000005", 1, id="half of the smallest amount is rounded up"),
        pytest.param("0.00000049", 0, id="less than half of the smallest amount is nothing"),
    ],
)
def test_dollars_are_read_as_micro_dollars(text: str, micros: int) -> None:
    assert parse_usd(text) == micros


@pytest.mark.parametrize(
    ("micros", "text"),
    [
        pytest.param(0, "0.00", id="nothing has two places"),
        pytest.param(2_500_000, "2.50", id="cents are whole"),
        pytest.param(12, "0.000012", id="a small amount shows all its places"),
        pytest.param(1_234_567_000_000, "1234567.00", id="a large amount has no separators"),
    ],
)
def test_micro_dollars_are_shown_with_two_places_or_as_many_as_they_need(micros: int, text: str) -> None:
    assert format_usd(micros) == text


@pytest.mark.parametrize("text", ["", "two", "1,5", "$1"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(InvalidOperation):
        parse_usd(text)


@given(st.integers(min_value=0, max_value=10**18 - 1))
def test_an_amount_survives_the_way_out_and_in_and_fits_the_api(micros: int) -> None:
    text = format_usd(micros)
    assert parse_usd(text) == micros
    assert Usage(cost_usd=text).cost_usd == text
