"""The trials of recovery leave no write out."""

from __future__ import annotations

from collections import Counter

from crash.plan import plan


def test_the_operator_is_killed_after_each_write_in_both_ways() -> None:
    kinds = Counter(one.kind for one in plan(57, 65, 1))
    assert kinds["killed after a write"] == 57
    assert kinds["killed after a write, its answer lost"] == 57


def test_every_kind_of_failing_write_has_trials_that_hit_them_all() -> None:
    kinds = Counter(one.kind for one in plan(57, 65, 1))
    names = ("a write answered 409", "a write answered 429", "a write answered 500", "a write done, its answer lost")
    assert {kinds[name] for name in names} == {9}


def test_the_gateway_goes_once_after_each_write_in_ways_that_the_seed_draws() -> None:
    away = [one.kind for one in plan(57, 65, 1) if one.kind.startswith("gateway")]
    assert len(away) == 65
    assert [len(set(away[first : first + 3])) for first in range(0, 63, 3)] == [3] * 21
    assert away != [one.kind for one in plan(57, 65, 2) if one.kind.startswith("gateway")]
