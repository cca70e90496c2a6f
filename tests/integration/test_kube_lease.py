"""Two electors and a real Lease."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from laneway.kube.client import Kube
from laneway.kube.errors import NotLeader
from laneway.kube.lease import Elector, LeaseLost
from laneway.kube.resources import CONFIG_MAPS, LEASES

NAME = "laneway-operator"


class Replica:
    """An elector that acquires and holds, as the operator's main does."""

    def __init__(self, kube: Kube, namespace: str, identity: str) -> None:
        self.elector = Elector(kube=kube, namespace=namespace, name=NAME, identity=identity)
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        await self.elector.acquire()
        await self.elector.hold()

    async def end(self) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])


@pytest.fixture
async def start(kube: Kube, namespace: str) -> AsyncIterator[Callable[[str], Replica]]:
    replicas: list[Replica] = []

    def make(identity: str) -> Replica:
        replicas.append(Replica(kube, namespace, identity))
        return replicas[-1]

    yield make
    for replica in replicas:
        await replica.end()


async def test_one_of_two_leads_renews_and_gives_over_when_it_stops(
    kube: Kube, namespace: str, start: Callable[[str], Replica], until: Any
) -> None:
    replicas = [start("pod-a"), start("pod-b")]
    await until(lambda: any(replica.elector.leads for replica in replicas))
    (leader,) = [replica for replica in replicas if replica.elector.leads]
    (other,) = [replica for replica in replicas if not replica.elector.leads]
    first = await kube.get(LEASES, namespace, NAME)
    assert first["spec"]["holderIdentity"] == leader.elector.identity

    async def renewed() -> bool:
        spec = (await kube.get(LEASES, namespace, NAME))["spec"]
        return (
            bool(spec["renewTime"] > first["spec"]["renewTime"]) and spec["holderIdentity"] == leader.elector.identity
        )

    await until(renewed, every=0.2)
    assert not other.elector.leads
    await leader.end()
    await leader.elector.release()
    await until(other.elector.may_write, seconds=5)
    assert not leader.elector.may_write()
    last = await kube.get(LEASES, namespace, NAME)
    assert last["spec"]["leaseTransitions"] == 1


async def test_a_lease_taken_away_ends_the_leader_and_its_writes(
    cluster: Any, kube: Kube, namespace: str, start: Callable[[str], Replica], until: Any
) -> None:
    leader = start("pod-a")
    await until(leader.elector.may_write)
    guarded = await Kube.connect(kubeconfig=cluster.kubeconfig, write_guard=leader.elector.may_write)
    try:
        await guarded.create(CONFIG_MAPS, namespace, {"metadata": {"name": "first"}})
        await kube.merge_patch(LEASES, namespace, NAME, {"spec": {"holderIdentity": "someone"}})
        await until(leader.task.done)
        assert isinstance(leader.task.exception(), LeaseLost)
        with pytest.raises(NotLeader):
            await guarded.create(CONFIG_MAPS, namespace, {"metadata": {"name": "second"}})
    finally:
        await guarded.close()
    names = [item["metadata"]["name"] for item in (await kube.list(CONFIG_MAPS, namespace=namespace)).items]
    assert "first" in names
    assert "second" not in names


WRITER = """
import asyncio, os, signal, sys
from laneway.kube.client import Kube
from laneway.kube.lease import Elector
from laneway.kube.resources import CONFIG_MAPS

async def main(kubeconfig, namespace, name, where):
    elector = Elector(kube=await Kube.connect(kubeconfig=kubeconfig), namespace=namespace, name=name, identity=name)
    asked = 0

    def guard():
        nonlocal asked
        may = elector.may_write()
        asked += 1
        if where == "inside" and asked == 21:
            os.kill(os.getpid(), signal.SIGSTOP)
        return may

    kube = await Kube.connect(kubeconfig=kubeconfig, write_guard=guard)
    await elector.acquire()
    holding = asyncio.create_task(elector.hold())
    await kube.create(CONFIG_MAPS, namespace, {"metadata": {"name": name}, "data": {}})
    for number in range(1, 1000):
        if where == "between" and number == 10:
            os.kill(os.getpid(), signal.SIGSTOP)
        await kube.merge_patch(CONFIG_MAPS, namespace, name, {"data": {"number": str(number)}})

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.row("B9")
async def test_a_process_stopped_for_longer_than_the_lease_writes_nothing_when_it_goes_on(
    cluster: Any, kube: Kube, namespace: str, until: Any
) -> None:
    """It stops itself between two writes, or inside one: after the guard has first said yes and before it is sent."""

    async def tell(where: str) -> None:
        command = [sys.executable, "-c", WRITER, cluster.kubeconfig, namespace, f"writer-{where}", where]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        heir = Elector(kube=kube, namespace=namespace, name=f"writer-{where}", identity="heir")

        async def number() -> str:
            return str((await kube.get(CONFIG_MAPS, namespace, f"writer-{where}"))["data"]["number"])

        try:
            await until(lambda: _is_stopped(child), seconds=20)
            assert await number() == "9"
            await heir.acquire()
            os.kill(child.pid, signal.SIGCONT)
            await until(lambda: child.poll() is not None, seconds=10)
            assert child.returncode != 0
            assert await number() == "9"
            _, said = child.communicate()
            assert b"NotLeader" in said
            assert heir.may_write()
        finally:
            child.kill()
            child.communicate()

    await asyncio.gather(tell("between"), tell("inside"))


def _is_stopped(child: subprocess.Popen[bytes]) -> bool:
    assert child.poll() is None, "it ended before it stopped itself"
    ended, status = os.waitpid(child.pid, os.WNOHANG | os.WUNTRACED)
    return ended == child.pid and os.WIFSTOPPED(status)
