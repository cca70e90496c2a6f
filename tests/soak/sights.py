"""What the clients saw of each call, and when the gateway was killed. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

SETTLING_SECONDS = 1.0
"""A call that ended so shortly before a kill may not be in the ledger yet: rows are written after the answer, together."""


class End(StrEnum):
    """How a call ended, for its client."""

    ANSWERED = "answered"
    """Whole: all of a JSON answer, or the last event of a stream."""
    REFUSED_BY_SERVER = "refused by the model server"
    """A status of 400 or more, in the server's own words."""
    REFUSED_BY_GATEWAY = "refused by the gateway"
    BROKEN = "refused in nobody's words"
    """A 500 that is not the server's, or a refusal that is no error of the API."""
    CUT = "cut"
    """The connection broke, an answer ended early, or there was no gateway."""
    LEFT = "left"
    """The client went away itself."""
    HUNG = "hung"
    """Nothing ended it for a minute."""


class CallId(NamedTuple):
    """A call. The server tells its number as the input tokens, so the ledger has it."""

    run_uid: str
    number: int


@dataclass(frozen=True)
class Sight:
    """One call. Times are the monotonic clock's seconds."""

    call: CallId
    begun: float
    ended: float
    end: End
    refusal: str = ""
    """Status and type of the gateway's own."""


def in_flight(sights: Iterable[Sight], kills: Iterable[float]) -> list[Sight]:
    """The calls that a kill may have met between answer and commit, or before."""
    times = tuple(kills)
    return [one for one in sights if any(one.begun <= kill <= one.ended + SETTLING_SECONDS for kill in times)]
