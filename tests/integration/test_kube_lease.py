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
import asyncio, sys
from laneway.kube.client import Kube
from laneway.kube.lease import Elector
from laneway.kube.resources import CONFIG_MAPS

async def main(kubeconfig, namespace):
    elector = Elector(kube=await Kube.connect(kubeconfig=kubeconfig), namespace=namespace, name="laneway-operator", identity="child")
    kube = await Kube.connect(kubeconfig=kubeconfig, write_guard=elector.may_write)
    await elector.acquire()
    holding = asyncio.create_task(elector.hold())
    await kube.create(CONFIG_MAPS, namespace, {"metadata": {"name": "count"}, "data": {}})
    number = 0
    while not holding.done():
        number += 1
        await kube.merge_patch(CONFIG_MAPS, namespace, "count", {"data": {"number": str(number)}})
    holding.result()

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.row("B9")
async def test_a_process_stopped_for_longer_than_the_lease_writes_nothing_when_it_goes_on(
    cluster: Any, kube: Kube, namespace: str, start: Callable[[str], Replica], until: Any
) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", WRITER, cluster.kubeconfig, namespace], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:

        async def number() -> int:
            listing = await kube.list(CONFIG_MAPS, namespace=namespace)
            (found,) = [item for item in listing.items if item["metadata"]["name"] == "count"] or [{}]
            return int((found.get("data") or {}).get("number", 0))

        await until(lambda: _above(number, 20), seconds=20)
        heir = start("heir")
        os.kill(child.pid, signal.SIGSTOP)
        await asyncio.sleep(0.5)  # what was under way arrives
        before = await number()
        await until(heir.elector.may_write, seconds=30)
        os.kill(child.pid, signal.SIGCONT)
        await until(lambda: child.poll() is not None, seconds=10)
        assert await number() == before
        assert child.returncode != 0
        _, said = child.communicate()
        assert b"LeaseLost" in said or b"NotLeader" in said
        assert heir.elector.may_write()
    finally:
        child.kill()
        child.communicate()


async def _above(number: Callable[[], Any], bound: int) -> bool:
    return bool(await number() > bound)
