"""What watchdogs write into a run's status: that an attempt was stopped, and what is noticed before that."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from laneway.api.base import Model, Time
from laneway.api.reasons import HealthKind, StopReason


class Stopped(Model):
    """That a watchdog stops an attempt. Written before its pod is, so that the end is the same whoever comes to it."""

    atomic: ClassVar[bool] = True

    reason: StopReason = Field(description="Stuck, Idle or Lingered.")
    time: Time = Field(description="When.")
    message: str = Field(max_length=512, description="What was seen.")
    succeeded: bool | None = Field(
        default=None,
        description="Of an agent that lingered: whether its result was good. Absent: it was not, or nobody knows.",
    )


class HealthWarning(Model):
    """Something that is noticed of the running attempt."""

    kind: HealthKind = Field(description="Stalled: no call and no output. LongRunning: it runs for an hour.")
    time: Time = Field(description="When the warning was given.")
    message: str = Field(max_length=256, description="What was seen.")
