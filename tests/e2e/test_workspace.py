"""A workspace that is kept, on a real node with real volumes: through a pause without a pod, until its run goes, and one that never comes."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator

import pytest

from e2e import agents
from e2e.commands import kubectl, until
from e2e.scripted import Scripted
from e2e.stage import SLOW_STOP, Stage, condition
from laneway.api.names import workspace_name
from laneway.kube.errors import NotFound
from laneway.kube.resources import CLAIMS, PODS, JsonObject, Resource
from support.witness import pods_of, witness

VOLUMES = Resource("", "v1", "persistentvolumes", "PersistentVolume", namespaced=False)
CLASSES = Resource("storage.k8s.io", "v1", "storageclasses", "StorageClass", namespaced=False)
PAUSE_SECONDS = float(os.environ.get("LANEWAY_TEST_PAUSE_SECONDS", "2"))
"""How long a run stays paused; docs/reliability.md has what was seen with 600."""
AGENT: JsonObject = {**agents.program("keep_notes", CALLS="2"), "workspace": {"size": "16Mi"}}


def claim_of(run: JsonObject) -> str:
    """The name of the claim of a run's workspace."""
    return workspace_name(run=run["metadata"]["name"], uid=run["metadata"]["uid"])


async def gone(stage: Stage, resource: Resource, namespace: str | None, name: str) -> None:
    """Wait until an object is gone."""

    async def look() -> bool:
        try:
            await stage.kube.get(resource, namespace, name)
        except NotFound:
            return True
        return False

    await until(look, seconds=2 * SLOW_STOP, what=f"{resource.kind} {name} gone")


@pytest.mark.row("S4.28", "B16", "B22", "C21")
async def test_a_run_that_paused_at_a_limit_goes_on_with_the_files_of_the_attempt_before(
    stage: Stage, scripted: Scripted, test_image: str
) -> None:
    await stage.add_lane({"timeouts": {"holdSeconds": 0}})
    async with witness(stage.kube, PODS, stage.namespace) as pods:
        run = await stage.add_run({"agent": AGENT, "limits": {"turns": 1, "onReached": "Pause"}})
        await stage.says("Admitted", "LimitPaused", seconds=60)
        await stage.pods_gone(run)
        claim = await stage.kube.get(CLAIMS, stage.namespace, claim_of(run))
        before = (await stage.read())["status"]["activeSeconds"]
        over = time.monotonic() + PAUSE_SECONDS
        await until(lambda: time.monotonic() > over, seconds=PAUSE_SECONDS + 30, what="the pause is over")
        assert len(pods_of(pods, run["metadata"]["uid"])) == 1, "a pause has no pod"
        waiting = await stage.read()
        assert waiting["status"]["activeSeconds"] == before, "a pause costs no time"
        assert condition(waiting, "Admitted")["message"] == "1 of 1 turns used; raise spec.limits.turns to continue"
        await stage.holds_no_slot()
        await stage.change({"limits": {"turns": 3}})
        [ended] = await stage.succeeded()
        assert len(pods_of(pods, run["metadata"]["uid"])) == 2
    status = ended["status"]
    assert status["result"]["summary"].split("\n") == ["attempt 1", "attempt 2"], (
        "the second has found what the first wrote"
    )
    assert [one["outcome"] for one in status["attempts"]] == ["Limit", "Succeeded"]
    assert (status["usage"]["turns"], status["usage"]["complete"]) == (3, True)
    kept = await stage.kube.get(CLAIMS, stage.namespace, claim_of(run))
    assert kept["metadata"]["uid"] == claim["metadata"]["uid"]
    await stage.delete_run()
    await gone(stage, CLAIMS, stage.namespace, kept["metadata"]["name"])
    await gone(stage, VOLUMES, None, kept["spec"]["volumeName"])


@pytest.fixture
async def no_volumes(stage: Stage) -> AsyncIterator[dict[str, str]]:
    """Names of storage classes that give no volume: for none are there, for the driver does not answer, for there is no such class."""
    found = {what: f"{stage.namespace}-{what}" for what in ("empty", "silent", "unknown")}
    for what, provisioner in (("empty", "kubernetes.io/no-provisioner"), ("silent", "nobody.example.com/disk")):
        body = {
            "metadata": {"name": found[what]},
            "provisioner": provisioner,
            "volumeBindingMode": "WaitForFirstConsumer",
        }
        await stage.kube.create(CLASSES, None, body)
    yield found
    for what in ("empty", "silent"):
        await stage.kube.delete(CLASSES, None, found[what])


async def test_a_workspace_that_gets_no_volume_is_named_with_where_to_look(
    stage: Stage, scripted: Scripted, no_volumes: dict[str, str]
) -> None:
    await stage.add_lane()
    runs = {}
    for what, name in no_volumes.items():
        agent = {**agents.shell(":"), "workspace": {"size": "16Mi", "storageClassName": name}}
        runs[what] = await stage.add_run({"agent": agent, "timeouts": {"startSeconds": 30}}, name=what)
    for what, run in runs.items():
        said = await stage.says("Reconciling", "Unschedulable", name=what)
        claim = claim_of(run)
        assert f"(the workspace is claim {claim}; kubectl describe pvc {claim} says" in said["message"]
    for what, run in zip(runs, await stage.finished(*runs), strict=True):
        done = condition(run, "Finished")
        assert done["reason"] == "StartTimeout"
        assert f"kubectl describe pvc {claim_of(run)} says" in done["message"]
        described = kubectl("describe", "pvc", "--namespace", stage.namespace, claim_of(run))
        assert WHY[what] in described, "what the user is pointed to is there, also after the end"


WHY = {
    "empty": "WaitForPodScheduled",
    "silent": "nobody.example.com/disk",
    "unknown": "not found",
}
"""What the claim's own Events say."""
