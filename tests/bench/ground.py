"""Where one round happens: a namespace of its own, a player for its pods, a folder for logs."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.api import Api
from bench.player import PodTimes
from bench.programs import Program, python
from laneway.kube.resources import Resource

NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
_ACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount")


@dataclass(frozen=True)
class Ground:
    """What both sides stand on."""

    api: Api
    kubeconfig: str
    namespace: str
    folder: Path
    player: Program

    def lives(self) -> list[PodTimes]:
        """End the player, and read what it saw of every pod."""
        self.player.stop()
        return [PodTimes(**pod) for pod in json.loads((self.folder / "pods.json").read_text())]


@asynccontextmanager
async def ground(kubeconfig: str, folder: Path, name: str) -> AsyncGenerator[Ground]:
    """A fresh namespace with a player that watches it. The namespace stays: deleting it would load the next round."""
    api = await Api.open(kubeconfig)
    namespace = await new_namespace(api, name)
    place = folder / namespace
    place.mkdir()
    command = python("bench.player", kubeconfig, namespace, str(place / "pods.json"))
    player = Program(command, place / "player.log")

    async def ready() -> bool:
        return "ready" in player.said

    try:
        await player.until(ready)
        yield Ground(api, kubeconfig, namespace, place, player)
    finally:
        player.stop()
        await api.close()


async def new_namespace(api: Api, name: str) -> str:
    """A namespace whose name begins so, ready for pods: those are refused before it has its service account."""
    namespace = f"{name}-{secrets.token_hex(3)}"
    await api.send("POST", NAMESPACES.path(), {"metadata": {"name": namespace}})
    async with asyncio.timeout(30):
        while not (await api.get(_ACCOUNTS.path(namespace)))["items"]:
            await asyncio.sleep(0.05)
    return namespace
