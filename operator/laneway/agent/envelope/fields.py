"""Fields of log lines, read without trust: what is not of the shape that it should have was not said."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal

RAW_LIMIT = 200
"""How many characters of an error are kept (S3.7)."""

_LOOKED_AT = 2_000
_KEY = re.compile(
    r"\b(?:(?:sk|pk|rk)-[\w-]{8,}|AIza[\w-]{16,}|(?:hf|gh[opsu])_\w{16,})"
    r"|(?<![\w-])(?=[\w-]*\d)(?=[\w-]*[A-Za-z])[\w-]{40,}"
)
"""What providers' keys look like, and any word so long that has letters and digits."""

_MICROS = 1_000_000
_MAX_DOLLARS = 10**6  # more is a broken log, not a cost
MAX_COUNT = 10**12
"""More tokens are a broken log. A sum of many logs with so many still fits into a status."""

Json = Mapping[str, object]


def read_object(line: str) -> Json | None:
    """The JSON object of a line; None for anything else."""
    try:
        value = json.loads(line, parse_float=Decimal, parse_constant=_refuse_constant)
    except (ValueError, ArithmeticError, RecursionError):  # ArithmeticError: an exponent that Decimal cannot hold
        return None
    return value if isinstance(value, dict) else None


def object_of(value: object) -> Json:
    """An object; an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def text_of(value: object) -> str | None:
    """A text that can be written anywhere: halves of surrogate pairs are joined or replaced."""
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if isinstance(value, str) else None


def without_keys(text: str) -> str:
    """A text with ``(key)`` in the place of what looks like one: which keys an agent has the operator does not know."""
    return _KEY.sub("(key)", text)


def error_words(text: str | None) -> str | None:
    """The beginning of an error's words without keys: a server may repeat the one that it refused."""
    return without_keys(text[:_LOOKED_AT])[:RAW_LIMIT] if text is not None else None


def bool_of(value: object) -> bool | None:
    """True or false."""
    return value if isinstance(value, bool) else None


def count_of(value: object) -> int | None:
    """A number of things."""
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_COUNT
    return value if is_count and isinstance(value, int) else None


def first_count(*values: object) -> int | None:
    """The first of them that is a count."""
    return next((count for count in map(count_of, values) if count is not None), None)


def micros_of(value: object) -> int | None:
    """Dollars as millionths of a dollar."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal) or not 0 <= value <= _MAX_DOLLARS:
        return None
    return round(value * _MICROS)


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON")
