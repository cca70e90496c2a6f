"""What stands around the gateway and is no model server: its own addresses, its Service's, and the API server's."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeAlias

from laneway.gateway.upstream.addresses import Address, Rules, read_addresses
from laneway.settings import GatewaySettings

log = logging.getLogger(__name__)

_STEP_SECONDS = 60.0
_LOOK_SECONDS = 5.0

ReadAddresses: TypeAlias = Callable[[], Awaitable[Sequence[str] | None]]
"""Addresses as text; None when they cannot be known now."""


async def resolve(host: str) -> list[str]:
    """All addresses of a host, or the address that it is. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(place[0]) for *_, place in found]


class Surroundings:
    """The address policy of a running gateway; it looks again once a minute, and what it once saw at a place holds until it sees more."""

    def __init__(
        self,
        settings: GatewaySettings,
        read_api_addresses: ReadAddresses,
        *,
        resolve: Callable[[str], Awaitable[Iterable[str]]] = resolve,
    ) -> None:
        """``resolve`` raises OSError for a host that has no address."""
        self._settings = settings
        self._read_api_addresses = read_api_addresses
        self._resolve = resolve
        self._seen: dict[str, frozenset[Address]] = {"the pod": read_addresses(settings.pod_addresses)}
        self._rules = self._rules_now()

    def permits(self, address: Address) -> bool:
        """Whether the gateway may connect to an address."""
        return self._rules.permit(address)

    async def look(self) -> None:
        """See where everything is now."""
        hosts = self._settings.refused_hosts
        await asyncio.gather(self._look_at_api_server(), *(self._look_at(host) for host in hosts))
        self._rules = self._rules_now()

    async def keep_looking(self) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(_STEP_SECONDS)
            await self.look()

    async def _look_at(self, host: str) -> None:
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                self._seen[host] = read_addresses(await self._resolve(host))
        except (OSError, UnicodeError) as error:
            log.debug("a refused host has no address now", extra={"host": host, "cause": str(error)})

    async def _look_at_api_server(self) -> None:
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                found = await self._read_api_addresses()
        except TimeoutError:
            return
        if found is not None:
            self._seen["the API server"] = read_addresses(found)

    def _rules_now(self) -> Rules:
        return Rules(
            allow=self._settings.upstream_allow,
            deny=self._settings.upstream_deny,
            cluster=frozenset().union(*self._seen.values()),
        )
