"""The elector against a Lease in memory and a clock that only tests move."""

from __future__ import annotations

import asyncio
import copy
import heapq
import itertools
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from laneway.kube.errors import AlreadyExists, Conflict, NotFound, Unavailable
from laneway.kube.lease import Elector, LeaseLost
from laneway.kube.resources import JsonObject

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Clock:
    """Time that passes only in ``advance``."""

    def __init__(self) -> None:
        self.time = 1000.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = itertools.count()

    def monotonic(self) -> float:
        return self.time

    def now(self) -> datetime:
        return START + timedelta(seconds=self.time)

    async def sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.time + seconds, next(self._count), future))
        await future

    async def advance(self, seconds: float) -> None:
        end = self.time + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            self.time, _, future = heapq.heappop(self._sleepers)
            if not future.done():
                future.set_result(None)
            await settle()
        self.time = end


async def settle() -> None:
    for _ in range(6):
        await asyncio.sleep(0)


class Store:
    """One Lease with optimistic locking; ``fault`` runs before a request, ``lost`` decides whether its answer is lost."""

    def __init__(self) -> None:
        self.record: JsonObject | None = None
        self.writes: list[JsonObject] = []
        self._version = 0

    def view(self, fault: Callable[[], Awaitable[None]], *, lost: Callable[[], bool] = lambda: False) -> Any:
        return _View(self, fault, lost)

    def write(self, body: JsonObject) -> JsonObject:
        self._version += 1
        record = copy.deepcopy(body)
        record["metadata"]["resourceVersion"] = str(self._version)
        self.record = record
        self.writes.append(record)
        return copy.deepcopy(record)


class _View:
    def __init__(self, store: Store, fault: Callable[[], Awaitable[None]], lost: Callable[[], bool]) -> None:
        self._store = store
        self._fault = fault
        self._lost = lost

    async def get(self, *_: Any) -> JsonObject:
        await self._fault()
        if self._store.record is None:
            raise NotFound("no Lease")
        return copy.deepcopy(self._store.record)

    async def create(self, _resource: Any, _namespace: str, body: JsonObject) -> JsonObject:
        await self._fault()
        if self._store.record is not None:
            raise AlreadyExists("there is one")
        return self._answer(self._store.write(body))

    async def replace(self, _resource: Any, _namespace: str, _name: str, body: JsonObject) -> JsonObject:
        await self._fault()
        if self._store.record is None:
            raise NotFound("no Lease")
        if body["metadata"]["resourceVersion"] != self._store.record["metadata"]["resourceVersion"]:
            raise Conflict("stale")
        return self._answer(self._store.write(body))

    def _answer(self, record: JsonObject) -> JsonObject:
        if self._lost():
            raise Unavailable("the answer was lost")
        return record


class Replica:
    """One process: an elector, its task, and the faults around it."""

    def __init__(self, clock: Clock, store: Store, name: str = "pod") -> None:
        self._clock = clock
        self.stopped = False
        self.cut_off = False
        self.answers_lost = False
        self.latency = 0.0
        self.elector = Elector(
            kube=store.view(self._fault, lost=lambda: self.answers_lost),
            namespace="system",
            name="laneway-operator",
            identity=name,
            monotonic=clock.monotonic,
            now=clock.now,
            sleep=self._sleep,
        )
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        await self.elector.acquire()
        await self.elector.hold()

    async def _sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
        while self.stopped:
            await self._clock.sleep(0.25)

    async def _fault(self) -> None:
        if self.latency:
            await self._sleep(self.latency)
        if self.cut_off:
            raise Unavailable("no connection")

    async def end(self) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
async def start(clock: Clock, store: Store) -> AsyncIterator[Callable[[], Replica]]:
    replicas: list[Replica] = []

    def make() -> Replica:
        replicas.append(Replica(clock, store))
        return replicas[-1]

    yield make
    for replica in replicas:
        await replica.end()


async def test_the_first_leads_and_the_second_waits(clock: Clock, start: Callable[[], Replica]) -> None:
    first = start()
    await clock.advance(0.1)
    second = start()
    await clock.advance(300)
    assert (first.elector.may_write(), second.elector.may_write()) == (True, False)


async def test_the_record_is_what_other_tools_expect(clock: Clock, store: Store, start: Callable[[], Replica]) -> None:
    replica = start()
    await clock.advance(5)
    assert store.record is not None
    spec = store.record["spec"]
    assert spec["holderIdentity"] == replica.elector.identity
    assert spec["leaseDurationSeconds"] == 15
    assert spec["leaseTransitions"] == 0
    for time in (spec["acquireTime"], spec["renewTime"]):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", time)
    assert spec["renewTime"] > spec["acquireTime"]


@pytest.mark.parametrize(
    ("seconds", "may"),
    [
        pytest.param(0.0, True, id="at once"),
        pytest.param(9.9, True, id="just before the deadline"),
        pytest.param(10.0, False, id="at the deadline"),
        pytest.param(3600.0, False, id="an hour later"),
    ],
)
async def test_after_the_api_server_has_gone_the_leader_may_write(
    clock: Clock, start: Callable[[], Replica], seconds: float, may: bool
) -> None:
    replica = start()
    await clock.advance(0)
    replica.cut_off = True
    await clock.advance(seconds)
    assert replica.elector.may_write() is may


async def test_a_leader_that_cannot_renew_ends_and_never_leads_again(
    clock: Clock, start: Callable[[], Replica]
) -> None:
    replica = start()
    await clock.advance(1)
    replica.cut_off = True
    await clock.advance(12)
    assert isinstance(replica.task.exception(), LeaseLost)
    replica.cut_off = False
    await clock.advance(100)
    assert not replica.elector.leads


async def test_time_is_counted_from_the_sending_of_a_slow_renewal(clock: Clock, start: Callable[[], Replica]) -> None:
    replica = start()
    await clock.advance(1)
    replica.latency = 2.5  # sent at 2, stored at 4.5
    await clock.advance(3.5)
    replica.cut_off = True
    await clock.advance(7.4)
    assert replica.elector.may_write()
    await clock.advance(0.2)
    assert not replica.elector.may_write()


@pytest.mark.row("B9")
async def test_a_process_stopped_for_20_s_may_not_write_when_it_wakes_up(
    clock: Clock, start: Callable[[], Replica]
) -> None:
    first, second = start(), start()
    await clock.advance(5)
    leader, other = (first, second) if first.elector.leads else (second, first)
    leader.stopped = True
    await clock.advance(20)
    assert not leader.elector.may_write()
    assert other.elector.may_write()
    leader.stopped = False
    await clock.advance(0.5)
    assert not leader.elector.may_write()
    assert isinstance(leader.task.exception(), LeaseLost)


async def test_the_other_leads_15_s_after_the_last_renewal_and_not_earlier(
    clock: Clock, store: Store, start: Callable[[], Replica]
) -> None:
    first = start()
    await clock.advance(0)
    second = start()
    await clock.advance(4)
    await first.end()
    await clock.advance(14)
    assert not second.elector.leads
    await clock.advance(4)
    assert second.elector.may_write()
    assert store.record is not None
    assert store.record["spec"]["leaseTransitions"] == 1


async def test_a_restarted_container_of_the_same_pod_is_another_holder(
    clock: Clock, start: Callable[[], Replica]
) -> None:
    before = start()
    await clock.advance(1)
    await before.end()
    after = start()
    await clock.advance(14)
    assert not after.elector.leads
    await clock.advance(4)
    assert after.elector.leads


async def test_a_lease_given_back_is_taken_at_once(clock: Clock, store: Store, start: Callable[[], Replica]) -> None:
    first = start()
    await clock.advance(0)
    second = start()
    await clock.advance(5)
    await first.end()
    await first.elector.release()
    assert store.record is not None
    assert "holderIdentity" not in store.record["spec"]
    assert not first.elector.may_write()
    await clock.advance(2)
    assert second.elector.may_write()


@pytest.mark.parametrize("latency", [0.1, 0.3, 0.5, 0.7, 0.9])
async def test_a_renewal_under_way_does_not_bring_a_released_lease_back(
    clock: Clock, store: Store, start: Callable[[], Replica], latency: float
) -> None:
    replica = start()
    await clock.advance(1.9)
    replica.latency = latency
    await clock.advance(0.15)  # a renewal has just been sent
    release = asyncio.create_task(replica.elector.release())
    for _ in range(120):
        await clock.advance(0.05)
        assert not replica.elector.may_write()
    assert release.done()
    assert store.record is not None
    assert "holderIdentity" not in store.record["spec"]
    assert replica.task.done()
    assert replica.task.exception() is None


async def test_a_renewal_that_arrives_after_the_release_is_no_loss(
    clock: Clock, store: Store, start: Callable[[], Replica]
) -> None:
    replica = start()
    await clock.advance(1.9)
    replica.latency = 1.5
    await clock.advance(0.15)  # a renewal has just been sent, and takes long
    replica.latency = 0.1
    release = asyncio.create_task(replica.elector.release())
    await clock.advance(10)
    assert release.done()
    assert store.record is not None
    assert "holderIdentity" not in store.record["spec"]
    assert replica.task.done()
    assert replica.task.exception() is None


async def test_releasing_without_leading_writes_nothing(
    clock: Clock, store: Store, start: Callable[[], Replica]
) -> None:
    first = start()
    await clock.advance(0)
    second = start()
    await clock.advance(1)
    count = len(store.writes)
    await second.elector.release()
    assert len(store.writes) == count
    assert first.elector.leads


async def test_a_renewal_whose_answer_was_lost_does_not_cost_the_lease(
    clock: Clock, start: Callable[[], Replica]
) -> None:
    replica = start()
    await clock.advance(1)
    replica.answers_lost = True
    await clock.advance(3)
    replica.answers_lost = False
    await clock.advance(60)
    assert replica.elector.may_write()


async def test_a_lease_that_another_holds_is_lost_at_the_next_renewal(
    clock: Clock, store: Store, start: Callable[[], Replica]
) -> None:
    replica = start()
    await clock.advance(1)
    assert store.record is not None
    store.write({**store.record, "spec": {**store.record["spec"], "holderIdentity": "someone"}})
    await clock.advance(2)
    assert isinstance(replica.task.exception(), LeaseLost)
    assert not replica.elector.may_write()


async def test_a_deleted_lease_ends_the_leader_before_another_leads(
    clock: Clock, store: Store, start: Callable[[], Replica]
) -> None:
    first = start()
    await clock.advance(0)
    second = start()
    await clock.advance(3)
    store.record = None
    await clock.advance(12)
    assert isinstance(first.task.exception(), LeaseLost)
    assert not second.elector.leads
    await clock.advance(8)
    assert second.elector.may_write()


@pytest.mark.row("B9")
@pytest.mark.parametrize("seed", range(20))
async def test_never_may_two_write_whatever_happens(
    seed: int, clock: Clock, store: Store, start: Callable[[], Replica]
) -> None:
    chance = random.Random(seed)
    replicas = [start() for _ in range(3)]
    led: set[int] = set()
    for _ in range(300):
        one = chance.randrange(len(replicas))
        victim = replicas[one]
        match chance.randrange(12):
            case 0:
                victim.stopped = not victim.stopped
            case 1:
                victim.cut_off = not victim.cut_off
            case 2:
                victim.answers_lost = not victim.answers_lost
            case 3:
                victim.latency = chance.choice([0.0, 0.5, 2.0])
            case 4:
                victim.stopped = victim.cut_off = victim.answers_lost = False
            case 5 if chance.random() < 0.2:
                victim.stopped, victim.latency = False, 0.0
                await victim.end()
                await victim.elector.release()
        if victim.task.done():
            replicas[one] = start()
        await clock.advance(chance.choice([0.1, 0.7, 3.0]))
        writers = [replica for replica in replicas if replica.elector.may_write()]
        assert len(writers) <= 1
        led.update(id(writer) for writer in writers)
    assert len(led) > 1, "the Lease never changed hands, so nothing was shown"
