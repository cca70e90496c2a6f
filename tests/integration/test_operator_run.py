"""One run from apply to its end, with a real operator process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from integration.conftest import Cluster
from integration.operators import Stage, condition, silence, staged
from support.witness import status_writes

from laneway.kube.client import Kube

CONDITIONS = {"Admitted", "Finished", "Succeeded", "Reconciling", "Stalled"}


@pytest.fixture
async def stage(cluster: Cluster, kube: Kube, namespace: str, tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(kube, kubeconfig=cluster.kubeconfig, namespace=namespace, folder=tmp_path) as stage:
        yield stage


async def test_a_run_goes_from_apply_to_its_result(stage: Stage) -> None:
    await stage.add_lane()
    stage.start()
    run = await stage.add_run()
    [ended] = await stage.finished(run)
    assert condition(ended, "Finished")["reason"] == "Completed"
    assert condition(ended, "Succeeded")["status"] == "True"
    assert ended["status"]["result"] == {"summary": "Paris.", "exitCode": 0}
    first = next(event.object for event in stage.runs.of("hello") if event.object.get("status"))
    assert {one["type"] for one in first["status"]["conditions"]} == CONDITIONS
    assert status_writes(stage.runs, "hello") <= 8
    assert await silence(stage.runs, seconds=3) == 0
