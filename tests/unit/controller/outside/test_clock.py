"""The machine's clock: a wait ends by its event or at its moment, whichever is first."""

from __future__ import annotations

import asyncio
from datetime import UTC, timedelta

from laneway.controller.outside.clock import SystemClock

CLOCK = SystemClock()


def test_now_is_in_utc() -> None:
    assert CLOCK.now().tzinfo is UTC


async def test_a_wait_ends_at_its_moment() -> None:
    until = CLOCK.now() + timedelta(milliseconds=30)
    await CLOCK.wait(asyncio.Event(), until)
    assert until <= CLOCK.now() < until + timedelta(seconds=5)


async def test_a_wait_for_a_moment_that_is_past_ends_at_once() -> None:
    async with asyncio.timeout(5):
        await CLOCK.wait(asyncio.Event(), CLOCK.now() - timedelta(hours=1))


async def test_an_event_ends_a_wait_early_or_without_a_moment() -> None:
    event = asyncio.Event()
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(CLOCK.wait(event, CLOCK.now() + timedelta(hours=1)))
        group.create_task(CLOCK.wait(event, None))
        event.set()
