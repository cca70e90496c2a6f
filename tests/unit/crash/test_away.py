"""What a ledger that is gone may take with it, and what not."""

from __future__ import annotations

import pytest

from crash.away import Forgotten
from crash.ending import Ending

GONE = Forgotten(before=frozenset({"lost", "ended-meanwhile"}), after=frozenset({"lost", "begun-meanwhile"}))


def ended(name: str, *, complete: bool) -> Ending:
    return Ending(runs={name: [None, {"usage": {"complete": complete}}]}, pods={}, children=[], lanes={})


@pytest.mark.parametrize(
    ("path", "may"),
    [
        pytest.param("runs.lost[1].usage.complete", True, id="that all calls are known"),
        pytest.param("runs.lost[1].result.finishReason", True, id="why the last answer ended"),
        pytest.param("runs.lost[1].attempts[1].usage.byModel[0].model", True, id="the models of the attempt"),
        pytest.param("runs.lost[1].usage.byModel[0].model", False, id="the models of the run stand in its status"),
        pytest.param("runs.lost[1].usage.totalTokens", False, id="tokens stand in the status"),
        pytest.param("runs.lost[1].usage.costUSD", False, id="so does money"),
        pytest.param("runs.lost[1].result.exitCode", False, id="the exit code is the pod's"),
        pytest.param("runs.other[1].usage.complete", False, id="a run that had not begun has lost nothing"),
        pytest.param("lanes.lost.activeRuns", False, id="lanes have nothing in the ledger"),
    ],
)
def test_what_may_differ(path: str, may: bool) -> None:
    assert GONE.may_differ(path) is may


@pytest.mark.parametrize(
    ("name", "complete", "wrong"),
    [
        pytest.param("lost", True, ["runs.lost: usage.complete is True"], id="nobody can know all calls"),
        pytest.param("lost", False, [], id="it says so"),
        pytest.param("other", False, ["runs.other: usage.complete is False"], id="it had made no call before"),
        pytest.param("ended-meanwhile", True, [], id="its end was written just before the next gateway read it"),
        pytest.param("ended-meanwhile", False, [], id="or just after"),
        pytest.param("begun-meanwhile", True, [], id="its pod was named just after the next gateway read it"),
        pytest.param("begun-meanwhile", False, [], id="or just before"),
    ],
)
def test_usage_says_that_it_is_complete_only_where_it_can(name: str, complete: bool, wrong: list[str]) -> None:
    assert GONE.wrongs(ended(name, complete=complete)) == wrong
