"""What a run keeps through all its attempts."""

from __future__ import annotations

from typing import Any

import pytest

from laneway.controller.pods.children import build_claim, build_prompt, claim_name
from support.builders import run


def claim(**workspace: Any) -> dict[str, Any]:
    the_run = run(spec={"agent": {"workspace": workspace}})
    assert the_run.spec.agent.workspace is not None
    return build_claim(the_run, the_run.spec.agent.workspace)


@pytest.mark.parametrize(
    ("workspace", "spec"),
    [
        pytest.param(
            {"size": "10Gi"},
            {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Gi"}}},
            id="the cluster chooses the class when the run names none",
        ),
        pytest.param(
            {"size": "1.5Ti", "storageClassName": "fast"},
            {
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1.5Ti"}},
                "storageClassName": "fast",
            },
            id="a class that the run names is asked for",
        ),
        pytest.param(
            {"size": 1073741824},
            {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1073741824"}}},
            id="a size without quotes is one in bytes",
        ),
    ],
)
def test_the_claim_asks_for_what_the_run_asks_for(workspace: dict[str, Any], spec: dict[str, Any]) -> None:
    assert claim(**workspace)["spec"] == spec


def test_prompt_and_claim_go_with_their_run() -> None:
    for child in (claim(size="1Gi"), build_prompt(run())):
        meta = child["metadata"]
        assert meta["namespace"] == "team-a"
        assert meta["labels"] == {
            "laneway.dev/run": "hello",
            "laneway.dev/run-uid": "hello-0123456789",
            "app.kubernetes.io/managed-by": "laneway",
        }
        [owner] = meta["ownerReferences"]
        assert (owner["kind"], owner["name"], owner["uid"]) == ("AgentRun", "hello", "hello-0123456789")
        assert (owner["controller"], owner["blockOwnerDeletion"]) == (True, False)


def test_the_claim_has_the_name_that_the_pods_use() -> None:
    assert claim(size="1Gi")["metadata"]["name"] == claim_name(run(spec={"agent": {"workspace": {"size": "1Gi"}}}))
    assert claim_name(run()) is None
