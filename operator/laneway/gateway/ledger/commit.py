"""One transaction after another on the ledger's connection, and what a fault of the disk means for the pieces of a batch.

A fault that may pass (a full disk, a read-only file system, an I/O error, a file held by another program) refuses whoever waits, keeps
the rows of calls that have ended, and is tried again until the disk is well. A fault that cannot pass ends the ledger.

Used by one thread at a time; which one is the writer's business.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from laneway.gateway.ledger import metrics, sql
from laneway.gateway.ledger.file import Fault, HeldFile, LedgerError, fault_of, in_words

log = logging.getLogger(__name__)

CARRY_OVER_ROWS = 500
"""Pieces between two carryings of the -wal file over into the database. SQLite's own count of pages would put it into some call's commit."""
BUSY_MILLISECONDS = 5_000
"""How long another program that writes is waited for."""
_FOR_GOOD = frozenset({Fault.DAMAGED, Fault.REPLACED})

Run = Callable[[sqlite3.Connection], object]


@dataclass(frozen=True, slots=True)
class Work:
    """One piece of writing."""

    run: Run
    done: asyncio.Future[object] | None = None
    """Who waits for it; None: it is tried again until it is on the disk."""


Answers = list[tuple[asyncio.Future[object], object]]
"""Who waited, and what they get: a result, or a LedgerError."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a batch."""

    answers: Answers = field(default_factory=list)
    again: list[Work] = field(default_factory=list)
    """The pieces to be tried again: those for which nobody waits."""


class Commits:
    """The connection, and how its last write went."""

    def __init__(self, connection: sqlite3.Connection, file: HeldFile) -> None:
        """From now on the -wal file is carried over by ``carry_over`` alone, and another program is waited for only in ``patience``."""
        self.connection = connection
        self.file = file
        self.failure: str | None = None
        """Why the last write failed; None while writes succeed."""
        self.lost: str | None = None
        """Why this process can never write again; None while it can."""
        self.dirty = False
        """Whether something was committed since it was last brought to the disk."""
        self._failing_since = 0.0
        self._rows = 0
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("PRAGMA busy_timeout = 0")

    @property
    def full(self) -> bool:
        """Whether it is time to carry the -wal file over."""
        return self._rows >= CARRY_OVER_ROWS

    @contextmanager
    def patience(self) -> Iterator[None]:
        """Inside, another program that writes is waited for."""
        self.connection.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")
        yield
        self.connection.execute("PRAGMA busy_timeout = 0")

    def commit(self, batch: list[Work]) -> Outcome:
        """Write a batch in one transaction."""
        if self.lost:
            return self._refuse(batch, self.lost)
        begun = time.monotonic()
        try:
            if self.failure is not None:
                self.file.sync()
            if not self.connection.in_transaction:
                self.connection.execute("BEGIN IMMEDIATE")
            results = [work.run(self.connection) for work in batch]
            self.file.check()
            self.connection.execute("COMMIT")
        except (sqlite3.Error, OverflowError, OSError, LedgerError) as error:
            return self._failed(batch, error)
        metrics.COMMIT_SECONDS.observe(time.monotonic() - begun)
        if self.failure is not None:
            log.warning("ledger can be written again", extra={"seconds": round(begun - self._failing_since)})
        self.failure, self.dirty = None, True
        self._rows += len(batch)
        return Outcome([(work.done, result) for work, result in zip(batch, results, strict=True) if work.done])

    def commit_at_once(self, batch: list[Work]) -> Outcome | None:
        """The same, if no other program writes just now; else None, and nothing has happened."""
        try:
            self.connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            return None if fault_of(error) is Fault.BUSY else self._failed(batch, error)
        return self.commit(batch)

    def carry_over(self) -> None:
        """Carry the -wal file over into the database, so that it does not grow. Waits for the disk. What fails here fails the next commit too."""
        self._rows = 0
        try:
            self.connection.execute(sql.CARRY_OVER).fetchone()
        except sqlite3.Error as error:
            log.debug("ledger was not carried over", extra={"error": str(error)})

    def give_up(self, why: str) -> None:
        """Nothing can be written any more."""
        if self.lost is None:
            self.failure = self.lost = why

    def _failed(self, batch: list[Work], error: Exception) -> Outcome:
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")
        fault, words = fault_of(error), in_words(error)
        if fault is Fault.ROW and len(batch) > 1:
            single = [self.commit([work]) for work in batch]
            return Outcome(
                [one for each in single for one in each.answers], [one for each in single for one in each.again]
            )
        metrics.ERRORS.labels(fault).inc()
        if fault is Fault.ROW:
            log.error("a row of the ledger cannot be written", extra={"error": str(error)})
            return Outcome(self._refuse(batch, words).answers)
        if self.failure is None:
            self._failing_since = time.monotonic()
            log.error("ledger cannot be written", extra={"fault": fault, "error": str(error)})
        self.failure = words
        if fault in _FOR_GOOD:
            self.give_up(words)
        return self._refuse(batch, words)

    def _refuse(self, batch: list[Work], words: str) -> Outcome:
        """Refuse who waits, and keep the rest unless it can never be written."""
        refusal = LedgerError(f"the ledger cannot be written: {words}")
        again = [] if self.lost else [work for work in batch if work.done is None]
        return Outcome([(work.done, refusal) for work in batch if work.done], again)
