"""Which addresses the shipped gateway may reach."""

from __future__ import annotations

import ipaddress

import pytest

from laneway.gateway.upstream import strict


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("10.96.0.10", True),
        ("192.168.1.5", True),
        ("203.0.113.7", True),
        ("fd12::7", True),
        ("127.0.0.1", False),
        ("127.8.8.8", False),
        ("::1", False),
        ("0.0.0.0", False),
        ("::", False),
        ("169.254.169.254", False),
        ("169.254.1.1", False),
        ("fe80::1", False),
        ("fd00:ec2::254", False),
        ("100.100.100.200", False),
        ("192.0.0.192", False),
        ("224.0.0.1", False),
        ("ff02::1", False),
    ],
)
def test_the_strict_policy(address: str, allowed: bool) -> None:
    assert strict(ipaddress.ip_address(address)) is allowed
