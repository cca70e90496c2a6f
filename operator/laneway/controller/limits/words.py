"""What is said of limits to people. Pure."""

from __future__ import annotations

from laneway.api.limits import LimitName, Limits, OnReached
from laneway.api.modellane import Access
from laneway.api.runstatus import Attempt

_NOT_LIVE = "which is Direct: what its calls use is known only when it has ended, so limits on that cannot be live"


def held_lane(attempt: Attempt) -> str:
    """The lane whose slot an attempt holds; with a Direct one, what nobody can know or stop while the agent runs."""
    lane = f"{attempt.step.namespace}/{attempt.step.lane}"
    return f"{lane}, {_NOT_LIVE}" if attempt.access is Access.DIRECT else lane


def to_continue(used: str, limit: LimitName) -> str:
    """What a run that pauses at a limit waits for."""
    return f"{used}; raise spec.limits.{limit} to continue"


def nearly_used(used: str, limits: Limits) -> str:
    """What a limit's warning says: both numbers, and what will follow."""
    then = {OnReached.STOP: "ends, done", OnReached.FAIL: "ends, failed", OnReached.PAUSE: "pauses"}
    return f"{used}, {limits.warn_percent} % or more; at the limit the run {then[limits.on_reached]}"
