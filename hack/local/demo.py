"""The demo: everything from a fresh machine to the answer of one agent run. The end-to-end tests install by the same steps."""

import json
import os
import subprocess
from typing import Any

from local import build, cluster, images
from local.console import StepError, Steps, say
from local.control_plane import kubectl
from local.instance import NODE_CLUSTER, program
from local.paths import CACHE, HACK, LOGS, TREE

RELEASE = "laneway"
NAMESPACE = "laneway-system"
RUN = "hello"
STAGES = ("cluster", "image", "model", "install", "run")


def show(*, until: str) -> None:
    """Carries out the demo's steps up to and with `until`, and shows the run if that is the last."""
    steps = Steps(7)
    with steps.step("python dependencies", "python dependencies ready"):
        _run("python dependencies", ["make", "-s", "-C", str(TREE), ".venv/bin/.ready"], "make.log")
    with steps.step("local cluster", "cluster up"):
        cluster.up()
        cluster.need_clients()
    if until == "cluster":
        return
    with steps.step("image", "image built and loaded"):
        image = images.need_laneway()
        cluster.need_image(image)
    if until == "image":
        return
    with steps.step("model server", "model server ready: Ollama with SmolLM2-135M"):
        start_model_server()
    if until == "model":
        return
    with steps.step("installing the chart", f"laneway installed with Helm in namespace {NAMESPACE}"):
        install(image)
    if until == "install":
        return
    with steps.step("applying examples/quickstart", "examples/quickstart applied"):
        finished_before = _finished()
        _kubectl("applying the quickstart", "apply", "-f", str(TREE / "examples" / "quickstart"))
    with steps.step(f"agentrun/{RUN}", f"agentrun/{RUN} finished"):
        _kubectl(f"waiting for agentrun/{RUN}", "wait", "--for=condition=Finished", f"agentrun/{RUN}", "--timeout=180s")
    _show_run(finished_before=finished_before)


def remove() -> None:
    """Removes the release and the cluster, and checks that nothing is left."""
    if cluster.healthy():
        _helm(
            "removing the release",
            "uninstall",
            RELEASE,
            "--namespace",
            NAMESPACE,
            "--ignore-not-found",
            "--wait",
            "--timeout=60s",
        )
        say(f"release {RELEASE} removed")
    cluster.down()
    say(
        f"what was built and downloaded stays in {CACHE}, so that the next demo takes seconds; delete that folder to be rid of it too"
    )


def start_model_server() -> None:
    """Builds Ollama with the model, once, and runs it in the namespace of the quickstart."""
    cluster.need_image(images.need_ollama())
    _kubectl("starting the model server", "apply", "-f", str(HACK / "manifests" / "ollama.yaml"))
    _kubectl("starting the model server", "rollout", "status", "deployment/model-server-ollama", "--timeout=120s")


def install(image: images.Image) -> None:
    """Installs or upgrades the chart with this image."""
    repository, tag = image.reference.rsplit(":", 1)
    try:
        _helm(
            "installing the chart",
            "upgrade", "--install", RELEASE, str(TREE / "helm" / "laneway"),
            "--namespace", NAMESPACE, "--create-namespace",
            "--set", f"image.repository={repository}", "--set", f"image.tag={tag}",
            "--wait", "--timeout=180s",
        )  # fmt: skip
    except StepError as error:
        _explain(error)
        raise


def _helm(step: str, *arguments: str) -> None:
    build.need(build.HELM)
    _run(step, [program("helm"), f"--kubeconfig={NODE_CLUSTER.kubeconfig}", *arguments], "helm.log")


def _kubectl(step: str, *arguments: str) -> None:
    _run(step, [program("kubectl"), f"--kubeconfig={NODE_CLUSTER.kubeconfig}", *arguments], "kubectl.log")


def _run(step: str, command: list[str], log_name: str) -> None:
    log = LOGS / log_name
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {
        name: value for name, value in os.environ.items() if name not in {"KUBECONFIG", "MAKEFLAGS", "MAKELEVEL"}
    }
    with log.open("w") as out:
        done = subprocess.run(
            command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=environment, check=False
        )
    if done.returncode != 0:
        words = [line for line in log.read_text().splitlines() if line.strip()]
        raise StepError(
            step,
            words[-1].strip()[:400] if words else "it failed and said nothing",
            "look at the log, then run the same command again",
            log,
        )


def _explain(error: StepError) -> None:
    """Adds to a failed installation's log what the cluster knows about its pods, and names the first that is not ready."""
    asked = (
        ("get", "pods", "-o", "wide"),
        ("get", "events", "--sort-by=.lastTimestamp"),
        ("logs", "--all-containers", "--prefix", "--tail=40", "-l", f"app.kubernetes.io/instance={RELEASE}"),
    )
    said = [kubectl(NODE_CLUSTER, "-n", NAMESPACE, *arguments).stdout for arguments in asked]
    if error.log is not None:
        with error.log.open("a") as out:
            out.write("\n".join(said))
    waiting = [line.split() for line in said[0].splitlines()[1:] if not _is_ready(line.split()[1])]
    if waiting:
        error.cause += f"; pod {waiting[0][0]} is {waiting[0][2]}"


def _is_ready(share: str) -> bool:
    ready, _, wanted = share.partition("/")
    return ready == wanted


def _finished() -> bool:
    said = kubectl(NODE_CLUSTER, "get", "agentrun", RUN, "--ignore-not-found", "-o", "json").stdout
    return bool(said.strip()) and _condition(json.loads(said), "Finished").get("status") == "True"


def _condition(run: dict[str, Any], kind: str) -> dict[str, Any]:
    conditions = run.get("status", {}).get("conditions", [])
    return next((condition for condition in conditions if condition["type"] == kind), {})


def _show_run(*, finished_before: bool) -> None:
    run = json.loads(kubectl(NODE_CLUSTER, "get", "agentrun", RUN, "-o", "json").stdout)
    status = run.get("status", {})
    if finished_before:
        say(
            f"      agentrun/{RUN} had finished before and was not run again; `kubectl delete agentrun {RUN}` first to do that"
        )
    say("\n$ kubectl get modellanes,agentruns")
    say(kubectl(NODE_CLUSTER, "get", "modellanes,agentruns").stdout.strip())
    say(f"\nconditions of agentrun/{RUN}")
    for condition in status.get("conditions", []):
        say(f"  {condition['type']:<13}{condition['status']:<9}{condition['reason']:<16}{condition.get('message', '')}")
    say("\nusage")
    for name, value in status.get("usage", {}).items():
        say(f"  {name:<18}{json.dumps(value) if isinstance(value, (dict, list)) else value}")
    say(f"\nanswer\n  {status.get('result', {}).get('summary', '(none)')}")
    succeeded = _condition(run, "Succeeded")
    if succeeded.get("status") != "True":
        raise StepError(
            f"agentrun/{RUN}",
            f"it ended as {succeeded.get('reason', 'unknown')}: {succeeded.get('message', '')}",
            f'eval "$(hack/cluster env)"; kubectl describe agentrun {RUN}; kubectl delete agentrun {RUN} and make demo to try again',
        )
    _say_what_next()


def _say_what_next() -> None:
    say('\ntry next, after  eval "$(hack/cluster env)"')
    say(f"  kubectl describe agentrun {RUN}")
    say(f"  kubectl delete agentrun {RUN} && kubectl apply -f examples/quickstart/   # run it again")
    say(f"  kubectl -n {NAMESPACE} logs deployment/laneway-gateway")
    say("\nremove everything:  make demo-down")
