"""Where the built-in agent leaves its words: whole lines on stdout, a short text in the termination log."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TextIO

TERMINATION_LIMIT = 4096
"""Bytes that the kubelet reads from a termination log."""
_ECHO = 16


class Terminated(BaseException):
    """SIGTERM came."""


class LineWriter:
    """Writes one line at a time and flushes it. A SIGTERM inside a line is acted on after it, so that no line is ever cut."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._writing = False
        self._stopped = False

    def write(self, line: str) -> None:
        """Write a line that ends in a line feed. Raises Terminated when SIGTERM came meanwhile."""
        self._writing = True
        self._stream.write(line)
        self._stream.flush()
        self._writing = False
        if self._stopped:
            self._stopped = False
            raise Terminated

    @contextmanager
    def stopped_by_sigterm(self) -> Iterator[None]:
        """Inside, the first SIGTERM raises Terminated, and later ones change nothing; after it SIGTERM is ignored."""
        signal.signal(signal.SIGTERM, self._stop)
        yield
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if self._writing:
            self._stopped = True
        else:
            raise Terminated


def write_termination_log(path: Path, text: str) -> None:
    """Leave a text for the kubelet. The file is the kubelet's: where it is missing or closed to us, stderr says so, and that is all."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_TRUNC)
    except OSError as error:
        sys.stderr.write(f"laneway agent: no termination log at {path} ({error.strerror})\n")
        return
    with os.fdopen(handle, "wb") as file:
        file.write(fit(text, TERMINATION_LIMIT))


def fit(text: str, limit: int) -> bytes:
    """UTF-8 of at most ``limit`` bytes that ends at the end of a character; halves of surrogate pairs are joined or replaced."""
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()
    return whole[:limit].decode(errors="ignore").encode()


def redact(text: str, *, prompt: str, api_key: str | None) -> str:
    """A server's words without our key, or nothing at all of them if they repeat a part of the prompt."""
    length = min(_ECHO, len(prompt))
    if any(text[i : i + length] in prompt for i in range(len(text) - length + 1)):
        return "(not shown: the server's words repeat the prompt)"
    return text.replace(api_key, "(key)") if api_key else text
