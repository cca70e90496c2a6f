"""How much a request lets a model say: reading the limit, and lowering it. Servers take null, and a number below the least, as no limit.

Of a member that stands there twice nobody knows which one the server takes, so the largest counts and each is lowered.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import TypeGuard

from laneway.gateway.wire.jsontext import JsonText, Member

Names = tuple[str, ...]

_MOST_TOKENS = 2**53
"""A larger limit is none."""
_MOST_CHOICES = 2**20
"""Servers refuse far less."""


def wanted(text: JsonText, names: Names, *, least: int = 1) -> int | None:
    """The limit that members of these names set; None if there is none."""
    return _largest([_limit(member.value, least) for member in _set(text, names)])


def lower(text: JsonText, names: Names, *, tokens: int, least: int = 1) -> int:
    """Lower members of these names to ``tokens``, or set the first of them; the answer is the limit that holds now."""
    found = _set(text, names)
    if not found:
        text.put(names[0], tokens)
    limits = [_limit(member.value, least) for member in found]
    for member, limit in zip(found, limits, strict=True):
        if limit is None or limit > tokens:
            text.replace(member, str(tokens))
    return max((tokens if limit is None else min(limit, tokens) for limit in limits), default=tokens)


def wanted_inside(text: JsonText, outer: Names, names: Names) -> int | None:
    """The same as ``wanted`` for an object that is itself a member."""
    found = _set(text, outer)
    return _largest([wanted(text.inside(each), names) if isinstance(each.value, dict) else None for each in found])


def lower_inside(text: JsonText, outer: Names, names: Names, *, tokens: int) -> int:
    """The same as ``lower`` for an object that is itself a member; it is made if there is none."""
    limits, made = [], {names[0]: tokens}
    found = _set(text, outer)
    for member in found:
        if isinstance(member.value, dict):
            inner = text.inside(member)
            limits.append(lower(inner, names, tokens=tokens))
            text.replace(member, inner.render().decode())
        else:
            text.replace(member, json.dumps(made))
    if not found:
        text.put(outer[0], made)
    return max(limits, default=tokens)


def choices(asked: Iterable[object]) -> int:
    """How many answers are asked for at once; each may be as long as the limit."""
    return max([1, *(min(math.ceil(value), _MOST_CHOICES) for value in asked if _is_number(value))])


def times(limit: int | None, count: int) -> int | None:
    """The limit of all choices together."""
    return None if limit is None else limit * count


def _set(text: JsonText, names: Names) -> list[Member]:
    return [member for name in names for member in text.named(name) if member.value is not None]


def _limit(value: object, least: int) -> int | None:
    return math.ceil(value) if _is_number(value) and least <= value <= _MOST_TOKENS else None


def _largest(limits: list[int | None]) -> int | None:
    known = [limit for limit in limits if limit is not None]
    return max(known) if known and len(known) == len(limits) else None


def _is_number(value: object) -> TypeGuard[int | float]:
    return (isinstance(value, int) and not isinstance(value, bool)) or (
        isinstance(value, float) and math.isfinite(value)
    )
