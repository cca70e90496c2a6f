"""What a person reads: failures that say what to do, and progress in long steps."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

QUIET_SECONDS = 20.0  # between two progress lines where the output is not a terminal


@dataclass
class StepError(Exception):
    """A step that cannot go on. `cause` and `remedy` are sentences; `log` is the file with the details."""

    step: str
    cause: str
    remedy: str
    log: Path | None = None

    def __str__(self) -> str:
        lines = [f"failed: {self.step}", f"  cause: {self.cause}"]
        if self.log is not None:
            lines.append(f"  log:   {self.log}")
        lines.append(f"  do:    {self.remedy}")
        return "\n".join(lines)


def say(text: str) -> None:
    """Prints one line, at once, so that it stands in order with what child processes print."""
    print(text, flush=True)


def last_lines(log: Path, count: int = 3) -> str:
    """The end of a log as one line, for a failure's cause."""
    if not log.exists():
        return "it wrote no log"
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return " | ".join(lines[-count:])[-600:] or "it wrote nothing"


class Progress:
    """A line that counts: rewritten in place on a terminal, repeated every 20 seconds elsewhere."""

    def __init__(
        self, text: str, *, total: int | None = None, unit: str = "", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._text, self._total, self._unit, self._clock = text, total, unit, clock
        self._done, self._last, self._width = 0, clock(), 0
        self._terminal = sys.stdout.isatty()
        if self._terminal:
            self._rewrite()
        else:
            say(f"  {self._line()}")

    def advance(self, count: int = 1) -> None:
        """Counts `count` more finished units."""
        self._done += count
        self.tick()

    def tick(self) -> None:
        """Shows where it stands, if that is due."""
        due = self._clock() - self._last >= (0.2 if self._terminal else QUIET_SECONDS)
        if not due:
            return
        self._last = self._clock()
        if self._terminal:
            self._rewrite()
        else:
            say(f"  {self._line()}")

    def close(self) -> None:
        """Takes the line off a terminal; what comes next says how it ended."""
        if self._terminal:
            print("\r" + " " * self._width + "\r", end="", flush=True)

    def _line(self) -> str:
        if self._total is None:
            return f"{self._text}  [{self._done} {self._unit}]" if self._done else self._text
        return f"{self._text}  [{min(self._done, self._total)}/{self._total} {self._unit}]"

    def _rewrite(self) -> None:
        line = f"  {self._line()}"
        self._width = max(self._width, len(line))
        print("\r" + line.ljust(self._width), end="", flush=True)


class Steps:
    """Numbered steps of a command, each with the time it took."""

    def __init__(self, count: int) -> None:
        self._count, self._number = count, 0

    @contextlib.contextmanager
    def step(self, doing: str, done: str) -> Iterator[None]:
        """Says `doing` on a terminal while a step lasts, and `done` with its time after it."""
        self._number += 1
        number, begun, terminal = f"[{self._number}/{self._count}]", time.monotonic(), sys.stdout.isatty()
        if terminal:
            print(f"{number} {doing} ...", end="\r", flush=True)
        yield
        say(f"{f'{number} {done}':<58}  {time.monotonic() - begun:.1f} s")


def run_command(main: Callable[[], int]) -> int:
    """The top of every executable: a failure becomes four lines and exit 1."""
    try:
        return main()
    except StepError as failure:
        print(failure, file=sys.stderr, flush=True)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; run the same command again to go on", file=sys.stderr)
        return 130
