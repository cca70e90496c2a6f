"""From an API model to a Kubernetes structural schema: no references, no unions, and bounds on everything.

The API server computes the worst cost of every CEL rule from the bounds, and ``kubectl explain`` shows the descriptions; so a
field without one of them is an error here, not a surprise on a cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from laneway.api.base import Model

Schema = dict[str, Any]

_INT_OR_STRING = "x-kubernetes-int-or-string"
_PRESERVE = "x-kubernetes-preserve-unknown-fields"
_LIST_TYPE = "x-kubernetes-list-type"
_LIST_KEYS = "x-kubernetes-list-map-keys"
_VALIDATIONS = "x-kubernetes-validations"

_CHILDREN = ("properties", "items", "additionalProperties")
# The order in which a schema is written.
_KEPT = (
    "description", "type", "format", "default", "enum", "pattern", "minLength", "maxLength", "minimum", "maximum", "minItems",
    "maxItems", "minProperties", "maxProperties", _INT_OR_STRING, _PRESERVE, _LIST_TYPE, _LIST_KEYS, "x-kubernetes-map-type",
    _VALIDATIONS, "required", *_CHILDREN,
)  # fmt: skip
# propertyNames: a structural schema cannot bound the keys of a map; the API server bounds them by the size of a request.
_DROPPED = frozenset({"title", "propertyNames"})
_BOUNDS: Mapping[str, tuple[str, ...]] = {"integer": ("minimum", "maximum"), "array": ("maxItems", _LIST_TYPE)}


class _Generator(GenerateJsonSchema):
    """Adds what pydantic does not know: CEL rules, atomic objects, and defaults as they are sent."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        result = super().model_schema(schema)
        model: type[Model] = schema["cls"]
        if model.rules:
            result[_VALIDATIONS] = [rule.to_wire() for rule in model.rules]
        if model.atomic:
            result["x-kubernetes-map-type"] = "atomic"
        return result

    def encode_default(self, dft: Any) -> Any:
        return dft.to_wire() if isinstance(dft, Model) else super().encode_default(dft)


def structural_schema(model: type[Model]) -> Schema:
    """The structural schema of a model.

    Raises ValueError, naming the field, when a description, a bound or a list type is missing, or when the type cannot be said
    in a structural schema.
    """
    document = model.model_json_schema(by_alias=True, schema_generator=_Generator)
    return _convert(document, definitions=document.pop("$defs", {}), path=model.__name__)


def _convert(node: Schema, *, definitions: Schema, path: str) -> Schema:
    node = _flat(node, definitions=definitions, path=path)
    if unknown := set(node) - set(_KEPT) - _DROPPED:
        raise ValueError(f"{path}: a structural schema cannot say {', '.join(sorted(unknown))}")
    if node.get(_PRESERVE):
        node.pop("additionalProperties", None)
    if node.get("additionalProperties") is True:
        raise ValueError(f"{path}: a map must say what its values are, or carry {_PRESERVE}")
    if "properties" in node:
        node["properties"] = {
            name: _property(child, definitions=definitions, path=f"{path}.{name}")
            for name, child in node["properties"].items()
        }
    for key, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if key in node:
            node[key] = _convert(node[key], definitions=definitions, path=path + mark)
    return _ordered(_bounded(node, path=path))


def _property(node: Schema, *, definitions: Schema, path: str) -> Schema:
    schema = _convert(node, definitions=definitions, path=path)
    if not schema.get("description"):
        raise ValueError(f"{path}: a description is missing")
    return schema


def _flat(node: Schema, *, definitions: Schema, path: str) -> Schema:
    """References and optional values resolved; what stands beside a reference wins, rules of both are kept."""
    rest = dict(node)
    if "$ref" in rest:
        inner = definitions[rest.pop("$ref").rsplit("/", 1)[-1]]
    elif "anyOf" in rest:
        branches = [branch for branch in rest.pop("anyOf") if branch.get("type") != "null"]
        if len(branches) != 1:
            raise ValueError(f"{path}: a structural schema cannot say a union of {len(branches)} types")
        inner = branches[0]
    else:
        return rest
    inner = _flat(inner, definitions=definitions, path=path)
    if rules := [*inner.get(_VALIDATIONS, []), *rest.get(_VALIDATIONS, [])]:
        rest[_VALIDATIONS] = rules
    return {**inner, **rest}


def _bounded(node: Schema, *, path: str) -> Schema:
    if node.get(_INT_OR_STRING):
        node.pop("type", None)
        return _need(node, "maxLength", "minimum", "maximum", path=path)
    kind = node.get("type")
    match kind:
        case "integer":
            node["format"] = "int64"
        case "string" if "enum" not in node and node.get("format") != "date-time":
            _need(node, "maxLength", path=path)
        case "object" if "additionalProperties" in node:
            _need(node, "maxProperties", path=path)
        case "object" if "properties" not in node and not node.get(_PRESERVE):
            raise ValueError(f"{path}: an object without fields")
        case "string" | "object" | "array" | "boolean":
            pass
        case _:
            raise ValueError(f"{path}: a structural schema cannot say the type {kind}")
    if node.get(_LIST_TYPE) == "map":
        _check_keys(node, path=path)
    return _need(node, *_BOUNDS.get(str(kind), ()), path=path)


def _need(node: Schema, *keys: str, path: str) -> Schema:
    if missing := [key for key in keys if key not in node]:
        raise ValueError(f"{path}: {' and '.join(missing)} missing")
    return node


def _check_keys(node: Schema, *, path: str) -> None:
    for key in node[_LIST_KEYS]:
        item = node["items"]
        if key not in item.get("required", []) and "default" not in item["properties"].get(key, {}):
            raise ValueError(f"{path}: the list key {key} must be required or have a default")


def _ordered(node: Schema) -> Schema:
    result = {key: node[key] for key in _KEPT if key in node}
    if "description" in result:
        result["description"] = " ".join(result["description"].split())
    # No default is not the same as a default of null, and an empty list in a status is just absent.
    if result.get("default", 0) in (None, []):
        del result["default"]
    return result
