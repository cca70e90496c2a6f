"""What the demo and the end-to-end tests put on the cluster: the model servers and the release of the chart."""

import json

from local import cluster, commands, images, ollama, vllm_server
from local.console import StepError
from local.control_plane import kubectl
from local.instance import NODE_CLUSTER
from local.paths import HACK, TREE

NAME = "laneway"
NAMESPACE = "laneway-system"
RESTRICTED = "pod-security.kubernetes.io/enforce=restricted"


def restrict() -> None:
    """Has every namespace of the demo refuse pods that do not meet the restricted Pod Security standard."""
    step = "preparing the namespaces"
    place = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    commands.kubectl(step, "apply", "-f", "-", stdin=json.dumps(place))
    commands.kubectl(step, "label", "namespace", "default", NAMESPACE, RESTRICTED, "--overwrite")


def start_ollama() -> None:
    """Builds Ollama with the model, once, and runs it in the default namespace."""
    _start("Ollama", images.need_ollama(), (HACK / "manifests" / "ollama.yaml").read_text(), ollama.DEPLOYMENT)


def start_vllm() -> None:
    """Installs vLLM, once, and runs it in the default namespace."""
    _start("vLLM", vllm_server.need_image(), vllm_server.manifest(), vllm_server.DEPLOYMENT)


def _start(title: str, image: images.Image, manifest: str, deployment: str) -> None:
    step = f"starting {title}"
    if cluster.need_image(image):  # the image's name stays when its content changes: pods of the old one must go
        commands.kubectl(step, "delete", "deployment", deployment, "--ignore-not-found")
    commands.kubectl(step, "apply", "-f", "-", stdin=manifest)
    commands.kubectl(step, "rollout", "status", f"deployment/{deployment}", "--timeout=240s")


def install() -> None:
    """Installs or upgrades the chart with the image of this tree."""
    image = images.need_laneway()
    cluster.need_image(image)  # the tree may have changed since the image step
    repository, tag = image.reference.rsplit(":", 1)
    place = ["--namespace", NAMESPACE, "--create-namespace"]
    values = ["--set", f"image.repository={repository}", "--set", f"image.tag={tag}"]
    try:
        commands.helm(
            "installing the chart",
            *("upgrade", "--install", NAME, str(TREE / "helm" / "laneway")),
            *(*place, *values, "--wait", "--timeout=180s"),
        )
    except StepError as error:
        _explain(error)
        raise


def uninstall() -> None:
    """Removes the release; nothing to do when there is none."""
    options = ["--namespace", NAMESPACE, "--ignore-not-found", "--wait", "--timeout=90s"]
    commands.helm("removing the release", "uninstall", NAME, *options)


def _explain(error: StepError) -> None:
    """Adds to a failed installation's log what the cluster knows of its pods; names the first that is not ready."""
    asked = (
        ("get", "pods", "-o", "wide"),
        ("get", "events", "--sort-by=.lastTimestamp"),
        ("logs", "--all-containers", "--prefix", "--tail=40", "-l", f"app.kubernetes.io/instance={NAME}"),
    )
    said = [kubectl(NODE_CLUSTER, "-n", NAMESPACE, *arguments).stdout for arguments in asked]
    if error.log is not None:
        with error.log.open("a") as out:
            out.write("\n".join(said))
    pods = [line.split() for line in said[0].splitlines()[1:]]
    if waiting := [pod for pod in pods if len(set(pod[1].split("/"))) > 1]:
        error.cause += f"; pod {waiting[0][0]} is not ready: {waiting[0][2]}"
