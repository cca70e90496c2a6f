"""What NetworkPolicies let through, as their API defines it: a pod that a policy selects is reached, and reaches, only as some policy allows."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from unit.chart.rendering import Object, Rendered


@dataclass(frozen=True)
class End:
    """One end of a connection: a pod, or with no labels something outside the cluster."""

    address: str
    namespace: str = ""
    labels: tuple[tuple[str, str], ...] = ()

    @property
    def is_pod(self) -> bool:
        """Whether policies can select it."""
        return bool(self.labels)


def pod(namespace: str, address: str, **labels: str) -> End:
    """A pod with these labels, in keyword form: ``laneway.dev/x`` is given as ``**{"laneway.dev/x": "y"}``."""
    return End(address, namespace, tuple(labels.items()))


def allowed(rendered: Rendered, source: End, target: End, port: int, protocol: str = "TCP") -> bool:
    """Whether both ends' policies let the connection through."""
    to = (port, protocol)
    policies = rendered.kind("NetworkPolicy")
    return _one_way(policies, source, target, "Egress", to) and _one_way(policies, target, source, "Ingress", to)


def _one_way(policies: list[Object], own: End, other: End, direction: str, to: tuple[int, str]) -> bool:
    mine = [policy for policy in policies if _applies(policy, own, direction)]
    rules = [rule for policy in mine for rule in policy["spec"].get(direction.lower()) or ()]
    return not mine or any(_passes(rule, own, other, to) for rule in rules)


def _applies(policy: Object, own: End, direction: str) -> bool:
    return (
        own.is_pod
        and policy["metadata"]["namespace"] == own.namespace
        and direction in policy["spec"]["policyTypes"]
        and _selects(policy["spec"]["podSelector"], dict(own.labels))
    )


def _passes(rule: Object, own: End, other: End, to: tuple[int, str]) -> bool:
    peers = rule.get("to") or rule.get("from")
    ports = rule.get("ports")
    return (not peers or any(_is_peer(peer, own, other) for peer in peers)) and (
        not ports or any(_is_port(one, *to) for one in ports)
    )


def _is_port(rule: Object, port: int, protocol: str) -> bool:
    return rule.get("protocol", "TCP") == protocol and rule.get("port", port) == port


def _is_peer(peer: Object, own: End, other: End) -> bool:
    if block := peer.get("ipBlock"):
        return (
            not other.is_pod
            and _inside(other.address, [block["cidr"]])
            and not _inside(other.address, block.get("except", ()))
        )
    if not other.is_pod:
        return False
    if "namespaceSelector" in peer:
        at_home = _selects(peer["namespaceSelector"], {"kubernetes.io/metadata.name": other.namespace})
    else:
        at_home = other.namespace == own.namespace
    return at_home and _selects(peer.get("podSelector", {}), dict(other.labels))


def _inside(address: str, networks: Iterable[str]) -> bool:
    return any(ipaddress.ip_address(address) in ipaddress.ip_network(network) for network in networks)


def _selects(selector: Object, labels: dict[str, str]) -> bool:
    if not selector.get("matchLabels", {}).items() <= labels.items():
        return False
    for one in selector.get("matchExpressions", ()):
        value = labels.get(one["key"])
        match one["operator"]:
            case "Exists":
                good = value is not None
            case "In":
                good = value in one["values"]
            case unknown:
                raise NotImplementedError(unknown)
        if not good:
            return False
    return True
