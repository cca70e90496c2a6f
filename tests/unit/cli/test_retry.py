"""What another try of a run takes from it, and what not."""

from __future__ import annotations

import pytest

import manifests
from laneway.cli.retry import new_run, retry_name


@pytest.mark.parametrize(
    ("name", "number", "expected"),
    [
        pytest.param("hello", 1, "hello-retry-1", id="the first try"),
        pytest.param("hello-retry-1", 2, "hello-retry-2", id="a try of a try counts on"),
        pytest.param("retry-1", 1, "retry-1-retry-1", id="a run that is called so itself keeps its name"),
        pytest.param("a" * 52, 10, f"{'a' * 43}-retry-10", id="a long name is cut to 52 characters"),
        pytest.param(f"{'a' * 43}-b{'c' * 7}", 1, f"{'a' * 43}-retry-1", id="no dash is left at the cut"),
    ],
)
def test_the_name_of_a_try(name: str, number: int, expected: str) -> None:
    assert retry_name(name, number) == expected
    assert len(expected) <= 52


def test_another_try_has_the_work_and_nothing_of_what_became_of_it() -> None:
    labels = {
        "team": "a",
        "laneway.dev/retry-of": "first",
        "argocd.argoproj.io/instance": "shop",
        "app.kubernetes.io/instance": "shop",
        "app.kubernetes.io/managed-by": "Helm",
        "helm.sh/chart": "job-1",
        "kustomize.toolkit.fluxcd.io/name": "jobs",
    }
    given = {"limits": {"turns": 5}, "suspend": True, "cancel": True, "activeModel": {"lane": "local"}}
    old = manifests.run(
        given,
        namespace="team-a",
        uid="u",
        resourceVersion="7",
        labels=labels,
        annotations={"argocd.argoproj.io/tracking-id": "shop:x"},
        ownerReferences=[{"kind": "CronJob"}],
        managedFields=[{}],
    )
    old["status"] = {"phase": "Failed"}
    assert new_run(old, {"name": "hello-retry-1"}) == {
        "apiVersion": "laneway.dev/v1alpha1",
        "kind": "AgentRun",
        "metadata": {
            "name": "hello-retry-1",
            "namespace": "team-a",
            "labels": {"team": "a", "laneway.dev/retry-of": "hello"},
        },
        "spec": {
            "prompt": "What is the capital of France?",
            "models": [{"lane": "local"}],
            "limits": {"turns": 5},
        },
    }
    assert old["spec"]["cancel"] is True
