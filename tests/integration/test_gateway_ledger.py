"""Calls while the disk under the ledger is not well: refused before anything goes upstream, and served again by themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aiohttp import web

from unit.gateway.kit import ATTEMPT, Kit, eventually, gateway

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
ANSWER = {
    "id": "c",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 120, "completion_tokens": 30, "total_tokens": 150},
}


@contextmanager
def full_disk(kit: Kit) -> Iterator[None]:
    connection = kit.ledger._writer.connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    yield
    connection.execute("PRAGMA max_page_count = 1000000")


async def test_a_full_disk_stops_calls_before_they_cost_and_not_those_under_way(tmp_path: Path) -> None:
    reached = 0
    go_on = asyncio.Event()

    async def server(request: web.Request) -> web.Response:
        nonlocal reached
        reached += 1
        if reached == 1:
            await go_on.wait()
        return web.json_response(ANSWER)

    async def status_of_a_call() -> int:
        async with kit.post("/v1/chat/completions", CHAT) as answer:
            return int(answer.status)

    async with gateway(tmp_path, server) as kit:
        first = asyncio.create_task(status_of_a_call())
        await eventually(lambda: reached == 1)
        with full_disk(kit):
            served = 0
            while await status_of_a_call() == 200:
                served += 1
            for _ in range(5):
                assert await status_of_a_call() == 503
            assert reached == served + 1, "a call went upstream without its row"
            go_on.set()
            assert await first == 200
        await eventually(lambda: kit.ledger.failure is None)
        assert await status_of_a_call() == 200
        (state,) = (await kit.read_state()).attempts
        await kit.ledger.flush()
        past = await kit.ledger.past_of(ATTEMPT)
    assert past is not None
    assert (
        (past.turns, past.input_tokens)
        == (state.totals.turns, state.totals.input_tokens)
        == (served + 2, 120 * (served + 2))
    )
