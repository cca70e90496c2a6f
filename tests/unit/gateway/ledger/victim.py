"""Writers of a ledger that kill themselves: ``python -m unit.gateway.ledger.victim LEDGER`` reads one round a line, forks a writer for it, waits.

A round is ``after SECONDS`` (killed by a timer, wherever it is) or ``at NUMBER STATEMENT`` (killed when that statement begins for that time).
The writer says ``begun ID`` when a row's begin was acknowledged, ``settled ID`` when its end was, and this process ``dead`` when it is gone.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from laneway.gateway.ledger.ledger import Ledger, open_ledger
from unit.gateway.kit import PAST_MS, call_end, call_start

WRITERS = 6
LONGEST_SECONDS = 20
RESERVED = (900, 100, 3250)
OLD_MS = PAST_MS - 91 * 86_400_000
_SMALL_WAL = 5
_connect = sqlite3.connect


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def deadly(statement: str, number: int) -> Callable[[str], None]:
    left = number

    def seen(text: str) -> None:
        nonlocal left
        left -= text.lstrip().startswith(statement)
        if left == 0:
            die()

    return seen


def say(*words: str) -> None:
    os.write(1, (" ".join(words) + "\n").encode())


async def write(ledger: Ledger, name: str) -> None:
    number = 0
    while True:
        call = f"{name}-{number}"
        await ledger.begin(call_start(call, reserved=RESERVED))
        say("begun", call)
        ledger.settle(call, call_end())
        await ledger.flush()
        say("settled", call)
        number += 1


async def drop(ledger: Ledger, name: str) -> None:
    while True:
        await ledger.begin(call_start(f"old-{name}", at=OLD_MS))
        await ledger.drop_old(PAST_MS)


async def live(path: Path, name: str) -> None:
    ledger, _ = open_ledger(path, now_ms=PAST_MS + 1000)
    await asyncio.gather(drop(ledger, name), *(write(ledger, f"{name}-{one}") for one in range(WRITERS)))


def run(path: Path, name: str, kind: str, value: str, statement: str) -> None:
    signal.alarm(LONGEST_SECONDS)
    hook = deadly(statement, int(value)) if kind == "at" else None

    def connect(*arguments: object, **options: object) -> sqlite3.Connection:
        connection: sqlite3.Connection = _connect(*arguments, **options)
        connection.set_trace_callback(hook)
        connection.execute(f"PRAGMA wal_autocheckpoint = {_SMALL_WAL}")
        return connection

    sqlite3.connect = connect
    if kind == "after":
        threading.Timer(float(value), die).start()
    asyncio.run(live(path, name))


def main(path: Path) -> None:
    for number, line in enumerate(sys.stdin):
        kind, value, statement = (*line.rstrip("\n").split(" ", 2), "")[:3]
        child = os.fork()
        if child == 0:
            run(path, f"r{number}", kind, value, statement)
            os._exit(1)
        _, status = os.waitpid(child, 0)
        say("dead", str(os.WTERMSIG(status) if os.WIFSIGNALED(status) else -1))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
