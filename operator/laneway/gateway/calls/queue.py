"""The places of calls on each lane: at most ``capacity.calls`` are in flight, the others wait in fair order (S2.2 to S2.10, C8).

Everything happens between two awaits: a place that comes free is given on in the same step, so none is lost and none is given twice. Places
are counted by the lane's namespace and name, so that a lane which is made anew keeps its bound. Shrinking a lane cuts nothing.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from laneway.api.modellane import Share
from laneway.gateway import metrics
from laneway.gateway.cluster.objects import LaneKey
from laneway.rules.fairshare import Caller, Shares, Turn, fair_order

_SERVED_KEPT = 1_000
"""Callers of a lane of whom it is remembered when they were served; the others come first among equals."""
_BEGIN = datetime(1970, 1, 1, tzinfo=UTC)


class Bound(NamedTuple):
    """How many calls of a lane may be in flight, and whose count for how much."""

    calls: int | None = None
    """None: no bound."""
    shares: tuple[Share, ...] = ()
    gone: bool = False
    """There is no such lane any more."""


@dataclass(eq=False, slots=True)
class Place:
    """One call's place: waited for, then held, then left."""

    lane: LaneKey
    caller: Caller
    turn: Turn
    granted: asyncio.Future[None]
    """Done when the place is held."""
    left: bool = False

    @property
    def held(self) -> bool:
        """Whether the call may go out."""
        return self.granted.done() and not self.left


class _Calls:
    """The calls of one lane."""

    def __init__(self, lane: LaneKey) -> None:
        self.waiting: dict[Place, None] = {}
        self.running: dict[Caller, int] = {}
        self.in_flight = 0
        self.served: OrderedDict[Caller, datetime] = OrderedDict()
        metrics.watch_lane(lane, in_flight=lambda: self.in_flight, waiting=lambda: len(self.waiting))


class CallQueue:
    """The places of all lanes."""

    def __init__(self, bound_of: Callable[[LaneKey], Bound]) -> None:
        """``bound_of`` is asked each time, so that an edit of a lane holds at once."""
        self._bound_of = bound_of
        self._lanes: dict[LaneKey, _Calls] = {}
        self._arrivals = itertools.count()
        self._ticks = itertools.count(1)

    def arrival(self) -> int:
        """The number of a call that arrives: the age of its turn."""
        return next(self._arrivals)

    def enter(self, lane: LaneKey, caller: Caller, *, priority: int, arrival: int) -> Place:
        """A place, held already if one is free; else wait for ``granted``. Whoever enters leaves, whatever happens."""
        place = Place(lane, caller, (-priority, float(arrival), ""), asyncio.get_running_loop().create_future())
        calls = self._lanes.get(lane)
        if calls is None:
            calls = self._lanes[lane] = _Calls(lane)
        calls.waiting[place] = None
        self._deal(lane)
        return place

    def leave(self, place: Place) -> None:
        """Give the place up, held or not; doing it again changes nothing."""
        if place.left:
            return
        place.left = True
        calls = self._lanes[place.lane]
        if place.granted.done():
            calls.in_flight -= 1
            calls.running[place.caller] -= 1
            if not calls.running[place.caller]:
                del calls.running[place.caller]
        else:
            del calls.waiting[place]
            place.granted.cancel()
        self.changed(place.lane)

    def changed(self, lane: LaneKey) -> None:
        """A place came free, or the lane was edited."""
        self._deal(lane)
        calls = self._lanes.get(lane)
        if calls is not None and not calls.waiting and not calls.in_flight and self._bound_of(lane).gone:
            del self._lanes[lane]
            metrics.forget_lane(lane)

    def counts(self, lane: LaneKey) -> tuple[int, int]:
        """How many calls are in flight, and how many wait."""
        calls = self._lanes.get(lane)
        return (calls.in_flight, len(calls.waiting)) if calls else (0, 0)

    def _deal(self, lane: LaneKey) -> None:
        """Give what is free to those who are next."""
        calls = self._lanes.get(lane)
        if calls is None or not calls.waiting:
            return
        bound = self._bound_of(lane)
        free = len(calls.waiting) if bound.calls is None else bound.calls - calls.in_flight
        if free <= 0:
            return
        order = list(calls.waiting)
        if free < len(order):
            weights = {share.namespace: share.weight for share in bound.shares}
            order = fair_order(order, Shares(calls.running, calls.served, weights))[:free]
        for place in order:
            self._grant(calls, place)

    def _grant(self, calls: _Calls, place: Place) -> None:
        del calls.waiting[place]
        calls.in_flight += 1
        calls.running[place.caller] = calls.running.get(place.caller, 0) + 1
        calls.served[place.caller] = _BEGIN + timedelta(microseconds=next(self._ticks))
        calls.served.move_to_end(place.caller)
        if len(calls.served) > _SERVED_KEPT:
            calls.served.popitem(last=False)
        place.granted.set_result(None)
