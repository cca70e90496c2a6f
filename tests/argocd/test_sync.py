"""A run in Git through its whole life, by each way that Argo CD has to apply it: verdicts are those of ``Application.status``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

import manifests
from argocd.application import Application, application
from argocd.argo import ArgoCD
from argocd.repository import Repository
from integration.agents import call, start_both
from integration.operators import Stage, condition
from integration.walked import AGENT, CHAIN, OVERLOADED, Walked, arrive, restored_events
from laneway.kube.resources import AGENT_RUNS, JsonObject
from modelserver import ModelServer
from support.standin import Part
from support.witness import pods_of

TIMES = 10
PRICED = {"name": "smollm2", "pricing": {"inputUSDPerMillion": "10", "outputUSDPerMillion": "30"}}
RUN = manifests.run({"agent": AGENT, "models": CHAIN, "priority": 1})
MERGING = [
    pytest.param((), id="client-side apply"),
    pytest.param(("ServerSideApply=true",), id="server-side apply"),
]
REPLACE = ("Replace=true",)


def lanes(server: ModelServer) -> list[manifests.Manifest]:
    """The lanes of the chain, as a person has them in Git."""
    spec = {"endpoint": {"url": server.url, "server": "Other"}, "models": [PRICED], "probe": {"periodSeconds": 1}}
    return [manifests.lane(spec, name=step["lane"]) for step in CHAIN]


@dataclass(frozen=True)
class Bill:
    """What a run has cost, as its status and its model server know it."""

    usage: Any
    attempts: int
    pods: int
    calls: int


def bill(stage: Stage, server: ModelServer, run: JsonObject) -> Bill:
    uid = run["metadata"]["uid"]
    status = stage.last(uid)["status"]
    return Bill(status.get("usage"), len(status["attempts"]), len(pods_of(stage.pods, uid)), len(server.requests))


async def bring(stage: Stage, server: ModelServer, repository: Repository, app: Application) -> Walked:
    """Lanes and a run from Git, and the run at work on its second step."""
    await start_both(stage)
    server.play([OVERLOADED])
    part = stage.node.play("hello", Part.held())
    repository.commit(*lanes(server), RUN)
    await app.refresh()
    walked = await arrive(stage, part)
    await app.says("Synced", "Progressing")
    return walked


async def edited_by_hand_and_healed(stage: Stage, app: Application) -> None:
    """A person changes what Git has; Argo CD sees it and puts it back."""
    before = app.count
    await stage.change("hello", {"priority": 7})

    def healed() -> bool:
        return stage.runs.of("hello")[-1].object["spec"]["priority"] == 1

    await stage.runs.until(healed, seconds=60)
    await app.until(lambda: "OutOfSync" in [one.sync for one in app.verdicts(since=before)])
    await app.until(lambda: app.verdict.sync == "Synced")


async def synced_again_and_again(app: Application, *, health: str) -> None:
    """However often it is applied, nothing differs and health does not change."""
    before = app.count
    for _ in range(TIMES):
        await app.sync()
        await app.refresh()
    seen = app.verdicts(since=before)
    assert len(seen) >= TIMES
    assert {(one.sync, one.health) for one in seen} == {("Synced", health)}
    assert not {one.operation for one in seen} & {"Failed", "Error"}


async def ends(stage: Stage, walked: Walked) -> JsonObject:
    """The agent calls its model once more and ends, in the pod that it had."""
    assert (await call(stage, walked.pod))[0] == 200
    walked.part.released.set()
    [ended] = await stage.finished(walked.run)
    assert ended["metadata"]["uid"] == walked.run["metadata"]["uid"]
    assert condition(ended, "Finished")["reason"] == "Completed"
    return ended


async def pruned(stage: Stage, server: ModelServer, repository: Repository, app: Application, run: JsonObject) -> None:
    """The run is taken out of Git, and so out of the cluster, with its pod; the lanes stay."""
    repository.commit(*lanes(server))
    await app.refresh()
    await stage.runs.until(lambda: stage.runs.of("hello")[-1].type == "DELETED", seconds=60)
    await app.says("Synced", "Healthy")
    assert app.health_of("AgentRun", "hello") == ("", "")
    assert {app.health_of("ModelLane", step["lane"])[0] for step in CHAIN} == {"Healthy"}
    pods = [pod for pod in stage.pods.objects().values() if pod["metadata"]["labels"]["laneway.dev/run"] == "hello"]
    for pod in pods:
        await stage.gone(pod)
    assert run["metadata"]["uid"] == stage.runs.of("hello")[-1].object["metadata"]["uid"]


@pytest.mark.row("S4.3")
@pytest.mark.parametrize("options", MERGING)
async def test_a_run_walks_is_healed_synced_again_and_again_ends_once_and_is_pruned(
    argo: ArgoCD, stage: Stage, server: ModelServer, repository: Repository, options: tuple[str, ...]
) -> None:
    repository.commit()
    async with application(argo, stage.kube, stage.namespace, repository, *options) as app:
        walked = await bring(stage, server, repository, app)
        await edited_by_hand_and_healed(stage, app)
        await synced_again_and_again(app, health="Progressing")
        ended = await ends(stage, walked)
        assert ended["spec"]["activeModel"] == walked.active_model
        await app.says("Synced", "Healthy")
        paid = bill(stage, server, ended)
        assert (paid.usage["turns"], paid.attempts, paid.pods) == (2, 1, 1)
        assert paid.usage["costUSD"] != "0.00"
        await synced_again_and_again(app, health="Healthy")
        assert bill(stage, server, ended) == paid
        assert (await stage.run())["spec"]["activeModel"] == walked.active_model
        assert await restored_events(stage) == 0
        await pruned(stage, server, repository, app, ended)


@pytest.mark.row("S4.3")
async def test_replace_takes_the_active_model_away_and_the_run_goes_on_and_ends_once(
    argo: ArgoCD, stage: Stage, server: ModelServer, repository: Repository
) -> None:
    repository.commit()
    async with application(argo, stage.kube, stage.namespace, repository, *REPLACE) as app:
        walked = await bring(stage, server, repository, app)
        await edited_by_hand_and_healed(stage, app)
        await stage.until(lambda: active(stage), answer=walked.active_model)
        await synced_again_and_again(app, health="Progressing")
        assert 1 <= await restored_events(stage) <= 3
        said = condition(stage.last(walked.run["metadata"]["uid"]), "Admitted")["message"]
        assert "spec.activeModel was written over 3 times in 10 minutes" in said
        ended = await ends(stage, walked)
        await app.says("Synced", "Healthy")
        paid = bill(stage, server, ended)
        assert (paid.usage["turns"], paid.attempts, paid.pods) == (2, 1, 1)
        await synced_again_and_again(app, health="Healthy")
        assert bill(stage, server, ended) == paid
        await pruned(stage, server, repository, app, ended)


async def active(stage: Stage) -> Any:
    return (await stage.run())["spec"].get("activeModel")


async def test_force_with_replace_makes_the_run_anew_and_it_pays_again(
    argo: ArgoCD, stage: Stage, server: ModelServer, repository: Repository
) -> None:
    repository.commit()
    async with application(argo, stage.kube, stage.namespace, repository) as app:
        walked = await bring(stage, server, repository, app)
        ended = await ends(stage, walked)
        await app.says("Synced", "Healthy")
        part = stage.node.play("hello", Part.held())
        await app.sync("--force", "--replace")
        await stage.runs.until(lambda: stage.runs.of("hello")[-1].object["metadata"]["uid"] != ended["metadata"]["uid"])
        anew = await stage.run()
        assert "activeModel" not in anew["spec"]
        pod = await stage.has_pod(anew, phase="Running")
        assert (await call(stage, pod))[0] == 200
        part.released.set()
        [again] = await stage.finished(anew)
        assert again["status"]["usage"]["turns"] == 1


async def test_an_edit_of_a_finished_run_fails_the_sync_with_a_sentence_and_changes_nothing(
    argo: ArgoCD, stage: Stage, server: ModelServer, repository: Repository
) -> None:
    repository.commit()
    async with application(argo, stage.kube, stage.namespace, repository) as app:
        ended = await ends(stage, await bring(stage, server, repository, app))
        await app.says("Synced", "Healthy")
        paid = bill(stage, server, ended)
        other = manifests.merged(RUN, {"spec": {"prompt": "And of Spain?"}})
        repository.commit(*lanes(server), other)
        await app.refresh()

        def refused() -> list[str]:
            results = (app.object["status"].get("operationState") or {}).get("syncResult", {}).get("resources") or []
            return [one["message"] for one in results if one["kind"] == "AgentRun" and one["status"] == "SyncFailed"]

        await app.until(lambda: app.verdict.sync == "OutOfSync" and refused(), seconds=90)
        assert "prompt cannot change after the first attempt; create a new run" in refused()[0]
        assert app.verdict.health == "Healthy"
        assert bill(stage, server, ended) == paid


LISTS: list[tuple[str, manifests.Manifest]] = [
    ("ModelLane", {"shares": [{"namespace": "team-a"}], "models": [PRICED]}),
    ("ModelLane", {"spend": [{"namespace": "team-a", "period": "Month", "limitUSD": 5}], "models": [PRICED]}),
    (
        "AgentRun",
        {
            "suspend": True,
            "agent": {
                "preset": "generic",
                "image": "agent:test",
                "resources": {"requests": {"cpu": "1000m"}},
                "pod": {
                    "tolerations": [{"key": "gpu"}],
                    "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
                    "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                },
            },
        },
    ),
]


@pytest.mark.parametrize("options", [*MERGING, pytest.param(REPLACE, id="replace")])
async def test_what_the_api_server_fills_in_is_no_difference(
    argo: ArgoCD, stage: Stage, repository: Repository, options: tuple[str, ...]
) -> None:
    objects = [
        (manifests.lane if kind == "ModelLane" else manifests.run)(spec, name=f"object-{number}")
        for number, (kind, spec) in enumerate(LISTS)
    ]
    repository.commit(*objects)
    async with application(argo, stage.kube, stage.namespace, repository, *options) as app:
        await app.until(lambda: app.verdict.operation == "Succeeded")
        await app.until(lambda: app.verdict.sync == "Synced")
        before = app.count
        for _ in range(3):
            await app.refresh()
            await app.sync()
        assert {one.sync for one in app.verdicts(since=before)} == {"Synced"}
        found = await stage.kube.list(AGENT_RUNS, namespace=stage.namespace)
        assert [one["metadata"]["name"] for one in found.items] == ["object-2"]
