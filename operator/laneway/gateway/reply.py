"""The agent's side of a call: nothing yet, keep-alives, or an answer on its way. With the first byte the status is spent."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

from laneway.gateway import metrics
from laneway.gateway.refused import Refused
from laneway.gateway.wire.base import Answer, Wire

CLIENT_LEFT = 499
_STREAM_HEADERS = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache"}


class Reply:
    """What one request gets."""

    def __init__(self, request: web.Request, wire: Wire) -> None:
        self.request = request
        self.status = CLIENT_LEFT
        """Of the answer; in a stream that was kept alive, of what came at last."""
        self.answering = False
        """Bytes of a model's answer have begun to go out: nothing can be tried again."""
        self.response: web.StreamResponse | None = None
        """None: nothing went out yet."""
        self._wire = wire

    async def keep_alive(self) -> None:
        """Show that the call is alive. Only for a stream of an API that has something for it."""
        response = await self._open(200, _STREAM_HEADERS)
        await response.write(self._wire.keep_alive)

    async def begin(self, status: int, headers: Mapping[str, str]) -> web.StreamResponse:
        """A model's answer begins."""
        self.answering, self.status = True, status
        return await self._open(status, headers)

    async def give(self, answer: Answer) -> web.StreamResponse:
        """A whole answer; in a stream that has begun it is an error, and its last event."""
        self.status = answer.status
        if self.response is None:
            return web.Response(status=answer.status, body=answer.body, headers=answer.headers)
        await self.response.write(self._wire.in_stream(answer.body))
        await self.response.write_eof()
        return self.response

    async def refuse(self, refused: Refused) -> web.StreamResponse:
        """The gateway's own refusal, in the words of the API."""
        metrics.REFUSALS.labels(refused.refusal.kind.value).inc()
        return await self.give(self._wire.refuse(refused.refusal))

    def break_off(self) -> None:
        """The client sees a broken answer, not one that only looks complete."""
        if self.request.transport is not None:
            self.request.transport.abort()

    async def _open(self, status: int, headers: Mapping[str, str]) -> web.StreamResponse:
        if self.response is None:
            self.response = web.StreamResponse(status=status, headers=headers)
            await self.response.prepare(self.request)
        return self.response
