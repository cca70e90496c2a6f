"""What every API model shares: camelCase names, frozen values, RFC 3339 times, and CEL rules kept beside the fields."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, ClassVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict

GROUP = "laneway.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

_ACRONYMS = (("Api", "API"), ("Usd", "USD"), ("Uid", "UID"), ("Ttl", "TTL"))


def wire_name(field: str) -> str:
    """The camelCase name of a field, with acronyms in the Kubernetes way: ``cost_usd`` is ``costUSD``."""
    name = to_camel(field)
    for word, acronym in _ACRONYMS:
        name = name.replace(word, acronym)
    return name


def format_time(moment: datetime) -> str:
    """RFC 3339 in UTC with whole seconds, as metav1.Time is written."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


Time = Annotated[AwareDatetime, PlainSerializer(format_time, return_type=str)]
Generation = Annotated[int, Field(ge=0, le=9_000_000_000_000_000)]


@dataclass(frozen=True)
class Rule:
    """One CEL rule of the schema and the sentence that the API server answers when it fails.

    ``rule`` is the expression with ``self`` (and ``oldSelf``); ``message`` says what is allowed. ``field`` is the field that the
    answer points at, below ``self``, for example ``.spec.models``. ``optional_old_self`` makes a rule on ``oldSelf`` run on
    create too. ``message_expression`` computes the sentence, where a rule guards more than one field; ``message`` is then for readers.
    """

    rule: str
    message: str
    field: str | None = None
    optional_old_self: bool = False
    message_expression: str | None = None

    def to_wire(self) -> JsonDict:
        """The item of x-kubernetes-validations."""
        wire: JsonDict = {"rule": self.rule, "message": self.message}
        if self.field:
            wire["fieldPath"] = self.field
        if self.optional_old_self:
            wire["optionalOldSelf"] = True
        if self.message_expression:
            wire["messageExpression"] = self.message_expression
        return wire


class Model(BaseModel):
    """A part of the API. Unknown fields are ignored, so that a newer object does not stop an older operator."""

    model_config = ConfigDict(
        alias_generator=wire_name,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        extra="ignore",
        frozen=True,
    )

    rules: ClassVar[tuple[Rule, ...]] = ()
    atomic: ClassVar[bool] = False
    """True: server-side apply treats the object as one value (x-kubernetes-map-type: atomic)."""

    def to_wire(self) -> dict[str, object]:
        """The JSON form: camelCase, unknown values absent."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class Condition(Model):
    """One condition of an object, as metav1.Condition."""

    type: str = Field(min_length=1, max_length=316, description="What the condition is about, for example Ready.")
    status: str = Field(pattern="^(True|False|Unknown)$", max_length=7, description="True, False or Unknown.")
    reason: str = Field(
        min_length=1,
        max_length=128,
        pattern="^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
        description="Why, in one word that software may act on.",
    )
    message: str = Field(default="", max_length=4096, description="Why, in a sentence for people.")
    last_transition_time: Time = Field(description="When the status last changed.")
    observed_generation: Generation = Field(default=0, description="The metadata.generation that was judged.")


def list_map(*keys: str) -> JsonDict:
    """Schema marks of a list whose items are told apart by keys; server-side apply merges it item by item."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


ATOMIC_LIST: JsonDict = {"x-kubernetes-list-type": "atomic"}


def int_or_string(*, maximum: int) -> JsonDict:
    """Schema marks of a decimal string that may be written as a whole number without quotes; the model must take both."""
    return {"x-kubernetes-int-or-string": True, "minimum": 0, "maximum": maximum}
