"""Who writes the ledger, and when: what has come together is committed together.

While the disk is quick, the event loop commits by itself: a hand-over to a thread and back costs a call more than the row does. Everything
that may wait for the disk is the thread's: what comes after a commit that was slow, all tries after a fault, and the carrying over of the
-wal file. A disk that hangs holds up the one commit that found it so; streams wait for no further one.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable
from functools import partial

from laneway.gateway.ledger import metrics, sql
from laneway.gateway.ledger.commit import Answers, Commits, Run, Work
from laneway.gateway.ledger.file import HeldFile, LedgerError, LedgerLost

log = logging.getLogger(__name__)

_BATCH = 500
_RETRY_SECONDS = 1.0
_TOLD_WITHIN_SECONDS = 0.02
"""What nobody waits for goes with the next piece that somebody waits for, or after so long: a commit of its own costs as much as the call's first."""
QUICK_SECONDS = 0.005
"""A commit that takes longer makes the disk a slow one: a frame of a stream can wait for so long."""
_SLOW_FOR_SECONDS, _SLOW_FOR_MOST_SECONDS = 0.5, 30.0
"""How long the thread commits after that: twice as long each time, until the loop's next try is quick. A process that was not given the processor looks like a slow disk, for once."""
_ENDED = "its writer has ended"
_PROBE = Work(lambda connection: connection.execute(sql.PROBE))
"""Tells whether the disk is well again."""


class Writer:
    """Owns the connection. Everything but what stands under "The thread" runs in the event loop."""

    def __init__(self, connection: sqlite3.Connection, file: HeldFile) -> None:
        """Start the thread."""
        self.file = file
        self.ended = asyncio.Event()
        """Set when the ledger is lost."""
        self._commits = Commits(connection, file)
        self._queue: queue.SimpleQueue[list[Work] | None] = queue.SimpleQueue()
        self._asyncio = asyncio.get_running_loop()
        self._gathered: list[Work] = []
        """What was not written or given to the thread yet."""
        self._soon: asyncio.Handle | None = None
        self._later: asyncio.TimerHandle | None = None
        self._given = 0
        """Batches that the thread was given."""
        self._pieces_given = self._pieces_done = 0
        """Of those batches; a piece that is tried again is not done."""
        self._thread_is_busy = False
        self._slow_until, self._slow_for = 0.0, _SLOW_FOR_SECONDS
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._write, name="ledger", daemon=True)
        metrics.watch_size(file.path)
        metrics.WAITING.set_function(self._count_waiting)
        self._thread.start()

    @property
    def connection(self) -> sqlite3.Connection:
        """The ledger's connection."""
        return self._commits.connection

    @property
    def failure(self) -> str | None:
        """Why the last write failed; None while writes succeed."""
        return self._commits.failure

    @property
    def lost(self) -> str | None:
        """Why this process can never write again; None while it can."""
        return self._commits.lost

    async def ask(self, run: Run) -> object:
        """Have something done, and committed. Raises LedgerError at once while the disk is not well."""
        if self.failure is not None:
            raise LedgerError(f"the ledger cannot be written: {self.failure}")
        done: asyncio.Future[object] = self._asyncio.create_future()
        self._gathered.append(Work(run, done))
        if self._soon is None:
            # Once round the loop, so that calls that have come together are committed together.
            self._soon = self._asyncio.call_soon(self._write_gathered)
        return await done

    def tell(self, run: Run) -> None:
        """Have something done; answers at once. It is tried again until it is on the disk."""
        self._gathered.append(Work(run))
        if self._soon is None and self._later is None:
            self._later = self._asyncio.call_later(_TOLD_WITHIN_SECONDS, self._write_gathered)

    async def bring_to_disk(self) -> None:
        """Look whether the files are still ours, and bring to the disk what was committed. Raises LedgerError."""
        dirty, self._commits.dirty = self._commits.dirty, False
        try:
            await asyncio.to_thread(self.file.sync if dirty else self.file.check)
        except (OSError, LedgerLost) as error:
            await self.ask(partial(_raise, error))

    async def close(self) -> None:
        """Write what is queued, and end the thread."""
        self._closing.set()
        gathered = self._take_gathered()
        if gathered:
            self._give(gathered)
        self._queue.put(None)
        await asyncio.to_thread(self._end)

    def _write_gathered(self) -> None:
        """Commit what was gathered, or have it committed."""
        gathered = self._take_gathered()
        if not gathered:
            return
        commits, begun = self._commits, self._asyncio.time()
        if self._thread_is_busy or self.failure is not None or commits.full or begun < self._slow_until:
            self._give(gathered)
            return
        try:
            outcome = commits.commit_at_once(gathered)
        except BaseException:
            self._end_for_good()
            raise
        if outcome is None:
            self._give(gathered)
            return
        self._judge_disk(begun, self._asyncio.time())
        if commits.failure is not None:
            self._give(outcome.again)
        self._tell_if_lost()
        _resolve(outcome.answers)

    def _judge_disk(self, begun: float, ended: float) -> None:
        """After a commit of the loop's own."""
        if ended - begun <= QUICK_SECONDS:
            self._slow_for = _SLOW_FOR_SECONDS
        else:
            self._slow_until = ended + self._slow_for
            self._slow_for = min(2 * self._slow_for, _SLOW_FOR_MOST_SECONDS)

    def _take_gathered(self) -> list[Work]:
        for handle in (self._soon, self._later):
            if handle is not None:
                handle.cancel()
        self._soon = self._later = None
        gathered, self._gathered = self._gathered, []
        return gathered

    def _give(self, batch: list[Work]) -> None:
        """To the thread."""
        self._thread_is_busy = True
        self._given += 1
        self._pieces_given += len(batch)
        self._queue.put(batch)

    def _count_waiting(self) -> int:
        """Pieces that are not on the disk yet."""
        return len(self._gathered) + self._pieces_given - self._pieces_done

    def _end_for_good(self) -> None:
        """Something that no rule foresees: nobody knows what the connection would do next."""
        self._commits.give_up(_ENDED)
        self._tell_if_lost()

    def _tell_if_lost(self) -> None:
        if self.lost:
            self.ended.set()

    # The thread

    def _write(self) -> None:
        try:
            self._loop()
        finally:
            if not self._closing.is_set():
                self._in_loop(self._end_for_good)

    def _loop(self) -> None:
        commits, taken = self._commits, 0
        kept: list[Work] = []
        while (found := self._take(kept)) is not None:
            batch, batches = found
            taken += batches
            with commits.patience():
                outcome = commits.commit(batch or [_PROBE])
            kept = outcome.again if batch else []
            self._pieces_done += len(batch) - len(kept)
            self._in_loop(partial(_resolve, outcome.answers))  # nobody waits for what is carried over
            if commits.full:
                commits.carry_over()
            goes_on = self.failure is not None and not self.lost
            self._in_loop(partial(self._look_at_thread, None if goes_on else taken))
            if goes_on and self._closing.wait(_RETRY_SECONDS):
                log.error("ledger closed with rows that could not be written", extra={"rows": len(kept)})
                return

    def _look_at_thread(self, taken: int | None) -> None:
        """In the loop. ``taken``: the batches that are done, more may have been given since; None: the thread goes on by itself."""
        self._tell_if_lost()
        if taken is not None:
            self._thread_is_busy = taken != self._given

    def _take(self, kept: list[Work]) -> tuple[list[Work], int] | None:
        """Everything that waits, and how many batches that were; None at the end.

        After a fault it may be nothing: without a try nobody would see that the disk is well again.
        """
        batch, batches = list(kept), 0
        tries = self.failure is not None and not self.lost
        while len(batch) < _BATCH and not ((batch or batches or tries) and self._queue.empty()):
            given = self._queue.get()
            if given is None:
                if not batch:
                    return None
                self._queue.put(None)
                break
            batch += given
            batches += 1
        return batch, batches

    def _in_loop(self, call: Callable[[], None]) -> None:
        if not self._asyncio.is_closed():
            self._asyncio.call_soon_threadsafe(call)

    def _end(self) -> None:
        """Closing carries the -wal file over into the database, which may take long."""
        self._thread.join()
        self.connection.close()


def _raise(error: Exception, connection: sqlite3.Connection) -> None:
    raise error


def _resolve(answers: Answers) -> None:
    for done, result in answers:
        if done.done():
            continue
        if isinstance(result, LedgerError):
            done.set_exception(result)
        else:
            done.set_result(result)
