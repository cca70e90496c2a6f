"""What grows in a life of the gateway, and what only warms up."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest

from soak.samples import FEWEST, Sample, figures, look, rise


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([0, 5, 5, 5], 0, id="what warms up in the first quarter does not rise"),
        pytest.param([1, 2, 3, 4], 2, id="what grows evenly rises by half of all"),
        pytest.param([5, 9, 9, 5], -4, id="what is given back falls"),
        pytest.param([0, 0, 2, 4, 9, 9, 6, 8], 4, id="quarters are means"),
    ],
)
def test_a_rise_is_from_the_second_quarter_to_the_last(values: list[float], expected: float) -> None:
    assert rise(values) == expected


def test_too_few_values_have_no_quarters() -> None:
    with pytest.raises(ValueError, match="four"):
        rise([1, 2, 3])


def life(megabytes: Sequence[float], *, files: int = 20) -> list[Sample]:
    return [Sample(one, files, 4) for one in megabytes]


def test_the_worst_life_is_judged_and_short_ones_are_not() -> None:
    steady, leaking, short = life([60] * FEWEST), life(range(FEWEST * 2)), life([0, 900])
    assert [one.met for one in figures([steady, short])] == [True, True, True]
    memory, files, threads = figures([steady, leaking, short])
    assert (memory.mean, memory.met) == (FEWEST, False)
    assert (files.met, threads.met) == (True, True)
    assert "2 lives" in memory.what


def test_without_a_life_that_is_long_enough_nothing_is_claimed() -> None:
    with pytest.raises(ValueError, match="no life"):
        figures([life([60] * (FEWEST - 1))])


def test_a_process_is_looked_at() -> None:
    with open(os.devnull, encoding="utf-8"):
        open_files = look(os.getpid()).files
    found = look(os.getpid())
    assert found.files == open_files - 1
    assert found.megabytes > 1
    assert found.threads >= 1
