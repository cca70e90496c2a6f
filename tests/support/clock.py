"""A clock that stands still until a test moves it."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from support.builders import NOW


class StillClock:
    """Time as an argument."""

    def __init__(self) -> None:
        self._now = NOW

    def now(self) -> datetime:
        """The moment."""
        return self._now

    def move(self, seconds: float) -> None:
        """Let time pass."""
        self._now += timedelta(seconds=seconds)

    async def wait(self, event: asyncio.Event, until: datetime | None) -> None:
        """Return when the event is set; a moment comes only by ``move``."""
        if until is None or until > self._now:
            await event.wait()
