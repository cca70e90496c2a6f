"""A real node with Laneway on it, made by the demo's own steps: a broken demo fails every test here."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from e2e import release
from e2e.commands import HACK, attempt, kubectl_json, run, until
from e2e.endings import Endings
from e2e.release import SYSTEM
from e2e.scripted import Scripted
from e2e.stage import Stage, new_stage
from laneway.kube.client import Kube

FOLDER = Path(__file__).parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What looks back at all tests comes last, and not at all when only some are run, or where the cluster keeps no audit log."""
    looks_back = [item for item in items if item.get_closest_marker("of_all_tests")]
    items[:] = [item for item in items if item not in looks_back]
    files = {file for file in FOLDER.glob("test_*.py") if "of_all_tests" not in file.read_text()}
    if files <= {item.path for item in items} and not _is_kind():
        items += looks_back
    else:
        config.hook.pytest_deselected(items=looks_back)


def _is_kind() -> bool:
    """Whether the cluster is one of kind, as hack/ decides it."""
    if not (shutil.which("docker") and shutil.which("kind")):
        return False
    return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0


@dataclass(frozen=True)
class Demo:
    """One run of the demo."""

    output: str
    seconds: float
    hello_uid: str
    """Uid of its agent run."""


@pytest.fixture(scope="session")
def cluster() -> Iterator[None]:
    """KUBECONFIG and PATH of the node cluster, which may not be up yet."""
    lines = run(str(HACK / "cluster"), "env").splitlines()
    exports = dict(shlex.split(line)[1].split("=", 1) for line in lines if line.startswith("export "))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", exports["KUBECONFIG"])
        patch.setenv("PATH", exports["PATH"].replace("$PATH", os.environ["PATH"]))
        # Inside a pod the tests must not find the cluster that runs them.
        patch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
        patch.delenv("VLLM", raising=False)
        yield


@pytest.fixture(scope="session")
def demo(cluster: None) -> Demo:
    """The whole demo, with its agent run run anew."""
    if attempt(str(HACK / "cluster"), "status")[0] == 0:
        attempt("kubectl", "delete", "agentrun", "hello", "--namespace=default", "--ignore-not-found")
    return run_demo()


def run_demo() -> Demo:
    """Run ``hack/demo`` as a person does."""
    begun = time.monotonic()
    output = run(str(HACK / "demo"), seconds=1500)
    seconds = time.monotonic() - begun
    hello = kubectl_json("get", "agentrun", "hello", "--namespace=default")
    return Demo(output=output, seconds=seconds, hello_uid=hello["metadata"]["uid"])


@pytest.fixture(scope="session")
def test_image(demo: Demo) -> str:
    """An image with Python's standard library and a shell, on the node."""
    reference, archive = run(str(HACK / "image"), "laneway-test", seconds=300).split()
    run(str(HACK / "cluster"), "load-image", archive, seconds=120)
    return reference


@pytest.fixture(scope="session")
def laneway_image(demo: Demo) -> str:
    """The image that is installed."""
    [container] = kubectl_json("get", "deployment", "-n", SYSTEM, "laneway-operator")["spec"]["template"]["spec"][
        "containers"
    ]
    return str(container["image"])


@pytest.fixture
async def kube(demo: Demo) -> AsyncIterator[Kube]:
    """A client that may do everything."""
    client = await Kube.connect(kubeconfig=os.environ["KUBECONFIG"])
    yield client
    await client.close()


@pytest.fixture
async def stage(kube: Kube) -> AsyncIterator[Stage]:
    """A namespace of the test's own."""
    async with new_stage(kube) as stage:
        yield stage


@pytest.fixture
async def whole_release(demo: Demo) -> AsyncIterator[None]:
    """Two operators and a gateway, ready, before and after."""
    await until(release.all_ready, seconds=90, every=0.5, what="operators and gateway ready")
    yield
    await until(release.all_ready, seconds=90, every=0.5, what="operators and gateway ready again")


@pytest.fixture
async def scripted(stage: Stage, laneway_image: str) -> Scripted:
    """The scripted model server, serving ``http://scripted:8000`` in the test's namespace."""
    server = Scripted(namespace=stage.namespace, image=laneway_image)
    await server.start()
    return server


@pytest.fixture(scope="session")
def endings(test_image: str) -> Iterator[Endings]:
    """Runs that end in every way."""
    begun = Endings.begin()
    yield begun
    begun.remove()


@pytest.fixture
def free(kube: Kube, endings: Endings) -> Stage:
    """The namespace of those whose pods are welcome."""
    return Stage(kube=kube, namespace=endings.free)


@pytest.fixture
def bound(kube: Kube, endings: Endings) -> Stage:
    """The namespace of those that meet a quota or a limit."""
    return Stage(kube=kube, namespace=endings.bound)
