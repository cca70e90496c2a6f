"""Lowering what a request lets a model say. A limit is a number above zero; anything else is none, as servers take it."""

from __future__ import annotations

import json
import math

from laneway.gateway.wire.jsontext import JsonText


def lower(text: JsonText, *names: str, tokens: int, least: int = 1) -> int:
    """Set members of the top level to what they ask for, at most to ``tokens``; the answer is the limit that holds now.

    Of ``names``, those that the client set are written, else the first. Numbers below ``least`` are no limit.
    """
    asked = [member.value for name in names for member in text.named(name) if member.value is not None]
    limit = _smallest(asked, tokens=tokens, least=least)
    present = [name for name in names if any(member.value is not None for member in text.named(name))]
    for name in present or names[:1]:
        text.put(name, limit)
    return limit


def lower_inside(text: JsonText, outer: tuple[str, ...], *names: str, tokens: int) -> int:
    """The same for members of an object that is itself a member, which is made if there is none."""
    found = [member for name in outer for member in text.named(name)]
    objects = [(member, text.inside(member)) for member in found if isinstance(member.value, dict)]
    asked = [each.value for _, inner in objects for name in names for each in inner.named(name)]
    limit = _smallest(asked, tokens=tokens, least=1)
    for member, inner in objects:
        lower(inner, *names, tokens=limit)
        text.replace(member, inner.render().decode())
    for member in found:
        if not isinstance(member.value, dict):
            text.replace(member, json.dumps({names[0]: limit}))
    if not found:
        text.put(outer[0], {names[0]: limit})
    return limit


def choices(*asked: object) -> int:
    """How many answers are asked for at once; each may be as long as the limit."""
    return max([1, *(value for value in asked if isinstance(value, int))])


def _smallest(asked: list[object], *, tokens: int, least: int) -> int:
    numbers = (value for value in asked if isinstance(value, (int, float)) and not isinstance(value, bool))
    return min([tokens, *(math.ceil(value) for value in numbers if least <= value <= tokens)])
