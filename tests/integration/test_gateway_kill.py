"""SIGKILL of a gateway under load, again and again: the ledger against what the server received and what the client was answered."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiohttp import web

from laneway.gateway.ledger.ledger import open_ledger
from laneway.rules.token import sign
from unit.gateway.kit import ATTEMPT, KEYS, serve

ROUNDS = 6
CLIENTS = 8
SOURCES = [str(Path(__file__).parents[2] / "operator"), str(Path(__file__).parents[1])]


@dataclass
class Books:
    """What both ends saw. Each call has a number of its own; the server tells it as the input tokens."""

    received: list[int] = field(default_factory=list)
    answered: list[int] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    async def server(self, request: web.Request) -> web.Response:
        number = int((await request.json())["messages"][0]["content"])
        self.received.append(number)
        await asyncio.sleep(0.001 * (number % 5))
        usage = {"prompt_tokens": number, "completion_tokens": 1, "total_tokens": number + 1}
        choice = {"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}
        return web.json_response({"id": "c", "object": "chat.completion", "choices": [choice], "usage": usage})

    async def call_for_ever(self, client: aiohttp.ClientSession, url: str) -> None:
        """One call after the other, until the gateway is gone."""
        headers = {"Authorization": f"Bearer {sign(KEYS, ATTEMPT)}"}
        while True:
            number = next(self.numbers)
            body = {"model": "m", "messages": [{"role": "user", "content": str(number)}]}
            try:
                async with client.post(f"{url}/v1/chat/completions", json=body, headers=headers) as answer:
                    assert answer.status == 200, await answer.text()
                    assert (await answer.json())["usage"]["prompt_tokens"] == number
            except aiohttp.ClientError:
                return
            self.answered.append(number)


@asynccontextmanager
async def victim(folder: Path, server: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(SOURCES)}
    command = [sys.executable, "-m", "integration.gateway_victim", str(folder), server]
    process = await asyncio.create_subprocess_exec(*command, env=env, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield process, (await process.stdout.readline()).decode().strip()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def enough(books: Books, count: int) -> None:
    while len(books.answered) < count:
        await asyncio.sleep(0.001)


async def test_every_call_that_reached_the_server_is_in_the_ledger_once(tmp_path: Path) -> None:
    books, chance = Books(), random.Random(5)
    async with AsyncExitStack() as stack:
        app = web.Application()
        app.router.add_post("/{path:.*}", books.server)
        server = await serve(stack, app)
        client = await stack.enter_async_context(aiohttp.ClientSession())
        for _ in range(ROUNDS):
            async with victim(tmp_path, server) as (process, url):
                clients = [asyncio.create_task(books.call_for_ever(client, url)) for _ in range(CLIENTS)]
                await asyncio.wait_for(enough(books, len(books.answered) + chance.randint(1, 150)), 30)
                process.kill()
                await asyncio.wait_for(asyncio.gather(*clients), 30)
    ledger, (past,) = open_ledger(tmp_path / "ledger.sqlite", now_ms=int(time.time() * 1000))
    await ledger.close()
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as reader:
        rows = reader.execute("SELECT state, input_tokens FROM calls").fetchall()
    settled = [tokens for state, tokens in rows if state == "settled"]
    lost = [tokens for state, tokens in rows if state == "lost"]
    assert len(settled) + len(lost) == len(rows) >= len(books.received) >= len(books.answered) > ROUNDS
    assert len(settled) == len(set(settled)), "a call is there twice"
    assert set(settled) <= set(books.received)
    unsettled = set(books.answered) - set(settled)
    assert len(unsettled) <= len(lost) <= ROUNDS * CLIENTS, "a call is neither settled nor in flight"
    assert all(tokens > 0 for tokens in lost), "a call in flight costs what was set aside for it"
    assert (past.turns, past.input_tokens, past.unmetered_calls) == (len(settled), sum(settled) + sum(lost), len(lost))
