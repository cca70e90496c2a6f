"""The ledger: one row for every call, in SQLite.

A row is committed as ``open``, with what is reserved for its call, before the call goes upstream, and settled when the call ends; a row
found open at start belonged to a process that was killed, and is charged its whole reservation. Rows hold who, where, when, how much: never
content, headers or addresses.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from operator import attrgetter
from pathlib import Path

from laneway.gateway.ledger import seed, sql
from laneway.gateway.ledger.file import (
    Fault,
    HeldFile,
    LedgerError,
    LedgerLocked,
    LedgerLost,
    fault_of,
    hold,
    in_words,
    lock_file,
    refuse_remains,
)
from laneway.gateway.ledger.seed import Recorded
from laneway.gateway.ledger.sql import Past
from laneway.gateway.ledger.writer import Writer
from laneway.rules.pricing import Prices
from laneway.rules.token import AttemptId
from laneway.rules.usage import Usage

__all__ = [
    "CallEnd",
    "CallStart",
    "Ledger",
    "LedgerError",
    "LedgerLocked",
    "LedgerLost",
    "open_ledger",
    "prepare_ledger",
]

log = logging.getLogger(__name__)

_SYNC_SECONDS = 1.0
_DROP_EVERY = 3600
"""Syncs between two looks for rows that are too old."""
_DROP_AT_ONCE = 200
_ADVICE = "; restore a backup, or move its files away to begin a new one from the usage in the runs' status"


@dataclass(frozen=True, slots=True)
class CallStart:
    """What is known before a call goes upstream."""

    id: str
    run_uid: str
    attempt: int
    namespace: str
    caller: str
    """The run's ``spec.caller``; empty when it names none."""
    lane_namespace: str
    lane: str
    model: str
    wire_api: str
    started_ms: int
    reserved_input_tokens: int = 0
    reserved_output_tokens: int = 0
    """What was set aside for the call: charged in full if nobody ever tells how it ended."""
    reserved_micro_usd: int | None = None
    """None: no price is known."""


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
    estimated: bool = False
    """The usage is the reservation: the call was sent in full, and no usage came."""
    cut: bool = False
    """It failed after its answer had begun."""


# Not ``astuple``: it copies deeply, which costs each call 19 us.
_start_values = attrgetter(*(each.name for each in fields(CallStart)))
_price_values = attrgetter(*(each.name for each in fields(Prices)))


class Ledger:
    """The open ledger. Holds an exclusive lock as long as it lives."""

    def __init__(self, writer: Writer, *, new: bool) -> None:
        """Use ``open_ledger``, or ``prepare_ledger`` in a thread."""
        self._writer = writer
        self._new = new

    @property
    def failure(self) -> str | None:
        """Why the last write failed; None while writes succeed."""
        return self._writer.failure

    @property
    def lost(self) -> bool:
        """Whether this process can never write it again."""
        return self._writer.lost is not None

    async def begin(self, call: CallStart) -> None:
        """Commit the row of a call that is about to go upstream. Raises LedgerError."""
        values = _start_values(call)
        await self._writer.ask(lambda connection: connection.execute(sql.BEGIN, values))

    def settle(self, call_id: str, end: CallEnd) -> None:
        """Write how a call ended. Returns at once; the row is written again and again until it is committed."""
        values = _end_values(end)
        self._writer.tell(lambda connection: connection.execute(sql.SETTLE, (*values, call_id)))

    async def close_attempt(self, attempt: AttemptId, *, now_ms: int) -> None:
        """Remember for good that an attempt is closed, after all rows queued before. Raises LedgerError."""
        values = (attempt.run_uid, attempt.attempt, now_ms)
        await self._writer.ask(lambda connection: connection.execute(sql.CLOSE_ATTEMPT, values))

    async def past_of(self, attempt: AttemptId) -> Past | None:
        """What the ledger knows of one attempt, for one that is no longer in memory. Raises LedgerError."""
        found = await self._writer.ask(lambda connection: sql.read_past(connection, attempt))
        return found if isinstance(found, Past) else None

    async def seed(self, runs: Iterable[Recorded], *, now_ms: int) -> list[Past]:
        """Enter, once, what the status of active runs says and no row does. Answers the attempts that grew. Raises LedgerError."""
        wanted = list(runs)
        grown: list[Past] = []

        def run(connection: sqlite3.Connection) -> None:
            grown[:] = seed.fill(connection, wanted, new=self._new, now_ms=now_ms)

        await self._writer.ask(run)
        return grown

    async def flush(self) -> None:
        """Wait until all that was queued is committed. Raises LedgerError."""
        await self._writer.ask(lambda connection: None)

    async def keep(self, now_ms: Callable[[], int]) -> None:
        """Bring commits to the disk once a second and drop old rows, for ever. Raises LedgerLost once the ledger is lost."""
        turn = 0
        while not self.lost:
            try:
                if turn % _DROP_EVERY == 0:
                    await self.drop_old(now_ms())
                await self._writer.bring_to_disk()
            except LedgerError:
                log.debug("ledger was not kept")  # the writer has told why, once
            else:
                turn += 1
            await self._wait_for_end(_SYNC_SECONDS)
        raise LedgerLost(f"the ledger is lost: {self.failure}")

    async def drop_old(self, now_ms: int) -> None:
        """Drop rows of more than 90 days, a few at a time, so that calls go between. Raises LedgerError."""
        values = {"before": now_ms - sql.KEEP_MS, "most": _DROP_AT_ONCE}
        for statement in sql.DROP_OLD:
            dropped = _DROP_AT_ONCE
            while dropped == _DROP_AT_ONCE:
                dropped = await self._count(statement, values)

    async def close(self) -> None:
        """Write what is queued, and give the lock back."""
        await self._writer.close()
        self._writer.file.release()

    async def _count(self, statement: str, values: dict[str, int]) -> int:
        done = await self._writer.ask(lambda connection: connection.execute(statement, values).rowcount)
        return done if isinstance(done, int) else 0

    async def _wait_for_end(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._writer.ended.wait()
        except TimeoutError:
            return


@dataclass(frozen=True, slots=True)
class Opened:
    """A ledger that is locked and checked, before its writer begins."""

    connection: sqlite3.Connection
    file: HeldFile
    past: list[Past]
    """What is known of recent attempts."""
    new: bool
    """There was no ledger before."""

    def start(self) -> Ledger:
        """Begin to write, for the running event loop."""
        return Ledger(Writer(self.connection, self.file), new=self.new)


def open_ledger(path: Path, *, now_ms: int) -> tuple[Ledger, list[Past]]:
    """``prepare_ledger``, and begin at once."""
    opened = prepare_ledger(path, now_ms=now_ms)
    return opened.start(), opened.past


def prepare_ledger(path: Path, *, now_ms: int) -> Opened:
    """Lock and open the ledger, and charge what a killed process left open. Reads all of it, so it may take seconds.

    Raises LedgerLocked, and LedgerError when the file is damaged, of another schema, or not a ledger.
    """
    lock = lock_file(path)
    connection = None
    try:
        new = refuse_remains(path)
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        past = sql.prepare(connection, now_ms=now_ms)
        file = hold(path, lock)
    except (sqlite3.Error, OSError, ValueError) as error:
        if connection is not None:
            connection.close()
        os.close(lock)
        advice = _ADVICE if isinstance(error, ValueError) or fault_of(error) is Fault.DAMAGED else ""
        raise LedgerError(f"the ledger {path.name} cannot be opened: {in_words(error)}{advice}") from error
    if new:
        log.warning("a new ledger begins", extra={"file": path.name})
    return Opened(connection, file, past, new)


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
        int(end.estimated),
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
