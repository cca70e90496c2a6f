"""Sends spans by OTLP over HTTP, behind everything else: what cannot be sent is dropped and counted, and nobody waits for it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from http import HTTPStatus

from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout
from prometheus_client import Counter

from laneway import otlp
from laneway.rules.traces import Span, is_sampled
from laneway.settings import TraceSettings

log = logging.getLogger(__name__)

QUEUE_LIMIT = 4096
"""Spans that wait; each is about 1 KiB."""
_BATCH = 128
"""About 4 ms of the event loop, which calls wait for."""
_ANSWER_LIMIT = 65_536
_EVERY_SECONDS = 5.0
_TIMEOUT = ClientTimeout(total=10)
_LAST_SECONDS = 5.0
_WAITS_SECONDS = (1.0, 2.0, 4.0, 8.0, 16.0)
_LONGEST_WAIT_SECONDS = 60.0
_AGAIN = frozenset({429, 502, 503, 504})
"""The statuses after which OTLP lets a client try again."""

SPANS = Counter("laneway_trace_spans", "Spans of traces, by what became of them.", ["outcome"])


class _NotTakenError(Exception):
    """A batch was refused for now."""

    def __init__(self, cause: str, wait: float | None = None) -> None:
        super().__init__(cause)
        self.wait = wait
        """What the receiver asks for, in seconds."""


class _RefusedError(Exception):
    """A batch was refused for good."""


class Exporter:
    """A bounded queue of spans, and the task that sends them."""

    def __init__(self, settings: TraceSettings, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._settings = settings
        self._sleep = sleep
        self._waiting: deque[Span] = deque()
        self._session: ClientSession | None = None
        self._task: asyncio.Task[None] | None = None
        self._well = True
        for outcome in ("sent", "dropped", "failed"):
            SPANS.labels(outcome)

    def start(self) -> None:
        """Send from now on, for the running event loop."""
        self._session = ClientSession(timeout=_TIMEOUT, headers=self._settings.headers)
        self._task = asyncio.create_task(self._send_forever(self._session), name="traces")

    def add(self, span: Span) -> None:
        """Take a span; returns at once. One too many is dropped: a receiver that is away must not fill the memory."""
        if not is_sampled(span.trace_id, self._settings.ratio):
            return
        if len(self._waiting) >= QUEUE_LIMIT:
            SPANS.labels("dropped").inc()
        else:
            self._waiting.append(span)

    async def close(self) -> None:
        """Send what waits, if that is done in 5 s, and end."""
        if self._task is None or self._session is None:
            return
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        with suppress(TimeoutError, _NotTakenError):
            async with asyncio.timeout(_LAST_SECONDS):
                while self._waiting:
                    with self._batch() as batch:
                        await self._send(self._session, batch)
        SPANS.labels("dropped").inc(len(self._waiting))
        await self._session.close()

    async def _send_forever(self, session: ClientSession) -> None:
        while True:
            await self._sleep(_EVERY_SECONDS)
            while self._waiting:
                with self._batch() as batch:
                    await self._insist(session, batch)

    async def _insist(self, session: ClientSession, batch: list[Span]) -> None:
        """One batch, tried until it is taken, refused, or tried often enough."""
        for wait in (*_WAITS_SECONDS, None):
            try:
                await self._send(session, batch)
            except _NotTakenError as error:
                self._tell(str(error))
                if wait is None:
                    SPANS.labels("failed").inc(len(batch))
                    return
                await self._sleep(min(error.wait or wait, _LONGEST_WAIT_SECONDS))
            else:
                return

    @contextmanager
    def _batch(self) -> Iterator[list[Span]]:
        """Some spans, which wait again if nothing became of them."""
        batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
        try:
            yield batch
        except (_NotTakenError, asyncio.CancelledError):
            self._waiting.extendleft(reversed(batch))
            raise

    async def _send(self, session: ClientSession, batch: list[Span]) -> None:
        """Raises _NotTakenError."""
        body = otlp.encode(batch, service=self._settings.service)
        try:
            async with session.post(
                self._settings.url, data=body, headers={"Content-Type": "application/json"}, allow_redirects=False
            ) as answer:
                lost = await _refused_of(answer)
        except (ClientError, TimeoutError, OSError) as error:
            raise _NotTakenError(type(error).__name__) from error
        except _RefusedError as error:
            self._tell(str(error))
            SPANS.labels("failed").inc(len(batch))
            return
        SPANS.labels("sent").inc(len(batch) - lost)
        SPANS.labels("failed").inc(lost)
        self._well = True

    def _tell(self, cause: str) -> None:
        """Once, until it goes well again."""
        if self._well:
            log.warning("traces cannot be sent", extra={"cause": cause})
        self._well = False


def begin_traces(stack: AsyncExitStack, settings: TraceSettings | None) -> Exporter | None:
    """An exporter that ends with the stack; None where there are to be no traces."""
    if settings is None:
        return None
    exporter = Exporter(settings)
    exporter.start()
    stack.push_async_callback(exporter.close)
    log.info("traces are sent", extra={"url": settings.url, "ratio": settings.ratio})
    return exporter


async def _refused_of(answer: ClientResponse) -> int:
    """How many spans of a batch the receiver did not want. Raises _NotTakenError and _RefusedError."""
    if answer.status in _AGAIN:
        asked = answer.headers.get("Retry-After", "")
        raise _NotTakenError(f"status {answer.status}", float(asked) if asked.isdecimal() else None)
    if not HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
        raise _RefusedError(f"status {answer.status}")
    try:
        told = json.loads(await answer.content.read(_ANSWER_LIMIT) or b"{}")
        return int((told.get("partialSuccess") or {}).get("rejectedSpans") or 0)
    except (ValueError, AttributeError, TypeError):
        return 0  # a receiver that answers in another form has taken it all the same
