"""What an installed chart says of itself, and the rules that its namespaces are under."""

from __future__ import annotations

import pytest

from e2e.commands import kubectl_json, run
from e2e.conftest import Demo
from e2e.release import SYSTEM
from e2e.stage import Stage

ENFORCE = "pod-security.kubernetes.io/enforce"


@pytest.mark.usefixtures("whole_release")
def test_helm_test_asks_the_installation_and_says_what_is_well() -> None:
    said = run("helm", "test", "laneway", "--namespace", SYSTEM, "--logs", "--timeout=120s", seconds=150)
    assert "Phase:          Succeeded" in said
    assert "ok: agentruns can be listed in all namespaces" in said
    assert "ok: modellanes can be listed in all namespaces" in said
    assert said.count("ok: http") == 3
    assert "no: " not in said


async def test_every_namespace_but_the_cluster_s_own_enforces_restricted_pods(demo: Demo, stage: Stage) -> None:
    free = {
        one["metadata"]["name"]
        for one in kubectl_json("get", "namespaces")["items"]
        if one["metadata"].get("labels", {}).get(ENFORCE) != "restricted"
    }
    assert {name for name in free if not name.startswith("kube-")} == set()
