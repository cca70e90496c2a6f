"""The places of a lane's calls: the bound, the order, and that no place is lost whatever happens."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from laneway.api.modellane import Share
from laneway.gateway.calls.queue import Bound, CallQueue, Place
from laneway.rules.fairshare import Caller

LANE = ("models", "lane")
A, B, C = Caller("a", ""), Caller("b", ""), Caller("c", "")


class Lane:
    """A queue in front of one lane, whose bound can be edited."""

    def __init__(self, calls: int | None, *shares: Share) -> None:
        self.bound = Bound(calls, shares)
        self.queue = CallQueue(lambda key: self.bound)

    def edit(self, bound: Bound) -> None:
        self.bound = bound
        self.queue.changed(LANE)

    def enter(self, caller: Caller, *, priority: int = 0) -> Place:
        return self.queue.enter(LANE, caller, priority=priority, arrival=self.queue.arrival())

    def enter_many(self, caller: Caller, count: int) -> list[Place]:
        return [self.enter(caller) for _ in range(count)]

    def served(self, *waiting: Place) -> Iterator[Place]:
        """Those that wait, in the order in which they get a place when each leaves before the next."""
        left = list(waiting)
        while left:
            (place,) = [one for one in left if one.held]
            left.remove(place)
            yield place
            self.queue.leave(place)


@pytest.mark.row("S2.3", "S2.4")
async def test_no_more_are_in_flight_than_the_lane_says_and_one_that_leaves_lets_one_in() -> None:
    lane = Lane(2)
    places = lane.enter_many(A, 5)
    assert [one.held for one in places] == [True, True, False, False, False]
    lane.queue.leave(places[0])
    assert [one.held for one in places] == [False, True, True, False, False]
    assert lane.queue.counts(LANE) == (2, 2)


@pytest.mark.row("S2.3")
async def test_an_edit_of_the_bound_holds_at_once_and_cuts_nothing() -> None:
    lane = Lane(2)
    places = lane.enter_many(A, 6)
    lane.edit(Bound(4))
    assert sum(one.held for one in places) == 4
    lane.edit(Bound(1))
    assert sum(one.held for one in places) == 4
    for gone, held in ((0, 3), (1, 2), (2, 1), (3, 1)):
        lane.queue.leave(places[gone])
        assert sum(one.held for one in places) == held
    lane.edit(Bound(None))
    assert lane.queue.counts(LANE) == (2, 0)


async def test_a_lane_without_a_bound_lets_everybody_in_and_counts_them() -> None:
    lane = Lane(None)
    places = lane.enter_many(A, 3)
    lane.edit(Bound(1))
    assert not lane.enter(B).held
    assert all(one.held for one in places)


@pytest.mark.row("S2.5", "C8")
async def test_a_heavy_caller_does_not_keep_others_waiting() -> None:
    lane = Lane(1)
    heavy = lane.enter_many(A, 10)
    light = lane.enter(B)
    lane.queue.leave(heavy[0])
    assert light.held


@pytest.mark.row("S2.5")
async def test_namespaces_are_served_by_their_weights() -> None:
    lane = Lane(4, Share(namespace="a", weight=3))
    waiting = [*lane.enter_many(C, 4), *lane.enter_many(A, 6), *lane.enter_many(B, 6)]
    for place in waiting[:4]:
        lane.queue.leave(place)
    assert [sum(one.held for one in waiting if one.caller == who) for who in (A, B)] == [3, 1]


@pytest.mark.row("S2.7")
async def test_priority_counts_inside_one_caller_only() -> None:
    lane = Lane(1)
    first = lane.enter(C)
    low, high, other = lane.enter(A), lane.enter(A, priority=10), lane.enter(B)
    lane.queue.leave(first)
    assert list(lane.served(low, high, other)) in ([high, other, low], [other, high, low])


@pytest.mark.row("S2.10")
async def test_who_leaves_the_queue_frees_its_place_in_line_at_once() -> None:
    lane = Lane(1)
    first, second, third = lane.enter_many(A, 3)
    lane.queue.leave(second)
    assert lane.queue.counts(LANE) == (1, 1)
    lane.queue.leave(first)
    assert third.held
    lane.queue.leave(second)
    assert lane.queue.counts(LANE) == (1, 0)


async def test_a_call_that_comes_back_keeps_its_age() -> None:
    lane = Lane(1)
    old = lane.queue.arrival()
    first, young = lane.enter(A), lane.enter(A)
    place = lane.queue.enter(LANE, A, priority=0, arrival=old)
    lane.queue.leave(first)
    assert (place.held, young.held) == (True, False)


async def test_a_lane_that_is_gone_is_forgotten_with_its_last_call() -> None:
    lane = Lane(1)
    held, waiting = lane.enter_many(A, 2)
    lane.edit(Bound(gone=True))
    assert waiting.held
    lane.queue.leave(held)
    lane.queue.leave(waiting)
    assert lane.queue.counts(LANE) == (0, 0)
    lane.edit(Bound(1))
    assert [one.held for one in lane.enter_many(A, 2)] == [True, False]


CALLERS = [Caller(namespace, name) for namespace in "xyz" for name in ("", "ci")]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("enter"), st.integers(0, len(CALLERS) - 1)),
        st.tuples(st.just("leave"), st.integers(0, 10_000)),
        st.tuples(st.just("edit"), st.one_of(st.none(), st.integers(1, 6))),
    ),
    max_size=120,
)


@pytest.mark.row("S2.3", "S2.4", "S2.5", "S2.10")
@settings(max_examples=300)
@given(first=st.integers(1, 4), steps=STEPS)
async def test_whatever_happens_the_bound_holds_nobody_starves_and_no_place_is_lost(
    first: int, steps: list[tuple[str, int | None]]
) -> None:
    lane = Lane(first)
    open_places: list[Place] = []
    for what, value in steps:
        before = {one for one in open_places if one.held}
        if what == "enter":
            open_places.append(lane.enter(CALLERS[value or 0]))
        elif what == "edit":
            lane.edit(Bound(value))
        elif open_places:
            lane.queue.leave(open_places.pop((value or 0) % len(open_places)))
        held = {one for one in open_places if one.held}
        waiting = [one for one in open_places if not one.held]
        bound = lane.bound.calls
        assert lane.queue.counts(LANE) == (len(held), len(waiting))
        if bound is not None and held - before:
            assert len(held) <= bound, "a place was given beyond the bound"
        assert not waiting or (bound is not None and len(held) >= bound), "a place is free and somebody waits"
        for one in waiting:
            older = [two for two in held - before if two.caller == one.caller and two.turn > one.turn]
            assert not older, "a younger call of the same caller went first"
    lane.edit(Bound(1))
    while open_places:
        held_now = [one for one in open_places if one.held]
        assert held_now, "nobody holds a place, and somebody waits for ever"
        for one in held_now:
            open_places.remove(one)
            lane.queue.leave(one)
    assert lane.queue.counts(LANE) == (0, 0)


@pytest.mark.row("S2.5")
@settings(max_examples=100)
@given(calls=st.lists(st.integers(1, 12), min_size=2, max_size=6))
async def test_callers_take_turns_however_many_calls_each_has(calls: list[int]) -> None:
    lane = Lane(1)
    callers = [Caller(f"n{number}", "") for number in range(len(calls))]
    first = lane.enter(Caller("first", ""))
    waiting = [place for caller, count in zip(callers, calls, strict=True) for place in lane.enter_many(caller, count)]
    lane.queue.leave(first)
    order = [place.caller for place in lane.served(*waiting)]
    for caller, count in zip(callers, calls, strict=True):
        last = max(place for place, who in enumerate(order) if who == caller)
        assert last < sum(min(other, count) for other in calls), "others had more turns in the same time"


async def test_the_metrics_show_who_is_in_flight_and_who_waits() -> None:
    lane = Lane(1)
    first, second, third = lane.enter_many(A, 3)
    assert shown() == (1, 2)
    lane.queue.leave(third)
    lane.queue.leave(first)
    assert shown() == (1, 0)
    lane.bound = Bound(gone=True)
    lane.queue.leave(second)
    assert shown() == (None, None)


def shown() -> tuple[float | None, float | None]:
    """Calls in flight and calls that wait, as a scrape shows them."""
    labels = {"lane": LANE[1], "namespace": LANE[0]}
    return (
        REGISTRY.get_sample_value("laneway_lane_calls", labels),
        REGISTRY.get_sample_value("laneway_lane_waiting_calls", labels),
    )
