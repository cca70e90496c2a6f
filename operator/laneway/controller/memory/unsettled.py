"""Slots that only a write of ours speaks for: one that is on its way, or one that had no answer (design section 3.6 c).

Without this, a run that is deleted while its pod is being made would free its slot for a moment, and the pod would come on top.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from laneway.controller.facts.views import Held
from laneway.kube.resources import Key

SETTLES_AFTER = timedelta(seconds=6)
"""A write without an answer has landed or failed by then: the server gives it 4 s, the way there one."""


@dataclass(frozen=True)
class Write:
    """A write that would take a slot: a grant, or a pod."""

    run: Key
    held: Held
    sent: datetime

    @property
    def settles(self) -> datetime:
        """From when on a live read tells what became of it."""
        return self.sent + SETTLES_AFTER


class Unsettled:
    """The writes in doubt, by lane."""

    def __init__(self) -> None:
        self._writes: dict[Key, dict[Held, Write]] = {}

    def add(self, lane: Key, write: Write) -> None:
        """Hold a slot from now on; before the write is sent."""
        self._writes.setdefault(lane, {})[write.held] = write

    def discard(self, lane: Key, held: Held) -> None:
        """The write was answered, or read live."""
        writes = self._writes.get(lane, {})
        writes.pop(held, None)
        if not writes:
            self._writes.pop(lane, None)

    def on_lane(self, lane: Key) -> tuple[Write, ...]:
        """The writes in doubt of a lane."""
        return tuple(self._writes.get(lane, {}).values())
