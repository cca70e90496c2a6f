"""The end of an agent's log, read when its pod has ended. What cannot be read was not said: a lost log fails no run (S4.21)."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from laneway.agent.envelope import TAIL_LINES, EnvelopeSummary, parse
from laneway.api import names
from laneway.controller.facts.pods import PodFacts
from laneway.controller.facts.presets import LogParser
from laneway.controller.logs.tail import LOOKED_AT
from laneway.kube.client import Kube
from laneway.kube.errors import Forbidden, Invalid, NotFound, Unavailable

log = logging.getLogger(__name__)

_READ_SECONDS = 10
_BYTES = 1_048_576
_LONG_TAIL_LINES, _LONG_TAIL_BYTES = 400, 8_388_608
"""Runtimes keep a line in pieces of 16 KiB, and each piece counts as a line of the tail: 400 of them reach 6 MiB back."""
_LONG = 524_288
"""A tail that is longer than this and has no end has lines so long that its end, or the beginning of it, may be cut off."""


@dataclass(frozen=True)
class AgentLog:
    """What was read. None: nothing was, or the preset names no parser."""

    envelope: EnvelopeSummary | None = None
    blank: bool | None = None
    """Whether nothing but white space was there."""
    end: str | None = None
    """The last characters, as they stand there."""


async def read_end(kube: Kube, pod: PodFacts, parser: LogParser) -> AgentLog:
    """Read the end of the agent's log; at most twice, 9 MiB and 10 s in all."""
    try:
        async with asyncio.timeout(_READ_SECONDS):
            text = await _tail(kube, pod, lines=TAIL_LINES, limit_bytes=_BYTES)
            if parser is LogParser.NONE:
                return AgentLog(blank=not text.strip(), end=text[-LOOKED_AT:])
            envelope = parse(text)
            if not envelope.finished and len(text) > _LONG:
                text = await _tail(kube, pod, lines=_LONG_TAIL_LINES, limit_bytes=_LONG_TAIL_BYTES)
                envelope = parse(text)
    except (NotFound, Invalid, Forbidden, Unavailable, TimeoutError) as error:
        # A node that is away answers with 500 for good; the end of a run must not hang on its log.
        log.warning("the agent's log was not read", extra={"pod": pod.name, "why": repr(error)})
        return AgentLog()
    return AgentLog(envelope, blank=not text.strip(), end=text[-LOOKED_AT:])


async def _tail(kube: Kube, pod: PodFacts, *, lines: int, limit_bytes: int) -> str:
    return await kube.read_log(
        pod.namespace, pod.name, container=names.AGENT_CONTAINER, tail_lines=lines, limit_bytes=limit_bytes
    )
