"""How far two clocks are apart, as far as answers that take their time can tell."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laneway.api.gatewaystate import AttemptState
from laneway.controller.outside.skew import NO_SKEW, measured, moved_attempt
from support.builders import at


@pytest.mark.parametrize(
    ("known", "answered", "ahead"),
    [
        pytest.param(0.0, 10.1, 0.0, id="an answer from between question and arrival shows no difference"),
        pytest.param(0.0, 100.0, -89.5, id="a gateway whose clock is fast"),
        pytest.param(0.0, -80.0, 90.0, id="a gateway whose clock is slow"),
        pytest.param(-90.0, 100.1, -90.0, id="what is known stays while it can be true"),
        pytest.param(-90.0, 100.6, -90.1, id="and moves no more than it must"),
        pytest.param(-90.0, 10.2, -0.2, id="a clock that was put right"),
    ],
)
def test_a_question_at_10_whose_answer_came_half_a_second_later(known: float, answered: float, ahead: float) -> None:
    found = measured(timedelta(seconds=known), asked=at(10), answered=at(answered), came=at(10.5))
    assert found == timedelta(seconds=ahead)


@given(
    skew=st.integers(-100_000, 100_000),
    delays=st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), min_size=2, max_size=20),
)
def test_the_error_is_never_more_than_one_answer_took_and_what_fits_all_answers_stays(
    skew: int, delays: list[tuple[int, int]]
) -> None:
    ahead, seen = NO_SKEW, []
    for number, (there, back) in enumerate(delays):
        asked = at(number)
        answered = asked + timedelta(milliseconds=there - skew)
        ahead = measured(ahead, asked=asked, answered=answered, came=asked + timedelta(milliseconds=there + back))
        seen.append(ahead)
        assert abs(ahead - timedelta(milliseconds=skew)) <= timedelta(milliseconds=there + back)
    errors = [abs(one - timedelta(milliseconds=skew)) for one in seen]
    assert errors == sorted(errors, reverse=True)


def test_between_clocks_that_agree_an_attempt_is_kept_once() -> None:
    told = AttemptState(run_uid="u", attempt=1, calls=3, last_activity_time=at(5), failing_since_time=at(4))
    assert moved_attempt(told, NO_SKEW, before=None) is told
    apart = moved_attempt(told, timedelta(seconds=2), before=None)
    assert (apart.last_activity_time, apart.failing_since_time, apart.calls) == (at(7), at(6), 3)
