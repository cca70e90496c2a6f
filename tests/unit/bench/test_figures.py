"""The arithmetic of the benchmarks: percentiles, ratios, targets, and what a report says of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.figures import Figure, Target, at_least, at_most, differences, growth, percentile, ratios
from bench.report import MET, MISSED, UNSURE, Part, Report


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        pytest.param([3, 1, 2], 50, 2, id="the middle of three, in any order"),
        pytest.param([1, 2, 3, 4], 50, 2, id="the lower middle of four"),
        pytest.param(range(1, 101), 99, 99, id="one of a hundred lies above the 99th"),
        pytest.param(range(1, 201), 99, 198, id="two of two hundred lie above it"),
        pytest.param([5, 9], 99, 9, id="of few values the 99th is the largest"),
        pytest.param([7], 50, 7, id="one value is every percentile"),
        pytest.param([1, 2], 0, 1, id="the lowest is the smallest value"),
    ],
)
def test_a_percentile_is_a_value_that_was_measured(values: list[float], percent: float, expected: float) -> None:
    assert percentile(values, percent) == expected


def test_there_is_no_percentile_of_nothing() -> None:
    with pytest.raises(ValueError, match="nothing"):
        percentile([], 50)


def test_ratios_are_of_the_same_round() -> None:
    assert ratios([10, 30], [20, 30]) == (0.5, 1.0)
    with pytest.raises(ValueError, match="shorter"):
        ratios([1, 2], [1])


def test_what_is_added_is_of_the_same_round_and_may_be_less_than_nothing() -> None:
    assert differences([10, 30], [20, 25]) == (-10, 5)
    with pytest.raises(ValueError, match="shorter"):
        differences([1, 2], [1])


@pytest.mark.parametrize(
    ("points", "slope"),
    [
        pytest.param([(0, 60), (100, 60), (200, 60)], 0, id="what stays does not grow"),
        pytest.param([(0, 60), (100, 70), (200, 80)], 0.1, id="what grows evenly"),
        pytest.param([(0, 60), (100, 64), (200, 60), (300, 64)], 0.008, id="ups and downs hardly count"),
    ],
)
def test_growth_is_the_slope_through_all_points(points: list[tuple[float, float]], slope: float) -> None:
    assert growth(points) == pytest.approx(slope)


def test_there_is_no_growth_at_one_place() -> None:
    with pytest.raises(ValueError, match="two"):
        growth([(1, 2)])


@pytest.mark.parametrize(
    ("target", "rounds", "met"),
    [
        pytest.param(at_most(10), (9, 11), True, id="a mean on an upper limit is good"),
        pytest.param(at_most(10), (9, 12), False, id="a mean above an upper limit is not"),
        pytest.param(at_least(60), (50, 70), True, id="a mean on a lower limit is good"),
        pytest.param(at_least(60), (50, 69), False, id="a mean below a lower limit is not"),
        pytest.param(None, (1,), None, id="without a target nothing is judged"),
    ],
)
def test_the_mean_of_the_rounds_is_judged(target: Target | None, rounds: tuple[float, ...], met: bool | None) -> None:
    figure = Figure("P1", "it", "ms", rounds, target)
    assert figure.met is met
    assert report(figure).code == (MISSED if met is False else MET)


def report(*figures: Figure, others: float = 0.0) -> Report:
    return Report("2 cores", (Part("P1: ten runs.", figures, (others,)),))


def test_one_missed_target_decides_the_exit_code() -> None:
    good, bad = (Figure("P1", "it", "ms", (5.0,), at_most(limit)) for limit in (6, 4))
    assert report(good).code == MET
    assert report(good, bad).code == MISSED


@pytest.mark.parametrize(
    ("figures", "others", "code"),
    [
        pytest.param([(5, at_most(4))], 11, UNSURE, id="a missed time says nothing on a busy machine"),
        pytest.param([(5, at_most(4))], 10, MISSED, id="it says something on a quiet one"),
        pytest.param([(5, at_most(6))], 90, MET, id="a time that was met is met on any machine"),
        pytest.param([(7, at_most(6, counted=True))], 90, MISSED, id="a missed count is missed on any machine"),
        pytest.param(
            [(5, at_most(4)), (7, at_most(6, counted=True))], 90, MISSED, id="a missed count outweighs a time"
        ),
        pytest.param([(5, at_most(6, compared=True))], 11, UNSURE, id="a comparison says nothing on a busy machine"),
        pytest.param([(5, at_most(6, compared=True))], 10, MET, id="a comparison counts on a quiet one"),
        pytest.param([(5, at_most(4, compared=True))], 10, MISSED, id="a missed comparison is missed on a quiet one"),
    ],
)
def test_a_busy_machine_excuses_times_alone(figures: list[tuple[float, Target]], others: float, code: int) -> None:
    said = report(*(Figure("P1", "it", "ms", (value,), target) for value, target in figures), others=others)
    assert said.code == code
    assert ("P1: other programs used up to 90 %" in said.table()) is (others == 90)


def test_a_table_shows_mean_spread_target_and_verdict() -> None:
    [line] = [
        line
        for line in report(Figure("P3", "wait", "ms", (90, 130), at_most(100))).table().splitlines()
        if "wait" in line
    ]
    assert line.split() == ["P3", "wait", "ms", "110", "90", "to", "130", "2", "<=", "100", "MISSED"]


def test_json_has_every_round() -> None:
    read = json.loads(report(Figure("P2", "runs", "1/s", (70.5, 80.5), at_least(60))).json())
    assert read["code"] == MET
    assert read["figures"][0]["rounds"] == [70.5, 80.5]
    assert read["figures"][0]["target"] == {"limit": 60, "atLeast": True}


def test_results_are_written_between_their_marks_and_again(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- results -->\nold\n<!-- /results -->\nafter\n")
    for _ in range(2):
        report(Figure("P1", "it", "ms", (1.0,))).record(page)
    text = page.read_text()
    assert text.startswith("before\n<!-- results -->\nMeasured on 2 cores.\n")
    assert text.endswith("| P1 | it | ms | 1 | 1 to 1 | 1 |  |  |\n<!-- /results -->\nafter\n")
    assert "old" not in text


def test_a_page_without_marks_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- results -->\n")
    with pytest.raises(ValueError, match="must have"):
        report().record(page)
    assert page.read_text() == "<!-- results -->\n"


def test_rows_that_were_not_measured_again_stay_in_the_page_in_their_order(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- results -->\n<!-- /results -->\n")
    slow = Part(
        "P2: a hundred runs.", (Figure("P2", "old rate", "1/s", (2.0,)), Figure("P3", "old wait", "ms", (9.0,))), (0,)
    )
    late = Part("P10: many calls.", (Figure("P10", "memory", "MB", (80.0,)),), (30.0,))
    Report("2 cores", (slow, late)).record(page)
    wait = Part("P3: ten runs.", (Figure("P3", "new wait", "ms", (5.0,)),), (0,))
    first = Part("P1: ten runs.", (Figure("P1", "new time", "ms", (1.0,)),), (0,))
    Report("4 cores", (first, wait)).record(page)
    lines = page.read_text().splitlines()
    assert lines[1] == "Measured on 4 cores."
    assert [line[:26] for line in lines if line.startswith("- ")] == [
        "- P1: ten runs.",
        "- P2: a hundred runs.",
        "- P2, P3, P10: other progr",
        "- P3: ten runs.",
        "- P10: many calls.",
    ]
    rows = [line.split(" | ")[:2] for line in lines if line.startswith("| P")]
    assert rows == [["| P1", "new time"], ["| P2", "old rate"], ["| P3", "new wait"], ["| P10", "memory"]]
