"""One call with a model server: sent with the lane's key, relayed as it comes, read on the side, settled whatever happens."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime

from aiohttp import web

from laneway.api.gatewaystate import CallFailure
from laneway.api.reasons import Cause
from laneway.gateway import headers, metrics
from laneway.gateway.bodies import let_go
from laneway.gateway.clientside import ANSWER_SECONDS, deliver, give
from laneway.gateway.credentials import CredentialMissing, Credentials, lane_headers
from laneway.gateway.evidence import LaneModel
from laneway.gateway.ledger import CallEnd, CallStart, Ledger, LedgerError
from laneway.gateway.refused import Refused
from laneway.gateway.state import MESSAGE_LIMIT, Clock, State
from laneway.gateway.target import Target
from laneway.gateway.tokens import Caller
from laneway.gateway.upstream import BrokenOff, Incoming, Outgoing, TooLate, Upstream, UpstreamError, time_limit
from laneway.gateway.views import Lane
from laneway.gateway.wire.base import Kind, Prepared, Reader, Reading, Wire, read_error
from laneway.rules.classify import Signals, Verdict, judge
from laneway.rules.endpoint import answer_seconds, request_seconds
from laneway.rules.pricing import cost_micro_usd

_ERROR_LIMIT = 1024 * 1024
_ERROR_SECONDS = 10.0
_FIRST_REDIRECT, _FIRST_ERROR = 300, 400
_UNAUTHORIZED = 401
_CLIENT_LEFT = 499
BEGUN = web.RequestKey("laneway-begun", bool)
"""Key of a request whose answer has begun to go out."""
_STREAM_TYPES = ("text/event-stream", "application/x-ndjson")


@dataclass(frozen=True, slots=True)
class Operation:
    """One path of a wire API, the same for the client and for the server."""

    path: str
    wire: Wire
    generates: bool = True
    """False: it makes no tokens, so it is neither metered nor a row of the ledger."""


@dataclass(frozen=True)
class Tools:
    """What every exchange works with."""

    upstream: Upstream
    credentials: Credentials
    ledger: Ledger
    state: State
    clock: Clock
    key_changed: Callable[[Lane], None] = lambda lane: None
    """Told when a lane's key turned out to be another than before."""


class Exchange:
    """One call. ``run`` is called once."""

    def __init__(
        self,
        *,
        tools: Tools,
        operation: Operation,
        request: web.Request,
        caller: Caller,
        target: Target,
        prepared: Prepared,
    ) -> None:
        self._tools = tools
        self._operation = operation
        self._request = request
        self._caller = caller
        self._target = target
        self._prepared = prepared
        self._started = tools.clock()
        self._start = _call_start(operation, caller, target, self._started)
        self._key: str | None = None
        self._incoming: Incoming | None = None
        self._reader: Reader | None = None
        self._status: int | None = None
        self._answered = _CLIENT_LEFT
        self._complete = False
        self._server_worked = False
        self._failure: CallFailure | None = None
        self._response: web.StreamResponse | None = None
        self._settled = False

    async def run(self) -> web.StreamResponse:
        """Carry the call. Raises Refused when the server could not be had before the first byte went to the client."""
        self._key = await self._read_key()
        try:
            await self._begin()
            return await self._carry()
        except UpstreamError as error:
            self._fail(Verdict(error.cause), str(error))
            self._server_worked = error.sent
            if self._response is not None:
                self._break_off()
                return self._response
            late = isinstance(error, TooLate)
            self._answered = 504 if late else 502
            raise Refused(
                Kind.TIMEOUT if late else Kind.UPSTREAM, f"the model server did not answer: {error}"
            ) from error
        except ConnectionResetError:
            if self._response is None:
                raise
            return self._response  # the client has left
        finally:
            if self._incoming is not None:
                self._incoming.close()
            self._settle()

    async def _begin(self) -> None:
        """The row is on the disk before a byte goes upstream; a client that leaves meanwhile leaves a row that is settled."""
        if not self._operation.generates:
            return
        try:
            await self._tools.ledger.begin(self._start)
        except LedgerError:
            self._settled = True
            raise

    async def _carry(self) -> web.StreamResponse:
        lane = self._target.lane.spec
        whole: AbstractAsyncContextManager[None] = nullcontext()
        seconds = self._request_seconds()
        if not self._prepared.streamed:
            seconds = answer_seconds(lane.endpoint.server, lane.timeouts)
            whole = time_limit(seconds, "the answer")
        async with whole:
            async with time_limit(seconds, "the first byte"):
                incoming = await self._send()
                if incoming.status == _UNAUTHORIZED and self._key is not None:
                    incoming = await self._send_with_new_key(incoming)
                first = await incoming.read_some() if incoming.status < _FIRST_REDIRECT else b""
            if incoming.status >= _FIRST_REDIRECT:
                return await self._pass_on_error(incoming)
            return await self._relay(incoming, first)

    def _request_seconds(self) -> int:
        lane = self._target.lane.spec
        return request_seconds(lane.endpoint.server, lane.timeouts)

    async def _send(self) -> Incoming:
        """The answer's head."""
        query = headers.without_key(self._request.rel_url.raw_query_string)
        outgoing = Outgoing(
            method="POST",
            url=self._target.url(self._operation.path, query),
            headers=headers.to_server(self._request.headers, lane_headers(self._target.lane, self._key)),
            body=self._prepared.body,
        )
        self._server_worked, self._status = True, None
        self._incoming = await self._tools.upstream.send(outgoing)
        self._status = self._incoming.status
        return self._incoming

    async def _send_with_new_key(self, refused: Incoming) -> Incoming:
        """Once more, if the Secret holds another key than the one that the server refused; else the refusal stands."""
        old, self._key = self._key, await self._read_key(again=True)
        if old == self._key:
            return refused
        refused.close()
        self._tools.key_changed(self._target.lane)
        return await self._send()

    async def _read_key(self, *, again: bool = False) -> str | None:
        credentials = self._tools.credentials
        read = credentials.read_again if again else credentials.key_of
        try:
            return await read(self._target.lane)
        except CredentialMissing as error:
            raise Refused(Kind.UNAVAILABLE, f"the lane has no key: {error}", cause=Cause.AUTH_FAILED) from error

    async def _pass_on_error(self, incoming: Incoming) -> web.StreamResponse:
        """A refusal of the server, without the lane's key if the server repeats it. Its status stands even if its words break off."""
        if incoming.status < _FIRST_ERROR:
            raise BrokenOff(f"the server answers with a redirect ({incoming.status})")
        try:
            async with time_limit(min(_ERROR_SECONDS, self._request_seconds()), "the error"):
                body = await incoming.read_all(_ERROR_LIMIT)
        except (BrokenOff, TooLate):
            body = b""
        if self._key is not None:
            body = body.replace(self._key.encode(), b"[key]")
        error = read_error(body)
        signals = Signals(status=incoming.status, error=error, headers=incoming.headers)
        verdict = judge(signals, now=self._tools.clock())
        self._fail(verdict, error.message or f"the server answers {incoming.status}")
        self._complete = True
        self._answered = incoming.status
        passed = headers.to_client(incoming.headers, same_length=False, key=self._key)
        response = web.Response(status=incoming.status, body=body, headers=passed)
        await deliver(self._request, response)
        return response

    async def _relay(self, incoming: Incoming, data: bytes) -> web.StreamResponse:
        """Bytes as they come, what the reader leaves out excepted."""
        streamed = _is_stream(incoming, self._prepared)
        wire = self._operation.wire
        reader = self._reader = wire.stream_reader(self._prepared) if streamed else wire.whole_reader()
        same_length = not incoming.decoded and not self._prepared.asked_usage
        self._answered = incoming.status
        response = web.StreamResponse(
            status=incoming.status, headers=headers.to_client(incoming.headers, same_length=same_length, key=self._key)
        )
        self._response = response
        self._request[BEGUN] = True
        let_go(self._request)
        self._prepared = replace(self._prepared, body=b"")
        await response.prepare(self._request)
        idle = self._target.lane.spec.timeouts.stream_idle_seconds
        patience = (
            idle if streamed else min(idle, ANSWER_SECONDS)
        )  # less than a whole answer may take: no blame for the model
        while data:
            self._tools.state.saw_activity(self._caller.attempt)
            if kept := reader.feed(data):
                await give(self._request, response, kept, seconds=patience)
            async with time_limit(idle, "the next part of the stream"):
                data = await incoming.read_some()
        self._complete = not streamed
        if rest := reader.close():
            await give(self._request, response, rest, seconds=patience)
        reading = reader.reading
        if not (self._complete or reading.ended or reading.error) and self._operation.generates:
            raise BrokenOff("the stream ended before its last event")
        self._complete = True
        self._settle()
        await deliver(self._request, response, seconds=patience)
        return response

    def _fail(self, verdict: Verdict, message: str) -> None:
        """The call has failed, now."""
        self._failure = call_failure(
            verdict if verdict.status else replace(verdict, status=self._status),
            message if self._key is None else message.replace(self._key, "[key]"),
            sent=self._started,
            seen=self._tools.clock(),
            cut=self._response is not None,
        )

    def _break_off(self) -> None:
        """The client sees a broken answer, not one that only looks complete."""
        transport = self._request.transport
        if transport is not None:
            transport.abort()

    def _settle(self) -> None:
        """Count the call and write its row; once, and without waiting, so that a cancelled call is settled too."""
        if self._settled:
            return
        self._settled = True
        reading = self._read_to_end()
        if reading.error is not None and self._failure is None:
            self._fail(judge(Signals(error=reading.error), now=self._tools.clock()), reading.error.message)
        end = self._call_end(reading)
        if not self._operation.generates:
            return
        self._tools.ledger.settle(self._start.id, end)
        model = LaneModel(*self._target.lane.key, self._target.model)
        self._tools.state.settle(self._caller.attempt, end, model=model, sent=self._started, failure=self._failure)
        metrics.count_call(self._start, end, answered=self._answered)

    def _read_to_end(self) -> Reading:
        if self._reader is None:
            return Reading()
        self._reader.close()
        return self._reader.reading

    def _call_end(self, reading: Reading) -> CallEnd:
        answered = self._complete or reading.ended
        failure = self._failure
        success = answered and failure is None
        refused = self._status is not None and self._status >= _FIRST_REDIRECT
        return CallEnd(
            ended_ms=_milliseconds(self._tools.clock()),
            status=self._status,
            cause=failure.cause.value if failure else None,
            finish_reason=reading.finish_reason,
            turn=success and self._operation.wire.turns,
            metered=reading.usage_final or refused or not self._server_worked,
            usage=reading.usage,
            prices=self._target.prices,
            cost_micro_usd=cost_micro_usd(self._target.prices, reading.usage),
            reset_ms=_milliseconds(failure.reset_time) if failure and failure.reset_time else None,
            reset_source=failure.reset_source if failure else None,
            cut=failure is not None and failure.cut,
        )


def call_failure(verdict: Verdict, message: str, *, sent: datetime, seen: datetime, cut: bool = False) -> CallFailure:
    """A failure as the operator gets it: one line, cut to what a status may hold."""
    return CallFailure(
        sent_time=sent,
        seen_time=seen,
        cause=verdict.cause,
        status=verdict.status,
        message=" ".join(message.split())[:MESSAGE_LIMIT],
        reset_time=verdict.reset_time,
        reset_source=verdict.reset_source,
        cut=cut,
    )


def _call_start(operation: Operation, caller: Caller, target: Target, started: datetime) -> CallStart:
    return CallStart(
        id=uuid.uuid4().hex,
        run_uid=caller.attempt.run_uid,
        attempt=caller.attempt.attempt,
        namespace=caller.run.namespace,
        lane_namespace=target.lane.namespace,
        lane=target.lane.name,
        model=target.model,
        wire_api=operation.wire.api.value,
        started_ms=_milliseconds(started),
    )


def _is_stream(incoming: Incoming, prepared: Prepared) -> bool:
    kind = incoming.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return kind in _STREAM_TYPES or (prepared.streamed and kind != "application/json")


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
