"""The agent's side of a call: nothing yet, keep-alives, or an answer on its way. With the first byte the status is spent."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

from laneway.gateway import metrics
from laneway.gateway.client.bodies import let_go
from laneway.gateway.client.patience import ANSWER_SECONDS, deliver, give
from laneway.gateway.timelimit import TimeLimits
from laneway.gateway.wire.base import Answer, Wire
from laneway.gateway.wire.refused import Refused

CLIENT_LEFT = 499
_STREAM_HEADERS = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache"}


class _Response(web.StreamResponse):
    """Its head goes out with its first bytes: they are there already, and a packet of its own costs more than they do."""

    _send_headers_immediately = False


class Reply:
    """What one request gets."""

    def __init__(self, request: web.Request, wire: Wire) -> None:
        self.request = request
        self.limits = TimeLimits()
        """Of the waits for the client; to be entered by who answers the request."""
        self.status = CLIENT_LEFT
        """Of the answer; in a stream that was kept alive, of what came at last."""
        self.answering = False
        """Bytes of a model's answer have begun to go out: nothing can be tried again."""
        self.response: web.StreamResponse | None = None
        """None: nothing went out yet."""
        self._wire = wire

    async def keep_alive(self) -> None:
        """Show that the call is alive. Only for a stream of an API that has something for it."""
        await self._open(200, _STREAM_HEADERS)
        await self.write(self._wire.keep_alive)

    async def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """A model's answer begins: the request's body is not needed any more."""
        self.answering, self.status = True, status
        let_go(self.request)
        await self._open(status, headers)

    async def write(self, data: bytes, *, seconds: float | None = ANSWER_SECONDS) -> None:
        """A part of an answer that has begun. Raises ConnectionResetError if the client does not take it in time, or is gone."""
        await give(self.request, self._opened(), data, limits=self.limits, seconds=seconds)

    async def finish(self, *, seconds: float | None = ANSWER_SECONDS) -> web.StreamResponse:
        """The end of an answer that has begun."""
        response = self._opened()
        await deliver(self.request, response, limits=self.limits, seconds=seconds)
        return response

    async def give(self, answer: Answer) -> web.StreamResponse:
        """A whole answer; in a stream that has begun it is an error, and its last event."""
        self.status = answer.status
        if self.response is None:
            self.response = web.Response(status=answer.status, body=answer.body, headers=answer.headers)
        else:
            await self.write(self._wire.in_stream(answer.body))
        return await self.finish()

    async def refuse(self, refused: Refused) -> web.StreamResponse:
        """The gateway's own refusal, in the words of the API."""
        metrics.REFUSALS.labels(refused.refusal.kind.value).inc()
        return await self.give(self._wire.refuse(refused.refusal))

    def break_off(self) -> None:
        """The client sees a broken answer, not one that only looks complete."""
        if self.request.transport is not None:
            self.request.transport.abort()

    async def _open(self, status: int, headers: Mapping[str, str]) -> None:
        if self.response is None:
            self.response = _Response(status=status, headers=headers)
            await self.response.prepare(self.request)

    def _opened(self) -> web.StreamResponse:
        if self.response is None:
            raise RuntimeError("no answer has begun")
        return self.response
