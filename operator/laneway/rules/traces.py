"""Traces of runs: ids that follow from what is known anyway, and spans that are made when their end is known.

The trace of a run is its uid, and the ids of spans are hashes, so operator and gateway name the same spans without a word between them, and after a restart too.

    run       invoke_agent PRESET     from its creation to its end
      attempt                         from its slot to its end
        call                          each try of a model call
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import TypeAlias

Value: TypeAlias = str | int | float | bool | tuple[str, ...]
Attributes: TypeAlias = Mapping[str, Value | None]
"""None is unknown, and left out."""

_TRACE_DIGITS = 32
_SPAN_BYTES = 8
_RANDOM_DIGITS = 14
"""The last 56 bits of a trace id are what samplers go by (W3C Trace Context, level 2); those of a random uid are random."""
_RANDOM_RANGE = 1 << 4 * _RANDOM_DIGITS


class Kind(IntEnum):
    """What a span stands for; the numbers are OTLP's."""

    INTERNAL = 1
    CLIENT = 3


@dataclass(frozen=True, slots=True)
class Happening:
    """Something at one moment within a span."""

    name: str
    time: datetime
    attributes: Attributes = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Span:
    """One span that has ended. Never content: no prompt, no answer, no words of a server or an agent."""

    trace_id: str
    span_id: str
    parent_id: str | None
    """None: it is the root."""
    name: str
    kind: Kind
    start: datetime
    end: datetime
    attributes: Attributes
    failed: bool = False
    happenings: tuple[Happening, ...] = ()


def trace_id(run_uid: str) -> str:
    """The uid without its dashes; of anything else that is no uid a hash."""
    digits = run_uid.replace("-", "").lower()
    if len(digits) == _TRACE_DIGITS and set(digits) <= set("0123456789abcdef"):
        return digits
    return hashlib.blake2b(run_uid.encode(), digest_size=_TRACE_DIGITS // 2).hexdigest()


def run_span_id(run_uid: str) -> str:
    """The span of a run."""
    return _span_id("run", run_uid)


def attempt_span_id(run_uid: str, attempt: int) -> str:
    """The span of an attempt. What was done before the first attempt belongs to the run itself."""
    return _span_id("attempt", run_uid, str(attempt)) if attempt else run_span_id(run_uid)


def call_span_id(call_id: str) -> str:
    """The span of one try of a call, by its row in the ledger."""
    return _span_id("call", call_id)


def is_sampled(trace: str, ratio: float) -> bool:
    """Whether a trace is among those that are kept. The same for all who ask, so a trace is whole or not there."""
    return int(trace[-_RANDOM_DIGITS:], 16) >= (1 - ratio) * _RANDOM_RANGE


def traceparent(run_uid: str, attempt: int, ratio: float) -> str:
    """The W3C header by which an agent puts its own spans below its attempt."""
    trace = trace_id(run_uid)
    return f"00-{trace}-{attempt_span_id(run_uid, attempt)}-{int(is_sampled(trace, ratio)):02x}"


def _span_id(*parts: str) -> str:
    return hashlib.blake2b("/".join(parts).encode(), digest_size=_SPAN_BYTES).hexdigest()
