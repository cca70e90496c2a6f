"""Who keeps an object from elsewhere, and what that means for a field that a person changes here. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from laneway.rules.keeper import keeper

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


@dataclass(frozen=True)
class Keeper:
    """A tool that brings the object again and again."""

    name: str
    says: bool | None
    """Whether its manifest has the field; None: nobody here knows."""


def keeper_of(obj: dict[str, Any], field: str) -> Keeper | None:
    """Who keeps the object, seen from ``spec.<field>``."""
    if tool := keeper(obj["metadata"]):
        return Keeper(tool, _says(obj, field))
    applied = _LAST_APPLIED in (obj["metadata"].get("annotations") or {})
    return Keeper("kubectl apply", True) if applied and _says(obj, field) else None


def warning(obj: dict[str, Any], field: str) -> str:
    """What the keeper of an object will do to a field that was changed here; empty if nobody keeps it."""
    keeper = keeper_of(obj, field)
    if keeper is None:
        return ""
    if keeper.says:
        return (
            f"Its manifest, brought by {keeper.name}, has spec.{field} too and puts it back next time: change it there."
        )
    if keeper.says is None:
        return f"It is brought by {keeper.name}: if that has spec.{field}, it puts it back next time; change it there."
    return (
        f"It is brought by {keeper.name}, whose manifest does not have spec.{field}: that stays as it is now,"
        " unless the whole object is replaced."
    )


def _says(obj: dict[str, Any], field: str) -> bool | None:
    """By what was applied: the annotation of client-side apply, and the fields that server-side apply owns."""
    meta = obj["metadata"]
    applied = (meta.get("annotations") or {}).get(_LAST_APPLIED)
    owners = [entry for entry in meta.get("managedFields") or [] if entry.get("operation") == "Apply"]
    owners = [entry for entry in owners if not entry.get("subresource")]
    if applied is None and not owners:
        return None
    by_client = applied is not None and field in (_parsed(applied).get("spec") or {})
    return by_client or any(f"f:{field}" in ((entry.get("fieldsV1") or {}).get("f:spec") or {}) for entry in owners)


def _parsed(applied: str) -> dict[str, Any]:
    try:
        found = json.loads(applied)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
