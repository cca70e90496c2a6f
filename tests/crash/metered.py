"""The scenario behind the gateway: two lanes of one slot and three runs. One is evicted once, one is cancelled, one waits its turn.

Each attempt makes one call. The scenario goes on when the run's status says what was used: so what a ledger that is gone takes with it is known.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from crash.scene import LANES, SECONDS, Scene, works
from integration.agents import add_lane, call, reachable_server
from integration.operators import Stage, is_finished
from laneway.kube.resources import SECRETS, JsonObject
from modelserver import ModelServer, Step
from modelserver.shapes import INPUT_TOKENS, OUTPUT_TOKENS

CALL_TOKENS = INPUT_TOKENS + OUTPUT_TOKENS
_PRICED = [{"name": "smollm2", "pricing": {"inputUSDPerMillion": "1", "outputUSDPerMillion": "10"}}]
_PROBED_ONCE = {"periodSeconds": 3600}
"""Each probe is news for its lane, and the scenario ends in silence."""
_WRITTEN_EVERY = 16
"""After so many seconds the usage of a running attempt is written again; the gateway may be away for longer, 60."""
_AGAIN_SECONDS = 0.1
_LOOK_SECONDS = 0.001
_WORKS_SECONDS = 0.2
"""The model server, for each answer."""


class Metered(Scene):
    """The scenario on one stage, with a gateway."""

    deleted_again = 1
    """An attempt is closed and its pod stopped in one pass; the next may come before the watch tells that the pod stops."""

    def __init__(self, stage: Stage, server: ModelServer) -> None:
        super().__init__(stage)
        self._server = server
        self._ahead = stage.own_clock()
        self.calling = asyncio.Lock()
        """Held while a call is made and until a run's status says what it used."""
        self.has_gateway = asyncio.Event()

    async def set_up(self) -> None:
        """Make the lanes, before any operator runs."""
        for lane in LANES:
            spec = {"models": _PRICED, "probe": _PROBED_ONCE, "capacity": {"runs": 1}}
            await add_lane(self._stage, self._server, name=lane, **spec)
        self._stage.listen()

    async def play(self) -> None:
        """From the first start of an operator to the end of all runs."""
        await self._stage.until(self._has_keys, answer=True, seconds=SECONDS)
        self._stage.start_gateway()
        self.has_gateway.set()
        await self._stage.until(self._lanes_are_ready, answer=True, seconds=SECONDS)
        self._part("cancelled")
        await self._add("cancelled", LANES[1])
        await self._call("cancelled", 1)
        evicted = self._part("evicted", exit_code=137, message="", reason="Evicted")
        await self._add("evicted", LANES[0])
        await self._call("evicted", 1)
        staying = self._part("evicted")
        evicted.released.set()
        await self._until("evicted", works(2))
        await self._call("evicted", 2)
        waiting = self._part("waiting")
        await self._add("waiting", LANES[1])
        await self._until("waiting", lambda run: run.get("status", {}).get("queue", {}).get("position") == 1)
        await self._stage.change("cancelled", {"cancel": True})
        await self._until("cancelled", is_finished)
        await self._call("waiting", 1)
        for name, part in (("evicted", staying), ("waiting", waiting)):
            part.released.set()
            await self._until(name, is_finished)

    async def _has_keys(self) -> bool:
        """The operator makes them; a gateway that finds none looks again only some seconds later."""
        return bool((await self._stage.kube.list(SECRETS, namespace=self._stage.namespace)).items)

    async def _add(self, name: str, lane: str, **spec: object) -> None:
        self.runs[name] = await self._stage.add_run(name, {"models": [{"lane": lane}], **spec})

    async def _call(self, name: str, attempt: int) -> None:
        """One call of an attempt that works, made again while the gateway is not there, until the run's status says what was used."""
        await self._until(name, works(attempt))
        pod = await self._stage.has_pod(self.runs[name], number=attempt)
        async with self.calling:
            async with asyncio.timeout(SECONDS):
                while not await self._answered(pod):
                    await asyncio.sleep(_AGAIN_SECONDS)
            tokens = attempt * CALL_TOKENS
            await self._until(name, lambda run: (run.get("status", {}).get("usage") or {}).get("totalTokens") == tokens)

    async def _answered(self, pod: JsonObject) -> bool:
        """Whether the call was answered. Time passes while it is under way: so its end is news even if its beginning was told."""
        came = len(self._server.requests)
        asked = asyncio.create_task(call(self._stage, pod))
        while not asked.done() and len(self._server.requests) == came:
            await asyncio.sleep(_LOOK_SECONDS)
        if not asked.done():
            self._ahead.move(_WRITTEN_EVERY)
        try:
            return (await asked)[0] == 200
        except (OSError, aiohttp.ClientError):
            return False


@asynccontextmanager
async def metered(stage: Stage) -> AsyncIterator[Metered]:
    """The scenario, with its model server."""
    async with reachable_server(
        steps=[Step(delay_seconds=_WORKS_SECONDS, repeat=None)], models={"smollm2": 8192}
    ) as server:
        yield Metered(stage, server)
