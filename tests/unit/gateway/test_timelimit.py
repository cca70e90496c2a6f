"""Many waits of one task, bounded by one timer."""

from __future__ import annotations

import asyncio

import pytest

from laneway.gateway.timelimit import TimeLimits

_SOON, _LONG = 0.01, 60.0


async def _never() -> None:
    await asyncio.get_running_loop().create_future()


@pytest.mark.parametrize(
    "before",
    [
        pytest.param([], id="the first wait is cut off in its time"),
        pytest.param([_LONG], id="a wait that is shorter than the one before is cut off in its own time"),
        pytest.param([_SOON, _SOON], id="a wait after some that ended in time is cut off in its time"),
        pytest.param([None], id="a wait after one without a limit is cut off in its time"),
    ],
)
async def test_a_wait_that_takes_too_long_is_cut_off(before: list[float | None]) -> None:
    with TimeLimits() as limits:
        for seconds in before:
            with limits.within(seconds):
                await asyncio.sleep(0)
        with pytest.raises(TimeoutError), limits.within(_SOON):
            await _never()


async def test_the_limit_of_a_wait_that_has_ended_does_not_cut_off_the_next_one() -> None:
    loop = asyncio.get_running_loop()
    with TimeLimits() as limits:
        with limits.within(_SOON):
            await asyncio.sleep(0)
        over = loop.create_future()
        loop.call_later(3 * _SOON, over.set_result, "came late")
        with limits.within(_LONG):
            assert await over == "came late"


async def test_nothing_rings_between_two_waits() -> None:
    loop = asyncio.get_running_loop()
    with TimeLimits() as limits:
        with limits.within(_SOON):
            await asyncio.sleep(0)
        over = loop.create_future()
        loop.call_later(3 * _SOON, over.set_result, "not cut off")
        assert await over == "not cut off"


async def test_a_wait_can_be_cut_off_after_another_one_was() -> None:
    with TimeLimits() as limits:
        for _ in range(2):
            with pytest.raises(TimeoutError), limits.within(_SOON):
                await _never()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_cancellation_from_elsewhere_stays_one() -> None:
    began = asyncio.Event()

    async def wait() -> None:
        with TimeLimits() as limits, limits.within(_LONG):
            began.set()
            await _never()

    task = asyncio.create_task(wait())
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_that_comes_with_the_limit_stays_one() -> None:
    async def wait() -> None:
        with TimeLimits() as limits, limits.within(0):
            task = asyncio.current_task()
            assert task is not None
            asyncio.get_running_loop().call_soon(task.cancel)
            await _never()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(wait())
