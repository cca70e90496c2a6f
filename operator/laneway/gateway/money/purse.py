"""The purse: every try of a call reserves its worst case here before its first byte, and settles when it has ended (design section 7).

    reserve -> granted, perhaps with a clamp
            -> held: open calls of the run may give back what is missing, or the run pauses at a limit that somebody may raise
            -> Refused: a limit is reached, or a run with a limit of money has come to a model without a price

Calls of a run are served in the order in which they came. What changes the answer wakes them: a try that ends, and a run whose limits change.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from laneway.api.gatewaystate import LimitRefusal, Totals
from laneway.api.limits import OnReached
from laneway.api.reasons import Cause
from laneway.api.spend import Spend
from laneway.gateway.cluster.objects import Lane, LaneKey, Run
from laneway.gateway.ledger.ledger import CallEnd
from laneway.gateway.money.books import Book, Charge, Reservation
from laneway.gateway.money.spends import SpendKey, Spends
from laneway.gateway.state.state import State
from laneway.gateway.wire.base import Kind
from laneway.gateway.wire.refused import Refused
from laneway.rules import limits
from laneway.rules.budget import Ask, Grant, Reached, Verdict, Wait, estimated_input, judge
from laneway.rules.money import format_usd
from laneway.rules.pricing import Prices
from laneway.rules.token import AttemptId

Patience = Callable[[asyncio.Future[Any]], Awaitable[None]]
"""How a call that is held keeps its client waiting, until the future is done."""


async def _in_silence(done: asyncio.Future[Any]) -> None:
    await asyncio.wait((done,))


@dataclass(frozen=True, slots=True)
class Demand:
    """One try of a call, as far as money is concerned."""

    run: Run
    attempt: AttemptId
    lane: Lane
    model: str
    body_bytes: int
    prices: Prices | None
    wanted_output: int | None
    """What the request asks for at most, all choices together; None: it sets no bound."""
    least_output: int = 1
    """What ``Wire.clamp`` to one token leaves; 0 for calls that generate nothing."""
    longest_output: int | None = None
    """``maxOutputTokens`` of the lane's model."""
    turn: bool = True
    hold_seconds: float = 0.0
    """How long the call is held at a limit of a run that pauses."""


@dataclass(eq=False, slots=True)
class _Waiter:
    demand: Demand
    done: asyncio.Future[Reservation]
    timer: asyncio.TimerHandle | None = None
    """Runs while the call is held at a limit."""

    @property
    def granted(self) -> Reservation | None:
        """None also while it waits, and when it is refused."""
        decided = self.done.done() and not self.done.cancelled()
        return self.done.result() if decided and self.done.exception() is None else None

    def stop_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class _Line:
    """The book of a run and the calls that wait for it."""

    def __init__(self, book: Book) -> None:
        self.book = book
        self.waiters: deque[_Waiter] = deque()
        self.over = False
        """The run has finished, or is gone: the book goes with its last call."""


class Purse:
    """The books of all runs with calls. Lives in memory: the ledger and the runs' status have what is needed to begin anew."""

    def __init__(self, state: State, spends: Spends) -> None:
        """``state`` is what the operator is told: it has what the ledger remembers, and takes refusals and reservations."""
        self._state = state
        self._spends = spends
        self._lines: dict[str, _Line] = {}
        self._lanes: dict[LaneKey, Lane] = {}
        """Those that bound what namespaces spend."""

    async def reserve(self, demand: Demand, patience: Patience = _in_silence) -> Reservation:
        """Hold the worst case of a try; wait with ``patience`` while it may still come to fit. Raises Refused."""
        line = self._line(demand.run)
        line.book.know(demand.attempt.attempt)
        if not line.waiters and isinstance(verdict := self._judge(line.book, demand), Grant):
            return self._grant(line, demand, verdict)
        waiter = _Waiter(demand, asyncio.get_running_loop().create_future())
        line.waiters.append(waiter)
        self._serve(line)
        try:
            if not waiter.done.done():
                await patience(waiter.done)
            return await waiter.done
        except BaseException:  # the client has left, perhaps in the moment of its grant
            if waiter.granted is not None:
                self.release(waiter.granted)
            raise
        finally:
            waiter.stop_timer()
            if waiter in line.waiters:
                line.waiters.remove(waiter)
                self._serve(line)
            self._drop_if_over(line)

    def settle(self, reservation: Reservation, end: CallEnd) -> Charge:
        """A try that may have reached the server has ended. Answers what its row in the ledger has to say; a second time is an error."""
        line = self._lines[reservation.attempt.run_uid]
        if not line.book.let_go(reservation):
            raise ValueError("a reservation is settled or released once")
        charge = line.book.charge(reservation, end)
        self._spends.charge(reservation.spends, charge.cost_micro_usd or 0)
        self._changed(line, reservation)
        return charge

    def release(self, reservation: Reservation) -> None:
        """A try never went upstream: nothing is charged. Does nothing for one that was settled or released before."""
        line = self._lines.get(reservation.attempt.run_uid)
        if line is not None and line.book.let_go(reservation):
            self._changed(line, reservation)

    def look(self, uid: str, run: Run | None) -> None:
        """The view of a run has changed: its limits may be other ones. None: it is gone."""
        line = self._lines.get(uid)
        if line is None:
            return
        if run is not None:
            line.book.run = run
            self._serve(line)
        line.over = run is None or run.finished
        self._drop_if_over(line)

    def look_at_lane(self, key: LaneKey, lane: Lane | None) -> None:
        """The view of a lane has changed: what it lets namespaces spend may be other. None: it is gone."""
        self._lanes.pop(key, None)
        if lane is not None and lane.spec.spend:
            self._lanes[key] = lane
            self._tell_spends(key)
        self._serve_all(key)

    def know_spent(self, spent: Mapping[SpendKey, int]) -> None:
        """What the ledger knows of spending, in micro-dollars; once, before the first call."""
        self._spends.add(spent)
        for key in self._lanes:
            self._tell_spends(key)

    def _line(self, run: Run) -> _Line:
        if run.uid not in self._lines:
            self._lines[run.uid] = _Line(Book(run, self._totals))
        line = self._lines[run.uid]
        if run.version > line.book.run.version:
            line.book.run = run
        return line

    def _totals(self, attempt: AttemptId) -> Totals | None:
        return self._state.attempt_state(attempt).totals if self._state.knows(attempt) else None

    def _changed(self, line: _Line, reservation: Reservation) -> None:
        self._spends.hold(reservation.spends, -reservation.amount.cost)
        self._tell(line, reservation.attempt)
        self._serve(line)
        self._drop_if_over(line)
        if self._lanes:
            for key in {spend.lane for spend in reservation.spends} & self._lanes.keys():
                self._tell_spends(key)
                self._serve_all(key)

    def _drop_if_over(self, line: _Line) -> None:
        if line.over and not line.waiters and not line.book.open_calls:
            self._lines.pop(line.book.run.uid, None)

    def _tell(self, line: _Line, attempt: AttemptId) -> None:
        self._state.hold(attempt, line.book.reserved_micro_usd(attempt))

    def _serve(self, line: _Line) -> None:
        """Answer everybody who can be answered, from the head; who has to wait for open calls holds up those behind."""
        for waiter in list(line.waiters):
            verdict = self._judge(line.book, waiter.demand)
            if not isinstance(verdict, Reached):
                waiter.stop_timer()
            if isinstance(verdict, Wait):
                return
            self._answer(line, waiter, verdict)

    def _answer(self, line: _Line, waiter: _Waiter, verdict: Verdict) -> None:
        demand, book = waiter.demand, line.book
        if isinstance(verdict, Reached) and verdict.account == 0 and _may_be_raised(book, demand):
            if waiter.timer is None:
                loop = asyncio.get_running_loop()
                waiter.timer = loop.call_later(demand.hold_seconds, self._give_up, line, waiter)
            return
        line.waiters.remove(waiter)
        if waiter.done.done():
            return
        if isinstance(verdict, Grant):
            waiter.done.set_result(self._grant(line, demand, verdict))
        elif isinstance(verdict, Reached):
            waiter.done.set_exception(self._refuse(book, demand, verdict))
        else:
            message = f"{demand.lane.name}/{demand.model} has no price, and its cost is bounded by a limit of the run or of the lane"
            waiter.done.set_exception(Refused(Kind.LIMIT, message, cause=Cause.UNSUITABLE))

    def _grant(self, line: _Line, demand: Demand, grant: Grant) -> Reservation:
        keys = self._spends.keys(demand.lane.key, demand.run.namespace)
        reservation = _reservation(line.book, demand, grant, keys)
        line.book.hold(reservation)
        self._spends.hold(keys, reservation.amount.cost)
        self._tell(line, demand.attempt)
        return reservation

    def _give_up(self, line: _Line, waiter: _Waiter) -> None:
        """The call was held at a limit for as long as its lane allows."""
        waiter.timer = None
        verdict = self._judge(line.book, waiter.demand)
        if isinstance(verdict, Reached) and waiter in line.waiters and not waiter.done.done():
            line.waiters.remove(waiter)
            waiter.done.set_exception(self._refuse(line.book, waiter.demand, verdict))

    def _refuse(self, book: Book, demand: Demand, reached: Reached) -> Refused:
        if reached.account:
            return self._refuse_spending(demand, self._bounds_of(demand)[reached.account - 1])
        run, limit = book.run, reached.limit
        value = limits.values(run.limits)[limit]
        refusal = LimitRefusal(limit=limit, value=limits.value_text(limit, value), generation=run.generation)
        self._state.refuse(demand.attempt, refusal)
        used = limits.words(limit, book.account().settled.of(limit), value)
        return Refused(
            Kind.LIMIT, f"the run has reached a limit: {used}, and this call needs more (spec.limits.{limit})"
        )

    def _refuse_spending(self, demand: Demand, bound: Spend) -> Refused:
        key = demand.lane.key
        self._spends.refused(key, bound)
        self._tell_spends(key)
        self._state.spend_out(demand.attempt)
        spent = format_usd(self._spends.account(key, bound).settled.cost)
        words = f"{spent} of {bound.limit_usd} USD of this {bound.period.lower()} used, and this call needs more"
        return Refused(Kind.LIMIT, f"namespace {bound.namespace} may spend no more on lane {demand.lane.name}: {words}")

    def _judge(self, book: Book, demand: Demand) -> Verdict:
        spending = (self._spends.account(demand.lane.key, bound) for bound in self._bounds_of(demand))
        return judge([book.account(), *spending], _ask(book, demand))

    def _bounds_of(self, demand: Demand) -> list[Spend]:
        lane = self._lanes.get(demand.lane.key)
        return [bound for bound in lane.spec.spend if bound.namespace == demand.run.namespace] if lane else []

    def _tell_spends(self, key: LaneKey) -> None:
        for bound in self._lanes[key].spec.spend:
            self._state.put_spend(self._spends.told(key, bound))

    def _serve_all(self, key: LaneKey) -> None:
        """Calls of other runs may have waited for the same lane's money."""
        for line in [line for line in self._lines.values() if any(one.demand.lane.key == key for one in line.waiters)]:
            self._serve(line)


def _ask(book: Book, demand: Demand) -> Ask:
    return Ask(
        input_tokens=estimated_input(demand.body_bytes, book.tokens_per_byte),
        wanted_output=demand.wanted_output,
        longest_output=demand.longest_output,
        prices=demand.prices,
        least_output=demand.least_output,
        turn=demand.turn,
        blind=book.tokens_per_byte is None and book.open_calls > 0,
    )


def _reservation(book: Book, demand: Demand, grant: Grant, spends: tuple[SpendKey, ...]) -> Reservation:
    return Reservation(
        attempt=demand.attempt,
        amount=grant.reservation,
        body_bytes=demand.body_bytes,
        input_tokens=estimated_input(demand.body_bytes, book.tokens_per_byte),
        output_tokens=grant.output_tokens,
        prices=demand.prices,
        clamp=grant.clamp,
        spends=spends,
    )


def _may_be_raised(book: Book, demand: Demand) -> bool:
    return book.run.limits.on_reached is OnReached.PAUSE and demand.hold_seconds > 0
