"""Request bodies in memory: how large one may be, how many bytes a run and all runs together may hold, how long one may take to arrive.

Bytes count from the moment they were read until nobody needs them any more: the first byte of the answer, after which nothing is tried
again, or the end of the call. Who finds no room is refused and does not wait: a queue of half-read bodies could wait for each other for ever.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from types import TracebackType

from aiohttp import web

from laneway.gateway.timelimit import TimeLimits
from laneway.gateway.wire.base import Kind
from laneway.gateway.wire.refused import Refused

_MIB = 1024 * 1024
BODY_LIMIT = 32 * _MIB
RUN_LIMIT = 64 * _MIB
"""Bytes that the calls of one run may hold, so that no run alone keeps all others out."""
TOTAL_LIMIT = 256 * _MIB
BODY_SECONDS = 60.0
"""Until a body is there as a whole."""
IDLE_SECONDS = 15.0
"""Without a byte of it."""
_RETRY_AFTER_SECONDS = 2


class Room:
    """The room that the body of one request takes, until it is let go or the context ends."""

    def __init__(self, bodies: Bodies, request: web.Request, run_uid: str) -> None:
        self._bodies = bodies
        self._request = request
        self._run_uid = run_uid
        self._bytes = 0

    def __enter__(self) -> Room:
        self._request[_ROOM] = self
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.let_go()

    async def read(self, limits: TimeLimits) -> bytes:
        """The request's body as a whole. Raises Refused."""
        bodies, request = self._bodies, self._request
        if (request.content_length or 0) > bodies.one:
            raise _too_large(bodies.one)
        parts: list[bytes] = []
        loop = asyncio.get_running_loop()
        deadline = loop.time() + bodies.seconds
        try:
            while True:
                with limits.within(min(bodies.idle_seconds, deadline - loop.time())):
                    part = await request.content.readany()
                if not part:
                    return b"".join(parts)
                self._take(len(part))
                parts.append(part)
        except TimeoutError:
            raise Refused(Kind.TIMEOUT, "the request's body did not arrive in time") from None
        except (web.RequestPayloadError, ConnectionResetError):
            raise Refused(Kind.BAD_REQUEST, "the request's body is broken, or breaks off") from None

    def let_go(self) -> None:
        """Nobody will need the body again."""
        if self._bytes:
            self._bodies.discount(self._run_uid, self._bytes)
            self._bytes = 0

    def _take(self, size: int) -> None:
        if self._bytes + size > self._bodies.one:
            raise _too_large(self._bodies.one)
        self._bodies.count(self._run_uid, size)
        self._bytes += size


_ROOM = web.RequestKey("laneway-body", Room)


class Bodies:
    """All request bodies that the gateway holds."""

    def __init__(
        self,
        *,
        one: int = BODY_LIMIT,
        run: int = RUN_LIMIT,
        total: int = TOTAL_LIMIT,
        seconds: float = BODY_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        """Limits in bytes, of one body, of a run and of all; ``seconds`` for a whole body, ``idle_seconds`` between two of its parts."""
        self.one = one
        self._run = run
        self._total = total
        self.seconds = seconds
        self.idle_seconds = idle_seconds
        self._by_run: Counter[str] = Counter()

    @property
    def held(self) -> int:
        """Bytes of all bodies."""
        return self._by_run.total()

    def room(self, request: web.Request, *, run_uid: str) -> Room:
        """Room for a request's body, counted for a run."""
        return Room(self, request, run_uid)

    def count(self, run_uid: str, size: int) -> None:
        """Bytes that are held now too. Raises Refused."""
        if self.held + size > self._total:
            raise _no_room(f"the gateway holds {self._total // _MIB} MiB of request bodies and takes no more now")
        if self._by_run[run_uid] + size > self._run:
            raise _no_room(f"the run's open calls hold {self._run // _MIB} MiB of request bodies and may not hold more")
        self._by_run[run_uid] += size

    def discount(self, run_uid: str, size: int) -> None:
        """Bytes that are held no longer."""
        self._by_run[run_uid] -= size
        if not self._by_run[run_uid]:
            del self._by_run[run_uid]


def let_go(request: web.Request) -> None:
    """The body of a request is not needed any more: its answer has begun."""
    if _ROOM in request:
        request[_ROOM].let_go()


def _too_large(limit: int) -> Refused:
    return Refused(Kind.TOO_LARGE, f"the body is larger than {limit} bytes")


def _no_room(message: str) -> Refused:
    return Refused(Kind.BUSY, message, retry_after_seconds=_RETRY_AFTER_SECONDS)
