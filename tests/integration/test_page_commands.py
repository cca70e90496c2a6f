"""The commands that pages show, run as they stand: kubectl on the real API server, helm on the chart, make by its targets.

Beyond these, ``hack/record`` runs the blocks with output; what needs a kubelet is shown end to end.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from integration.conftest import Cluster, Kubectl
from manifests import Manifest, lane, run

ROOT = Path(__file__).parents[2]
RECORDED = {"README.md", "first-minutes.md"}
"""Their blocks with output are written by hack/record."""
_LINE = re.compile(r"^    (?:\$ )?((?:kubectl|helm|make) [^#\n]*[^#\s])", re.MULTILINE)
_OF_A_POD = re.compile(r"kubectl (-n \S+ )?(exec|logs) ")
"""They need a kubelet: tests/e2e has them."""
_OF_THE_PLUGIN = "kubectl laneway"
_DESTRUCTIVE = ("kubectl delete ", "kubectl label ", "kubectl create ", "kubectl apply ")
"""Tried without being done: others use the control plane too."""
_STAND_INS = {"NAME": "hello"}
_LOG = "hello-log"
_NAMESPACES = ("team-a", "laneway-system", "argocd")


def commands(program: str) -> Iterator[tuple[str, str]]:
    """The commands of a program that stand on one line, by where that is."""
    for page in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]):
        text = page.read_text(encoding="utf-8")
        for found in _LINE.finditer(text):
            command, line = found[1], text[: found.start()].count("\n") + 1
            if command.startswith(f"{program} ") and _is_whole(command):
                yield f"{page.name}, line {line}", command


def _is_whole(command: str) -> bool:
    """Whether its quotes are closed."""
    try:
        shlex.split(command)
    except ValueError:
        return False
    return True


def of_kubectl() -> Iterator[tuple[str, str]]:
    for where, command in commands("kubectl"):
        if not (_OF_A_POD.match(command) or command.startswith(_OF_THE_PLUGIN) or where.split(",")[0] in RECORDED):
            yield where, command


@pytest.fixture
def scene(cluster: Cluster, kubectl: Kubectl, namespace: str, tmp_path: Path) -> dict[str, str]:
    """The objects that the pages speak of, in a namespace that kubectl uses by itself. Answers the environment for that."""
    steps = [{"lane": "hosted"}, {"lane": "qwen", "namespace": "models"}]
    objects: list[Manifest] = [
        lane({"models": [{"name": "big-model"}, {"name": "small-model"}]}, name="hosted"),
        lane(name="qwen"),
        run(name="hello"),
        run({"models": steps}, name="migrate"),
        run({"limits": {"costUSD": "2.50", "onReached": "Pause"}}, name="refactor"),
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": _LOG}, "data": {"log": "the end"}},
    ]
    kubectl("create", "-n", namespace, "-f", "-", stdin=yaml.safe_dump_all(objects))
    status = {"status": {"result": {"logConfigMap": _LOG}}}
    kubectl("patch", "-n", namespace, "agrun/hello", "--subresource=status", "--type=merge", "-p", json.dumps(status))
    elsewhere: list[Manifest] = [
        *({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in _NAMESPACES),
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "argocd-cm", "namespace": "argocd"}},
    ]
    kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(elsewhere))
    config = tmp_path / "config"
    config.write_text(kubectl("config", "view", "--raw"))
    kubectl("config", "set-context", "--current", f"--namespace={namespace}", f"--kubeconfig={config}")
    return {"KUBECONFIG": str(config)}


@pytest.mark.parametrize("command", [pytest.param(command, id=where) for where, command in of_kubectl()])
def test_kubectl_does_what_a_page_says(scene: dict[str, str], command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in scene.items():
        monkeypatch.setenv(name, value)
    for placeholder, value in _STAND_INS.items():
        command = re.sub(rf"\b{placeholder}\b", value, command)
    if command.startswith(_DESTRUCTIVE):
        command += " --dry-run=server"
    if "kubectl wait" in command:
        command = re.sub(r"--timeout=\S+", "--timeout=1s", command)
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    timed_out = "kubectl wait" in command and "timed out waiting" in done.stderr
    assert done.returncode == 0 or timed_out, done.stderr


@pytest.mark.parametrize("command", [pytest.param(command, id=where) for where, command in commands("helm")])
def test_helm_takes_the_chart_and_the_values_that_a_page_says(cluster: Cluster, command: str) -> None:
    words = shlex.split(command)
    if words[1] in {"uninstall", "test"}:
        assert words[2:5] == ["laneway", "-n", "laneway-system"]
        return
    assert words[1] in {"install", "upgrade", "template"}, command
    only_for_clusters = {"--wait", "--create-namespace", "--reset-then-reuse-values", "--install"}
    rendered = [
        "helm",
        "template",
        "--kube-version=1.36",
        *(word for word in words[2:] if word not in only_for_clusters),
    ]
    done = subprocess.run(rendered, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", [pytest.param(command, id=where) for where, command in commands("make")])
def test_make_has_the_target_and_the_variables_that_a_page_says(command: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    _, target, *variables = shlex.split(command)
    assert re.search(rf"^{target}:", makefile, re.MULTILINE)
    for variable in variables:
        name = variable.partition("=")[0]
        assert f"$({name})" in makefile or name in {"VLLM", "FACTOR"}, f"{name} means nothing to make {target}"
