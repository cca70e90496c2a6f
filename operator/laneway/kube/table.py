"""The objects of one resource as the cache keeps them, with indexes in step. What is at rest is kept packed.

An AgentRun as Python objects takes some 16 kB, packed some 1.5 kB. Those that have ended are read now and then and may be tens of thousands.
"""

from __future__ import annotations

import json
import sys
import zlib
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator
from typing import NamedTuple

from laneway.kube.resources import JsonObject, Key, key_of, uid_of, version_of

_FASTEST = 1


class Listed(NamedTuple):
    """One line of a list: where an object is, which one, and its version."""

    key: Key
    uid: str
    version: int

    @classmethod
    def of(cls, obj: JsonObject) -> Listed:
        """The line of an object."""
        return cls(key_of(obj), uid_of(obj), version_of(obj))


class Index:
    """The keys of objects by a value that is read from them."""

    def __init__(self, values_of: Callable[[JsonObject], Iterable[Hashable]]) -> None:
        self._values_of = values_of
        self._values_by_key: dict[Key, frozenset[Hashable]] = {}
        self.keys_by_value: dict[Hashable, dict[Key, None]] = {}
        """Inner dicts are sets that keep their order, so that answers do not depend on hashing."""

    def store(self, key: Key, obj: JsonObject) -> None:
        """Find an object under its values from now on."""
        self.discard(key)
        if values := frozenset(self._values_of(obj)):
            self._values_by_key[key] = values
        for value in values:
            self.keys_by_value.setdefault(value, {})[key] = None

    def discard(self, key: Key) -> None:
        """Find it no more."""
        for value in self._values_by_key.pop(key, ()):
            keys = self.keys_by_value[value]
            del keys[key]
            if not keys:
                del self.keys_by_value[value]


class Table:
    """Objects by key."""

    def __init__(self, indexes: list[Index], *, at_rest: Callable[[JsonObject], bool] = lambda _: False) -> None:
        self._indexes = indexes
        self._at_rest = at_rest
        self._lines: dict[Key, Listed] = {}
        self._open: dict[Key, JsonObject] = {}
        self._packed: dict[Key, bytes] = {}

    def __len__(self) -> int:
        return len(self._lines)

    def keys(self) -> Collection[Key]:
        """Where objects are; a live view."""
        return self._lines.keys()

    def line(self, key: Key) -> Listed | None:
        """Which object is there, and its version; that costs nothing, packed or not."""
        return self._lines.get(key)

    def lines(self) -> Iterator[Listed]:
        """The lines of all objects."""
        return iter(self._lines.values())

    def get(self, key: Key) -> JsonObject | None:
        """An object. Of one at rest each reader gets a copy of its own."""
        packed = self._packed.get(key)
        return self._open.get(key) if packed is None else _unpacked(packed)

    def store(self, key: Key, obj: JsonObject) -> None:
        """Put an object in its place."""
        key = Key(sys.intern(key.namespace), key.name)
        self._lines[key] = Listed(key, uid_of(obj), version_of(obj))
        self._open.pop(key, None)
        self._packed.pop(key, None)
        if self._at_rest(obj):
            self._packed[key] = _packed(obj)
        else:
            self._open[key] = obj
        for index in self._indexes:
            index.store(key, obj)

    def discard(self, key: Key) -> None:
        """Take an object away."""
        del self._lines[key]
        self._open.pop(key, None)
        self._packed.pop(key, None)
        for index in self._indexes:
            index.discard(key)


def _packed(obj: JsonObject) -> bytes:
    return zlib.compress(json.dumps(obj, separators=(",", ":")).encode(), _FASTEST)


def _unpacked(packed: bytes) -> JsonObject:
    obj: JsonObject = json.loads(zlib.decompress(packed))
    return obj
