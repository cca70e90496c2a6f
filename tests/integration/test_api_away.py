"""The API server away while agents work: calls and streams go on and are metered, and afterwards nothing is lost and nobody is stuck.

The length is 20 s, which is past the operator's Lease; ``LANEWAY_API_AWAY_SECONDS=300`` makes it five minutes, past every time-out that there is.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from integration.agents import add_lane, reachable_server, start_both, token_of
from integration.conftest import NAMESPACES
from integration.operators import Stage, condition, is_finished
from integration.planes import OwnPlane, own_plane
from laneway.kube.client import Kube
from laneway.kube.errors import NotFound, Unavailable
from laneway.kube.resources import MODEL_LANES, PODS, SECRETS, JsonObject
from modelserver import ModelServer, Step
from support.standin import Part, node_stand_in
from support.witness import Witness

AWAY_SECONDS = float(os.environ.get("LANEWAY_API_AWAY_SECONDS", "20"))
LONG_STREAM_SECONDS = AWAY_SECONDS + 10
PIECES = 100
SLOWEST_SECONDS = 15.0
"""No call may hang on the API server. A call itself takes milliseconds, the longest wait for a Secret 2 s; the rest is for busy machines."""
PRICES = {"inputUSDPerMillion": "1000", "outputUSDPerMillion": "2000"}
RUNS = ("alpha", "beta", "gamma")


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnPlane]:
    with own_plane(tmp_path_factory.mktemp("plane")) as plane:
        yield plane


@pytest.fixture
async def stage(plane: OwnPlane, tmp_path: Path) -> AsyncIterator[Stage]:
    """A stage without witnesses: a watch cannot tell of everything when its server is killed."""
    kube = await Kube.connect(kubeconfig=plane.kubeconfig)
    namespace = f"away-{time.monotonic_ns():x}"
    await kube.create(NAMESPACES, None, {"metadata": {"name": namespace}})
    async with node_stand_in(kube, kubeconfig=plane.kubeconfig, namespace=namespace) as node:
        stage = Stage(kube, namespace, plane.kubeconfig, tmp_path, node, Witness(), Witness())
        try:
            yield stage
        finally:
            stage.end()
    await kube.delete(NAMESPACES, None, namespace)
    await kube.close()


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with reachable_server(models={"quick": 8192, "slow": 8192}) as server:
        long = Step(
            model="slow",
            pieces=("word ",) * PIECES,
            output_tokens=PIECES,
            chunk_delay_seconds=LONG_STREAM_SECONDS / PIECES,
            repeat=None,
        )
        server.play([long])
        yield server


@dataclass
class Agent:
    """An agent that calls for as long as it is told, a whole answer and a stream in turn."""

    name: str
    pod: JsonObject
    url: str
    statuses: list[int] = field(default_factory=list)
    slowest: float = 0.0

    async def call(self, client: aiohttp.ClientSession, *, stream: bool) -> bytes:
        body: dict[str, Any] = {"model": "any", "messages": [{"role": "user", "content": "hi"}], "stream": stream}
        headers = {"Authorization": f"Bearer {token_of(self.pod)}"}
        async with client.post(f"{self.url}/v1/chat/completions", json=body, headers=headers) as answer:
            whole = await answer.read()
            self.statuses.append(answer.status)
            return whole

    async def work(self, over: asyncio.Event) -> None:
        async with aiohttp.ClientSession() as client:
            while not over.is_set():
                for stream in (False, True):
                    begun = time.monotonic()
                    await self.call(client, stream=stream)
                    self.slowest = max(self.slowest, time.monotonic() - begun)
                with suppress(TimeoutError):
                    await asyncio.wait_for(over.wait(), 0.2)

    async def stream_long(self) -> bytes:
        timeout = aiohttp.ClientTimeout(total=LONG_STREAM_SECONDS + 120)
        async with aiohttp.ClientSession(timeout=timeout) as client:
            return await self.call(client, stream=True)


@asynccontextmanager
async def kubelet(stage: Stage) -> AsyncIterator[None]:
    """What a kubelet does for the operator: one that has ended is started again."""

    async def restart() -> None:
        while True:
            if stage.operators[-1].code is not None:
                stage.start()
            await asyncio.sleep(0.5)

    task = asyncio.create_task(restart())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def add_priced_lane(stage: Stage, server: ModelServer) -> None:
    """A lane with a key, prices and a bound on what the namespace may spend."""
    secret = {
        "metadata": {"name": "provider", "labels": {"laneway.dev/credential": "true"}},
        "data": {"apiKey": b64encode(b"sk-test").decode()},
    }
    await stage.kube.create(SECRETS, stage.namespace, secret)
    endpoint = {
        "url": server.url,
        "server": "Other",
        "credentialRef": {"name": "provider", "key": "apiKey"},
        "insecureCredential": True,
    }
    models = [{"name": name, "pricing": PRICES, "maxOutputTokens": 200} for name in ("quick", "slow")]
    spend = [{"namespace": stage.namespace, "limitUSD": "5000", "period": "Month"}]
    await add_lane(stage, server, endpoint=endpoint, models=models, spend=spend)


async def pod_of(stage: Stage, name: str) -> JsonObject:
    """The pod of a run's first attempt, once its agent is at work and the operator has said so."""

    async def running() -> bool:
        return condition(await stage.run(name), "Reconciling").get("reason") == "Running"

    await stage.until(running, answer=True, seconds=60)
    attempt = (await stage.run(name))["status"]["attempts"][-1]
    return await stage.kube.get(PODS, stage.namespace, attempt["pod"])


async def begin(stage: Stage) -> tuple[list[Agent], Agent, list[Part]]:
    """Three agents with quick calls, and one with a long stream."""
    parts = []
    for name in (*RUNS, "streamer"):
        parts.append(stage.node.play(name, Part.held()))
        model = "slow" if name == "streamer" else "quick"
        await stage.add_run(name, spec={"models": [{"lane": "local", "model": model}], "limits": {"turns": 100_000}})
    url = stage.settings["LANEWAY_GATEWAY_URL"]
    *quick, slow = [Agent(name, await pod_of(stage, name), url) for name in (*RUNS, "streamer")]
    return quick, slow, parts


def ledger_of(stage: Stage, uid: str) -> tuple[int, int, int, int]:
    """Turns, input and output tokens and micro-dollars of a run, in the ledger."""
    columns = "SUM(turn), SUM(input_tokens), SUM(output_tokens), SUM(cost_micro_usd)"
    with closing(sqlite3.connect(stage.folder / "ledger.db")) as reader:
        [row] = reader.execute(f"SELECT {columns} FROM calls WHERE run_uid = ?", (uid,))
    return row[0], row[1], row[2], row[3]


def micro(dollars: str) -> int:
    return int(Decimal(dollars) * 1_000_000)


async def finished(stage: Stage, name: str) -> JsonObject:
    async def ended() -> bool:
        with suppress(Unavailable):  # the API server may still be starting
            return is_finished(await stage.run(name))
        return False

    await stage.until(ended, answer=True, seconds=120)
    return await stage.run(name)


@pytest.mark.parametrize(
    ("leave", "come_back"),
    [
        pytest.param(OwnPlane.stop, OwnPlane.go_on, id="it hangs and goes on"),
        pytest.param(OwnPlane.kill, OwnPlane.start, id="it is killed and started again"),
    ],
)
async def test_calls_and_streams_go_on_while_the_api_server_is_away_and_nothing_is_lost(
    plane: OwnPlane, stage: Stage, server: ModelServer, leave: Any, come_back: Any
) -> None:
    await start_both(stage)
    await add_priced_lane(stage, server)
    agents, streamer, parts = await begin(stage)
    over = asyncio.Event()
    async with asyncio.TaskGroup() as group, kubelet(stage):
        long = group.create_task(streamer.stream_long())
        for agent in agents:
            group.create_task(agent.work(over))
        await stage.within(lambda: len(server.requests) > 2 * len(agents), seconds=30)
        before = [len(agent.statuses) for agent in agents]
        leave(plane)
        await asyncio.sleep(AWAY_SECONDS)
        during = [len(agent.statuses) - had for agent, had in zip(agents, before, strict=True)]
        assert not long.done()
        come_back(plane)
        assert b"[DONE]" in await long
        over.set()
        for part in parts:
            part.released.set()
        ended = [await finished(stage, name) for name in (*RUNS, "streamer")]
    print(f"calls while the API server was away: {during}; the slowest took {max(a.slowest for a in agents):.1f} s")
    assert all(count >= AWAY_SECONDS / SLOWEST_SECONDS for count in during)
    assert {status for agent in (*agents, streamer) for status in agent.statuses} == {200}
    assert max(agent.slowest for agent in agents) < SLOWEST_SECONDS
    assert {(condition(run, "Finished")["reason"], len(run["status"]["attempts"])) for run in ended} == {
        ("Completed", 1)
    }
    total = 0
    for run, agent in zip(ended, (*agents, streamer), strict=True):
        turns, given, got, cost = ledger_of(stage, run["metadata"]["uid"])
        usage = run["status"]["usage"]
        assert (usage["turns"], usage["inputTokens"], usage["outputTokens"]) == (turns, given, got)
        assert (micro(usage["costUSD"]), usage["complete"]) == (cost, True)
        assert turns == len(agent.statuses)
        total += cost
    await stage.until(lambda: spent(stage), total, seconds=60)


async def spent(stage: Stage) -> int | None:
    """Micro-dollars that the lane's status shows."""
    with suppress(NotFound):
        lane = await stage.kube.get(MODEL_LANES, stage.namespace, "local")
        shown = (lane.get("status") or {}).get("spend") or []
        return micro(shown[0]["usedUSD"]) if shown else None
    return None
