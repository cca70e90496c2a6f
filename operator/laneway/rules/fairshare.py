"""Who is next on a lane: fair shares between namespaces by weight, then between the callers of a namespace (S2 2.5 to 2.7, C8).

Slots are dealt one after another. Each goes to the namespace with the fewest runs per weight, there to the caller with the fewest runs, and there
to the run of the highest priority, then the oldest. Between equals goes who was served longest ago, then the name. So priority never beats another
caller, a namespace gains nothing by inventing callers, and with one namespace this is the rule of C8.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from operator import attrgetter
from typing import Generic, NamedTuple, Protocol, TypeVar


class Caller(NamedTuple):
    """Who a run counts for: a bucket of a namespace. The empty name is a bucket too."""

    namespace: str
    name: str


Turn = tuple[int, float, str]
"""Where a run stands among those of its caller: the least is next."""


def turn(priority: int, created: datetime, name: str) -> Turn:
    """The highest priority first, then the oldest, then the name."""
    return -priority, created.timestamp(), name


def first_turn(since: datetime, name: str) -> Turn:
    """Before all that only wait: who holds a slot elsewhere and a call open. Of several the one that asked first."""
    return -sys.maxsize, since.timestamp(), name


class Waiter(Protocol):
    """A run that lacks nothing but a slot."""

    @property
    def caller(self) -> Caller:
        """Whom it counts for."""

    @property
    def turn(self) -> Turn:
        """Where it stands among the runs of its caller."""


W = TypeVar("W", bound=Waiter)


@dataclass(frozen=True)
class Shares:
    """What decides between callers: the slots that each has now, when each last got one, and the weights of namespaces."""

    running: Mapping[Caller, int]
    served: Mapping[Caller, datetime]
    weights: Mapping[str, int]
    """At least 1; a namespace that is not named has weight 1."""


_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class _Line(Generic[W]):
    """The waiting runs of a caller, or of a namespace, in the order in which it passes its slots on. Never empty."""

    name: str
    running: int
    weight: int
    served: datetime
    runs: list[W]

    @cached_property
    def loads(self) -> list[float]:
        """The slots per weight that it has when the turn of each of its runs comes.

        Exact where it matters: quotients of equal shares are the same float, and others differ by far more than its precision.
        """
        return [slots / self.weight for slots in range(self.running, self.running + len(self.runs))]


def fair_order(waiters: Iterable[W], shares: Shares) -> list[W]:
    """All waiting runs in the order in which slots go to them, if none came free meanwhile. O(n log n)."""
    queues: dict[Caller, list[W]] = defaultdict(list)
    for run in waiters:
        queues[run.caller].append(run)
    callers: dict[str, list[_Line[W]]] = defaultdict(list)
    for caller, runs in queues.items():
        runs.sort(key=attrgetter("turn"))
        running, served = shares.running.get(caller, 0), shares.served.get(caller, _NEVER)
        callers[caller.namespace].append(_Line(caller.name, running, 1, served, runs))
    return _deal(_namespaces(callers, shares))


def _namespaces(callers: Mapping[str, Collection[_Line[W]]], shares: Shares) -> list[_Line[W]]:
    """What a namespace has and had counts, whichever of its callers has it."""
    running = dict.fromkeys(callers, 0)
    served = dict.fromkeys(callers, _NEVER)
    for caller, slots in shares.running.items():
        if caller.namespace in callers:
            running[caller.namespace] += slots
    for caller, moment in shares.served.items():
        if caller.namespace in callers:
            served[caller.namespace] = max(served[caller.namespace], moment)
    return [
        _Line(name, running[name], shares.weights.get(name, 1), served[name], _deal(lines))
        for name, lines in callers.items()
    ]


def _deal(lines: Iterable[_Line[W]]) -> list[W]:
    """Join lines to one: each slot to the line with the least load, of equals to the one that was served longest ago, then the name.

    The least load never falls from slot to slot, so a sort of all runs by load deals them. It is stable: what remains is to list them so that
    equals are in order. Lines that have got nothing in this dealing come first. Of the others was served longest ago whose load was less before
    its last slot, which is the line of less weight; of equal weights whose dealing began last, which is the line that had more running.
    """
    fresh = sorted(lines, key=lambda line: (line.served, line.name))
    again = sorted(fresh, key=lambda line: (line.weight, -line.running))
    runs = [line.runs[0] for line in fresh]
    loads = [line.loads[0] for line in fresh]
    for line in again:
        runs += line.runs[1:]
        loads += line.loads[1:]
    return [runs[place] for place in sorted(range(len(runs)), key=loads.__getitem__)]
