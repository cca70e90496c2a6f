"""Places as they are shown: a range always holds the place, and few departures change it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laneway.rules.positions import position_range


@pytest.mark.row("S2.9")
@pytest.mark.parametrize(
    ("rank", "shown"),
    [
        pytest.param(1, (1, 1), id="the next one"),
        pytest.param(10, (10, 10), id="the last exact place"),
        pytest.param(11, (11, 20), id="the first range begins"),
        pytest.param(20, (11, 20), id="and ends"),
        pytest.param(21, (21, 50), id="the second"),
        pytest.param(51, (51, 100), id="the third"),
        pytest.param(101, (101, 200), id="the fourth"),
        pytest.param(500, (201, 500), id="the fifth ends"),
        pytest.param(10000, (5001, 10000), id="far behind"),
    ],
)
def test_a_place_is_shown_as(rank: int, shown: tuple[int, int]) -> None:
    assert position_range(rank) == shown


@given(st.integers(1, 10**6))
def test_a_range_holds_its_place_and_is_the_same_for_all_in_it(rank: int) -> None:
    first, last = position_range(rank)
    assert first <= rank <= last
    assert position_range(first) == position_range(last) == (first, last)


def test_a_departure_from_a_queue_of_ten_thousand_changes_few_places() -> None:
    moved = sum(1 for rank in range(2, 10_001) if position_range(rank) != position_range(rank - 1))
    assert moved < 20
