"""kubeconform, as the pipelines of users run it, with the schemas of the API server at hand: those it would fetch are of no version of ours."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from integration.charts import ROOT, ChartStage

_DEFINITIONS = "definitions.json"
_NAME = "{{.ResourceKind}}{{.KindSuffix}}.json"
_EITHER: dict[str, Any] = {"type": ["string", "number"]}


@dataclass(frozen=True)
class Kubeconform:
    """The program, and a folder with a schema for each kind."""

    program: str
    folder: Path

    def judge(self, manifest: str) -> dict[str, Any]:
        """Its verdict on a manifest, with the resources that it does not like."""
        where = f"{self.folder}/{_NAME}"
        command = [self.program, "-strict", "-summary", "-output", "json", "-schema-location", where, "-"]
        done = subprocess.run(command, input=manifest, capture_output=True, text=True, check=False, timeout=60)
        verdict: dict[str, Any] = json.loads(done.stdout)
        return verdict


def kubeconform(chart: ChartStage, folder: Path) -> Kubeconform:
    """With what the API server says of all its kinds, in which a field that it does not name is an error."""
    done = subprocess.run([ROOT / "hack" / "tool", "kubeconform"], capture_output=True, text=True, check=True)
    document = json.loads(chart.kubectl("get", "--raw", "/openapi/v2"))
    definitions = {name: _strict(schema) for name, schema in document["definitions"].items()}
    definitions["io.k8s.apimachinery.pkg.api.resource.Quantity"] = _EITHER
    definitions["io.k8s.apimachinery.pkg.util.intstr.IntOrString"] = _EITHER
    (folder / _DEFINITIONS).write_text(json.dumps({"definitions": definitions}))
    for name, schema in document["definitions"].items():
        for kind in schema.get("x-kubernetes-group-version-kind", ()):
            group = f"-{kind['group'].partition('.')[0]}" if kind["group"] else ""
            (folder / f"{kind['kind'].lower()}{group}-{kind['version']}.json").write_text(
                json.dumps({"$ref": f"{_DEFINITIONS}#/definitions/{name}"})
            )
    return Kubeconform(done.stdout.split()[-1], folder)


def _strict(schema: Any) -> Any:
    """A schema that knows no other fields than its own, with references into the one file of definitions."""
    if isinstance(schema, list):
        return [_strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {name: _strict(value) for name, value in schema.items()}
    if isinstance(strict.get("$ref"), str):
        strict["$ref"] = f"{_DEFINITIONS}{strict['$ref']}"
    # "is True", for a schema of schemas has properties of these names.
    if isinstance(strict.get("properties"), dict) and schema.get("x-kubernetes-preserve-unknown-fields") is not True:
        strict.setdefault("additionalProperties", False)
    return _EITHER if schema.get("x-kubernetes-int-or-string") is True else strict
