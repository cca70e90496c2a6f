"""What the mirrors keep of an object is all that is read of it, and no more."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from laneway.gateway.cluster.objects import Run, read_pod, read_run, trim_pod, trim_run
from laneway.kube.watch import without_managers

MANAGERS = [{"manager": "laneway-status", "fieldsV1": {"f:status": {}}}]
RUN: dict[str, Any] = {
    "apiVersion": "laneway.dev/v1alpha1",
    "kind": "AgentRun",
    "metadata": {
        "namespace": "team-a",
        "name": "hello",
        "uid": "uid-1",
        "resourceVersion": "7",
        "generation": 3,
        "managedFields": MANAGERS,
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
    },
    "spec": {
        "prompt": "a secret plan",
        "models": [{"lane": "local"}],
        "caller": "ci",
        "priority": 5,
        "onTransientError": "Skip",
        "limits": {"costUSD": "2.50", "turns": 10},
    },
    "status": {
        "attempt": 2,
        "step": {"namespace": "models", "lane": "local", "model": "small"},
        "chain": [{"namespace": "models", "lane": "local", "model": "small", "causes": ["APITimeout"]}],
        "conditions": [{"type": "Finished", "status": "False", "reason": "Running"}],
        "attempts": [
            {"id": 2, "step": {"namespace": "models", "lane": "local", "model": "small"}, "usage": {"turns": 1}}
        ],
        "usage": {"turns": 1, "totalTokens": 40, "costUSD": "0.10"},
        "lastActivityTime": "2026-03-01T12:00:00Z",
        "result": {"summary": "words"},
        "fallbackHistory": [],
    },
}
POD: dict[str, Any] = {
    "metadata": {
        "namespace": "team-a",
        "name": "hello-1",
        "uid": "pod-1",
        "resourceVersion": "9",
        "labels": {"laneway.dev/run": "hello", "laneway.dev/run-uid": "uid-1", "laneway.dev/attempt": "2"},
        "managedFields": MANAGERS,
    },
    "spec": {"containers": [{"name": "agent", "env": [{"name": "LANEWAY_TOKEN", "value": "lw1"}]}]},
    "status": {"phase": "Running", "podIPs": [{"ip": "10.0.0.7"}, {"ip": "fd00::7"}], "containerStatuses": []},
}


def test_a_trimmed_run_reads_as_the_whole_one() -> None:
    assert read_run(trim_run(RUN)) == read_run(RUN) is not None


def test_of_a_run_neither_prompt_nor_result_nor_who_manages_it_is_kept() -> None:
    kept = trim_run(RUN)
    assert kept.keys() == {"metadata", "spec", "status"}
    assert not {"prompt", "models"} & kept["spec"].keys()
    assert "result" not in kept["status"]
    assert not {"managedFields", "annotations"} & kept["metadata"].keys()


def ended(usage: dict[str, Any]) -> dict[str, Any]:
    attempts = [{**RUN["status"]["attempts"][0], "endTime": "2026-03-01T12:00:00Z", "usage": usage}]
    end = {"type": "Finished", "status": "True", "reason": "Completed"}
    return {**RUN, "status": {**RUN["status"], "attempts": attempts, "conditions": [end]}}


def test_of_a_run_that_has_ended_only_what_refuses_a_late_call_is_kept() -> None:
    run = read_run(ended({"turns": 1, "source": "Gateway"}))
    assert run == Run("team-a", "hello", "uid-1", 7, attempt=2, finished=True, lane=None, model=None, generation=3)
    assert run.settled


def test_a_run_that_has_ended_while_the_gateway_was_away_is_not_settled() -> None:
    run = read_run(ended({"turns": 1, "complete": False}))
    assert run is not None
    assert not run.settled
    assert run.recorded is not None
    assert run.limits.turns == 10


@pytest.mark.parametrize("part", ["spec", "status"])
def test_a_run_without_a_part_can_be_trimmed_and_read(part: str) -> None:
    run = {name: value for name, value in RUN.items() if name != part}
    assert read_run(trim_run(run)) == read_run(run) is not None


def test_a_trimmed_pod_reads_as_the_whole_one_and_holds_no_token() -> None:
    assert read_pod(trim_pod(POD)) == read_pod(POD) is not None
    assert "lw1" not in str(trim_pod(POD))


def test_by_default_all_is_kept_but_who_manages_it() -> None:
    kept = without_managers(copy.deepcopy(RUN))
    assert kept == {
        **RUN,
        "metadata": {name: value for name, value in RUN["metadata"].items() if name != "managedFields"},
    }
