"""Health of runs and lanes at each stage, with the real operator, as the Application has it."""

from __future__ import annotations

import manifests
from argocd.application import application
from argocd.argo import ArgoCD
from argocd.repository import Repository
from argocd.test_sync import lanes
from integration.agents import call, start_both
from integration.operators import Stage
from integration.walked import AGENT
from modelserver import ModelServer, Step
from support.standin import Part

DIRECT = {"access": "Direct", "capacity": {"runs": 4}}
REFUSED = Step(status=429, headers={"Retry-After": "3600"})


def run(name: str, **spec: object) -> manifests.Manifest:
    return manifests.run({"agent": AGENT, "models": [{"lane": "direct"}], **spec}, name=name)


async def test_each_stage_of_a_run_has_its_health(
    argo: ArgoCD, stage: Stage, server: ModelServer, repository: Repository
) -> None:
    await start_both(stage)
    server.play([REFUSED])
    part = stage.node.play("rests", Part.held(exit_code=1))
    for name in ("works", "holder"):
        stage.node.play(name, Part.held())
    stage.node.play("failed", Part(exit_code=3))
    stage.node.play("over", Part(runs_seconds=30))
    [metered, _] = lanes(server)
    repository.commit(
        metered,
        manifests.lane(DIRECT, name="direct"),
        manifests.lane({"access": "Direct", "capacity": {"runs": 1}}, name="narrow"),
        run("works"),
        run("holder", models=[{"lane": "narrow"}], priority=1),
        run("queued", models=[{"lane": "narrow"}]),
        run("suspended", suspend=True),
        run("done"),
        run("failed"),
        run("stopped", cancel=True),
        run("over", limits={"activeSeconds": 1, "onReached": "Pause"}),
        run("typo", models=[{"lane": "dirct"}]),
        run("rests", models=[{"lane": "first"}]),
    )
    async with application(argo, stage.kube, stage.namespace, repository) as app:
        await stage.runs.until(lambda: stage.runs.of("rests"), seconds=60)
        pod = await stage.has_pod(stage.runs.of("rests")[-1].object, phase="Running")
        assert (await call(stage, pod))[0] == 429
        part.released.set()
        await app.healthy_as(
            "AgentRun",
            {
                "works": ("Progressing", "Running: "),
                "holder": ("Progressing", "Running: "),
                "queued": ("Progressing", "WaitingForSlot: "),
                "suspended": ("Suspended", "Suspended: "),
                "done": ("Healthy", "Completed"),
                "failed": ("Degraded", "Failed: "),
                "stopped": ("Degraded", "Cancelled: "),
                "over": ("Suspended", "LimitPaused: "),
                "typo": ("Progressing", "LaneNotFound: "),
                "rests": ("Progressing", "BackingOff: "),
            },
        )
        assert (app.verdict.sync, app.verdict.health) == ("Synced", "Degraded")


async def test_each_state_of_a_lane_has_its_health(
    argo: ArgoCD, stage: Stage, server: ModelServer, repository: Repository
) -> None:
    await start_both(stage)
    server.play([REFUSED])
    part = stage.node.play("hello", Part.held(exit_code=1))
    [first, second] = lanes(server)
    nobody = {"url": f"http://{server.host}:9"}
    away = manifests.merged(second, {"metadata": {"name": "away"}, "spec": {"endpoint": nobody}})
    paused = manifests.merged(second, {"metadata": {"name": "paused"}, "spec": {"suspend": True}})
    repository.commit(first, second, paused)
    async with application(argo, stage.kube, stage.namespace, repository) as app:
        await app.says("Synced", "Suspended")
        made = await stage.add_run("hello", {"models": [{"lane": "first"}]})
        pod = await stage.has_pod(made, phase="Running")
        assert (await call(stage, pod))[0] == 429
        part.released.set()
        await app.healthy_as(
            "ModelLane", {"second": ("Healthy", "BackendReachable"), "paused": ("Suspended", "SuspendedByUser: ")}
        )
        repository.commit(first, second, manifests.merged(paused, {"spec": {"suspend": None}}), away)
        await app.refresh()
        await app.healthy_as(
            "ModelLane",
            {
                "away": ("Degraded", "BackendUnreachable"),
                "paused": ("Healthy", ""),
                "first": ("Healthy", "AllModelsCooling"),
            },
        )
        assert (app.verdict.sync, app.verdict.health) == ("Synced", "Degraded")


async def test_a_run_that_waits_for_hours_need_not_keep_the_application_from_healthy(
    argo: ArgoCD, stage: Stage, repository: Repository
) -> None:
    stage.start()
    aside = {"argocd.argoproj.io/ignore-healthcheck": "true"}
    waits = manifests.run({"agent": AGENT, "notBeforeTime": "2099-01-01T00:00:00Z", "models": [{"lane": "direct"}]})
    waits["metadata"]["annotations"] = aside
    repository.commit(manifests.lane(DIRECT, name="direct"), waits)
    async with application(argo, stage.kube, stage.namespace, repository) as app:
        await stage.runs.until(lambda: stage.runs.of("hello"), seconds=60)
        await stage.condition(stage.runs.of("hello")[-1].object, "Admitted", "NotBefore")
        await app.says("Synced", "Healthy")
