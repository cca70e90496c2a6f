"""The node cluster of P4, brought up by the demo's own steps, and down again if it was not up before."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.programs import ROOT

_HACK = ROOT / "hack"
_SECONDS = 1800
"""A fresh machine builds Kubernetes, containerd and a model server first."""


class NoNodeError(Exception):
    """A node cannot run on this machine; the words say why."""


@dataclass(frozen=True)
class Node:
    """A cluster with a kubelet, with the chart installed."""

    kubeconfig: str
    image: str
    """An image that is there, with a shell in it."""


@contextmanager
def node() -> Iterator[Node]:
    """Blocks until it is up. Raises NoNodeError if it does not come up, RuntimeError if the chart cannot be installed on it."""
    was_up = _run("cluster", "status").returncode == 0
    try:
        started = _run("cluster", "up")
        if started.returncode != 0:
            raise NoNodeError(why(started.stderr))
        _said("demo", "--until", "install")
        image, archive = _said("image", "laneway-test").split()
        _said("cluster", "load-image", archive)
        exports = (shlex.split(line)[1] for line in _said("cluster", "env").splitlines())
        yield Node(dict(line.split("=", 1) for line in exports)["KUBECONFIG"], image)
    finally:
        if not was_up:
            _said("cluster", "down")


def why(complaint: str) -> str:
    """The cause that a command of hack/ gave when it failed, or the last that it said."""
    lines = [line.strip() for line in complaint.splitlines() if line.strip()]
    causes = [line.removeprefix("cause:").strip() for line in lines if line.startswith("cause:")]
    return (causes or lines or ["nothing was said"])[-1]


def _said(*command: str) -> str:
    done = _run(*command)
    if done.returncode != 0:
        raise RuntimeError(f"hack/{shlex.join(command)} failed: {done.stderr or done.stdout}")
    return done.stdout


def _run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(_HACK / name), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False, cwd=ROOT)
