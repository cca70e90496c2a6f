"""Limits at the gateway's own port: what agents get, what is charged, and what the operator is told."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from unit.gateway.kit import ATTEMPT, JsonObject, Kit, eventually, gateway, run_object

PRICED = [
    {
        "name": "smollm2",
        "pricing": {"inputUSDPerMillion": "100", "outputUSDPerMillion": "100"},
        "maxOutputTokens": 200,
    }
]
BODY: JsonObject = {"model": "any", "messages": [{"role": "user", "content": "hello " * 10}]}


def limited(limits: JsonObject, *, version: int = 2) -> JsonObject:
    made = run_object(version=version)
    return {**made, "metadata": {**made["metadata"], "generation": version}, "spec": {"limits": limits}}


async def answer(request: web.Request) -> web.StreamResponse:
    """As long as it may be."""
    asked = await request.json()
    await asyncio.sleep(0)
    message = {"role": "assistant", "content": "x"}
    usage = {"prompt_tokens": 20, "completion_tokens": asked.get("max_tokens", 1)}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return web.json_response({"id": "c", "object": "chat.completion", "choices": [choice], "usage": usage})


async def call(kit: Kit, **body: Any) -> int:
    async with kit.post("/v1/chat/completions", {**BODY, **body}) as answered:
        await answered.read()
        return int(answered.status)


@pytest.mark.row("S1.15", "S4.28")
async def test_a_hundred_parallel_calls_never_pass_half_a_dollar(tmp_path: Path) -> None:
    async with gateway(tmp_path, answer, lane={"models": PRICED}) as kit:
        kit.views.runs.put(limited({"costUSD": "0.50"}))
        statuses = [status for _ in range(5) for status in await asyncio.gather(*(call(kit) for _ in range(20)))]
        state = kit.state.attempt_state(ATTEMPT)
        assert set(statuses) == {200, 403}
        assert state.totals.turns == statuses.count(200)
        assert state.totals.cost_micro_usd is not None
        assert 470_000 < state.totals.cost_micro_usd <= 500_000
        assert state.refusal is not None
        assert (state.refusal.limit, state.refusal.value, state.refusal.generation) == ("costUSD", "0.50", 2)
        assert state.reserved_micro_usd is None


async def test_a_limit_that_is_raised_while_a_call_is_held_goes_on(tmp_path: Path) -> None:
    lane = {"models": PRICED, "timeouts": {"holdSeconds": 60}}
    async with gateway(tmp_path, answer, lane=lane) as kit:
        kit.views.runs.put(limited({"turns": 1, "onReached": "Pause"}))
        assert await call(kit, max_tokens=5) == 200
        held = asyncio.create_task(call(kit, max_tokens=5))
        await eventually(lambda: kit.state.attempt_state(ATTEMPT).open_calls == 1)
        kit.views.runs.put(limited({"turns": 5, "onReached": "Pause"}, version=3))
        assert await held == 200
        assert kit.state.attempt_state(ATTEMPT).refusal is None


async def test_a_call_whose_client_leaves_is_charged_its_reservation(tmp_path: Path) -> None:
    arrived = asyncio.Event()

    async def hang(request: web.Request) -> web.StreamResponse:
        arrived.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with gateway(tmp_path, hang, lane={"models": PRICED}) as kit:
        kit.views.runs.put(limited({"costUSD": "0.50"}))
        left = asyncio.create_task(call(kit))
        await arrived.wait()
        held = kit.state.attempt_state(ATTEMPT).reserved_micro_usd
        left.cancel()
        await eventually(lambda: kit.state.attempt_state(ATTEMPT).calls == 1)
        state = kit.state.attempt_state(ATTEMPT)
        assert held
        assert (state.totals.cost_micro_usd, state.totals.output_tokens, state.totals.turns) == (held, 200, 0)
        assert state.reserved_micro_usd is None
