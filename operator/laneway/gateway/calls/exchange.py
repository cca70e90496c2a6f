"""One try of a call with a model server: sent with the lane's key, relayed as it comes, read on the side, settled whatever happens."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from aiohttp import web

from laneway.api.endpoint import WireAPI
from laneway.api.gatewaystate import CallFailure
from laneway.api.reasons import Cause
from laneway.gateway import metrics
from laneway.gateway.calls.callid import call_id
from laneway.gateway.calls.tools import Operation, Tools
from laneway.gateway.client.patience import ANSWER_SECONDS
from laneway.gateway.client.reply import Reply
from laneway.gateway.cluster.target import Target
from laneway.gateway.cluster.tokens import Caller
from laneway.gateway.ledger.ledger import CallEnd, CallStart, LedgerError
from laneway.gateway.money.books import Reservation
from laneway.gateway.state.evidence import LaneModel
from laneway.gateway.state.failure import call_failure
from laneway.gateway.upstream import headers
from laneway.gateway.upstream.credentials import CredentialMissing, lane_headers
from laneway.gateway.upstream.hiding import HIDDEN, KeyHider
from laneway.gateway.upstream.upstream import (
    BrokenOff,
    Incoming,
    Outgoing,
    TooLate,
    UpstreamError,
    time_limit,
    too_late,
)
from laneway.gateway.wire.base import Answer, Kind, Prepared, Reader, Reading, read_error
from laneway.gateway.wire.refused import Refused
from laneway.rules.classify import Signals, Verdict, judge
from laneway.rules.pricing import cost_micro_usd
from laneway.rules.retry import RETRIED_CAUSES, Failure

log = logging.getLogger(__name__)

_SENT = Prepared(body=b"", streamed=False)
"""What is left of a request once its answer has begun."""
_ACTIVITY_SECONDS = 1.0
_ERROR_LIMIT = 1024 * 1024
_ERROR_SECONDS = 10.0
_FIRST_REDIRECT, _FIRST_ERROR = 300, 400
_UNAUTHORIZED = 401
_STREAM_TYPES = ("text/event-stream", "application/x-ndjson")


class Watcher(Protocol):
    """Who is told how a try goes."""

    def first_byte(self, *, streamed: bool) -> None:
        """The server's answer has begun."""

    def answered(self) -> None:
        """All of the answer went out; the agent does not know yet that it was all."""


@dataclass(frozen=True)
class Failed:
    """A try that ended before the agent got a byte of the model's."""

    failure: CallFailure
    retry: Failure
    """What the rule of retries wants to know of it."""
    answer: Answer | Refused
    """What the agent gets if nothing else is tried: the server's refusal, or the gateway's words for none."""


class Exchange:
    """One try. ``run`` is called once."""

    def __init__(
        self,
        *,
        tools: Tools,
        operation: Operation,
        reply: Reply,
        caller: Caller,
        target: Target,
        prepared: Prepared,
        watcher: Watcher,
        reservation: Reservation | None,
        seconds_left: float | None = None,
    ) -> None:
        """``reservation``: what the try may cost; None: it costs nothing. ``seconds_left``: what all tries of the call may still take; None: no limit."""
        self._tools = tools
        self._operation = operation
        self._reply = reply
        self._caller = caller
        self._target = target
        self._prepared = prepared
        self._watcher = watcher
        self._seconds_left = seconds_left
        self._limits = target.lane.timeouts
        self._started = tools.clock()
        self._reservation = reservation
        self._start = call_start(operation.wire.api, caller, target, self._started, reservation)
        self._key: str | None = None
        self._incoming: Incoming | None = None
        self._reader: Reader | None = None
        self._status: int | None = None
        self._complete = False
        self._server_worked = False
        self.failure: CallFailure | None = None
        """How the try failed, if it did."""
        self._settled = False
        self._loop = asyncio.get_running_loop()
        self._activity_due = 0.0

    async def run(self) -> web.StreamResponse | Failed:
        """Carry the try. Raises Refused when the lane has no key, and LedgerError."""
        self._key = await self._read_key()
        try:
            await self._begin()
            return await self._carry()
        except UpstreamError as error:
            self._server_worked = error.sent
            failure = self._fail(Verdict(error.cause), str(error))
            if self._reply.answering and self._reply.response is not None:
                self._reply.break_off()
                return self._reply.response
            return self._unanswered(error, failure)
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

    async def _carry(self) -> web.StreamResponse | Failed:
        """A stream has a limit for its first byte only, a whole answer one for all of it."""
        if not self._prepared.streamed:
            with self._limit(self._limits.answer_seconds, "the answer"):
                return await self._pass_on(*await self._open())
        with self._limit(self._limits.request_seconds, "the first byte"):
            opened = await self._open()
        return await self._pass_on(*opened)

    def _limit(self, seconds: int | None, what: str) -> AbstractContextManager[None]:
        left = self._seconds_left
        if left is None or (seconds is not None and seconds <= left):
            return time_limit(seconds, what)
        return time_limit(left, f"{what}, in what was left of callSeconds,")

    async def _open(self) -> tuple[Incoming, bytes]:
        """The answer's head and its first bytes; those of a refusal are not read yet."""
        incoming = await self._send()
        if incoming.status == _UNAUTHORIZED and self._key is not None:
            incoming = await self._send_with_new_key(incoming)
        return incoming, await incoming.read_some() if incoming.status < _FIRST_REDIRECT else b""

    async def _pass_on(self, incoming: Incoming, first: bytes) -> web.StreamResponse | Failed:
        if incoming.status >= _FIRST_REDIRECT:
            return await self._refused(incoming)
        return await self._relay(incoming, first)

    async def _send(self) -> Incoming:
        """The answer's head."""
        query = headers.without_key(self._reply.request.rel_url.raw_query_string)
        outgoing = Outgoing(
            method="POST",
            url=self._target.url(self._operation.path, query),
            headers=headers.to_server(self._reply.request.headers, lane_headers(self._target.lane, self._key)),
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

    async def _refused(self, incoming: Incoming) -> Failed:
        """A refusal of the server, without the lane's key if the server repeats it. Its status stands even if its words break off."""
        if incoming.status < _FIRST_ERROR:
            raise BrokenOff(f"the server answers with a redirect ({incoming.status})")
        try:
            with time_limit(min(_ERROR_SECONDS, self._limits.request_seconds or _ERROR_SECONDS), "the error"):
                body = await incoming.read_all(_ERROR_LIMIT)
        except (BrokenOff, TooLate):
            body = b""
        if self._key is not None:
            body = body.replace(self._key.encode(), HIDDEN)
        error, now = read_error(body), self._tools.clock()
        verdict = judge(Signals(status=incoming.status, error=error, headers=incoming.headers), now=now)
        failure = self._fail(verdict, error.message or f"the server answers {incoming.status}")
        self._complete = True
        wait = (verdict.reset_time - now).total_seconds() if verdict.reset_time else 0.0
        retry = Failure(
            status=incoming.status,
            retry_after_seconds=wait if wait > 0 else None,
            lasting=verdict.cause not in RETRIED_CAUSES,
        )
        passed = headers.to_client(incoming.headers, same_length=False, key=self._key)
        return Failed(failure, retry, Answer(status=incoming.status, body=body, headers=passed))

    def _unanswered(self, error: UpstreamError, failure: CallFailure) -> Failed:
        """No answer, or one that ended before its first byte."""
        late = isinstance(error, TooLate)
        redirect = self._status is not None and self._status >= _FIRST_REDIRECT
        retry = Failure(
            status=self._status if redirect else None,
            timed_out=late and error.sent,
            lasting=error.cause not in RETRIED_CAUSES,
        )
        kind = Kind.TIMEOUT if late else Kind.UPSTREAM
        words = f"the model server did not answer: {error}"
        return Failed(failure, retry, Refused(kind, words, final=self._operation.makes_a_turn))

    async def _relay(self, incoming: Incoming, data: bytes) -> web.StreamResponse:
        """Bytes as they come, less what the reader leaves out, and the lane's key in a stream. A whole answer keeps its bytes and its length."""
        streamed = _is_stream(incoming, self._prepared)
        if self._reply.response is not None and not streamed:
            raise BrokenOff("the server gives a whole answer to a call that asked for a stream")
        self._watcher.first_byte(streamed=streamed)
        wire = self._operation.wire
        reader = self._reader = wire.stream_reader(self._prepared) if streamed else wire.whole_reader()
        hider = KeyHider(self._key if streamed else None)
        same_length = not incoming.decoded and not self._prepared.asked_usage and not (streamed and self._key)
        passed = headers.to_client(incoming.headers, same_length=same_length, key=self._key)
        self._prepared = _SENT
        idle = self._limits.stream_idle_seconds
        # Less than a whole answer may take, so that a slow client is not blamed on the model.
        patience = idle if streamed else min(idle or ANSWER_SECONDS, ANSWER_SECONDS)
        await self._reply.begin(incoming.status, passed)
        while data:
            self._see_activity()
            if kept := reader.feed(hider.feed(data)):
                await self._reply.write(kept, seconds=patience)
            data = await self._next_part(incoming, seconds=idle)
        self._complete = not streamed
        if rest := reader.feed(hider.close()) + reader.close():
            await self._reply.write(rest, seconds=patience)
        reading = reader.reading
        if not (self._complete or reading.ended or reading.error) and self._operation.generates:
            raise BrokenOff("the stream ended before its last event")
        self._complete = True
        self._settle()
        self._watcher.answered()
        return await self._reply.finish(seconds=patience)

    def _see_activity(self) -> None:
        """Bytes came. Told now and then: a stream has a hundred parts a second."""
        now = self._loop.time()
        if now >= self._activity_due:
            self._activity_due = now + _ACTIVITY_SECONDS
            self._tools.state.saw_activity(self._caller.attempt)

    async def _next_part(self, incoming: Incoming, *, seconds: float | None) -> bytes:
        try:
            with self._reply.limits.within(seconds):
                return await incoming.read_some()
        except TimeoutError as error:
            raise too_late(seconds, "the next part of the stream") from error

    def _fail(self, verdict: Verdict, message: str) -> CallFailure:
        """The try has failed, now."""
        self.failure = call_failure(
            verdict if verdict.status else replace(verdict, status=self._status),
            message if self._key is None else message.replace(self._key, HIDDEN.decode()),
            sent=self._started,
            seen=self._tools.clock(),
            cut=self._reply.answering,
        )
        return self.failure

    def _settle(self) -> None:
        """Count the call and write its row; once, and without waiting, so that a cancelled call is settled too."""
        if self._settled:
            return
        self._settled = True
        reading = self._read_to_end()
        if reading.error is not None and self.failure is None:
            self._fail(judge(Signals(error=reading.error), now=self._tools.clock()), reading.error.message)
        if self.failure is not None:
            self._log(self.failure)
        if not self._operation.generates:
            return
        end = self._charged(self._call_end(reading))
        self._tools.ledger.settle(self._start.id, end)
        model = LaneModel(*self._target.lane.key, self._target.model)
        self._tools.state.settle(self._caller.attempt, end, model=model, sent=self._started, failure=self.failure)
        metrics.count_usage(self._start, end)
        if self._tools.on_settled is not None:
            self._tools.on_settled(self._start, end)

    def _charged(self, end: CallEnd) -> CallEnd:
        """The end with what it costs: the reservation, if nobody knows better."""
        if self._reservation is None:
            return end
        return self._tools.purse.settle(self._reservation, end).entered_in(end)

    def _log(self, failure: CallFailure) -> None:
        """Whose call failed, where and how; never the server's words, for they may quote the prompt (S2.23)."""
        keys: dict[str, object] = {
            "namespace": self._caller.run.namespace,
            "run": self._caller.run.name,
            "run_uid": self._caller.attempt.run_uid,
            "attempt": self._caller.attempt.attempt,
            "lane": "/".join(self._target.lane.key),
            "model": self._target.model,
            "class": failure.cause.value,
            "status": failure.status,
        }
        log.warning("model call failed", extra=keys)

    def _read_to_end(self) -> Reading:
        if self._reader is None:
            return Reading()
        self._reader.close()
        return self._reader.reading

    def _call_end(self, reading: Reading) -> CallEnd:
        answered = self._complete or reading.ended
        failure = self.failure
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


def call_start(
    api: WireAPI, caller: Caller, target: Target, started: datetime, reservation: Reservation | None
) -> CallStart:
    """The row of a try that is about to begin."""
    return CallStart(
        id=call_id(started),
        run_uid=caller.attempt.run_uid,
        attempt=caller.attempt.attempt,
        namespace=caller.run.namespace,
        caller=caller.run.caller,
        lane_namespace=target.lane.namespace,
        lane=target.lane.name,
        model=target.model,
        wire_api=api.value,
        started_ms=_milliseconds(started),
        reserved_input_tokens=reservation.input_tokens if reservation else 0,
        reserved_output_tokens=reservation.output_tokens if reservation else 0,
        reserved_micro_usd=reservation.micro_usd if reservation else None,
    )


def _is_stream(incoming: Incoming, prepared: Prepared) -> bool:
    kind = incoming.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return kind in _STREAM_TYPES or (prepared.streamed and kind != "application/json")


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
