"""The clients: each makes one call after the other, whole answers and streams in turn, leaves some in the middle, and notes what it saw."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from random import Random

import aiohttp

from soak.faults import BY_SERVER
from soak.sights import CallId, End, Sight

_LEAVING = 0.02
"""Of all calls: the client has only so long a patience with them."""
_LONGEST_PATIENCE_SECONDS = 0.1
_PAUSE_SECONDS = 0.25
"""A gateway that is gone, or whose server is, is not asked again at once: else the calls are used up while nobody can answer any."""
_PAUSED = frozenset({End.CUT, End.REFUSED_BY_GATEWAY})
_CALL_SECONDS = 60.0


@dataclass
class Notes:
    """What all clients saw."""

    calls: int
    """How many to make."""
    sights: list[Sight] = field(default_factory=list)
    begun: int = 0

    def take(self) -> bool:
        """Whether one more call is to be made."""
        if self.begun >= self.calls:
            return False
        self.begun += 1
        return True

    @property
    def answered(self) -> int:
        """Whole answers."""
        return sum(one.end is End.ANSWERED for one in self.sights)


@dataclass(frozen=True)
class Agent:
    """One run: its calls are numbered on their own, so that numbers stay small."""

    run_uid: str
    model: str
    headers: Mapping[str, str]
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))


@dataclass
class Shift:
    """When clients call."""

    up: asyncio.Event
    """Set while there is a gateway; nobody begins a call without one."""
    until: float = math.inf
    """By the monotonic clock."""

    @property
    def over(self) -> bool:
        """The time is up."""
        return time.monotonic() >= self.until


async def call_on(
    session: aiohttp.ClientSession,
    place: Callable[[], str],
    agent: Agent,
    *,
    notes: Notes,
    shift: Shift,
    chance: Random,
) -> None:
    """One call after the other, until all are made or the time is up. ``place``: where the gateway is now."""
    while not shift.over and notes.take():
        await shift.up.wait()
        call, begun = CallId(agent.run_uid, next(agent.numbers)), time.monotonic()
        leaves = chance.random() < _LEAVING
        patience = chance.random() * _LONGEST_PATIENCE_SECONDS if leaves else _CALL_SECONDS
        refusal = ""
        try:
            async with asyncio.timeout(patience):
                end, refusal = await _call(session, place(), agent, call.number, stream=chance.random() < 0.5)
        except TimeoutError:
            end = End.LEFT if leaves else End.HUNG
        notes.sights.append(Sight(call, begun, time.monotonic(), end, refusal))
        if end in _PAUSED:
            await asyncio.sleep(_PAUSE_SECONDS)


async def _call(
    session: aiohttp.ClientSession, url: str, agent: Agent, number: int, *, stream: bool
) -> tuple[End, str]:
    """How it ended, and the gateway's refusal. Raises ValueError for an answer that is another call's, or no JSON."""
    body: dict[str, object] = {
        "model": agent.model,
        "messages": [{"role": "user", "content": f"{number} {'word ' * 40}"}],
        "max_tokens": 100,
        "stream": stream,
    }
    if stream:
        body["stream_options"] = {"include_usage": True}
    try:
        async with session.post(f"{url}/v1/chat/completions", json=body, headers=agent.headers) as answer:
            text = await answer.text()
            if answer.status >= 400:
                return refuser(answer.status, text)
    except aiohttp.ClientError:
        return End.CUT, ""
    told = _told_in_stream(text) if stream else json.loads(text)["usage"]["prompt_tokens"]
    if told is None:
        return End.CUT, ""
    if told != number:
        raise ValueError(f"call {number} of {agent.run_uid} was answered with the answer of {told}")
    return End.ANSWERED, ""


def refuser(status: int, text: str) -> tuple[End, str]:
    """Whose words these are, and what the gateway's own say. The gateway has no 500 of its own: one is an accident."""
    try:
        error = json.loads(text)["error"]
        by, kind = error.get("by"), error.get("type")
    except (ValueError, KeyError, TypeError, AttributeError):
        by, kind = None, None
    if by == BY_SERVER:
        return End.REFUSED_BY_SERVER, ""
    if kind is None or status == HTTPStatus.INTERNAL_SERVER_ERROR:
        return End.BROKEN, ""
    return End.REFUSED_BY_GATEWAY, f"{status} {kind}"


def _told_in_stream(text: str) -> int | None:
    """The number in a stream's usage; None when it broke off, or ends in an error."""
    frames = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    if not frames or frames[-1] != "[DONE]":
        return None
    for frame in reversed(frames[:-1]):
        usage = json.loads(frame).get("usage")
        if usage:
            return int(usage["prompt_tokens"])
    return None
