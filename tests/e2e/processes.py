"""Signals to the processes of a pod, as its node sees them: a crash is SIGKILL, a pause is SIGSTOP."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from e2e.commands import run

# A cgroup's path holds the pod's uid: with dashes, or with underscores where systemd names it.
_SEND = """
for pid in $(grep -lE '{uid}' /proc/[0-9]*/cgroup 2>/dev/null | cut -d/ -f3); do
  tr '\\0' ' ' </proc/$pid/cmdline 2>/dev/null | grep -q '{program}' && kill -{number} $pid && echo $pid
done; true
"""


def send(pod: dict[str, Any], number: signal.Signals, *, program: str) -> list[str]:
    """Send a signal to those processes of a pod whose command line has ``program``; answers their ids."""
    uid = pod["metadata"]["uid"]
    script = _SEND.format(uid=f"{uid}|{uid.replace('-', '_')}", program=program, number=int(number))
    return run(*_on_node(pod), "sh", "-c", script).split()


def kill(pod: dict[str, Any], *, program: str) -> None:
    """SIGKILL."""
    assert send(pod, signal.SIGKILL, program=program), f"no {program} in pod {pod['metadata']['name']}"


@contextmanager
def paused(pod: dict[str, Any], *, program: str) -> Iterator[None]:
    """SIGSTOP, and SIGCONT at the end to what is still there."""
    assert send(pod, signal.SIGSTOP, program=program), f"no {program} in pod {pod['metadata']['name']}"
    try:
        yield
    finally:
        send(pod, signal.SIGCONT, program=program)


def _on_node(pod: dict[str, Any]) -> tuple[str, ...]:
    """A node of kind is a container; the local cluster's processes are this machine's."""
    node = pod["spec"]["nodeName"]
    return ("docker", "exec", node) if node.endswith("-control-plane") else ()
