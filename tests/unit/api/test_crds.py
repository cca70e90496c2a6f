"""The generated files: equal to what is in the tree, small, safe in a chart, and complete."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from laneway.api import crds
from laneway.api.agentrun import AgentRun
from laneway.api.modellane import ModelLane

ROOT = Path(__file__).parents[3]
FOLDERS = ("crds", "helm/laneway/files/crds")
YAML_1_1_BOOLEANS = {"on", "off", "yes", "no", "y", "n"}
KINDS = [pytest.param(kind, id=kind.model.__name__) for kind in crds.KINDS]


def schema_of(kind: crds.Kind) -> dict[str, Any]:
    return crds.root_schema(kind.model)


def walk(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema below this one with its path."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from walk(child, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in schema:
            yield from walk(schema[key], f"{path}[]")


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_files_in_the_tree_are_those_that_the_models_give(folder: str) -> None:
    found = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / folder).iterdir()}
    assert found == crds.files(), "run: make crds"


def test_the_reference_in_the_tree_is_the_one_that_the_models_give() -> None:
    assert (ROOT / crds.REFERENCE).read_text(encoding="utf-8") == crds.reference(), "run: make crds"


def test_write_makes_the_folders_and_says_what_it_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "docs").mkdir()
    monkeypatch.chdir(tmp_path)
    assert crds.write(["a", "b/c"]) == 0
    names = ["agentruns.laneway.dev.yaml", "modellanes.laneway.dev.yaml"]
    for folder in ("a", "b/c"):
        assert sorted(path.name for path in Path(folder).iterdir()) == names
    said = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert said == [f"{folder}/{name}" for folder in ("a", "b/c") for name in names] + ["docs/reference.md"]


def test_write_leaves_a_place_without_docs_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert crds.write(["crds"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["crds"]


@pytest.mark.parametrize("name", sorted(crds.files()))
def test_a_file_is_small_says_that_it_is_generated_and_holds_no_template(name: str) -> None:
    text = crds.files()[name]
    assert text.startswith(crds.HEADER)
    assert "{{" not in text
    assert len(text.encode()) < 256 * 1024
    document = yaml.safe_load(text)
    assert f"{document['metadata']['name']}.yaml" == name


@pytest.mark.parametrize("kind", KINDS)
def test_no_schema_uses_what_kubernetes_refuses(kind: crds.Kind) -> None:
    refused = {"$ref", "allOf", "anyOf", "oneOf", "not", "nullable", "title", "propertyNames", "const"}
    assert [path for path, schema in walk(schema_of(kind)) if refused & schema.keys()] == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_has_a_description_and_every_value_a_bound(kind: crds.Kind) -> None:
    schema = schema_of(kind)
    for path, node in walk(
        {"type": "object", "properties": {part: schema["properties"][part] for part in ("spec", "status")}}
    ):
        if path and not path.endswith("[]"):
            assert node.get("description"), path
        match node.get("type"):
            case "string":
                assert node.get("maxLength") or node.get("enum") or node.get("format") == "date-time", path
            case "integer":
                assert node["format"] == "int64", path
                assert node["minimum"] <= node["maximum"], path
            case "array":
                assert node["maxItems"] > 0, path
                assert node["x-kubernetes-list-type"] in {"atomic", "map", "set"}, path
            case "object":
                bounded = "properties" in node or "maxProperties" in node
                assert bounded or node.get("x-kubernetes-preserve-unknown-fields"), path
            case kind_of:
                assert kind_of == "boolean" or node["x-kubernetes-int-or-string"], path


@pytest.mark.parametrize("kind", KINDS)
def test_no_field_has_a_name_that_yaml_reads_as_a_boolean(kind: crds.Kind) -> None:
    names = {name for _, schema in walk(schema_of(kind)) for name in schema.get("properties", {})}
    assert names.isdisjoint(YAML_1_1_BOOLEANS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_rule_has_a_sentence_of_its_own(kind: crds.Kind) -> None:
    rules = [rule for _, schema in walk(schema_of(kind)) for rule in schema.get("x-kubernetes-validations", ())]
    assert rules
    for rule in rules:
        assert len(rule["message"].split()) > 3, rule


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        pytest.param(crds.AGENT_RUN, ("agentruns", "agentrun", ["agrun", "agruns"]), id="an AgentRun is an agrun"),
        pytest.param(crds.MODEL_LANE, ("modellanes", "modellane", ["lane", "lanes"]), id="a ModelLane is a lane"),
    ],
)
def test_the_names_of_a_kind(kind: crds.Kind, names: tuple[str, str, list[str]]) -> None:
    document = crds.definition(kind)
    found = document["spec"]["names"]
    assert (found["plural"], found["singular"], found["shortNames"]) == names
    assert found["categories"] == ["laneway"]
    (version,) = document["spec"]["versions"]
    assert (version["name"], version["served"], version["storage"]) == ("v1alpha1", True, True)
    assert version["subresources"] == {"status": {}}


def resolved(schema: dict[str, Any], path: str) -> dict[str, Any]:
    """The schema that a simple JSON path names; a filter or an index goes to the items of a list."""
    for step in path.replace("[", ".[").split("."):
        if step.startswith("["):
            schema = schema["items"]
        elif step and not step.startswith("@") and "==" not in step:
            schema = schema["properties"][step]
    return schema


@pytest.mark.parametrize("kind", KINDS)
def test_columns_and_selectable_fields_name_fields_that_exist(kind: crds.Kind) -> None:
    schema = schema_of(kind)
    schema["properties"]["metadata"]["properties"]["creationTimestamp"] = {"type": "date"}
    for column in kind.columns:
        path = column.path.replace('[?(@.type=="Ready")]', "[0]")
        assert resolved(schema, path)["type"] == column.type, column.name
    for path in kind.selectable:
        assert resolved(schema, path)["type"] in {"string", "boolean"}, path
    assert kind.columns[-1].name == "Age"


@pytest.mark.parametrize(
    ("model", "spec", "defaults"),
    [
        pytest.param(
            ModelLane,
            {"endpoint": {"url": "http://ollama:11434"}, "models": [{"name": "smollm2"}]},
            (
                "access",
                "capacity",
                "allowedNamespaces",
                "retry",
                "timeouts",
                "backoff",
                "cooldownSeconds",
                "fallbackAfterSeconds",
                "advanceOnPermanent",
                "probe",
                "suspend",
            ),
            id="a lane",
        ),
        pytest.param(
            AgentRun,
            {"prompt": "Hello", "models": [{"lane": "local"}]},
            (
                "agent",
                "selection",
                "onTransientError",
                "caller",
                "priority",
                "limits",
                "timeouts",
                "retry",
                "rounds",
                "result",
                "suspend",
                "cancel",
                "podTTLSeconds",
            ),
            id="a run",
        ),
    ],
)
def test_the_models_fill_in_the_defaults_that_the_schema_has(
    model: type[AgentRun] | type[ModelLane], spec: dict[str, Any], defaults: tuple[str, ...]
) -> None:
    wire: Any = model.model_validate({"spec": spec}).to_wire()["spec"]
    fields = crds.root_schema(model)["properties"]["spec"]["properties"]
    assert {name: fields[name]["default"] for name in fields if "default" in fields[name]} == {
        name: wire[name] for name in defaults
    }


@pytest.mark.parametrize("kind", KINDS)
def test_the_reference_has_every_field_and_every_rule(kind: crds.Kind) -> None:
    text = crds.reference()
    for path, schema in walk(schema_of(kind)):
        parts = path.split(".")[2:]
        if path.startswith((".spec.", ".status.")) and not path.endswith("[]") and "{}" not in path:
            assert f".{parts[-1]}`" in text or f"`{parts[-1]}`" in text, path
        for rule in schema.get("x-kubernetes-validations", ()):
            assert rule["message"].replace("|", "\\|") in text
