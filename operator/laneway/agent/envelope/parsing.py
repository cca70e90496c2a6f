"""The end of an agent's log, whoever wrote it: lines tell by their type in which dialect they are."""

from __future__ import annotations

from laneway.agent.envelope import codex, streamjson
from laneway.agent.envelope.fields import read_object
from laneway.agent.envelope.values import EnvelopeSummary

TAIL_LINES = 50
"""How many lines of a log are read from its end (S3.7)."""


def parse(log: str, *, tail_lines: int = TAIL_LINES) -> EnvelopeSummary:
    """Read the end of an agent's log. Lines that are no JSON objects, or not of an envelope, are skipped (S3.7).

    Reading a log again, or a log whose tail was read twice, counts nothing twice: messages are told apart by their id (S4.32).
    """
    lines = [line for line in log.split("\n") if line.strip()][-tail_lines:]
    objects = [value for value in map(read_object, lines) if value is not None]
    read = codex.read if any(map(codex.is_own, objects)) else streamjson.read
    return read(objects)
