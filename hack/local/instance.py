"""The two clusters that can be up at once: the single node, and a control plane alone for tests that need no kubelet."""

import json
import random
import socket
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from local.paths import BIN, RUN
from local.processes import Processes

SERVICE_RANGE = "10.96.0.0/16"
SERVICE_ADDRESS = "10.96.0.1"  # of the API server, inside the cluster
DNS_ADDRESS = "10.96.0.10"
POD_RANGE = "10.244.0.0/24"
NODE_ADDRESS = "10.244.0.1"  # on the bridge: node address, pod gateway and API address in one
NODE = "laneway-node"
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Instance:
    """One cluster: its state folder and the address of its API server."""

    name: str
    title: str
    address: str
    fixed_ports: tuple[tuple[str, int], ...] = ()

    @property
    def run(self) -> Path:
        """The state folder: everything this cluster writes, gone after `down`."""
        return RUN / self.name

    @property
    def processes(self) -> Processes:
        """Its processes."""
        return Processes(self.run)

    @property
    def pki(self) -> Path:
        """Its certificates."""
        return self.run / "pki"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.run / "kube" / "admin.conf"

    @property
    def server(self) -> str:
        """The URL of its API server."""
        return f"https://{self.address}:{self.port('api')}"

    def client(self, name: str) -> Path:
        """The kubeconfig of one of its components."""
        return self.run / "kube" / f"{name}.conf"

    def port(self, name: str) -> int:
        """A port that was chosen when the cluster was started."""
        ports: dict[str, int] = json.loads((self.run / "ports.json").read_text())
        return ports[name]

    def choose_ports(self, names: list[str]) -> None:
        """Takes free ports, so that clusters, and other programs of the machine, never meet."""
        ports = free_ports(names) | dict(self.fixed_ports)
        (self.run / "ports.json").write_text(json.dumps(ports))


_PORTS = range(20_000, 30_000)
"""Below those that Linux gives to whoever asks for any: a port that is free when it is chosen stays so until it is used."""
NODE_CLUSTER = Instance("node", "the local cluster", NODE_ADDRESS, (("api", 6443),))
CONTROL_PLANE = Instance("control", "the control plane", LOOPBACK)


def program(name: str) -> str:
    """The path of one of the cluster's own programs."""
    return str(BIN / name)


def free_ports(names: list[str]) -> dict[str, int]:
    """A free port for each name."""
    left = list(names)
    found: dict[str, int] = {}
    with ExitStack() as stack:  # all are held until the last is known, so no number comes twice
        for port in random.sample(_PORTS, len(_PORTS)):
            if not left:
                break
            with suppress(OSError):
                stack.enter_context(socket.create_server(("", port)))
                found[left.pop(0)] = port
    return found
