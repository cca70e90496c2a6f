"""What a call may still spend: the worst case is reserved before its first byte, and settled at what it really was. Pure.

The bound that holds whatever runs in parallel, is cut or crashes: a run never spends more than its limit, plus, for calls in flight, what their
real input was over the input that was reserved. Output cannot pass, because it is clamped (design section 7, S1.15).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import ceil

from laneway.rules.pricing import Prices

FIRST_TOKENS_PER_BYTE = 0.5
"""Before a run has shown what its texts cost: more than any tokenizer makes of plain text or code."""
MARGIN = 1.25
"""Over the highest tokens per byte that the run has shown."""
_MICRO = 1_000_000


class Limit(StrEnum):
    """What can run out."""

    COST = "costUSD"
    TOKENS = "tokens"
    TURNS = "turns"


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

    def of(self, limit: Limit) -> int:
        """The part that a limit is about."""
        return {Limit.COST: self.cost, Limit.TOKENS: self.tokens, Limit.TURNS: self.turns}[limit]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a run may use over all its attempts. None: as much as it wants."""

    cost: int | None = None
    """Micro-dollars."""
    tokens: int | None = None
    turns: int | None = None

    def of(self, limit: Limit) -> int | None:
        """One of them."""
        return {Limit.COST: self.cost, Limit.TOKENS: self.tokens, Limit.TURNS: self.turns}[limit]


@dataclass(frozen=True, slots=True)
class Books:
    """What a run has used, and what its open calls hold."""

    settled: Amount = Amount()
    reserved: Amount = Amount()
    open_calls: int = 0
    tokens_per_byte: float | None = None
    """The highest that a settled call has shown: input tokens by bytes of its body. None before the first."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A call that wants to go upstream."""

    body_bytes: int
    wanted_output: int | None
    """What the client asked for at most; None: as much as there is."""
    longest_output: int | None
    """What the model can answer at most, by the lane; None: not known."""
    prices: Prices | None
    """None: not known, so a run with a cost limit cannot use the model."""


@dataclass(frozen=True, slots=True)
class Grant:
    """The call may go. ``clamp``: the most output tokens that the request may ask for; None: the limits leave it alone."""

    reservation: Amount
    clamp: int | None


@dataclass(frozen=True, slots=True)
class Wait:
    """It would fit, once open calls have given back what they reserved."""


@dataclass(frozen=True, slots=True)
class Reached:
    """It does not fit, even alone: the limit is reached."""

    limit: Limit


@dataclass(frozen=True, slots=True)
class Unpriced:
    """The run has a cost limit and the model no price."""


Verdict = Grant | Wait | Reached | Unpriced


def judge(limits: Limits, books: Books, ask: Ask) -> Verdict:
    """Whether a call may go now, and with how much output at most."""
    if limits.turns is not None and books.settled.turns + 1 > limits.turns:
        return Reached(Limit.TURNS)
    metered = [limit for limit in (Limit.COST, Limit.TOKENS) if limits.of(limit) is not None]
    if limits.cost is not None and ask.prices is None:
        return Unpriced()
    if metered and books.tokens_per_byte is None and books.open_calls:
        return Wait()
    input_tokens = reserved_input(books, ask)
    output = _least(ask.wanted_output, ask.longest_output)
    for limit in metered:
        room = _room(limits, books.settled, limit, input_tokens, ask.prices)
        if room is not None and room < 1:
            return Reached(limit)
        output = _least(output, room)
    reservation = _amount(input_tokens, output or 0, ask.prices)
    held = books.settled.plus(books.reserved).plus(reservation)
    if any(held.of(limit) > bound for limit in Limit if (bound := limits.of(limit)) is not None):
        return Wait()
    clamp = output if metered and output is not None and _is_more(ask.wanted_output, output) else None
    return Grant(reservation, clamp)


def reserved_input(books: Books, ask: Ask) -> int:
    """Input tokens to reserve for a body."""
    shown = books.tokens_per_byte
    return ceil(ask.body_bytes * (FIRST_TOKENS_PER_BYTE if shown is None else shown * MARGIN))


def reached(limits: Limits, settled: Amount) -> Limit | None:
    """The first limit that settled calls alone have used up."""
    return next(
        (limit for limit in Limit if (bound := limits.of(limit)) is not None and settled.of(limit) >= bound), None
    )


def warnings(limits: Limits, used: Amount, *, percent: int) -> Sequence[Limit]:
    """Limits of which so many percent are used (S4.27, S4.28)."""
    return [
        limit for limit in Limit if (bound := limits.of(limit)) is not None and used.of(limit) * 100 >= bound * percent
    ]


def _room(limits: Limits, settled: Amount, limit: Limit, input_tokens: int, prices: Prices | None) -> int | None:
    """Output tokens that a limit can still pay after the input, with no other call open; None: any number."""
    left = (limits.of(limit) or 0) - settled.of(limit)
    if limit is Limit.TOKENS:
        return left - input_tokens
    if prices is None:
        return None
    left = left * _MICRO - input_tokens * _dearest_input(prices)
    if left < 0:
        return -1
    return left // prices.output if prices.output else None


def _amount(input_tokens: int, output_tokens: int, prices: Prices | None) -> Amount:
    cost = input_tokens * _dearest_input(prices) + output_tokens * prices.output if prices else 0
    return Amount(cost=-(-cost // _MICRO), tokens=input_tokens + output_tokens, turns=1)


def _dearest_input(prices: Prices) -> int:
    return max(prices.input, prices.cache_read, prices.cache_write)


def _least(one: int | None, other: int | None) -> int | None:
    return min((value for value in (one, other) if value is not None), default=None)


def _is_more(wanted: int | None, output: int) -> bool:
    return wanted is None or wanted > output
