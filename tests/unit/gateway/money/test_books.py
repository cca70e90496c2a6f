"""What a run has used: never counted twice, never forgotten."""

from __future__ import annotations

from typing import Any

import pytest

from laneway.api.gatewaystate import Totals
from laneway.gateway.cluster.spent import Spent, spent_of
from laneway.gateway.money.books import Book, Reservation
from laneway.rules.budget import Amount
from laneway.rules.token import AttemptId
from laneway.rules.usage import Usage
from unit.gateway.kit import call_end
from unit.gateway.purses import ATTEMPT, PRICES, answered, cut, failed, limited

LIMITS = {"costUSD": "1.00"}


def totals(tokens: int = 0, *, turns: int = 1, cost: int | None = 0) -> Totals:
    return Totals(turns=turns, input_tokens=tokens, cost_micro_usd=cost)


def used(tokens: int, *, turns: int = 1, cost: int = 0) -> Amount:
    return Amount(cost, tokens, turns)


def reservation(attempt: AttemptId = ATTEMPT, **changes: Any) -> Reservation:
    plain: dict[str, Any] = {
        "attempt": attempt,
        "amount": Amount(3375, 600, 1),
        "body_bytes": 1000,
        "input_tokens": 500,
        "output_tokens": 100,
        "prices": PRICES,
        "clamp": None,
    }
    return Reservation(**{**plain, **changes})


SETTLED = [
    pytest.param(Spent(), {}, Amount(), id="a new run has used nothing"),
    pytest.param(Spent(), {1: totals(100)}, used(100), id="what the ledger counted holds before status has heard of it"),
    pytest.param(
        Spent(used(80), {1: used(80)}), {1: totals(100)}, used(100), id="a status that lags behind is no second count"
    ),
    pytest.param(
        Spent(used(100), {1: used(100)}), {}, used(100), id="status speaks where the ledger was lost"
    ),
    pytest.param(
        Spent(used(180, turns=2), {1: used(100), 2: used(80)}),
        {2: totals(90)},
        used(190, turns=2),
        id="an attempt on a Direct lane is known from status, the one after it from the gateway",
    ),
    pytest.param(
        Spent(used(500, turns=5), {11: used(100)}),
        {11: totals(100)},
        used(500, turns=5),
        id="attempts that status no longer lists are in its sum",
    ),
    pytest.param(
        Spent(used(500, turns=5), {2: used(400, turns=4)}),
        {1: totals(100), 2: totals(400, turns=4)},
        used(500, turns=5),
        id="an attempt that status no longer lists, and that this process has counted, is in its sum",
    ),
    pytest.param(
        Spent(used(30, turns=0), {}),
        {0: totals(30, turns=0)},
        used(30, turns=0),
        id="what classifying the run cost is in its sum once status has it",
    ),
    pytest.param(
        Spent(), {0: totals(30, turns=0)}, used(30, turns=0), id="what classifying the run cost holds before status has heard of it"
    ),
    pytest.param(
        Spent(used(100), {1: used(100)}), {1: totals(100, cost=None)}, used(100), id="a cost that is not known is a lower bound"
    ),
]  # fmt: skip


@pytest.mark.row("C21")
@pytest.mark.parametrize(("spent", "counted", "expected"), SETTLED)
def test_all_attempts_count_once(spent: Spent, counted: dict[int, Totals], expected: Amount) -> None:
    book = Book(limited(LIMITS, spent=spent), lambda attempt: counted.get(attempt.attempt))
    for number in (0, 1):
        book.know(number)
    assert book.account().settled == expected


def test_what_is_charged_is_added_to_what_was_counted_before() -> None:
    book = Book(limited(LIMITS), lambda attempt: totals(100, cost=7))
    held = reservation()
    book.know(1)
    book.hold(held)
    assert book.account().reserved == held.amount
    assert book.let_go(held)
    book.charge(held, answered(250, 50))
    assert book.account().settled == Amount(7 + 1500, 400, 2)
    assert book.account().reserved == Amount()


def test_a_status_that_catches_up_changes_nothing() -> None:
    book = Book(limited(LIMITS), lambda attempt: None)
    held = reservation()
    book.know(1)
    book.hold(held)
    book.let_go(held)
    book.charge(held, answered(250, 50))
    before = book.account().settled
    book.run = limited(LIMITS, version=2, spent=Spent(before, {1: before}))
    assert book.account().settled == before


CHARGED = [
    pytest.param(answered(250, 50), (250, 50, 1500, False), id="an answer costs what it used"),
    pytest.param(failed(), (None, None, None, False), id="a refusal costs nothing"),
    pytest.param(cut(), (500, 100, 3375, True), id="a try without usage costs its reservation"),
    pytest.param(
        call_end(usage=Usage(900, None), cost=None, turn=False, metered=False),
        (900, 100, 3375, True),
        id="what was read of a cut answer counts where it is more",
    ),
]


@pytest.mark.parametrize(("end", "expected"), CHARGED)
def test_a_try_is_charged(end: Any, expected: tuple[int | None, int | None, int | None, bool]) -> None:
    book = Book(limited(LIMITS), lambda attempt: None)
    held = reservation()
    book.know(1)
    book.hold(held)
    book.let_go(held)
    charge = book.charge(held, end)
    assert (charge.usage.input_tokens, charge.usage.output_tokens, charge.cost_micro_usd, charge.estimated) == expected


def test_only_what_was_counted_shows_how_many_tokens_a_byte_makes() -> None:
    book = Book(limited(LIMITS), lambda attempt: None)
    book.know(1)
    for end, shown in ((cut(), None), (answered(250), 0.25), (answered(100), 0.25), (answered(400), 0.4)):
        held = reservation()
        book.hold(held)
        book.let_go(held)
        book.charge(held, end)
        assert book.tokens_per_byte == shown


def test_the_money_of_open_calls_is_told_for_each_attempt() -> None:
    book, other = Book(limited(LIMITS), lambda attempt: None), AttemptId("run-uid-1", 2)
    assert book.reserved_micro_usd(ATTEMPT) is None
    book.hold(reservation())
    book.hold(reservation())
    book.hold(reservation(other, prices=None))
    assert book.reserved_micro_usd(ATTEMPT) == 6750
    assert book.reserved_micro_usd(other) is None


def test_status_is_read_as_far_as_it_is_known() -> None:
    usage = {"turns": 2, "totalTokens": 30, "costUSD": "0.50"}
    status = {"usage": usage, "attempts": [{"id": 1, "usage": usage}, {"id": 2}]}
    assert spent_of(status) == Spent(Amount(500_000, 30, 2), {1: Amount(500_000, 30, 2), 2: Amount()})
    assert spent_of({}) == Spent()
