"""The real ``laneway gateway`` process against the real API server: views, token Secret, state, restart, draining."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

import manifests
from laneway.api.gatewaystate import AttemptState, GatewayState
from laneway.api.names import ATTEMPT_LABEL, RUN_LABEL, RUN_UID_LABEL
from laneway.gateway.cluster.cluster import Cluster
from laneway.gateway.cluster.views import Views
from laneway.kube.client import Kube
from laneway.kube.resources import AGENT_RUNS, ENDPOINT_SLICES, MODEL_LANES, PODS, SECRETS, JsonObject
from laneway.rules.token import AttemptId, TokenKeys, new_secret_data, operator_secret, sign
from laneway.settings import gateway_settings

KEY = b"k" * 32
KEYS = TokenKeys(current="k1", keys={"k1": KEY})
CHAT = {"model": "x", "messages": []}
Until = Callable[..., Awaitable[Any]]


@dataclass
class Gateway:
    """A running gateway process and where it answers."""

    process: asyncio.subprocess.Process
    calls: str
    operator: str
    health: str
    client: aiohttp.ClientSession

    async def get(self, path: str, attempt: AttemptId) -> int:
        headers = {"Authorization": f"Bearer {sign(KEYS, attempt)}"}
        async with self.client.get(self.calls + path, headers=headers) as answer:
            return answer.status

    async def chat(self, attempt: AttemptId) -> int:
        headers = {"Authorization": f"Bearer {sign(KEYS, attempt)}"}
        async with self.client.post(self.calls + "/v1/chat/completions", json=CHAT, headers=headers) as answer:
            return answer.status

    async def state(self) -> GatewayState:
        headers = {"Authorization": f"Bearer {operator_secret(KEY)}"}
        async with self.client.get(self.operator + "/v1/state", headers=headers) as answer:
            return GatewayState.model_validate_json(await answer.text())

    async def close(self, attempt: AttemptId) -> AttemptState:
        headers = {"Authorization": f"Bearer {operator_secret(KEY)}"}
        path = f"/v1/attempts/{attempt.run_uid}/{attempt.attempt}/close"
        async with self.client.post(self.operator + path, headers=headers) as answer:
            return AttemptState.model_validate_json(await answer.text())

    async def readiness(self) -> tuple[int, list[str]]:
        try:
            async with self.client.get(self.health + "/readyz") as answer:
                return answer.status, (await answer.json())["missing"]
        except aiohttp.ClientConnectionError:
            return 0, []

    async def is_ready(self) -> bool:
        return (await self.readiness())[0] == 200


@asynccontextmanager
async def started(namespace: str, folder: Path, ports: list[int]) -> AsyncIterator[Gateway]:
    env = {
        **os.environ,
        "LANEWAY_POD_NAMESPACE": namespace,
        "LANEWAY_WATCH_NAMESPACES": namespace,
        "LANEWAY_LEDGER_PATH": str(folder / "ledger.sqlite"),
        "LANEWAY_CALL_PORT": str(ports[0]),
        "LANEWAY_OPERATOR_PORT": str(ports[1]),
        "LANEWAY_METRICS_PORT": str(ports[2]),
    }
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "laneway", "gateway", env=env)
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    try:
        async with aiohttp.ClientSession() as client:
            yield Gateway(process, *urls, client)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def make_lane(kube: Kube, namespace: str) -> None:
    spec = {"endpoint": {"url": "http://127.0.0.1:9", "server": "vLLM"}}
    await kube.create(MODEL_LANES, namespace, manifests.lane(spec, name="local"))


async def make_run(kube: Kube, namespace: str, *, finished: bool = False) -> AttemptId:
    run = await kube.create(AGENT_RUNS, namespace, manifests.run(name="hello"))
    attempt = AttemptId(run_uid=run["metadata"]["uid"], attempt=1)
    await set_run_status(kube, namespace, finished=finished)
    return attempt


async def set_run_status(kube: Kube, namespace: str, *, finished: bool) -> None:
    run = await kube.get(AGENT_RUNS, namespace, "hello")
    ended = {
        "type": "Finished",
        "status": "True",
        "reason": "Completed",
        "message": "",
        "lastTransitionTime": "2026-11-21T00:00:00Z",
        "observedGeneration": 1,
    }
    status: JsonObject = {
        "attempt": 1,
        "step": {"lane": "local", "namespace": namespace, "model": "smollm2"},
        "conditions": [ended] if finished else [],
    }
    meta = run["metadata"]
    await kube.apply_status(
        AGENT_RUNS, namespace, "hello", status=status, resource_version=meta["resourceVersion"], uid=meta["uid"]
    )


async def make_pod(kube: Kube, namespace: str, attempt: AttemptId, *, address: str | None = "127.0.0.1") -> None:
    labels = {RUN_LABEL: "hello", RUN_UID_LABEL: attempt.run_uid, ATTEMPT_LABEL: str(attempt.attempt)}
    body: JsonObject = {
        "metadata": {"name": "hello-1", "labels": labels},
        "spec": {"containers": [{"name": "agent", "image": "none"}]},
    }
    pod = await kube.create(PODS, namespace, body)
    if address is not None:
        meta = pod["metadata"]
        status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}
        await kube.apply_status(
            PODS, namespace, "hello-1", status=status, resource_version=meta["resourceVersion"], uid=meta["uid"]
        )


async def make_keys(kube: Kube, namespace: str) -> None:
    body = {"metadata": {"name": "laneway-token-keys"}, "data": new_secret_data(key_id="k1", key=KEY)}
    await kube.create(SECRETS, namespace, body)


@pytest.fixture
def ports(unused_tcp_port_factory: Callable[[], int]) -> list[int]:
    return [unused_tcp_port_factory() for _ in range(3)]


async def test_it_is_ready_when_it_has_views_keys_and_ledger(
    kube: Kube, namespace: str, tmp_path: Path, ports: list[int], until: Until
) -> None:
    async with started(namespace, tmp_path, ports) as gateway:

        async def lacks_keys_only() -> bool:
            return await gateway.readiness() == (503, ["the token keys were not read yet"])

        await until(lacks_keys_only, seconds=20)
        await make_keys(kube, namespace)
        await until(gateway.is_ready, seconds=20)


async def test_an_attempt_may_call_from_its_pod_from_its_start_to_its_end(
    kube: Kube, namespace: str, tmp_path: Path, ports: list[int], until: Until
) -> None:
    await make_keys(kube, namespace)
    await make_lane(kube, namespace)
    async with started(namespace, tmp_path, ports) as gateway:
        await until(gateway.is_ready, seconds=20)
        attempt = await make_run(kube, namespace)
        early = asyncio.create_task(gateway.get("/v1/models", attempt))
        await make_pod(kube, namespace, attempt)
        assert await early == 200
        assert await gateway.get("/v1/models", AttemptId(attempt.run_uid, 2)) == 401
        assert await gateway.get("/v1/models", AttemptId("9" * 36, 1)) == 401
        await set_run_status(kube, namespace, finished=True)

        async def is_refused() -> bool:
            return await gateway.get("/v1/models", attempt) == 401

        await until(is_refused)


async def test_another_address_than_the_pods_is_refused(
    kube: Kube, namespace: str, tmp_path: Path, ports: list[int], until: Until
) -> None:
    await make_keys(kube, namespace)
    await make_lane(kube, namespace)
    attempt = await make_run(kube, namespace)
    await make_pod(kube, namespace, attempt, address="10.1.2.3")
    async with started(namespace, tmp_path, ports) as gateway:
        await until(gateway.is_ready, seconds=20)
        assert await gateway.get("/v1/models", attempt) == 401


async def test_lane_state_failure_and_closing_survive_a_sigkill(
    kube: Kube, namespace: str, tmp_path: Path, ports: list[int], until: Until
) -> None:
    await make_keys(kube, namespace)
    await make_lane(kube, namespace)
    attempt = await make_run(kube, namespace)
    await make_pod(kube, namespace, attempt)
    async with started(namespace, tmp_path, ports) as gateway:
        await until(gateway.is_ready, seconds=20)

        async def lane_is_probed() -> bool:
            return bool((await gateway.state()).lanes)

        await until(lane_is_probed)
        (lane,) = (await gateway.state()).lanes
        assert (lane.reason, lane.message) == ("BackendUnreachable", "the host's address is not allowed for a lane")
        assert await gateway.chat(attempt) == 502
        before = await gateway.close(attempt)
        assert await gateway.chat(attempt) == 401
        async with gateway.client.get(gateway.health + "/metrics") as answer:
            text = await answer.text()
        assert f'laneway_requests_total{{code="502",lane="local",model="smollm2",namespace="{namespace}"}} 1.0' in text
        assert "laneway_gateway_view_age_seconds" in text
        gateway.process.send_signal(signal.SIGKILL)
        await gateway.process.wait()
    async with started(namespace, tmp_path, ports) as gateway:
        await until(gateway.is_ready, seconds=20)
        (after,) = (await gateway.state()).attempts
        assert await gateway.chat(attempt) == 401
    assert (before.calls, before.closed, before.totals.turns) == (1, True, 0)
    assert before.failure is not None
    assert (after.calls, after.closed, after.totals) == (before.calls, True, before.totals)


async def test_a_second_gateway_on_the_same_ledger_stays_unready_until_the_first_has_left(
    kube: Kube, namespace: str, tmp_path: Path, unused_tcp_port_factory: Callable[[], int], until: Until
) -> None:
    await make_keys(kube, namespace)
    first_ports, second_ports = ([unused_tcp_port_factory() for _ in range(3)] for _ in range(2))
    async with started(namespace, tmp_path, first_ports) as first:
        await until(first.is_ready, seconds=20)
        async with started(namespace, tmp_path, second_ports) as second:

            async def lacks_the_ledger() -> bool:
                status, missing = await second.readiness()
                return status == 503 and "the ledger is not held by this process" in missing

            await until(lacks_the_ledger, seconds=20)
            first.process.terminate()
            assert await asyncio.wait_for(first.process.wait(), 10) == 0
            await until(second.is_ready, seconds=20)


async def test_sigterm_lets_an_open_call_end_and_then_leaves(
    kube: Kube, namespace: str, tmp_path: Path, ports: list[int], until: Until
) -> None:
    await make_keys(kube, namespace)
    await make_lane(kube, namespace)
    attempt = await make_run(kube, namespace)
    async with started(namespace, tmp_path, ports) as gateway:
        await until(gateway.is_ready, seconds=20)
        held = asyncio.create_task(gateway.get("/v1/models", attempt))

        async def call_is_open() -> bool:
            async with gateway.client.get(gateway.health + "/metrics") as answer:
                return "laneway_gateway_open_calls 1.0" in await answer.text()

        await until(call_is_open)
        gateway.process.terminate()

        async def is_leaving() -> bool:
            return await gateway.readiness() == (503, ["the gateway is leaving"])

        await until(is_leaving)
        await make_pod(kube, namespace, attempt)
        assert await held == 200
        assert await asyncio.wait_for(gateway.process.wait(), 10) == 0


async def test_the_api_servers_own_addresses_are_read_once_they_are_published(kube: Kube, namespace: str) -> None:
    """The control plane of the tests publishes none, since it listens on loopback; so the test does it."""
    env = {"LANEWAY_POD_NAMESPACE": namespace, "LANEWAY_LEDGER_PATH": "/none"}
    cluster = Cluster(kube, Views(), gateway_settings(env))
    assert await cluster.read_api_addresses() is None
    endpoints = [{"addresses": ["192.0.2.7"]}, {"addresses": ["192.0.2.8"]}]
    published = {"metadata": {"name": "kubernetes"}, "addressType": "IPv4", "endpoints": endpoints}
    await kube.create(ENDPOINT_SLICES, "default", published)
    try:
        assert await cluster.read_api_addresses() == ["192.0.2.7", "192.0.2.8"]
    finally:
        await kube.delete(ENDPOINT_SLICES, "default", "kubernetes")
