"""Who is next on a lane: fair shares between namespaces by weight, then between the callers of a namespace (S2 2.5 to 2.7, C8).

Slots are dealt one after another. Each goes to the namespace with the fewest runs per weight, there to the caller with the fewest runs, and there
to the run of the highest priority, then the oldest. Between equals goes who was served longest ago, then the name. So priority never beats another
caller, a namespace gains nothing by inventing callers, and with one namespace this is the rule of C8.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple


class Caller(NamedTuple):
    """Who a run counts for: a bucket of a namespace. The empty name is a bucket too."""

    namespace: str
    name: str


@dataclass(frozen=True)
class Waiter:
    """A run that lacks nothing but a slot."""

    uid: str
    caller: Caller
    priority: int
    created: datetime
    name: str


@dataclass(frozen=True)
class Shares:
    """What decides between callers: the slots that each has now, when each last got one, and the weights of namespaces."""

    running: Mapping[Caller, int]
    served: Mapping[Caller, datetime]
    weights: Mapping[str, int]
    """At least 1; a namespace that is not named has weight 1."""


_Served = tuple[int, datetime | int]
"""When somebody was last served, comparable: never, then at a moment, then in the course of this dealing, by the number of the slot."""
_NEVER: _Served = (0, 0)


class _Bucket:
    """A caller with its runs, the next one last."""

    def __init__(self, name: str, running: int, served: _Served) -> None:
        self.name = name
        self.running = running
        self.served = served
        self.runs: list[Waiter] = []

    @property
    def rank(self) -> tuple[int, _Served, str]:
        return self.running, self.served, self.name


class _Namespace:
    """A namespace with those of its callers that have runs waiting."""

    def __init__(self, name: str, weight: int) -> None:
        self.name = name
        self.weight = weight
        self.running = 0
        self.served = _NEVER
        self.buckets: dict[str, _Bucket] = {}
        self.line: list[tuple[tuple[int, _Served, str], _Bucket]] = []

    @property
    def rank(self) -> tuple[float, _Served, str]:
        # Exact where it matters: quotients of equal shares are the same float, and others differ by far more than its precision.
        return self.running / self.weight, self.served, self.name

    def deal(self, number: int) -> Waiter:
        """The next run; its slot is counted."""
        _, bucket = heapq.heappop(self.line)
        run = bucket.runs.pop()
        bucket.running += 1
        self.running += 1
        bucket.served = self.served = (2, number)
        if bucket.runs:
            heapq.heappush(self.line, (bucket.rank, bucket))
        return run


def fair_order(waiters: Iterable[Waiter], shares: Shares) -> list[Waiter]:
    """All waiting runs in the order in which slots go to them, if none came free meanwhile. O(n log n)."""
    namespaces = _grouped(waiters, shares)
    line = [(namespace.rank, namespace) for namespace in namespaces]
    heapq.heapify(line)
    order: list[Waiter] = []
    while line:
        _, namespace = heapq.heappop(line)
        order.append(namespace.deal(len(order)))
        if namespace.line:
            heapq.heappush(line, (namespace.rank, namespace))
    return order


def _grouped(waiters: Iterable[Waiter], shares: Shares) -> list[_Namespace]:
    found: dict[str, _Namespace] = {}
    for run in waiters:
        where, who = run.caller
        namespace = found.setdefault(where, _Namespace(where, shares.weights.get(where, 1)))
        if who not in namespace.buckets:
            moment = shares.served.get(run.caller)
            served = (1, moment) if moment is not None else _NEVER
            namespace.buckets[who] = _Bucket(who, shares.running.get(run.caller, 0), served)
        namespace.buckets[who].runs.append(run)
    for caller, running in shares.running.items():
        if caller.namespace in found:
            found[caller.namespace].running += running
    for caller, moment in shares.served.items():
        if caller.namespace in found:
            namespace = found[caller.namespace]
            namespace.served = max(namespace.served, (1, moment))
    for namespace in found.values():
        for bucket in namespace.buckets.values():
            bucket.runs.sort(key=lambda run: (-run.priority, run.created, run.name), reverse=True)
        namespace.line = [(bucket.rank, bucket) for bucket in namespace.buckets.values()]
        heapq.heapify(namespace.line)
    return list(found.values())
