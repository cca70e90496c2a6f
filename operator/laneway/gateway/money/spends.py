"""What each namespace has spent on each lane in the current day and month, with what its open calls hold.

Sums of all calls are kept, whether a lane bounds them or not: a bound that is added later finds them.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from laneway.api.gatewaystate import LaneSpend
from laneway.api.spend import Period, Spend
from laneway.gateway.cluster.objects import LaneKey
from laneway.gateway.ledger.file import LedgerError, in_words, open_to_read
from laneway.rules.budget import Account, Amount, Bounds
from laneway.rules.money import parse_usd
from laneway.rules.periods import end_of, start_of

_SUMS = """
SELECT lane_namespace, lane, namespace, sum(cost_micro_usd) FROM calls
WHERE started_ms >= ? AND cost_micro_usd IS NOT NULL GROUP BY lane_namespace, lane, namespace
"""


class SpendKey(NamedTuple):
    """One sum: a namespace on a lane in a period."""

    lane: LaneKey
    namespace: str
    period: Period
    start: datetime


class Spends:
    """All sums of the current periods."""

    def __init__(self, clock: Callable[[], datetime], spent: Mapping[SpendKey, int]) -> None:
        """``spent``: what the ledger knows, in micro-dollars."""
        self._clock = clock
        self._settled: Counter[SpendKey] = Counter(spent)
        self._reserved: Counter[SpendKey] = Counter()
        self._refused: dict[SpendKey, int] = {}
        self._begun: tuple[tuple[Period, datetime], ...] = ()
        self._day_ends = datetime.min.replace(tzinfo=UTC)

    def add(self, spent: Mapping[SpendKey, int]) -> None:
        """What the ledger knows, once it knows all; before the first call."""
        self._settled.update(spent)

    def keys(self, lane: LaneKey, namespace: str) -> tuple[SpendKey, ...]:
        """The sums that a call which begins now belongs to."""
        now = self._clock()
        if now >= self._day_ends:  # no period ends before the day does
            self._begun = tuple((period, start_of(period, now)) for period in Period)
            self._day_ends = end_of(Period.DAY, now)
        return tuple([SpendKey(lane, namespace, period, start) for period, start in self._begun])

    def account(self, lane: LaneKey, bound: Spend) -> Account:
        """A bound with what is used and held of it."""
        key = self._key(lane, bound)
        settled, reserved = Amount(cost=self._settled[key]), Amount(cost=self._reserved[key])
        return Account(Bounds(cost=parse_usd(bound.limit_usd)), settled, reserved)

    def hold(self, keys: tuple[SpendKey, ...], micro_usd: int) -> None:
        """A try begins, or (negative) has ended."""
        for key in keys:
            self._reserved[key] += micro_usd

    def charge(self, keys: tuple[SpendKey, ...], micro_usd: int) -> None:
        """A try cost so much."""
        for key in keys:
            self._settled[key] += micro_usd

    def refused(self, lane: LaneKey, bound: Spend) -> None:
        """A call did not fit, even alone."""
        self._refused[self._key(lane, bound)] = parse_usd(bound.limit_usd)

    def told(self, lane: LaneKey, bound: Spend) -> LaneSpend:
        """What the operator is told. A refusal counts until the limit is raised."""
        key = self._key(lane, bound)
        limit = parse_usd(bound.limit_usd)
        refused = self._refused.get(key)
        return LaneSpend(
            namespace=lane[0],
            lane=lane[1],
            of=bound.namespace,
            period=bound.period,
            period_start_time=key.start,
            used_micro_usd=self._settled[key],
            refused_at_micro_usd=refused if refused is not None and limit <= refused else None,
        )

    def _key(self, lane: LaneKey, bound: Spend) -> SpendKey:
        self._forget_old()
        return SpendKey(lane, bound.namespace, bound.period, start_of(bound.period, self._clock()))

    def _forget_old(self) -> None:
        """Sums of periods that are over, once nothing is held in them."""
        now = self._clock()
        old = [key for key in self._settled if key.start != start_of(key.period, now) and not self._reserved[key]]
        for key in old:
            del self._settled[key], self._reserved[key]
            self._refused.pop(key, None)


def read_spent(ledger: Path, now: datetime) -> dict[SpendKey, int]:
    """The sums of the current periods, in micro-dollars. Reads many rows, so it may take seconds. Raises LedgerError."""
    spent: dict[SpendKey, int] = {}
    try:
        with closing(open_to_read(ledger)) as connection:
            for period in Period:
                start = start_of(period, now)
                since = int(start.astimezone(UTC).timestamp() * 1000)
                for lane_namespace, lane, namespace, micro_usd in connection.execute(_SUMS, (since,)):
                    spent[SpendKey((lane_namespace, lane), namespace, period, start)] = int(micro_usd)
    except sqlite3.Error as error:
        raise LedgerError(f"the ledger {ledger.name} cannot be read: {in_words(error)}") from error
    return spent
