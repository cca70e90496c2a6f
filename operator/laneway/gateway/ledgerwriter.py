"""The one thread that writes the ledger: what waits is committed together, and what fails is refused or tried again.

A fault that may pass (a full disk, a read-only file system, an I/O error, a file held by another program) refuses whoever waits, keeps
the rows of calls that have ended, and is tried again every second until the disk is well. A fault that cannot pass ends the ledger.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from laneway.gateway import ledgermetrics, ledgersql
from laneway.gateway.ledgerfile import Fault, HeldFile, LedgerError, LedgerLost, fault_of, in_words

log = logging.getLogger(__name__)

_BATCH = 500
_RETRY_SECONDS = 1.0
_TOLD_WITHIN_SECONDS = 0.02
"""What nobody waits for goes with the next piece that somebody waits for, or after so long: a commit of its own costs as much as the call's first."""
_FOR_GOOD = frozenset({Fault.DAMAGED, Fault.REPLACED})
_ENDED = "its writer has ended"

Run = Callable[[sqlite3.Connection], object]


@dataclass(frozen=True, slots=True)
class Work:
    """One piece of writing."""

    run: Run
    done: asyncio.Future[object] | None = None
    """Who waits for it; None: it is tried again until it is on the disk."""


_PROBE = Work(lambda connection: connection.execute(ledgersql.PROBE))


class Writer:
    """Owns the connection. Everything but ``_loop``, ``_end`` and what they call runs in the event loop's thread."""

    def __init__(self, connection: sqlite3.Connection, file: HeldFile) -> None:
        """Start the thread."""
        self.connection = connection
        self.file = file
        self.failure: str | None = None
        """Why the last write failed; None while writes succeed."""
        self.lost: str | None = None
        """Why this process can never write again; None while it can."""
        self.dirty = False
        """Whether something was committed since it was last brought to the disk."""
        self.ended = asyncio.Event()
        """Set when the ledger is lost."""
        self._queue: queue.SimpleQueue[list[Work] | None] = queue.SimpleQueue()
        self._asyncio = asyncio.get_running_loop()
        self._gathered: list[Work] = []
        """What the thread has not been given yet."""
        self._handing: asyncio.Handle | None = None
        self._handing_later: asyncio.TimerHandle | None = None
        self._kept: list[Work] = []
        """What failed and is tried again."""
        self._closing = threading.Event()
        self._failing_since = 0.0
        self._thread = threading.Thread(target=self._write, name="ledger", daemon=True)
        ledgermetrics.watch_size(file.path)
        ledgermetrics.WAITING.set_function(self._count_waiting)
        self._thread.start()

    async def ask(self, run: Run) -> object:
        """Have something done, and committed. Raises LedgerError at once while the disk is not well."""
        if self.failure is not None:
            raise LedgerError(f"the ledger cannot be written: {self.failure}")
        done: asyncio.Future[object] = self._asyncio.create_future()
        self._gathered.append(Work(run, done))
        if self._handing is None:
            # Once round the loop, so that calls that have come together are committed together: each hand-over to the thread costs both sides.
            self._handing = self._asyncio.call_soon(self._hand_over)
        return await done

    def tell(self, run: Run) -> None:
        """Have something done; answers at once. It is tried again until it is on the disk."""
        self._gathered.append(Work(run))
        if self._handing is None and self._handing_later is None:
            self._handing_later = self._asyncio.call_later(_TOLD_WITHIN_SECONDS, self._hand_over)

    def _hand_over(self) -> None:
        """Give the thread what was gathered."""
        for handle in (self._handing, self._handing_later):
            if handle is not None:
                handle.cancel()
        self._handing = self._handing_later = None
        if self._gathered:
            gathered, self._gathered = self._gathered, []
            self._queue.put(gathered)

    def _count_waiting(self) -> int:
        """Pieces that are not on the disk yet, as far as the loop knows: a batch in the queue counts as one."""
        return len(self._gathered) + self._queue.qsize() + len(self._kept)

    async def bring_to_disk(self) -> None:
        """Look whether the files are still ours, and bring to the disk what was committed. Raises LedgerError."""
        dirty, self.dirty = self.dirty, False
        try:
            await asyncio.to_thread(self.file.sync if dirty else self.file.check)
        except (OSError, LedgerLost) as error:
            await self.ask(partial(_raise, error))

    async def close(self) -> None:
        """Write what is queued, and end the thread."""
        self._closing.set()
        self._hand_over()
        self._queue.put(None)
        await asyncio.to_thread(self._end)

    def _end(self) -> None:
        """Closing carries the -wal file over into the database, which may take long."""
        self._thread.join()
        self.connection.close()

    # The writer thread.

    def _write(self) -> None:
        try:
            self._loop()
        finally:
            if not self._closing.is_set():
                self._lose(_ENDED)

    def _loop(self) -> None:
        while (batch := self._take(self._kept or self._probes())) is not None:
            again = self._refuse(batch, self.lost) if self.lost else self._commit(batch)
            self._kept = [work for work in again if work is not _PROBE]
            if self.failure is not None and not self.lost and self._closing.wait(_RETRY_SECONDS):
                log.error("ledger closed with rows that could not be written", extra={"rows": len(self._kept)})
                return

    def _probes(self) -> list[Work]:
        """Without calls nothing would be tried, so nobody would see that the disk is well again."""
        return [_PROBE] if self.failure is not None and not self.lost else []

    def _take(self, kept: list[Work]) -> list[Work] | None:
        """Everything that waits, at least one piece; None at the end."""
        batch = list(kept)
        while len(batch) < _BATCH and (not batch or not self._queue.empty()):
            gathered = self._queue.get()
            if gathered is None:
                if not batch:
                    return None
                self._queue.put(None)
                break
            batch += gathered
        return batch

    def _commit(self, batch: list[Work]) -> list[Work]:
        """Write a batch in one transaction. Answers the pieces to be tried again: those for which nobody waits."""
        begun = time.monotonic()
        try:
            if self.failure is not None:
                self.file.sync()
            self.connection.execute("BEGIN IMMEDIATE")
            results = [work.run(self.connection) for work in batch]
            self.file.check()
            self.connection.execute("COMMIT")
        except (sqlite3.Error, OverflowError, OSError, LedgerError) as error:
            return self._failed(batch, error)
        ledgermetrics.COMMIT_SECONDS.observe(time.monotonic() - begun)
        if self.failure is not None:
            log.warning("ledger can be written again", extra={"seconds": round(begun - self._failing_since)})
        self.failure, self.dirty = None, True
        self._answer([(work.done, result) for work, result in zip(batch, results, strict=True)])
        return []

    def _failed(self, batch: list[Work], error: Exception) -> list[Work]:
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")
        fault, words = fault_of(error), in_words(error)
        if fault is Fault.ROW and len(batch) > 1:
            return [kept for work in batch for kept in self._commit([work])]
        ledgermetrics.ERRORS.labels(fault).inc()
        if fault is Fault.ROW:
            log.error("a row of the ledger cannot be written", extra={"error": str(error)})
            self._refuse(batch, words)
            return []
        if self.failure is None:
            self._failing_since = time.monotonic()
            log.error("ledger cannot be written", extra={"fault": fault, "error": str(error)})
        self.failure = words
        if fault in _FOR_GOOD:
            self._lose(words)
        return self._refuse(batch, words)

    def _refuse(self, batch: list[Work], words: str) -> list[Work]:
        """Tell who waits. Answers the pieces for which nobody does, unless they can never be written."""
        refusal = LedgerError(f"the ledger cannot be written: {words}")
        self._answer([(work.done, refusal) for work in batch])
        return [] if self.lost else [work for work in batch if work.done is None]

    def _lose(self, why: str) -> None:
        if self.lost is None:
            self.failure = self.lost = why
            self._in_loop(self.ended.set)

    def _answer(self, results: list[tuple[asyncio.Future[object] | None, object]]) -> None:
        waited = [(done, result) for done, result in results if done is not None]
        if waited:
            self._in_loop(lambda: _resolve(waited))

    def _in_loop(self, call: Callable[[], None]) -> None:
        if not self._asyncio.is_closed():
            self._asyncio.call_soon_threadsafe(call)


def _raise(error: Exception, connection: sqlite3.Connection) -> None:
    raise error


def _resolve(results: list[tuple[asyncio.Future[object], object]]) -> None:
    for done, result in results:
        if done.done():
            continue
        if isinstance(result, LedgerError):
            done.set_exception(result)
        else:
            done.set_result(result)
