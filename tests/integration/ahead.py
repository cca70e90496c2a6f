"""``python -m integration.ahead operator|gateway FILE``: the real program, with a clock that a test moves.

Its clock is the machine's plus the seconds in FILE (a float of 8 bytes), so that hours pass when the test says so. The Lease keeps real time.
"""

from __future__ import annotations

import asyncio
import mmap
import struct
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from laneway.controller import main as operator
from laneway.gateway import main as gateway
from laneway.settings import gateway_settings, operator_settings

_SECONDS = struct.Struct("d")
_LOOK_EVERY = 0.02


class Ahead:
    """The test's end of the clock."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.seconds = 0.0
        self.move(0)

    def move(self, seconds: float) -> None:
        """Let so much time pass at once, for all programs that read this file."""
        self.seconds += seconds
        with self.file.open("r+b" if self.file.exists() else "wb") as out:
            out.write(_SECONDS.pack(self.seconds))

    def now(self) -> datetime:
        """The programs' time."""
        return datetime.now(UTC) + timedelta(seconds=self.seconds)

    def move_to(self, moment: datetime) -> None:
        """Let time pass until a moment, unless it has come already."""
        self.move(max(0.0, (moment - self.now()).total_seconds()))


class MovedClock:
    """The program's end of it."""

    def __init__(self, file: Path) -> None:
        with file.open("r+b") as opened:
            self._map = mmap.mmap(opened.fileno(), _SECONDS.size, access=mmap.ACCESS_READ)

    def now(self) -> datetime:
        """The moment, in UTC."""
        [seconds] = _SECONDS.unpack_from(self._map)
        return datetime.now(UTC) + timedelta(seconds=seconds)

    async def wait(self, event: asyncio.Event, until: datetime | None) -> None:
        """Return when the event is set or the moment has come."""
        while not event.is_set() and (until is None or self.now() < until):
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_EVERY):
                    await event.wait()


def _run(program: str, file: str) -> int:
    clock = MovedClock(Path(file))
    if program == "gateway":
        return gateway.run(gateway_settings(), clock.now)
    return operator.run(operator_settings(), clock)


if __name__ == "__main__":
    sys.exit(_run(*sys.argv[1:]))
