"""Blows to the operator's pods, and the rhythm in which they fall."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import Any

from e2e import processes, release
from e2e.commands import attempt


class Rhythm:
    """Time since the scenario began. Here alone a storm waits for time; everywhere else it waits for a state."""

    def __init__(self) -> None:
        self._begun = time.monotonic()

    @property
    def seconds(self) -> float:
        """How long it goes on by now."""
        return time.monotonic() - self._begun

    async def reach(self, seconds: float) -> None:
        """Return so many seconds after the beginning, or at once if that was before."""
        await asyncio.sleep(max(0.0, seconds - self.seconds))


def victim(*, leading: bool) -> dict[str, Any]:
    """The operator's pod that holds the Lease, or the other; the oldest and the youngest while nobody alive holds it."""
    holder = release.holder()

    def rank(pod: dict[str, Any]) -> tuple[bool, str]:
        return not holder.startswith(pod["metadata"]["name"]), pod["metadata"]["creationTimestamp"]

    ranked = sorted(release.pods("operator"), key=rank)
    return ranked[0 if leading else -1]


def remove(pod: dict[str, Any]) -> None:
    """Take the pod out of the API by force: the process is told after a new pod has begun, and the Lease changes hands.

    Harsher to a bound than SIGKILL, after which nobody leads for 15 s: at a blow every 5 s, nobody at all.
    """
    name = pod["metadata"]["name"]
    attempt("kubectl", "delete", "pod", "-n", release.SYSTEM, name, "--grace-period=0", "--force", "--wait=false")


def crash(pod: dict[str, Any]) -> None:
    """SIGKILL, and a new pod: where the kubelet starts a killed process again, it waits longer each time."""
    processes.send(pod, signal.SIGKILL, program=release.OPERATOR)
    remove(pod)
