"""Reads the log of an agent that runs, where a watchdog wants to know more. What cannot be read was not said (S4.21)."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from datetime import datetime

from laneway.agent.envelope import TAIL_LINES, EnvelopeSummary, parse
from laneway.api import names
from laneway.api.reasons import StopReason
from laneway.controller.facts.pods import PodFacts
from laneway.controller.facts.views import LiveLog, RunView
from laneway.controller.outside.agentlog import read_end
from laneway.controller.running import watchdogs
from laneway.kube.client import Kube
from laneway.kube.errors import Forbidden, Invalid, NotFound, Unavailable

log = logging.getLogger(__name__)

_READ_SECONDS = 5
_TAIL_BYTES = 1_048_576
_STAMP_BYTES = 64
"""Enough for the time at the beginning of a line."""


async def looked(kube: Kube, view: RunView, now: datetime) -> RunView:
    """The view with what the log tells, if anybody wants to know."""
    pod, preset = view.pod, view.preset
    if pod is None or preset is None:
        return view
    if _lingers(view) and view.envelope is None:
        said = await read_end(kube, pod, preset.log_parser)
        return replace(view, envelope=said.envelope)
    if not watchdogs.wants_log(view, now):
        return view
    return replace(view, live_log=await _read(kube, pod, for_result=watchdogs.wants_result(view)))


def told(text: str) -> LiveLog:
    """What lines with times tell: when the last was written, and when a result was, if that is how the log ends."""
    lines = [line.partition(" ") for line in text.split("\n") if line.strip()]
    stamped = [(stamp, words) for first, _, words in lines if (stamp := _time(first)) is not None]
    if not stamped:
        return LiveLog()
    last = stamped[-1][0]
    summary = parse("\n".join(words for _, words in stamped))
    if not summary.finished:
        return LiveLog(last)
    said = next((stamp for stamp, words in reversed(stamped) if _is_result(words)), None)
    return LiveLog(last, said, succeeded=summary.is_error is False)


async def _read(kube: Kube, pod: PodFacts, *, for_result: bool) -> LiveLog | None:
    lines, limit = (TAIL_LINES, _TAIL_BYTES) if for_result else (1, _STAMP_BYTES)
    try:
        async with asyncio.timeout(_READ_SECONDS):
            text = await kube.read_log(
                pod.namespace,
                pod.name,
                container=names.AGENT_CONTAINER,
                tail_lines=lines,
                limit_bytes=limit,
                timestamps=True,
            )
    except (NotFound, Invalid, Forbidden, Unavailable, TimeoutError) as error:
        log.warning("the log of a running agent was not read", extra={"pod": pod.name, "why": repr(error)})
        return None
    return told(text)


def _lingers(view: RunView) -> bool:
    """Whether it is stopped after its result: what it said is the run's result, whatever its exit code will be."""
    attempt = view.run.current
    stopped = attempt.stopped if attempt is not None else None
    return stopped is not None and stopped.reason is StopReason.LINGERED


def _is_result(line: str) -> bool:
    summary: EnvelopeSummary = parse(line)
    return summary.finished


def _time(word: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(word)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None
