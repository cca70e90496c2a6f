"""The player: a process that plays the kubelet for every pod of a namespace. Running at once, Succeeded 0.2 s later.

    python -m bench.player KUBECONFIG NAMESPACE OUT

It says "ready" when it watches. On SIGTERM it writes to OUT, for every pod, when it was seen and when its end was written: monotonic seconds, which
mean the same in every process of one machine.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from contextlib import aclosing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.api import METADATA, Api
from laneway.api import names
from laneway.api.base import format_time
from laneway.kube.resources import PODS, JsonObject

RUNS_SECONDS = 0.2
_PARALLEL = 64
_MERGE = "application/merge-patch+json"


@dataclass
class PodTimes:
    """One pod's life as the player saw it."""

    lane: str
    """The lane that its labels name; empty where it has none."""
    created: float
    """When the watch told of it."""
    ended: float | None = None
    """When the API server had answered the write of its end."""


class Player:
    """Plays the pods of one namespace."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api = api
        self._namespace = namespace
        self._places = asyncio.Semaphore(_PARALLEL)
        self.pods: dict[str, PodTimes] = {}

    async def play(self) -> None:
        """Play until cancelled; what goes wrong with one pod ends all."""
        path = PODS.path(self._namespace)
        version = (await self._api.get(path))["metadata"]["resourceVersion"]
        print("ready", flush=True)
        async with (
            asyncio.TaskGroup() as lives,
            aclosing(self._api.watch(path, version=version, accept=METADATA)) as watch,
        ):
            async for kind, pod in watch:
                if kind == "ADDED":
                    lane = (pod["metadata"].get("labels") or {}).get(names.LANE_LABEL, "")
                    times = self.pods[pod["metadata"]["uid"]] = PodTimes(lane, time.monotonic())
                    lives.create_task(self._live(pod["metadata"]["name"], times))

    async def _live(self, name: str, times: PodTimes) -> None:
        started = _now()
        await self._tell(name, "Running", {"running": {"startedAt": started}})
        await asyncio.sleep(RUNS_SECONDS)
        ended = {"exitCode": 0, "reason": "Completed", "startedAt": started, "finishedAt": _now()}
        await self._tell(name, "Succeeded", {"terminated": ended})
        times.ended = time.monotonic()

    async def _tell(self, name: str, phase: str, state: JsonObject) -> None:
        ready = phase == "Running"
        container: dict[str, Any] = {"name": names.AGENT_CONTAINER, "image": "i", "imageID": "i", "restartCount": 0}
        status = {
            "phase": phase,
            "conditions": [
                {"type": "PodScheduled", "status": "True", "lastTransitionTime": _now()},
                {"type": "Ready", "status": str(ready), "lastTransitionTime": _now()},
            ],
            "containerStatuses": [{**container, "ready": ready, "state": state}],
        }
        async with self._places:
            path = PODS.path(self._namespace, name, "status")
            await self._api.send("PATCH", path, {"status": status}, content_type=_MERGE)


def _now() -> str:
    return format_time(datetime.now(UTC))


async def _main(kubeconfig: str, namespace: str, out: Path) -> None:
    api = await Api.open(kubeconfig)
    player = Player(api, namespace)
    playing = asyncio.create_task(player.play())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, playing.cancel)
    try:
        await playing
    except asyncio.CancelledError:
        out.write_text(json.dumps([asdict(pod) for pod in player.pods.values()]))
    finally:
        await api.close()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
