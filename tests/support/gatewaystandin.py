"""A stand-in for the gateway's call port: real state, real views and the real wait for a slot, but calls that a test speaks of instead of makes.

The operator polls it as it polls the gateway. It sees runs by its own watch, as the gateway does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

from aiohttp import web

from laneway.api.base import Model
from laneway.api.endpoint import WireAPI
from laneway.api.gatewaystate import CallFailure, LaneState, ModelState
from laneway.api.reasons import Cause, LaneReason
from laneway.api.runstatus import StepStatus
from laneway.gateway.calls.walk import Held, granted, step_of
from laneway.gateway.cluster.objects import Run
from laneway.gateway.cluster.views import Views
from laneway.gateway.ledger.ledger import CallEnd
from laneway.gateway.state.evidence import LaneModel
from laneway.gateway.state.state import State
from laneway.kube.client import Kube
from laneway.kube.errors import Gone, Unavailable
from laneway.kube.resources import AGENT_RUNS, JsonObject
from laneway.rules.token import AttemptId
from laneway.rules.usage import Usage


class GatewayStandIn:
    """Tells the operator of calls, and holds them."""

    def __init__(self) -> None:
        self.state = State(clock=_now)
        self.views = Views()

    def app(self) -> web.Application:
        """What the operator asks. Whether it may is shown elsewhere."""
        app = web.Application()
        app.router.add_get("/v1/state", self._show_state)
        app.router.add_post("/v1/attempts/{run_uid}/{attempt}/close", self._close)
        return app

    async def _show_state(self, request: web.Request) -> web.Response:
        query = request.query
        return _answer(self.state.since(epoch=query["epoch"], version=int(query["since"])))

    async def _close(self, request: web.Request) -> web.Response:
        attempt = AttemptId(request.match_info["run_uid"], int(request.match_info["attempt"]))
        self.state.close(attempt)
        return _answer(self.state.attempt_state(attempt))

    async def follow(self, kube: Kube, namespace: str) -> None:
        """See runs until cancelled."""
        while True:
            with suppress(Gone, Unavailable):
                listing = await kube.list(AGENT_RUNS, namespace=namespace)
                self.views.runs.on_list(listing.items)
                version = listing.resource_version
                async for event in kube.watch(AGENT_RUNS, namespace=namespace, resource_version=version):
                    self.views.runs.on_event(event.type, event.object)

    def serve_lane(self, lane: JsonObject) -> None:
        """A lane whose server answers."""
        meta = lane["metadata"]
        self.state.put_lane(
            LaneState(
                namespace=meta["namespace"],
                name=meta["name"],
                uid=meta["uid"],
                generation=meta["generation"],
                reachable=True,
                reason=LaneReason.BACKEND_REACHABLE,
                message="the server answers",
                models=tuple(ModelState(name=model["name"], served=True) for model in lane["spec"]["models"]),
                probed_time=_now(),
            )
        )

    def fail(self, uid: str, cause: Cause = Cause.RATE_LIMIT_MODEL) -> CallFailure:
        """A call of a run's attempt fails on the step that it is on."""
        attempt, step = self._at(uid)
        failure = CallFailure(sent_time=_now(), seen_time=_now(), cause=cause, status=429, message="slow down")
        end = CallEnd(**{**_PLAIN, "ended_ms": _milliseconds(), "status": 429, "cause": cause.value, "turn": False})
        self.state.settle(attempt, end, model=_named(step), sent=failure.sent_time, failure=failure)
        return failure

    def succeed(self, uid: str) -> None:
        """A call of a run's attempt is answered by the step that it is on."""
        attempt, step = self._at(uid)
        end = CallEnd(**{**_PLAIN, "ended_ms": _milliseconds()})
        self.state.settle(attempt, end, model=_named(step), sent=_now(), failure=None)

    async def hold(self, uid: str, failure: CallFailure, *, seconds: float) -> Run | None:
        """Hold the failed call until the run is on another lane; None: not in time."""
        attempt, step = self._at(uid)
        held = Held(attempt, step, failure.cause, WireAPI.CHAT_COMPLETIONS, failure.seen_time, seconds)
        return await granted(held, self.state, self.views)

    def _at(self, uid: str) -> tuple[AttemptId, StepStatus]:
        run = self.views.run(uid)
        assert run is not None, uid
        attempt = AttemptId(uid, run.attempt)
        step = step_of(run, self.state, attempt)
        assert step is not None, uid
        return attempt, step


_PLAIN = {
    "ended_ms": 0,
    "status": 200,
    "cause": None,
    "finish_reason": "stop",
    "turn": True,
    "metered": True,
    "usage": Usage(12, 7),
    "prices": None,
    "cost_micro_usd": None,
}


@asynccontextmanager
async def gateway_stand_in(kube: Kube, namespace: str, *, port: int) -> AsyncIterator[GatewayStandIn]:
    """A stand-in that the operator finds at this port of the loopback address."""
    standing = GatewayStandIn()
    runner = web.AppRunner(standing.app(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    following = asyncio.create_task(standing.follow(kube, namespace))
    try:
        yield standing
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following
        await runner.cleanup()


def _named(step: StepStatus) -> LaneModel:
    return LaneModel(step.namespace, step.lane, step.model)


def _answer(model: Model) -> web.Response:
    return web.json_response(text=model.model_dump_json(by_alias=True, exclude_none=True))


def _now() -> datetime:
    return datetime.now(UTC)


def _milliseconds() -> int:
    return int(_now().timestamp() * 1000)
