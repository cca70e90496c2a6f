"""One call of an agent: where it goes, how often it is tried, and what the agent gets at last."""

from __future__ import annotations

import asyncio
import math

from aiohttp import web

from laneway.api.endpoint import Server
from laneway.api.lanecalls import CallRetry, Jitter
from laneway.gateway import metrics
from laneway.gateway.doors import Doors, Passage
from laneway.gateway.exchange import Exchange, Failed, Operation, Tools
from laneway.gateway.hold import Hold
from laneway.gateway.refused import Refused
from laneway.gateway.reply import Reply
from laneway.gateway.target import Target, choose
from laneway.gateway.tokens import Caller
from laneway.gateway.views import LaneKey, Views
from laneway.gateway.wire.base import Prepared
from laneway.rules.retry import NO_RETRIES, RetryPolicy, wait_milliseconds
from laneway.rules.timeouts import effective

_MILLISECONDS = 1000
_FOREVER = math.inf


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
        hold = Hold(reply, kept_alive=self._is_kept_alive, every_seconds=tools.keep_alive_seconds)
        self._passage = Passage(doors, hold, caller.run, generates=operation.generates)
        self._gate = doors.gate
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
        """Tries with one model until one is answered, or the lane's rule says that it is enough."""
        target: Target | None = None
        failures, deadline = 0, _FOREVER
        while True:
            before, target = target, await self._passage.enter(self._aim)
            if before is None or _step(before) != _step(target):
                failures, deadline = 0, self._deadline(target)
            ended = await self._try(target, deadline)
            if not isinstance(ended, Failed):
                return ended
            failures += 1
            wait = wait_milliseconds(self._policy(target), ended.retry, failures=failures, pick=self._tools.pick)
            if wait is None or self._loop.time() + wait / _MILLISECONDS >= deadline:
                return ended
            metrics.RETRIES.labels(*metrics.labels_of(target), ended.failure.cause.value).inc()
            await self._tools.sleep(wait / _MILLISECONDS)

    async def _try(self, target: Target, deadline: float) -> web.StreamResponse | Failed:
        """One try. What a try may cost is known here before it begins, and what it cost when it has ended."""
        if self._prepared is None:
            raise RuntimeError("a try needs a request")
        self._tried = target
        left = deadline - self._loop.time()
        exchange = Exchange(
            tools=self._tools,
            operation=self._operation,
            reply=self._reply,
            caller=self._caller,
            target=target,
            prepared=self._prepared,
            watcher=self,
            seconds_left=None if deadline == _FOREVER else left,
        )
        try:
            return await exchange.run()
        finally:
            self._gate.heard(target.lane, exchange.failure)

    async def _give(self, failed: Failed) -> web.StreamResponse:
        """The last failure is what the agent gets."""
        if isinstance(failed.answer, Refused):
            return await self._reply.refuse(failed.answer)
        return await self._reply.give(failed.answer)

    def _aim(self) -> Target:
        """The lane and model of the run's step as they are now: edits apply to the next try. Raises Refused and jsontext.NotAnObject."""
        run = self._views.run(self._caller.attempt.run_uid) or self._caller.run
        target = choose(run, self._views, self._operation.wire.api)
        server = target.lane.spec.endpoint.server
        if self._prepared is None or self._prepared_for != (target.model, server):
            self._prepared = self._operation.wire.prepare(self._body, model=target.model, server=server)
            self._prepared_for = target.model, server
        return target

    def _is_kept_alive(self) -> bool:
        """Only a stream can be kept alive while it is held, and only where its API has something to say in it."""
        streamed = self._prepared is not None and self._prepared.streamed
        return streamed and self._operation.generates and bool(self._operation.wire.keep_alive)

    def _policy(self, target: Target) -> RetryPolicy:
        """Only calls that make a turn are tried again (S1.10)."""
        turns = self._operation.generates and self._operation.wire.turns
        return retry_policy(target.lane.spec.retry) if turns else NO_RETRIES

    def _deadline(self, target: Target) -> float:
        """When all tries with this model have to be over, by the loop's clock."""
        seconds = effective(target.lane.spec.endpoint.server, target.lane.spec.timeouts).call_seconds
        return _FOREVER if seconds is None else self._loop.time() + seconds

    # What an exchange tells

    def first_byte(self, *, streamed: bool) -> None:
        """The answer has begun."""
        if self._tried is not None:
            self._passage.begin(self._tried, streamed=streamed)

    def answered(self) -> None:
        """The call is over: it is counted, once."""
        if self._counted or self._tried is None or not self._operation.generates:
            return
        self._counted = True
        seconds = self._loop.time() - self._arrived
        metrics.count_call(self._tried, answered=self._reply.status, seconds=seconds)


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
