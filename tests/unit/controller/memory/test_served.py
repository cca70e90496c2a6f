"""When callers last got a slot: read once from all runs, then noted grant by grant."""

from __future__ import annotations

from typing import Any

from laneway.api.runstatus import AgentRunStatus
from laneway.controller.memory import served
from laneway.controller.memory.served import Served
from laneway.kube.resources import Key
from laneway.rules.fairshare import Caller
from support.builders import NOW, admitted, at, attempt, condition
from support.objects import raw_run

LANE = Key("team-a", "local")
CI, NOBODY = Caller("team-a", "ci"), Caller("team-a", "")


def finished(seconds: float) -> AgentRunStatus:
    said = condition("Finished", "True", "Completed")
    return AgentRunStatus(conditions=(said,), attempts=(attempt(1), attempt(2, admitted_time=at(seconds))))


def test_the_past_is_read_from_finished_runs_too() -> None:
    runs = [
        raw_run("a", status=finished(7), spec={"caller": "ci"}),
        raw_run("b", status=finished(5), spec={"caller": "ci"}),
        raw_run("c", status=admitted()),
        raw_run("d"),
    ]
    assert Served(runs).on_lane(LANE) == {CI: at(7), NOBODY: NOW}


def test_a_grant_counts_from_its_own_moment() -> None:
    known = Served([raw_run(status=admitted())])
    known.note(LANE, NOBODY, at(0.5))
    known.note(LANE, NOBODY, at(0.2))
    assert known.on_lane(LANE) == {NOBODY: at(0.5)}
    assert known.on_lane(Key("team-a", "other")) == {}


def test_an_object_that_is_no_run_of_this_version_is_no_past() -> None:
    odd: dict[str, Any] = raw_run()
    odd["status"] = {"attempts": [{}, {"admittedTime": "2026-03-01T12:00:00Z", "step": {"lane": "x"}}]}
    assert Served([odd]).on_lane(LANE) == {}


def test_who_was_served_longest_ago_is_forgotten_first() -> None:
    known = Served([])
    for number in range(served.CALLERS_KEPT + 1):
        known.note(LANE, Caller("team-a", str(number)), at(number))
    assert Caller("team-a", "0") not in known.on_lane(LANE)
    assert len(known.on_lane(LANE)) == served.CALLERS_KEPT
