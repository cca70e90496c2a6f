"""One soak: clients that call, a gateway that is killed and started again, a model server likewise, and samples of every life."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import aiohttp

from bench.programs import Program
from laneway.api.gatewaystate import GatewayState
from soak import samples
from soak.clients import Agent, Notes, Shift, call_on
from soak.oracle import Rest
from soak.reading import rest_of
from soak.samples import Sample

_POLL_SECONDS = 0.1
_SAMPLE_SECONDS = 0.5
_QUIET_SECONDS = 30.0
"""After the last call the gateway has so long to have nothing open."""


@dataclass(frozen=True)
class Gateway:
    """One life of the gateway, ready for calls."""

    program: Program
    calls: str
    operator: str
    metrics: str
    """Address of the page."""
    ledger: Path


@dataclass(frozen=True)
class Parts:
    """How both programs are started: with the number of the life. They answer when they are ready."""

    gateway: Callable[[int], Awaitable[Gateway]]
    server: Callable[[int], Awaitable[Program]]
    counts: str
    """Where the server tells its faults."""
    secret: str
    """The operator's."""


@dataclass(frozen=True)
class Size:
    """How much, and how long at most."""

    calls: int
    seconds: float
    clients: int
    kills: int
    """Of the gateway; the model server is killed as often, between them."""
    seed: int


@dataclass
class Outcome:
    """What came of it. Clients' times and kills are the monotonic clock's."""

    notes: Notes
    kills: list[float] = field(default_factory=list)
    lives: list[list[Sample]] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    """As the server told before it was killed: at least so many."""
    state: GatewayState | None = None
    rest: Rest | None = None


class Soak:
    """One soak. ``run`` is called once."""

    def __init__(self, parts: Parts, size: Size, agents: Sequence[Agent]) -> None:
        self._parts = parts
        self._size = size
        self._agents = agents
        self._shift = Shift(asyncio.Event(), time.monotonic() + size.seconds)
        self.outcome = Outcome(Notes(size.calls))
        self._gateway: Gateway | None = None
        self._server: Program | None = None
        self._changing = asyncio.Lock()
        """Held from a kill until its successor is up."""
        self._session: aiohttp.ClientSession

    async def run(self) -> Gateway:
        """Call and kill until all calls are made or the time is up; the gateway that is left has ended, its ledger is there."""
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as self._session:
            try:
                await self._start_server(0)
                await self._start_gateway(0)
                async with asyncio.TaskGroup() as group:
                    clients = [group.create_task(self._client(number)) for number in range(self._size.clients)]
                    sampler = group.create_task(self._sample())
                    breaker = group.create_task(self._break())
                    await asyncio.wait(clients)
                    async with self._changing:
                        breaker.cancel()
                    sampler.cancel()
                await self._come_to_rest()
                await self._count_faults()
                return self._here
            finally:
                for program in (self._gateway and self._gateway.program, self._server):
                    if program is not None:
                        program.stop()

    @property
    def _here(self) -> Gateway:
        if self._gateway is None:
            raise RuntimeError("the gateway was not started")
        return self._gateway

    async def _client(self, number: int) -> None:
        agent = self._agents[number % len(self._agents)]
        chance = Random(f"{self._size.seed}/client/{number}")
        notes, shift = self.outcome.notes, self._shift
        await call_on(self._session, lambda: self._here.calls, agent, notes=notes, shift=shift, chance=chance)

    async def _break(self) -> None:
        """Kill the one and the other in turn, at even distances in calls."""
        step = self._size.calls / (2 * self._size.kills + 1)
        for turn in range(1, 2 * self._size.kills + 1):
            while self.outcome.notes.begun < turn * step:
                await asyncio.sleep(_POLL_SECONDS)
            async with self._changing:
                await (self._break_server if turn % 2 else self._break_gateway)((turn + 1) // 2)

    async def _break_server(self, life: int) -> None:
        await self._count_faults()
        if self._server is not None:
            self._server.kill()
        await self._start_server(life)

    async def _break_gateway(self, life: int) -> None:
        """Killed in one step of the loop: no client begins a call between the kill and its time."""
        self._shift.up.clear()
        self._here.program.kill()
        self.outcome.kills.append(time.monotonic())
        await self._start_gateway(life)

    async def _start_gateway(self, life: int) -> None:
        self._gateway = await self._parts.gateway(life)
        self.outcome.lives.append([])
        self._shift.up.set()

    async def _start_server(self, life: int) -> None:
        self._server = await self._parts.server(life)

    async def _sample(self) -> None:
        """Look at the life that is on, as long as it is."""
        while True:
            if self._shift.up.is_set():
                self.outcome.lives[-1].append(samples.look(self._here.program.pid))
            await asyncio.sleep(_SAMPLE_SECONDS)

    async def _count_faults(self) -> None:
        """What the server tells is gone with it."""
        async with self._session.get(self._parts.counts) as answer:
            self.outcome.faults.update(await answer.json())

    async def _come_to_rest(self) -> None:
        """Read state and metrics until nothing is open, or the time is up: then what is left is what the oracle gets."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_QUIET_SECONDS):
                while self.outcome.rest is None or self.outcome.rest != Rest(0, 0, 0, 0, 0):
                    await self._read()
                    await asyncio.sleep(_POLL_SECONDS)

    async def _read(self) -> None:
        secret = {"Authorization": f"Bearer {self._parts.secret}"}
        async with self._session.get(
            f"{self._here.operator}/v1/state", params={"since": "0"}, headers=secret
        ) as answer:
            answer.raise_for_status()
            state = GatewayState.model_validate_json(await answer.text())
        async with self._session.get(self._here.metrics) as answer:
            answer.raise_for_status()
            self.outcome.state, self.outcome.rest = state, rest_of(state, await answer.text())
