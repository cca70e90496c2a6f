"""Steps of a chain: one model on one lane, and what may lead there. Shared by runs and by the fallbacks of lanes."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from laneway.api.base import ATOMIC_LIST, Model
from laneway.api.reasons import Cause

STEPS_LIMIT = 16
"""Steps that a person may write in one chain."""


class Step(Model):
    """One model on one lane."""

    lane: str = Field(min_length=1, max_length=63, description="Name of a ModelLane.")
    namespace: str | None = Field(
        default=None,
        min_length=1,
        max_length=63,
        description="Namespace of the lane. Default: that of the object in which the step is written.",
    )
    model: str | None = Field(
        default=None,
        min_length=1,
        max_length=256,
        description="Name of a model of the lane. Default: what the lane's classifier chooses, else the lane's first.",
    )
    causes: tuple[Cause, ...] = Field(
        default=(),
        max_length=len(Cause),
        json_schema_extra=ATOMIC_LIST,
        description="What may lead to this step. Absent: every trouble of a model that another one may not have, but not Full.",
    )


class ActiveModel(Model):
    """Where a run is in its chain. Owned by the operator; absent means the first step."""

    atomic: ClassVar[bool] = True

    lane: str = Field(min_length=1, max_length=63, description="Name of the lane.")
    namespace: str | None = Field(
        default=None, min_length=1, max_length=63, description="Namespace of the lane. Default: the run's own."
    )
    model: str | None = Field(
        default=None, min_length=1, max_length=256, description="Name of the model. Default: that of the chain's step."
    )
