"""The work queue: a key is never worked on twice at once, changes during work add one more round, errors back off per key.

Delays live in one heap and are computed from the objects, so losing the queue loses nothing. Two lines: what may free or fill a slot goes
before what can wait a moment, as the first word to a new run, its place, or what a start looks at. Each line moves on, however long the other is.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Hashable
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from laneway.controller.outside.clock import Clock

K = TypeVar("K", bound=Hashable)

FIRST_BACKOFF = timedelta(milliseconds=50)
LAST_BACKOFF = timedelta(minutes=2)
URGENT_IN_A_ROW = 8
"""So many keys are taken from the urgent line before one of the patient line has its turn."""
PATIENT_AT_ONCE = 4
"""So many of the patient line are in work at once: an API server that is busy with them keeps what is urgent waiting."""


class Queue(Generic[K]):
    """Keys that wait for work. Used from one event loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._dirty: set[K] = set()
        self._processing: set[K] = set()
        self._urgent: deque[K] = deque()
        self._patient: dict[K, None] = {}
        """In their order, and quick to leave: a key that becomes urgent goes over."""
        self._unhurried: set[K] = set()
        """Of the patient line, in work."""
        self._in_a_row = 0
        self._due: dict[K, datetime] = {}
        self._heap: list[tuple[datetime, int, K, bool]] = []
        self._pushed = 0
        self._failures: dict[K, int] = {}
        self._wake = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Queue {len(self._dirty)} waiting, {len(self._processing)} in work, {len(self._due)} due later>"

    def __len__(self) -> int:
        return len(self._dirty)

    def add(self, key: K, *, patient: bool = False) -> None:
        """Have a key worked on soon; ``patient``: behind all that is not. What waits patiently and is added again without, is urgent."""
        if key in self._dirty and (patient or key not in self._patient):
            return
        self._dirty.add(key)
        if key in self._processing:
            return
        if patient:
            self._patient[key] = None
        else:
            self._patient.pop(key, None)
            self._urgent.append(key)
        self._wake.set()

    def __contains__(self, key: K) -> bool:
        """Whether a key is in work, or will be soon."""
        return key in self._dirty or key in self._processing

    def add_at(self, key: K, due: datetime, *, patient: bool = False) -> None:
        """Have a key worked on at a moment, or patiently from then on; the earliest of its moments wins."""
        known = self._due.get(key)
        if known is not None and known <= due:
            return
        self._due[key] = due
        self._pushed += 1
        heapq.heappush(self._heap, (due, self._pushed, key, patient))
        self._wake.set()

    async def get(self) -> K:
        """The next key; it stays in work until ``done``."""
        while True:
            self._ripen()
            if self._has_work():
                key = self._first()
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

    def _has_work(self) -> bool:
        return bool(self._urgent) or self._may_be_patient()

    def _may_be_patient(self) -> bool:
        return bool(self._patient) and len(self._unhurried) < PATIENT_AT_ONCE

    def _first(self) -> K:
        if self._urgent and (self._in_a_row < URGENT_IN_A_ROW or not self._may_be_patient()):
            self._in_a_row += 1
            return self._urgent.popleft()
        self._in_a_row = 0
        key = next(iter(self._patient))
        del self._patient[key]
        self._unhurried.add(key)
        return key

    def _finish(self, key: K) -> None:
        self._processing.discard(key)
        self._unhurried.discard(key)
        if key in self._dirty:
            self._urgent.append(key)
        if self._has_work():
            self._wake.set()

    def _ripen(self) -> None:
        now = self._clock.now()
        while self._heap and self._heap[0][0] <= now:
            due, _, key, patient = heapq.heappop(self._heap)
            if self._due.get(key) == due:
                del self._due[key]
                self.add(key, patient=patient)
