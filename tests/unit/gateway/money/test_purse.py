"""The purse: who may go, who waits, who is refused, and that no order of events lets a run pass its limits."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laneway.api.limits import LimitName
from laneway.api.reasons import Cause
from laneway.gateway.cluster.objects import Run
from laneway.gateway.cluster.spent import Spent
from laneway.gateway.ledger.sql import Past
from laneway.gateway.money.books import Reservation
from laneway.gateway.money.purse import Demand, Purse
from laneway.gateway.state.evidence import LaneModel
from laneway.gateway.state.state import State
from laneway.gateway.wire.base import Kind
from laneway.gateway.wire.refused import Refused
from laneway.rules.budget import Amount
from laneway.rules.classify import Verdict
from laneway.rules.limits import bounds
from unit.gateway.kit import utc_now
from unit.gateway.purses import (
    ATTEMPT,
    DOLLAR,
    NO_SPENDING,
    PRICES,
    UID,
    answered,
    cut,
    demand,
    failed,
    limited,
    purse_of,
)

NOTHING = Amount()
LONG = 60.0
"""Seconds that no test waits for."""


def state() -> State:
    return State(clock=utc_now)


async def begin(purse: Purse, asked: Demand) -> asyncio.Task[Reservation]:
    """Ask, as far as it goes by itself."""
    task = asyncio.create_task(purse.reserve(asked))
    await settle_down()
    return task


async def settle_down() -> None:
    """Let every task go on until it has to wait for something."""
    for _ in range(5):
        await asyncio.sleep(0)


async def learned(purse: Purse, run: Run) -> None:
    """A first call has shown a quarter of a token for each byte, and cost 1500 micro-dollars, 300 tokens and a turn."""
    purse.settle(await purse.reserve(demand(run)), answered())


def refusal(task: asyncio.Task[Reservation]) -> Refused:
    error = task.exception()
    assert isinstance(error, Refused)
    return error


async def test_a_call_that_fits_is_granted_with_its_worst_case() -> None:
    purse, told = purse_of(), limited({"costUSD": "1.00"})
    granted = await purse.reserve(demand(told))
    assert (granted.input_tokens, granted.output_tokens, granted.clamp) == (500, 100, None)
    assert granted.micro_usd == 3375


async def test_before_the_first_answer_calls_go_one_after_another() -> None:
    purse, run = purse_of(), limited({"costUSD": "1.00"})
    first = await purse.reserve(demand(run))
    second, third = await begin(purse, demand(run)), await begin(purse, demand(run))
    assert not second.done()
    purse.settle(first, failed())
    await settle_down()
    assert second.done()
    assert not third.done()
    purse.settle(second.result(), answered())
    fourth = await begin(purse, demand(run))
    assert third.done()
    assert fourth.done()


async def test_a_run_without_a_limit_of_size_is_not_held_up() -> None:
    purse, run = purse_of(), limited({})
    grants = [await purse.reserve(demand(run, wanted_output=None, prices=None)) for _ in range(3)]
    assert [(one.clamp, one.micro_usd) for one in grants] == [(None, None)] * 3


async def test_calls_that_wait_are_served_in_the_order_in_which_they_came() -> None:
    purse, run = purse_of(), limited({"turns": 1})
    first = await purse.reserve(demand(run))
    waiting = [await begin(purse, demand(run)) for _ in range(3)]
    purse.settle(first, failed())
    await settle_down()
    assert [task.done() for task in waiting] == [True, False, False]
    purse.release(waiting[0].result())
    await settle_down()
    assert [task.done() for task in waiting] == [True, True, False]
    purse.settle(waiting[1].result(), answered())
    await settle_down()
    assert refusal(waiting[2]).refusal.kind is Kind.LIMIT


async def test_a_small_call_does_not_overtake_one_that_waits() -> None:
    purse, run = purse_of(), limited({"tokens": 2000})
    await learned(purse, run)
    held = await purse.reserve(demand(run, wanted_output=500))
    big, small = await begin(purse, demand(run, wanted_output=1300)), await begin(purse, demand(run, wanted_output=1))
    assert not big.done()
    assert not small.done()
    purse.settle(held, failed())
    await settle_down()
    assert big.done()


async def test_a_call_that_is_cancelled_gives_everything_back() -> None:
    known = state()
    purse, run = purse_of(known), limited({"turns": 1})
    first = await purse.reserve(demand(run))
    second, third = await begin(purse, demand(run)), await begin(purse, demand(run))
    second.cancel()
    purse.release(first)
    await settle_down()
    assert second.cancelled()
    assert third.done()
    fourth = await begin(purse, demand(run))
    purse.release(third.result())
    fourth.cancel()  # it was granted in the same moment
    await settle_down()
    assert fourth.cancelled()
    assert (await purse.reserve(demand(run))).amount.turns == 1


async def test_a_call_that_is_cancelled_while_it_waits_ends_as_cancelled_and_holds_nobody_up() -> None:
    purse, run = purse_of(), limited({"turns": 1})
    first = await purse.reserve(demand(run))
    second, third = await begin(purse, demand(run)), await begin(purse, demand(run))
    second.cancel()
    await settle_down()
    assert second.cancelled()
    purse.release(first)
    await settle_down()
    assert third.result().amount.turns == 1


@pytest.mark.parametrize("granted", [pytest.param(True, id="and is granted meanwhile"), pytest.param(False, id="and waits still")])  # fmt: skip
async def test_a_call_whose_client_cannot_be_told_that_it_waits_gives_everything_back(granted: bool) -> None:
    known = state()
    purse, run = purse_of(known), limited({"turns": 1, "costUSD": "1.00"})
    first = await purse.reserve(demand(run))

    async def patience(done: asyncio.Future[Any]) -> None:
        if granted:
            purse.release(first)
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await purse.reserve(demand(run), patience)
    purse.release(first)
    assert known.attempt_state(ATTEMPT).reserved_micro_usd is None
    assert (await purse.reserve(demand(run))).amount.turns == 1


async def test_a_try_is_settled_once() -> None:
    purse, run = purse_of(), limited({})
    granted = await purse.reserve(demand(run))
    purse.settle(granted, answered())
    purse.release(granted)
    with pytest.raises(ValueError, match="once"):
        purse.settle(granted, answered())


@pytest.mark.row("S1.15", "C12")
@pytest.mark.parametrize(
    ("limits", "spent", "limit", "value", "says"),
    [
        pytest.param({"costUSD": "0.50"}, Amount(500_000, 9, 3), "costUSD", "0.50", "0.50 of 0.50 USD used", id="money"),
        pytest.param({"tokens": 1000}, Amount(0, 500, 3), "tokens", "1000", "500 of 1000 tokens used", id="tokens that the input alone would pass"),
        pytest.param({"turns": 3}, Amount(0, 9, 3), "turns", "3", "3 of 3 turns used", id="turns"),
    ],
)  # fmt: skip
async def test_a_limit_that_is_reached_refuses_and_is_told_to_the_operator(
    limits: dict[str, Any], spent: Amount, limit: str, value: str, says: str
) -> None:
    known = state()
    run = limited(limits, version=7, spent=Spent(spent, {1: spent}))
    task = await begin(purse_of(known), demand(run))
    refused = refusal(task)
    assert refused.refusal.kind is Kind.LIMIT
    assert refused.verdict is None
    assert says in refused.refusal.message
    told = known.attempt_state(ATTEMPT).refusal
    assert told is not None
    assert (told.limit, told.value, told.generation) == (limit, value, 7)


async def test_a_refusal_is_over_once_a_later_call_succeeds() -> None:
    known = state()
    run = limited({"turns": 1}, spent=Spent(Amount(turns=1), {1: Amount(turns=1)}))
    purse = purse_of(known)
    refusal(await begin(purse, demand(run)))
    raised = limited({"turns": 5}, version=2, spent=run.spent)
    purse.look(UID, raised)
    granted = await purse.reserve(demand(raised))
    end = answered()
    purse.settle(granted, end)
    known.settle(ATTEMPT, end, model=LaneModel("n", "lane", "m"), sent=utc_now(), failure=None)
    assert known.attempt_state(ATTEMPT).refusal is None


async def test_a_model_without_a_price_is_left_by_a_run_with_a_limit_of_money() -> None:
    refused = refusal(await begin(purse_of(), demand(limited({"costUSD": "1.00"}), prices=None)))
    assert refused.verdict == Verdict(Cause.UNSUITABLE)
    assert "lane/m has no price" in refused.refusal.message


async def test_output_is_clamped_to_what_is_left() -> None:
    run = limited({"costUSD": "0.01"})
    granted = await purse_of().reserve(demand(run, wanted_output=None))
    assert granted.clamp == (10_000 * DOLLAR - 500 * PRICES.cache_write) // PRICES.output
    assert granted.micro_usd is not None
    assert granted.micro_usd <= 10_000


async def test_what_open_calls_may_cost_is_told_and_taken_back() -> None:
    known = state()
    purse, run = purse_of(known), limited({"costUSD": "1.00"})
    granted = await purse.reserve(demand(run))
    assert known.attempt_state(ATTEMPT).reserved_micro_usd == 3375
    purse.settle(granted, answered())
    assert known.attempt_state(ATTEMPT).reserved_micro_usd is None


# ---- pause

PAUSES = {"turns": 1, "onReached": "Pause"}
ONE_TURN = Spent(Amount(turns=1), {1: Amount(turns=1)})


async def test_a_limit_that_is_raised_while_a_paused_call_is_held_simply_goes_on() -> None:
    known = state()
    purse, run = purse_of(known), limited(PAUSES, spent=ONE_TURN)
    held = await begin(purse, demand(run, hold_seconds=LONG))
    assert not held.done()
    purse.look(UID, limited({**PAUSES, "turns": 2}, version=2, spent=ONE_TURN))
    await settle_down()
    assert held.result().amount.turns == 1
    assert known.attempt_state(ATTEMPT).refusal is None


async def test_a_paused_call_is_refused_when_it_was_held_long_enough() -> None:
    known = state()
    purse, run = purse_of(known), limited(PAUSES, spent=ONE_TURN)
    with pytest.raises(Refused):
        await purse.reserve(demand(run, hold_seconds=0.01))
    assert known.attempt_state(ATTEMPT).refusal is not None


async def test_a_paused_call_does_not_hold_up_one_that_still_fits() -> None:
    purse, run = purse_of(), limited({"tokens": 1000, "onReached": "Pause"})
    await learned(purse, run)
    held = await begin(purse, demand(run, body_bytes=100_000, hold_seconds=LONG))
    fits = await begin(purse, demand(run, hold_seconds=LONG))
    assert not held.done()
    assert fits.done()
    held.cancel()


async def test_a_run_that_no_longer_pauses_refuses_the_calls_that_it_held() -> None:
    purse, run = purse_of(), limited(PAUSES, spent=ONE_TURN)
    held = await begin(purse, demand(run, hold_seconds=LONG))
    purse.look(UID, limited({"turns": 1, "onReached": "Stop"}, version=2, spent=ONE_TURN))
    await settle_down()
    assert refusal(held).refusal.kind is Kind.LIMIT


async def test_the_book_of_a_run_that_is_over_goes_with_its_last_call() -> None:
    purse, run = purse_of(), limited({"turns": 2})
    granted = await purse.reserve(demand(run))
    purse.look(UID, limited({"turns": 2}, version=2, finished=True))
    purse.settle(granted, answered())
    with pytest.raises(KeyError):
        purse.settle(granted, answered())


async def test_the_book_of_a_run_that_is_over_goes_with_the_last_call_that_waited() -> None:
    purse, run = purse_of(), limited(PAUSES, spent=ONE_TURN)
    held = await begin(purse, demand(run, hold_seconds=LONG))
    purse.look(UID, limited(PAUSES, version=2, spent=ONE_TURN, finished=True))
    held.cancel()
    await settle_down()
    granted = await purse.reserve(demand(limited({"turns": 2}, spent=NO_SPENDING)))
    assert granted.amount.turns == 1


# ---- many calls at once


@pytest.mark.row("S1.15", "S4.28")
async def test_the_half_dollar_case_two_hundred_parallel_calls_stay_under_the_cap() -> None:
    purse, run = purse_of(), limited({"costUSD": "0.50"})
    spent = 0

    async def call() -> None:
        nonlocal spent
        granted = await purse.reserve(demand(run, body_bytes=4000, wanted_output=None, longest_output=1000))
        await asyncio.sleep(0)
        charge = purse.settle(granted, answered(1000, granted.output_tokens))
        spent += charge.cost_micro_usd or 0

    results = await asyncio.gather(*(call() for _ in range(200)), return_exceptions=True)
    refused = [error for error in results if isinstance(error, Refused)]
    assert len(refused) == sum(result is not None for result in results)
    assert refused
    assert 480_000 < spent <= 500_000


@dataclass
class Bench:
    """A run whose calls come and end in any order, over restarts of the gateway."""

    limits: Mapping[str, Any]
    chance: random.Random
    state: State = field(default_factory=state)
    version: int = 1
    spent: Spent = NO_SPENDING
    asked: list[asyncio.Task[Reservation]] = field(default_factory=list)
    open: list[Reservation] = field(default_factory=list)
    used: Amount = NOTHING
    """What the server really served, and what was charged for what nobody knows."""
    over: Amount = NOTHING
    """What real inputs were over their reservation."""

    def __post_init__(self) -> None:
        self.purse = purse_of(self.state)

    async def step(self) -> None:
        action = self.chance.choice((self.ask, self.ask, self.ask, self.answer, self.answer, self.end, self.leave, self.status, self.crash))  # fmt: skip
        await action()
        await settle_down()
        self.collect()
        self.check()

    async def ask(self) -> None:
        asked = demand(
            limited(self.limits, version=self.version, spent=self.spent),
            body_bytes=self.chance.randrange(1, 4000),
            wanted_output=self.chance.choice((None, 1, 50, 4000)),
            longest_output=self.chance.choice((None, 500)),
        )
        self.asked.append(asyncio.create_task(self.purse.reserve(asked)))

    async def answer(self) -> None:
        if self.open:
            held = self._take()
            tokens = self.chance.randrange(0, held.body_bytes + 1)
            end = answered(tokens, self.chance.randrange(0, held.output_tokens + 1))
            charge = self.purse.settle(held, end)
            more = max(0, tokens - held.input_tokens)
            self.over = self.over.plus(Amount(-(-more * PRICES.cache_write // DOLLAR), more))
            self._count(charge.cost_micro_usd or 0, tokens + (charge.usage.output_tokens or 0), 1)

    async def end(self) -> None:
        if self.open:
            held, end = self._take(), self.chance.choice((failed(), cut()))
            charge = self.purse.settle(held, end)
            tokens = (charge.usage.input_tokens or 0) + (charge.usage.output_tokens or 0)
            self._count(charge.cost_micro_usd or 0, tokens, 0)

    async def leave(self) -> None:
        """The client goes, before or after its call was granted."""
        if self.asked and self.chance.random() < 0.5:
            self.asked[self.chance.randrange(len(self.asked))].cancel()
        elif self.open:
            self.purse.release(self._take())

    async def status(self) -> None:
        """The operator writes usage, perhaps not the newest, and the view brings it."""
        self.version += 1
        self.spent = Spent(self.used, {1: self.used})
        self.purse.look(UID, limited(self.limits, version=self.version, spent=self.spent))

    async def crash(self) -> None:
        """SIGKILL: held calls are gone, the ledger charges every open row whole and tells the next process its sums."""
        if self.chance.random() < 0.7:
            return
        for task in self.asked:
            task.cancel()
        await settle_down()
        self.asked.clear()
        for held in self.open:
            self._count(held.amount.cost, held.input_tokens + held.output_tokens, 0)
        self.open.clear()
        counted = Past(
            ATTEMPT,
            calls=1,
            turns=self.used.turns,
            input_tokens=self.used.tokens,
            priced_calls=1,
            cost_micro_usd=self.used.cost,
        )
        self.state = State(clock=utc_now, past=[counted])
        self.purse = purse_of(self.state)

    def collect(self) -> None:
        for task in [task for task in self.asked if task.done()]:
            self.asked.remove(task)
            if task.cancelled():
                continue
            error = task.exception()
            assert error is None or isinstance(error, Refused), error
            if error is None:
                self.open.append(task.result())

    def check(self) -> None:
        held = self.used
        for one in self.open:
            held = held.plus(one.amount)
        most = bounds(limited(self.limits).limits)
        named = zip(
            (LimitName.COST, LimitName.TOKENS, LimitName.TURNS), (most.cost, most.tokens, most.turns), strict=True
        )
        for limit, bound in named:
            assert bound is None or held.of(limit) <= bound + self.over.of(limit), limit

    def _take(self) -> Reservation:
        return self.open.pop(self.chance.randrange(len(self.open)))

    def _count(self, cost: int, tokens: int, turns: int) -> None:
        self.used = self.used.plus(Amount(cost, tokens, turns))


@pytest.mark.row("S1.15", "C12")
@settings(max_examples=60)
@given(
    seed=st.integers(),
    cost=st.none() | st.integers(1, 200_000),
    tokens=st.none() | st.integers(1, 20_000),
    turns=st.integers(1, 30),
)
def test_no_order_of_events_lets_a_run_pass_its_limits(
    seed: int, cost: int | None, tokens: int | None, turns: int
) -> None:
    limits: dict[str, Any] = {"turns": turns}
    if cost is not None:
        limits["costUSD"] = f"0.{cost:06d}"
    if tokens is not None:
        limits["tokens"] = tokens

    async def day() -> None:
        bench = Bench(limits, random.Random(seed))
        for _ in range(80):
            await bench.step()
        for task in bench.asked:
            task.cancel()
        await settle_down()

    asyncio.run(day())
