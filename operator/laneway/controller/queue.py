"""The work queue: a key is never worked on twice at once, changes during work add one more round, errors back off per key.

Delays live in one heap and are computed from the objects, so losing the queue loses nothing. Two priorities: fresh changes go before
what a start or a resync puts in.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Hashable
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from laneway.controller.clock import Clock

K = TypeVar("K", bound=Hashable)

FIRST_BACKOFF = timedelta(milliseconds=50)
LAST_BACKOFF = timedelta(minutes=2)


class Queue(Generic[K]):
    """Keys that wait for work. Used from one event loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._dirty: set[K] = set()
        self._processing: set[K] = set()
        self._urgent: deque[K] = deque()
        self._patient: deque[K] = deque()
        self._due: dict[K, datetime] = {}
        self._heap: list[tuple[datetime, int, K]] = []
        self._pushed = 0
        self._failures: dict[K, int] = {}
        self._wake = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Queue {len(self._dirty)} waiting, {len(self._processing)} in work, {len(self._due)} due later>"

    def __len__(self) -> int:
        return len(self._dirty)

    def add(self, key: K, *, patient: bool = False) -> None:
        """Have a key worked on soon."""
        if key in self._dirty:
            return
        self._dirty.add(key)
        if key not in self._processing:
            (self._patient if patient else self._urgent).append(key)
            self._wake.set()

    def __contains__(self, key: K) -> bool:
        """Whether a key is in work, or will be soon."""
        return key in self._dirty or key in self._processing

    def add_at(self, key: K, due: datetime) -> None:
        """Have a key worked on at a moment; the earliest of its moments wins."""
        known = self._due.get(key)
        if known is not None and known <= due:
            return
        self._due[key] = due
        self._pushed += 1
        heapq.heappush(self._heap, (due, self._pushed, key))
        self._wake.set()

    async def get(self) -> K:
        """The next key; it stays in work until ``done``."""
        while True:
            self._ripen()
            line = self._urgent or self._patient
            if line:
                key = line.popleft()
                self._dirty.discard(key)
                self._processing.add(key)
                self._due.pop(key, None)
                return key
            self._wake.clear()
            await self._clock.wait(self._wake, self._heap[0][0] if self._heap else None)

    def done(self, key: K) -> None:
        """The work on a key went well."""
        self._failures.pop(key, None)
        self._finish(key)

    def failed(self, key: K, *, at_least: timedelta = timedelta(0)) -> timedelta:
        """The work on a key failed: it is tried again after a delay that doubles, which is answered."""
        count = self._failures.get(key, 0)
        self._failures[key] = count + 1
        delay: timedelta = max(at_least, min(LAST_BACKOFF, FIRST_BACKOFF * 2 ** min(count, 16)))
        self._finish(key)
        self.add_at(key, self._clock.now() + delay)
        return delay

    def _finish(self, key: K) -> None:
        self._processing.discard(key)
        if key in self._dirty:
            self._urgent.append(key)
            self._wake.set()

    def _ripen(self) -> None:
        now = self._clock.now()
        while self._heap and self._heap[0][0] <= now:
            due, _, key = heapq.heappop(self._heap)
            if self._due.get(key) == due:
                del self._due[key]
                self.add(key)
