"""A run's limits over its life: warned, reached, stopped, paused, raised."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from laneway.api.gatewaystate import AttemptState, LimitRefusal
from laneway.api.limits import LimitName, LimitReached
from laneway.api.reasons import End, EventReason, Outcome, RunCondition, Waiting
from laneway.api.runstatus import AgentRunStatus, Usage
from laneway.controller.decide_lane import decide_lane
from laneway.controller.decide_run import decide_run
from laneway.controller.decision.decision import RunDecision
from laneway.controller.decision.effects import CloseAttempt, CreatePod, DeletePod, EventType, PostEvent
from laneway.controller.facts.objects import Run
from laneway.controller.facts.views import RunView
from laneway.controller.lane.admission import granted_events, granted_status
from laneway.controller.limits.limitwatch import next_look
from laneway.controller.pods.pod import Plan, build_pod
from support.builders import (
    PRESETS,
    SURROUNDINGS,
    admitted,
    at,
    attempt,
    call_failure,
    condition,
    ended,
    gateway,
    lane,
    lane_view,
    metered,
    run,
    run_view,
    running,
)

LATER = at(30)
STARTED = {"pod": "hello-hello-01-1", "pod_uid": "pod-uid", "start_time": at(2)}
PRICED = lane(
    spec={"models": [{"name": "smollm2", "pricing": {"inputUSDPerMillion": "3", "outputUSDPerMillion": "15"}}]}
)
DIRECT = lane(spec={"access": "Direct"})
HALF_DOLLAR = {"costUSD": "0.50"}


def limited(limits: dict[str, Any], status: AgentRunStatus | None = None, *, generation: int = 1, **spec: Any) -> Run:
    made = run(spec={"limits": limits, **spec}, status=status or admitted(**STARTED))
    return replace(made, meta=replace(made.meta, generation=generation))


def refused(
    limit: LimitName = LimitName.COST, value: str = "0.50", *, generation: int = 1, closed: bool = False, **totals: Any
) -> AttemptState:
    """An attempt whose last call was refused for a limit."""
    refusal = LimitRefusal(limit=limit, value=value, generation=generation)
    used = {"cost_micro_usd": 499_000, **totals}
    return metered(closed=closed, **used).model_copy(update={"refusal": refusal, "last_activity_time": at(29)})


def at_work(the_run: Run, state: AttemptState | None = None, *, pod: Any = None, the_lane: Any = PRICED) -> RunView:
    pods = () if pod is False else (pod or running(),)
    return run_view(the_run, lane=the_lane, pods=pods, gateway=gateway(state))


def told(decision: RunDecision) -> list[PostEvent]:
    return [effect for effect in decision.effects if isinstance(effect, PostEvent)]


def reasons(decision: RunDecision) -> list[EventReason]:
    return [event.reason for event in told(decision)]


def said(decision: RunDecision, kind: RunCondition) -> tuple[str, str, str]:
    found = next(c for c in decision.status.conditions if c.type == kind)
    return found.status, found.reason, found.message


def after(view: RunView, decision: RunDecision, *, limits: dict[str, Any] | None = None, generation: int = 1) -> Run:
    """The run as the decision left it, with other limits perhaps."""
    spec = view.run.spec.model_dump(by_alias=True, exclude_none=True)
    if limits is not None:
        spec["limits"] = limits
    made = run(spec=spec, status=decision.status)
    return replace(made, meta=replace(made.meta, generation=generation))


# ---- warnings

WARNED = [
    pytest.param({"costUSD": "1.00"}, metered(closed=False, cost_micro_usd=799_999), None, id="money just under 80 %"),
    pytest.param({"costUSD": "1.00"}, metered(closed=False, cost_micro_usd=800_000), EventReason.BUDGET_WARNING, id="money at 80 %", marks=pytest.mark.row("S4.28")),
    pytest.param({"turns": 10}, metered(closed=False, turns=7), None, id="turns just under 80 %"),
    pytest.param({"turns": 10}, metered(closed=False, turns=8), EventReason.TURNS_WARNING, id="turns at 80 %", marks=pytest.mark.row("S4.22", "S4.27", "C12", "B12")),
    pytest.param({}, metered(closed=False, turns=800), EventReason.TURNS_WARNING, id="turns at 80 % of 1000, which nobody set", marks=pytest.mark.row("S4.26")),
    pytest.param({"tokens": 23}, metered(closed=False), EventReason.TOKENS_WARNING, id="tokens at 80 %"),
    pytest.param({"activeSeconds": 35}, metered(closed=False), EventReason.TIME_WARNING, id="time at 80 %", marks=pytest.mark.row("S4.29")),
    pytest.param({"costUSD": "1.00"}, metered(closed=False), None, id="an unknown cost"),
]  # fmt: skip


@pytest.mark.parametrize(("limits", "state", "expected"), WARNED)
def test_a_run_is_warned_when_a_limit_is_nearly_used_up(
    limits: dict[str, Any], state: AttemptState, expected: EventReason | None
) -> None:
    decision = decide_run(at_work(limited(limits), state), LATER)
    warnings = [event for event in told(decision) if event.reason is not EventReason.ATTEMPT_STARTED]
    assert [event.reason for event in warnings] == ([expected] if expected else [])
    assert len(decision.status.warnings) == len(warnings)
    assert all(event.type is EventType.WARNING for event in warnings)


def test_a_warning_is_given_once_and_anew_for_a_limit_that_was_raised() -> None:
    view = at_work(limited({"costUSD": "1.00"}), metered(closed=False, cost_micro_usd=850_000))
    first = decide_run(view, LATER)
    [warning] = first.status.warnings
    assert (warning.limit, warning.value, warning.message) == (LimitName.COST, "1.00", "0.85 of 1.00 USD used")
    more = metered(closed=False, cost_micro_usd=900_000)
    again = decide_run(at_work(after(view, first), more), at(40))
    assert again.status.warnings == (warning,)
    assert reasons(again) == []
    raised = decide_run(at_work(after(view, again, limits={"costUSD": "2.00"}), more), at(50))
    assert raised.status.warnings == ()
    anew = decide_run(
        at_work(after(view, raised, limits={"costUSD": "2.00"}), metered(closed=False, cost_micro_usd=1_700_000)),
        at(60),
    )
    assert reasons(anew) == [EventReason.BUDGET_WARNING]
    assert {event.key for event in told(anew)}.isdisjoint({event.key for event in told(first)})


@pytest.mark.row("S4.28")
def test_a_run_that_jumps_to_its_limit_is_warned_all_the_same() -> None:
    decision = decide_run(at_work(limited(HALF_DOLLAR), refused(closed=True), pod=running(deleting=True)), LATER)
    assert EventReason.BUDGET_WARNING in reasons(decision)
    assert decision.status.reason == End.BUDGET_REACHED


# ---- reached while an attempt runs


@pytest.mark.row("S4.30", "S4.31", "C11")
def test_a_refused_call_closes_the_attempt_and_stops_the_pod_and_then_ends_the_run() -> None:
    view = at_work(limited(HALF_DOLLAR), refused())
    first = decide_run(view, LATER)
    assert [type(effect) for effect in first.effects if not isinstance(effect, PostEvent)] == [CloseAttempt, DeletePod]
    assert first.status.completion_time is None
    second = decide_run(at_work(after(view, first), refused(closed=True), pod=running(deleting=True)), LATER)
    assert said(second, RunCondition.FINISHED)[:2] == ("True", "BudgetReached")
    assert said(second, RunCondition.SUCCEEDED)[:2] == ("True", "BudgetReached")
    assert "0.499 of 0.50 USD used" in said(second, RunCondition.FINISHED)[2]
    assert second.status.attempts[-1].outcome is Outcome.LIMIT
    assert second.status.usage is not None
    assert second.status.usage.complete


CLOSED = [
    pytest.param(HALF_DOLLAR, refused(closed=True), End.BUDGET_REACHED, id="money"),
    pytest.param({"tokens": 19}, refused(LimitName.TOKENS, "19", closed=True), End.TOKENS_REACHED, id="tokens"),
    pytest.param({"turns": 1}, refused(LimitName.TURNS, "1", closed=True), End.TURNS_REACHED, id="turns", marks=pytest.mark.row("C12", "B12")),
    pytest.param({"activeSeconds": 28}, metered(), End.TIME_REACHED, id="time", marks=pytest.mark.row("S4.29")),
]  # fmt: skip


@pytest.mark.row("S4.24", "S4.25")
@pytest.mark.parametrize("pod", [running(deleting=True), False, ended(143, deleting=True)], ids=["stopping", "gone", "stopped"])  # fmt: skip
@pytest.mark.parametrize(("limits", "state", "end"), CLOSED)
def test_each_limit_has_its_own_end(limits: dict[str, Any], state: AttemptState, end: End, pod: Any) -> None:
    if end is End.TIME_REACHED and pod:
        pod = replace(pod, started=at(2), agent=pod.agent and replace(pod.agent, ended=at(30)))
    decision = decide_run(at_work(limited(limits), state, pod=pod), LATER)
    assert (decision.status.reason, decision.status.phase) == (end, "Succeeded")


def test_a_limit_that_is_to_fail_fails() -> None:
    view = at_work(limited({**HALF_DOLLAR, "onReached": "Fail"}), refused(closed=True), pod=ended(1))
    decision = decide_run(view, LATER)
    assert said(decision, RunCondition.SUCCEEDED)[:2] == ("False", "BudgetReached")
    assert told(decision)[-2].type is EventType.WARNING


@pytest.mark.parametrize("code", [0, 1])
def test_a_refused_call_comes_before_how_the_agent_ended(code: int) -> None:
    state = refused(closed=True).model_copy(update={"failure": call_failure(status=503)})
    decision = decide_run(at_work(limited(HALF_DOLLAR), state, pod=ended(code, message="half a page")), LATER)
    assert decision.status.reason == End.BUDGET_REACHED
    assert decision.status.result is not None
    assert decision.status.result.summary == "half a page"


# ---- raising always wins


@pytest.mark.parametrize(
    ("limits", "generation"),
    [
        pytest.param({"costUSD": "0.51"}, 2, id="a limit that was raised"),
        pytest.param({}, 2, id="a limit that was removed"),
        pytest.param(HALF_DOLLAR, 0, id="a judgement on a newer spec than ours"),
    ],
)
def test_a_judgement_on_other_limits_stops_nobody(limits: dict[str, Any], generation: int) -> None:
    decision = decide_run(at_work(limited(limits, generation=generation), refused()), LATER)
    assert decision.status.reason == "Running"
    assert [effect for effect in decision.effects if isinstance(effect, CloseAttempt | DeletePod)] == []


def test_a_change_of_something_else_does_not_hide_a_limit_that_is_reached() -> None:
    decision = decide_run(at_work(limited(HALF_DOLLAR, generation=5), refused()), LATER)
    assert CloseAttempt in [type(effect) for effect in decision.effects]


@pytest.mark.parametrize(
    ("pod", "state"),
    [
        pytest.param(ended(1), refused(closed=True), id="its agent gave up at the refusal"),
        pytest.param(ended(143, deleting=True), refused(closed=True), id="it was stopped"),
        pytest.param(False, refused(closed=True), id="it was stopped, and the pod is gone"),
        pytest.param(running(deleting=True), refused(closed=True), id="it is being stopped"),
    ],
)
def test_an_attempt_that_was_ended_for_a_limit_that_was_raised_is_begun_again(pod: Any, state: AttemptState) -> None:
    view = at_work(limited({"costUSD": "5.00"}, generation=2), state, pod=pod)
    decision = decide_run(view, LATER)
    assert said(decision, RunCondition.ADMITTED)[:2] == ("False", "WaitingForSlot")
    assert reasons(decision) == [EventReason.RESUMED]
    assert decision.status.attempts[-1].outcome is Outcome.LIMIT
    assert (decision.status.disruption_count, decision.status.disruptions) == (None, ())


def test_an_attempt_that_was_closed_in_vain_is_stopped_first() -> None:
    decision = decide_run(at_work(limited({"costUSD": "5.00"}, generation=2), refused(closed=True)), LATER)
    assert [type(effect) for effect in decision.effects] == [DeletePod]


def test_an_agent_that_ends_well_after_its_limit_was_raised_has_completed() -> None:
    view = at_work(limited({"costUSD": "5.00"}, generation=2), refused(closed=True), pod=ended(0))
    assert decide_run(view, LATER).status.reason == End.COMPLETED


# ---- reached between calls


def quiet(seconds: float, **changes: Any) -> AttemptState:
    """A turn was used, and then the agent made no call."""
    return metered(closed=False).model_copy(update={"last_activity_time": at(30 - seconds), **changes})


def test_an_agent_whose_last_call_took_all_has_time_to_end_by_itself() -> None:
    decision = decide_run(at_work(limited({"turns": 1}), quiet(5)), LATER)
    assert decision.status.reason == "Running"
    assert decision.due == at(45)


def test_a_call_that_is_open_or_held_at_the_limit_is_left_to_the_gateway() -> None:
    view = at_work(limited({"turns": 1, "onReached": "Pause"}), quiet(25, open_calls=1))
    assert decide_run(view, LATER).status.reason == "Running"
    assert next_look(view, LATER) is None


@pytest.mark.row("S4.28")
def test_an_agent_that_stays_behind_its_limit_is_stopped_within_thirty_seconds() -> None:
    decision = decide_run(at_work(limited({"turns": 1}), quiet(20)), LATER)
    assert CloseAttempt in [type(effect) for effect in decision.effects]


def test_an_agent_that_ended_well_with_its_last_turn_has_completed() -> None:
    view = at_work(limited({"turns": 1}), metered(), pod=ended(0))
    assert decide_run(view, LATER).status.reason == End.COMPLETED


@pytest.mark.row("S4.29", "C21", "B13")
def test_running_time_counts_over_attempts_and_its_end_is_planned() -> None:
    status = admitted(2, pod="p", pod_uid="pod-uid", start_time=at(2)).model_copy(update={"active_seconds": 40})
    view = at_work(limited({"activeSeconds": 100}, status), pod=replace(running(), attempt=2))
    first = decide_run(view, LATER)
    assert (first.status.reason, first.due) == ("Running", at(42))
    warned = decide_run(at_work(after(view, first), pod=replace(running(), attempt=2)), at(42))
    assert reasons(warned) == [EventReason.TIME_WARNING]
    assert warned.due == at(62)
    stopped = decide_run(at_work(after(view, warned), pod=replace(running(), attempt=2)), at(62))
    assert DeletePod in [type(effect) for effect in stopped.effects]


@pytest.mark.row("C21")
@pytest.mark.parametrize(
    ("pod", "seconds"),
    [pytest.param(ended(1), 8, id="until its agent ended"), pytest.param(False, 28, id="until its pod was missed")],
)
def test_the_running_time_of_an_attempt_is_kept(pod: Any, seconds: int) -> None:
    decision = decide_run(at_work(limited({}), metered(), pod=pod), LATER)
    assert decision.status.active_seconds == seconds


# ---- waiting


def waiting(usage: Usage | None = None, **changes: Any) -> AgentRunStatus:
    """A run whose first attempt has ended, and that wants another."""
    plain = AgentRunStatus(
        attempt=1,
        attempts=(attempt(1, outcome=Outcome.DISRUPTED, usage=usage, end_time=at(10)),),
        conditions=(condition("Admitted", "False", "WaitingForSlot"),),
        usage=usage,
    )
    return plain.model_copy(update=changes)


def used(cost: str = "0.50", **changes: Any) -> Usage:
    plain = {"turns": 1, "total_tokens": 19, "cost_usd": cost, "source": "Gateway", "complete": True}
    return Usage.model_validate({**plain, **changes})


@pytest.mark.parametrize(("on_reached", "phase"), [("Stop", "Succeeded"), ("Fail", "Failed")])
def test_a_run_with_a_limit_used_up_begins_no_other_attempt(on_reached: str, phase: str) -> None:
    view = run_view(limited({**HALF_DOLLAR, "onReached": on_reached}, waiting(used())), lane=PRICED)
    decision = decide_run(view, LATER)
    assert (decision.status.reason, decision.status.phase) == ("BudgetReached", phase)


def test_usage_that_is_not_complete_counts_as_far_as_it_is_known() -> None:
    view = run_view(limited(HALF_DOLLAR, waiting(used(complete=False))), lane=PRICED)
    assert decide_run(view, LATER).status.reason == End.BUDGET_REACHED
    unknown = run_view(limited(HALF_DOLLAR, waiting(Usage(complete=False))), lane=PRICED)
    assert decide_run(unknown, LATER).status.reason == Waiting.WAITING_FOR_SLOT


def test_no_lane_grants_a_slot_to_a_run_whose_limit_is_reached() -> None:
    spent, fine = limited(HALF_DOLLAR, waiting(used())), limited(HALF_DOLLAR, waiting(used("0.10")))
    assert decide_lane(lane_view(spent, the_lane=PRICED), LATER).grants == ()
    assert len(decide_lane(lane_view(fine, the_lane=PRICED), LATER).grants) == 1


# ---- pause

PAUSES = {**HALF_DOLLAR, "onReached": "Pause"}


def paused() -> tuple[RunView, RunDecision]:
    view = at_work(limited(PAUSES), refused(closed=True), pod=ended(1))
    return view, decide_run(view, LATER)


def test_a_run_pauses_without_pod_slot_and_place() -> None:
    _, decision = paused()
    assert said(decision, RunCondition.ADMITTED) == (
        "False",
        "LimitPaused",
        "0.499 of 0.50 USD used; raise spec.limits.costUSD to continue",
    )
    assert (decision.status.phase, decision.status.queue, decision.due) == ("Paused", None, None)
    assert decision.status.limit_reached == LimitReached(limit=LimitName.COST, value="0.50", time=LATER)
    assert reasons(decision)[:2] == [EventReason.ATTEMPT_ENDED, EventReason.LIMIT_PAUSED]
    assert said(decision, RunCondition.FINISHED)[0] == "False"


@pytest.mark.parametrize(
    "limits",
    [
        pytest.param(PAUSES, id="nothing changed"),
        pytest.param({**PAUSES, "costUSD": "0.40"}, id="the limit was lowered"),
        pytest.param({**PAUSES, "turns": 2000}, id="another limit was raised"),
    ],
)
def test_a_paused_run_waits_on_quietly(limits: dict[str, Any]) -> None:
    view, decision = paused()
    again = decide_run(run_view(after(view, decision, limits=limits), lane=PRICED), at(600))
    assert again.status.reason == Waiting.LIMIT_PAUSED
    assert [event for event in told(again) if event.reason is not EventReason.BUDGET_WARNING] == []
    settled = decide_run(run_view(after(view, again, limits=limits), lane=PRICED), at(700))
    assert settled.status == again.status
    assert settled.effects == ()
    waits = after(view, again, limits=limits)
    assert decide_lane(lane_view(waits, the_lane=PRICED), at(700)).grants == ()


@pytest.mark.parametrize(
    "limits",
    [
        pytest.param({**PAUSES, "costUSD": "0.60"}, id="raised"),
        pytest.param({"onReached": "Pause"}, id="removed"),
    ],
)
def test_a_paused_run_goes_on_when_its_limit_is(limits: dict[str, Any]) -> None:
    view, decision = paused()
    changed = after(view, decision, limits=limits, generation=2)
    goes_on = decide_run(run_view(changed, lane=PRICED), at(600))
    assert goes_on.status.reason == Waiting.WAITING_FOR_SLOT
    assert goes_on.status.limit_reached is None
    assert EventReason.RESUMED in reasons(goes_on)
    assert goes_on.status.disruption_count is None
    [grant] = decide_lane(lane_view(after(view, goes_on, limits=limits), the_lane=PRICED), at(600)).grants
    assert grant.attempt.id == 2


def test_a_lane_may_grant_a_slot_before_the_run_has_said_that_it_goes_on() -> None:
    view, decision = paused()
    raised = after(view, decision, limits={**PAUSES, "costUSD": "0.60"}, generation=2)
    [grant] = decide_lane(lane_view(raised, the_lane=PRICED), at(600)).grants
    assert granted_status(grant, (), at(600)).limit_reached is None
    assert [event.reason for event in granted_events(grant, at(600))] == [EventReason.RESUMED, EventReason.SLOT_GRANTED]


def test_a_paused_run_whose_limit_was_raised_may_have_reached_another_one() -> None:
    view, decision = paused()
    limits = {**PAUSES, "costUSD": "0.60", "tokens": 19}
    other = decide_run(run_view(after(view, decision, limits=limits, generation=2), lane=PRICED), at(600))
    assert other.status.limit_reached == LimitReached(limit=LimitName.TOKENS, value="19", time=at(600))
    assert EventReason.RESUMED not in reasons(other)


def test_a_paused_run_that_shall_not_pause_any_more_ends() -> None:
    view, decision = paused()
    stops = decide_run(run_view(after(view, decision, limits=HALF_DOLLAR), lane=PRICED), at(600))
    assert stops.status.reason == End.BUDGET_REACHED
    assert stops.status.limit_reached is None


def test_a_run_pauses_between_attempts_too_and_says_so_once() -> None:
    view = run_view(limited(PAUSES, waiting(used())), lane=PRICED)
    first = decide_run(view, LATER)
    assert (first.status.reason, first.status.phase) == ("LimitPaused", "Paused")
    assert EventReason.LIMIT_PAUSED in reasons(first)
    again = decide_run(run_view(after(view, first), lane=PRICED), at(60))
    assert (again.status.reason, again.status.limit_reached) == ("LimitPaused", first.status.limit_reached)
    settled = decide_run(run_view(after(view, again), lane=PRICED), at(90))
    assert (settled.status, again.effects, settled.effects) == (again.status, (), ())


def test_a_suspended_run_stays_suspended() -> None:
    view = run_view(limited(HALF_DOLLAR, waiting(used()), suspend=True), lane=PRICED)
    assert decide_run(view, LATER).status.reason == Waiting.SUSPENDED


# ---- prices, Direct lanes, agents


@pytest.mark.row("C13")
def test_a_run_with_a_limit_of_money_does_not_use_a_model_without_a_price() -> None:
    waits = decide_run(run_view(limited(HALF_DOLLAR, AgentRunStatus())), LATER)
    assert said(waits, RunCondition.ADMITTED)[:2] == ("False", "PriceUnknown")
    assert said(waits, RunCondition.STALLED)[0] == "True"
    free, bound = run("free"), limited(HALF_DOLLAR, AgentRunStatus())
    assert [grant.run.meta.name for grant in decide_lane(lane_view(free, bound), LATER).grants] == ["free"]


def test_a_run_with_a_limit_of_money_goes_on_to_a_step_with_a_price() -> None:
    second = replace(PRICED, meta=replace(PRICED.meta, name="priced", uid="priced-uid"))
    chained = limited(HALF_DOLLAR, AgentRunStatus(), models=[{"lane": "local"}, {"lane": "priced"}])
    decision = decide_run(run_view(chained, lanes=[lane(), second]), LATER)
    assert decision.status.step is not None
    assert decision.status.step.lane == "priced"


@pytest.mark.parametrize(
    ("limits", "the_lane", "says"),
    [
        pytest.param(HALF_DOLLAR, DIRECT, True, id="money on a Direct lane"),
        pytest.param({"turns": 10}, DIRECT, True, id="turns on a Direct lane"),
        pytest.param({"activeSeconds": 600}, DIRECT, False, id="time, which holds everywhere"),
        pytest.param({}, DIRECT, False, id="no limit that anybody set"),
        pytest.param(HALF_DOLLAR, PRICED, False, id="a lane of the gateway"),
    ],
)
def test_limits_that_nobody_holds_while_the_agent_runs_are_said(
    limits: dict[str, Any], the_lane: Any, says: bool
) -> None:
    decision = decide_run(at_work(limited(limits), the_lane=the_lane), LATER)
    assert ("judged only after each attempt" in said(decision, RunCondition.RECONCILING)[2]) is says


def cap_of(limits: dict[str, Any]) -> str:
    plan = Plan(
        run=limited(limits),
        lane=PRICED,
        preset=PRESETS["laneway"],
        attempt=attempt(),
        surroundings=SURROUNDINGS,
    )
    [container] = build_pod(plan)["spec"]["containers"]
    return next(one["value"] for one in container["env"] if one["name"] == "LANEWAY_MAX_TURNS")


@pytest.mark.row("S4.26", "C12")
@pytest.mark.parametrize(
    ("limits", "cap"),
    [
        pytest.param({}, "1000", id="no limit"),
        pytest.param(HALF_DOLLAR, "1000", id="a limit of something else"),
        pytest.param({"turns": 12}, "12", id="a limit of turns"),
    ],
)
def test_the_agent_is_told_how_many_turns_it_has(limits: dict[str, Any], cap: str) -> None:
    assert cap_of(limits) == cap


def test_a_run_without_limits_is_left_alone() -> None:
    view = at_work(limited({}), metered(closed=False))
    decision = decide_run(view, LATER)
    assert decision.status.warnings == ()
    assert next_look(view, LATER) is None
    assert CreatePod not in [type(effect) for effect in decision.effects]
