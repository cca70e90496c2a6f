"""Which addresses the gateway may connect to. A lane's author chooses the host, so every address is judged at connect.

Refused, in this order: what is never a model server, whatever the settings say; the gateway's own addresses and the API server's; what
``deny`` names; with ``allow``, all that it does not name. An IPv6 address that stands for an IPv4 one is judged as both.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
AddressPolicy: TypeAlias = Callable[[Address], bool]
"""Whether the gateway may connect to an address."""

_METADATA = frozenset(
    map(
        ipaddress.ip_address,
        (
            "169.254.169.254",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
        ),
    )
)
"""Where clouds tell machines their own credentials, as far as it is not link-local anyway."""
_THIS_HOST = ipaddress.ip_network("0.0.0.0/8")
_BROADCAST = ipaddress.ip_address("255.255.255.255")
_IPV4_AT_THE_END = tuple(map(ipaddress.IPv6Network, ("::/96", "64:ff9b::/96", "64:ff9b:1::/48", "::ffff:0:0:0/96")))
"""Compatible, NAT64, NAT64 of one's own network, translated."""
_OWN_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")
_NOT_IPV4 = frozenset(map(ipaddress.ip_address, ("::", "::1")))


@dataclass(frozen=True, slots=True)
class Rules:
    """What an installation may reach."""

    allow: tuple[Network, ...] = ()
    """Empty: everything that is not refused."""
    deny: tuple[Network, ...] = ()
    """Wins over ``allow``."""
    cluster: frozenset[Address] = frozenset()
    """The gateway's own addresses and the API server's; neither is a model server."""

    def permit(self, address: Address) -> bool:
        """Whether the gateway may connect to an address."""
        return all(self._permits(form) for form in forms(address)) and self._is_allowed(address)

    def _permits(self, form: Address) -> bool:
        return strict(form) and form not in self.cluster and not _within(form, self.deny)

    def _is_allowed(self, address: Address) -> bool:
        """By the address that the packets go to: an allowed IPv4 network says nothing of a tunnel to it."""
        return not self.allow or _within(_unmapped(address), self.allow)


def strict(address: Address) -> bool:
    """Nothing of the machine itself, of its link, or of its cloud's metadata; in no installation."""
    return not any(
        form in _METADATA
        or form.is_loopback
        or form.is_link_local
        or form.is_multicast
        or form.is_unspecified
        or form in _THIS_HOST
        or form == _BROADCAST
        for form in forms(address)
    )


def forms(address: Address) -> Iterator[Address]:
    """The address, and every IPv4 address that it stands for: mapped, compatible, NAT64, 6to4, Teredo."""
    yield address
    if isinstance(address, ipaddress.IPv4Address):
        return
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    if address not in _NOT_IPV4 and any(address in network for network in _IPV4_AT_THE_END):
        yield ipaddress.IPv4Address(address.packed[12:])
    if address in _OWN_NAT64:  # RFC 6052: after 48 bits the IPv4 address steps over the ninth byte
        yield ipaddress.IPv4Address(address.packed[6:8] + address.packed[9:11])


def read_addresses(texts: Iterable[str]) -> frozenset[Address]:
    """The addresses among some texts, in every form; names are left out."""
    found: set[Address] = set()
    for text in texts:
        try:
            found.add(_unmapped(ipaddress.ip_address(text.strip().strip("[]").partition("%")[0])))
        except ValueError:
            continue
    return frozenset(found)


def _unmapped(address: Address) -> Address:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _within(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)
