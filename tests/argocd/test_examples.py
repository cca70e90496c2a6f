"""The patterns of examples/argocd, as they stand there except for the addresses: the repository, the model server and the namespace."""

from __future__ import annotations

from pathlib import Path

import yaml

import manifests
from argocd.application import applied
from argocd.argo import ArgoCD
from argocd.repository import Repository
from integration.operators import Stage, condition
from laneway.kube.resources import MODEL_LANES, JsonObject
from support.standin import Part

EXAMPLES = Path(__file__).parents[2] / "examples" / "argocd"
AGENT = {"agent": {"preset": "generic", "image": "agent:test"}}
"""The played node runs no image of ours."""
LANE = {"access": "Direct", "endpoint": {"url": "http://ollama:11434"}}


def objects(pattern: str) -> list[JsonObject]:
    """What a pattern has in Git."""
    files = sorted(file for file in (EXAMPLES / pattern).glob("*.yaml") if file.name != "application.yaml")
    found = [yaml.safe_load(file.read_text()) for file in files]
    return [manifests.merged(one, {"spec": AGENT if one["kind"] == "AgentRun" else LANE}) for one in found]


def spec_of(pattern: str, repository: Repository, namespace: str) -> JsonObject:
    """The Application of a pattern, with the test's addresses."""
    spec: JsonObject = yaml.safe_load((EXAMPLES / pattern / "application.yaml").read_text())["spec"]
    assert spec["source"]["path"] == pattern
    source = {"repoURL": repository.url, "path": "."}
    return manifests.merged(spec, {"source": source, "destination": {"namespace": namespace}})


async def test_a_named_run_begins_when_its_lane_is_ready_and_runs_once(
    argo: ArgoCD, stage: Stage, repository: Repository
) -> None:
    stage.start()
    lane, run = objects("named-run")
    repository.commit(lane, run)
    spec = spec_of("named-run", repository, stage.namespace)
    async with applied(argo, stage.kube, stage.namespace, spec) as app:
        name = run["metadata"]["name"]
        await stage.runs.until(lambda: stage.runs.of(name), seconds=60)
        [ended] = await stage.finished(stage.runs.of(name)[-1].object)
        await app.says("Synced", "Healthy")
        reasons = {condition(event.object, "Admitted").get("reason") for event in stage.runs.of(name)}
        assert not reasons & {"LaneNotFound", "LaneNotReady"}, "the wave of the lanes was over"
        await app.sync()
        await app.refresh()
        assert len((await stage.run(name))["status"]["attempts"]) == 1
        assert (await stage.run(name))["metadata"]["uid"] == ended["metadata"]["uid"]


async def test_a_suspended_lane_holds_up_the_wave_of_the_runs_until_somebody_resumes_it(
    argo: ArgoCD, stage: Stage, repository: Repository
) -> None:
    stage.start()
    lane, run = objects("named-run")
    repository.commit(manifests.merged(lane, {"spec": {"suspend": True}}), run)
    spec = spec_of("named-run", repository, stage.namespace)
    async with applied(argo, stage.kube, stage.namespace, spec) as app:
        await app.healthy_as("ModelLane", {"local": ("Suspended", "SuspendedByUser")})
        await app.until(lambda: app.verdict.operation == "Running")
        await app.refresh()
        assert stage.runs.of(run["metadata"]["name"]) == []
        await stage.kube.merge_patch(MODEL_LANES, stage.namespace, "local", {"spec": {"suspend": False}})
        await stage.runs.until(lambda: stage.runs.of(run["metadata"]["name"]), seconds=60)
        await app.until(lambda: app.verdict.operation == "Succeeded")


async def test_a_run_after_each_sync_is_part_of_it_and_goes_when_it_succeeded(
    argo: ArgoCD, stage: Stage, repository: Repository
) -> None:
    stage.start()
    await stage.add_lane(name="local")
    stage.node.default = Part.held()
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "service"}, "data": {"version": "1"}}
    repository.commit(config, *objects("run-after-sync"))
    spec = spec_of("run-after-sync", repository, stage.namespace)
    async with applied(argo, stage.kube, stage.namespace, spec) as app:
        await stage.runs.until(lambda: stage.runs.events, seconds=60)
        first = stage.runs.events[-1].object
        assert first["metadata"]["name"].startswith("review-")
        await stage.has_pod(first, phase="Running")
        await app.refresh()
        assert app.verdict.operation == "Running"
        stage.node.default.released.set()
        await stage.runs.until(lambda: stage.runs.of(first["metadata"]["name"])[-1].type == "DELETED", seconds=60)
        await app.until(lambda: app.verdict.operation == "Succeeded")
        await app.says("Synced", "Healthy")
        stage.node.default = Part(exit_code=3)
        config["data"] = {"version": "2"}
        repository.commit(config, *objects("run-after-sync"))
        await app.refresh()
        await app.until(lambda: app.verdict.operation == "Failed")
        [left] = {event.object["metadata"]["name"] for event in stage.runs.events} - {first["metadata"]["name"]}
        assert condition(await stage.run(left), "Finished")["reason"] == "Failed"
        await app.refresh()
        assert app.verdict.operation == "Failed"
        made = {event.object["metadata"]["name"] for event in stage.runs.events}
        assert made == {first["metadata"]["name"], left}, "it is not tried again: another run would pay"
        assert app.verdict.sync == "Synced"


async def test_runs_that_others_make_are_left_alone_where_git_holds_the_lanes(
    argo: ArgoCD, stage: Stage, repository: Repository
) -> None:
    stage.start()
    repository.commit(*objects("lanes-only"))
    spec = spec_of("lanes-only", repository, stage.namespace)
    async with applied(argo, stage.kube, stage.namespace, spec) as app:
        await app.says("Synced", "Healthy")
        run = await stage.add_run("by-hand", {"models": [{"lane": "local"}]})
        [ended] = await stage.finished(run)
        before = app.count
        await app.sync("--prune")
        await app.refresh()
        assert {(one.sync, one.health) for one in app.verdicts(since=before)} == {("Synced", "Healthy")}
        assert (await stage.run("by-hand"))["status"] == ended["status"]
