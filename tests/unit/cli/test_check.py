"""`laneway check`: what it says of what is well and of what is not, and how long it waits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
import pytest
from aiohttp import web

from laneway.cli.check import Question, _answers, settle


def in_turn(*answers: str) -> Callable[[], Awaitable[str]]:
    """A question that is answered like this, one answer after the other, and then always like the last."""
    left = list(answers)

    async def ask() -> str:
        return left.pop(0) if len(left) > 1 else left[0]

    return ask


@asynccontextmanager
async def serving(status: int, text: str) -> AsyncIterator[str]:
    """A server on a loopback port that always answers this; its URL."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status, text=text)

    app = web.Application()
    app.router.add_get("/readyz", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/readyz"
    await runner.cleanup()


@pytest.mark.parametrize(
    ("questions", "code", "lines"),
    [
        pytest.param(
            [Question("runs can be listed", in_turn("")), Question("it answers", in_turn(""))],
            0,
            ["ok: runs can be listed", "ok: it answers"],
            id="all is well",
        ),
        pytest.param(
            [Question("runs can be listed", in_turn("no such kind")), Question("it answers", in_turn(""))],
            1,
            ["no: runs can be listed: no such kind", "ok: it answers"],
            id="one thing is not",
        ),
        pytest.param(
            [Question("it answers", in_turn("not yet", ""))], 0, ["ok: it answers"], id="it becomes well in time"
        ),
    ],
)
async def test_each_thing_is_said(
    questions: list[Question], code: int, lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert await settle(questions, 0.05) == code
    assert capsys.readouterr().out.splitlines() == lines


@pytest.mark.parametrize(
    ("status", "wrong"),
    [
        pytest.param(200, "", id="an answer"),
        pytest.param(503, "127.0.0.1 says 503: no ledger", id="a refusal in its words"),
    ],
)
async def test_url_that_answers(status: int, wrong: str) -> None:
    async with serving(status, "no ledger\n") as url, httpx.AsyncClient() as client:
        assert await _answers(client, httpx.URL(url)) == wrong


async def test_address_where_nobody_listens_is_said() -> None:
    async with serving(200, "") as url:
        pass
    async with httpx.AsyncClient() as client:
        assert (await _answers(client, httpx.URL(url))).startswith("127.0.0.1: ConnectError")


async def test_name_that_nobody_knows_is_said() -> None:
    async with httpx.AsyncClient() as client:
        assert "its name is not known" in await _answers(client, httpx.URL("http://nobody.invalid:1/"))
