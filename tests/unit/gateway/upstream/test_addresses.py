"""Which addresses the gateway may reach, whatever they are written as."""

from __future__ import annotations

import ipaddress

import pytest

from laneway.gateway.upstream.addresses import Rules, read_addresses, strict
from laneway.gateway.upstream.surroundings import Surroundings
from laneway.settings import GatewaySettings, gateway_settings


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        pytest.param("10.96.0.10", True, id="a Service"),
        pytest.param("192.168.1.5", True, id="a private network"),
        pytest.param("203.0.113.7", True, id="the internet"),
        pytest.param("fd12::7", True, id="a private network of IPv6"),
        pytest.param("2606:4700::6810:84e5", True, id="the internet of IPv6"),
        pytest.param("64:ff9b::203.0.113.7", True, id="the internet by NAT64"),
        pytest.param("127.0.0.1", False, id="loopback"),
        pytest.param("127.8.8.8", False, id="anywhere in loopback"),
        pytest.param("::1", False, id="loopback of IPv6"),
        pytest.param("0.0.0.0", False, id="no address"),
        pytest.param("0.1.2.3", False, id="this host"),
        pytest.param("::", False, id="no address of IPv6"),
        pytest.param("255.255.255.255", False, id="everybody"),
        pytest.param("169.254.169.254", False, id="metadata"),
        pytest.param("169.254.170.2", False, id="metadata of containers"),
        pytest.param("169.254.1.1", False, id="the link"),
        pytest.param("fe80::1", False, id="the link of IPv6"),
        pytest.param("fe80::1%eth0", False, id="the link with its zone"),
        pytest.param("fd00:ec2::254", False, id="metadata over IPv6"),
        pytest.param("fd00:ec2::23", False, id="credentials of pods over IPv6"),
        pytest.param("fd20:ce::254", False, id="metadata over IPv6 elsewhere"),
        pytest.param("100.100.100.200", False, id="metadata in a shared network"),
        pytest.param("168.63.129.16", False, id="metadata at a public address"),
        pytest.param("192.0.0.192", False, id="metadata in a special network"),
        pytest.param("224.0.0.1", False, id="multicast"),
        pytest.param("ff02::1", False, id="multicast of IPv6"),
        pytest.param("::ffff:127.0.0.1", False, id="loopback, mapped"),
        pytest.param("::ffff:169.254.169.254", False, id="metadata, mapped"),
        pytest.param("::127.0.0.1", False, id="loopback, compatible"),
        pytest.param("::ffff:0:127.0.0.1", False, id="loopback, translated"),
        pytest.param("64:ff9b::169.254.169.254", False, id="metadata by NAT64"),
        pytest.param("64:ff9b:1::127.0.0.1", False, id="loopback by NAT64 of one's own network"),
        pytest.param("64:ff9b:1:a9fe:a9:fe00::", False, id="metadata by NAT64 after 48 bits"),
        pytest.param("2002:7f00:1::", False, id="loopback by 6to4"),
        pytest.param("2002:a9fe:a9fe::1", False, id="metadata by 6to4"),
        pytest.param("2001:0:7f00:1::", False, id="loopback as Teredo's server"),
        pytest.param("2001:0:102:304::80ff:fffe", False, id="loopback as Teredo's client"),
    ],
)
def test_what_no_installation_reaches(address: str, *, allowed: bool) -> None:
    assert strict(ipaddress.ip_address(address)) is allowed
    assert Rules(allow=networks("0.0.0.0/0", "::/0")).permit(ipaddress.ip_address(address)) is allowed


@pytest.mark.parametrize(
    ("address", "allow", "deny", "permitted"),
    [
        pytest.param("10.1.2.3", (), (), True, id="without lists all is permitted"),
        pytest.param("10.1.2.3", ("10.0.0.0/8",), (), True, id="an allowed network"),
        pytest.param("11.1.2.3", ("10.0.0.0/8",), (), False, id="what the list of allowed ones does not name"),
        pytest.param("10.1.2.3", ("10.0.0.0/8",), ("10.1.0.0/16",), False, id="deny wins inside allow"),
        pytest.param("10.1.2.3", ("10.1.2.3",), ("10.0.0.0/8",), False, id="deny wins over the more exact allow"),
        pytest.param("10.2.2.3", (), ("10.1.0.0/16",), True, id="beside what is denied"),
        pytest.param("::ffff:10.1.2.3", ("10.0.0.0/8",), (), True, id="allowed, mapped"),
        pytest.param("::ffff:10.1.2.3", (), ("10.0.0.0/8",), False, id="denied, mapped"),
        pytest.param("64:ff9b::10.1.2.3", (), ("10.0.0.0/8",), False, id="denied, by NAT64"),
        pytest.param("2002:a01:203::1", (), ("10.0.0.0/8",), False, id="denied, by 6to4"),
        pytest.param("2002:a01:203::1", ("10.0.0.0/8",), (), False, id="a tunnel is not what is allowed"),
        pytest.param("fd12::7", ("fd12::/16",), (), True, id="an allowed network of IPv6"),
        pytest.param("10.96.0.1", ("10.0.0.0/8",), (), False, id="the API server is not to be allowed"),
        pytest.param("::ffff:10.96.0.1", (), (), False, id="the API server, mapped"),
        pytest.param("64:ff9b::a60:1", (), (), False, id="the API server, by NAT64"),
    ],
)
def test_the_lists_of_an_installation(
    address: str, allow: tuple[str, ...], deny: tuple[str, ...], *, permitted: bool
) -> None:
    rules = Rules(allow=networks(*allow), deny=networks(*deny), cluster=read_addresses(["10.96.0.1"]))
    assert rules.permit(ipaddress.ip_address(address)) is permitted


class World:
    """A name server and an API server that can change their answers and fall silent."""

    def __init__(self) -> None:
        self.hosts: dict[str, list[str]] = {
            "gateway.system.svc": ["10.96.7.7"],
            "kubernetes.default.svc": ["10.96.0.1"],
        }
        self.endpoints: list[str] | None = ["192.168.5.1", "192.168.5.2"]

    async def resolve(self, host: str) -> list[str]:
        try:
            return self.hosts[host]
        except KeyError:
            raise OSError("no such host") from None

    async def read_api_addresses(self) -> list[str] | None:
        return self.endpoints

    def surroundings(self) -> Surroundings:
        return Surroundings(settings(), self.read_api_addresses, resolve=self.resolve)


async def test_own_addresses_and_the_api_servers_are_refused() -> None:
    surroundings = World().surroundings()
    await surroundings.look()
    for address in (
        "10.244.1.9",
        "fd00::9",
        "10.96.7.7",
        "10.96.0.1",
        "192.168.5.1",
        "192.168.5.2",
        "::ffff:10.96.7.7",
    ):
        assert not surroundings.permits(ipaddress.ip_address(address)), address
    assert surroundings.permits(ipaddress.ip_address("10.96.7.8"))


async def test_own_addresses_are_refused_before_anything_was_looked_up() -> None:
    assert not World().surroundings().permits(ipaddress.ip_address("10.244.1.9"))


async def test_what_was_seen_last_holds_while_nobody_answers_and_moves_with_the_next_answer() -> None:
    world = World()
    surroundings = world.surroundings()
    await surroundings.look()
    world.hosts, world.endpoints = {}, None
    await surroundings.look()
    for address in ("10.96.7.7", "192.168.5.2"):
        assert not surroundings.permits(ipaddress.ip_address(address))
    world.hosts, world.endpoints = {"gateway.system.svc": ["10.96.9.9"]}, ["192.168.5.3"]
    await surroundings.look()
    assert [surroundings.permits(ipaddress.ip_address(one)) for one in ("10.96.7.7", "10.96.9.9", "192.168.5.3")] == [
        True,
        False,
        False,
    ]


def settings() -> GatewaySettings:
    return gateway_settings(
        {
            "LANEWAY_POD_NAMESPACE": "system",
            "LANEWAY_LEDGER_PATH": "/ledger",
            "LANEWAY_POD_ADDRESSES": "10.244.1.9,fd00::9",
            "LANEWAY_REFUSED_HOSTS": "gateway.system.svc,kubernetes.default.svc,$(KUBERNETES_SERVICE_HOST)",
        }
    )


def networks(*texts: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)
