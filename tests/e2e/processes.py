"""The processes of a container, as the node sees them: what a crash or a pause is done to."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from e2e.commands import attempt, run

_KIND_NODE = "laneway-control-plane"
_FIND = "grep -lE '{uid}' /proc/[0-9]*/cgroup 2>/dev/null | cut -d/ -f3"


def send(pod: dict[str, Any], number: signal.Signals, *, program: str) -> None:
    """Send a signal to the processes of a pod that run ``program``."""
    found = _pids(pod, program)
    assert found, f"no process {program} in pod {pod['metadata']['name']}"
    for pid in found:
        if _kind():
            run("docker", "exec", _KIND_NODE, "kill", f"-{int(number)}", str(pid))
        else:
            os.kill(pid, number)


@contextmanager
def paused(pod: dict[str, Any], *, program: str) -> Iterator[None]:
    """SIGSTOP to the processes of a pod, and SIGCONT at the end to those that are still there."""
    send(pod, signal.SIGSTOP, program=program)
    try:
        yield
    finally:
        with suppress(AssertionError, ProcessLookupError):
            send(pod, signal.SIGCONT, program=program)


def _pids(pod: dict[str, Any], program: str) -> list[int]:
    uid = pod["metadata"]["uid"]
    find = ["sh", "-c", _FIND.format(uid=f"{uid}|{uid.replace('-', '_')}")]
    listed = run(*_on_node(), *find).split()
    return [int(pid) for pid in listed if program in _command_line(pid)]


def _command_line(pid: str) -> str:
    if _kind():
        return attempt("docker", "exec", _KIND_NODE, "cat", f"/proc/{pid}/cmdline")[1].replace("\\0", " ")
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\\0", " ")
    except OSError:
        return ""


def _on_node() -> list[str]:
    return ["docker", "exec", _KIND_NODE] if _kind() else []


def _kind() -> bool:
    """Whether the node is a container of kind; else its processes are this machine's."""
    return _KIND_NODE in os.environ.get("KUBECONFIG_NODES", "")
