"""Programs that a benchmark starts: each with a log, and ended by their own process id."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import aiohttp

ROOT = Path(__file__).parents[2]
_STOP_SECONDS = 20
_POLL_SECONDS = 0.05


class Program:
    """One process."""

    def __init__(self, command: list[str], log: Path, env: Mapping[str, str] | None = None) -> None:
        self._log = log
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                command, env={**os.environ, **(env or {})}, cwd=ROOT, stdout=out, stderr=out, stdin=subprocess.DEVNULL
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def said(self) -> str:
        """Its log."""
        return self._log.read_text(errors="replace")

    async def until(self, true: Callable[[], Awaitable[bool]], *, seconds: float = 60.0) -> None:
        """Wait for something that this process has to bring about. Raises RuntimeError when it ends, or with the time."""
        deadline = time.monotonic() + seconds
        while not await true():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self._log.name}: ended or not ready within {seconds} s\n{self.said[-3000:]}")
            await asyncio.sleep(_POLL_SECONDS)

    def stop(self) -> None:
        """SIGTERM, and SIGKILL if that does not help."""
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self._process.kill()
        self._process.wait()


def python(*arguments: str, profile: Path | None = None) -> list[str]:
    """The command of a Python module of this tree; with ``profile``, cProfile writes there when it ends."""
    profiler = ["-m", "cProfile", "-o", str(profile)] if profile else []
    return [sys.executable, *profiler, "-m", *arguments]


async def read(url: str) -> str:
    """What a local program answers to a GET; empty if it does not answer, or not with 200."""
    try:
        async with aiohttp.ClientSession() as session, session.get(url, ssl=False) as answer:
            return await answer.text() if answer.ok else ""
    except aiohttp.ClientError:
        return ""


async def port_answers(address: str, port: int) -> bool:
    """Whether somebody listens there."""
    try:
        _, writer = await asyncio.open_connection(address, port)
    except OSError:
        return False
    writer.close()
    return True
