"""What a lane says of its cooling models: the condition ``Throttled`` and the time. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from laneway.api.reasons import LaneReason
from laneway.controller.decision.status import Said
from laneway.controller.health.trial import Gate
from laneway.rules import wording


def throttled(gates: Mapping[str, Gate], now: datetime) -> Said:
    """Whether models rest: each one with its time, and who says so."""
    cooling = [gate for gate in gates.values() if gate.cooldown]
    if not cooling:
        return Said("False", LaneReason.NOT_THROTTLED, "every model may be used")
    everything = len(cooling) == len(gates)
    reason = LaneReason.ALL_MODELS_COOLING if everything else LaneReason.SOME_MODELS_COOLING
    words = (
        f"{model} {wording.cooling(gate.cooldown, now) if gate.cooldown else 'free'}" for model, gate in gates.items()
    )
    return Said("True", reason, "; ".join(words))


def throttled_until(gates: Mapping[str, Gate]) -> datetime | None:
    """When the last of the cooling models may be used again; None: none rests, or one without a known end."""
    ends = [gate.cooldown.until for gate in gates.values() if gate.cooldown]
    known = [end for end in ends if end]
    return max(known) if known and len(known) == len(ends) else None
