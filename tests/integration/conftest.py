"""A real control plane for the tests here: etcd, kube-apiserver and kube-controller-manager, started by hack/cluster; and what most tests put on it."""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import secrets
import shlex
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.aio.config import kube_config

from integration.agents import reachable_server
from integration.operators import Stage, staged
from integration.planes import install_crds
from integration.plugin import Plugin
from laneway.kube.client import Kube
from laneway.kube.errors import NotFound
from laneway.kube.resources import JsonObject, Resource
from modelserver import ModelServer

ROOT = Path(__file__).parents[2]
CLIENTS = ("openai", "anthropic", "ollama", "google-genai")
"""The official clients of model APIs that tests here use."""
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
SERVICE_ACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount")

Kubectl = Callable[..., str]
Until = Callable[..., Awaitable[Any]]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Says before the first test which versions of the official clients it meets."""
    terminal = session.config.pluginmanager.get_plugin("terminalreporter")
    if terminal is not None and any("test_clients" in item.nodeid for item in session.items):
        found = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in CLIENTS)
        terminal.write_line(f"official clients: {found}")


@dataclass(frozen=True)
class Cluster:
    """The control plane of the tests."""

    kubeconfig: str
    """Path of the administrator's kubeconfig."""


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The control plane, with our CRDs. It is started if it is not up, and stays up: the next run is faster."""
    program = str(ROOT / "hack" / "cluster")
    _run([program, "up", "--control-plane"])
    exports = dict(
        shlex.split(line)[1].split("=", 1)
        for line in _run([program, "env", "--control-plane"]).splitlines()
        if line.startswith("export ")
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", exports["KUBECONFIG"])
        patch.setenv("PATH", exports["PATH"].replace("$PATH", os.environ["PATH"]))
        # Inside a pod the tests must not find the cluster that runs them.
        patch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
        # The client library read KUBECONFIG when it was imported.
        patch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", exports["KUBECONFIG"])
        install_crds(os.environ)
        yield Cluster(exports["KUBECONFIG"])


@pytest.fixture
def kubectl(cluster: Cluster) -> Kubectl:
    """Runs kubectl with the given arguments, and ``stdin``; answers what it printed, and fails if it fails."""

    def run(*arguments: str, stdin: str | None = None) -> str:
        return _run(["kubectl", *arguments], stdin=stdin)

    return run


@pytest.fixture
async def kube(cluster: Cluster) -> AsyncIterator[Kube]:
    """A client that may do everything."""
    client = await Kube.connect(kubeconfig=cluster.kubeconfig)
    yield client
    await client.close()


@pytest.fixture
async def namespace(kube: Kube, until: Until) -> AsyncIterator[str]:
    """A namespace of the test's own, ready for pods; it goes, in the background, when the test ends."""
    name = f"test-{secrets.token_hex(4)}"
    await kube.create(NAMESPACES, None, {"metadata": {"name": name}})

    async def default_account() -> JsonObject | None:
        try:
            return await kube.get(SERVICE_ACCOUNTS, name, "default")
        except NotFound:
            return None

    await until(default_account)
    yield name
    await kube.delete(NAMESPACES, None, name)


@pytest.fixture
async def stage(cluster: Cluster, kube: Kube, namespace: str, tmp_path: Path) -> AsyncIterator[Stage]:
    """A stage in the test's namespace, on which nothing runs yet."""
    async with staged(kube, kubeconfig=cluster.kubeconfig, namespace=namespace, folder=tmp_path) as stage:
        yield stage


@pytest.fixture
def laneway(stage: Stage, tmp_path: Path) -> Plugin:
    """The plugin, in the stage's namespace."""
    folder = tmp_path / "bin"
    folder.mkdir()
    return Plugin(folder, stage.namespace)


@pytest.fixture
def guest(stage: Stage, kubectl: Kubectl, tmp_path: Path) -> str:
    """A kubeconfig of somebody who may read runs and lanes of the stage's namespace, and nothing else."""
    here = ("-n", stage.namespace)
    kubectl("create", "serviceaccount", "guest", *here)
    kubectl(
        "create", "role", "guest", "--verb=get,list", "--resource=agentruns.laneway.dev,modellanes.laneway.dev", *here
    )
    kubectl("create", "rolebinding", "guest", "--role=guest", f"--serviceaccount={stage.namespace}:guest", *here)
    config = yaml.safe_load(Path(stage.kubeconfig).read_text())
    config["users"] = [
        {"name": one["name"], "user": {"token": kubectl("create", "token", "guest", *here).strip()}}
        for one in config["users"]
    ]
    path = tmp_path / "guest"
    path.write_text(yaml.safe_dump(config))
    return str(path)


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    """A model server that the gateway may reach, with one small model."""
    async with reachable_server(models={"smollm2": 8192}) as server:
        yield server


@pytest.fixture
def until() -> Until:
    """Asks until the answer is true, and answers it; fails after ``seconds``. The question may be async."""

    async def wait(question: Callable[[], Any], *, seconds: float = 10.0, every: float = 0.02) -> Any:
        deadline = time.monotonic() + seconds
        while True:
            answer = question()
            if asyncio.iscoroutine(answer):
                answer = await answer
            if answer:
                return answer
            assert time.monotonic() < deadline, f"not within {seconds} s: {question}"
            await asyncio.sleep(every)

    return wait


def _run(command: list[str], *, stdin: str | None = None) -> str:
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{shlex.join(command)} failed: {done.stderr or done.stdout}")
    return done.stdout
