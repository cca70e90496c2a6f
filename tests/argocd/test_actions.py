"""Actions on runs and lanes, as the ``argocd`` command carries them out at Argo CD's API server."""

from __future__ import annotations

import asyncio
import json

import pytest

import manifests
from argocd.application import Application, application
from argocd.argo import ArgoCD
from argocd.repository import Repository
from argocd.test_health import DIRECT, run
from integration.operators import Stage
from laneway.kube.resources import MODEL_LANES
from support.standin import Part


async def offered(app: Application, kind: str, name: str) -> set[str]:
    """The actions that are offered for an object."""
    command = ("app", "actions", "list", app.name, "--kind", kind, "--resource-name", name, "-o", "json")
    listed = json.loads(await asyncio.to_thread(app.argo.cli, *command)) or []
    return {one["Action"] for one in listed if not one["Disabled"]}


async def act(app: Application, kind: str, name: str, action: str) -> None:
    """Carry out an action on an object."""
    command = ("app", "actions", "run", app.name, action, "--kind", kind, "--resource-name", name)
    await asyncio.to_thread(app.argo.cli, *command)


@pytest.mark.parametrize(
    "options",
    [pytest.param((), id="client-side apply"), pytest.param(("ServerSideApply=true",), id="server-side apply")],
)
async def test_actions_change_a_field_that_git_does_not_have_and_it_stays(
    argo: ArgoCD, stage: Stage, repository: Repository, options: tuple[str, ...]
) -> None:
    stage.start()
    stage.node.play("hello", Part.held())
    repository.commit(manifests.lane(DIRECT, name="direct"), run("hello"), run("next", dependsOn=[{"name": "hello"}]))
    async with application(argo, stage.kube, stage.namespace, repository, *options) as app:
        await app.healthy_as("AgentRun", {"next": ("Progressing", "WaitingFor"), "hello": ("Progressing", "Running")})
        assert await offered(app, "AgentRun", "next") == {"suspend", "cancel"}
        await act(app, "AgentRun", "next", "suspend")
        await app.healthy_as("AgentRun", {"next": ("Suspended", "Suspended: ")})
        await app.sync()
        assert (await stage.run("next"))["spec"]["suspend"] is True
        assert await offered(app, "AgentRun", "next") == {"resume", "cancel"}
        await act(app, "AgentRun", "next", "resume")
        await app.healthy_as("AgentRun", {"next": ("Progressing", "WaitingForDependency: ")})
        await act(app, "AgentRun", "hello", "cancel")
        await app.healthy_as("AgentRun", {"hello": ("Degraded", "Cancelled: ")})
        assert await offered(app, "AgentRun", "hello") == set()
        await act(app, "ModelLane", "direct", "suspend")
        await app.healthy_as("ModelLane", {"direct": ("Suspended", "SuspendedByUser: ")})
        assert (await stage.kube.get(MODEL_LANES, stage.namespace, "direct"))["spec"]["suspend"] is True
        await act(app, "ModelLane", "direct", "resume")
        await app.healthy_as("ModelLane", {"direct": ("Healthy", "")})
        assert app.verdict.sync == "Synced"
