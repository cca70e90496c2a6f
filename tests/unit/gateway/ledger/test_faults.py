"""Faults of the disk under an open ledger: refused loudly, nothing is forgotten, and it goes on by itself, or ends for good."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from laneway.gateway.cluster.tokens import KeyRing
from laneway.gateway.cluster.views import Views
from laneway.gateway.ledger import commit, metrics
from laneway.gateway.ledger.ledger import CallEnd, Ledger, LedgerError, LedgerLost, open_ledger
from laneway.gateway.ports.health import Health
from laneway.rules.usage import Usage
from unit.gateway.kit import PAST_MS, call_end, call_start, eventually

NOW = PAST_MS
MOST = 2000
Break = Callable[[Ledger, Path], AbstractContextManager[None]]


@pytest.fixture
async def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Ledger, Path]]:
    monkeypatch.setattr(commit, "BUSY_MILLISECONDS", 0)
    ledger, _ = open_ledger(tmp_path / "l.sqlite", now_ms=NOW)
    yield ledger, tmp_path / "l.sqlite"
    await ledger.close()


@contextmanager
def full(ledger: Ledger, path: Path) -> Iterator[None]:
    connection = ledger._writer.connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    yield
    connection.execute("PRAGMA max_page_count = 1000000")


@contextmanager
def read_only(ledger: Ledger, path: Path) -> Iterator[None]:
    ledger._writer.connection.execute("PRAGMA query_only = ON")
    yield
    ledger._writer.connection.execute("PRAGMA query_only = OFF")


@contextmanager
def io_error(ledger: Ledger, path: Path) -> Iterator[None]:
    """A write past the limit fails with EFBIG, which SQLite takes for a broken disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = path.with_name(path.name + "-wal").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def busy(ledger: Ledger, path: Path) -> Iterator[None]:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def count_of(reason: str) -> float:
    return metrics.ERRORS.labels(reason)._value.get()


def waiting() -> float:
    (family,) = metrics.WAITING.collect()
    return family.samples[0].value


async def call_until_refused(ledger: Ledger) -> tuple[int, LedgerError]:
    """Begin calls until one is refused; how many had been taken, and the refusal."""
    for number in range(MOST):
        try:
            await ledger.begin(call_start(f"c{number}"))
        except LedgerError as refused:
            return number, refused
    raise AssertionError("no call was refused")


@pytest.mark.parametrize(
    ("broken", "reason", "words"),
    [
        pytest.param(full, "Full", "the disk is full", id="a full disk"),
        pytest.param(read_only, "ReadOnly", "the file system is read-only", id="a read-only file system"),
        pytest.param(io_error, "IO", "the disk answers with an I/O error", id="an I/O error"),
        pytest.param(busy, "Busy", "another program holds the file", id="a file held by another program"),
    ],
)
async def test_a_fault_that_passes(
    opened: tuple[Ledger, Path], caplog: pytest.LogCaptureFixture, broken: Break, reason: str, words: str
) -> None:
    ledger, path = opened
    health = Health(views=Views(), keys=KeyRing(no_keys), ledger=ledger)
    before = count_of(reason)
    await ledger.begin(call_start("first"))
    with caplog.at_level(logging.WARNING), broken(ledger, path):
        taken, refused = await call_until_refused(ledger)
        assert str(refused) == f"the ledger cannot be written: {words}"
        assert f"the ledger cannot be written: {words}" in health.missing()
        ledger.settle("first", call_end())
        for _ in range(20):
            with pytest.raises(LedgerError):
                await ledger.begin(call_start("late"))
        assert count_of(reason) > before
        assert waiting() <= 1, "only the end of the first call waits"
    await eventually(lambda: ledger.failure is None)
    assert not any("written" in sentence for sentence in health.missing())
    await ledger.begin(call_start("again"))
    await ledger.flush()
    assert waiting() == 0
    told = [record.message for record in caplog.records if record.name.startswith("laneway")]
    assert told.count("ledger cannot be written") == told.count("ledger can be written again") == 1
    with closing(sqlite3.connect(path)) as reader:
        states = dict(reader.execute("SELECT id, state FROM calls"))
    assert states == {**{f"c{number}": "open" for number in range(taken)}, "first": "settled", "again": "open"}


async def no_keys() -> None:
    return None


def remove(path: Path) -> None:
    path.unlink()


def put_a_copy(path: Path) -> None:
    shutil.copy(path, path.with_name("copy"))
    os.replace(path.with_name("copy"), path)


def named(suffix: str, change: Callable[[Path], None]) -> Callable[[Path], None]:
    return lambda path: change(path.with_name(path.name + suffix))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(remove, "was removed", id="the file is removed"),
        pytest.param(put_a_copy, "was replaced", id="the file is replaced, as by a backup that is put back"),
        pytest.param(named("-wal", remove), "was removed", id="the -wal file is removed"),
        pytest.param(named(".lock", remove), "was removed", id="the lock file is removed"),
        pytest.param(named(".lock", put_a_copy), "was replaced", id="the lock file is replaced: another may hold it"),
    ],
)
async def test_a_ledger_whose_files_change_is_lost_at_the_next_call(
    opened: tuple[Ledger, Path], change: Callable[[Path], None], words: str
) -> None:
    ledger, path = opened
    await ledger.begin(call_start("a"))
    change(path)
    before = count_of("Replaced")
    with pytest.raises(LedgerError, match=words):
        await ledger.begin(call_start("b"))
    assert (ledger.lost, count_of("Replaced")) == (True, before + 1)
    ledger.settle("a", call_end())
    with pytest.raises(LedgerError, match=words):
        await ledger.begin(call_start("c"))
    with pytest.raises(LedgerLost, match=words):
        await ledger.keep(lambda: NOW)


async def test_a_ledger_whose_file_is_removed_is_lost_without_any_call(opened: tuple[Ledger, Path]) -> None:
    ledger, path = opened
    keeper = asyncio.create_task(ledger.keep(lambda: NOW))
    await ledger.flush()
    path.unlink()
    with pytest.raises(LedgerLost, match="was removed"):
        await asyncio.wait_for(keeper, 10)


async def test_damage_found_while_it_is_open_ends_the_ledger(opened: tuple[Ledger, Path]) -> None:
    ledger, path = opened
    for number in range(200):
        await ledger.begin(call_start(f"old-{number}"))
    connection = ledger._writer.connection
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.execute("PRAGMA cache_size = 0")
    damage(path)
    _, refused = await call_until_refused(ledger)
    assert "the file is damaged" in str(refused)
    assert ledger.lost


def damage(path: Path) -> None:
    """All pages but the first hold rubbish."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (size - 4096))


def cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def overwrite(path: Path) -> None:
    path.write_bytes(b"not a database at all" * 500)


def empty(path: Path) -> None:
    path.write_bytes(b"")
    path.with_name(path.name + "-wal").write_bytes(b"rows")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(overwrite, "the file is damaged", id="another file in its place"),
        pytest.param(damage, "damaged", id="rubbish in its pages"),
        pytest.param(cut_short, "damaged", id="half of it"),
        pytest.param(empty, "rows are left in its -wal file", id="an empty file beside rows in the -wal file"),
    ],
)
async def test_a_damaged_ledger_is_refused_with_words_and_never_replaced(
    tmp_path: Path, change: Callable[[Path], None], words: str
) -> None:
    path = tmp_path / "l.sqlite"
    ledger, _ = open_ledger(path, now_ms=NOW)
    for number in range(200):
        await ledger.begin(call_start(f"c{number}"))
    await ledger.close()
    change(path)
    before = path.read_bytes()
    for _ in range(2):
        with pytest.raises(LedgerError, match=words) as refused:
            open_ledger(path, now_ms=NOW)
        assert "restore a backup, or move its files away" in str(refused.value)
    assert path.read_bytes() == before


async def test_one_row_that_cannot_be_written_stops_no_other(opened: tuple[Ledger, Path]) -> None:
    ledger, path = opened
    for name in ("a", "b"):
        await ledger.begin(call_start(name, reserved=(9, 9, 9)))
    ledger.settle("a", too_large())
    ledger.settle("b", call_end())
    await ledger.flush()
    assert ledger.failure is None
    with closing(sqlite3.connect(path)) as reader:
        assert dict(reader.execute("SELECT id, state FROM calls")) == {"a": "open", "b": "settled"}


def too_large() -> CallEnd:
    return replace(call_end(usage=Usage(1, 1)), cost_micro_usd=2**63)


async def test_an_end_that_the_disk_did_not_take_before_the_process_left_is_charged_its_reservation(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "l.sqlite"
    ledger, _ = open_ledger(path, now_ms=NOW)
    await ledger.begin(call_start("a", reserved=(900, 100, 3250)))
    ledger._writer.connection.execute("PRAGMA query_only = ON")
    ledger.settle("a", call_end())
    await ledger.close()
    assert [record.rows for record in caplog.records if "could not be written" in record.message] == [1]  # type: ignore[attr-defined]
    ledger, (past,) = open_ledger(path, now_ms=NOW)
    await ledger.close()
    assert (past.input_tokens, past.output_tokens, past.cost_micro_usd) == (900, 100, 3250)
