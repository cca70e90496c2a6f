"""The table of faults, and that a seed draws the same ones again."""

from __future__ import annotations

from collections import Counter

from soak.faults import TABLE, Draw, Manner


def drawn(seed: int, life: int, count: int) -> list[str]:
    draw = Draw(seed, life)
    return [draw.next().name for _ in range(count)]


def test_weights_are_parts_of_ten_thousand_and_names_are_told_apart() -> None:
    assert sum(fault.weight for fault in TABLE) == 10_000
    assert len({fault.name for fault in TABLE}) == len(TABLE)
    assert all(fault.weight > 0 for fault in TABLE)


def test_only_refusals_have_an_error_and_a_status_of_one() -> None:
    assert {fault.name for fault in TABLE if fault.manner is Manner.REFUSE} == {
        fault.name for fault in TABLE if fault.error and fault.status >= 400
    }


def test_the_same_seed_and_life_draw_the_same_faults_and_others_do_not() -> None:
    assert drawn(1, 0, 500) == drawn(1, 0, 500)
    assert drawn(1, 0, 500) != drawn(1, 1, 500)
    assert drawn(1, 0, 500) != drawn(2, 0, 500)


def test_all_faults_come_about_as_often_as_the_table_says() -> None:
    found = Counter(drawn(1, 0, 100_000))
    for fault in TABLE:
        assert 0.5 * fault.weight < found[fault.name] / 10 < 1.7 * fault.weight + 5, fault.name
