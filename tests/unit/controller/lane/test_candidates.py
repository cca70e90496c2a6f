"""Which waiting runs lack nothing but a slot: all of a lane at once as each by itself."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from laneway.api.runstatus import AgentRunStatus
from laneway.controller.chain.eligibility import Question, find_blocker
from laneway.controller.facts.objects import Lane, Run
from laneway.controller.facts.views import DependencyState, DependencyView
from laneway.controller.lane.candidates import find_candidates
from support.builders import PRESETS, at, condition, lane, lane_view, ready, run

STATUSES = (
    AgentRunStatus(),
    AgentRunStatus(attempt=1),
    *(
        AgentRunStatus(conditions=(condition("Admitted", "False", reason),))
        for reason in ("QuotaExceeded", "NameTaken", "WorkspaceInUse")
    ),
)


def crowd() -> list[Run]:
    """A run for every combination of what may keep one from lane ``local`` of team-a."""
    mixed = product(
        ("team-a", "team-b"),
        (None, "smollm2", "other"),
        ("generic", "nope"),
        (False, True),
        (None, "2026-03-01T11:59:00Z", "2026-03-01T12:00:20Z"),
        (None, [{"name": "x"}]),
        STATUSES,
    )
    return [
        run(
            f"r{number}",
            namespace=namespace,
            spec={
                "models": [{"lane": "local", "namespace": "team-a", "model": model}],
                "agent": {"preset": preset, "image": "mine:1"},
                "suspend": suspend,
                "notBeforeTime": begins,
                "dependsOn": needs,
            },
            status=status,
        )
        for number, (namespace, model, preset, suspend, begins, needs, status) in enumerate(mixed)
    ]


CROWD = crowd()
OPEN = {"allowedNamespaces": {"from": "All"}}


@pytest.mark.parametrize("seconds", [pytest.param(0, id="at once"), pytest.param(20, id="at the start time of some")])
@pytest.mark.parametrize("state", [DependencyState.SUCCEEDED, DependencyState.UNFINISHED])
@pytest.mark.parametrize(
    ("the_lane", "some"),
    [
        pytest.param(lane(spec=OPEN), True, id="a lane for all"),
        pytest.param(lane(), True, id="a lane for its own namespace"),
        pytest.param(lane(spec={**OPEN, "suspend": True}), False, id="a lane that is suspended"),
        pytest.param(lane(conditions=(ready("False"),)), False, id="a lane that is not ready"),
        pytest.param(lane(spec=OPEN, served={"smollm2": False}), False, id="a lane whose server lacks the model"),
    ],
)
def test_a_run_is_a_candidate_if_nothing_keeps_it_from_a_slot_whoever_waits_with_it(
    the_lane: Lane, some: bool, state: DependencyState, seconds: float
) -> None:
    needs = {one.meta.uid: (DependencyView("x", state),) for one in CROWD if one.spec.depends_on}
    blockers = {
        one.meta.uid: find_blocker(
            Question(one, the_lane, PRESETS, (), at(seconds), dependencies=needs.get(one.meta.uid, ()))
        )
        for one in CROWD
    }
    free = {uid for uid, blocker in blockers.items() if blocker is None}
    due = min((blocker.until for blocker in blockers.values() if blocker and blocker.until), default=None)
    for runs in (CROWD, CROWD[::-1]):
        found = find_candidates(replace(lane_view(*runs, the_lane=the_lane), dependencies=needs), {}, at(seconds))
        assert {one.meta.uid for one in found.runs} == free
        assert found.due == due
    assert bool(free) is some
