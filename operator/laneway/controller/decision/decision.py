"""What a decision about a run is: a whole next status, effects, and when to look again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from laneway.api.runstatus import AgentRunStatus
from laneway.controller.decision.effects import Effect
from laneway.controller.facts.views import Walk


@dataclass(frozen=True)
class RunDecision:
    """What follows from a view. ``due``: when to look again even if nothing happens."""

    status: AgentRunStatus
    effects: tuple[Effect, ...] = ()
    due: datetime | None = None
    walk: Walk | None = None
    """The slot of another lane that the running attempt asks for."""
