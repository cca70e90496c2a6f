"""values.yaml and its schema: they name the same keys, and a wrong value is refused by its name."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

import pytest
import yaml

from laneway.api.base import wire_name
from laneway.controller.facts.presets import Preset
from unit.chart.rendering import CHART, TREE, Object, nested, refusal, render

VALUES: Object = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA: Object = json.loads((CHART / "values.schema.json").read_text())
UNREAD = {"global", "enabled"}
WHOLE = {"resources", "affinity", "securityContext", "dnsConfig", "seLinuxOptions"}
"""Values that are given as a whole, in the words of Kubernetes."""
OPEN = {
    "global",
    "nodeAffinity",
    "podAffinity",
    "podAntiAffinity",
    "labelSelector",
    "valueFrom",
    "namedObject",
    "anyObject",
    "metadata",
}
"""What the API server checks itself, in more detail than this schema could."""


@pytest.mark.parametrize(
    ("path", "named"),
    [
        pytest.param("replicas", "replicas", id="at the top"),
        pytest.param("image.repositry", "repositry", id="of the image"),
        pytest.param("crds.install", "install", id="of the definitions"),
        pytest.param("rbac.clusterRoles", "clusterRoles", id="of the rights"),
        pytest.param("podSecurityContext.privileged", "privileged", id="of the security context"),
        pytest.param("operator.replica", "replica", id="of the operator"),
        pytest.param("operator.serviceAccount.nam", "nam", id="of a service account"),
        pytest.param("gateway.persistance", "persistance", id="of the gateway"),
        pytest.param("gateway.persistence.storageClass", "storageClass", id="of the gateway's volume"),
        pytest.param("gateway.resources.request", "request", id="of the resources"),
        pytest.param("presets.mine.imag", "imag", id="of a preset"),
        pytest.param("presets.My Preset", "My Preset", id="as a preset's name that no run could name"),
        pytest.param("gateway.affinity.nodeAfinity", "nodeAfinity", id="of the affinity"),
        pytest.param("securityContext.privileged", "privileged", id="of the containers' security context"),
        pytest.param("operator.podDisruptionBudget.maxUnavailible", "maxUnavailible", id="of the disruption budget"),
        pytest.param("metrics.servicemonitor", "servicemonitor", id="of the metrics"),
        pytest.param("metrics.serviceMonitor.labels", "labels", id="of the ServiceMonitor"),
        pytest.param("metrics.prometheusRule.group", "group", id="of the PrometheusRule"),
        pytest.param("metrics.dashboards.folder", "folder", id="of the dashboards"),
        pytest.param("networkPolicy.enable", "enable", id="of the network policies"),
        pytest.param("gateway.service.type", "type", id="of the gateway's Service"),
        pytest.param("dnsConfig.nameserver", "nameserver", id="of the DNS settings"),
    ],
)
def test_misspelt_key_is_refused_by_its_name(path: str, named: str) -> None:
    message = refusal(nested(path, "x"))
    assert f"'{named}'" in message, message
    assert "additional properties" in message.lower(), message


@pytest.mark.parametrize(
    ("path", "value"),
    [
        pytest.param("logLevel", "verbose", id="a log level that does not exist"),
        pytest.param("logFormat", "xml", id="a log format that does not exist"),
        pytest.param("watchNamespaces", ["Team A"], id="a namespace that cannot exist"),
        pytest.param("watchNamespaces", ["a", "a"], id="a namespace named twice"),
        pytest.param("operator.replicas", "2", id="a number as a string"),
        pytest.param("podSecurityContext.runAsUser", 0, id="root as the user"),
        pytest.param("gateway.persistence.accessMode", "ReadWriteMany", id="a volume with two writers"),
        pytest.param("gateway.persistence.size", "1 GB", id="a size that is no quantity"),
        pytest.param("image.digest", "latest", id="a digest that is none"),
        pytest.param("gateway.upstream.deny", ["example.com"], id="a name instead of a network"),
        pytest.param("presets", {"mine": {"image": "x"}}, id="a preset without a description"),
        pytest.param("metrics.serviceMonitor.renderMode", "maybe", id="a render mode that does not exist"),
        pytest.param("metrics.serviceMonitor.interval", "30", id="an interval without a unit"),
        pytest.param("networkPolicy.dnsPorts", [], id="no port for DNS"),
        pytest.param("networkPolicy.runEgress", [{"to": [{"cidr": "10.0.0.0/8"}]}], id="a peer that is none"),
        pytest.param("operator.extraEnv", [{"name": "LANEWAY_LOG_LEVEL"}], id="a variable that is the chart's own"),
        pytest.param("operator.podDisruptionBudget.maxUnavailable", "half", id="a share that is no percentage"),
        pytest.param("securityContext.seccompProfile.type", "Unconfined", id="no seccomp profile at all"),
        pytest.param("extraObjects", [{"kind": "ConfigMap"}], id="an object without its API version"),
    ],
)
def test_wrong_value_is_refused_where_it_stands(path: str, value: object) -> None:
    assert path.replace(".", "/") in refusal(nested(path, value)).replace(".", "/")


def test_chart_can_be_a_dependency_with_a_condition() -> None:
    assert render({"enabled": True, "global": {"any": "thing"}}).kind("Deployment")


def test_every_value_is_in_the_schema_and_every_key_of_the_schema_has_a_default() -> None:
    assert _keys_of_values(VALUES) == _keys_of_schema(SCHEMA) - UNREAD


def test_every_value_has_a_sentence() -> None:
    lines = (CHART / "values.yaml").read_text().splitlines()
    listed = {name.rpartition(".")[2] for name in _keys_of_values(VALUES)}
    for before, line in itertools.pairwise(lines):
        key = line.strip().partition(":")[0]
        if key in listed and not line.strip().startswith("#") and _leaf(line):
            assert before.strip().startswith("# -- "), line


def test_a_preset_has_the_fields_that_the_operator_knows() -> None:
    known = {field.alias or wire_name(name) for name, field in Preset.model_fields.items()}
    assert SCHEMA["definitions"]["preset"]["properties"].keys() == known


def test_docs_name_only_values_that_exist() -> None:
    table = (TREE / "docs" / "install.md").read_text().partition("## Main values")[2].partition("## Upgrade")[0]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    named = {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}
    assert len(named) > 10
    assert named - _keys_of_values(VALUES) == set()


def test_schema_is_closed_at_every_object() -> None:
    still_open = [path for path, node in _objects(SCHEMA) if node.get("additionalProperties", True) is True]
    assert {path.rpartition("/")[2] for path in still_open} == OPEN


def _leaf(line: str) -> bool:
    """A value of its own, not the parent of other values."""
    return not line.rstrip().endswith(":") or line.strip() == "resources:"


def _keys_of_values(values: Object, prefix: str = "") -> set[str]:
    names: set[str] = set()
    for key, value in values.items():
        path = f"{prefix}{key}"
        if isinstance(value, dict) and value and key != "resources":
            names |= _keys_of_values(value, f"{path}.")
        else:
            names.add(path)
    return names


def _keys_of_schema(schema: Object, prefix: str = "") -> set[str]:
    names: set[str] = set()
    for key, value in schema["properties"].items():
        path = f"{prefix}{key}"
        resolved = _resolve(value)
        if key in WHOLE or "properties" not in resolved:
            names.add(path)
        else:
            names |= _keys_of_schema(resolved, f"{path}.")
    return names


def _resolve(node: Object) -> Object:
    if "$ref" in node:
        resolved: Object = SCHEMA["definitions"][node["$ref"].rpartition("/")[2]]
        return resolved
    return node


def _objects(node: Any, path: str = "") -> list[tuple[str, Object]]:
    """Every part of the schema that describes an object, with where it stands."""
    if not isinstance(node, dict):
        return []
    found = [(path, node)] if node.get("type") == "object" else []
    for key, child in [
        item for part in ("properties", "patternProperties", "definitions") for item in node.get(part, {}).items()
    ]:
        found += _objects(child, f"{path}/{key}")
    found += _objects(node.get("additionalProperties"), f"{path}.*")
    return found + _objects(node.get("items"), f"{path}[]")
