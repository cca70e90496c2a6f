"""Patience with clients: those that do not read what they asked for, and connections that say nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress

from aiohttp import web

from laneway.gateway.timelimit import TimeLimits

HEAD_SECONDS = 75.0
"""Until a request's head is there, counted from the connection's begin or the end of its last answer; then the connection is closed."""
LINE_LIMIT = 8 * 1024
"""Bytes of the request line, and of one header."""
HEADERS_LIMIT = 128
ANSWER_SECONDS = 60.0
"""For a client to take an answer of the gateway's own, or an error that it passes on."""


PEER_LIMIT = 256
"""Connections from one address; a run may have 32 calls open, and clients keep some more connections in store."""
_SWEEP_SECONDS = 1.0


class ClientStalled(ConnectionResetError):  # noqa: N818 - it says what happened
    """The client did not take its answer in time, and was cut off; for the call it has left."""


def runner_of(
    app: web.Application, *, head_seconds: float = HEAD_SECONDS, shutdown_seconds: float = 1.0
) -> web.AppRunner:
    """What serves an application: bounded heads, no connection that idles for ever, and a client that leaves ends its request."""
    return web.AppRunner(
        app,
        handler_cancellation=True,
        access_log=None,
        shutdown_timeout=shutdown_seconds,
        keepalive_timeout=head_seconds,
        max_line_size=LINE_LIMIT,
        max_field_size=LINE_LIMIT,
        max_headers=HEADERS_LIMIT,
    )


async def keep_peers_in_bounds(runner: web.AppRunner, *, limit: int = PEER_LIMIT) -> None:
    """For ever: close what an address has opened over the limit, the newest first, so that nobody takes all the sockets."""
    while True:
        await asyncio.sleep(_SWEEP_SECONDS)
        for connection in too_many(runner, limit=limit):
            if connection.transport is not None:
                connection.transport.abort()


def too_many(runner: web.AppRunner, *, limit: int) -> list[web.RequestHandler]:
    """The connections that an address has opened over the limit."""
    seen: Counter[str] = Counter()
    found = []
    for connection in runner.server.connections if runner.server else ():
        peer = connection.peername
        if connection.transport is not None and isinstance(peer, tuple):
            seen[peer[0]] += 1
            if seen[peer[0]] > limit:
                found.append(connection)
    return found


async def give(
    request: web.Request, response: web.StreamResponse, data: bytes, *, limits: TimeLimits, seconds: float | None
) -> None:
    """Write a part of an answer. Raises ConnectionResetError, ClientStalled among them, when the client is not there any more."""
    try:
        with limits.within(seconds):
            await response.write(data)
    except TimeoutError:
        raise _cut_off(request) from None


async def deliver(
    request: web.Request, response: web.StreamResponse, *, limits: TimeLimits, seconds: float | None = ANSWER_SECONDS
) -> None:
    """Send an answer, or what is left of it, to its end, as far as the client takes it."""
    with suppress(ConnectionResetError):
        try:
            with limits.within(seconds):
                if not response.prepared:
                    await response.prepare(request)
                await response.write_eof()
        except TimeoutError:
            raise _cut_off(request) from None


def _cut_off(request: web.Request) -> ClientStalled:
    """A client that takes too long is cut off."""
    if request.transport is not None:
        request.transport.abort()
    return ClientStalled("the client took nothing of its answer in time")
