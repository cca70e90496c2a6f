"""A list of metadata, read line by line: of each object nothing becomes an object here but where it is, which one, and its version.

The rest, mostly who manages which field, is a hundred times that: to make objects of it took two thirds of the CPU of a comparison.
"""

from __future__ import annotations

from pydantic import BaseModel, Field

from laneway.kube.resources import Key
from laneway.kube.table import Listed


class _OfObject(BaseModel):
    name: str
    namespace: str = ""
    uid: str
    resource_version: int = Field(alias="resourceVersion")


class _Item(BaseModel):
    metadata: _OfObject


class _OfList(BaseModel):
    resource_version: int = Field(alias="resourceVersion")
    following: str = Field("", alias="continue")


class Page(BaseModel):
    """One page of a list, as the API server sends it."""

    metadata: _OfList
    items: list[_Item] | None = None

    @property
    def lines(self) -> list[Listed]:
        """What it says of each object."""
        found = (item.metadata for item in self.items or ())
        return [Listed(Key(one.namespace, one.name), one.uid, one.resource_version) for one in found]
