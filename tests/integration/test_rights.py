"""The chart's rights are enough and none is too many: operator and gateway work as their own accounts, and the audit log tells what they used."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from integration import auditlog
from integration.agents import add_lane, call, call_with
from integration.charts import SYSTEM, ChartStage
from integration.operators import Stage, condition, staged
from integration.planes import own_plane
from laneway.kube.client import Kube
from laneway.kube.resources import SECRETS, JsonObject
from laneway.rules.token import AttemptId, parse_secret_data, sign
from modelserver import ModelServer, Step
from support.faultproxy import Asked, Faults, fault_proxy
from support.kubeletport import kubelet_port
from support.standin import Part
from unit.chart.rendering import render
from unit.chart.rights import rights_in

SERVED = "team-a"
RBAC = {"ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}
CHAIN = [{"lane": "first"}, {"lane": "second"}]
UNTOLD = "untold"
DOUBTED = "doubted"
KEPT = ("configmaps", "persistentvolumeclaims", "pods")


@dataclass
class Losses(Faults):
    """What makes the operator read single objects: answers that are lost once, and a lane of which no watch tells."""

    lost: set[str] = field(default_factory=set)
    statuses: int = 0

    def loses(self, asked: Asked) -> bool:
        if asked.verb == "POST" and asked.resource in KEPT and asked.resource not in self.lost:
            self.lost.add(asked.resource)
            return True
        if (asked.resource, asked.name) == ("agentruns/status", DOUBTED):
            self.statuses += 1
            return self.statuses == 2  # the second is the grant
        return False

    async def lines(self, resource: str, event: JsonObject) -> AsyncIterator[JsonObject]:
        if not (resource == "modellanes" and event["object"]["metadata"].get("name") == UNTOLD):
            yield event


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChartStage]:
    """A control plane with the chart's accounts, roles and bindings, and nothing else of it."""
    with own_plane(tmp_path_factory.mktemp("plane")) as plane:
        stage = ChartStage(plane, tmp_path_factory.mktemp("home"))
        for namespace in (SYSTEM, SERVED):
            stage.kubectl("create", "namespace", namespace)
        objects = [found for found in render().objects if found["kind"] in RBAC]
        stage.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(objects))
        yield stage


@pytest.fixture
async def stage(chart: ChartStage, tmp_path: Path) -> AsyncIterator[Stage]:
    """Operator and gateway in the release's namespace, for the whole cluster, each as its own account."""
    kube = await Kube.connect(kubeconfig=chart.plane.kubeconfig)
    async with (
        staged(kube, kubeconfig=chart.plane.kubeconfig, namespace=SERVED, folder=tmp_path) as stage,
        _faulty(chart, tmp_path) as operators_way,
    ):
        stage.listen()
        stage.settings |= {"LANEWAY_POD_NAMESPACE": SYSTEM, "LANEWAY_WATCH_NAMESPACES": "", "KUBECONFIG": operators_way}
        stage.start()
        await stage.until(lambda: _has_keys(kube), answer=True)
        stage.settings["KUBECONFIG"] = str(_account(chart, "gateway", tmp_path))
        stage.start_gateway()
        yield stage
    await kube.close()


async def test_every_right_of_the_chart_is_used_and_none_is_missing(
    chart: ChartStage, stage: Stage, server: ModelServer
) -> None:
    rights = rights_in(render())
    log = chart.plane.audit_log
    async with kubelet_port(stage.node, kubeconfig=stage.kubeconfig, text="no such file\n"):
        await _work(stage, server)
        # The last is the read of a lane that no watch told of: the operator compares after 20 s, and reads 10 s later.
        await _within(60, lambda: not auditlog.unused(rights, auditlog.read(log)))
    requests = auditlog.read(log)
    assert auditlog.unused(rights, requests) == set()
    assert auditlog.forbidden(requests) == []
    too_many = {("operator", "served", "secrets", "", "list"), ("gateway", "served", "pods", "", "delete")}
    assert auditlog.unused(rights | too_many, requests) == too_many


async def _within(seconds: float, true: Callable[[], bool]) -> None:
    """Wait until something is true, and no longer than that."""
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        await asyncio.sleep(0.5)


async def _work(stage: Stage, server: ModelServer) -> None:
    """Runs that walk, fail and go, lack their prompt, are cancelled, lose their node, and one whose grant is in doubt."""
    await _add_lanes(stage, server)
    server.play([Step(status=529)])
    walking = stage.node.play("walking", Part.held())
    stage.node.play("failing", Part(exit_code=3))
    stage.node.play("promptless", Part(starts=False))
    for name in ("cancelled", "unready", DOUBTED):
        stage.node.play(name, Part.held())
    workspace = {"preset": "generic", "image": "agent:test", "workspace": {"size": "1Gi"}}
    walks = await stage.add_run("walking", {"models": CHAIN, "agent": workspace})
    pod = await stage.has_pod(walks, phase="Running")
    assert (await call(stage, pod))[0] == 200
    # Only now, when it is sure that the operator's watch has begun: what it lists before that would tell of the lane.
    await stage.add_lane(name=UNTOLD)
    assert await _unknown_attempt_is_refused(stage, walks)
    walking.released.set()

    direct = {"models": [{"lane": "direct"}]}
    await stage.add_run("failing", {**direct, "ttlSecondsAfterFinished": 0})
    missing = {"configMapKeyRef": {"name": "nowhere", "key": "prompt"}}
    await stage.add_run("promptless", {**direct, "prompt": None, "promptFrom": missing})
    cancelled, unready = [await stage.add_run(name, direct) for name in ("cancelled", "unready")]
    await stage.add_run(DOUBTED, direct)
    await stage.has_pod(cancelled, phase="Running")
    await stage.change("cancelled", {"cancel": True})
    lost = await stage.has_pod(unready, phase="Running")
    ended = await stage.finished(walks, cancelled, seconds=60)
    assert [condition(one, "Finished")["reason"] for one in ended] == ["Completed", "Cancelled"]
    await stage.node.lose(lost)


async def _add_lanes(stage: Stage, server: ModelServer) -> None:
    data = {"stringData": {"key": "sk-1"}, "metadata": {"name": "provider", "labels": _CREDENTIAL}}
    await stage.kube.create(SECRETS, SERVED, data)
    with_key = {"credentialRef": {"name": "provider", "key": "key"}, "insecureCredential": True}
    await add_lane(stage, server, name="first", endpoint={"url": server.url, "server": "Other", **with_key})
    await add_lane(stage, server, name="second")
    await stage.add_lane(name="direct")


_CREDENTIAL = {"laneway.dev/credential": "true"}


async def _unknown_attempt_is_refused(stage: Stage, run: JsonObject) -> bool:
    """A call of an attempt that the gateway cannot know: before it refuses, it reads the run."""
    secret = await stage.kube.get(SECRETS, SYSTEM, "laneway-token-keys")
    token = sign(parse_secret_data(secret["data"]), AttemptId(run["metadata"]["uid"], 99))
    return (await call_with(stage, token))[0] == 401


@asynccontextmanager
async def _faulty(chart: ChartStage, folder: Path) -> AsyncIterator[str]:
    """The operator's kubeconfig, through a proxy that loses answers."""
    account = _account(chart, "operator", folder)
    async with fault_proxy(str(account), folder, log_of=None) as (proxy, kubeconfig):
        proxy.faults = Losses()
        yield kubeconfig


def _account(chart: ChartStage, component: str, folder: Path) -> Path:
    """A kubeconfig with the token of a component's account."""
    token = chart.kubectl("create", "token", f"laneway-{component}", "-n", SYSTEM, "--duration=1h").strip()
    config = yaml.safe_load(Path(chart.plane.kubeconfig).read_text())
    for user in config["users"]:
        user["user"] = {"token": token}
    file = folder / f"{component}.conf"
    file.write_text(json.dumps(config))
    return file


async def _has_keys(kube: Kube) -> bool:
    return bool((await kube.list(SECRETS, namespace=SYSTEM)).items)
