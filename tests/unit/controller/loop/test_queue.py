"""The work queue, with a clock that only moves when told to."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import pytest

from laneway.controller.loop.queue import LAST_BACKOFF, PATIENT_AT_ONCE, URGENT_IN_A_ROW, Queue
from support.builders import NOW, at


class StillClock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.moment = NOW
        self._moved = asyncio.Event()

    def now(self) -> datetime:
        return self.moment

    def move(self, moment: datetime) -> None:
        self.moment = moment
        self._moved.set()

    async def wait(self, event: asyncio.Event, until: datetime | None) -> None:
        while not event.is_set() and (until is None or self.moment < until):
            self._moved.clear()
            moved, woken = asyncio.ensure_future(self._moved.wait()), asyncio.ensure_future(event.wait())
            await asyncio.wait((moved, woken), return_when=asyncio.FIRST_COMPLETED)
            for task in (moved, woken):
                task.cancel()


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
def queue(clock: StillClock) -> Queue[str]:
    return Queue(clock)


async def take(queue: Queue[str]) -> str:
    return await asyncio.wait_for(queue.get(), 5)


def is_empty(queue: Queue[str]) -> bool:
    return len(queue) == 0


async def test_a_key_added_twice_is_worked_on_once(queue: Queue[str]) -> None:
    queue.add("a")
    queue.add("a")
    assert await take(queue) == "a"
    assert is_empty(queue)


async def test_a_key_added_during_its_work_is_worked_on_once_more_afterwards(queue: Queue[str]) -> None:
    queue.add("a")
    assert await take(queue) == "a"
    queue.add("a")
    queue.add("b")
    assert await take(queue) == "b"
    queue.done("a")
    assert await take(queue) == "a"


async def test_fresh_changes_go_before_patient_ones(queue: Queue[str]) -> None:
    queue.add("start-up", patient=True)
    queue.add("fresh")
    assert [await take(queue), await take(queue)] == ["fresh", "start-up"]


async def test_what_waits_patiently_goes_over_when_it_becomes_urgent(queue: Queue[str]) -> None:
    for key in ("a", "b", "c"):
        queue.add(key, patient=True)
    queue.add("urgent")
    queue.add("c")
    queue.add("urgent", patient=True)
    assert [await take(queue) for _ in range(4)] == ["urgent", "c", "a", "b"]
    assert is_empty(queue)


async def test_the_patient_line_moves_on_however_long_the_urgent_one_is(queue: Queue[str]) -> None:
    for number in range(3 * URGENT_IN_A_ROW):
        queue.add(f"urgent {number}")
    for number in range(2):
        queue.add(f"patient {number}", patient=True)
    taken = [await take(queue) for _ in range(3 * URGENT_IN_A_ROW + 2)]
    assert [place for place, key in enumerate(taken) if key.startswith("patient")] == [8, 17]


async def test_few_of_the_patient_line_are_in_work_at_once_and_the_next_begins_when_one_is_done(
    queue: Queue[str],
) -> None:
    for number in range(PATIENT_AT_ONCE + 2):
        queue.add(f"patient {number}", patient=True)
    for number in range(PATIENT_AT_ONCE):
        assert await take(queue) == f"patient {number}"
    getting = asyncio.ensure_future(queue.get())
    queue.add("urgent")
    assert await asyncio.wait_for(getting, 5) == "urgent"
    getting = asyncio.ensure_future(queue.get())
    await asyncio.sleep(0)
    assert not getting.done()
    queue.done("patient 1")
    assert await asyncio.wait_for(getting, 5) == f"patient {PATIENT_AT_ONCE}"
    queue.failed("patient 0")
    assert await take(queue) == f"patient {PATIENT_AT_ONCE + 1}"


async def test_what_ripens_patiently_goes_behind_what_is_urgent(queue: Queue[str], clock: StillClock) -> None:
    queue.add_at("its place", at(10), patient=True)
    clock.move(at(10))
    queue.add("a freed slot")
    assert [await take(queue), await take(queue)] == ["a freed slot", "its place"]


async def test_the_earliest_of_a_keys_moments_wins(queue: Queue[str], clock: StillClock) -> None:
    queue.add_at("a", at(60))
    queue.add_at("a", at(10))
    queue.add_at("a", at(30))
    getting = asyncio.ensure_future(queue.get())
    clock.move(at(10))
    assert await asyncio.wait_for(getting, 5) == "a"
    queue.done("a")
    queue.add_at("b", at(60))
    clock.move(at(60))
    assert await take(queue) == "b"
    assert is_empty(queue)


async def test_work_done_forgets_the_moment_it_was_for(queue: Queue[str], clock: StillClock) -> None:
    queue.add_at("a", at(10))
    queue.add("a")
    assert await take(queue) == "a"
    queue.done("a")
    clock.move(at(11))
    queue.add("b")
    assert await take(queue) == "b"


async def test_failures_back_off_and_success_forgets_them(queue: Queue[str], clock: StillClock) -> None:
    delays = []
    queue.add("a")
    for _ in range(14):
        assert await take(queue) == "a"
        delays.append(queue.failed("a"))
        clock.move(clock.now() + delays[-1])
    assert delays[:3] == [timedelta(milliseconds=ms) for ms in (50, 100, 200)]
    assert delays[-1] == LAST_BACKOFF
    assert await take(queue) == "a"
    queue.done("a")
    queue.add("a")
    await take(queue)
    assert queue.failed("a") == timedelta(milliseconds=50)


async def test_a_failure_waits_at_least_as_long_as_the_server_asked(queue: Queue[str]) -> None:
    queue.add("a")
    await take(queue)
    assert queue.failed("a", at_least=timedelta(seconds=7)) == timedelta(seconds=7)
