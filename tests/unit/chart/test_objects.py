"""What an install with no values holds, and how its objects hang together."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import yaml

from laneway.__main__ import parser
from laneway.api.agentrun import AgentRunSpec
from laneway.api.modellane import ModelLaneSpec
from laneway.controller.facts.presets import Preset
from laneway.controller.outside.presetfiles import load_presets
from unit.chart.rendering import (
    CHART,
    COMPONENTS,
    KUBERNETES,
    NAMESPACE,
    VALUES_FILES,
    Object,
    Rendered,
    nested,
    render,
    run,
)

RUNS, LANES = "agentruns.laneway.dev", "modellanes.laneway.dev"
CLUSTER_SCOPED = {"CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding"}


def test_install_without_values_has_every_object() -> None:
    assert sorted(Rendered.label(found) for found in render().objects) == sorted(
        [
            f"CustomResourceDefinition /{RUNS}",
            f"CustomResourceDefinition /{LANES}",
            *(
                f"ClusterRole /laneway-{kind}-{role}"
                for kind in ("agentrun", "modellane")
                for role in ("viewer", "editor")
            ),
            *(f"{kind} /laneway-{name}" for kind in ("ClusterRole", "ClusterRoleBinding") for name in COMPONENTS),
            *(f"{kind} {NAMESPACE}/laneway-{name}-own" for kind in ("Role", "RoleBinding") for name in COMPONENTS),
            *(f"{kind} {NAMESPACE}/laneway-{name}" for kind in ("ServiceAccount", "Deployment") for name in COMPONENTS),
            *(f"Service {NAMESPACE}/laneway-{name}-metrics" for name in COMPONENTS),
            f"Service {NAMESPACE}/laneway-gateway",
            f"PersistentVolumeClaim {NAMESPACE}/laneway-gateway",
            f"PodDisruptionBudget {NAMESPACE}/laneway-operator",
            f"Pod {NAMESPACE}/laneway-test",
        ]
    )


@pytest.mark.parametrize("values", [pytest.param(file, id=file.stem) for file in VALUES_FILES])
def test_lint_is_strict_and_clean(values: Path) -> None:
    given = yaml.safe_load(values.read_text())
    result = run("lint", "--strict", str(CHART), "--kube-version", KUBERNETES, values=given)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "[WARNING]" not in result.stdout


@pytest.mark.parametrize(
    ("version", "accepted"),
    [
        pytest.param("1.31.9", False, id="a cluster older than 1.32 is refused"),
        pytest.param("1.32.0", True, id="a cluster of 1.32 is served"),
        pytest.param("1.32.2-gke.1", True, id="a vendor's build is served"),
    ],
)
def test_kubernetes_versions(version: str, accepted: bool) -> None:
    result = run("template", "laneway", str(CHART), "--kube-version", version)
    assert (result.returncode == 0) == accepted, result.stderr


class TestCustomResourceDefinitions:
    @pytest.mark.parametrize("name", [RUNS, LANES])
    def test_rendered_definition_is_the_generated_one_and_is_kept(self, name: str) -> None:
        source = yaml.safe_load((CHART / "files" / "crds" / f"{name}.yaml").read_text())
        crd = render().get("CustomResourceDefinition", name)
        assert crd["spec"] == source["spec"]
        assert crd["metadata"]["annotations"] == source["metadata"].get("annotations", {}) | {
            "helm.sh/resource-policy": "keep"
        }

    def test_without_keep_they_leave_with_the_release(self) -> None:
        for crd in render({"crds": {"keep": False, "annotations": {"team": "ml"}}}).kind("CustomResourceDefinition"):
            assert "helm.sh/resource-policy" not in crd["metadata"]["annotations"]
            assert crd["metadata"]["annotations"]["team"] == "ml"

    def test_switched_off_none_is_rendered(self) -> None:
        assert render({"crds": {"enabled": False}}).kind("CustomResourceDefinition") == []


class TestLabels:
    def test_every_object_carries_the_recommended_labels(self) -> None:
        for found in render({"commonLabels": {"team": "ml", "app.kubernetes.io/name": "other"}}).objects:
            labels = found["metadata"]["labels"]
            assert labels["app.kubernetes.io/name"] == "laneway", Rendered.label(found)
            assert labels["app.kubernetes.io/instance"] == "laneway"
            assert labels["app.kubernetes.io/version"] == "0.1.0"
            assert labels["app.kubernetes.io/part-of"] == "laneway"
            assert labels["app.kubernetes.io/managed-by"] == "Helm"
            assert labels["helm.sh/chart"] == "laneway-0.1.0"
            assert labels["team"] == "ml"

    def test_selectors_hold_only_what_can_never_change(self) -> None:
        rendered = render({"commonLabels": {"team": "ml"}})
        for component in COMPONENTS:
            assert _selector(rendered.get("Deployment", f"laneway-{component}")) == {
                "app.kubernetes.io/name": "laneway",
                "app.kubernetes.io/instance": "laneway",
                "app.kubernetes.io/component": component,
            }

    @pytest.mark.parametrize("kind", ["Deployment", "Service", "PodDisruptionBudget"])
    def test_every_selector_finds_the_pods_of_one_component(self, kind: str) -> None:
        rendered = render()
        for found in rendered.kind(kind):
            labels = [rendered.pod(component)["metadata"]["labels"] for component in COMPONENTS]
            matched = [one for one in labels if _selector(found).items() <= one.items()]
            assert len(matched) == 1, Rendered.label(found)
            assert (
                matched[0]["app.kubernetes.io/component"] == found["metadata"]["labels"]["app.kubernetes.io/component"]
            )


class TestNames:
    @pytest.mark.parametrize(
        ("release", "values", "stem"),
        [
            pytest.param("laneway", {}, "laneway", id="a release called laneway gives its name"),
            pytest.param("my-laneway", {}, "my-laneway", id="a release that contains the chart's name gives its name"),
            pytest.param("prod", {}, "prod-laneway", id="any other release is put before the chart's name"),
            pytest.param("1", {}, "1-laneway", id="a release may be called by a number"),
            pytest.param("prod", {"nameOverride": "runs"}, "prod-runs", id="nameOverride replaces the chart's name"),
            pytest.param("prod", {"fullnameOverride": "lw"}, "lw", id="fullnameOverride replaces all of it"),
        ],
    )
    def test_stem_of_the_names(self, release: str, values: Object, stem: str) -> None:
        rendered = render(values, release=release)
        assert {found["metadata"]["name"] for found in rendered.kind("Deployment")} == {
            f"{stem}-operator",
            f"{stem}-gateway",
        }
        for found in rendered.objects:
            assert found["metadata"]["labels"]["app.kubernetes.io/instance"] == release
        for found in rendered.kind("Deployment"):
            assert _selector(found)["app.kubernetes.io/instance"] == release

    def test_longest_release_name_still_gives_names_that_a_service_may_have(self) -> None:
        for found in render(release="r" * 53).kind("Service"):
            assert len(found["metadata"]["name"]) <= 63

    def test_two_releases_share_no_cluster_scoped_object_but_the_definitions(self) -> None:
        one, two = ({Rendered.label(found) for found in _cluster_scoped(render(release=name))} for name in ("a", "b"))
        assert {label for label in one & two if not label.startswith("CustomResourceDefinition")} == set()


class TestServices:
    def test_every_port_of_a_service_is_a_port_of_its_pods(self) -> None:
        rendered = render()
        for service in rendered.kind("Service"):
            component = service["metadata"]["labels"]["app.kubernetes.io/component"]
            ports = {port["name"]: port["containerPort"] for port in rendered.container(component)["ports"]}
            for port in service["spec"]["ports"]:
                assert ports[port["targetPort"]] == port["port"], Rendered.label(service)

    @pytest.mark.parametrize(
        ("variable", "port"),
        [
            pytest.param("LANEWAY_GATEWAY_URL", "calls", id="agents reach the port for calls"),
            pytest.param("LANEWAY_GATEWAY_OPERATOR_URL", "operator", id="the operator reaches its own port"),
        ],
    )
    @pytest.mark.parametrize("release", ["laneway", "prod"])
    def test_gateway_urls_lead_to_its_service(self, variable: str, port: str, release: str) -> None:
        rendered = render(release=release)
        (operator,) = [one for one in rendered.kind("Deployment") if one["metadata"]["name"].endswith("-operator")]
        env = {one["name"]: one.get("value") for one in operator["spec"]["template"]["spec"]["containers"][0]["env"]}
        url = urlsplit(env[variable])
        assert url.hostname is not None
        name, namespace, suffix = url.hostname.split(".")
        service = rendered.get("Service", name)
        assert (url.scheme, namespace, suffix) == ("http", NAMESPACE, "svc")
        assert url.port in [one["port"] for one in service["spec"]["ports"] if one["name"] == port]


class TestLedgerVolume:
    def test_claim_is_for_one_pod_and_of_the_default_class(self) -> None:
        claim = render().get("PersistentVolumeClaim", "laneway-gateway")
        assert claim["spec"] == {"accessModes": ["ReadWriteOncePod"], "resources": {"requests": {"storage": "1Gi"}}}
        assert _ledger_volume(render()) == {"persistentVolumeClaim": {"claimName": "laneway-gateway"}}

    @pytest.mark.parametrize(
        ("value", "rendered"),
        [
            pytest.param("fast", "fast", id="a named class is asked for"),
            pytest.param("-", "", id="a dash asks for no class at all"),
        ],
    )
    def test_storage_class(self, value: str, rendered: str) -> None:
        claim = render({"gateway": {"persistence": {"storageClassName": value}}}).kind("PersistentVolumeClaim")[0]
        assert claim["spec"]["storageClassName"] == rendered

    def test_without_persistence_the_ledger_lies_in_the_pod(self) -> None:
        rendered = render({"gateway": {"persistence": {"enabled": False}}})
        assert rendered.kind("PersistentVolumeClaim") == []
        assert _ledger_volume(rendered) == {"emptyDir": {"sizeLimit": "1Gi"}}

    def test_claim_that_is_there_already_is_used_and_none_is_made(self) -> None:
        rendered = render({"gateway": {"persistence": {"existingClaim": "ledger"}}})
        assert rendered.kind("PersistentVolumeClaim") == []
        assert _ledger_volume(rendered) == {"persistentVolumeClaim": {"claimName": "ledger"}}

    def test_gateway_is_replaced_and_never_doubled(self) -> None:
        spec = render().get("Deployment", "laneway-gateway")["spec"]
        assert spec["replicas"] == 1
        assert spec["strategy"] == {"type": "Recreate"}
        assert spec["template"]["spec"]["terminationGracePeriodSeconds"] == 45


MINE: Object = {
    "description": "An agent of ours.",
    "image": "example/agent:1",
    "command": ["agent"],
    "args": ["--depth", "3000000"],
    "env": {"MODE": "on"},
    "resources": {"limits": {"memory": "1Gi"}},
    "logParser": "StreamJSON",
}


class TestPresets:
    def test_each_preset_becomes_a_file_that_the_operator_can_read(self, tmp_path: Path) -> None:
        rendered = render({"presets": {"mine": MINE}})
        for name, text in rendered.get("ConfigMap", "laneway-presets")["data"].items():
            (tmp_path / name).write_text(text)
        assert load_presets([tmp_path]) == {"mine": Preset.model_validate(MINE)}

    def test_presets_are_mounted_in_the_folder_that_the_operator_reads(self) -> None:
        rendered = render({"presets": {"mine": MINE}})
        folder = rendered.env("operator")["LANEWAY_PRESETS_DIR"]
        (mount,) = [one for one in rendered.container("operator")["volumeMounts"] if one["mountPath"] == folder]
        (volume,) = [one for one in rendered.pod("operator")["spec"]["volumes"] if one["name"] == mount["name"]]
        assert volume["configMap"] == {"name": "laneway-presets"}

    def test_changed_preset_restarts_the_operator_and_nothing_else(self) -> None:
        before, after = (render({"presets": {"mine": {**MINE, "image": image}}}) for image in ("a:1", "a:2"))
        assert before.pod("operator") != after.pod("operator")
        assert before.pod("gateway") == after.pod("gateway")


class TestDisruptionBudget:
    @pytest.mark.parametrize(
        ("values", "bound"),
        [
            pytest.param({}, {"maxUnavailable": 1}, id="one replica at a time may be evicted"),
            pytest.param({"maxUnavailable": "50%"}, {"maxUnavailable": "50%"}, id="or a share of them"),
            pytest.param({"minAvailable": 2}, {"minAvailable": 2}, id="or as many as leave two"),
            pytest.param({"minAvailable": 0}, {"minAvailable": 0}, id="none at all is a number too"),
        ],
    )
    def test_bound_on_evictions(self, values: Object, bound: Object) -> None:
        spec = render(nested("operator.podDisruptionBudget", values)).get("PodDisruptionBudget", "laneway-operator")[
            "spec"
        ]
        assert {key: spec[key] for key in ("maxUnavailable", "minAvailable") if key in spec} == bound
        assert spec["unhealthyPodEvictionPolicy"] == "AlwaysAllow"

    def test_switched_off_there_is_none(self) -> None:
        assert render(nested("operator.podDisruptionBudget.enabled", False)).kind("PodDisruptionBudget") == []


class TestExtraObjects:
    def test_objects_and_texts_are_rendered_as_templates(self) -> None:
        one = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-one"}}
        two = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{ include \"laneway.fullname\" . }}-two'}"
        names = [found["metadata"]["name"] for found in render({"extraObjects": [one, two]}).kind("ConfigMap")]
        assert names == ["laneway-one", "laneway-two"]


class TestHelmTest:
    def test_pod_belongs_to_no_component_and_runs_only_when_asked_for(self) -> None:
        pod = render().get("Pod", "laneway-test")
        assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
        assert pod["metadata"]["labels"]["app.kubernetes.io/component"] == "test"
        assert pod["spec"]["restartPolicy"] == "Never"

    @pytest.mark.parametrize(
        ("values", "namespaces"),
        [
            pytest.param({}, [], id="in the whole cluster"),
            pytest.param({"watchNamespaces": ["a", "b"]}, ["a", "b"], id="in the served namespaces"),
        ],
    )
    def test_arguments_are_what_the_program_takes(self, values: Object, namespaces: list[str]) -> None:
        rendered = render(values)
        [container] = rendered.get("Pod", "laneway-test")["spec"]["containers"]
        options = parser().parse_args(container["args"])
        assert (options.command, options.namespace) == ("check", namespaces)
        ports = {
            port["containerPort"]
            for component in COMPONENTS
            for port in rendered.container(component)["ports"]
            if port["name"] != "operator"
        }
        assert {httpx.URL(url).port for url in options.answers} == ports - {9090} | {9090}
        for url in options.answers:
            rendered.get("Service", httpx.URL(url).host.split(".")[0])


class TestAnnotationsForArtifactHub:
    ANNOTATIONS: Object = yaml.safe_load((CHART / "Chart.yaml").read_text())["annotations"]

    def test_kinds_and_examples_are_those_of_the_definitions(self) -> None:
        kinds = yaml.safe_load(self.ANNOTATIONS["artifacthub.io/crds"])
        served = {
            (crd["metadata"]["name"], crd["spec"]["names"]["kind"], crd["spec"]["versions"][0]["name"])
            for crd in render().kind("CustomResourceDefinition")
        }
        assert {(one["name"], one["kind"], one["version"]) for one in kinds} == served
        lane, agent_run = yaml.safe_load(self.ANNOTATIONS["artifacthub.io/crdsExamples"])
        _assert_valid(lane, agent_run)

    def test_image_is_the_one_that_is_installed(self) -> None:
        [image] = yaml.safe_load(self.ANNOTATIONS["artifacthub.io/images"])
        assert image["image"] == render().container("operator")["image"]

    def test_changes_are_of_kinds_that_artifact_hub_knows(self) -> None:
        kinds = {"added", "changed", "deprecated", "removed", "fixed", "security"}
        changes = yaml.safe_load(self.ANNOTATIONS["artifacthub.io/changes"])
        assert changes
        assert all(change["kind"] in kinds and change["description"] for change in changes)


class TestNotes:
    @pytest.mark.parametrize(
        ("values", "namespace"),
        [
            pytest.param({}, "default", id="the example goes to the default namespace"),
            pytest.param({"watchNamespaces": ["team-a"]}, "team-a", id="or to one that is served"),
        ],
    )
    def test_example_is_valid_and_for_a_served_namespace(self, tmp_path: Path, values: Object, namespace: str) -> None:
        notes = _notes(tmp_path, values)
        lane, agent_run = yaml.safe_load_all(notes.split("<<END\n")[1].split("\nEND\n")[0])
        _assert_valid(lane, agent_run)
        assert agent_run["spec"]["models"] == [{"lane": lane["metadata"]["name"]}]
        assert f"kubectl apply -n {namespace} -f -" in notes

    def test_run_pods_that_no_policy_bounds_are_told_of(self, tmp_path: Path) -> None:
        assert "No NetworkPolicy bounds the run pods" in _notes(tmp_path / "one", nested("networkPolicy.enabled", True))
        bound = {"networkPolicy": {"enabled": True}, "watchNamespaces": ["a"]}
        assert "No NetworkPolicy" not in _notes(tmp_path / "two", bound)

    def test_there_are_three_parts(self, tmp_path: Path) -> None:
        starts = [line[:2] for line in _notes(tmp_path, {}).splitlines() if line[:1].isdigit()]
        assert starts == ["1.", "2.", "3."]


def _assert_valid(lane: Object, agent_run: Object) -> None:
    for model, example in ((ModelLaneSpec, lane), (AgentRunSpec, agent_run)):
        parsed = model.model_validate(example["spec"])
        assert parsed.model_dump(mode="json", exclude_unset=True) == example["spec"], "a field is unknown"


def _notes(folder: Path, values: Object) -> str:
    """NOTES.txt as helm renders it. `helm template` leaves the notes out, so a copy of the chart shows them as an object."""
    chart = folder / "laneway"
    shutil.copytree(CHART, chart)
    notes = (chart / "templates" / "NOTES.txt").read_text()
    (chart / "templates" / "_notes.tpl").write_text(f'{{{{- define "notes" -}}}}\n{notes}{{{{ end -}}}}')
    (chart / "templates" / "notes.yaml").write_text('notes: {{ include "notes" . | toJson }}\n')
    flags = ("--namespace", NAMESPACE, "--kube-version", KUBERNETES, "--show-only", "templates/notes.yaml")
    result = run("template", "laneway", str(chart), *flags, values=values)
    assert result.returncode == 0, result.stderr
    text: str = yaml.safe_load(result.stdout)["notes"]
    return text


def _selector(found: Object) -> dict[str, str]:
    selector: dict[str, Any] = found["spec"]["selector"]
    labels: dict[str, str] = selector.get("matchLabels", selector)
    return labels


def _cluster_scoped(rendered: Rendered) -> list[Object]:
    return [found for found in rendered.objects if found["kind"] in CLUSTER_SCOPED]


def _ledger_volume(rendered: Rendered) -> Object:
    volume = next(one for one in rendered.pod("gateway")["spec"]["volumes"] if one["name"] == "ledger")
    return {key: value for key, value in volume.items() if key != "name"}
