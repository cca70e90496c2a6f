"""What a lane says of the calls that it carries: how many at once, how often each is tried, and for how long."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from pydantic import Field

from laneway.api.base import Model, Rule


class StreamSlot(StrEnum):
    """How long a stream holds its place among the calls of its lane."""

    OPENING = "Opening"
    WHOLE = "Whole"


class Jitter(StrEnum):
    """What chance does to the waits between the tries of a call."""

    HALF_TO_FULL = "HalfToFull"
    NONE = "None"


class Capacity(Model):
    """How much of the lane may be in use at once."""

    runs: int = Field(default=4, ge=1, le=10000, description="Agent pods at once. Shrinking it kills nothing.")
    calls: int | None = Field(
        default=None,
        ge=1,
        le=10000,
        description="Model calls in flight at once; others wait their turn. Absent: no bound. Shrinking it cuts nothing.",
    )
    stream_slot: StreamSlot = Field(
        default=StreamSlot.OPENING,
        description="How long a stream holds its place among calls. Opening: until its first byte. Whole: until its end.",
    )


class CallRetry(Model):
    """How one call is tried again before its first byte. Embeddings and token counts never are."""

    max_retries: int = Field(default=2, ge=0, le=20, description="Tries after the first one.")
    initial_backoff_milliseconds: int = Field(
        default=100, ge=0, le=60_000, description="Wait after the first failure; it doubles with each further one."
    )
    max_backoff_seconds: int | None = Field(
        default=None, ge=1, le=3600, description="Longest of these waits. Absent: no bound."
    )
    jitter: Jitter = Field(
        default=Jitter.HALF_TO_FULL,
        description="HalfToFull: each wait is drawn between half of it and all of it. None: each wait is as computed.",
    )
    rate_limits: bool = Field(
        default=False,
        description="Try 429 and 529 again as often as other failures, and wait up to 60 s if the server says so. "
        "Default: once, if the server says at most 5 s.",
    )
    timeouts: bool = Field(
        default=False,
        description="Try again when no answer came in time, and after 408; the server may still be at work on the first try.",
    )


class LaneTimeouts(Model):
    """Limits of one model call, in seconds."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.callSeconds) || !has(self.requestSeconds) || self.callSeconds == 0"
            " || self.callSeconds >= self.requestSeconds + 60",
            "callSeconds must be 0 or at least requestSeconds + 60, so that the limit of a request speaks first",
        ),
    )

    request_seconds: int | None = Field(
        default=None,
        ge=0,
        le=86400,
        description="Connect, and the first byte of a stream. Default: 1800 for vLLM and Ollama (they load models), else 30. "
        "0: no limit.",
    )
    answer_seconds: int | None = Field(
        default=None,
        ge=0,
        le=86400,
        description="A whole answer. Default: 1800 for vLLM and Ollama, else 600. 0: no limit.",
    )
    call_seconds: int | None = Field(
        default=None,
        ge=0,
        le=172_800,
        description="All tries of a call with one model, after its queue: up to the first byte of a stream, or to the end of a whole "
        "answer. Default: 60 more than the longer of the two above. 0: no limit.",
    )
    stream_idle_seconds: int = Field(
        default=1200, ge=0, le=86400, description="Silence inside a stream; a stream has no total limit. 0: no limit."
    )
    hold_seconds: int = Field(
        default=60,
        ge=0,
        le=3600,
        description="How long a call is held for a place among calls or for a model that cools down, in all; then it is refused.",
    )


class EffectiveTimeouts(Model):
    """The limits of a call that hold, in seconds, with all defaults filled in. Absent: no limit."""

    request_seconds: int | None = Field(default=None, ge=1, le=86400, description="As in spec.timeouts.")
    answer_seconds: int | None = Field(default=None, ge=1, le=86400, description="As in spec.timeouts.")
    call_seconds: int | None = Field(default=None, ge=1, le=172_800, description="As in spec.timeouts.")
    stream_idle_seconds: int | None = Field(default=None, ge=1, le=86400, description="As in spec.timeouts.")
    hold_seconds: int = Field(default=0, ge=0, le=3600, description="As in spec.timeouts.")
