"""One call of an agent: where it goes, how often it is tried, and what the agent gets at last."""

from __future__ import annotations

import asyncio
import math

from aiohttp import web

from laneway.api.endpoint import Server
from laneway.api.gatewaystate import CallFailure
from laneway.api.lanecalls import CallRetry, Jitter
from laneway.api.reasons import Cause
from laneway.api.runstatus import StepStatus
from laneway.gateway import metrics
from laneway.gateway.calls.doors import Doors, Passage
from laneway.gateway.calls.exchange import Exchange, Failed
from laneway.gateway.calls.tools import Operation, Tools
from laneway.gateway.calls.walk import Walker
from laneway.gateway.client.hold import Hold
from laneway.gateway.client.reply import Reply
from laneway.gateway.cluster.objects import LaneKey, Run
from laneway.gateway.cluster.target import LaneGone, StepRefused, Target, choose
from laneway.gateway.cluster.tokens import Caller
from laneway.gateway.cluster.views import Views
from laneway.gateway.money.books import Reservation
from laneway.gateway.money.worstcase import bounded, demand_of
from laneway.gateway.state.failure import refusal_failure
from laneway.gateway.wire.base import Prepared
from laneway.gateway.wire.refused import Refused
from laneway.rules.retry import NO_RETRIES, RetryPolicy, wait_milliseconds

_MILLISECONDS = 1000
_FOREVER = math.inf
_LAST_LOOK_SECONDS = 1.0
"""A call whose time for a slot is up looks once more whether it has got one."""


class Call:
    """One call. ``run`` is called once."""

    def __init__(
        self,
        *,
        tools: Tools,
        views: Views,
        doors: Doors,
        operation: Operation,
        reply: Reply,
        caller: Caller,
        body: bytes,
    ) -> None:
        self._tools = tools
        self._views = views
        self._operation = operation
        self._reply = reply
        self._caller = caller
        self._body = body
        self._loop = asyncio.get_running_loop()
        self._arrived = self._loop.time()
        self._hold = Hold(reply, kept_alive=self._is_kept_alive, every_seconds=tools.keep_alive_seconds)
        self._passage = Passage(doors, self._hold, caller.run, self._go_on, generates=operation.generates)
        self._gate = doors.gate
        self._walker = Walker(
            state=tools.state, views=views, attempt=caller.attempt, api=operation.wire.api, cools=self._cools
        )
        self._aimed: tuple[Run, Target] | None = None
        self._tried: Target | None = None
        """The target of the last try."""
        self._prepared: Prepared | None = None
        self._prepared_for: tuple[str, Server] | None = None
        self._counted = False

    async def run(self) -> web.StreamResponse:
        """Carry the call. Raises Refused when it cannot be tried, jsontext.NotAnObject and LedgerError."""
        try:
            ended = await self._tries()
            return ended if isinstance(ended, web.StreamResponse) else await self._give(ended)
        except ConnectionResetError:
            if self._reply.response is None:
                raise
            return self._reply.response  # the client has left
        finally:
            self._passage.leave()
            self.answered()

    async def _tries(self) -> web.StreamResponse | Failed:
        """Tries with one model until one is answered or the lane's rule says that it is enough; then with that of the next step that is open."""
        target: Target | None = None
        failures, deadline = 0, _FOREVER
        while True:
            before, (target, reservation) = target, await self._ready()
            if before is None or _step(before) != _step(target):
                failures, deadline = 0, self._deadline(target)
            ended = await self._try(target, reservation, deadline)
            if not isinstance(ended, Failed):
                return ended
            failures += 1
            wait = wait_milliseconds(self._policy(target), ended.retry, failures=failures, pick=self._tools.pick)
            if wait is None or self._loop.time() + wait / _MILLISECONDS >= deadline:
                if not await self._go_on(target, ended.failure):
                    return ended
                continue
            metrics.RETRIES.labels(*metrics.labels_of(target), ended.failure.cause.value).inc()
            await self._tools.sleep(wait / _MILLISECONDS)

    async def _ready(self) -> tuple[Target, Reservation | None]:
        """A target with the money for a try and a place; for a lane that is gone, or a step that cannot take the call, another is looked for. Raises Refused."""
        while True:
            try:
                return await self._enter()
            except StepRefused as refused:
                if self._prepared is None:  # it tells whether the client can be kept waiting
                    model = self._run().model or ""
                    self._prepared = self._operation.wire.prepare(self._body, model=model, server=Server.OTHER)
                await self._leave_step(refused)

    async def _leave_step(self, refused: StepRefused) -> None:
        """Return when there may be another step, or the lane that was gone. Raises what it was given when there is none."""
        run, failure = self._run(), refusal_failure(refused, self._tools.clock())
        failed = self._walker.step(run)
        if failure is None or failed is None:
            raise refused
        if isinstance(refused, LaneGone):
            await self._passage.wait_for_lane(refused, lambda seconds: self._ask_elsewhere(failed, failure, seconds))
        elif not self._operation.makes_a_turn:
            raise refused
        elif not await self._walk(failed, failure):
            raise self._walker.with_chain(refused, run, failed)

    async def _ask_elsewhere(self, failed: StepStatus, failure: CallFailure, seconds: float) -> None:
        if self._operation.makes_a_turn:
            await self._walker.go_on(failed, failure, hold_seconds=seconds)

    async def _enter(self) -> tuple[Target, Reservation | None]:
        """Money comes first: who waits in line has it set aside (design section 7). Raises StepRefused and Refused."""
        while True:
            target = self._aim()
            try:
                reservation = await self._reserve(target)
            except Refused as refused:
                failure = refusal_failure(refused, self._tools.clock())
                if failure is None or not await self._go_on(target, failure):
                    raise
                continue
            entered: Target | None = None
            try:
                entered = await self._passage.enter(self._aim)
            finally:
                if reservation is not None and (entered is None or not _costs_the_same(entered, target)):
                    self._tools.purse.release(reservation)
            if _costs_the_same(entered, target):
                return entered, reservation

    async def _reserve(self, target: Target) -> Reservation | None:
        """What the try may cost at most; None: it costs nothing. Raises Refused."""
        if not self._operation.generates:
            return None
        caller = Caller(self._caller.attempt, self._run())
        seconds = self._hold.left(target.lane.timeouts.hold_seconds)
        demand = demand_of(
            caller, target=target, prepared=self._request(), wire=self._operation.wire, hold_seconds=seconds
        )
        return await self._tools.purse.reserve(demand, lambda done: self._hold.wait(done, math.inf))

    async def _try(
        self, target: Target, reservation: Reservation | None, deadline: float
    ) -> web.StreamResponse | Failed:
        """One try, bounded by what was set aside for it."""
        self._tried = target
        prepared = self._request()
        if reservation is not None:
            prepared = bounded(prepared, reservation, target=target, wire=self._operation.wire)
        left = deadline - self._loop.time()
        exchange = Exchange(
            tools=self._tools,
            operation=self._operation,
            reply=self._reply,
            caller=self._caller,
            target=target,
            prepared=prepared,
            watcher=self,
            reservation=reservation,
            seconds_left=None if deadline == _FOREVER else left,
        )
        try:
            return await exchange.run()
        finally:
            self._gate.heard(target.lane, exchange.failure)
            if reservation is not None:
                self._tools.purse.release(reservation)

    async def _go_on(self, target: Target, failure: CallFailure) -> bool:
        """Whether the call goes to another step of its run's chain."""
        if not self._operation.makes_a_turn:
            return False
        lane = target.lane
        return await self._walk(StepStatus(namespace=lane.namespace, lane=lane.name, model=target.model), failure)

    async def _walk(self, failed: StepStatus, failure: CallFailure) -> bool:
        """Whether there is another step. The call holds no place while it waits for a slot of another lane."""
        self._passage.leave()
        lane = self._views.lanes.get((failed.namespace, failed.lane))
        if lane is None:
            return False
        seconds = self._hold.left(lane.timeouts.hold_seconds)
        going = asyncio.ensure_future(self._walker.go_on(failed, failure, hold_seconds=seconds))
        try:
            await self._hold.wait(going, seconds + _LAST_LOOK_SECONDS)
            return going.done() and going.result()
        finally:
            going.cancel()

    def _cools(self, lane: LaneKey, model: str) -> Cause | None:
        """Why a model of another step rests."""
        known = self._views.lanes.get(lane)
        return None if known is None else self._gate.rests(known, model, skips=self._caller.run.skips)

    async def _give(self, failed: Failed) -> web.StreamResponse:
        """The last failure is what the agent gets, and however slowly it takes it, nobody waits for that."""
        self._passage.leave()
        if isinstance(failed.answer, Refused):
            return await self._reply.refuse(failed.answer)
        return await self._reply.give(failed.answer)

    def _aim(self) -> Target:
        """The lane and model of the run's step as they are now: edits apply to the next try. Raises StepRefused, Refused and jsontext.NotAnObject."""
        run = self._walker.on_its_step(self._run())
        if self._aimed is not None and self._aimed[0] is run:
            known = self._aimed[1]
            if self._views.lanes.get(known.lane.key) is known.lane:
                return known
        target = choose(run, self._views, self._operation.wire.api)
        self._aimed = run, target
        server = target.lane.spec.endpoint.server
        if self._prepared is None or self._prepared_for != (target.model, server):
            self._prepared = self._operation.wire.prepare(self._body, model=target.model, server=server)
            self._prepared_for = target.model, server
        return target

    def _run(self) -> Run:
        """As the view has it now."""
        return self._views.run(self._caller.attempt.run_uid) or self._caller.run

    def _request(self) -> Prepared:
        """As it goes to the target that was aimed at last."""
        if self._prepared is None:
            raise RuntimeError("no target was aimed at")
        return self._prepared

    def _is_kept_alive(self) -> bool:
        """Only a stream can be kept alive while it is held, and only where its API has something to say in it."""
        streamed = self._prepared is not None and self._prepared.streamed
        return streamed and self._operation.generates and bool(self._operation.wire.keep_alive)

    def _policy(self, target: Target) -> RetryPolicy:
        """Only calls that make a turn are tried again (S1.10)."""
        return retry_policy(target.lane.spec.retry) if self._operation.makes_a_turn else NO_RETRIES

    def _deadline(self, target: Target) -> float:
        """When all tries with this model have to be over, by the loop's clock."""
        seconds = target.lane.timeouts.call_seconds
        return _FOREVER if seconds is None else self._loop.time() + seconds

    # What an exchange tells

    def first_byte(self, *, streamed: bool) -> None:
        """The answer has begun: nothing is tried again, and the request is not needed any more."""
        self._body = b""
        self._prepared = self._aimed = None
        if self._tried is not None:
            self._passage.begin(self._tried, streamed=streamed)

    def answered(self) -> None:
        """The call is over: it is counted, once."""
        if self._counted or self._tried is None or not self._operation.generates:
            return
        self._counted = True
        seconds = self._loop.time() - self._arrived
        metrics.count_call(self._tried, answered=self._reply.status, seconds=seconds)


def _costs_the_same(one: Target, other: Target) -> bool:
    """Whether what was reserved for one holds for the other."""
    return _step(one) == _step(other) and one.prices == other.prices


def _step(target: Target) -> tuple[LaneKey, str]:
    return target.lane.key, target.model


def retry_policy(retry: CallRetry) -> RetryPolicy:
    """A lane's settings of retries."""
    return RetryPolicy(
        max_retries=retry.max_retries,
        initial_backoff_milliseconds=retry.initial_backoff_milliseconds,
        max_backoff_seconds=retry.max_backoff_seconds,
        jitter=retry.jitter is Jitter.HALF_TO_FULL,
        rate_limits=retry.rate_limits,
        timeouts=retry.timeouts,
    )
