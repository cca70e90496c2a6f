"""The two sides of a comparison: Laneway carries runs, the Kubernetes Job controller carries Jobs of one pod. Both are real processes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import manifests
from bench.ground import Ground
from bench.programs import Program, python, read
from integration.operators import free_ports
from laneway.api import names
from laneway.kube.resources import AGENT_RUNS, MODEL_LANES, SECRETS, JsonObject, Resource

_JOBS = Resource("batch", "v1", "jobs", "Job")
_IMAGE = "agent:test"
_JOB_WORKERS = 20
_JOB_RATE = 2000
_LISTED_SECONDS = 300.0
"""On a busy machine it takes minutes to list tens of thousands of runs."""


@dataclass(frozen=True)
class Side:
    """A controller that carries objects from created to finished."""

    name: str
    program: Program
    resource: Resource
    body: Callable[[int], JsonObject]
    """The object of a number."""
    ended: str
    """The condition that is True when an object has finished."""
    metrics: str = ""
    """Where the program shows what it counts; empty if that is not read."""
    gateway: Program | None = None

    def finished(self, obj: JsonObject) -> bool:
        """Whether an object has come to its end. Raises RuntimeError when it did not end well."""
        conditions = {one["type"]: one["status"] for one in (obj.get("status") or {}).get("conditions") or ()}
        if conditions.get(self.ended) == "True" and conditions.get("Succeeded", "True") != "True":
            raise RuntimeError(f"{self.resource.kind} {obj['metadata']['name']} failed: {obj['status']}")
        return conditions.get(self.ended) == "True"


@asynccontextmanager
async def laneway(ground: Ground, *, lanes: int, slots: int, profile: Path | None = None) -> AsyncGenerator[Side]:
    """The operator and the gateway, and Direct lanes: no run calls a model, and no attempt is closed at the gateway."""
    for number in range(lanes):
        spec = {"access": "Direct", "capacity": {"runs": slots}}
        lane = manifests.lane(spec, name=f"lane-{number}", namespace=ground.namespace)
        await ground.api.send("POST", MODEL_LANES.path(ground.namespace), lane)
    calls, control, shown, health, counted = free_ports(5)
    env = {
        "KUBECONFIG": ground.kubeconfig,
        "LANEWAY_POD_NAME": "bench",
        "LANEWAY_POD_NAMESPACE": ground.namespace,
        "LANEWAY_WATCH_NAMESPACES": ground.namespace,
        "LANEWAY_GATEWAY_URL": f"http://127.0.0.1:{calls}",
        "LANEWAY_GATEWAY_OPERATOR_URL": f"http://127.0.0.1:{control}",
        "LANEWAY_AGENT_IMAGE": "laneway:test",
        "LANEWAY_HEALTH_PORT": str(health),
    }
    command = python("laneway", "operator", profile=profile)
    operator = Program(command, ground.folder / "operator.log", env | {"LANEWAY_METRICS_PORT": str(counted)})
    try:
        await operator.until(lambda: _has_keys(ground))
        gateway_env = env | {
            "LANEWAY_CALL_PORT": str(calls),
            "LANEWAY_OPERATOR_PORT": str(control),
            "LANEWAY_METRICS_PORT": str(shown),
            "LANEWAY_LEDGER_PATH": str(ground.folder / "ledger.db"),
        }
        gateway = Program(python("laneway", "gateway"), ground.folder / "gateway.log", gateway_env)
        try:
            await gateway.until(lambda: _answers(f"http://127.0.0.1:{shown}/readyz"), seconds=_LISTED_SECONDS)
            await operator.until(lambda: _leads(health), seconds=_LISTED_SECONDS)
            metrics = f"http://127.0.0.1:{counted}/metrics"
            yield Side(
                "Laneway", operator, AGENT_RUNS, lambda number: _run(number, lanes), "Finished", metrics, gateway
            )
        finally:
            gateway.stop()
    finally:
        operator.stop()


@asynccontextmanager
async def job_controller(ground: Ground, programs: Path) -> AsyncGenerator[Side]:
    """The Job controller alone in a process of its own, its client limits lifted."""
    [port] = free_ports(1)
    command = [
        str(programs / "kube-controller-manager"),
        f"--kubeconfig={ground.kubeconfig}",
        "--controllers=job-controller",
        f"--concurrent-job-syncs={_JOB_WORKERS}",
        f"--kube-api-qps={_JOB_RATE}",
        f"--kube-api-burst={2 * _JOB_RATE}",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--cert-dir={ground.folder}",
    ]
    controller = Program(command, ground.folder / "job-controller.log")
    try:
        await controller.until(lambda: _answers(f"https://127.0.0.1:{port}/healthz"))
        yield Side("Job controller", controller, _JOBS, _job, "Complete")
    finally:
        controller.stop()


def _run(number: int, lanes: int) -> JsonObject:
    spec = {
        "agent": {"preset": "generic", "image": _IMAGE},
        "models": [{"lane": f"lane-{number % lanes}"}],
    }
    return manifests.run(spec, name=f"run-{number}")


def _job(number: int) -> JsonObject:
    pod = {"restartPolicy": "Never", "containers": [{"name": names.AGENT_CONTAINER, "image": _IMAGE}]}
    return {
        "apiVersion": _JOBS.api_version,
        "kind": _JOBS.kind,
        "metadata": {"name": f"job-{number}"},
        "spec": {"backoffLimit": 0, "template": {"spec": pod}},
    }


async def _has_keys(ground: Ground) -> bool:
    return bool((await ground.api.get(SECRETS.path(ground.namespace)))["items"])


async def _answers(url: str) -> bool:
    return bool(await read(url))


async def _leads(port: int) -> bool:
    return "leading" in await read(f"http://127.0.0.1:{port}/readyz")
