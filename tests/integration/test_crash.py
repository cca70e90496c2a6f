"""Recovery, proved in small: one scenario, the operator killed after some of its writes, and faults of the API server. ``make crash`` does all of it."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from crash.away import LedgerGone, Stopped
from crash.kinds import (
    BROKEN,
    CONFLICT,
    TOO_MANY,
    Counted,
    Expired,
    Kill,
    Lost,
    Refused,
    Rival,
    StaleLists,
    Watches,
    judged,
)
from crash.metered import CALL_TOKENS, metered
from crash.oracle import wrongs
from crash.scene import direct
from crash.trial import Outcome, Scenario, Trial, trial
from integration.conftest import Cluster

SEED = 6
FIRST, LAST = 1, 50
"""The scenario has some 56 to 60 writes; the last of them are Events and counts of lanes."""
_BETWEEN = random.Random(SEED).sample(range(FIRST + 1, LAST), 2)


@pytest.fixture(scope="module")
def kept() -> dict[Scenario, Outcome]:
    """The scenarios without faults, once they were played."""
    return {}


async def without_faults(kept: dict[Scenario, Outcome], cluster: Cluster, folder: Path, scenario: Scenario) -> Outcome:
    if scenario not in kept:
        async with trial(cluster.kubeconfig, folder, scenario) as made:
            kept[scenario] = await made.run()
    return kept[scenario]


@pytest.fixture
async def plain(kept: dict[Scenario, Outcome], cluster: Cluster, tmp_path: Path) -> Outcome:
    return await without_faults(kept, cluster, tmp_path, direct)


@pytest.fixture
async def plain_metered(kept: dict[Scenario, Outcome], cluster: Cluster, tmp_path: Path) -> Outcome:
    return await without_faults(kept, cluster, tmp_path, metered)


async def hit(
    cluster: Cluster,
    folder: Path,
    plain: Outcome,
    make: Callable[[Trial], Counted],
    scenario: Scenario = direct,
) -> tuple[Outcome, Counted]:
    """The scenario with faults, of which all came to what it must, and what there was of them."""
    async with trial(cluster.kubeconfig, folder, scenario) as made:
        faults = made.proxy.faults = make(made)
        outcome = await made.run(lambda found: not plain.ending.differences(found, but=faults.may_differ))
    assert judged(outcome, plain, faults) == []
    return outcome, faults


async def test_without_faults_nothing_is_written_twice_and_then_nothing_at_all(plain: Outcome) -> None:
    assert wrongs(plain, plain, hits=0) == []
    assert plain.starts == 1
    assert len(plain.writes) >= LAST
    assert {name: len(pods) for name, pods in plain.ending.pods.items()} == {"cancelled": 1, "chained": 2, "plain": 1}
    assert [run[1]["reason"] for run in plain.ending.runs.values()] == ["Cancelled", "Completed", "Completed"]
    assert plain.ending.runs["chained"][1]["usage"]["totalTokens"] == 11 + 7 + 200 + 7


@pytest.mark.row("S4.43", "S4.44", "S4.46")
@pytest.mark.parametrize(
    ("number", "lost"),
    [
        pytest.param(FIRST, False, id="after its first write"),
        pytest.param(_BETWEEN[0], True, id="after a write in between whose answer it never got"),
        pytest.param(_BETWEEN[1], False, id="after another one in between"),
        pytest.param(LAST, True, id="after one of its last writes whose answer it never got"),
    ],
)
async def test_a_killed_operator_comes_to_the_same_end_without_a_pod_more(
    cluster: Cluster, tmp_path: Path, plain: Outcome, number: int, lost: bool
) -> None:
    outcome, faults = await hit(cluster, tmp_path, plain, lambda made: Kill(made, number, lost=lost))
    assert (faults.count.total(), outcome.starts) == (1, 2)


@pytest.mark.row("S4.45", "S4.46")
async def test_events_that_come_late_again_or_after_a_cut_change_nothing(
    cluster: Cluster, tmp_path: Path, plain: Outcome
) -> None:
    outcome, faults = await hit(cluster, tmp_path, plain, lambda made: Watches(SEED, cut=0.2, late=0.3, again=0.3))
    assert len(faults.count) == 3
    assert outcome.starts == 1


@pytest.mark.row("S4.45")
async def test_watches_whose_version_is_gone_are_begun_anew(cluster: Cluster, tmp_path: Path, plain: Outcome) -> None:
    _, faults = await hit(cluster, tmp_path, plain, lambda made: Expired())
    assert faults.count.total() == 3


@pytest.mark.row("S4.48")
async def test_a_successor_that_is_given_old_lists_does_nothing_twice(
    cluster: Cluster, tmp_path: Path, plain: Outcome
) -> None:
    _, faults = await hit(cluster, tmp_path, plain, lambda made: StaleLists(made, 34, age=16))
    assert faults.count["stale list"] == 3


@pytest.mark.row("S4.41", "S4.46")
async def test_two_leaders_at_once_do_nothing_twice(cluster: Cluster, tmp_path: Path, plain: Outcome) -> None:
    """The second one leads at once and not after 15 s: that is worse than what the Lease lets happen."""
    outcome, faults = await hit(cluster, tmp_path, plain, lambda made: Rival(made, 12))
    assert (faults.count.total(), outcome.starts) == (1, 2)


@pytest.mark.row("S4.46")
async def test_writes_that_are_refused_are_done_later_and_once(
    cluster: Cluster, tmp_path: Path, plain: Outcome
) -> None:
    numbers = random.Random(SEED).sample(range(2, LAST), 3)
    _, faults = await hit(cluster, tmp_path, plain, lambda made: Refused(numbers, CONFLICT, TOO_MANY, BROKEN))
    assert len(faults.count) == 3


@pytest.mark.row("S4.46")
async def test_writes_that_were_done_and_not_answered_are_not_done_again(
    cluster: Cluster, tmp_path: Path, plain: Outcome
) -> None:
    numbers = random.Random(SEED).sample(range(2, LAST), 3)
    _, faults = await hit(cluster, tmp_path, plain, lambda made: Lost(numbers))
    assert faults.count["answer lost"] == 3


@pytest.mark.parametrize(
    ("make", "complete"),
    [
        pytest.param(lambda made: Stopped(made, 45, seconds=3), {True}, id="stands still while a run is cancelled"),
        pytest.param(lambda made: LedgerGone(made, 38, seconds=1), {True, False}, id="loses its ledger"),
    ],
)
async def test_a_gateway_that_is_away_for_a_while_or_loses_its_ledger_counts_each_call_once(
    cluster: Cluster,
    tmp_path: Path,
    plain_metered: Outcome,
    make: Callable[[Trial], Counted],
    complete: set[bool],
) -> None:
    outcome, faults = await hit(cluster, tmp_path, plain_metered, make, metered)
    assert (faults.count.total(), outcome.starts) == (1, 1)
    usage = {name: run[1]["usage"] for name, run in outcome.ending.runs.items()}
    assert {name: one["turns"] for name, one in usage.items()} == {"cancelled": 1, "evicted": 2, "waiting": 1}
    assert all(one["totalTokens"] == one["turns"] * CALL_TOKENS for one in usage.values())
    assert {one["complete"] for one in usage.values()} <= complete
