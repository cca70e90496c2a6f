"""P4's pure parts: the order of the two kinds, the plain Pod, what a watch tells, what the rounds say, and whose CPU is whose."""

from __future__ import annotations

from itertools import pairwise

import pytest

from bench.begin import Begun, Round, part, plain, turns
from bench.foreign import Process, foreign_seconds
from bench.node import why
from bench.podwatch import PodWatch, agent_state, name_of
from bench.report import MET, MISSED, UNSURE, Part, Report
from laneway.kube.resources import AGENT_RUNS, PODS, JsonObject


def test_each_kind_comes_as_often_after_itself_as_after_the_other() -> None:
    order = turns(13)
    assert (order.count(AGENT_RUNS), order.count(PODS)) == (13, 13)
    follows = list(pairwise(order))
    for kind in (AGENT_RUNS, PODS):
        same = sum(before is after is kind for before, after in follows)
        other = sum(after is kind and before is not kind for before, after in follows)
        assert abs(same - other) <= 1


def test_a_plain_pod_has_the_spec_alone_and_no_node_yet() -> None:
    pod = {
        "metadata": {"name": "sample-1", "labels": {"a": "b"}, "ownerReferences": [{"name": "sample"}]},
        "spec": {"nodeName": "node", "containers": [{"name": "agent", "image": "i"}]},
        "status": {"phase": "Running"},
    }
    assert plain(pod, "plain-1") == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "plain-1"},
        "spec": {"containers": [{"name": "agent", "image": "i"}]},
    }
    assert pod["spec"]["nodeName"] == "node"


def pod(state: str = "", *, run: str | None = None, container: str = "agent", leaving: bool = False) -> JsonObject:
    metadata: JsonObject = {"name": "p", "labels": {"laneway.dev/run": run} if run else {}}
    if leaving:
        metadata["deletionTimestamp"] = "2026-11-21T00:00:00Z"
    statuses = [{"name": container, "state": {state: {}}}] if state else []
    return {"metadata": metadata, "status": {"containerStatuses": statuses}}


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        pytest.param(pod("running"), "running", id="the agent runs"),
        pytest.param(pod("waiting"), "waiting", id="the agent waits"),
        pytest.param(pod(), "", id="no kubelet has said anything"),
        pytest.param({"metadata": {"name": "p"}}, "", id="there is no status at all"),
        pytest.param(pod("running", container="sidecar"), "", id="another container is not the agent"),
    ],
)
def test_what_a_pod_says_of_its_agent(told: JsonObject, expected: str) -> None:
    assert agent_state(told) == expected


def test_the_pod_of_a_run_goes_by_the_run_s_name_and_a_plain_one_by_its_own() -> None:
    assert (name_of(pod(run="r")), name_of(pod())) == ("r", "p")


async def test_a_life_is_first_seen_then_runs_and_its_later_events_change_nothing() -> None:
    watch = PodWatch()
    for now, state in ((1.0, ""), (2.0, "waiting"), (3.0, "running"), (4.0, "running")):
        await watch.tell("MODIFIED", pod(state), now)
    assert await watch.running("p") == (1.0, 3.0)
    await watch.tell("MODIFIED", pod("terminated", leaving=True), 5.0)
    await watch.tell("DELETED", pod("terminated", leaving=True), 6.0)
    await watch.gone(["p"])


async def test_an_agent_that_ends_by_itself_ends_the_benchmark() -> None:
    with pytest.raises(RuntimeError, match="ended by itself"):
        await PodWatch().tell("MODIFIED", pod("terminated"), 1.0)


def begun(*seconds: float) -> list[Begun]:
    return [Begun(one / 10, one) for one in seconds]


@pytest.mark.parametrize(
    ("slowest", "others", "code"),
    [
        pytest.param(2.5, 1.0, MET, id="a second more is good"),
        pytest.param(2.6, 1.0, MISSED, id="more than a second is not"),
        pytest.param(2.5, 11.0, UNSURE, id="on a busy machine nothing is known"),
        pytest.param(2.6, 11.0, UNSURE, id="on a busy machine nothing is known of a bad one either"),
    ],
)
def test_the_slowest_of_both_kinds_are_compared_in_the_same_round(slowest: float, others: float, code: int) -> None:
    one = Round(begun(1.0, slowest, 1.2), begun(0.9, 1.5, 0.8), others)
    report = Report("2 cores", (part([one], 3),))
    assert report.code == code
    more = next(figure for figure in report.figures if figure.what == "run more than plain Pod: p99")
    assert more.rounds == pytest.approx((slowest - 1.5,))
    assert ("slowest of a round" in report.notes[0]) is True


def test_what_could_not_be_measured_is_said_and_leaves_the_code_open() -> None:
    unknown = Part("P4: not measured, because no node runs here: it needs root.", (), ())
    report = Report("2 cores", (unknown,))
    assert report.code == UNSURE
    assert "it needs root" in report.table()
    missed = part([Round(begun(9.0), begun(1.0), 0.0)], 1)
    assert Report("2 cores", (unknown, missed)).code == MISSED


@pytest.mark.parametrize(
    ("complaint", "expected"),
    [
        pytest.param(
            "failed: it\n  cause: a kubelet needs root\n  do: be root\n", "a kubelet needs root", id="its cause"
        ),
        pytest.param("Traceback\nKeyError: 'a'\n", "KeyError: 'a'", id="the last line where it gave none"),
        pytest.param("", "nothing was said", id="silence"),
    ],
)
def test_why_there_is_no_node(complaint: str, expected: str) -> None:
    assert why(complaint) == expected


RUN = "/run/node"
BEFORE = {
    1: Process(0, "init", 10, 1000),
    10: Process(1, "shell", 2, 4),
    11: Process(10, "python -m bench", 100, 100),
    20: Process(1, f"shim -address {RUN}/sock", 100, 100),
    21: Process(20, "laneway gateway", 100, 100),
    30: Process(1, "make", 1, 50),
    31: Process(30, "compiler", 40, 0),
    40: Process(1, "daemon", 70, 0),
}


def used(pid: int, *, own: float = 0, reaped: float = 0) -> dict[int, Process]:
    """A process that has used more."""
    one = BEFORE[pid]
    return {pid: Process(one.parent, one.command, one.used + own, one.reaped + reaped)}


def without(*pids: int) -> dict[int, Process]:
    return {pid: one for pid, one in BEFORE.items() if pid not in pids}


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        pytest.param(BEFORE, 0, id="nothing has happened"),
        pytest.param(BEFORE | used(31, own=5) | used(10, own=1), 6, id="two of them went on"),
        pytest.param(BEFORE | used(11, own=5) | used(20, own=5) | used(21, own=5), 0, id="ours do not count"),
        pytest.param(BEFORE | {50: Process(11, "hack/cluster", 5, 5)}, 0, id="nor does what we have started"),
        pytest.param(BEFORE | {50: Process(21, "sh", 5, 5)}, 0, id="nor does what a container has started"),
        pytest.param(BEFORE | {50: Process(10, "editor", 5, 2)}, 7, id="one has begun"),
        pytest.param(BEFORE | used(30, reaped=9), 9, id="one began and ended, and its parent has its time"),
        pytest.param(without(31) | used(30, reaped=43), 3, id="one ended: what it had used before was before"),
        pytest.param(without(30, 31) | used(1, reaped=94), 0, id="init's children do not count, they may be ours"),
        pytest.param(without(40) | used(10, own=5), 5, id="one that ended hides nothing of what others used"),
    ],
)
def test_what_other_programs_used_when(after: dict[int, Process], expected: float) -> None:
    assert foreign_seconds(BEFORE, after, [RUN], 11) == expected
