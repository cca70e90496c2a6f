"""Spans on their way: batches that a receiver of OTLP understands, tried again when it asks for it, and never in anybody's way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY

from laneway import tracing
from laneway.rules.traces import Happening, Kind, Span
from laneway.settings import TraceSettings
from laneway.tracing import QUEUE_LIMIT, Exporter
from support.builders import NOW, at
from support.otlp import attributes, receiver

SPAN = Span(
    trace_id="4be5c11d23f04e3c9e4c0c3d8f6f6b1a",
    span_id="00f067aa0ba902b7",
    parent_id="53995c3f42cd8ad8",
    name="chat m",
    kind=Kind.CLIENT,
    start=NOW,
    end=at(1.5),
    attributes={"a": "text", "b": 3, "c": 0.5, "d": True, "e": ("x", "y"), "gone": None},
    happenings=(Happening("step taken", at(1), {"laneway.cause": "Full"}),),
)


def counted(outcome: str) -> float:
    return REGISTRY.get_sample_value("laneway_trace_spans_total", {"outcome": outcome}) or 0.0


class Sleeps:
    """Waits that are over at once, and are remembered."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        await asyncio.sleep(0)


@asynccontextmanager
async def exporting(url: str, **settings: Any) -> AsyncIterator[tuple[Exporter, Sleeps]]:
    given = TraceSettings(**{"url": f"{url}/v1/traces", "headers": {}, "service": "laneway-test", **settings})
    sleeps = Sleeps()
    exporter = Exporter(given, sleep=sleeps)
    exporter.start()
    yield exporter, sleeps
    await exporter.close()


async def within(true: Callable[[], object], *, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


async def test_a_span_arrives_as_it_was() -> None:
    async with receiver() as got, exporting(got.url, headers={"X-Key": "k1"}) as (exporter, _):
        exporter.add(SPAN)
        exporter.add(replace(SPAN, parent_id=None, failed=True, attributes={}, happenings=()))
        await within(lambda: len(got.spans) == 2)
    whole, root = got.spans
    assert whole.trace_id.hex() == SPAN.trace_id
    assert (whole.span_id.hex(), whole.parent_span_id.hex()) == (SPAN.span_id, SPAN.parent_id)
    assert (whole.name, whole.kind, whole.status.code) == ("chat m", whole.SPAN_KIND_CLIENT, 0)
    assert whole.start_time_unix_nano == int(NOW.timestamp()) * 10**9
    assert whole.end_time_unix_nano - whole.start_time_unix_nano == 1_500_000_000
    assert attributes(whole) == {"a": "text", "b": 3, "c": 0.5, "d": True, "e": ["x", "y"]}
    [event] = whole.events
    assert (event.name, attributes(event)) == ("step taken", {"laneway.cause": "Full"})
    assert (root.parent_span_id, root.status.code) == (b"", root.status.STATUS_CODE_ERROR)
    assert got.services == {"laneway-test"}
    assert got.headers[0]["x-key"] == "k1"
    assert got.headers[0]["content-type"] == "application/json"


async def test_times_are_exact_to_the_microsecond() -> None:
    odd = NOW + timedelta(microseconds=123_457)
    async with receiver() as got, exporting(got.url) as (exporter, _):
        exporter.add(replace(SPAN, start=odd, end=odd))
        await within(lambda: got.spans)
    assert got.spans[0].start_time_unix_nano == int(NOW.timestamp()) * 10**9 + 123_457_000


async def test_a_receiver_that_cannot_now_is_asked_again_when_it_says() -> None:
    sent = counted("sent")
    async with receiver() as got:
        got.answers = [(503, {}, {}), (429, {"Retry-After": "7"}, {}), (429, {"Retry-After": "900"}, {})]
        async with exporting(got.url) as (exporter, sleeps):
            exporter.add(SPAN)
            await within(lambda: got.spans)
    assert len(got.bodies) == 4
    waits = [seconds for seconds in sleeps.seconds if seconds != 5]
    assert waits == [1, 7, 60]
    assert counted("sent") == sent + 1


async def test_a_batch_that_nobody_takes_is_given_up_and_the_next_one_is_sent(caplog: pytest.LogCaptureFixture) -> None:
    failed = counted("failed")
    async with receiver() as got:
        got.answers = [(503, {}, {})] * 6
        async with exporting(got.url) as (exporter, _):
            exporter.add(SPAN)
            await within(lambda: counted("failed") == failed + 1)
            exporter.add(replace(SPAN, name="next"))
            await within(lambda: got.named("next"))
    assert got.named("chat m") == []
    assert [record.message for record in caplog.records] == ["traces cannot be sent"]


@pytest.mark.parametrize("status", [400, 401, 307])
async def test_a_refusal_for_good_is_not_repeated(status: int) -> None:
    failed = counted("failed")
    async with receiver() as got:
        got.answers = [(status, {"Location": got.url}, {})]
        async with exporting(got.url) as (exporter, _):
            exporter.add(SPAN)
            await within(lambda: counted("failed") == failed + 1)
    assert len(got.bodies) == 1


async def test_spans_that_a_receiver_did_not_want_are_counted() -> None:
    sent, failed = counted("sent"), counted("failed")
    async with receiver() as got:
        got.answers = [(200, {}, {"partialSuccess": {"rejectedSpans": "1", "errorMessage": "too old"}})]
        async with exporting(got.url) as (exporter, _):
            exporter.add(SPAN)
            exporter.add(SPAN)
            await within(lambda: counted("sent") == sent + 1)
    assert counted("failed") == failed + 1


async def test_what_does_not_fit_is_dropped_and_counted() -> None:
    dropped = counted("dropped")
    exporter = Exporter(TraceSettings(url="http://127.0.0.1:9/v1/traces", headers={}, service="s"))
    for _ in range(QUEUE_LIMIT + 3):
        exporter.add(SPAN)
    assert counted("dropped") == dropped + 3


async def test_only_the_wanted_share_of_traces_is_sent() -> None:
    async with receiver() as got:
        async with exporting(got.url, ratio=0.0) as (exporter, _):
            exporter.add(SPAN)
        assert got.bodies == []


async def test_what_waits_is_sent_before_the_process_leaves() -> None:
    async with receiver() as got:
        exporter = Exporter(TraceSettings(url=f"{got.url}/v1/traces", headers={}, service="s"))
        exporter.start()
        for _ in range(200):
            exporter.add(SPAN)
        await exporter.close()
        assert len(got.spans) == 200
        assert len(got.bodies) == 2


async def test_a_process_leaves_in_time_although_nobody_takes_its_spans() -> None:
    dropped = counted("dropped")
    exporter = Exporter(TraceSettings(url="http://127.0.0.1:9/v1/traces", headers={}, service="s"))
    exporter.start()
    exporter.add(SPAN)
    begun = time.monotonic()
    await exporter.close()
    assert time.monotonic() - begun < 6
    assert counted("dropped") == dropped + 1


async def test_a_batch_under_way_is_not_lost_when_the_process_leaves() -> None:
    held = asyncio.Event()

    async def hold(seconds: float) -> None:
        if seconds != 5:
            held.set()
            await asyncio.Event().wait()

    async with receiver() as got:
        got.answers = [(503, {}, {})]
        exporter = Exporter(TraceSettings(url=f"{got.url}/v1/traces", headers={}, service="s"), sleep=hold)
        exporter.start()
        exporter.add(SPAN)
        await asyncio.wait_for(held.wait(), 10)
        await exporter.close()
        assert len(got.spans) == 1


def test_nothing_is_made_where_there_are_to_be_no_traces() -> None:
    assert tracing.begin_traces(AsyncExitStack(), None) is None
