"""The ledger: one row for every call, in SQLite, written by one thread.

A row is committed as ``open`` before its call goes upstream, and settled when the call ends; a row found open at start belonged to a process
that was killed, and is settled as unmetered. Rows hold who, where, when, how much: never content, headers or addresses.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import queue
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass, fields
from operator import attrgetter
from pathlib import Path

from laneway.gateway import ledgersql
from laneway.gateway.ledgersql import Past
from laneway.rules.pricing import Prices
from laneway.rules.token import AttemptId
from laneway.rules.usage import Usage

log = logging.getLogger(__name__)

_BATCH = 500
_RETRY_SECONDS = 1.0


class LedgerError(Exception):
    """The ledger cannot be opened or written; no call may go upstream."""


class LedgerLocked(LedgerError):  # noqa: N818 - it says what happened
    """Another process holds the ledger."""


@dataclass(frozen=True, slots=True)
class CallStart:
    """What is known before a call goes upstream."""

    id: str
    run_uid: str
    attempt: int
    namespace: str
    lane_namespace: str
    lane: str
    model: str
    wire_api: str
    started_ms: int


@dataclass(frozen=True, slots=True)
class CallEnd:
    """What is known when a call has ended."""

    ended_ms: int
    status: int | None
    """HTTP status of the server; None when it never answered."""
    cause: str | None
    """Class of the failure; None for a success, and for a call that the client or the operator cut."""
    finish_reason: str | None
    turn: bool
    """An answered generation call."""
    metered: bool
    """False: the server worked, and its usage is not or not fully known."""
    usage: Usage
    prices: Prices | None
    cost_micro_usd: int | None
    reset_ms: int | None = None
    """When the server said that the model may be used again."""
    reset_source: str | None = None
    cut: bool = False
    """It failed after its answer had begun."""


# Not ``astuple``: it copies deeply, which costs each call 19 us.
_start_values = attrgetter(*(each.name for each in fields(CallStart)))
_price_values = attrgetter(*(each.name for each in fields(Prices)))


@dataclass(frozen=True, slots=True)
class _Work:
    run: Callable[[sqlite3.Connection], object]
    done: asyncio.Future[object] | None


class Ledger:
    """The open ledger. Holds an exclusive lock as long as it lives."""

    def __init__(self, connection: sqlite3.Connection, lock: int) -> None:
        """Use ``open_ledger``."""
        self._connection = connection
        self._lock = lock
        self._queue: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._closing = threading.Event()
        self.failure: str | None = None
        """Why the last write failed; None while writes succeed."""
        self._thread = threading.Thread(target=self._write, name="ledger", daemon=True)
        self._thread.start()

    async def begin(self, call: CallStart) -> None:
        """Commit the row of a call that is about to go upstream. Raises LedgerError."""
        values = _start_values(call)
        await self._ask(lambda connection: connection.execute(ledgersql.BEGIN, values))

    def settle(self, call_id: str, end: CallEnd) -> None:
        """Write how a call ended. Returns at once; the row is written again and again until it is on the disk."""
        values = _end_values(end)
        self._queue.put(_Work(lambda connection: connection.execute(ledgersql.SETTLE, (*values, call_id)), None))

    async def close_attempt(self, attempt: AttemptId, *, now_ms: int) -> None:
        """Remember for good that an attempt is closed, after all rows queued before. Raises LedgerError."""
        values = (attempt.run_uid, attempt.attempt, now_ms)
        await self._ask(lambda connection: connection.execute(ledgersql.CLOSE_ATTEMPT, values))

    async def past_of(self, attempt: AttemptId) -> Past | None:
        """What the ledger knows of one attempt, for one that is no longer in memory. Raises LedgerError."""
        found = await self._ask(lambda connection: ledgersql.read_past(connection, attempt))
        return found if isinstance(found, Past) else None

    async def flush(self) -> None:
        """Wait until all that was queued is committed. Raises LedgerError."""
        await self._ask(lambda connection: None)

    async def close(self) -> None:
        """Write what is queued, and give the lock back."""
        self._closing.set()
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)
        self._connection.close()
        os.close(self._lock)

    async def _ask(self, run: Callable[[sqlite3.Connection], object]) -> object:
        done: asyncio.Future[object] = self._loop.create_future()
        self._queue.put(_Work(run, done))
        return await done

    # The writer thread.

    def _write(self) -> None:
        kept: list[_Work] = []
        while (batch := self._take(kept)) is not None:
            kept = self._commit(batch)
            if kept and self._closing.wait(_RETRY_SECONDS):
                log.error("ledger closed with rows that could not be written", extra={"rows": len(kept)})
                return

    def _take(self, kept: list[_Work]) -> list[_Work] | None:
        """Everything that waits, at least one piece; None at the end."""
        batch = list(kept)
        while len(batch) < _BATCH and (not batch or not self._queue.empty()):
            work = self._queue.get()
            if work is None:
                if not batch:
                    return None
                self._queue.put(None)
                break
            batch.append(work)
        return batch

    def _commit(self, batch: list[_Work]) -> list[_Work]:
        """Write a batch in one transaction. Answers the pieces to be tried again: those for which nobody waits."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            results = [work.run(self._connection) for work in batch]
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            if self.failure is None:
                log.error("ledger cannot be written", extra={"error": str(error)})
            self.failure = str(error)
            self._tell([(work.done, LedgerError(f"the ledger cannot be written: {error}")) for work in batch])
            return [work for work in batch if work.done is None]
        self.failure = None
        self._tell([(work.done, result) for work, result in zip(batch, results, strict=True)])
        return []

    def _tell(self, results: list[tuple[asyncio.Future[object] | None, object]]) -> None:
        waited = [(done, result) for done, result in results if done is not None]
        if waited and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(_resolve, waited)


def open_ledger(path: Path, *, now_ms: int) -> tuple[Ledger, list[Past]]:
    """Lock and open the ledger, settle what a killed process left, and answer what is known of recent attempts.

    Raises LedgerLocked, and LedgerError when the file is not ours or newer than this program.
    """
    lock = _lock(path)
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        past = ledgersql.prepare(connection, now_ms=now_ms)
    except (sqlite3.Error, ValueError) as error:
        os.close(lock)
        raise LedgerError(f"the ledger {path.name} cannot be opened: {error}") from error
    return Ledger(connection, lock), past


def _lock(path: Path) -> int:
    """A lock file beside the ledger, so that people may still read the ledger while the gateway runs."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise LedgerError(f"the ledger {path.name} cannot be locked: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise LedgerLocked(f"another process holds the ledger {path.name}") from error
    return lock


def _resolve(results: list[tuple[asyncio.Future[object], object]]) -> None:
    for done, result in results:
        if done.done():
            continue
        if isinstance(result, LedgerError):
            done.set_exception(result)
        else:
            done.set_result(result)


def _end_values(end: CallEnd) -> tuple[object, ...]:
    usage = end.usage
    prices: tuple[int | None, ...] = (None, None, None, None) if end.prices is None else _price_values(end.prices)
    return (
        end.ended_ms,
        end.status,
        end.cause,
        end.finish_reason,
        int(end.turn),
        int(end.metered),
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_read_tokens,
        usage.cache_write_tokens,
        *prices,
        end.cost_micro_usd,
        end.reset_ms,
        end.reset_source,
        int(end.cut),
    )
