"""The ledger's file: its lock, its identity on the disk, and what an error of it means.

LedgerError            no call may go upstream; the words say why
|- LedgerLocked        another process holds the ledger
`- LedgerLost          this process can never write it again; a new process may
"""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class LedgerError(Exception):
    """The ledger cannot be opened or written; no call may go upstream."""


class LedgerLocked(LedgerError):  # noqa: N818 - it says what happened
    """Another process holds the ledger."""


class LedgerLost(LedgerError):  # noqa: N818 - it says what happened
    """The file under the open ledger was taken away, replaced or damaged: what this process writes, nobody would find."""


class Fault(StrEnum):
    """Why the ledger could not be written: the label ``reason`` of ``laneway_ledger_errors_total``."""

    FULL = "Full"
    READ_ONLY = "ReadOnly"
    IO = "IO"
    BUSY = "Busy"
    DAMAGED = "Damaged"
    REPLACED = "Replaced"
    ROW = "Row"
    """One row cannot be written, whatever the disk does."""


_WORDS = {
    Fault.FULL: "the disk is full",
    Fault.READ_ONLY: "the file system is read-only",
    Fault.IO: "the disk answers with an I/O error",
    Fault.BUSY: "another program holds the file",
    Fault.DAMAGED: "the file is damaged",
}
_FAULTS = {
    sqlite3.SQLITE_FULL: Fault.FULL,
    sqlite3.SQLITE_READONLY: Fault.READ_ONLY,
    sqlite3.SQLITE_IOERR: Fault.IO,
    sqlite3.SQLITE_CANTOPEN: Fault.IO,
    sqlite3.SQLITE_NOMEM: Fault.IO,
    sqlite3.SQLITE_BUSY: Fault.BUSY,
    sqlite3.SQLITE_LOCKED: Fault.BUSY,
    sqlite3.SQLITE_CORRUPT: Fault.DAMAGED,
    sqlite3.SQLITE_NOTADB: Fault.DAMAGED,
}
_DISK_FAULTS = {errno.ENOSPC: Fault.FULL, errno.EDQUOT: Fault.FULL, errno.EROFS: Fault.READ_ONLY}
_PRIMARY = 0xFF
_NO_CODE = -1

Identity = tuple[tuple[int, int], ...]
"""Device and inode of each file of the ledger."""


def fault_of(error: BaseException) -> Fault:
    """What an error of a write means."""
    if isinstance(error, LedgerLost):
        return Fault.REPLACED
    if isinstance(error, OSError):
        return _DISK_FAULTS.get(error.errno or 0, Fault.IO)
    return _FAULTS.get(getattr(error, "sqlite_errorcode", _NO_CODE) & _PRIMARY, Fault.ROW)


def in_words(error: BaseException) -> str:
    """An error for people."""
    return _WORDS.get(fault_of(error), str(error))


def wal_of(path: Path) -> Path:
    """The file where SQLite writes first."""
    return path.with_name(path.name + "-wal")


@dataclass(frozen=True, slots=True)
class HeldFile:
    """The ledger's files while this process holds them."""

    path: Path
    lock: int
    wal: int
    """Descriptor of the -wal file, to bring it to the disk."""
    files: tuple[str, ...]
    identity: Identity

    def check(self) -> None:
        """Whether the files are still those that were opened. Raises LedgerLost, and OSError when the disk cannot be asked."""
        try:
            same = _identity(self.files) == self.identity
        except FileNotFoundError:
            raise LedgerLost(f"a file of the ledger {self.path.name} was removed") from None
        if not same:
            raise LedgerLost(f"a file of the ledger {self.path.name} was replaced")

    def sync(self) -> None:
        """Bring what is committed to the disk. Raises OSError."""
        os.fdatasync(self.wal)

    def release(self) -> None:
        """Give the lock back."""
        os.close(self.wal)
        os.close(self.lock)


def lock_file(path: Path) -> int:
    """Take the lock file beside the ledger, so that people may still read the ledger while the gateway runs. Raises LedgerError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(_lock_of(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise LedgerError(f"the ledger {path.name} cannot be locked: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise LedgerLocked(f"another process holds the ledger {path.name}") from error
    return lock


def refuse_remains(path: Path) -> bool:
    """Whether the ledger is new. Raises ValueError where SQLite would throw away the rows that a lost main file left behind."""
    new = size_of(path) == 0
    if new and size_of(wal_of(path)) > 0:
        raise ValueError("its main file is missing or empty, and rows are left in its -wal file")
    return new


def hold(path: Path, lock: int) -> HeldFile:
    """The files of a ledger that was opened and written. Raises OSError."""
    wal = os.open(wal_of(path), os.O_RDONLY | os.O_CLOEXEC)
    files = (str(path), str(wal_of(path)), str(_lock_of(path)))
    return HeldFile(path=path, lock=lock, wal=wal, files=files, identity=_identity(files))


def open_to_read(path: Path) -> sqlite3.Connection:
    """The ledger for reading only, whoever holds it. Raises sqlite3.Error."""
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)


def size_of(path: Path) -> int:
    """Bytes of a file; 0 when it is not there."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _lock_of(path: Path) -> Path:
    return path.with_name(path.name + ".lock")


def _identity(files: tuple[str, ...]) -> Identity:
    """Asked at each commit, so it makes no paths of its own."""
    found = [os.stat(one) for one in files]
    return tuple((one.st_dev, one.st_ino) for one in found)
