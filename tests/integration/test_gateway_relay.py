"""Calls through a gateway in process to a scripted model server on loopback: what passes, what is left out, what is counted."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from laneway.gateway.ledger.ledger import CallStart
from unit.gateway.kit import ATTEMPT, eventually, gateway

WHOLE = b'{"id":"c1","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"Paris."},"finish_reason":"stop"}],"usage":{"prompt_tokens":120,"total_tokens":150,"completion_tokens":30}}'
DELTAS = [
    b'data: {"id":"c1","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":null}\n\n',
    b'data: {"id":"c1","choices":[{"index":0,"delta":{"content":"Par"},"finish_reason":null}],"usage":null}\n\n',
    b'data: {"id":"c1","choices":[{"index":0,"delta":{"content":"is."},"finish_reason":"stop"}],"usage":null}\n\n',
]
USAGE = b'data: {"id":"c1","choices":[],"usage":{"prompt_tokens":120,"total_tokens":150,"completion_tokens":30}}\n\n'
DONE = b"data: [DONE]\n\n"
CHAT = {"model": "gpt-whatever", "messages": [{"role": "user", "content": "hi"}], "unknown_field": {"kept": [1, 2.50]}}


def sse(*parts: bytes):
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        for part in parts:
            await response.write(part)
        await response.write_eof()
        return response

    return answer


@pytest.mark.row("S0.11", "S0.14", "S0.16")
async def test_a_whole_answer_passes_byte_for_byte_and_is_counted(tmp_path: Path) -> None:
    got: dict[str, object] = {}

    async def server(request: web.Request) -> web.Response:
        got.update(path=str(request.rel_url), body=await request.read(), headers=dict(request.headers))
        return web.Response(body=WHOLE, content_type="application/json", headers={"X-Request-Id": "r1"})

    async with gateway(tmp_path, server) as kit:
        url = URL(kit.url + "/v1/chat/completions?beta=true&key=gone&x=%2F", encoded=True)
        async with kit.client.post(url, json=CHAT, headers={**kit.headers(), "anthropic-beta": "b"}) as answer:
            assert (answer.status, await answer.read()) == (200, WHOLE)
            assert answer.headers["X-Request-Id"] == "r1"
        state = (await kit.read_state()).attempts[0]
    assert got["path"] == "/v1/chat/completions?beta=true&x=%2F"
    assert json.loads(got["body"]) == {**CHAT, "model": "smollm2"}
    assert got["headers"]["anthropic-beta"] == "b"
    assert "Authorization" not in got["headers"]
    assert (state.totals.input_tokens, state.totals.output_tokens, state.totals.turns) == (120, 30, 1)
    assert (state.calls, state.open_calls, state.finish_reason, state.failure) == (1, 0, "stop", None)


@pytest.mark.row("S0.17", "S1.16", "S2.40")
async def test_usage_that_only_the_gateway_asked_for_is_counted_and_left_out(tmp_path: Path) -> None:
    asked: list[object] = []

    async def server(request: web.Request) -> web.StreamResponse:
        asked.append((await request.json()).get("stream_options"))
        return await sse(*DELTAS, USAGE, DONE)(request)

    async with gateway(tmp_path, server) as kit:
        async with kit.post("/v1/chat/completions", {**CHAT, "stream": True}) as answer:
            relayed = await answer.read()
        state = (await kit.read_state()).attempts[0]
    assert asked == [{"include_usage": True}]
    assert relayed == b"".join(DELTAS).replace(b',"usage":null', b"") + DONE
    assert (state.totals.input_tokens, state.totals.output_tokens, state.totals.unmetered_calls) == (120, 30, 0)


async def test_a_stream_whose_client_asked_for_usage_passes_byte_for_byte(tmp_path: Path) -> None:
    body = {**CHAT, "stream": True, "stream_options": {"include_usage": True}}
    async with gateway(tmp_path, sse(*DELTAS, USAGE, DONE)) as kit:
        async with kit.post("/v1/chat/completions", body) as answer:
            assert await answer.read() == b"".join([*DELTAS, USAGE, DONE])
        assert (await kit.read_state()).attempts[0].totals.output_tokens == 30


@pytest.mark.row("S0.17")
async def test_each_part_of_a_slow_stream_arrives_before_the_next_is_sent(tmp_path: Path) -> None:
    go_on = asyncio.Queue()

    async def server(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for part in [*DELTAS, USAGE, DONE]:
            await response.write(part)
            if part in DELTAS:
                await go_on.get()
        return response

    async with (
        gateway(tmp_path, server) as kit,
        kit.post("/v1/chat/completions", {**CHAT, "stream": True}) as answer,
    ):
        for part in DELTAS:
            expected = part.replace(b',"usage":null', b"")
            assert await asyncio.wait_for(answer.content.readexactly(len(expected)), 5) == expected
            go_on.put_nowait(None)
        assert await answer.content.read() == DONE


async def test_a_client_that_leaves_ends_the_call_upstream_at_once(tmp_path: Path) -> None:
    left = asyncio.Event()

    async def server(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(DELTAS[0])
        try:
            await asyncio.sleep(60)
        finally:
            left.set()
        return response

    async with gateway(tmp_path, server) as kit:
        async with kit.post("/v1/chat/completions", {**CHAT, "stream": True}) as answer:
            await answer.content.readany()
            answer.close()
        await asyncio.wait_for(left.wait(), 2)
        await eventually(lambda: kit.state.attempt_state(ATTEMPT).open_calls == 0)
        state = kit.state.attempt_state(ATTEMPT)
    assert (state.calls, state.totals.turns, state.totals.unmetered_calls, state.failure) == (1, 0, 1, None)


async def test_closing_an_attempt_cuts_its_running_call_and_kills_its_token(tmp_path: Path) -> None:
    left = asyncio.Event()

    async def server(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(DELTAS[0])
        try:
            await asyncio.sleep(60)
        finally:
            left.set()
        return response

    async with gateway(tmp_path, server) as kit:
        async with kit.post("/v1/chat/completions", {**CHAT, "stream": True}) as answer:
            await answer.content.readany()
            final = await kit.close()
            with pytest.raises(aiohttp.ClientError):
                await answer.read()
        await asyncio.wait_for(left.wait(), 2)
        async with kit.post("/v1/chat/completions", CHAT) as refused:
            assert refused.status == 401
            assert (await refused.json())["error"]["code"] == "invalid_api_key"
        again = await kit.close()
    assert (final.closed, final.open_calls, final.calls, final.totals.unmetered_calls) == (True, 0, 1, 1)
    assert again.totals == final.totals


async def test_closing_an_attempt_answers_a_call_that_has_no_answer_yet_with_401(tmp_path: Path) -> None:
    arrived = asyncio.Event()

    async def server(request: web.Request) -> web.StreamResponse:
        arrived.set()
        await asyncio.sleep(60)
        return web.Response()

    async with gateway(tmp_path, server) as kit:
        call = asyncio.ensure_future(kit.post("/v1/chat/completions", CHAT).__aenter__())
        await asyncio.wait_for(arrived.wait(), 5)
        final = await kit.close()
        answer = await call
        assert answer.status == 401
        assert (final.calls, final.totals.turns) == (1, 0)


async def test_a_closed_attempt_stays_closed_and_keeps_its_totals_after_a_restart(tmp_path: Path) -> None:
    async with gateway(tmp_path, sse(*DELTAS, USAGE, DONE)) as kit:
        async with kit.post("/v1/chat/completions", {**CHAT, "stream": True}) as answer:
            await answer.read()
        before = await kit.close()
        epoch = kit.state.epoch
    async with gateway(tmp_path, sse()) as kit:
        async with kit.post("/v1/chat/completions", CHAT) as refused:
            assert refused.status == 401
        everything = await kit.read_state(epoch=epoch, since="999999")
        after = await kit.close()
    assert everything.attempts[0].totals == before.totals
    assert (after.totals, after.closed, after.calls) == (before.totals, True, 1)


async def test_a_client_that_leaves_before_its_row_is_written_has_cost_nothing(tmp_path: Path) -> None:
    reached: list[str] = []

    async def server(request: web.Request) -> web.Response:
        reached.append(request.path)
        return web.Response(body=WHOLE, content_type="application/json")

    async with gateway(tmp_path, server) as kit:
        async with kit.post("/v1/chat/completions", CHAT) as answer:
            assert answer.status == 200
        other = sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        kit.ledger.begin, began = _announced(kit.ledger.begin)
        call = asyncio.ensure_future(kit.post("/v1/chat/completions", CHAT).__aenter__())
        await asyncio.wait_for(began.wait(), 5)
        call.cancel()
        await eventually(lambda: not kit.state.open_calls())
        other.execute("ROLLBACK")
        await kit.ledger.flush()
        rows = other.execute("SELECT state, metered, turn FROM calls ORDER BY rowid").fetchall()
        other.close()
        state = kit.state.attempt_state(ATTEMPT)
    assert rows == [("settled", 1, 1), ("settled", 1, 0)]
    assert (len(reached), state.calls, state.totals.unmetered_calls, state.totals.turns) == (1, 2, 0, 1)


def _announced(
    begin: Callable[[CallStart], Awaitable[None]],
) -> tuple[Callable[[CallStart], Awaitable[None]], asyncio.Event]:
    """A function that tells when it is called."""
    began = asyncio.Event()

    async def announce(call: CallStart) -> None:
        began.set()
        await begin(call)

    return announce, began
