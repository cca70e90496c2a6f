"""What each run has used over all its attempts, and what its open calls hold.

The gateway's own count of an attempt and what the run's status says of it are the same calls: the larger holds, they are never added. Status
alone knows attempts on Direct lanes, and what a ledger that was lost had counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from laneway.api.gatewaystate import Totals
from laneway.gateway.cluster.objects import Run
from laneway.gateway.ledger.ledger import CallEnd
from laneway.gateway.money.spends import SpendKey
from laneway.rules import limits
from laneway.rules.budget import Account, Amount
from laneway.rules.pricing import Prices
from laneway.rules.token import AttemptId
from laneway.rules.usage import Usage

TotalsOf = Callable[[AttemptId], Totals | None]
"""What the gateway has counted for an attempt before this process reserved anything for it; None: nothing."""


@dataclass(frozen=True, eq=False, slots=True)
class Reservation:
    """What one try of a call may cost at most. The numbers are also those of its row in the ledger."""

    attempt: AttemptId
    amount: Amount
    body_bytes: int
    input_tokens: int
    output_tokens: int
    """0: nothing bounds the answer."""
    prices: Prices | None
    clamp: int | None
    """The most output tokens that the request may ask for; None: it is left alone."""
    spends: tuple[SpendKey, ...] = ()
    """The sums of its lane that it counts for."""

    @property
    def micro_usd(self) -> int | None:
        """Its money; None: no price is known."""
        return None if self.prices is None else self.amount.cost


@dataclass(frozen=True, slots=True)
class Charge:
    """What is charged for a try that has ended."""

    usage: Usage
    cost_micro_usd: int | None
    """None: no price, or nothing to charge."""
    estimated: bool
    """The try was sent and gave no usage, or not all of it: its reservation is charged."""

    def entered_in(self, end: CallEnd) -> CallEnd:
        """The end of the try with what is charged for it."""
        if not self.estimated:
            return end
        return replace(end, usage=self.usage, cost_micro_usd=self.cost_micro_usd, estimated=True)


class Book:
    """One run."""

    def __init__(self, run: Run, totals_of: TotalsOf) -> None:
        self._run = run
        self._bounds = limits.bounds(run.limits)
        self.tokens_per_byte: float | None = None
        """The highest that a settled call has shown since this process began."""
        self._totals_of = totals_of
        self._own: dict[int, Amount] = {}
        self._open: set[Reservation] = set()
        self._reserved = Amount()
        self._known: Amount | None = None
        """What is settled, until something of it changes."""

    @property
    def run(self) -> Run:
        """As the view has it now."""
        return self._run

    @run.setter
    def run(self, run: Run) -> None:
        self._run, self._bounds, self._known = run, limits.bounds(run.limits), None

    @property
    def open_calls(self) -> int:
        """Calls that hold a reservation."""
        return len(self._open)

    def account(self) -> Account:
        """The run's limits with what is used and held."""
        if self._known is None:
            self._known = self._settled()
        return Account(self._bounds, self._known, self._reserved)

    def reserved_micro_usd(self, attempt: AttemptId) -> int | None:
        """What open calls of an attempt may cost; None: none is open, or no price is known."""
        held = [one.micro_usd for one in self._open if one.attempt == attempt]
        known = [money for money in held if money is not None]
        return sum(known) if known else None

    def know(self, number: int) -> None:
        """Take in what was counted of an attempt before this process first heard of it; before its first try is judged."""
        if number in self._own:
            return
        told = self.run.spent.attempts.get(number, Amount())
        totals = self._totals_of(AttemptId(self.run.uid, number))
        self._own[number] = told if totals is None else told.most(_amount(totals))
        self._known = None

    def hold(self, reservation: Reservation) -> None:
        """A try begins."""
        self._open.add(reservation)
        self._reserved = self._reserved.plus(reservation.amount)

    def let_go(self, reservation: Reservation) -> bool:
        """A try has ended. False: it was let go before."""
        if reservation not in self._open:
            return False
        self._open.discard(reservation)
        self._reserved = self._reserved.less(reservation.amount)
        return True

    def charge(self, reservation: Reservation, end: CallEnd) -> Charge:
        """Enter what a try has used. What was sent and not counted costs its reservation, or what was read if that is more."""
        charge = _charge(reservation, end)
        usage = charge.usage
        tokens = (usage.input_tokens or 0) + (usage.output_tokens or 0)
        number = reservation.attempt.attempt
        self._own[number] = self._own[number].plus(Amount(charge.cost_micro_usd or 0, tokens, int(end.turn)))
        self._known = None
        if not charge.estimated and usage.input_tokens is not None and reservation.body_bytes:
            shown = usage.input_tokens / reservation.body_bytes
            self.tokens_per_byte = max(self.tokens_per_byte or 0.0, shown)
        return charge

    def _settled(self) -> Amount:
        """What status has in its sum and in none of its attempts is that of attempts which it no longer lists, and of attempt 0."""
        spent = self.run.spent
        for number in spent.attempts:
            self.know(number)
        first = min(spent.attempts, default=1)
        older = spent.total.less(_sum(spent.attempts.values()))
        older = older.most(_sum(amount for number, amount in self._own.items() if number < first))
        listed = {number for number in self._own if number >= first}
        return older.plus(_sum(self._own[one].most(spent.attempts.get(one, Amount())) for one in listed))


def _sum(amounts: Iterable[Amount]) -> Amount:
    total = Amount()
    for amount in amounts:
        total = total.plus(amount)
    return total


def _amount(totals: Totals) -> Amount:
    return Amount(totals.cost_micro_usd or 0, totals.input_tokens + totals.output_tokens, totals.turns)


def _charge(reservation: Reservation, end: CallEnd) -> Charge:
    if end.metered:
        return Charge(end.usage, end.cost_micro_usd, estimated=False)
    read = end.usage
    usage = Usage(
        input_tokens=max(reservation.input_tokens, read.input_tokens or 0),
        output_tokens=max(reservation.output_tokens, read.output_tokens or 0),
        cache_read_tokens=read.cache_read_tokens,
        cache_write_tokens=read.cache_write_tokens,
    )
    held, told = reservation.micro_usd, end.cost_micro_usd
    cost = None if held is None else max(held, told or 0)
    return Charge(usage, cost, estimated=True)
