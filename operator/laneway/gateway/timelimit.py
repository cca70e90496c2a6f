"""Time limits of many short waits, with one timer: a limit of its own for each part of a stream costs more than passing the part on."""

from __future__ import annotations

import asyncio
import math
from types import TracebackType
from typing import Self


class TimeLimits:
    """Bounds the waits of one task, one after another.

        with TimeLimits() as limits:
            with limits.within(seconds):
                await ...

    A wait that takes longer is cancelled and raises TimeoutError, as with ``asyncio.timeout``. The timer runs on between waits, and
    is set anew only when it rings before the deadline that holds then.
    """

    def __init__(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("time limits are for tasks")
        self._task = task
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self.deadline = math.inf
        """Of the wait that goes on, by the loop's clock; infinite between waits."""
        self.rang = False
        """The wait that goes on was cancelled."""
        self._wait = _Wait(self, task)

    def within(self, seconds: float | None) -> _Wait:
        """A wait of at most so many seconds, from now on; None: no limit. Waits are not nested."""
        if seconds is not None:
            self.deadline = self._loop.time() + seconds
            if self._timer is None or self._timer.when() > self.deadline:
                self._set_timer()
        return self._wait

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self.deadline, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self.deadline == math.inf:
            return
        if self._loop.time() < self.deadline:
            self._set_timer()
        else:
            self.rang = True
            self._task.cancel()

    def end(self, cancelled_before: int) -> bool:
        """A wait has ended in which the timer may have rung. Answers whether a cancellation, if there is one, is that of the timer alone."""
        self.deadline = math.inf
        if not self.rang:
            return False
        self.rang = False
        return self._task.uncancel() <= cancelled_before


class _Wait:
    """The block of one wait."""

    def __init__(self, limits: TimeLimits, task: asyncio.Task[object]) -> None:
        self._limits = limits
        self._cancelling = task.cancelling
        self._cancelled_before = 0

    def __enter__(self) -> None:
        self._cancelled_before = self._cancelling()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None and not self._limits.rang:
            self._limits.deadline = math.inf
        elif self._limits.end(self._cancelled_before) and kind is asyncio.CancelledError:
            raise TimeoutError from error
