"""The faults of the model server, as a table with weights: which one an answer has is drawn by a seed. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import accumulate
from random import Random
from types import MappingProxyType
from typing import Any

BY_SERVER = "soak"
"""Stands in the server's errors as ``by``, so that a client knows who refused its call."""
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Manner(StrEnum):
    """How the server behaves."""

    ANSWER = "answer"
    SLOW = "slow"
    """A pause before a whole answer, and between the frames of a stream."""
    REFUSE = "refuse"
    CUT_BEFORE = "cut before"
    """The connection breaks before the answer's head."""
    CUT_WITHIN = "cut within"
    """The connection breaks in the middle of the answer."""


@dataclass(frozen=True)
class Fault:
    """One row of the table."""

    name: str
    weight: int
    """Of 10,000 answers."""
    manner: Manner
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    error: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)


def _refusal(name: str, weight: int, status: int, headers: Mapping[str, str] = _NOTHING, **error: Any) -> Fault:
    return Fault(name, weight, Manner.REFUSE, status, headers, {"message": "not now", "by": BY_SERVER, **error})


# Those that name a time shut a model, or a lane, for a second: more of them would make the soak one long wait.
TABLE = (
    Fault("answer", 8670, Manner.ANSWER),
    Fault("slow answer", 300, Manner.SLOW),
    _refusal("429 without a time", 200, 429, type="rate_limit_exceeded"),
    _refusal("429 with Retry-After", 10, 429, {"Retry-After": "1"}, type="rate_limit_exceeded"),
    _refusal("429 with retry-after-ms", 10, 429, {"retry-after-ms": "400"}, type="rate_limit_exceeded"),
    _refusal(
        "429 with rate limit headers",
        5,
        429,
        {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1s"},
    ),
    _refusal("429 with the time in words", 5, 429, message="Rate limit reached. Retry after: 1"),
    _refusal("429 of a quota", 5, 429, type="insufficient_quota", code="insufficient_quota"),
    _refusal("429 of the account, with a time", 5, 429, type="usage_limit_reached", resets_in_seconds=1),
    _refusal("500", 150, 500, type="server_error"),
    _refusal("502", 80, 502),
    _refusal("503", 80, 503),
    _refusal("504", 50, 504),
    _refusal("529", 80, 529, type="overloaded_error"),
    Fault("cut before the answer", 150, Manner.CUT_BEFORE),
    Fault("cut within the answer", 200, Manner.CUT_WITHIN),
)
_BOUNDS = tuple(accumulate(fault.weight for fault in TABLE))


class Draw:
    """One fault after the other. The same seed and life draw the same ones."""

    def __init__(self, seed: int, life: int) -> None:
        """``life``: how often the server was started before."""
        self._chance = Random(f"{seed}/{life}")

    def next(self) -> Fault:
        """The next answer's."""
        [fault] = self._chance.choices(TABLE, cum_weights=_BOUNDS)
        return fault
