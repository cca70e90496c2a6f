"""The rig of the gateway's benchmarks: a model server that costs next to nothing, and a load; both programs of their own (rig/)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.figures import percentile
from bench.programs import Program, port_answers

FAST, PACED = "mock-fast", "mock-paced"
"""Models of the mock: all frames of a stream at once, or one each 20 ms."""
_PROMPT_BYTES = 2_000


@dataclass(frozen=True)
class Order:
    """A load: streams or whole answers, over so many connections, for so many seconds or so many calls."""

    address: str
    tokens: Sequence[str]
    """One for each connection in turn."""
    model: str = FAST
    stream: bool = False
    connections: int = 1
    seconds: float = 0.0
    calls: int = 0
    """0: as many as the seconds allow."""
    promptBytes: int = _PROMPT_BYTES  # noqa: N815 - as the load reads it


@dataclass(frozen=True)
class Answers:
    """What came of a load."""

    seconds: float
    answers: int
    """Whole ones: every frame and the end of a stream."""
    frames: int
    broken: int
    first: list[int]
    """Microseconds to the first frame, or to a whole answer."""
    gaps: list[int]
    """Microseconds between frames."""

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.answers / self.seconds

    def first_milliseconds(self, percent: float) -> float:
        """A percentile of the time to the first frame."""
        return percentile(self.first, percent) / 1000

    def gap_milliseconds(self, percent: float) -> float:
        """A percentile of the time between two frames."""
        return percentile(self.gaps, percent) / 1000


class Load:
    """The load, one process for a whole benchmark, so that its share of the machine is known."""

    def __init__(self, rig: Path) -> None:
        self._process = subprocess.Popen(
            beside([str(rig), "load"]), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def send(self, order: Order) -> Answers:
        """Send it, and wait for the end. Raises RuntimeError when no call was answered, or the load has ended."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the load has no pipes")
        self._process.stdin.write(json.dumps(asdict(order)) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        found = json.loads(line) if line else {"answers": 0, "error": "the load has ended"}
        error = found.pop("error")
        if not found["answers"]:
            raise RuntimeError(f"{order.address} answers nothing: {error}")
        return Answers(**found)

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()


@contextmanager
def load(rig: Path) -> Generator[Load]:
    """A load that ends with its benchmark."""
    running = Load(rig)
    try:
        yield running
    finally:
        running.stop()


@dataclass(frozen=True)
class Place:
    """Where the model server listens: not on 127.0.0.1, which the gateway refuses."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"{self.address}:{self.port}"


async def start_mock(rig: Path, place: Place, log: Path) -> Program:
    """The model server."""
    mock = Program(beside([str(rig), "mock", str(place)]), log)
    await mock.until(lambda: port_answers(place.address, place.port))
    return mock


def beside(command: list[str]) -> list[str]:
    """On any core but the last, which belongs to what is measured."""
    return _on(command, f"0-{_last_core() - 1}")


def alone(command: list[str]) -> list[str]:
    """On the last core."""
    return _on(command, str(_last_core()))


def _last_core() -> int:
    return (os.cpu_count() or 1) - 1


def _on(command: list[str], cores: str) -> list[str]:
    return ["taskset", "-c", cores, *command] if _last_core() and shutil.which("taskset") else command
