"""The patience of one call: how long it is held, for all that it waits for together, and how its client is kept waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from laneway.gateway.client.reply import Reply

KEEP_ALIVE_SECONDS = 15.0
"""A client hears of its call so often. A call that is held for less keeps its status."""


class Hold:
    """One call that may be held."""

    def __init__(self, reply: Reply, *, kept_alive: Callable[[], bool], every_seconds: float) -> None:
        """``kept_alive``: whether the client can be told that its call is alive."""
        self._reply = reply
        self._kept_alive = kept_alive
        self._every = every_seconds
        self._loop = asyncio.get_running_loop()
        self._next = 0.0
        self._spent = 0.0

    def left(self, hold_seconds: float) -> float:
        """Of the lane's ``holdSeconds``, how many are left to this call."""
        return max(0.0, hold_seconds - self._spent)

    async def wait(self, waked: asyncio.Future[Any], seconds: float) -> None:
        """Until it is waked, or the time is up."""
        began = self._loop.time()
        self._next = self._next or began + self._every
        kept_alive = self._kept_alive()
        try:
            while not waked.done() and (left := began + seconds - self._loop.time()) > 0:
                step = min(left, self._next - self._loop.time()) if kept_alive else left
                await asyncio.wait((waked,), timeout=max(0.0, step))
                if kept_alive and self._loop.time() >= self._next and not waked.done():
                    await self._reply.keep_alive()
                    self._next = self._loop.time() + self._every
        finally:
            self._spent += self._loop.time() - began
