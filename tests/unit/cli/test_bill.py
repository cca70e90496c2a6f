"""Usage as people and scripts get it."""

from __future__ import annotations

from typing import Any

import pytest

from laneway.cli.bill import Line, Share, csv_text, notes, record, shown_usd, table_of


def line(name: str | None = "team-a", **known: Any) -> Line:
    return Line(**{"names": {"namespace": name}, "runs": 41, **known})


PAID = line(
    calls=1204,
    turns=1200,
    input_tokens=9_130_000,
    cache_read_tokens=6_200_000,
    output_tokens=400_000,
    cost_micro_usd=31_402_000,
    limit=Share(6_300_000, 10_000_000, "models/hosted by day"),
)


def test_the_table_is_for_people_and_leaves_out_what_nobody_knows() -> None:
    heads, rows = table_of([PAID, line("team-b", runs=1)], ["NAMESPACE"], wide=False)
    assert heads == ("NAMESPACE", "RUNS", "CALLS", "INPUT", "CACHED", "OUTPUT", "COST (USD)", "OF LIMIT")
    assert rows == [
        ("team-a", "41", "1,204", "9.1M", "6.2M", "0.4M", "31.40", "63 %"),
        ("team-b", "1", "", "", "", "", "", ""),
    ]
    wide, [row] = table_of([PAID], ["NAMESPACE"], wide=True)
    assert (wide[-1], row[-1]) == ("LIMIT", "models/hosted by day: 6.30 of 10.00")
    assert table_of([line(None, turns=3)], ["LANE"], wide=False) == (
        ("LANE", "RUNS", "TURNS", "INPUT", "OUTPUT", "COST (USD)"),
        [("(unknown)", "41", "3", "", "", "")],
    )


@pytest.mark.parametrize(
    ("known", "cost"),
    [
        pytest.param({"cost_micro_usd": None}, "", id="no cost is known"),
        pytest.param({"cost_micro_usd": None, "unpriced": 1}, "", id="nor is it zero where a price is missing"),
        pytest.param({"cost_micro_usd": 0}, "0.00", id="free is zero"),
        pytest.param({"cost_micro_usd": 2_500_000, "unpriced": 1}, "at least 2.50", id="a price is missing"),
        pytest.param({"cost_micro_usd": 2_500_000, "unknown": 1}, "at least 2.50", id="usage is missing"),
        pytest.param({"cost_micro_usd": 17}, "0.000017", id="less than a cent is exact"),
    ],
)
def test_a_cost_says_how_sure_it_is(known: dict[str, Any], cost: str) -> None:
    heads, [row] = table_of([line(**known)], ["NAMESPACE"], wide=False)
    assert row[heads.index("COST (USD)")] == cost


@pytest.mark.parametrize(
    ("tokens", "shown"), [(0, "0"), (9_999, "9,999"), (12_345, "12.3K"), (250_000, "0.2M"), (3_000_000_000, "3.0G")]
)
def test_tokens_are_short(tokens: int, shown: str) -> None:
    heads, [row] = table_of([line(input_tokens=tokens)], ["NAMESPACE"], wide=False)
    assert row[heads.index("INPUT")] == shown


@pytest.mark.parametrize(
    ("known", "unit", "said"),
    [
        pytest.param({}, "call", [], id="nothing is missing"),
        pytest.param(
            {"estimated_calls": 3, "estimated_micro_usd": 110_000},
            "call",
            ["(3 calls without usage were charged at their reservation: 0.11)"],
            id="calls that were charged their reservation",
        ),
        pytest.param(
            {"estimated_calls": 1},
            "call",
            ["(1 call without usage was charged their reservation, without a price)"],
            id="a reservation without a price",
        ),
        pytest.param(
            {"unpriced": 2, "unknown": 1, "open": 1},
            "run",
            [
                "(2 runs have no known cost: it is missing in the sums)",
                "(1 run told no usage, or not all of it: the numbers are too low)",
                "(1 run is under way: the numbers still grow)",
            ],
            id="what is missing, and what still grows",
        ),
    ],
)
def test_what_the_numbers_do_not_say_is_said(known: dict[str, Any], unit: str, said: list[str]) -> None:
    assert notes([line(**known)], unit=unit) == said


def test_records_are_exact_and_unknown_is_null_in_json_and_empty_in_csv() -> None:
    told = record(line(cost_micro_usd=17))
    assert (told["namespace"], told["costUSD"], told["inputTokens"], told["limitUSD"]) == (
        "team-a",
        "0.000017",
        None,
        None,
    )
    [head, row] = csv_text([line(cost_micro_usd=17)], ["namespace"]).splitlines()
    assert head.split(",") == list(told)
    assert row.startswith("team-a,41,,,,,,,0.000017,0,0,")
    assert csv_text([], ["namespace"]).splitlines() == [head]


def test_money_is_rounded_to_the_cent_and_exact_below_one() -> None:
    assert [shown_usd(one) for one in (0, 9_999, 10_000, 31_404_999, 31_405_000)] == [
        "0.00",
        "0.009999",
        "0.01",
        "31.40",
        "31.41",
    ]
