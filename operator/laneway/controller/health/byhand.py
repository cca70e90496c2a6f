"""What a person says of a model: the entry of ``spec.cooldowns`` and the model's record. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from laneway.api.modellane import CooldownMode, ManualCooldown
from laneway.api.reasons import Cause, ResetSource
from laneway.rules.cooldown import Cooldown, Health, ceil_second


def is_held(entry: ManualCooldown | None, now: datetime) -> bool:
    """Whether a Hold is in force."""
    return entry is not None and entry.mode is CooldownMode.HOLD and (entry.until is None or now < entry.until)


def released(health: Health, entry: ManualCooldown | None, now: datetime) -> Health:
    """Without a Hold that is over, or that was taken away. What failed while it stood counts no more."""
    known = health.cooldown
    if known is None or known.source is not ResetSource.MANUAL or is_held(entry, now):
        return health
    ended = ceil_second(min(now, known.until or now))
    return replace(health, cooldown=None, mark=max(ended, health.mark or ended))


def held(health: Health, entry: ManualCooldown | None, now: datetime) -> Health:
    """With a Hold that is in force: instead of what was learned before it was said, and of what ends sooner."""
    if entry is None or not is_held(entry, now):
        return health
    hold = Cooldown(Cause.MANUAL, ResetSource.MANUAL, entry.until)
    known = health.cooldown
    newer = known is not None and known.source is not ResetSource.MANUAL and not _beats(entry, health)
    if newer and known is not None and _ends_later(known, hold):
        return health
    return replace(health, cooldown=hold)


def _beats(entry: ManualCooldown, health: Health) -> bool:
    learned = health.last_failure or health.mark
    return entry.set_time is not None and learned is not None and learned <= entry.set_time


def _ends_later(one: Cooldown, other: Cooldown) -> bool:
    if one.until is None or other.until is None:
        return one.until is None and other.until is not None
    return one.until > other.until
