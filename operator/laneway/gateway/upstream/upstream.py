"""The one door to model servers. Errors of the HTTP library are mapped here and nowhere else.

UpstreamError(cause, message)
  Unreachable     refused, no such host, TLS, reset: transient
  ForbiddenTarget an address that no lane may name: permanent
  TooLate         a time limit has passed
  BrokenOff       the answer ended before its end
"""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from laneway.api.reasons import Cause
from laneway.gateway.timelimit import TimeLimits
from laneway.gateway.upstream.addresses import AddressPolicy, strict

CONNECT_SECONDS = 10.0
_KEEP_ALIVE_SECONDS = 3.0
"""Shorter than any model server's own (uvicorn: 5 s), so that a call does not meet a connection that is just being closed."""
_LINE_LIMIT = 64 * 1024
_STATUSES = range(200, 600)
"""Of answers; a change of protocol (101) was not asked for."""


class UpstreamError(Exception):
    """A model server did not answer as it should; the message is for people and names no address."""

    cause = Cause.API_TRANSIENT

    def __init__(self, message: str, *, sent: bool = True) -> None:
        super().__init__(message)
        self.sent = sent
        """Whether the server may have got the request, and worked."""


class Unreachable(UpstreamError):  # noqa: N818 - it says what happened
    """No connection, or it broke before the answer began."""


class ForbiddenTarget(UpstreamError):  # noqa: N818 - it says what happened
    """The lane's host stands for an address that is not allowed."""

    cause = Cause.UNKNOWN


class TooLate(UpstreamError):  # noqa: N818 - it says what happened
    """No answer in time."""

    cause = Cause.API_TIMEOUT


class BrokenOff(UpstreamError):  # noqa: N818 - it says what happened
    """The answer ended before its end."""


class _ForbiddenAddress(OSError):  # noqa: N818 - it says what happened
    pass


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request as it goes upstream."""

    method: str
    url: URL
    headers: Mapping[str, str]
    body: bytes | None = None


class Upstream:
    """A client of model servers."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        """Use ``open_upstream``."""
        self._session = session

    async def send(self, outgoing: Outgoing) -> Incoming:
        """The answer's head. The caller closes it. Raises UpstreamError."""
        try:
            response = await self._session.request(
                outgoing.method,
                outgoing.url,
                headers=outgoing.headers,
                data=outgoing.body,
                allow_redirects=False,
            )
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _mapped(error) from error
        if response.status not in _STATUSES:
            response.close()
            raise Unreachable(f"the server's answer has a status that means nothing here ({response.status})")
        return Incoming(response)

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()


class Incoming:
    """An answer that is coming in."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        self.headers = response.headers
        self.decoded = "Content-Encoding" in response.headers
        """The server compressed it although we asked it not to; what is read here is plain."""

    async def read_some(self) -> bytes:
        """What has come, at least a byte; nothing at the end. Raises UpstreamError."""
        try:
            return await self._response.content.readany()
        except (aiohttp.ClientError, OSError) as error:
            raise _mapped(error, BrokenOff) from error

    async def read_all(self, limit: int) -> bytes:
        """The rest, up to a limit in bytes. Raises UpstreamError."""
        parts, size = [], 0
        while size < limit and (part := await self.read_some()):
            parts.append(part)
            size += len(part)
        return b"".join(parts)[:limit]

    def close(self) -> None:
        """Keep the connection if the answer was read to its end, else cut it at once."""
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()


@asynccontextmanager
async def open_upstream(
    policy: AddressPolicy = strict, *, resolver: AbstractResolver | None = None
) -> AsyncIterator[Upstream]:
    """A client whose every connection is checked at connect, after the host's name was resolved.

    ``resolver``: the system's if None. Nothing of the environment (proxies, netrc) is used.
    """
    connector = aiohttp.TCPConnector(
        limit=0,
        keepalive_timeout=_KEEP_ALIVE_SECONDS,
        resolver=resolver,
        socket_factory=lambda info: _checked_socket(info, policy),
    )
    session = aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
        skip_auto_headers=("User-Agent", "Accept-Encoding", "Content-Type"),
        max_line_size=_LINE_LIMIT,
        max_field_size=_LINE_LIMIT,
        trust_env=False,
    )
    try:
        yield Upstream(session)
    finally:
        await session.close()


@contextmanager
def time_limit(seconds: float | None, what: str) -> Iterator[None]:
    """A time limit around waiting for a model server; None: no limit. Raises TooLate."""
    try:
        with TimeLimits() as limits, limits.within(seconds):
            yield
    except TimeoutError as error:
        raise too_late(seconds, what) from error


def too_late(seconds: float | None, what: str) -> TooLate:
    """What is said of a wait whose time limit has passed."""
    return TooLate(f"{what} did not come within {seconds:g} s")


def _checked_socket(
    info: tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[object, ...]],
    policy: AddressPolicy,
) -> socket.socket:
    family, kind, protocol, _, place = info
    address = ipaddress.ip_address(str(place[0]).partition("%")[0])
    if not policy(address):
        raise _ForbiddenAddress("the host's address is not allowed for a lane")
    return socket.socket(family, kind, protocol)


def _mapped(error: Exception, kind: type[UpstreamError] = Unreachable) -> UpstreamError:
    """An error of the library in our words, without addresses. ``kind``: what a broken connection means here."""
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ClientSSLError | aiohttp.ConnectionTimeoutError):
        return _not_connected(error)
    match error:
        case TimeoutError():
            return TooLate("the server fell silent")
        case ConnectionError() | aiohttp.ServerDisconnectedError():
            return kind("the server closed the connection")
        case aiohttp.ClientPayloadError():
            return BrokenOff("the answer ended before its end")
        case aiohttp.InvalidURL():
            return ForbiddenTarget("the lane's URL cannot be used", sent=False)
        case _:
            return kind(f"the server's answer cannot be read ({type(error).__name__})")


def _not_connected(error: Exception) -> UpstreamError:
    match error:
        case aiohttp.ConnectionTimeoutError():
            return TooLate(f"no connection within {CONNECT_SECONDS:g} s", sent=False)
        case aiohttp.ClientConnectorDNSError():
            return Unreachable("the host's name cannot be resolved", sent=False)
        case aiohttp.ClientConnectorError(os_error=_ForbiddenAddress() as reason):
            return ForbiddenTarget(str(reason), sent=False)
        case aiohttp.ClientSSLError():
            return Unreachable("the server's certificate is not accepted, or TLS failed", sent=False)
        case aiohttp.ClientConnectorError():
            return Unreachable(_words_of(error.os_error), sent=False)
        case _:
            return Unreachable("no connection", sent=False)


def _words_of(error: OSError) -> str:
    """The system's own words for an error; the library's name the address."""
    return os.strerror(error.errno).lower() if error.errno else "no connection"
