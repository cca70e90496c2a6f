"""The ledger: what is settled survives a SIGKILL, and no two processes ever write it."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from laneway.gateway.ledger import Ledger, LedgerError, LedgerLocked, open_ledger
from laneway.gateway.ledgersql import Past
from laneway.rules.token import AttemptId
from laneway.rules.usage import Usage
from unit.gateway.kit import ATTEMPT, call_end, call_start
from unit.gateway.kit import PAST_MS as NOW

SOURCES = [str(Path(__file__).parents[3] / "operator"), str(Path(__file__).parents[2])]


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[tuple[Ledger, Path]]:
    ledger, _ = open_ledger(tmp_path / "l.sqlite", now_ms=NOW)
    yield ledger, tmp_path / "l.sqlite"
    await ledger.close()


async def reopen(path: Path, now: int = NOW + 1000) -> list[Past]:
    ledger, past = open_ledger(path, now_ms=now)
    await ledger.close()
    return past


async def test_totals_of_an_attempt_are_rebuilt(tmp_path: Path) -> None:
    ledger, past = open_ledger(tmp_path / "l.sqlite", now_ms=NOW)
    assert past == []
    for call in ("a", "b", "c"):
        await ledger.begin(call_start(call))
    ledger.settle("a", call_end(usage=Usage(120, 30, 100, 10)))
    ledger.settle("b", call_end(usage=Usage(1, 2), cost=23))
    ledger.settle("c", call_end(usage=Usage(), cost=None, cause="APITransient", turn=False, at=NOW + 9))
    await ledger.close()
    (found,) = await reopen(tmp_path / "l.sqlite")
    assert (found.calls, found.turns, found.input_tokens, found.output_tokens) == (3, 2, 121, 32)
    assert (found.cache_read_tokens, found.cache_write_tokens, found.cost_micro_usd) == (100, 10, 623)
    assert (found.unmetered_calls, found.unpriced_calls, found.closed) == (0, 0, False)
    assert (found.last_cause, found.last_status, found.last_activity_ms) == ("APITransient", 503, NOW + 9)


async def test_a_call_is_settled_once(opened: tuple[Ledger, Path]) -> None:
    ledger, path = opened
    await ledger.begin(call_start("a"))
    ledger.settle("a", call_end())
    ledger.settle("a", call_end(usage=Usage(9, 9), cost=9))
    await ledger.flush()
    with sqlite3.connect(path) as reader:
        assert reader.execute("SELECT state, input_tokens, cost_micro_usd FROM calls").fetchall() == [
            ("settled", 120, 600)
        ]


async def test_unknown_is_null_and_never_zero(opened: tuple[Ledger, Path]) -> None:
    ledger, path = opened
    await ledger.begin(call_start("a"))
    ledger.settle("a", call_end(usage=Usage(), prices=None, cost=None, metered=False, turn=False))
    await ledger.flush()
    with sqlite3.connect(path) as reader:
        row = reader.execute(
            "SELECT input_tokens, output_tokens, cache_read_tokens, input_price, cost_micro_usd FROM calls"
        ).fetchone()
    assert row == (None,) * 5


async def test_a_second_process_does_not_get_the_ledger(opened: tuple[Ledger, Path]) -> None:
    _, path = opened
    with pytest.raises(LedgerLocked):
        open_ledger(path, now_ms=NOW)
    code = "import sys, asyncio, pathlib\nfrom laneway.gateway.ledger import *\nasync def go():\n open_ledger(pathlib.Path(sys.argv[1]), now_ms=1)\ntry:\n asyncio.run(go())\nexcept LedgerLocked:\n sys.exit(7)"
    done = subprocess.run([sys.executable, "-c", code, str(path)], env=_env(), timeout=30, check=False)
    assert done.returncode == 7


_WRITER = """
import asyncio, pathlib, sys
from unit.gateway.kit import call_end, call_start
from laneway.gateway.ledger import open_ledger

async def go():
    ledger, _ = open_ledger(pathlib.Path(sys.argv[1]), now_ms=1_800_000_000_000)
    for number in range(10_000_000):
        await ledger.begin(call_start(f"c{number}"))
        ledger.settle(f"c{number}", call_end())
        await ledger.flush()
        print(number, flush=True)

asyncio.run(go())
"""


async def test_sigkill_loses_no_settled_row_and_leaves_the_open_one_as_unmetered(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    writer = subprocess.Popen([sys.executable, "-c", _WRITER, str(path)], env=_env(), stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    told = -1
    with writer:
        for line in writer.stdout:
            told = int(line)
            if told == 200:
                writer.send_signal(signal.SIGKILL)
            if told > 200:
                continue
    assert writer.returncode == -signal.SIGKILL
    (found,) = await reopen(path)
    settled = found.calls - found.unmetered_calls
    assert settled >= told + 1 > 200
    assert found.turns == settled
    assert found.cost_micro_usd == 600 * settled
    assert found.unmetered_calls <= 1


async def test_a_call_that_was_open_at_a_kill_counts_as_unmetered(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    ledger, _ = open_ledger(path, now_ms=NOW)
    await ledger.begin(call_start("a"))
    await ledger.close()
    (found,) = await reopen(path)
    assert (found.calls, found.turns, found.unmetered_calls) == (1, 0, 1)
    (again,) = await reopen(path)
    assert again.calls == 1


async def test_closing_an_attempt_is_remembered_with_and_without_calls(opened: tuple[Ledger, Path]) -> None:
    ledger, _ = opened
    silent = AttemptId("uid", 2)
    await ledger.begin(call_start("a"))
    ledger.settle("a", call_end())
    for _ in range(2):
        await ledger.close_attempt(ATTEMPT, now_ms=NOW)
        await ledger.close_attempt(silent, now_ms=NOW)
    found, other = await ledger.past_of(ATTEMPT), await ledger.past_of(silent)
    assert found is not None
    assert (found.closed, found.calls) == (True, 1)
    assert other == Past(attempt=silent, closed=True)
    assert await ledger.past_of(AttemptId("nobody", 1)) is None


async def test_rows_leave_after_ninety_days(tmp_path: Path) -> None:
    path, day = tmp_path / "l.sqlite", 86_400_000
    ledger, _ = open_ledger(path, now_ms=NOW)
    for age in (89, 91):
        await ledger.begin(call_start(f"{age}", at=NOW - age * day))
        ledger.settle(f"{age}", call_end())
    await ledger.close()
    await reopen(path, NOW)
    with sqlite3.connect(path) as reader:
        assert reader.execute("SELECT id FROM calls").fetchall() == [("89",)]


async def test_a_ledger_of_a_newer_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA user_version = 99")
    with pytest.raises(LedgerError, match="schema 99"):
        open_ledger(path, now_ms=NOW)


async def test_a_write_that_fails_is_told_to_who_waits_and_tried_again_for_who_does_not(
    opened: tuple[Ledger, Path],
) -> None:
    ledger, path = opened
    await ledger.begin(call_start("a"))
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("PRAGMA busy_timeout = 0")
        other.execute("BEGIN IMMEDIATE")
        ledger._connection.execute("PRAGMA busy_timeout = 0")
        ledger.settle("a", call_end())
        with pytest.raises(LedgerError):
            await ledger.begin(call_start("b"))
        assert ledger.failure is not None
        other.execute("ROLLBACK")
    while ledger.failure is not None:
        try:
            await ledger.flush()
        except LedgerError:
            continue
    found = await ledger.past_of(ATTEMPT)
    assert found is not None
    assert (found.calls, found.input_tokens) == (1, 120)


async def test_nothing_but_the_agreed_columns_is_kept(opened: tuple[Ledger, Path]) -> None:
    _, path = opened
    with sqlite3.connect(path) as reader:
        names = {row[1] for row in reader.execute("PRAGMA table_info(calls)")}
    assert not {
        name
        for name in names
        if any(word in name for word in ("content", "header", "address", "prompt", "key", "message"))
    }


def _env() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(SOURCES)}


async def test_the_servers_time_of_the_last_failure_survives_a_restart(tmp_path: Path) -> None:
    ledger, _ = open_ledger(tmp_path / "l.sqlite", now_ms=NOW)
    await ledger.begin(call_start("a"))
    failed = call_end(usage=Usage(), cost=None, cause="RateLimitModel", turn=False, at=NOW + 9)
    ledger.settle("a", replace(failed, reset_ms=NOW + 45_009, reset_source="RetryAfter", cut=True))
    await ledger.close()
    (found,) = await reopen(tmp_path / "l.sqlite")
    assert (found.last_started_ms, found.last_ended_ms) == (NOW, NOW + 9)
    assert (found.last_reset_ms, found.last_reset_source, found.last_cut) == (NOW + 45_009, "RetryAfter", True)


async def test_a_ledger_of_the_first_schema_is_kept_and_gets_the_new_columns(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    ledger, _ = open_ledger(path, now_ms=NOW)
    await ledger.begin(call_start("a"))
    ledger.settle("a", call_end(cause="APITransient", turn=False))
    await ledger.close()
    with sqlite3.connect(path) as other:
        for column in ("reset_ms", "reset_source", "cut"):
            other.execute(f"ALTER TABLE calls DROP COLUMN {column}")
        other.execute("PRAGMA user_version = 1")
    (found,) = await reopen(path)
    assert (found.calls, found.last_cause, found.last_reset_ms, found.last_cut) == (1, "APITransient", None, False)
    assert await reopen(path) == [found]
