"""What the kubelet asks the operator: alive while the loop turns, ready while it does its part."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import aiohttp
import pytest
from prometheus_client import REGISTRY

from laneway.controller.loop.probes import LAG_LIMIT_SECONDS, Health, serve
from laneway.settings import operator_settings

SETTINGS = replace(
    operator_settings(
        {
            "LANEWAY_POD_NAMESPACE": "laneway-system",
            "LANEWAY_POD_NAME": "operator-0",
            "LANEWAY_GATEWAY_URL": "http://127.0.0.1:9",
            "LANEWAY_GATEWAY_OPERATOR_URL": "http://127.0.0.1:9",
            "LANEWAY_AGENT_IMAGE": "laneway:test",
        }
    ),
    health_port=0,
    metrics_port=0,
)


class Watch:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def health(watch: Watch) -> Health:
    return Health(watch)


@pytest.fixture
async def urls(health: Health) -> AsyncIterator[tuple[str, str]]:
    """The health and the metrics listener."""
    runners = await serve(SETTINGS, health)
    health_port, metrics_port = (
        next(address[1] for address in runner.addresses if "." in address[0]) for runner in runners
    )
    yield f"http://127.0.0.1:{health_port}", f"http://127.0.0.1:{metrics_port}"
    for runner in runners:
        await runner.cleanup()


async def get(url: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status, await answer.text()


@pytest.mark.parametrize(("state", "status"), [("starting", 503), ("standby", 200), ("syncing", 503), ("leading", 200)])
async def test_a_replica_is_ready_while_it_stands_by_or_leads(
    health: Health, urls: tuple[str, str], state: str, status: int
) -> None:
    health.state = state
    assert await get(f"{urls[0]}/readyz") == (status, f"{state}\n")


async def test_a_loop_that_stands_still_is_not_alive_and_not_ready(
    health: Health, watch: Watch, urls: tuple[str, str]
) -> None:
    health.state = "leading"
    watch.seconds += LAG_LIMIT_SECONDS - 0.1
    assert (await get(f"{urls[0]}/healthz"))[0] == 200
    watch.seconds += 0.1
    assert (await get(f"{urls[0]}/healthz"))[0] == 503
    assert (await get(f"{urls[0]}/readyz"))[0] == 503


async def test_metrics_have_a_listener_of_their_own(urls: tuple[str, str]) -> None:
    status, text = await get(f"{urls[1]}/metrics")
    assert status == 200
    assert "laneway_loop_lag_seconds" in text
    assert (await get(f"{urls[0]}/metrics"))[0] == 404


async def test_how_late_the_loop_was_is_measured(health: Health, watch: Watch) -> None:
    ticking = asyncio.create_task(health.tick_forever())
    await asyncio.sleep(0)
    watch.seconds += 3.5
    async with asyncio.timeout(5):
        while REGISTRY.get_sample_value("laneway_loop_lag_seconds") != 3.0:
            await asyncio.sleep(0.01)
    ticking.cancel()
    assert health.alive
