"""Who asks which lane: what is noted, and which lanes have to look because of it."""

from __future__ import annotations

from laneway.controller.memory.walks import Walks
from laneway.kube.resources import Key

RUN, OTHER = Key("team-a", "hello"), Key("team-a", "other")
A, B = Key("team-a", "a"), Key("team-a", "b")


def test_a_lane_looks_when_it_is_asked_and_when_it_is_asked_no_longer() -> None:
    walks = Walks()
    assert walks.note(RUN, A) == (A,)
    assert walks.note(RUN, A) == ()
    assert walks.note(RUN, B) == (A, B)
    assert (walks.on_lane(A), walks.on_lane(B)) == ((), (RUN,))
    assert walks.note(RUN, None) == (B,)
    assert walks.note(RUN, None) == ()
    assert walks.on_lane(B) == ()


def test_a_lane_is_asked_in_the_order_in_which_it_was_noted() -> None:
    walks = Walks()
    for run in (RUN, OTHER):
        walks.note(run, A)
    assert walks.on_lane(A) == (RUN, OTHER)
    walks.note(RUN, None)
    assert walks.on_lane(A) == (OTHER,)
