"""The one reason why a run may not have a slot now: the first that a person can act on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from laneway.api.reasons import Waiting
from laneway.api.runstatus import AgentRunStatus
from laneway.controller.chain.eligibility import Blocker, Question, allows, find_blocker
from laneway.controller.facts.presets import Preset
from laneway.controller.facts.views import DependencyState, DependencyView
from support.builders import NOW, PRESETS, at, condition, lane, ready, run

PLAIN = Question(run=run(), lane=lane(), presets=PRESETS, usable_lanes=("a", "b"), now=NOW)


MISSING = DependencyView("nowhere", DependencyState.MISSING)
UNFINISHED = DependencyView("busy", DependencyState.UNFINISHED)
SUCCEEDED = DependencyView("done", DependencyState.SUCCEEDED, "Completed")
FAILED = DependencyView("broken", DependencyState.FAILED, "OutOfMemory")
SOON = {"notBeforeTime": "2026-03-01T12:01:00Z"}


def refused(reason: str = "QuotaExceeded", since: float = 0) -> AgentRunStatus:
    said = condition("Admitted", "False", reason, message="exceeded quota: pods", since=since)
    return AgentRunStatus(conditions=(said,))


CASES: dict[str, tuple[dict[str, Any], Waiting | None, str]] = {
    "nothing but a slot is missing": ({}, None, ""),
    "suspend comes before everything": (
        {"run": run(spec={"suspend": True, "agent": {"preset": "nope"}}), "lane": None},
        Waiting.SUSPENDED,
        "set it to false",
    ),
    "an unknown preset comes before the lane": (
        {"run": run(spec={"agent": {"preset": "nope"}}), "lane": None},
        Waiting.PRESET_NOT_FOUND,
        "presets here: aider, claude-code, codex, gemini-cli, generic, laneway, mini-swe-agent, opencode",
    ),
    "an agent without a public image needs one of the run, and is told where a Dockerfile is": (
        {"run": run(spec={"agent": {"preset": "codex"}}), "lane": None},
        Waiting.IMAGE_NOT_SET,
        (
            "set spec.agent.image, or the chart's value presets.codex.image (OpenAI's Codex, headless. The run names an"
            " image; examples/agents/codex has a Dockerfile.)"
        ),
    ),
    "an image of the run is enough": (
        {"run": run(spec={"agent": {"preset": "codex", "image": "mine:1"}})},
        None,
        "",
    ),
    "an image of the preset is enough": (
        {
            "run": run(spec={"agent": {"preset": "codex"}}),
            "presets": {"codex": Preset(description="Ours.", image="ours:1")},
        },
        None,
        "",
    ),
    "a missing lane is told with those there are": (
        {"lane": None},
        Waiting.LANE_NOT_FOUND,
        "lanes you may use: a, b",
    ),
    "a missing lane where there are none": ({"lane": None, "usable_lanes": ()}, Waiting.LANE_NOT_FOUND, "use: none"),
    "a lane of another namespace": (
        {"lane": lane(namespace="models")},
        Waiting.NAMESPACE_NOT_ALLOWED,
        "allowedNamespaces.from to All",
    ),
    "a namespace that is not allowed hears nothing of the lane's models": (
        {"lane": lane(namespace="models"), "run": run(spec={"models": [{"lane": "local", "model": "x"}]})},
        Waiting.NAMESPACE_NOT_ALLOWED,
        "models/local",
    ),
    "a model that is not listed": (
        {"run": run(spec={"models": [{"lane": "local", "model": "gpt-9"}]})},
        Waiting.MODEL_NOT_FOUND,
        "its models: smollm2",
    ),
    "a dependency that does not exist yet is named": (
        {"dependencies": (MISSING, UNFINISHED)},
        Waiting.WAITING_FOR_DEPENDENCY,
        "there is no run nowhere in namespace team-a yet",
    ),
    "a dependency that has not ended is waited for": (
        {"dependencies": (SUCCEEDED, UNFINISHED)},
        Waiting.WAITING_FOR_DEPENDENCY,
        "waits for run busy to succeed",
    ),
    "a dependency that failed keeps its dependents from slots": (
        {"dependencies": (FAILED, UNFINISHED)},
        Waiting.WAITING_FOR_DEPENDENCY,
        "run broken (OutOfMemory) did not succeed",
    ),
    "dependencies that succeeded are no obstacle": ({"dependencies": (SUCCEEDED,)}, None, ""),
    "what has to be corrected comes before what has to be waited for": (
        {"lane": None, "dependencies": (UNFINISHED,)},
        Waiting.LANE_NOT_FOUND,
        "lanes you may use",
    ),
    "a start time is waited for": ({"run": run(spec=SOON)}, Waiting.NOT_BEFORE, "it begins at 2026-03-01T12:01:00Z"),
    "a start time that has come is no obstacle": ({"run": run(spec=SOON), "now": at(60)}, None, ""),
    "a start time is for the first attempt": ({"run": run(spec=SOON, status=AgentRunStatus(attempt=1))}, None, ""),
    "a start time comes before a lane that is not ready": (
        {"run": run(spec=SOON), "lane": lane(conditions=())},
        Waiting.NOT_BEFORE,
        "spec.notBeforeTime",
    ),
    "a suspended lane comes before one that is not ready": (
        {"lane": lane(spec={"suspend": True}, conditions=())},
        Waiting.LANE_SUSPENDED,
        "is suspended",
    ),
    "a lane that nobody has looked at": ({"lane": lane(conditions=())}, Waiting.LANE_NOT_READY, "not been looked at"),
    "a lane that is not ready says why": (
        {"lane": lane(conditions=(ready("False", "connection refused"),))},
        Waiting.LANE_NOT_READY,
        "connection refused",
    ),
    "a lane of which nothing is known is not ready": (
        {"lane": lane(conditions=(ready("Unknown", "not looked at yet"),))},
        Waiting.LANE_NOT_READY,
        "not looked at yet",
    ),
    "a model that the server does not serve now": (
        {"lane": lane(served={"smollm2": False})},
        Waiting.MODEL_NOT_FOUND,
        "does not serve model smollm2 now",
    ),
    "a model of which nobody knows whether it is served": ({"lane": lane(served={})}, None, ""),
    "a pod that was just refused": ({"run": run(status=refused(since=-29))}, Waiting.QUOTA_EXCEEDED, "exceeded quota"),
    "a pod whose name was just taken": (
        {"run": run(status=refused("NameTaken", since=-1))},
        Waiting.NAME_TAKEN,
        "exceeded quota",
    ),
    "a workspace that another pod just used": (
        {"run": run(status=refused("WorkspaceInUse", since=-29))},
        Waiting.WORKSPACE_IN_USE,
        "exceeded quota",
    ),
    "a pod that was refused 30 s ago is tried again": ({"run": run(status=refused(since=-30))}, None, ""),
}


@pytest.mark.row("S4.40")
@pytest.mark.parametrize(("changes", "reason", "says"), CASES.values(), ids=CASES.keys())
def test_blocker(changes: dict[str, Any], reason: Waiting | None, says: str) -> None:
    blocker = find_blocker(replace(PLAIN, **changes))
    assert (blocker.reason if blocker else None) == reason
    assert says in (blocker.message if blocker else "")


def test_a_start_time_and_a_refused_pod_have_a_time_to_look_again() -> None:
    waiting = find_blocker(replace(PLAIN, run=run(spec=SOON)))
    assert waiting is not None
    assert waiting.until == at(60)
    assert find_blocker(replace(PLAIN, run=run(status=refused()))) == Blocker(
        Waiting.QUOTA_EXCEEDED, "exceeded quota: pods", at(30)
    )


@pytest.mark.parametrize(
    ("namespace", "allowed", "expected"),
    [
        pytest.param("team-a", "Same", True, id="its own namespace"),
        pytest.param("team-b", "Same", False, id="another namespace"),
        pytest.param("team-b", "All", True, id="another namespace of a lane for all"),
    ],
)
def test_whose_runs_a_lane_takes(namespace: str, allowed: str, *, expected: bool) -> None:
    assert allows(lane(spec={"allowedNamespaces": {"from": allowed}}), namespace) is expected
