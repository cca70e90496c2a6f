"""The schema generator: what it writes for each kind of field, and what it refuses to write."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, ClassVar

import pytest
from pydantic import Field, create_model

from laneway.api.base import ATOMIC_LIST, Model, Rule, Time, int_or_string, list_map
from laneway.api.podoptions import ruled
from laneway.api.schema import structural_schema


class Colour(StrEnum):
    RED = "Red"
    BLUE = "Blue"


class Ref(Model):
    """A reference."""

    atomic: ClassVar[bool] = True
    rules: ClassVar[tuple[Rule, ...]] = (Rule("self.name != 'x'", "name must not be x", field=".name"),)

    name: str = Field(min_length=1, max_length=10, description="Name.")
    note: str | None = Field(default=None, max_length=5, description="Note.")


class Bounds(Model):
    """Bounds with defaults."""

    runs: int = Field(default=4, ge=1, le=10, description="Runs.")
    calls: int | None = Field(default=None, ge=1, le=10, description="Calls.")


def field_schema(annotation: Any, **field: Any) -> dict[str, Any]:
    """The schema of one field in a model of its own."""
    default = field.pop("default", ...)
    model = create_model("Sample", __base__=Model, __doc__="A sample.", value=(annotation, Field(default, **field)))
    schema: dict[str, Any] = structural_schema(model)["properties"]["value"]
    return schema


ACCEPTED = [
    pytest.param(
        str,
        {"max_length": 5, "pattern": "^a$"},
        {"type": "string", "maxLength": 5, "pattern": "^a$"},
        id="a string keeps its bounds and its pattern",
    ),
    pytest.param(
        str | None,
        {"default": None, "max_length": 5},
        {"type": "string", "maxLength": 5},
        id="an optional string is a string that may be left out, not a union with null",
    ),
    pytest.param(
        int,
        {"ge": 1, "le": 9, "default": 3},
        {"type": "integer", "format": "int64", "default": 3, "minimum": 1, "maximum": 9},
        id="a number is an int64 with both bounds",
    ),
    pytest.param(
        bool,
        {"default": False},
        {"type": "boolean", "default": False},
        id="a boolean needs no bounds; false is a default",
    ),
    pytest.param(
        Colour,
        {"default": Colour.RED},
        {"type": "string", "default": "Red", "enum": ["Red", "Blue"]},
        id="an enum is its values, and its default is one of them",
    ),
    pytest.param(
        Colour | None,
        {"default": None},
        {"type": "string", "enum": ["Red", "Blue"]},
        id="an optional enum has no null value",
    ),
    pytest.param(Time, {}, {"type": "string", "format": "date-time"}, id="a time is a date-time, which bounds it"),
    pytest.param(
        tuple[Annotated[str, Field(max_length=3)], ...],
        {"max_length": 2, "default": (), "json_schema_extra": ATOMIC_LIST},
        {
            "type": "array",
            "maxItems": 2,
            "x-kubernetes-list-type": "atomic",
            "items": {"type": "string", "maxLength": 3},
        },
        id="a list keeps its bounds, and an empty default is not written",
    ),
    pytest.param(
        dict[Annotated[str, Field(max_length=9)], Annotated[str, Field(max_length=3)]],
        {"max_length": 2},
        {"type": "object", "maxProperties": 2, "additionalProperties": {"type": "string", "maxLength": 3}},
        id="a map bounds its values and how many there are; its keys cannot be bounded",
    ),
    pytest.param(
        dict[str, Any],
        {"json_schema_extra": {"x-kubernetes-preserve-unknown-fields": True}},
        {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        id="an opaque object keeps what it is given",
    ),
    pytest.param(
        Annotated[str, Field(max_length=4, pattern="^[0-9.]+$", json_schema_extra=int_or_string(maximum=9))] | None,
        {"default": None},
        {"pattern": "^[0-9.]+$", "maxLength": 4, "minimum": 0, "maximum": 9, "x-kubernetes-int-or-string": True},
        id="a decimal string may be a whole number, and has no single type",
    ),
    pytest.param(
        Bounds,
        {"default": Bounds()},
        {
            "type": "object",
            "default": {"runs": 4},
            "properties": {
                "runs": {
                    "description": "Runs.",
                    "type": "integer",
                    "format": "int64",
                    "default": 4,
                    "minimum": 1,
                    "maximum": 10,
                },
                "calls": {"description": "Calls.", "type": "integer", "format": "int64", "minimum": 1, "maximum": 10},
            },
        },
        id="the default of an object holds its fields' defaults, because rules see it before those are filled in",
    ),
    pytest.param(
        Ref | None,
        {"default": None, "json_schema_extra": ruled(Rule("self.name != 'y'", "name must not be y"))},
        {
            "type": "object",
            "x-kubernetes-map-type": "atomic",
            "x-kubernetes-validations": [
                {"rule": "self.name != 'x'", "message": "name must not be x", "fieldPath": ".name"},
                {"rule": "self.name != 'y'", "message": "name must not be y"},
            ],
            "required": ["name"],
            "properties": {
                "name": {"description": "Name.", "type": "string", "minLength": 1, "maxLength": 10},
                "note": {"description": "Note.", "type": "string", "maxLength": 5},
            },
        },
        id="an atomic object keeps its own rules and gets those of the field",
    ),
]


@pytest.mark.parametrize(("annotation", "field", "expected"), ACCEPTED)
def test_a_field_becomes_a_structural_schema(annotation: Any, field: dict[str, Any], expected: dict[str, Any]) -> None:
    assert field_schema(annotation, description="Words.", **field) == {"description": "Words.", **expected}


REFUSED = [
    pytest.param(
        str, {"max_length": 1, "description": None}, "Sample.value: a description is missing", id="no description"
    ),
    pytest.param(str, {}, "Sample.value: maxLength missing", id="a string without a bound"),
    pytest.param(
        str | None, {"default": None}, "Sample.value: maxLength missing", id="an optional string without a bound"
    ),
    pytest.param(int, {"ge": 0}, "Sample.value: maximum missing", id="a number without a highest value"),
    pytest.param(int, {"le": 0}, "Sample.value: minimum missing", id="a number without a lowest value"),
    pytest.param(int, {"gt": 0, "le": 9}, "cannot say exclusiveMinimum", id="a bound that OpenAPI writes another way"),
    pytest.param(float, {"ge": 0, "le": 1}, "cannot say the type number", id="a float"),
    pytest.param(
        tuple[Annotated[str, Field(max_length=3)], ...],
        {"json_schema_extra": ATOMIC_LIST},
        "Sample.value: maxItems missing",
        id="a list without a bound",
    ),
    pytest.param(
        tuple[Annotated[str, Field(max_length=3)], ...],
        {"max_length": 3},
        "Sample.value: x-kubernetes-list-type missing",
        id="a list that does not say how it is merged",
    ),
    pytest.param(
        tuple[str, ...],
        {"max_length": 3, "json_schema_extra": ATOMIC_LIST},
        r"Sample.value\[\]: maxLength missing",
        id="a list whose items have no bound",
    ),
    pytest.param(
        tuple[Ref, ...],
        {"max_length": 3, "json_schema_extra": list_map("note")},
        "the list key note must be required or have a default",
        id="a keyed list whose key may be left out",
    ),
    pytest.param(
        dict[str, Annotated[str, Field(max_length=3)]],
        {},
        "Sample.value: maxProperties missing",
        id="a map without a bound",
    ),
    pytest.param(
        dict[str, str], {"max_length": 3}, r"Sample.value\{\}: maxLength missing", id="a map of unbounded values"
    ),
    pytest.param(
        dict[str, Any], {"max_length": 3}, "Sample.value: a map must say what its values are", id="a map of anything"
    ),
    pytest.param(Ref | Bounds, {}, "cannot say a union of 2 types", id="a union"),
    pytest.param(
        Annotated[str, Field(json_schema_extra=int_or_string(maximum=9))],
        {},
        "Sample.value: maxLength missing",
        id="a decimal string without a bound",
    ),
]


@pytest.mark.parametrize(("annotation", "field", "message"), REFUSED)
def test_a_field_that_says_too_little_is_refused(annotation: Any, field: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        field_schema(annotation, **{"description": "Words.", **field})


def test_a_fault_deep_inside_is_named_by_its_path() -> None:
    inner = create_model("Inner", __base__=Model, __doc__="Inner.", name=(str, Field(description="Name.")))
    with pytest.raises(ValueError, match=r"^Sample\.value\[\]\.name: maxLength missing$"):
        field_schema(tuple[inner, ...], description="Words.", max_length=1, json_schema_extra=ATOMIC_LIST)


def test_a_rule_on_create_and_update_is_marked_so() -> None:
    rule = Rule("oldSelf.hasValue()", "message", optional_old_self=True)
    assert rule.to_wire() == {"rule": "oldSelf.hasValue()", "message": "message", "optionalOldSelf": True}


def test_long_docstrings_become_one_line() -> None:
    model = create_model(
        "Sample", __base__=Model, __doc__="Two\n\n    lines.", value=(bool, Field(description="One\n line."))
    )
    schema = structural_schema(model)
    assert (schema["description"], schema["properties"]["value"]["description"]) == ("Two lines.", "One line.")
