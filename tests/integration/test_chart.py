"""The chart on a real API server: every object that it can render is accepted by the letter, and its definitions come, change and stay."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from integration.charts import CHART, ROOT, STRICT, SYSTEM, ChartStage, objects
from integration.kubeconform import Kubeconform, kubeconform
from integration.planes import own_plane

RUNS = "agentruns.laneway.dev"
VALUES = sorted((CHART / "ci").glob("*-values.yaml"))
NAMESPACES = (SYSTEM, "team-a", "team-b", "monitoring")
RESTRICTED = [f"pod-security.kubernetes.io/{mode}=restricted" for mode in ("enforce", "warn")]
"""A pod is refused that does not meet the standard, and of a Deployment's pods there is a warning."""


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChartStage]:
    """A control plane with the namespaces that the values files speak of, and the Prometheus Operator's kinds."""
    with own_plane(tmp_path_factory.mktemp("plane")) as plane:
        stage = ChartStage(plane, tmp_path_factory.mktemp("home"))
        for namespace in NAMESPACES:
            stage.kubectl("create", "namespace", namespace)
            stage.kubectl("label", "namespace", namespace, *RESTRICTED)
        # A pod is refused while its account is not there, as it is not in a request that changes nothing.
        for account in ("laneway-operator", "laneway-gateway"):
            stage.kubectl("create", "serviceaccount", account, "-n", SYSTEM)
        found = subprocess.run([ROOT / "hack" / "monitoring-kinds"], capture_output=True, text=True, check=True)
        kinds = [word for file in found.stdout.split() for word in ("-f", file)]
        stage.kubectl("apply", "--server-side", *kinds)
        stage.kubectl("wait", "--for=condition=Established", "--timeout=30s", *kinds)
        yield stage


class TestEveryObjectIsAcceptedByTheLetter:
    @pytest.mark.parametrize("values", [pytest.param(file, id=file.stem) for file in VALUES])
    def test_of_a_values_file(self, chart: ChartStage, values: Path) -> None:
        text = chart.render(values)
        assert len(chart.accepts(text)) == len(objects(text))

    def test_of_the_manifest_for_kubectl(self, chart: ChartStage) -> None:
        text = (ROOT / "deploy" / "install.yaml").read_text()
        assert len(chart.accepts(text)) == len(objects(text))

    @pytest.mark.parametrize(
        ("kind", "path", "named"),
        [
            pytest.param("Deployment", ("spec", "template", "spec", "hostnetwork"), "hostnetwork", id="of a pod"),
            pytest.param("NetworkPolicy", ("spec", "egres"), "egres", id="of a network policy"),
            pytest.param("ServiceMonitor", ("spec", "endpoint"), "endpoint", id="of a ServiceMonitor"),
            pytest.param("PrometheusRule", ("spec", "group"), "group", id="of a PrometheusRule"),
        ],
    )
    def test_a_field_that_there_is_not_would_be_refused(
        self, chart: ChartStage, kind: str, path: tuple[str, ...], named: str
    ) -> None:
        everything = ("--set", "networkPolicy.enabled=true")
        found = objects(chart.render(CHART / "ci" / "observability-values.yaml", *everything))
        [wrong, *_] = [one for one in found if one["kind"] == kind]
        node = wrong
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = True
        complaint = chart.refusal(*STRICT, stdin=yaml.safe_dump(wrong))
        assert "unknown field" in complaint or "field not declared in schema" in complaint
        assert named in complaint


@pytest.fixture(scope="module")
def conform(chart: ChartStage, tmp_path_factory: pytest.TempPathFactory) -> Kubeconform:
    return kubeconform(chart, tmp_path_factory.mktemp("schemas"))


class TestKubeconformFindsNothing:
    @pytest.mark.parametrize("values", [pytest.param(file, id=file.stem) for file in VALUES])
    def test_in_a_values_file(self, chart: ChartStage, conform: Kubeconform, values: Path) -> None:
        text = chart.render(values)
        count = {"valid": len(objects(text)), "invalid": 0, "errors": 0, "skipped": 0}
        assert conform.judge(text) == {"resources": [], "summary": count}

    def test_but_a_field_that_there_is_not(self, chart: ChartStage, conform: Kubeconform) -> None:
        found = objects(chart.render(VALUES[0]))
        [wrong, *_] = [one for one in found if one["kind"] == "Deployment"]
        wrong["spec"]["template"]["spec"]["hostnetwork"] = True
        [said] = conform.judge(yaml.safe_dump_all(found))["resources"]
        assert (said["kind"], said["status"]) == ("Deployment", "statusInvalid")
        assert "hostnetwork" in said["msg"]


def test_definitions_are_upgraded_with_the_release_and_kept_when_it_goes(chart: ChartStage, tmp_path: Path) -> None:
    old = _older_chart(tmp_path)
    place = ("-n", SYSTEM)
    # The control plane of all tests here has the definitions already, as it has after an earlier uninstall.
    chart.helm("install", "laneway", str(old), *place, "--take-ownership")
    assert _columns(chart) == ["Lane"]
    chart.kubectl("apply", "-n", "team-a", "-f", str(ROOT / "examples" / "quickstart"))
    before = chart.get("agentrun", "hello", "-n", "team-a")

    chart.helm("upgrade", "laneway", str(CHART), *place)
    assert len(_columns(chart)) > 1

    chart.helm("uninstall", "laneway", *place)
    assert chart.get("agentrun", "hello", "-n", "team-a") == before
    left = chart.kubectl("get", "all,role,rolebinding,clusterrole,networkpolicy,pvc", "-A", "-l", _ALL, "-o", "name")
    assert left == ""

    chart.helm("install", "other", str(CHART), *place, "--take-ownership")
    assert chart.get("agentrun", "hello", "-n", "team-a") == before
    chart.helm("upgrade", "other", str(CHART), *place, "--set", "crds.keep=false")
    chart.helm("uninstall", "other", *place, "--wait")
    assert chart.kubectl("get", "crd", "-l", _ALL, "-o", "name") == ""


_ALL = "app.kubernetes.io/part-of=laneway"


def _older_chart(folder: Path) -> Path:
    """The chart with definitions that show less."""
    chart = folder / "laneway"
    shutil.copytree(CHART, chart)
    file = chart / "files" / "crds" / f"{RUNS}.yaml"
    crd = yaml.safe_load(file.read_text())
    version = crd["spec"]["versions"][0]
    version["additionalPrinterColumns"] = version["additionalPrinterColumns"][:1]
    file.write_text(yaml.safe_dump(crd))
    return chart


def _columns(chart: ChartStage) -> list[str]:
    version = chart.get("crd", RUNS)["spec"]["versions"][0]
    return [column["name"] for column in version["additionalPrinterColumns"]]
