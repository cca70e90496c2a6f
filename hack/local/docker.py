"""What is done with a Docker engine and kind, where both are there: the cluster and the project's image come from them."""

import shutil
import subprocess
from functools import cache
from pathlib import Path

from local.console import StepError
from local.paths import LOGS, TREE

CLUSTER = "laneway"  # also in kind-config.yaml


@cache
def answers() -> bool:
    """Whether a Docker engine answers and kind is installed."""
    if not (shutil.which("docker") and shutil.which("kind")):
        return False
    return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0


def build_image(reference: str, archive: Path) -> None:
    """Builds the project's image from the Dockerfile and saves it as an archive."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    _run("building the image", ["docker", "build", "--tag", reference, str(TREE)])
    _run("saving the image", ["docker", "save", "--output", str(archive), reference])


def cluster_exists() -> bool:
    """Whether kind has our cluster."""
    said = subprocess.run(["kind", "get", "clusters"], capture_output=True, text=True, check=False).stdout
    return CLUSTER in said.split()


def create_cluster(kubeconfig: Path) -> None:
    """Starts the cluster that kind-config.yaml describes."""
    kubeconfig.parent.mkdir(parents=True, exist_ok=True)
    config = ["--config", str(TREE / "kind-config.yaml"), "--kubeconfig", str(kubeconfig)]
    _run("starting the kind cluster", ["kind", "create", "cluster", "--name", CLUSTER, *config, "--wait", "120s"])


def delete_cluster(kubeconfig: Path) -> None:
    """Ends the cluster."""
    _run("ending the kind cluster", ["kind", "delete", "cluster", "--name", CLUSTER, "--kubeconfig", str(kubeconfig)])


def load(archive: Path) -> None:
    """Puts an image archive on the cluster's node."""
    _run(f"loading {archive.name}", ["kind", "load", "image-archive", str(archive), "--name", CLUSTER])


def _run(step: str, command: list[str]) -> None:
    log = LOGS / "docker.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as out:
        done = subprocess.run(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        raise StepError(step, f"{' '.join(command[:3])} failed", "look at the log", log)
