"""Who carries the calls of an attempt: the gateway, or nobody but the pod itself. Pure."""

from __future__ import annotations

from laneway.api.modellane import Access, ModelLaneSpec
from laneway.api.runstatus import Attempt


def is_direct(attempt: Attempt | None, lane: ModelLaneSpec | None) -> bool:
    """Whether an attempt calls the model server itself: as its grant says, whatever became of its lane since; else as the lane says."""
    granted = attempt.access if attempt else None
    return (granted or (lane.access if lane else Access.GATEWAY)) is Access.DIRECT
