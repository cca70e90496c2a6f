"""The ledger goes, comes back older, or is taken from under the gateway: what runs have used goes on from their status."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

from integration.agents import add_lane, call, start_both
from integration.operators import Program, Stage
from laneway.kube.resources import JsonObject
from modelserver import ModelServer
from support.standin import Part

CALL_TOKENS = 19
WRITTEN_EVERY = 16
"""After so many seconds the usage of a running attempt is written again."""


def files_of(stage: Stage) -> list[Path]:
    """The ledger and what SQLite keeps beside it."""
    return sorted(path for path in stage.folder.glob("ledger.db*") if not path.name.endswith(".lock"))


async def answered(stage: Stage, pod: JsonObject) -> None:
    """A call, made again while the gateway is not there."""
    async with asyncio.timeout(30):
        while True:
            try:
                if (await call(stage, pod))[0] == 200:
                    return
            except OSError:
                await asyncio.sleep(0.1)


async def shows(stage: Stage, run: JsonObject, tokens: int) -> None:
    """Wait until the status of a run says so many tokens."""
    uid = run["metadata"]["uid"]
    await stage.any_event(lambda: (stage.last(uid).get("status", {}).get("usage") or {}).get("totalTokens") == tokens)


async def stopped(stage: Stage, gateway: Program) -> None:
    gateway.kill()
    await stage.left(gateway)


async def test_totals_go_on_when_the_ledger_is_deleted_or_an_older_copy_is_put_back(
    stage: Stage, server: ModelServer
) -> None:
    ahead = stage.own_clock()
    gateway = await start_both(stage)
    part = stage.node.play("hello", Part.held())
    await add_lane(stage, server)
    run = await stage.add_run()
    pod = await stage.has_pod(run, phase="Running")
    await answered(stage, pod)
    await shows(stage, run, CALL_TOKENS)
    with (
        closing(sqlite3.connect(stage.folder / "ledger.db")) as source,
        closing(sqlite3.connect(stage.folder / "old")) as copy,
    ):
        source.backup(copy)
    ahead.move(WRITTEN_EVERY)
    await answered(stage, pod)
    await shows(stage, run, 2 * CALL_TOKENS)
    await stopped(stage, gateway)
    for path in files_of(stage):
        path.unlink()
    gateway = stage.start_gateway()
    ahead.move(WRITTEN_EVERY)
    await answered(stage, pod)
    await shows(stage, run, 3 * CALL_TOKENS)
    await stopped(stage, gateway)
    for path in files_of(stage):
        path.unlink()
    (stage.folder / "old").rename(stage.folder / "ledger.db")
    stage.start_gateway()
    await answered(stage, pod)
    part.released.set()
    [ended] = await stage.finished(run)
    usage = ended["status"]["usage"]
    assert (usage["turns"], usage["totalTokens"], usage["source"]) == (4, 4 * CALL_TOKENS, "Gateway")
    assert usage["complete"] is False
    assert ended["status"]["attempts"][-1]["usage"]["totalTokens"] == 4 * CALL_TOKENS
    with closing(sqlite3.connect(stage.folder / "ledger.db")) as reader:
        rows = reader.execute(
            "SELECT state, sum(turn), sum(input_tokens + output_tokens) FROM calls GROUP BY state"
        ).fetchall()
    assert sorted(rows) == [("seeded", 2, 2 * CALL_TOKENS), ("settled", 2, 2 * CALL_TOKENS)]


async def test_a_gateway_whose_ledger_is_taken_away_ends_with_words_and_the_next_goes_on(
    stage: Stage, server: ModelServer
) -> None:
    gateway = await start_both(stage)
    part = stage.node.play("hello", Part.held())
    await add_lane(stage, server)
    run = await stage.add_run()
    pod = await stage.has_pod(run, phase="Running")
    for _ in range(2):
        await answered(stage, pod)
    for path in files_of(stage):
        path.unlink()
    await stage.left(gateway)
    assert gateway.code == 1
    assert "gateway cannot go on" in gateway.log
    assert "a file of the ledger ledger.db was removed" in gateway.log
    assert "Traceback" not in gateway.log
    await shows(stage, run, 2 * CALL_TOKENS)
    stage.start_gateway()
    await answered(stage, pod)
    part.released.set()
    [ended] = await stage.finished(run)
    assert (ended["status"]["usage"]["turns"], ended["status"]["usage"]["totalTokens"]) == (3, 3 * CALL_TOKENS)
