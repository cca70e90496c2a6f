"""What a run's changes cost Argo CD: a comparison only where its health changes, by what the application controller says it does."""

from __future__ import annotations

from argocd.application import application
from argocd.argo import ArgoCD
from argocd.repository import Repository
from argocd.test_sync import RUN, ends, lanes
from integration.agents import start_both
from integration.operators import Stage
from integration.walked import OVERLOADED, arrive
from modelserver import ModelServer
from support.standin import Part

IGNORED = "Ignoring change of object because none of the watched resource fields have changed"
COMPARES = "Requesting app refresh caused by object update"


async def test_a_walk_starts_no_comparison_and_the_end_does(
    argo: ArgoCD, stage: Stage, server: ModelServer, repository: Repository
) -> None:
    await start_both(stage)
    server.play([OVERLOADED])
    part = stage.node.play("hello", Part.held())
    repository.commit(*lanes(server), RUN)
    async with application(argo, stage.kube, stage.namespace, repository) as app:
        await app.healthy_as("AgentRun", {"hello": ("Progressing", "Running")})
        await app.says("Synced", "Progressing")
        before = len(argo.log("argocd-application-controller"))

        def said(words: str) -> int:
            lines = argo.log("argocd-application-controller")[before:].splitlines()
            of_run = [line for line in lines if f"namespace={stage.namespace}" in line and "kind=AgentRun" in line]
            return sum(words in line for line in of_run)

        walked = await arrive(stage, part)
        await stage.any_event(lambda: said(IGNORED) > 0)
        assert said(COMPARES) == 0
        await ends(stage, walked)
        await app.says("Synced", "Healthy")
        assert said(COMPARES) >= 1
