"""What the operator reads off pods as a real kubelet wrote them (fixtures/), and what it makes of them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from laneway.api.reasons import End, Outcome
from laneway.controller.facts.pods import PodFacts, read_pod
from laneway.controller.pods.diagnosis import PULLS_FAILED_AFTER, Ending, Obstacle, diagnose, find_obstacle
from support.builders import ended, pod, running

FIXTURES = Path(__file__).parent / "fixtures"


def raw(name: str) -> dict[str, Any]:
    return json.loads((FIXTURES / f"{name}.json").read_text())


def facts(name: str) -> PodFacts:
    found = read_pod(raw(name))
    assert found is not None
    return found


def after(found: PodFacts, seconds: float) -> datetime:
    return (found.scheduled or found.created) + timedelta(seconds=seconds)


# ---- what keeps an agent from starting

OBSTACLES = {
    "an image that is being pulled in vain is waited for": (
        "image-pull",
        10,
        Obstacle("ErrImagePull", "connection refused", End.IMAGE_UNAVAILABLE, final=False),
    ),
    "an image that was pulled three times in vain will not come": (
        "image-pull",
        45,
        Obstacle("ErrImagePull", "connection refused", End.IMAGE_UNAVAILABLE, final=True),
    ),
    "an image that must not be pulled and is not there is waited for like a pull": (
        "never-pull",
        10,
        Obstacle("ErrImageNeverPull", "pull policy of Never", End.IMAGE_UNAVAILABLE, final=False),
    ),
    "an image name that is none is final at once": (
        "image-name",
        0,
        Obstacle("InvalidImageName", "must be lowercase", End.IMAGE_UNAVAILABLE, final=True),
    ),
    "a pod that no node takes is waited for": (
        "unschedulable",
        10,
        Obstacle("Unschedulable", "1 Insufficient cpu", End.START_TIMEOUT, final=False),
    ),
    "a variable from a ConfigMap that is not there is waited for": (
        "config-error",
        10,
        Obstacle("CreateContainerConfigError", 'configmap "absent" not found', End.START_TIMEOUT, final=False),
    ),
}


@pytest.mark.parametrize(("name", "seconds", "expected"), OBSTACLES.values(), ids=OBSTACLES.keys())
def test_what_keeps_an_agent_from_starting(name: str, seconds: float, expected: Obstacle) -> None:
    found = facts(name)
    obstacle = find_obstacle(found, prompt_missing=False, claim=None, now=after(found, seconds))
    assert obstacle is not None
    assert expected.message in obstacle.message
    assert replace(obstacle, message="") == replace(expected, message="")


def test_a_missing_prompt_is_named_although_the_kubelet_says_only_that_it_creates() -> None:
    found = facts("prompt-missing")
    obstacle = find_obstacle(found, prompt_missing=True, claim=None, now=after(found, 10))
    assert obstacle is not None
    assert obstacle.end is End.PROMPT_MISSING
    assert "spec.promptFrom" in obstacle.message


SAID = "(the workspace is claim hello-27d14272; kubectl describe pvc hello-27d14272 says what it waits for)"


@pytest.mark.parametrize(
    ("scheduler", "claim", "said"),
    [
        pytest.param(
            "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.",
            "hello-27d14272",
            True,
            id="a claim that is not bound is named",
        ),
        pytest.param(
            "0/1 nodes are available: 1 node(s) didn't find available persistent volumes to bind.",
            "hello-27d14272",
            True,
            id="a claim for which no volume is found is named",
        ),
        pytest.param(
            "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) had volume node affinity conflict.",
            "hello-27d14272",
            True,
            id="a claim whose volume lies elsewhere is named",
        ),
        pytest.param(
            "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate",
            "hello-27d14272",
            False,
            id="claims of devices are not the workspace",
        ),
        pytest.param(
            "0/1 nodes are available: 1 Insufficient ephemeral-storage.",
            "hello-27d14272",
            False,
            id="the node's own disk is not the workspace",
        ),
        pytest.param(
            "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.",
            None,
            False,
            id="a volume of the user's own has no workspace to name",
        ),
    ],
)
def test_a_workspace_that_may_keep_the_pod_from_its_node_is_named(
    scheduler: str, claim: str | None, said: bool
) -> None:
    found = replace(facts("unschedulable"), unschedulable=scheduler)
    obstacle = find_obstacle(found, prompt_missing=False, claim=claim, now=after(found, 10))
    assert obstacle is not None
    assert scheduler in obstacle.message
    assert (SAID in obstacle.message) is said
    assert (obstacle.reason, obstacle.final) == ("Unschedulable", False)


@pytest.mark.parametrize("name", ["prompt-missing", "running", "succeeded"])
def test_a_pod_that_merely_takes_its_time_has_no_obstacle(name: str) -> None:
    found = facts(name)
    assert find_obstacle(found, prompt_missing=False, claim=None, now=after(found, 1)) is None


def test_the_pulls_are_counted_from_scheduling_and_not_from_creation() -> None:
    found = replace(facts("image-pull"), created=datetime(2020, 1, 1, tzinfo=UTC))
    assert find_obstacle(
        found, prompt_missing=False, claim=None, now=after(found, PULLS_FAILED_AFTER.total_seconds() - 1)
    ) != (find_obstacle(found, prompt_missing=False, claim=None, now=after(found, PULLS_FAILED_AFTER.total_seconds())))


# ---- how a pod ended

ENDINGS = {
    "exit 0 is success": ("succeeded", Ending(Outcome.SUCCEEDED, End.COMPLETED, "finished its work", 0)),
    "another exit code fails with the agent's own words": (
        "failed",
        Ending(Outcome.FAILED, End.FAILED, "the agent exited with 3: no such file", 3),
    ),
    "too little memory is told with what to do": (
        "oom",
        Ending(Outcome.FAILED, End.OUT_OF_MEMORY, "raise spec.agent.resources.limits.memory", 137),
    ),
    "a program that is not in the image is named": (
        "no-command",
        Ending(Outcome.FAILED, End.FAILED, "/no/such/program: no such file or directory", 128),
    ),
    "an init container that fails is named": (
        "init-failed",
        Ending(Outcome.FAILED, End.FAILED, "init container fetch exited with 7: no route", 7),
    ),
    "an eviction is the cluster's doing": (
        "evicted",
        Ending(Outcome.DISRUPTED, End.EVICTED, "the pod was evicted: EvictionByEvictionAPI", 137),
    ),
    "a pod that somebody deleted was lost": (
        "deleted",
        Ending(Outcome.DISRUPTED, End.LOST_POD, "the pod was deleted while the agent ran", 137),
    ),
    "a pod that its node would not run is begun again": (
        "refused-by-node",
        Ending(Outcome.DISRUPTED, End.POD_REJECTED, "Predicate NodeAffinity failed", None),
    ),
}


@pytest.mark.parametrize(("name", "expected"), ENDINGS.values(), ids=ENDINGS.keys())
def test_how_a_pod_ended(name: str, expected: Ending) -> None:
    ending = diagnose(facts(name), stopped_by_us=False)
    assert expected.message in ending.message
    assert replace(ending, message="") == replace(expected, message="")


def test_a_pod_that_we_stopped_was_not_lost() -> None:
    ending = diagnose(facts("deleted"), stopped_by_us=True)
    assert (ending.outcome, ending.end) == (Outcome.FAILED, End.FAILED)


def test_a_kill_of_a_pod_that_nobody_deleted_is_a_failure() -> None:
    ending = diagnose(ended(137), stopped_by_us=False)
    assert (ending.end, ending.message) == (End.FAILED, "the agent was killed (SIGKILL)")


def test_an_agent_that_finished_while_its_pod_was_deleted_has_finished() -> None:
    assert diagnose(ended(0, deleting=True), stopped_by_us=False).end is End.COMPLETED


def test_an_agent_that_failed_by_itself_while_its_pod_was_deleted_has_failed() -> None:
    assert diagnose(ended(1, deleting=True), stopped_by_us=False).end is End.FAILED


def test_node_pressure_is_an_eviction() -> None:
    ending = diagnose(pod(phase="Failed", reason="Evicted", message="low on memory"), stopped_by_us=False)
    assert (ending.outcome, ending.end) == (Outcome.DISRUPTED, End.EVICTED)
    assert "low on memory" in ending.message


def test_words_of_an_agent_are_one_short_line() -> None:
    message = diagnose(ended(1, message="a\n\n" + "b" * 500), stopped_by_us=False).message
    assert "\n" not in message
    assert len(message) < 240


# ---- what is read off a pod


def test_a_running_pod_is_read_whole() -> None:
    found = facts("running")
    assert (found.namespace, found.name, found.attempt, found.lane) == ("team-a", "running", 1, ("team-a", "local"))
    assert (found.run_uid, found.node) == ("0d4f7c1e-2f5f-4b53-9f0e-6f2a4e1b7c3d", "laneway-node")
    assert (found.phase, found.ready, found.deleting, found.finished) == ("Running", True, False, False)
    assert found.started == datetime(2026, 11, 21, 6, 30, 40, tzinfo=UTC)
    assert found.agent is None


def test_a_stopping_pod_is_deleting_and_not_finished() -> None:
    found = facts("stopping")
    assert (found.deleting, found.finished) == (True, False)


def test_a_finished_pod_tells_when_it_ended_and_what_it_said() -> None:
    found = facts("succeeded")
    assert found.finished
    assert found.agent is not None
    assert (found.agent.exit_code, found.agent.message) == (0, "Paris.")
    assert found.started is not None
    assert found.ended is not None
    assert found.ended >= found.started


def test_an_agent_that_never_ran_has_no_start_time() -> None:
    """The kubelet writes 1970 for it."""
    assert raw("no-command")["status"]["containerStatuses"][0]["state"]["terminated"]["startedAt"].startswith("1970")
    assert facts("no-command").started is None


@pytest.mark.parametrize("change", [{"labels": None}, {"labels": {"laneway.dev/run-uid": "u"}}], ids=["none", "half"])
def test_a_pod_without_our_labels_is_not_ours(change: dict[str, Any]) -> None:
    stranger = raw("running")
    stranger["metadata"] |= change
    assert read_pod(stranger) is None


def test_a_pod_that_was_just_made_has_no_status_yet() -> None:
    fresh = raw("running")
    del fresh["status"]
    fresh["spec"] = {}
    found = read_pod(fresh)
    assert found is not None
    assert (found.phase, found.started, found.ready, found.node) == ("Pending", None, None, "")


def test_the_builders_pods_are_like_the_kubelets() -> None:
    """Tables that use builders say something about real pods only if both have the same facts."""
    assert running().finished == facts("running").finished
    assert (ended(0).phase, ended(0).finished) == (facts("succeeded").phase, facts("succeeded").finished)
