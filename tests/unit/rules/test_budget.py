"""What a call may still spend: cases by hand, and the bound under any interleaving of parallel calls, cuts and crashes."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laneway.rules.budget import (
    Amount,
    Ask,
    Books,
    Grant,
    Limit,
    Limits,
    Reached,
    Unpriced,
    Wait,
    judge,
    reached,
    warnings,
)
from laneway.rules.pricing import Prices, cost_micro_usd
from laneway.rules.usage import Usage

DOLLAR = 1_000_000
PRICES = Prices(input=3 * DOLLAR, output=15 * DOLLAR, cache_read=300_000, cache_write=3_750_000)
NOTHING = Amount()
FREE = Prices(input=0, output=0, cache_read=0, cache_write=0)


def ask(
    *, body: int = 1000, wanted: int | None = 1000, longest: int | None = None, prices: Prices | None = PRICES
) -> Ask:
    return Ask(body_bytes=body, wanted_output=wanted, longest_output=longest, prices=prices)


def books(*, spent: Amount = NOTHING, held: Amount = NOTHING, calls: int = 0, shown: float | None = 0.25) -> Books:
    return Books(settled=spent, reserved=held, open_calls=calls, tokens_per_byte=shown)


CASES = [
    pytest.param(
        Limits(), books(), ask(wanted=None, prices=None), (1, None), id="without limits a call asks for what it wants"
    ),
    pytest.param(
        Limits(cost=DOLLAR), books(), ask(), (16174, None), id="what fits is reserved at its dearest and left alone"
    ),
    pytest.param(
        Limits(cost=DOLLAR),
        books(spent=Amount(cost=DOLLAR - 10_000)),
        ask(),
        (9994, 588),
        id="output is clamped to what is left",
    ),
    pytest.param(
        Limits(tokens=1000), books(), ask(wanted=None, prices=None), (0, 687), id="tokens clamp too, and need no price"
    ),
    pytest.param(
        Limits(cost=DOLLAR), books(), ask(prices=FREE, wanted=None), (0, None), id="a free model is never clamped"
    ),
    pytest.param(
        Limits(cost=DOLLAR),
        books(),
        ask(wanted=None, longest=100),
        (2674, 100),
        id="without a wish the model's longest answer is asked for",
    ),
]


@pytest.mark.row("S1.15")
@pytest.mark.parametrize(("limits", "known", "wish", "expected"), CASES)
def test_a_call_that_fits_is_granted(limits: Limits, known: Books, wish: Ask, expected: tuple[int, int | None]) -> None:
    verdict = judge(limits, known, wish)
    assert isinstance(verdict, Grant)
    cost, clamp = expected
    assert verdict.clamp == clamp
    if limits.cost is not None:
        assert verdict.reservation.cost == cost


REFUSED = [
    pytest.param(
        Limits(cost=DOLLAR), books(spent=Amount(cost=DOLLAR)), ask(), Reached(Limit.COST), id="spent is reached"
    ),
    pytest.param(
        Limits(tokens=300), books(), ask(), Reached(Limit.TOKENS), id="an input that cannot be paid is reached"
    ),
    pytest.param(
        Limits(turns=2), books(spent=Amount(turns=2)), ask(), Reached(Limit.TURNS), id="the last turn was taken"
    ),
    pytest.param(
        Limits(turns=2),
        books(spent=Amount(turns=1), held=Amount(turns=1), calls=1),
        ask(),
        Wait(),
        id="an open call holds the last turn",
    ),
    pytest.param(
        Limits(cost=20_000),
        books(held=Amount(cost=10_000), calls=1),
        ask(),
        Wait(),
        id="what open calls hold may come back",
    ),
    pytest.param(
        Limits(cost=DOLLAR), books(calls=1, shown=None), ask(), Wait(), id="the first call of a run goes alone"
    ),
    pytest.param(Limits(cost=DOLLAR), books(), ask(prices=None), Unpriced(), id="no price is unknown, not free"),
]


@pytest.mark.parametrize(("limits", "known", "wish", "verdict"), REFUSED)
def test_a_call_that_does_not_fit_waits_or_is_refused(limits: Limits, known: Books, wish: Ask, verdict: object) -> None:
    assert judge(limits, known, wish) == verdict


@pytest.mark.row("S4.27", "S4.28")
def test_the_warning_comes_at_its_percent_and_not_before() -> None:
    limits = Limits(cost=DOLLAR, turns=10)
    assert warnings(limits, Amount(cost=799_999, turns=7), percent=80) == []
    assert warnings(limits, Amount(cost=800_000, turns=8), percent=80) == [Limit.COST, Limit.TURNS]


def test_a_limit_is_reached_by_settled_calls_alone() -> None:
    assert reached(Limits(tokens=10), Amount(tokens=9)) is None
    assert reached(Limits(tokens=10), Amount(tokens=10)) is Limit.TOKENS


@dataclass
class Flight:
    """A call in flight: what it reserved, and what it may answer at most."""

    wish: Ask
    grant: Grant
    reserved_input: int


@dataclass
class Day:
    """A run with parallel calls that end in every way there is, and a record of what was really spent."""

    limits: Limits
    chance: random.Random
    books: Books = field(default_factory=Books)
    open: list[Flight] = field(default_factory=list)
    over_input: int = 0
    """Micro-dollars that real inputs were over what was reserved for them."""

    def step(self) -> None:
        action = self.chance.choice(("ask", "ask", "answer", "answer", "fail", "silent", "crash"))
        if action == "ask":
            self._ask()
        elif action == "crash":
            while self.open and self.chance.random() < 0.3:
                self._charge_reserved()
        elif self.open:
            {"answer": self._answer, "fail": self._fail, "silent": self._charge_reserved}[action]()

    def _ask(self) -> None:
        wish = ask(
            body=self.chance.randrange(1, 4000),
            wanted=self.chance.choice((None, 1, 50, 4000)),
            longest=self.chance.choice((None, 500)),
        )
        verdict = judge(self.limits, self.books, wish)
        if isinstance(verdict, Grant):
            flight = Flight(wish, verdict, reserved_input=verdict.reservation.tokens - self._most_output(wish, verdict))
            self.open.append(flight)
            self._change(reserved=verdict.reservation, calls=1)

    @staticmethod
    def _most_output(wish: Ask, grant: Grant) -> int:
        bounds = [bound for bound in (wish.wanted_output, grant.clamp) if bound is not None]
        return min(bounds)

    def _answer(self) -> None:
        flight = self._take()
        most = self._most_output(flight.wish, flight.grant)
        real_input = self.chance.randrange(0, flight.wish.body_bytes + 1)
        usage = Usage(
            input_tokens=real_input, output_tokens=self.chance.randrange(0, most + 1), cache_write_tokens=real_input
        )
        over = max(0, real_input - flight.reserved_input)
        self.over_input += -(-over * PRICES.cache_write // DOLLAR)
        shown = max(self.books.tokens_per_byte or 0.0, real_input / flight.wish.body_bytes)
        spent = Amount(cost_micro_usd(PRICES, usage) or 0, real_input + (usage.output_tokens or 0), 1)
        self._change(settled=spent, shown=shown)

    def _fail(self) -> None:
        self._take()

    def _charge_reserved(self) -> None:
        self._change(settled=self._take().grant.reservation)

    def _take(self) -> Flight:
        flight = self.open.pop(self.chance.randrange(len(self.open)))
        self._change(reserved=Amount().less(flight.grant.reservation), calls=-1)
        return flight

    def _change(
        self, *, settled: Amount = NOTHING, reserved: Amount = NOTHING, calls: int = 0, shown: float | None = None
    ) -> None:
        known = self.books
        self.books = Books(
            settled=known.settled.plus(settled),
            reserved=known.reserved.plus(reserved),
            open_calls=known.open_calls + calls,
            tokens_per_byte=known.tokens_per_byte if shown is None else shown,
        )


@pytest.mark.row("S1.15")
@given(seed=st.integers(), limit=st.integers(1, 200_000), turns=st.none() | st.integers(1, 30))
def test_no_interleaving_of_calls_cuts_and_crashes_passes_the_bound(seed: int, limit: int, turns: int | None) -> None:
    day = Day(Limits(cost=limit, turns=turns), random.Random(seed))
    for _ in range(120):
        day.step()
        assert day.books.settled.cost <= limit + day.over_input
        assert day.books.settled.cost + day.books.reserved.cost <= limit + day.over_input
        assert turns is None or day.books.settled.turns + day.books.reserved.turns <= turns
    while day.open:
        day._charge_reserved()
    assert day.books.settled.cost <= limit + day.over_input
