"""What GitOps tools are given: argocd-cm is made from the scripts, test data are objects of ours, and a schema fills in nothing that they compare."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from laneway.api.agentrun import AgentRunSpec
from laneway.api.base import Model
from laneway.api.crds import KINDS, Kind, root_schema
from laneway.api.modellane import ModelLaneSpec, ModelLaneStatus
from laneway.api.reasons import End, LaneReason, Waiting
from laneway.api.runstatus import AgentRunStatus

ROOT = Path(__file__).parents[2]
ARGOCD = ROOT / "argocd"
TEST_DATA = sorted((ARGOCD / "resource_customizations").rglob("testdata/*.yaml"))
MODELS: dict[str, tuple[type[Model], type[Model]]] = {
    "AgentRun": (AgentRunSpec, AgentRunStatus),
    "ModelLane": (ModelLaneSpec, ModelLaneStatus),
}
REASONS = {*Waiting, *End, *LaneReason, "Waiting", "Finished", "SlotGranted", "NotStalled", "Running"}


def test_argocd_cm_is_what_hack_argocd_cm_writes() -> None:
    command = [sys.executable, str(ROOT / "hack" / "argocd-cm"), "--print"]
    made = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert (ARGOCD / "argocd-cm.yaml").read_text() == made


def test_argocd_cm_holds_each_script_and_names_paths_that_there_are() -> None:
    data = yaml.safe_load((ARGOCD / "argocd-cm.yaml").read_text())["data"]
    for kind in MODELS:
        folder = ARGOCD / "resource_customizations" / "laneway.dev" / kind
        key = f"resource.customizations.{{}}.laneway.dev_{kind}"
        assert data[key.format("health")] == (folder / "health.lua").read_text()
        actions = yaml.safe_load(data[key.format("actions")])
        assert actions["discovery.lua"] == (folder / "actions" / "discovery.lua").read_text()
        files = {file.parent.name: file.read_text() for file in (folder / "actions").glob("*/action.lua")}
        assert {one["name"]: one["action.lua"] for one in actions["definitions"]} == files
        for pointer in yaml.safe_load(data[key.format("ignoreResourceUpdates")])["jsonPointers"]:
            schema = root_schema(next(each.model for each in KINDS if each.model.__name__ == kind))
            for part in pointer.strip("/").split("/"):
                schema = schema["properties"][part]
    assert len(data) == 3 * len(MODELS)


@pytest.mark.parametrize("path", [pytest.param(path, id=path.relative_to(ARGOCD).as_posix()) for path in TEST_DATA])
def test_test_data_of_scripts_are_objects_as_the_operator_writes_them(path: Path) -> None:
    found = yaml.safe_load(path.read_text())
    spec, status = MODELS[found["kind"]]
    said = found.get("status", {})
    for model, part in ((spec, found["spec"]), (status, said)):
        assert set(part) <= {field.alias or name for name, field in model.model_fields.items()}
        model.model_validate(part)
    if said:
        assert {one["reason"] for one in said["conditions"]} <= REASONS


@pytest.mark.parametrize("kind", [pytest.param(kind, id=kind.name) for kind in KINDS])
def test_no_item_of_a_list_of_the_spec_has_a_default(kind: Kind) -> None:
    assert list(defaults_of_items(root_schema(kind.model)["properties"]["spec"], "spec", inside=False)) == []


def defaults_of_items(schema: dict[str, Any], path: str, *, inside: bool) -> Iterator[str]:
    if inside and "default" in schema:
        yield path
    for name, child in schema.get("properties", {}).items():
        yield from defaults_of_items(child, f"{path}.{name}", inside=inside)
    if "items" in schema:
        yield from defaults_of_items(schema["items"], f"{path}[]", inside=True)
