"""What a call may still use: cases by hand, and the bound under any interleaving of parallel calls, cuts and crashes."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laneway.api.limits import LimitName
from laneway.rules.budget import (
    Account,
    Amount,
    Ask,
    Bounds,
    Grant,
    Reached,
    Unpriced,
    Wait,
    estimated_input,
    judge,
    reached,
)
from laneway.rules.pricing import Prices, cost_micro_usd
from laneway.rules.usage import Usage

DOLLAR = 1_000_000
PRICES = Prices(input=3 * DOLLAR, output=15 * DOLLAR, cache_read=300_000, cache_write=3_750_000)
NOTHING = Amount()
FREE = Prices(input=0, output=0, cache_read=0, cache_write=0)


def ask(
    *,
    tokens: int = 313,
    wanted: int | None = 1000,
    longest: int | None = None,
    prices: Prices | None = PRICES,
    **more: int,
) -> Ask:
    return Ask(input_tokens=tokens, wanted_output=wanted, longest_output=longest, prices=prices, **more)


def account(bounds: Bounds, *, spent: Amount = NOTHING, held: Amount = NOTHING) -> Account:
    return Account(bounds, settled=spent, reserved=held)


NO_BOUNDS = Bounds()
ONE_DOLLAR = Bounds(cost=DOLLAR)

CASES = [
    pytest.param(
        account(NO_BOUNDS), ask(wanted=None, prices=None), (0, None), id="without limits a call asks for what it wants"
    ),
    pytest.param(account(ONE_DOLLAR), ask(), (16174, None), id="what fits is reserved at its dearest and left alone"),
    pytest.param(
        account(ONE_DOLLAR, spent=Amount(cost=DOLLAR - 10_000)),
        ask(),
        (9994, 588),
        id="output is clamped to what is left",
    ),
    pytest.param(
        account(Bounds(tokens=1000)), ask(wanted=None, prices=None), (0, 687), id="tokens clamp too, and need no price"
    ),
    pytest.param(account(ONE_DOLLAR), ask(prices=FREE, wanted=None), (0, None), id="a free model is never clamped"),
    pytest.param(
        account(ONE_DOLLAR),
        ask(wanted=None, longest=100),
        (2674, 100),
        id="without a wish the model's longest answer is asked for",
    ),
    pytest.param(account(Bounds(turns=1)), ask(wanted=None, longest=100), (2674, None), id="turns alone clamp nothing"),
    pytest.param(
        account(Bounds(tokens=400)),
        ask(wanted=0, least_output=0, turn=False),
        (1174, None),
        id="a call that generates nothing has no output to clamp",
    ),
]


@pytest.mark.row("S1.15")
@pytest.mark.parametrize(("purse", "wish", "expected"), CASES)
def test_a_call_that_fits_is_granted(purse: Account, wish: Ask, expected: tuple[int, int | None]) -> None:
    verdict = judge([purse], wish)
    assert isinstance(verdict, Grant)
    assert (verdict.reservation.cost, verdict.clamp) == expected


REFUSED = [
    pytest.param(
        account(ONE_DOLLAR, spent=Amount(cost=DOLLAR)), ask(), Reached(0, LimitName.COST), id="spent is reached"
    ),
    pytest.param(
        account(ONE_DOLLAR, spent=Amount(cost=DOLLAR)),
        ask(prices=FREE),
        Reached(0, LimitName.COST),
        id="a free model does not go on behind a limit that is used up",
    ),
    pytest.param(
        account(Bounds(tokens=300)), ask(), Reached(0, LimitName.TOKENS), id="an input that cannot be paid is reached"
    ),
    pytest.param(
        account(Bounds(tokens=315)),
        ask(least_output=3),
        Reached(0, LimitName.TOKENS),
        id="three choices need three tokens at least",
    ),
    pytest.param(
        account(Bounds(turns=2), spent=Amount(turns=2)),
        ask(),
        Reached(0, LimitName.TURNS),
        id="the last turn was taken",
        marks=pytest.mark.row("C12"),
    ),
    pytest.param(
        account(Bounds(turns=2), spent=Amount(turns=1), held=Amount(turns=1)),
        ask(),
        Wait(0),
        id="an open call holds the last turn",
    ),
    pytest.param(
        account(Bounds(cost=20_000), held=Amount(cost=10_000)),
        ask(),
        Wait(0),
        id="what open calls hold may come back",
    ),
    pytest.param(account(ONE_DOLLAR), ask(blind=True), Wait(0), id="the first call of a run goes alone"),
    pytest.param(
        account(ONE_DOLLAR),
        ask(prices=None),
        Unpriced(),
        id="no price is unknown, not free",
        marks=pytest.mark.row("C13"),
    ),
]


@pytest.mark.parametrize(("purse", "wish", "verdict"), REFUSED)
def test_a_call_that_does_not_fit_waits_or_is_refused(purse: Account, wish: Ask, verdict: object) -> None:
    assert judge([purse], wish) == verdict


def test_turns_alone_let_calls_of_unknown_size_go_side_by_side() -> None:
    assert isinstance(judge([account(Bounds(turns=5))], ask(blind=True)), Grant)


def test_a_call_is_paid_from_every_account_and_clamped_by_the_tightest() -> None:
    verdict = judge([account(Bounds(tokens=1000)), account(Bounds(tokens=500))], ask())
    assert isinstance(verdict, Grant)
    assert verdict.clamp == 187
    assert judge([account(NO_BOUNDS), account(ONE_DOLLAR, spent=Amount(cost=DOLLAR))], ask()) == Reached(
        1, LimitName.COST
    )
    assert judge([account(NO_BOUNDS), account(ONE_DOLLAR, held=Amount(cost=DOLLAR))], ask()) == Wait(1)


def test_a_limit_is_reached_by_settled_calls_alone() -> None:
    assert reached(Bounds(tokens=10), Amount(tokens=9)) is None
    assert reached(Bounds(tokens=10), Amount(tokens=10)) is LimitName.TOKENS


def test_input_is_estimated_high_at_first_and_by_what_was_shown_later() -> None:
    assert estimated_input(1001, None) == 501
    assert estimated_input(1000, 0.25) == 313


@dataclass
class Flight:
    """A call in flight: what it reserved, and what it may answer at most."""

    body_bytes: int
    wish: Ask
    grant: Grant


@dataclass
class Day:
    """A run with parallel calls that end in every way there is, and a record of what was really spent."""

    bounds: Bounds
    chance: random.Random
    account: Account = field(init=False)
    shown: float | None = None
    open: list[Flight] = field(default_factory=list)
    over: Amount = NOTHING
    """What real inputs were over what was reserved for them."""

    def __post_init__(self) -> None:
        self.account = Account(self.bounds)

    def step(self) -> None:
        action = self.chance.choice(("ask", "ask", "answer", "answer", "fail", "silent", "crash"))
        if action == "ask":
            self._ask()
        elif action == "crash":
            self.crash()
        elif self.open:
            {"answer": self._answer, "fail": self._take, "silent": self._charge_reserved}[action]()

    def crash(self) -> None:
        """Whatever was open is charged whole at the next start, and what was learned of the texts is forgotten."""
        while self.open:
            self._charge_reserved()
        self.shown = None

    def _ask(self) -> None:
        body = self.chance.randrange(1, 4000)
        wish = ask(
            tokens=estimated_input(body, self.shown),
            wanted=self.chance.choice((None, 1, 50, 4000)),
            longest=self.chance.choice((None, 500)),
        )
        wish = replace(wish, blind=self.shown is None and bool(self.open))
        verdict = judge([self.account], wish)
        if isinstance(verdict, Grant):
            self.open.append(Flight(body, wish, verdict))
            self._change(reserved=verdict.reservation)

    def _answer(self) -> None:
        flight = self._take()
        real_input = self.chance.randrange(0, flight.body_bytes + 1)
        most = flight.grant.output_tokens
        usage = Usage(
            input_tokens=real_input, output_tokens=self.chance.randrange(0, most + 1), cache_write_tokens=real_input
        )
        over = max(0, real_input - flight.wish.input_tokens)
        self.over = self.over.plus(Amount(cost=-(-over * PRICES.cache_write // DOLLAR), tokens=over))
        self.shown = max(self.shown or 0.0, real_input / flight.body_bytes)
        spent = Amount(cost_micro_usd(PRICES, usage) or 0, real_input + (usage.output_tokens or 0), 1)
        self._change(settled=spent)

    def _charge_reserved(self) -> None:
        self._change(settled=self._take().grant.reservation)

    def _take(self) -> Flight:
        flight = self.open.pop(self.chance.randrange(len(self.open)))
        self._change(reserved=NOTHING.less(flight.grant.reservation))
        return flight

    def _change(self, *, settled: Amount = NOTHING, reserved: Amount = NOTHING) -> None:
        known = self.account
        self.account = replace(known, settled=known.settled.plus(settled), reserved=known.reserved.plus(reserved))


@pytest.mark.row("S1.15")
@given(
    seed=st.integers(),
    cost=st.none() | st.integers(1, 200_000),
    tokens=st.none() | st.integers(1, 20_000),
    turns=st.none() | st.integers(1, 30),
)
def test_no_interleaving_of_calls_cuts_and_crashes_passes_the_bound(
    seed: int, cost: int | None, tokens: int | None, turns: int | None
) -> None:
    day = Day(Bounds(cost, tokens, turns), random.Random(seed))
    for _ in range(120):
        day.step()
        _check(day)
    day.crash()
    _check(day)


def _check(day: Day) -> None:
    held = day.account.settled.plus(day.account.reserved)
    bounds = (day.bounds.cost, day.bounds.tokens, day.bounds.turns)
    for limit, bound in zip((LimitName.COST, LimitName.TOKENS, LimitName.TURNS), bounds, strict=True):
        assert bound is None or held.of(limit) <= bound + day.over.of(limit)
