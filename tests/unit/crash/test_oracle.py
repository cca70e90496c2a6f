"""What the trials of recovery are judged by: each thing that must not be is said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from crash.ending import Ending
from crash.oracle import refused, wrongs
from crash.trial import Outcome
from support.faultproxy import Asked, Write

POD = Write(Asked(1, "POST", "pods", "hello-0a1b2c3d-1"), 201)
STATUS = Write(Asked(2, "PATCH", "agentruns/status", "hello"), 200, version="10")
LATER, LAST = replace(STATUS, version="12"), replace(STATUS, version="14")
LANE = Write(Asked(3, "PATCH", "modellanes/status", "local"), 200, version="11")
EVENT = Write(Asked(4, "POST", "events", "hello.0123"), 201)
TAKEN = Write(Asked(5, "POST", "pods", "hello-0a1b2c3d-1"), 409)
GOING = Write(Asked(6, "DELETE", "pods", "hello-0a1b2c3d-1"), 200)
TOLD = "hello RunFinished: Completed"
ENDING = Ending(
    runs={"hello": [None, {"reason": "Completed", "usage": {"totalTokens": 19}}]},
    pods={"hello": ["hello-(uid)-1"]},
    children=["hello-(uid)-prompt"],
    lanes={"local": {"activeRuns": 0}},
)
PLAIN = Outcome(ENDING, [TOLD], [POD, STATUS, LANE, EVENT], [], most_pods=1, starts=1, seconds=5.0)


def written(*writes: Write) -> Outcome:
    return replace(PLAIN, writes=list(writes))


def ended(**changes: object) -> Outcome:
    return replace(PLAIN, ending=replace(ENDING, **changes))


@pytest.mark.parametrize(
    ("outcome", "hits", "said"),
    [
        pytest.param(PLAIN, 0, [], id="the same scenario is well"),
        pytest.param(
            ended(runs={"hello": [None, {"reason": "Failed", "usage": {"totalTokens": 19}}]}),
            1,
            ["runs.hello[1].reason: 'Completed' and 'Failed'"],
            id="another reason",
        ),
        pytest.param(
            ended(runs={"hello": [None, {"reason": "Completed", "usage": {"totalTokens": 38}}]}),
            1,
            ["runs.hello[1].usage.totalTokens: 19 and 38"],
            id="usage that was counted twice",
        ),
        pytest.param(
            ended(pods={"hello": ["hello-(uid)-1", "hello-(uid)-2"]}),
            1,
            ["pods.hello[1]: absent and 'hello-(uid)-2'"],
            id="a pod more",
        ),
        pytest.param(replace(PLAIN, most_pods=2), 1, ["2 pods at once on a lane of one slot"], id="two pods at once"),
        pytest.param(
            replace(PLAIN, later=[STATUS]),
            1,
            [f"written although nothing had changed: {STATUS.asked}"],
            id="no silence",
        ),
        pytest.param(replace(PLAIN, told=[TOLD, TOLD]), 1, [f"an Event of its own: {TOLD}"], id="an Event twice"),
        pytest.param(replace(PLAIN, told=[], starts=2), 1, [], id="an Event less after a kill"),
        pytest.param(replace(PLAIN, told=[]), 1, [f"an Event less: {TOLD}"], id="an Event less without one"),
        pytest.param(written(STATUS, LATER, POD), 0, [], id="the start told in two writes, and no lane"),
        pytest.param(written(STATUS, LATER, LAST, POD), 1, [], id="a status more after a hit"),
        pytest.param(
            written(STATUS, LATER, LAST, POD),
            0,
            ["PATCH agentruns/status hello: 3 times, 1 without faults"],
            id="a status more without one",
        ),
        pytest.param(
            written(STATUS, POD, POD),
            3,
            ["POST pods hello-1: 2 times, 1 without faults"],
            id="a pod that was made twice",
        ),
        pytest.param(written(STATUS, POD, GOING), 1, [], id="a deletion that was asked for again after a hit"),
        pytest.param(
            written(STATUS, POD, GOING),
            0,
            ["DELETE pods hello-1: 1 times, 0 without faults"],
            id="a deletion that nothing explains",
        ),
        pytest.param(
            written(STATUS, STATUS, POD),
            0,
            [f"it says nothing new: {STATUS.asked}"],
            id="a status that says nothing new",
        ),
        pytest.param(
            written(STATUS, POD, *(replace(LANE, version=str(number)) for number in range(2))),
            0,
            [],
            id="lanes follow runs",
        ),
        pytest.param(
            written(STATUS, POD, *(replace(LANE, version=str(number)) for number in range(3))),
            0,
            ["3 writes of lanes, at most 2"],
            id="a lane that nothing had changed for",
        ),
        pytest.param(written(STATUS, POD, TAKEN), 0, [], id="a pod whose name was taken was made once"),
    ],
)
def test_what_must_not_be_is_said(outcome: Outcome, hits: int, said: list[str]) -> None:
    assert wrongs(outcome, PLAIN, hits=hits) == said


@pytest.mark.parametrize(
    ("writes", "counted"),
    [
        pytest.param([POD, TAKEN], {"POST pods answered 409": 1}, id="the API server refused it"),
        pytest.param([replace(TAKEN, fault="409")], {}, id="the proxy refused it"),
    ],
)
def test_only_what_the_api_server_refused_itself_is_counted(writes: Sequence[Write], counted: dict[str, int]) -> None:
    assert refused(written(*writes)) == counted


def test_where_an_end_may_differ_it_is_not_said() -> None:
    other = ended(runs={"hello": [None, {"reason": "Completed", "usage": {"totalTokens": 38}}]})
    assert wrongs(other, PLAIN, hits=0, but=lambda path: path.endswith("totalTokens")) == []


def test_a_deletion_comes_again_without_a_fault_where_the_scenario_says_so() -> None:
    assert wrongs(written(STATUS, POD, GOING), replace(PLAIN, deleted_again=1), hits=0) == []
