"""Who gets a slot, and what a lane says of itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laneway.api.modellane import LaneCaller, ModelLaneStatus
from laneway.api.reasons import LaneReason
from laneway.api.runstatus import AgentRunStatus
from laneway.controller.decide_lane import decide_lane, held_slots
from laneway.controller.decision.effects import PostEvent
from laneway.controller.facts.objects import Lane, Run
from laneway.controller.facts.views import DependencyState, DependencyView, Held, LaneView
from laneway.rules.fairshare import Caller
from support.builders import (
    NOW,
    admitted,
    at,
    attempt,
    condition,
    lane,
    lane_view,
    pod,
    probe,
    ready,
    run,
    running,
)

FINISHED = AgentRunStatus(conditions=(condition("Finished", "True", "Completed"),))
REFUSED = AgentRunStatus(conditions=(condition("Admitted", "False", "QuotaExceeded", message="exceeded quota"),))


def slots(number: int, **spec: object) -> Lane:
    return lane(spec={"capacity": {"runs": number}, **spec})


def pod_of(name: str, **changes: object) -> object:
    return running(run_uid=f"{name}-0123456789", name=f"{name}-1", uid=f"pod-{name}", **changes)


def by(caller: str, name: str, *, priority: int = 0, **fields: Any) -> Run:
    """A run of a caller in lane ``local``'s namespace."""
    return run(name, spec={"caller": caller, "priority": priority}, **fields)


def of(namespace: str, name: str, **fields: Any) -> Run:
    """A run of another namespace, or of the lane's own."""
    return run(
        name,
        namespace=namespace,
        spec={"models": [{"lane": "local", "namespace": "team-a"}], **fields.pop("spec", {})},
        **fields,
    )


def open_to_all(number: int) -> Lane:
    return slots(number, allowedNamespaces={"from": "All"})


@dataclass(frozen=True)
class Case:
    view: LaneView
    granted: tuple[str, ...]
    active: int
    queued: int = 0


ADMISSION = {
    "an empty lane grants a caller's runs in the order of creation": Case(
        lane_view(run("late", created=2), run("early", created=1), the_lane=slots(2)), ("early", "late"), 2
    ),
    "runs of the same second go by name": Case(lane_view(run("b"), run("a"), the_lane=slots(1)), ("a",), 1, 1),
    "a run that holds a slot takes one away": Case(
        lane_view(run("a", status=admitted()), run("b"), the_lane=slots(1)), (), 1, 1
    ),
    "a run and its pod are one slot": Case(
        lane_view(run("a", status=admitted()), run("b"), the_lane=slots(2), pods=(pod_of("a"),)), ("b",), 2
    ),
    "a pod whose run is gone holds its slot until it has ended": Case(
        lane_view(run("b"), the_lane=slots(1), pods=(pod_of("gone", deleting=True),)), (), 1, 1
    ),
    "a pod that has ended holds no slot": Case(
        lane_view(run("b"), the_lane=slots(1), pods=(pod_of("gone", phase="Succeeded"),)), ("b",), 1
    ),
    "a grant whose write had no answer holds its slot": Case(
        lane_view(run("b"), the_lane=slots(1), unsettled=frozenset({Held("x", 1)})), (), 1, 1
    ),
    "a run with an unsettled grant is not granted again": Case(
        lane_view(run("b"), the_lane=slots(2), unsettled=frozenset({Held("b-0123456789", 1)})), (), 1
    ),
    "shrinking kills nothing and grants nothing": Case(
        lane_view(*(run(name, status=admitted()) for name in "abc"), run("d"), the_lane=slots(1)),
        (),
        3,
        1,
    ),
    "callers take turns, whoever came first": Case(
        lane_view(by("u", "u1"), by("u", "u2"), by("v", "v1", created=9), the_lane=slots(2)), ("u1", "v1"), 2, 1
    ),
    "priority counts inside one caller": Case(
        lane_view(by("u", "u1"), by("u", "u2", priority=10), by("v", "v1"), the_lane=slots(2)), ("u2", "v1"), 2, 1
    ),
    "a caller with a running run waits for one without": Case(
        lane_view(by("u", "u1", status=admitted()), by("u", "u2"), by("v", "v1", created=9), the_lane=slots(2)),
        ("v1",),
        2,
        1,
    ),
    "a run whose spec points elsewhere now holds the slot of its attempt": Case(
        lane_view(run("a", lane="other", status=admitted()), run("b"), the_lane=slots(1)), (), 1, 1
    ),
    "two models of one lane share its slots": Case(
        lane_view(
            run("a", spec={"models": [{"lane": "local", "model": "smollm2"}]}),
            run("b", spec={"models": [{"lane": "local", "model": "qwen"}]}),
            the_lane=slots(1, models=[{"name": "smollm2"}, {"name": "qwen"}]),
        ),
        ("a",),
        1,
        1,
    ),
    "namespaces share by weight": Case(
        lane_view(
            *(of("team-a", f"a{n}") for n in range(3)),
            *(of("team-b", f"b{n}") for n in range(3)),
            the_lane=slots(4, shares=[{"namespace": "team-b", "weight": 3}], allowedNamespaces={"from": "All"}),
        ),
        ("a0", "b0", "b1", "b2"),
        4,
        2,
    ),
    "a pod whose run is gone counts for its namespace": Case(
        lane_view(
            of("team-a", "a"), of("team-b", "b"), the_lane=open_to_all(2), pods=(pod_of("gone", namespace="team-a"),)
        ),
        ("b",),
        2,
        1,
    ),
    "finished, suspended, cancelled and deleted runs want no slot": Case(
        lane_view(
            run("a", status=FINISHED),
            run("b", spec={"suspend": True}),
            run("c", spec={"cancel": True}),
            run("d", deleting=True),
        ),
        (),
        0,
    ),
    "a run of a namespace that is not allowed gets none": Case(lane_view(run("a", namespace="team-b")), (), 0),
    "a run that asks for an unknown model gets none": Case(
        lane_view(run("a", spec={"models": [{"lane": "local", "model": "x"}]})), (), 0
    ),
    "a lane that is not ready grants nothing": Case(
        lane_view(run("a"), the_lane=lane(conditions=(ready("False"),))), (), 0
    ),
    "a suspended lane grants nothing": Case(lane_view(run("a"), the_lane=slots(2, suspend=True)), (), 0),
    "a run whose pod was refused lets others go first": Case(
        lane_view(run("a", status=REFUSED), run("b"), the_lane=slots(1)), ("b",), 1
    ),
}


@pytest.mark.row("S2.2", "S2.3", "S2.4", "S2.5", "S2.7", "S2.10", "S2.13", "S4.40", "C7", "C8")
@pytest.mark.parametrize("case", ADMISSION.values(), ids=ADMISSION.keys())
def test_admission(case: Case) -> None:
    decision = decide_lane(case.view, NOW)
    assert tuple(grant.run.meta.name for grant in decision.grants) == case.granted
    assert (decision.status.active_runs, decision.status.queued_runs) == (case.active, case.queued)
    assert [place.position for place in decision.places.values()] == list(range(1, case.queued + 1))


def test_a_refused_run_is_looked_at_again_when_its_time_has_come() -> None:
    view = lane_view(run("a", status=REFUSED))
    assert decide_lane(view, NOW).due == at(30)
    assert [grant.run.meta.name for grant in decide_lane(view, at(30)).grants] == ["a"]


@pytest.mark.row("S4.40")
def test_runs_that_may_not_start_yet_are_passed_over() -> None:
    later = run("later", spec={"notBeforeTime": "2026-03-01T12:01:00Z"})
    dependent = run("dependent", spec={"dependsOn": [{"name": "x"}]})
    view = lane_view(later, dependent, run("z"), the_lane=slots(1))
    view = replace(view, dependencies={dependent.meta.uid: (DependencyView("x", DependencyState.UNFINISHED),)})
    first = decide_lane(view, NOW)
    assert [grant.run.meta.name for grant in first.grants] == ["z"]
    assert (first.places, first.due) == ({}, at(60))
    assert [grant.run.meta.name for grant in decide_lane(view, at(60)).grants] == ["later"]


@pytest.mark.row("S2.8")
def test_a_grant_begins_the_next_attempt_on_the_lanes_first_model() -> None:
    broken = AgentRunStatus(attempt=2, conditions=(condition("Admitted", "False", "WaitingForSlot"),))
    (grant,) = decide_lane(lane_view(run("a", status=broken)), at(5)).grants
    assert (grant.attempt.id, grant.attempt.step.model, grant.attempt.admitted_time) == (3, "smollm2", at(5))


def test_grants_over_capacity_found_at_start_are_taken_back_youngest_first() -> None:
    runs = [run(name, created=n, status=admitted()) for n, name in enumerate(("old", "mid", "new"))]
    view = lane_view(*runs, the_lane=slots(1), pods=(pod_of("old"),), first_pass=True)
    decision = decide_lane(view, NOW)
    assert [taken.meta.name for taken in decision.take_back] == ["new", "mid"]
    assert decide_lane(replace(view, first_pass=False), NOW).take_back == ()


@st.composite
def crowds(draw: st.DrawFn) -> LaneView:
    """Any mix of waiting, admitted and finished runs, and pods with or without a run."""
    names = draw(st.lists(st.integers(0, 30), unique=True, max_size=12))
    runs: list[Run] = []
    for number in names:
        status = draw(st.sampled_from([AgentRunStatus(), admitted(), FINISHED, REFUSED]))
        caller = {"caller": draw(st.sampled_from(["", "u", "v"])), "priority": draw(st.integers(0, 1))}
        where = draw(st.sampled_from(["team-a", "team-b"]))
        runs.append(of(where, f"r{number}", spec=caller, created=draw(st.integers(0, 5)), status=status))
    ghosts = draw(st.lists(st.integers(0, 40), unique=True, max_size=5))
    phases = st.sampled_from(["Running", "Pending", "Succeeded", "Failed"])
    pods = tuple(pod(name=f"p{n}", uid=f"p{n}", run_uid=f"r{n}-0123456789", phase=draw(phases)) for n in ghosts)
    return lane_view(*draw(st.permutations(runs)), the_lane=open_to_all(draw(st.integers(1, 6))), pods=pods)


@pytest.mark.row("S2.3")
@given(crowds())
def test_a_lane_never_grants_over_its_capacity(view: LaneView) -> None:
    held = held_slots(view)
    decision = decide_lane(view, NOW)
    if decision.grants:
        assert len(held) + len(decision.grants) <= view.lane.spec.capacity.runs


@given(crowds())
def test_grants_do_not_depend_on_the_order_of_events(view: LaneView) -> None:
    turned = replace(view, runs=tuple(reversed(view.runs)), pods=tuple(reversed(view.pods)))
    assert decide_lane(view, NOW) == decide_lane(turned, NOW)


@pytest.mark.row("S2.3", "S2.4", "S2.5")
@given(st.integers(1, 4), st.lists(st.tuples(st.sampled_from("uvw"), st.integers(0, 3)), max_size=20))
def test_a_lane_is_never_over_its_bound_and_serves_everybody(number: int, events: list[tuple[str, int]]) -> None:
    """Runs come and end in any order; each pass sees what the one before has granted."""
    waiting: list[Run] = []
    active: list[Run] = []
    for passes, (caller, ends) in enumerate([*events, *(("", 0),) * len(events)]):
        if caller:
            waiting.append(by(caller, f"r{passes:03}"))
        del active[:ends]
        decision = decide_lane(lane_view(*waiting, *active, the_lane=slots(number)), at(passes))
        for grant in decision.grants:
            waiting = [one for one in waiting if one.meta.uid != grant.run.meta.uid]
            active.append(replace(grant.run, status=admitted(admitted_time=at(passes))))
        assert len(active) <= number
        assert not waiting or len(active) == number
        if not caller:
            del active[:1]
    assert not waiting


# ---- callers


def callers_of(view: LaneView, seconds: float = 0) -> list[tuple[str, str, int, int]]:
    return [(c.namespace, c.caller, c.active, c.queued) for c in decide_lane(view, at(seconds)).status.callers]


@pytest.mark.row("S2.6")
def test_runs_without_a_caller_are_one_caller_in_status() -> None:
    assert callers_of(lane_view(run("a"), run("b"), run("c"), the_lane=slots(1))) == [("team-a", "", 1, 2)]


def test_a_lane_names_its_callers_those_with_the_most_runs_first() -> None:
    view = lane_view(
        by("u", "u1", status=admitted()),
        *(by("v", f"v{n}") for n in range(3)),
        of("team-b", "b", status=FINISHED),
        the_lane=open_to_all(2),
        pods=(pod_of("gone", namespace="team-b"), pod_of("over", namespace="team-c")),
        holders={"over-0123456789": Caller("team-c", "known")},
    )
    assert callers_of(view) == [
        ("team-a", "v", 0, 3),
        ("team-a", "u", 1, 0),
        ("team-b", "", 1, 0),
        ("team-c", "known", 1, 0),
    ]


def test_a_lane_names_at_most_twenty_callers() -> None:
    shown = callers_of(lane_view(*(by(f"u{n:02}", f"r{n}") for n in range(30)), the_lane=slots(1)))
    assert [name for _, name, _, _ in shown] == [f"u{n:02}" for n in range(20)]


@pytest.mark.row("C8", "S2.13")
@pytest.mark.parametrize(
    "known",
    [
        pytest.param({"served": {Caller("team-a", "u"): at(-1)}}, id="the operator remembers it"),
        pytest.param(
            {"the_lane": LaneCaller(namespace="team-a", caller="u", active=1, queued=1, last_served_time=at(-1))},
            id="the lane's status says so",
        ),
        pytest.param(
            {"attempts": (attempt(1, admitted_time=at(-1), end_time=at(-1)),)}, id="a run of it had an attempt"
        ),
    ],
)
def test_between_equal_callers_who_was_served_longest_ago_goes_first_when(known: dict[str, Any]) -> None:
    """Cap 1: caller u had the last slot; v comes first whatever its name, after a restart too."""
    the_lane = slots(1)
    if "the_lane" in known:
        the_lane = replace(the_lane, status=the_lane.status.model_copy(update={"callers": (known["the_lane"],)}))
    past = AgentRunStatus(attempt=1, attempts=known.get("attempts", ()))
    view = lane_view(by("u", "u1", status=past), by("v", "v1", created=9), the_lane=the_lane)
    decision = decide_lane(replace(view, served=known.get("served", {})), NOW)
    assert [grant.run.meta.name for grant in decision.grants] == ["v1"]


def test_a_grant_is_remembered_in_status() -> None:
    callers = decide_lane(lane_view(by("u", "u1"), by("v", "v1"), the_lane=slots(1)), at(5)).status.callers
    assert [(c.caller, c.last_served_time) for c in callers] == [("u", at(5)), ("v", None)]


# ---- places


@pytest.mark.row("S2.9")
def test_places_are_exact_up_to_ten_and_ranges_behind() -> None:
    waiting = [run(f"r{n:02}") for n in range(25)]
    words = [place.words for place in decide_lane(lane_view(*waiting, the_lane=slots(2)), NOW).places.values()]
    assert words[:2] == ["2 of 2 slots used, position 1", "2 of 2 slots used, position 2"]
    assert words[9:11] == ["2 of 2 slots used, position 10", "all 2 slots used, position 11 to 20"]
    assert words[19:] == ["all 2 slots used, position 11 to 20"] + ["all 2 slots used, position 21 to 50"] * 3


def test_a_place_behind_the_tenth_says_nothing_that_changes_while_a_shrunk_lane_empties() -> None:
    busy = [run(f"a{n}", status=admitted()) for n in range(5)]
    waiting = [run(f"r{n:02}") for n in range(11)]
    views = (lane_view(*busy[:left], *waiting, the_lane=slots(2)) for left in (5, 4))
    before, after = (tuple(decide_lane(view, NOW).places.values()) for view in views)
    assert (before[0].words, after[0].words) == tuple(f"{n} of 2 slots used, position 1" for n in (5, 4))
    assert before[10] == after[10]
    assert before[10].words == "all 2 slots used, position 11 to 20"


NEW = lane(conditions=())
READINESS = {
    "a lane that nobody has looked at is unknown": (lane_view(the_lane=NEW), "Unknown", "NotProbed"),
    "a lane whose server answers is ready": (
        lane_view(the_lane=NEW, probe=probe(smollm2=True)),
        "True",
        "BackendReachable",
    ),
    "a lane whose server does not answer is not": (
        lane_view(the_lane=NEW, probe=probe(reachable=False, reason=LaneReason.BACKEND_UNREACHABLE)),
        "False",
        "BackendUnreachable",
    ),
    "a lane whose server serves none of its models is not": (
        lane_view(the_lane=NEW, probe=probe(reason=LaneReason.MODEL_NOT_SERVED, smollm2=False)),
        "False",
        "ModelNotServed",
    ),
    "a lane whose server refuses the key is not": (
        lane_view(the_lane=NEW, probe=probe(reason=LaneReason.AUTH_FAILED)),
        "False",
        "AuthFailed",
    ),
    "a probe of an older generation is not believed": (
        lane_view(the_lane=NEW, probe=probe(smollm2=True, generation=0)),
        "Unknown",
        "NotProbed",
    ),
    "what was known stands while the gateway is silent for less than a minute": (
        lane_view(gateway_down_since=at(-59)),
        "True",
        "BackendReachable",
    ),
    "a gateway that is away for a minute makes the lane not ready": (
        lane_view(gateway_down_since=at(-60), probe=probe(smollm2=True)),
        "False",
        "GatewayUnavailable",
    ),
    "a Direct lane is ready without a probe": (
        lane_view(the_lane=lane(spec={"access": "Direct"}, conditions=()), gateway_down_since=at(-600)),
        "True",
        "NotProbed",
    ),
}


@pytest.mark.row("S0.24")
@pytest.mark.parametrize(("view", "status", "reason"), READINESS.values(), ids=READINESS.keys())
def test_readiness(view: LaneView, status: str, reason: str) -> None:
    decided = decide_lane(view, NOW).status
    (found,) = [c for c in decided.conditions if c.type == "Ready"]
    assert (found.status, found.reason) == (status, reason)


def test_a_lane_that_serves_some_of_its_models_is_ready_and_knows_which() -> None:
    both = lane(spec={"models": [{"name": "smollm2"}, {"name": "qwen"}]}, conditions=())
    status = decide_lane(lane_view(the_lane=both, probe=probe(smollm2=True, qwen=False)), NOW).status
    assert [(m.name, m.served) for m in status.models] == [("smollm2", True), ("qwen", False)]
    assert status.conditions[0].status == "True"


def test_readiness_is_told_once_for_each_change() -> None:
    view = lane_view(the_lane=NEW, probe=probe(smollm2=True))
    first = decide_lane(view, NOW)
    assert [e.reason for e in first.effects if isinstance(e, PostEvent)] == ["LaneReady"]
    settled = replace(view.lane, status=ModelLaneStatus.model_validate(first.status))
    assert decide_lane(replace(view, lane=settled), at(5)).effects == ()


@pytest.mark.row("S2.15", "C18")
@pytest.mark.parametrize(
    ("spec", "limits"),
    [
        pytest.param(
            {"endpoint": {"url": "http://a", "server": "Ollama"}}, (1800, 1800, 1860, 1200, 60), id="slow servers"
        ),
        pytest.param({"timeouts": {"requestSeconds": 0, "holdSeconds": 0}}, (None, 600, None, 1200, 0), id="no limit"),
        pytest.param({"access": "Direct"}, None, id="a Direct lane has none: its runs call the server themselves"),
    ],
)
def test_the_limits_of_a_call_that_hold_stand_in_status(
    spec: dict[str, Any], limits: tuple[int | None, ...] | None
) -> None:
    given_lane = lane(spec={"endpoint": {"url": "http://a", "server": "OpenAI"}, **spec})
    found = decide_lane(lane_view(lane=given_lane), NOW).status.effective_timeouts
    told = found and (
        found.request_seconds,
        found.answer_seconds,
        found.call_seconds,
        found.stream_idle_seconds,
        found.hold_seconds,
    )
    assert told == limits
