"""What is said of the steps that a run passes by on its way down its chain."""

from __future__ import annotations

import pytest

from laneway.api.endpoint import WireAPI
from laneway.api.reasons import Cause
from laneway.api.runstatus import PASSED_LIMIT
from laneway.controller.chain.passing import passed_by, passed_by_live
from laneway.controller.chain.survey import Survey, survey
from laneway.controller.facts.objects import Lane
from support.builders import at, run_view
from support.chains import A, B, C, busy, chained, cooled, hosted

CHAT = WireAPI.CHAT_COMPLETIONS


def seen(*lanes: Lane, **spec: object) -> Survey:
    return survey(run_view(chained(A, B, C, **spec), lanes=list(lanes)), at(6))


@pytest.mark.row("S2.27")
@pytest.mark.parametrize(
    ("middle", "expected"),
    [
        pytest.param(cooled(hosted(B), 60), "b/m (cooling until 12:01:00Z (rate limit, our own estimate))", id="rests"),
        pytest.param(hosted(B, suspend=True), "b/m (lane team-a/b is suspended)", id="is suspended"),
        pytest.param(busy(hosted(B), active=4), "b/m (no free slot)", id="is full"),
        pytest.param(hosted(B), None, id="could be taken, so that only the one who chose can say why not"),
    ],
)
def test_a_step_that_is_passed_by_between_attempts(middle: Lane, expected: str | None) -> None:
    assert passed_by(seen(hosted(A), middle, hosted(C)), left=0, to=2, cause=Cause.RATE_LIMIT_MODEL) == expected


def test_a_step_whose_causes_do_not_list_what_happened() -> None:
    models = [{"lane": A}, {"lane": B, "causes": ["Full"]}, {"lane": C}]
    known = seen(hosted(A), hosted(B), hosted(C), models=models)
    assert passed_by(known, left=0, to=2, cause=Cause.API_TRANSIENT) == "b/m (its causes do not list APITransient)"


def test_a_lane_that_is_not_there() -> None:
    said = passed_by(seen(hosted(A), hosted(C)), left=0, to=2, cause=Cause.API_TRANSIENT)
    assert said is not None
    assert said.startswith("b (there is no ModelLane b in namespace team-a")


@pytest.mark.parametrize(
    ("left", "to"),
    [
        pytest.param(0, 1, id="the next one"),
        pytest.param(2, 0, id="one above"),
        pytest.param(None, 2, id="from nowhere"),
    ],
)
def test_nothing_is_passed_by_on_the_way_to(left: int | None, to: int) -> None:
    known = seen(hosted(A), cooled(hosted(B), 60), hosted(C))
    assert passed_by(known, left=left, to=to, cause=Cause.API_TRANSIENT) is None


@pytest.mark.parametrize(
    ("middle", "api", "expected"),
    [
        pytest.param(
            hosted(B, endpoint={"url": "https://x.example", "server": "Gemini"}),
            CHAT,
            "b/m (its server (Gemini) speaks GenerateContent; the call speaks ChatCompletions)",
            id="speaks another protocol than the call",
        ),
        pytest.param(
            hosted(B, access="Direct"),
            CHAT,
            "b/m (its lane is Direct, where only a new attempt can go)",
            id="is on a Direct lane",
        ),
        pytest.param(
            cooled(hosted(B), 60), None, "b/m (cooling until 12:01:00Z (rate limit, our own estimate))", id="rests"
        ),
    ],
)
def test_a_step_that_is_passed_by_in_the_middle_of_an_attempt(middle: Lane, api: WireAPI | None, expected: str) -> None:
    known = seen(hosted(A), middle, hosted(C))
    assert passed_by_live(known, left=0, to=2, cause=Cause.RATE_LIMIT_MODEL, api=api) == expected


def test_what_is_said_fits_into_a_status() -> None:
    gone = [{"lane": f"{'x' * 60}{number:02}"} for number in range(14)]
    known = seen(hosted(A), hosted(C), models=[{"lane": A}, *gone, {"lane": C}])
    said = passed_by(known, left=0, to=15, cause=Cause.API_TRANSIENT)
    assert said is not None
    assert len(said) == PASSED_LIMIT
