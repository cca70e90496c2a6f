"""What a call may still use: the worst case is reserved before its first byte, and settled at what it really was. Pure.

The bound that holds whatever runs in parallel, is cut or crashes: nobody uses more than a limit, plus, for calls in flight, what their real
input was over the input that was reserved. Output cannot pass, because it is clamped (design section 7, S1.15).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from operator import attrgetter

from laneway.api.limits import LimitName
from laneway.rules.pricing import Prices

FIRST_TOKENS_PER_BYTE = 0.5
"""Before a run has shown what its texts cost: more than any tokenizer makes of plain text or code."""
MARGIN = 1.25
"""Over the highest tokens per byte that the run has shown."""
_PART = {
    LimitName.COST: attrgetter("cost"),
    LimitName.TOKENS: attrgetter("tokens"),
    LimitName.TURNS: attrgetter("turns"),
}
_MICRO = 1_000_000


@dataclass(frozen=True, slots=True)
class Amount:
    """Money in micro-dollars, tokens in and out together, answered calls."""

    cost: int = 0
    tokens: int = 0
    turns: int = 0

    def plus(self, other: Amount) -> Amount:
        """Both together."""
        return Amount(self.cost + other.cost, self.tokens + other.tokens, self.turns + other.turns)

    def less(self, other: Amount) -> Amount:
        """What is left of it."""
        return Amount(self.cost - other.cost, self.tokens - other.tokens, self.turns - other.turns)

    def most(self, other: Amount) -> Amount:
        """The larger of each."""
        return Amount(max(self.cost, other.cost), max(self.tokens, other.tokens), max(self.turns, other.turns))

    def of(self, limit: LimitName) -> int:
        """The part that a limit is about."""
        part: int = _PART[limit](self)
        return part


@dataclass(frozen=True, slots=True)
class Bounds:
    """What may be used. None: as much as one wants."""

    cost: int | None = None
    """Micro-dollars."""
    tokens: int | None = None
    turns: int | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """One purse that a call is paid from: its bounds, what settled calls have used, and what open calls hold."""

    bounds: Bounds
    settled: Amount = Amount()
    reserved: Amount = Amount()

    @property
    def meters(self) -> bool:
        """Whether the size of a call matters to it."""
        return self.bounds.cost is not None or self.bounds.tokens is not None


@dataclass(frozen=True, slots=True)
class Ask:
    """A call that wants to go upstream."""

    input_tokens: int
    """By ``estimated_input``."""
    wanted_output: int | None
    """What the client asked for at most; None: as much as there is."""
    longest_output: int | None
    """What the model can answer at most, by the lane; None: not known."""
    prices: Prices | None
    """None: not known, so that nothing with a bound on cost can pay for it."""
    least_output: int = 1
    """The least that the answer can be bounded to: one token for each choice. 0 for calls that generate nothing."""
    turn: bool = True
    """Whether an answer is a turn."""
    blind: bool = False
    """Nothing is known yet of the run's texts, and another call of it is open: this one has to wait where its size matters."""


@dataclass(frozen=True, slots=True)
class Grant:
    """The call may go."""

    reservation: Amount
    output_tokens: int
    """Reserved for the answer; 0 when nothing bounds it."""
    clamp: int | None
    """The most output tokens that the request may ask for; None: it is left alone."""


@dataclass(frozen=True, slots=True)
class Wait:
    """It would fit, once open calls have given back what they reserved."""

    account: int
    """Number of the account that lacks it."""


@dataclass(frozen=True, slots=True)
class Reached:
    """It does not fit, even alone: the limit is reached."""

    account: int
    limit: LimitName


@dataclass(frozen=True, slots=True)
class Unpriced:
    """There is a bound on cost, and no price."""


Verdict = Grant | Wait | Reached | Unpriced


def judge(accounts: Sequence[Account], ask: Ask) -> Verdict:
    """Whether a call that is paid from all these accounts may go now, and with how much output at most."""
    if ask.prices is None and any(account.bounds.cost is not None for account in accounts):
        return Unpriced()
    least = _amount(ask, ask.least_output)
    for number, account in enumerate(accounts):
        if limit := _lacks(account, account.settled, least) or reached(account.bounds, account.settled):
            return Reached(number, limit)
    output = _least(ask.wanted_output, ask.longest_output, *(_room(account, ask) for account in accounts))
    reservation = _amount(ask, output or 0)
    for number, account in enumerate(accounts):
        held = account.settled.plus(account.reserved)
        if (ask.blind and account.meters) or _lacks(account, held, reservation):
            return Wait(number)
    shortened = output is not None and (ask.wanted_output is None or ask.wanted_output > output)
    bounded = ask.least_output > 0 and any(account.meters for account in accounts)
    return Grant(reservation, output or 0, output if bounded and shortened else None)


def estimated_input(body_bytes: int, tokens_per_byte: float | None) -> int:
    """Input tokens to reserve for a body. ``tokens_per_byte``: the highest that the run has shown; None before its first settled call."""
    return ceil(body_bytes * (FIRST_TOKENS_PER_BYTE if tokens_per_byte is None else tokens_per_byte * MARGIN))


def reached(bounds: Bounds, settled: Amount) -> LimitName | None:
    """The first limit that settled calls alone have used up."""
    return _first_over(bounds, settled.cost + 1, settled.tokens + 1, settled.turns + 1)


def _lacks(account: Account, used: Amount, more: Amount) -> LimitName | None:
    """The first limit that cannot pay for more."""
    return _first_over(account.bounds, used.cost + more.cost, used.tokens + more.tokens, used.turns + more.turns)


def _first_over(bounds: Bounds, cost: int, tokens: int, turns: int) -> LimitName | None:
    """The first bound that is passed. Written out, because each call asks it four times."""
    if bounds.cost is not None and cost > bounds.cost:
        return LimitName.COST
    if bounds.tokens is not None and tokens > bounds.tokens:
        return LimitName.TOKENS
    if bounds.turns is not None and turns > bounds.turns:
        return LimitName.TURNS
    return None


def _room(account: Account, ask: Ask) -> int | None:
    """Output tokens that an account can still pay after the input, with no other call open; None: any number."""
    bounds, settled, prices = account.bounds, account.settled, ask.prices
    rooms: list[int] = []
    if bounds.tokens is not None:
        rooms.append(bounds.tokens - settled.tokens - ask.input_tokens)
    if bounds.cost is not None and prices is not None and prices.output:
        left = (bounds.cost - settled.cost) * _MICRO - ask.input_tokens * _dearest_input(prices)
        rooms.append(left // prices.output)
    return _least(*rooms)


def _amount(ask: Ask, output_tokens: int) -> Amount:
    prices = ask.prices
    cost = ask.input_tokens * _dearest_input(prices) + output_tokens * prices.output if prices else 0
    return Amount(cost=-(-cost // _MICRO), tokens=ask.input_tokens + output_tokens, turns=int(ask.turn))


def _dearest_input(prices: Prices) -> int:
    return max(prices.input, prices.cache_read, prices.cache_write)


def _least(*values: int | None) -> int | None:
    return min((value for value in values if value is not None), default=None)
