"""A run without a slot: the step that it is on, the reason that it waits for, and the moment at which it looks again."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from laneway.api.reasons import Cause, ResetSource
from laneway.api.runstatus import AgentRunStatus, Attempt, BackoffStatus, Queue
from laneway.controller.decide_run import decide_run
from laneway.controller.decision.decision import RunDecision
from laneway.controller.decision.effects import PatchActiveModel, PostEvent
from laneway.controller.facts.objects import Lane
from laneway.controller.facts.place import Place
from laneway.controller.facts.views import DependencyState, DependencyView, RunView
from laneway.rules.backoff import jitter
from support.builders import NOW, at, condition, lane, run_view
from support.chains import (
    A,
    B,
    C,
    account_cooled,
    at_work,
    busy,
    chained,
    cooled,
    hosted,
    messages,
    not_ready,
    on,
    step,
    with_status,
)

UID = "hello-0123456789"
SPREAD = jitter(UID, 1)
LINE = Place(2, 1, 1)
UNTIL = at(60)
PLANNED = UNTIL + timedelta(seconds=31)
"""A minute of rest and the longest share of the spread."""


def look(view: RunView, now: datetime = NOW) -> AgentRunStatus:
    return decide_run(view, now).status


def events(decision: RunDecision) -> list[str]:
    return [effect.reason.value for effect in decision.effects if isinstance(effect, PostEvent)]


def said(status: AgentRunStatus) -> str:
    return messages(status)["Admitted"]


def where(status: AgentRunStatus) -> str:
    return status.step.lane if status.step else ""


def backed_off(lane_name: str = A, **changes: Any) -> AgentRunStatus:
    """A run that waits for the model of a lane by our own estimate, since NOW and for a minute."""
    backoff = BackoffStatus(
        cause=Cause.RATE_LIMIT_MODEL,
        step=step(lane_name),
        count=1,
        source=ResetSource.ESTIMATED,
        since_attempt=1,
        since_time=NOW,
        original_reset_time=UNTIL,
        applied_reset_time=UNTIL,
    )
    over = Attempt(id=1, step=step(lane_name), end_time=NOW)
    return AgentRunStatus(
        conditions=(condition("Admitted", "False", "BackingOff"),),
        attempt=1,
        attempts=(over,),
        step=on(lane_name),
        backoff=backoff.model_copy(update=changes),
        next_attempt_time=(UNTIL + SPREAD).replace(microsecond=0) + timedelta(seconds=1),
        reason="BackingOff",
    )


# ---- the first look


@pytest.mark.row("S2.28", "S2.31")
def test_the_first_look_shows_chain_step_and_what_was_asked_for() -> None:
    status = look(run_view(chained(A), lanes=[hosted(A, fallback=[{"lane": B, "causes": ["Full"]}]), hosted(B)]))
    assert [(one.lane, one.model, one.causes) for one in status.chain] == [(A, "m", ()), (B, "m", (Cause.FULL,))]
    assert status.step == on(A)
    assert status.requested_model is not None
    assert (status.requested_model.lane, status.requested_model.model) == (A, "m")
    assert status.reason == "WaitingForSlot"


def test_the_first_look_shows_the_lane_although_it_is_not_there() -> None:
    status = look(run_view(chained(A), lanes=[]))
    assert (where(status), status.step and status.step.model) == (A, None)
    assert status.reason == "LaneNotFound"
    later = look(run_view(chained(A, status=status), lanes=[hosted(A)]))
    assert later.step == on(A)


@pytest.mark.row("S4.3", "S4.1", "B15", "C10")
def test_a_run_that_asks_for_a_cooled_model_begins_on_the_next() -> None:
    decision = decide_run(run_view(chained(A, B), lanes=[cooled(hosted(A), 300), hosted(B)]), NOW)
    status = decision.status
    assert status.step == on(B, cause=Cause.RATE_LIMIT_MODEL, time=NOW)
    assert status.requested_model is not None
    assert status.requested_model.lane == A
    assert (status.reason, status.fallback_history[0].attempt) == ("WaitingForSlot", 0)
    assert events(decision) == ["SteppedDown"]
    assert any(isinstance(effect, PatchActiveModel) for effect in decision.effects)


@pytest.mark.row("S2.27")
def test_a_step_that_is_passed_by_is_named_with_the_move_and_told_once() -> None:
    lanes = [cooled(hosted(A), 300), hosted(B, suspend=True), hosted(C)]
    decision = decide_run(run_view(chained(A, B, C), lanes=lanes), NOW)
    [event] = [effect for effect in decision.effects if isinstance(effect, PostEvent)]
    assert event.message == "moved from a/m to c/m (rate limit); passed by b/m (lane team-a/b is suspended)"
    assert decision.status.fallback_history[-1].passed == "b/m (lane team-a/b is suspended)"
    assert events(decide_run(run_view(chained(A, B, C, status=decision.status), lanes=lanes), NOW)) == []


@pytest.mark.row("S2.28")
def test_an_edit_of_a_lanes_fallback_counts_for_what_begins_later() -> None:
    first = look(run_view(chained(A), lanes=[cooled(hosted(A), 300)]))
    assert first.reason == "AllModelsCooling"
    edited = [cooled(hosted(A, fallback=[{"lane": B}]), 300), hosted(B)]
    assert where(look(run_view(chained(A, status=first), lanes=edited))) == B
    working = at_work().model_copy(update={"chain": first.chain})
    assert decide_run(run_view(chained(A, status=working), lanes=edited), NOW).status.chain == first.chain


@pytest.mark.row("S2.30")
def test_a_chain_that_was_cut_says_so() -> None:
    lanes = [hosted(A, fallback=[{"lane": B}]), hosted(B, fallback=[{"lane": A}])]
    assert "the fallbacks of lane team-a/a lead back to it" in said(look(run_view(chained(A), lanes=lanes)))
    deep = [hosted(f"l{n}", fallback=[{"lane": f"l{n + 1}"}]) for n in range(12)]
    assert "the rest is left out" in said(look(run_view(chained("l0"), lanes=deep)))


# ---- steps that cannot be taken


@pytest.mark.row("S0.27", "S2.33")
def test_a_model_that_its_lane_does_not_list_is_told_and_passed() -> None:
    models = [{"lane": A, "model": "no-such"}, {"lane": B}]
    view = run_view(chained(A, models=models), lanes=[hosted(A), hosted(B)])
    decision = decide_run(view, NOW)
    assert decision.status.step == on(B, cause=Cause.MODEL_NOT_FOUND, time=NOW)
    assert sorted(events(decision)) == ["SteppedDown", "UnknownModel"]
    again = decide_run(run_view(chained(A, models=models, status=decision.status), lanes=[hosted(A), hosted(B)]), NOW)
    assert events(again) == []


WIRE = lane(A, spec={"endpoint": {"url": "https://x.example", "server": "Anthropic"}, "models": [{"name": "m"}]})


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        pytest.param(None, "LaneNotFound", id="a lane that is not there"),
        pytest.param(not_ready(hosted(A)), "LaneNotReady", id="a lane that does not answer"),
        pytest.param(hosted(A, suspend=True), "LaneSuspended", id="a lane that is suspended"),
        pytest.param(WIRE, "WireAPIUnsupported", id="a lane that speaks another protocol"),
        pytest.param(cooled(hosted(A), 90), "AllModelsCooling", id="a model that cools"),
        pytest.param(account_cooled(hosted(A), 90), "AllModelsCooling", id="an account that cools"),
        pytest.param(
            cooled(hosted(A), None, cause=Cause.MANUAL, source=ResetSource.MANUAL),
            "AllModelsCooling",
            id="a model that is held by hand",
        ),
    ],
)
def test_what_shuts_a_step_is_its_reason_alone_and_no_obstacle_with_another_step(
    first: Lane | None, reason: str
) -> None:
    lanes = [first] if first else []
    assert look(run_view(chained(A), lanes=lanes)).reason == reason
    status = look(run_view(chained(A, B), lanes=[*lanes, hosted(B)]))
    assert (status.reason, where(status)) == ("WaitingForSlot", B)


def test_a_lane_speaks_what_it_says_and_not_what_its_kind_of_server_does() -> None:
    endpoint = {"url": "https://x.example", "server": "Anthropic", "apis": [{"name": "ChatCompletions"}]}
    assert look(run_view(chained(A), lanes=[hosted(A, endpoint=endpoint)])).reason == "WaitingForSlot"
    other = {"url": "https://x.example", "server": "OpenAI", "apis": [{"name": "Responses"}]}
    assert look(run_view(chained(A), lanes=[hosted(A, endpoint=other)])).reason == "WireAPIUnsupported"


def test_an_agent_whose_protocol_is_not_known_may_use_any_lane() -> None:
    generic = chained(A, agent={"preset": "generic", "image": "busybox"})
    assert look(run_view(generic, lanes=[WIRE])).reason == "WaitingForSlot"


@pytest.mark.parametrize(
    ("first", "lane_of"),
    [
        pytest.param(with_status(hosted(A), conditions=()), A, id="a lane that nobody has looked at is not passed by"),
        pytest.param(not_ready(hosted(A), "Unknown"), A, id="nor one whose probe is on its way"),
        pytest.param(account_cooled(hosted(A), None, Cause.AUTH_FAILED), A, id="nor a refused key"),
        pytest.param(
            account_cooled(hosted(A, advanceOnPermanent=True), None, Cause.AUTH_FAILED),
            B,
            id="a refused key is if the lane says so",
        ),
    ],
)
def test_who_is_not_passed_by(first: Lane, lane_of: str) -> None:
    assert where(look(run_view(chained(A, B), lanes=[first, hosted(B)]))) == lane_of


@pytest.mark.row("S2.38")
def test_steps_none_of_which_can_be_used_are_all_named() -> None:
    lanes = [not_ready(hosted(A)), hosted(B, suspend=True)]
    status = look(run_view(chained(A, B, C), lanes=lanes, usable_lanes=("a", "b")))
    assert status.reason == "LaneNotReady"
    assert said(status) == (
        "no step can be used: a/m: lane team-a/a is not ready: connection refused;"
        " b/m: lane team-a/b is suspended;"
        " c: there is no ModelLane c in namespace team-a; lanes you may use: a, b"
    )


@pytest.mark.row("S2.38", "S4.52", "B20")
def test_a_run_that_never_had_an_attempt_begins_when_the_first_model_is_back() -> None:
    lanes = [
        cooled(hosted(A), 300, source=ResetSource.SERVER_EVENT, cause=Cause.RATE_LIMIT_MODEL),
        cooled(hosted(B), 90, cause=Cause.API_TIMEOUT),
    ]
    decision = decide_run(run_view(chained(A, B), lanes=lanes, place=LINE), NOW)
    status = decision.status
    assert (status.reason, status.phase, status.queue) == ("AllModelsCooling", "BackingOff", None)
    assert (status.next_attempt_time, decision.due, status.backoff) == (at(90), at(90), None)
    assert said(status) == (
        "a/m cooling until 12:05:00Z (rate limit, as the server said);"
        " b/m cooling until 12:01:30Z (no answer in time, our own estimate); next attempt 12:01:30Z"
    )
    back = [lanes[0], hosted(B)]
    later = look(run_view(chained(A, B, status=status), lanes=back), at(90))
    assert (where(later), later.next_attempt_time, later.reason) == (B, None, "WaitingForSlot")


def test_a_time_of_another_day_is_told_with_its_date() -> None:
    assert "cooling until 2026-03-03T12:00:00Z" in said(look(run_view(chained(A), lanes=[cooled(hosted(A), 172800)])))


@pytest.mark.parametrize(
    ("spec", "changes", "reason"),
    [
        pytest.param({"suspend": True}, {}, "Suspended", id="suspend"),
        pytest.param({"agent": {"preset": "nope"}}, {}, "PresetNotFound", id="an unknown preset"),
        pytest.param({"notBeforeTime": "2026-03-01T13:00:00Z"}, {}, "NotBefore", id="a start time"),
        pytest.param(
            {},
            {"dependencies": (DependencyView("x", DependencyState.UNFINISHED),)},
            "WaitingForDependency",
            id="a dependency",
        ),
    ],
)
def test_a_run_that_may_not_begin_stays_on_its_first_step(
    spec: dict[str, Any], changes: dict[str, Any], reason: str
) -> None:
    status = look(run_view(chained(A, B, **spec), lanes=[cooled(hosted(A), 90), hosted(B)], **changes))
    assert (status.reason, where(status), status.fallback_history) == (reason, A, ())


# ---- the end of a wait


def wait(lanes: list[Lane], now: datetime, *names: str, status: AgentRunStatus | None = None) -> RunDecision:
    return decide_run(run_view(chained(*names, status=status or backed_off()), lanes=lanes), now)


@pytest.mark.row("S3.20", "S3.24", "C17", "C19")
def test_after_the_models_rest_the_run_waits_for_its_share_of_the_spread() -> None:
    planned = backed_off().next_attempt_time
    assert planned is not None
    assert wait([hosted(A)], at(60), A).status.reason == "BackingOff"
    assert wait([hosted(A)], planned - timedelta(seconds=1), A).due == planned
    over = wait([hosted(A)], planned, A).status
    assert (over.reason, over.next_attempt_time) == ("WaitingForSlot", None)
    assert over.backoff is not None


@pytest.mark.row("C10", "S0.9")
def test_a_model_that_is_cleared_or_succeeds_for_another_run_frees_the_run_at_once() -> None:
    status = wait([hosted(A)], at(20), A).status
    assert (status.reason, status.next_attempt_time) == ("WaitingForSlot", None)


@pytest.mark.row("S3.21")
def test_a_model_that_still_cools_at_the_planned_time_is_waited_for_further() -> None:
    planned = backed_off().next_attempt_time
    assert planned is not None
    decision = wait([cooled(hosted(A), 500)], planned, A)
    assert decision.status.reason == "BackingOff"
    assert decision.status.backoff is not None
    assert decision.status.backoff.applied_reset_time == at(500)
    assert decision.due == decision.status.next_attempt_time
    assert decision.due is not None
    assert timedelta(0) <= decision.due - (at(500) + SPREAD) <= timedelta(seconds=1)
    assert events(decision) == []


@pytest.mark.row("C10", "C3")
def test_no_wait_is_longer_than_the_lanes_ceiling() -> None:
    planned = backed_off().next_attempt_time
    assert planned is not None
    lanes = [cooled(hosted(A, backoff={"ceilingSeconds": 100}), 5000)]
    assert wait(lanes, planned, A).due == planned + timedelta(seconds=100)


@pytest.mark.row("C10")
@pytest.mark.parametrize(
    ("lanes", "lane_of", "reason"),
    [
        pytest.param([hosted(A), cooled(hosted(B), 60)], A, "WaitingForSlot", id="one above that was freed, at once"),
        pytest.param([cooled(hosted(A), 90), hosted(B)], B, "WaitingForSlot", id="its own, at once"),
        pytest.param([cooled(hosted(A), 90), cooled(hosted(B), 60)], B, "AllModelsCooling", id="none: it waits"),
        pytest.param([cooled(hosted(A), 90), not_ready(hosted(B))], B, "AllModelsCooling", id="none that is ready"),
    ],
)
def test_the_first_free_step_from_the_top_is_taken(lanes: list[Lane], lane_of: str, reason: str) -> None:
    status = wait(lanes, at(20), A, B, status=backed_off(B)).status
    assert (where(status), status.reason) == (lane_of, reason)


def test_a_wait_that_is_nearly_over_is_kept_when_a_step_above_is_back_as_planned() -> None:
    status = wait([hosted(A), cooled(hosted(B), 90)], at(61), A, B, status=backed_off(B)).status
    assert (where(status), status.reason) == (A, "BackingOff")
    assert status.next_attempt_time == backed_off().next_attempt_time


@pytest.mark.row("S0.9", "C25")
@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        pytest.param({"suspend": True}, "Suspended", id="suspend"),
        pytest.param({"cancel": True}, "Cancelled", id="cancel"),
    ],
)
def test_stopping_during_a_wait_takes_effect_at_once(spec: dict[str, Any], reason: str) -> None:
    status = look(run_view(chained(A, status=backed_off(), **spec), lanes=[cooled(hosted(A), 60)]), at(20))
    assert status.reason == reason
    assert (status.backoff is None) is (reason == "Cancelled")


@pytest.mark.row("S0.9")
def test_a_wait_goes_on_where_it_was_after_suspend() -> None:
    lanes = [cooled(hosted(A), 60)]
    held = look(run_view(chained(A, status=backed_off(), suspend=True), lanes=lanes), at(20))
    back = decide_run(run_view(chained(A, status=held), lanes=lanes), at(30))
    assert (back.status.reason, back.due) == ("BackingOff", backed_off().next_attempt_time)


def test_a_run_that_backs_off_says_so_although_its_lane_is_not_ready() -> None:
    assert wait([not_ready(hosted(A))], at(20), A).status.reason == "BackingOff"
    planned = backed_off().next_attempt_time
    assert planned is not None
    assert wait([not_ready(hosted(A))], planned, A).status.reason == "LaneNotReady"


def test_decisions_of_a_wait_come_to_rest() -> None:
    for lanes in ([cooled(hosted(A), 60)], [hosted(A)], [cooled(hosted(A), None)], [not_ready(hosted(A))]):
        for names in ((A,), (A, B)):
            first = wait([*lanes, cooled(hosted(B), 70)], at(30), *names).status
            again = wait([*lanes, cooled(hosted(B), 70)], at(31), *names, status=first)
            assert again.status == first
            assert again.effects == ()


# ---- standing in line


def in_line(lane_name: str, *, generation: int | None = None, **changes: Any) -> AgentRunStatus:
    """A run that stands in the line of a lane."""
    return AgentRunStatus(
        observed_generation=generation,
        step=on(lane_name, **changes),
        queue=Queue(position=2, since=NOW),
        conditions=(condition("Admitted", "False", "WaitingForSlot"),),
    )


def stand(lanes: list[Lane], *names: str, at_lane: str, place: Place | None = LINE, **spec: Any) -> AgentRunStatus:
    return look(run_view(chained(*names, status=in_line(at_lane), **spec), lanes=lanes, place=place))


HEAD = Place(1, 1, 1)
FAR = Place(50, 1, 1, first=21)


@pytest.mark.row("S2.9")
@pytest.mark.parametrize(
    ("place", "stands_since", "now", "told"),
    [
        pytest.param(HEAD, 20, 24.9, False, id="a place that may not last is not told"),
        pytest.param(HEAD, 20, 25, True, id="a place that has stood for 5 s is told"),
        pytest.param(FAR, 20, 29.9, False, id="a range that may not last is not told"),
        pytest.param(FAR, 20, 30, True, id="a range that has stood for 10 s is told"),
        pytest.param(HEAD, 59, 60, True, id="a place is told a minute after the last one however it moves"),
        pytest.param(HEAD, 300, 300, True, id="a place that moves for the first time in minutes is told at once"),
    ],
)
def test_a_run_in_line_says_where_it_stands(place: Place, stands_since: float, now: float, told: bool) -> None:
    run = chained(A, status=in_line(A, generation=1))
    assert run.status.queue is not None
    shown = run.status.queue.model_copy(update={"shown_time": NOW})
    run = replace(run, status=run.status.model_copy(update={"queue": shown}))
    view = replace(run_view(run, lanes=[hosted(A)], place=place), place_since=at(stands_since))
    decision = decide_run(view, at(now))
    assert decision.status.queue is not None
    assert decision.status.queue.position == (place.position if told else shown.position)
    assert (decision.due is None) is told


FULL = {"models": [{"lane": A}, {"lane": B, "causes": ["Full"]}]}


@pytest.mark.row("C8", "C10")
@pytest.mark.parametrize(
    ("lanes", "spec", "place", "lane_of"),
    [
        pytest.param([busy(hosted(A), active=4, queued=1), hosted(B)], FULL, LINE, B, id="a full lane leads to Full"),
        pytest.param([busy(hosted(A), active=4, queued=1), hosted(B)], {}, LINE, A, id="but only where it is listed"),
        pytest.param([busy(hosted(A), active=3, queued=1), hosted(B)], FULL, LINE, A, id="not while a slot is free"),
        pytest.param(
            [busy(hosted(A), active=4, queued=1), busy(hosted(B), active=4)], FULL, LINE, A, id="nor to a full one"
        ),
        pytest.param(
            [busy(hosted(A), active=4, queued=1), busy(hosted(B), active=3, queued=1)],
            FULL,
            LINE,
            A,
            id="nor to one where somebody stands in line",
        ),
        pytest.param(
            [busy(hosted(A), active=4, queued=1), cooled(hosted(B), 90)], FULL, LINE, A, id="nor to one that cools"
        ),
        pytest.param(
            [busy(hosted(A), active=4, queued=1), hosted(B)], FULL, None, A, id="not before its lane has looked at it"
        ),
    ],
)
def test_a_full_lane(lanes: list[Lane], spec: dict[str, Any], place: Place | None, lane_of: str) -> None:
    assert where(stand(lanes, A, B, at_lane=A, place=place, **spec)) == lane_of


@pytest.mark.row("C10")
@pytest.mark.parametrize(
    ("first", "place", "lane_of"),
    [
        pytest.param(hosted(A), LINE, A, id="a free slot above is taken by who would stand in line"),
        pytest.param(hosted(A), None, B, id="who was not looked at yet may get its slot here"),
        pytest.param(busy(hosted(A), active=4), LINE, B, id="a full one above is not"),
        pytest.param(cooled(hosted(A), 90), LINE, B, id="a cooled one above is not"),
        pytest.param(
            busy(cooled(hosted(A), None, cooldown_reason=None, cooldown_source=None), active=1),
            LINE,
            B,
            id="a model on trial takes one run at a time",
        ),
    ],
)
def test_the_way_back_up(first: Lane, place: Place | None, lane_of: str) -> None:
    lanes = [first, busy(hosted(B), active=4, queued=1)]
    assert where(stand(lanes, A, B, at_lane=B, place=place)) == lane_of


@pytest.mark.row("S0.28")
@pytest.mark.parametrize(
    ("first", "second", "lane_of"),
    [
        pytest.param(busy(hosted(A), active=2), busy(hosted(B), active=1), B, id="fewer runs"),
        pytest.param(busy(hosted(A), active=1), busy(hosted(B), active=0, queued=2), A, id="queued ones count"),
        pytest.param(busy(hosted(A), active=1), busy(hosted(B), active=1), A, id="of equals the first by name"),
        pytest.param(hosted(A), busy(cooled(hosted(B), 90), active=0), A, id="never a cooled one"),
        pytest.param(cooled(hosted(A), 90), busy(hosted(B), active=9), B, id="the only free one however busy"),
    ],
)
def test_least_busy_takes_the_free_step_with_the_fewest_runs(first: Lane, second: Lane, lane_of: str) -> None:
    for names in ((A, B), (B, A)):
        assert where(look(run_view(chained(*names, selection="LeastBusy"), lanes=[first, second]))) == lane_of


def test_least_busy_leaves_a_line_for_a_free_slot_and_else_stays() -> None:
    full = busy(hosted(A), active=4, queued=1)
    there = stand([full, busy(hosted(B), active=3)], A, B, at_lane=A, selection="LeastBusy")
    assert (where(there), there.fallback_history[-1].cause) == (B, Cause.FULL)
    kept = stand([full, busy(hosted(B), active=4)], A, B, at_lane=A, selection="LeastBusy")
    assert where(kept) == A


@pytest.mark.row("S0.28")
def test_least_busy_waits_when_all_are_cooled() -> None:
    lanes = [cooled(hosted(A), 90), cooled(hosted(B), 60)]
    status = look(run_view(chained(A, B, selection="LeastBusy"), lanes=lanes))
    assert (status.reason, status.next_attempt_time) == ("AllModelsCooling", at(60))


def test_a_hold_by_hand_that_ends_lets_the_run_go_back_up() -> None:
    held = cooled(hosted(A), None, cause=Cause.MANUAL, source=ResetSource.MANUAL)
    full = busy(hosted(B), active=4, queued=1)
    there = look(run_view(chained(A, B), lanes=[held, full]))
    assert there.step == on(B, cause=Cause.MANUAL, time=NOW)
    assert where(look(run_view(chained(A, B, status=there), lanes=[hosted(A), full], place=LINE))) == A


# ---- edits


@pytest.mark.parametrize(
    ("names", "lane_of"),
    [
        pytest.param((A, C), A, id="a step that is no longer in the chain is left for the first"),
        pytest.param((C, B), B, id="one that still is stays"),
    ],
)
def test_models_that_were_edited_while_suspended(names: tuple[str, ...], lane_of: str) -> None:
    status = AgentRunStatus(step=on(B, cause=Cause.RATE_LIMIT_MODEL))
    lanes = [hosted(A), hosted(B), hosted(C)]
    decided = look(run_view(chained(*names, status=status, suspend=True), lanes=lanes))
    assert (decided.reason, where(decided)) == ("Suspended", lane_of)
    assert [one.lane for one in decided.chain] == list(names)
