"""Who commits: the event loop while the disk is quick, the thread whenever something may wait."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import pytest

from laneway.gateway.ledger import commit
from laneway.gateway.ledger.file import LedgerError, wal_of
from laneway.gateway.ledger.ledger import open_ledger
from laneway.gateway.ledger.sql import PROBE
from laneway.gateway.ledger.writer import Writer
from unit.gateway.kit import PAST_MS, eventually

LOOP, THREAD = threading.current_thread().name, "ledger"


@pytest.fixture
async def writer(tmp_path: Path) -> AsyncIterator[Writer]:
    ledger, _ = open_ledger(tmp_path / "l.sqlite", now_ms=PAST_MS)
    yield ledger._writer
    await ledger.close()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Makes every commit count as quick, or as slow, however busy the machine is."""

    def count_as(is_quick: bool) -> None:
        monkeypatch.setattr("laneway.gateway.ledger.writer.QUICK_SECONDS", 3600.0 if is_quick else -1.0)

    count_as(True)
    return count_as


async def who_commits(writer: Writer) -> str:
    """Write something, and answer the name of the thread that did."""

    def run(connection: sqlite3.Connection) -> str:
        connection.execute(PROBE)
        return threading.current_thread().name

    return str(await writer.ask(run))


async def at_rest(writer: Writer) -> None:
    """Until the thread has told the loop that it is done."""
    await eventually(lambda: not writer._thread_is_busy)


async def test_while_the_disk_is_quick_the_loop_commits(writer: Writer, quick: Callable[[bool], None]) -> None:
    assert [await who_commits(writer) for _ in range(3)] == [LOOP] * 3


async def test_after_a_slow_commit_the_thread_commits_for_a_while_and_longer_each_time(
    writer: Writer, quick: Callable[[bool], None]
) -> None:
    quick(False)
    assert await who_commits(writer) == LOOP
    assert await who_commits(writer) == THREAD
    waits = []
    for _ in range(8):
        waits.append(writer._slow_for)
        writer._judge_disk(0.0, 0.0)
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


async def test_one_slow_commit_is_forgotten_once_a_later_one_is_quick(
    writer: Writer, quick: Callable[[bool], None]
) -> None:
    quick(False)
    await who_commits(writer)
    quick(True)
    await at_rest(writer)
    writer._slow_until = 0.0
    assert await who_commits(writer) == LOOP
    assert writer._slow_for == 0.5


async def test_the_thread_carries_the_wal_file_over_so_that_it_does_not_grow(
    writer: Writer, quick: Callable[[bool], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commit, "CARRY_OVER_ROWS", 10)
    who = []
    for _ in range(110):
        await at_rest(writer)
        who.append(await who_commits(writer))
    assert who[:10] == [LOOP] * 10
    assert who[10] == THREAD
    assert who.count(THREAD) == 10
    pages = wal_of(writer.file.path).stat().st_size // 4096
    assert pages < 30, "a page for each commit since the last time, not for all"


async def test_a_program_that_writes_just_now_is_waited_for_by_the_thread(
    writer: Writer, quick: Callable[[bool], None]
) -> None:
    with closing(sqlite3.connect(writer.file.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        asking = asyncio.ensure_future(who_commits(writer))
        await eventually(lambda: writer._thread_is_busy)
        other.execute("ROLLBACK")
    assert await asking == THREAD
    assert writer.failure is None


async def test_what_is_told_while_the_thread_is_busy_comes_after_what_it_has(
    writer: Writer, quick: Callable[[bool], None]
) -> None:
    may_go, order = threading.Event(), []

    def first(connection: sqlite3.Connection) -> None:
        may_go.wait(10)
        order.append("first")

    writer._slow_until = float("inf")
    writer.tell(first)
    await eventually(lambda: writer._thread_is_busy)
    writer._slow_until = 0.0
    writer.tell(lambda connection: order.append("second"))
    may_go.set()
    assert await who_commits(writer) == THREAD
    assert order == ["first", "second"]


async def test_a_fault_of_the_loop_is_tried_again_by_the_thread(writer: Writer, quick: Callable[[bool], None]) -> None:
    who: list[str] = []

    def run(connection: sqlite3.Connection) -> None:
        who.append(threading.current_thread().name)
        if len(who) == 1:
            raise OSError(28, "No space left on device")

    writer.tell(run)
    await eventually(lambda: who == [LOOP, THREAD])
    await at_rest(writer)
    assert writer.failure is None
    assert await who_commits(writer) == LOOP


@pytest.mark.parametrize("is_quick", [pytest.param(True, id="in the loop"), pytest.param(False, id="in the thread")])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_what_no_rule_foresees_ends_the_ledger(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, is_quick: bool
) -> None:
    ledger, _ = open_ledger(tmp_path / "l.sqlite", now_ms=PAST_MS)
    writer = ledger._writer
    writer._slow_until = 0.0 if is_quick else float("inf")

    def run(connection: sqlite3.Connection) -> None:
        raise RuntimeError("unforeseen")

    writer.tell(run)
    await eventually(writer.ended.is_set)
    assert writer.lost == "its writer has ended"
    with pytest.raises(LedgerError):
        await who_commits(writer)
    await ledger.close()
