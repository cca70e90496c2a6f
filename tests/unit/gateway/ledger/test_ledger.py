"""The ledger: what is in its rows, who may open it, and when they leave."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from laneway.gateway.ledger.ledger import Ledger, LedgerError, LedgerLocked, open_ledger
from laneway.gateway.ledger.sql import Past
from laneway.rules.token import AttemptId
from laneway.rules.usage import Usage
from unit.gateway.kit import ATTEMPT, call_end, call_start, eventually
from unit.gateway.kit import PAST_MS as NOW

SOURCES = [str(Path(__file__).parents[4] / "operator"), str(Path(__file__).parents[3])]


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[tuple[Ledger, Path]]:
    ledger, _ = open_ledger(tmp_path / "l.sqlite", now_ms=NOW)
    yield ledger, tmp_path / "l.sqlite"
    await ledger.close()


async def reopen(path: Path, now: int = NOW + 1000) -> list[Past]:
    ledger, past = open_ledger(path, now_ms=now)
    await ledger.close()
    return past


@pytest.mark.row("C14")
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


@pytest.mark.row("S2.40")
async def test_what_an_attempt_used_of_each_model_is_rebuilt(tmp_path: Path) -> None:
    ledger, _ = open_ledger(tmp_path / "l.sqlite", now_ms=NOW)
    for call, model in (("a", "big"), ("b", "small"), ("c", "big"), ("d", "open")):
        start = call_start(call, reserved=(50, 60, None)) if call == "d" else call_start(call)
        await ledger.begin(replace(start, model=model))
    ledger.settle("a", call_end(usage=Usage(120, 30, 100, 10)))
    ledger.settle("b", call_end(usage=Usage(1, 2)))
    ledger.settle("c", call_end(usage=Usage(3, 4)))
    await ledger.close()
    (found,) = await reopen(tmp_path / "l.sqlite")
    assert [(one.model, one.input_tokens, one.output_tokens, one.cache_read_tokens) for one in found.models] == [
        ("big", 123, 34, 100),
        ("open", 50, 60, None),
        ("small", 1, 2, None),
    ]
    assert (found.input_tokens, found.output_tokens) == (174, 96)


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


@pytest.mark.row("C13")
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
    code = "import sys, asyncio, pathlib\nfrom laneway.gateway.ledger.ledger import *\nasync def go():\n open_ledger(pathlib.Path(sys.argv[1]), now_ms=1)\ntry:\n asyncio.run(go())\nexcept LedgerLocked:\n sys.exit(7)"
    done = subprocess.run([sys.executable, "-c", code, str(path)], env=_env(), timeout=30, check=False)
    assert done.returncode == 7


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


async def test_rows_leave_after_ninety_days_while_the_ledger_is_in_use(opened: tuple[Ledger, Path]) -> None:
    ledger, path = opened
    day = 86_400_000
    for number in range(450):
        await ledger.begin(call_start(f"old-{number}", at=NOW - 91 * day))
    await ledger.begin(call_start("89", at=NOW - 89 * day))
    await ledger.close_attempt(AttemptId("old", 1), now_ms=NOW - 91 * day)
    await ledger.close_attempt(AttemptId("new", 1), now_ms=NOW - 89 * day)
    statements: list[str] = []
    ledger._writer.connection.set_trace_callback(statements.append)
    await asyncio.gather(ledger.drop_old(NOW), ledger.begin(call_start("now")))
    with closing(sqlite3.connect(path)) as reader:
        assert reader.execute("SELECT id FROM calls ORDER BY id").fetchall() == [("89",), ("now",)]
        assert reader.execute("SELECT run_uid FROM closed").fetchall() == [("new",)]
    began = next(number for number, text in enumerate(statements) if text.startswith("INSERT INTO calls"))
    assert sum(text.startswith("DELETE FROM calls") for text in statements[:began]) <= 1, "a call waited for all of it"


async def test_old_rows_are_looked_for_at_once_and_then_every_hour(opened: tuple[Ledger, Path]) -> None:
    ledger, path = opened
    await ledger.begin(call_start("old", at=NOW - 91 * 86_400_000))
    keeper = asyncio.create_task(ledger.keep(lambda: NOW))
    with closing(sqlite3.connect(path)) as reader:
        await eventually(lambda: reader.execute("SELECT count(*) FROM calls").fetchone() == (0,))
    keeper.cancel()
    await asyncio.gather(keeper, return_exceptions=True)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        pytest.param("PRAGMA user_version = 99", "it has schema 99", id="a newer schema"),
        pytest.param(
            "PRAGMA user_version = 2", "it has schema 2, and this program knows schema 3 only", id="an older one"
        ),
        pytest.param("CREATE TABLE notes (words)", "it has schema 0", id="tables of something else"),
        pytest.param("PRAGMA user_version = 3", "a database of another program", id="another program's schema 3"),
    ],
)
async def test_a_database_that_is_no_ledger_of_this_schema_is_refused_and_left_alone(
    tmp_path: Path, script: str, words: str
) -> None:
    path = tmp_path / "l.sqlite"
    with closing(sqlite3.connect(path)) as other:
        other.executescript(script)
    before = path.read_bytes()
    with pytest.raises(LedgerError, match=words) as refused:
        open_ledger(path, now_ms=NOW)
    assert "restore a backup, or move its files away" in str(refused.value)
    assert path.read_bytes() == before


async def test_spend_of_a_lane_and_namespace_in_a_month_is_summed_by_an_index(opened: tuple[Ledger, Path]) -> None:
    _, path = opened
    with closing(sqlite3.connect(path)) as reader:
        (plan,) = reader.execute(
            "EXPLAIN QUERY PLAN SELECT sum(cost_micro_usd) FROM calls WHERE lane_namespace = 'models' AND lane = 'lane'"
            " AND namespace = 'agents' AND started_ms >= 0 AND started_ms < 1"
        ).fetchall()
    assert "calls_by_spender (lane_namespace=? AND lane=? AND namespace=? AND started_ms>? AND started_ms<?)" in plan[3]


@pytest.mark.parametrize(
    ("reserved", "row", "unpriced"),
    [
        pytest.param((900, 100, 3250), (900, 100, 3250, 1), 0, id="tokens and money are charged whole"),
        pytest.param((900, 100, 0), (900, 100, 0, 1), 0, id="free is zero"),
        pytest.param((900, 100, None), (900, 100, None, 1), 1, id="without a price the cost is unknown"),
        pytest.param((0, 0, None), (None, None, None, 0), 0, id="where nothing was reserved, nothing is known"),
    ],
)
async def test_a_call_left_open_is_charged_its_reservation_at_the_next_start(
    tmp_path: Path, reserved: tuple[int, int, int | None], row: tuple[int | None, ...], unpriced: int
) -> None:
    path = tmp_path / "l.sqlite"
    ledger, _ = open_ledger(path, now_ms=NOW)
    await ledger.begin(call_start("a", reserved=reserved))
    await ledger.begin(call_start("b"))
    ledger.settle("b", call_end())
    await ledger.close()
    (found,) = await reopen(path)
    with closing(sqlite3.connect(path)) as reader:
        columns = "state, input_tokens, output_tokens, cost_micro_usd, estimated, metered"
        assert reader.execute(f"SELECT {columns} FROM calls WHERE id = 'a'").fetchone() == ("lost", *row, 0)
    assert (found.input_tokens, found.cost_micro_usd) == (120 + (row[0] or 0), 600 + (row[2] or 0))
    assert (found.calls, found.turns, found.unmetered_calls, found.unpriced_calls) == (2, 1, 1, unpriced)


async def test_a_usage_that_is_the_reservation_says_so(opened: tuple[Ledger, Path]) -> None:
    ledger, path = opened
    await ledger.begin(call_start("a", reserved=(120, 30, 600)))
    ledger.settle("a", replace(call_end(metered=False), estimated=True))
    await ledger.flush()
    with closing(sqlite3.connect(path)) as reader:
        columns = "state, caller, estimated, metered, input_tokens, reserved_input_tokens"
        assert reader.execute(f"SELECT {columns} FROM calls").fetchone() == ("settled", "ci", 1, 0, 120, 120)


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
