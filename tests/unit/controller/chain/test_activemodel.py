"""``spec.activeModel``: what is ours, what somebody took, what a person wants, and when we stop writing."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest

from laneway.api.reasons import Cause
from laneway.api.runstatus import AgentRunStatus, Fallback, NamedStep, Queue
from laneway.controller.chain.activemodel import was_touched
from laneway.controller.decide_run import decide_run
from laneway.controller.decision.decision import RunDecision
from laneway.controller.decision.effects import PatchActiveModel, PostEvent
from laneway.controller.facts.objects import Lane
from laneway.controller.facts.views import Place, PodFacts
from laneway.controller.loop.gather import spec_managers
from support.builders import NOW, at, call_failure, condition, run_view, running
from support.chains import A, B, C, at_work, chained, cooled, failed_view, hosted, messages, on

LANES = [cooled(hosted(A), 300), hosted(B), hosted(C)]
NOWHERE = object()


def value(lane: str, **changes: Any) -> dict[str, Any]:
    return {"lane": lane, "namespace": "team-a", "model": "m", **changes}


def moved(*lanes: str, shown: bool | None = None, restores: tuple[datetime, ...] = ()) -> AgentRunStatus:
    """A run in line that has moved along these lanes."""
    steps = [NamedStep(lane=lane, namespace="team-a", model="m") for lane in lanes]
    history = tuple(
        Fallback(time=NOW, attempt=1, from_=before, to=after, cause=Cause.RATE_LIMIT_MODEL)
        for before, after in pairwise(steps)
    )
    return AgentRunStatus(
        conditions=(condition("Admitted", "False", "WaitingForSlot"), condition("Reconciling", "True", "x")),
        step=on(lanes[-1], cause=Cause.RATE_LIMIT_MODEL if history else None, shown=shown),
        fallback_history=history,
        active_model_restores=restores,
    )


def look(
    status: AgentRunStatus,
    active: dict[str, Any] | None = None,
    *,
    lanes: list[Lane] | None = None,
    now: datetime = NOW,
    **spec: Any,
) -> RunDecision:
    return decide_run(
        run_view(
            chained(A, B, C, status=status, activeModel=active, **spec),
            lanes=lanes or LANES,
            other_managers=("argocd-controller",),
        ),
        now,
    )


def patched(decision: RunDecision) -> object:
    """The value that is patched; NOWHERE: none is."""
    values = [effect.value for effect in decision.effects if isinstance(effect, PatchActiveModel)]
    return values[0] and values[0].to_wire() if values else NOWHERE


def events(decision: RunDecision) -> list[str]:
    return [effect.reason.value for effect in decision.effects if isinstance(effect, PostEvent)]


def where(decision: RunDecision) -> str:
    return decision.status.step.lane if decision.status.step else ""


def test_a_run_on_its_first_step_shows_nothing() -> None:
    decision = look(moved(A), lanes=[hosted(A), hosted(B), hosted(C)])
    assert patched(decision) is NOWHERE
    assert decision.status.step == on(A)


def test_a_patch_that_was_not_made_is_made_without_an_event() -> None:
    decision = look(moved(A, B))
    assert (patched(decision), events(decision)) == (value(B), [])
    assert decision.status.active_model_restores == ()


def test_a_patch_over_the_step_before_is_ours_too() -> None:
    decision = look(moved(A, B, C), value(B), lanes=[cooled(hosted(A), 300), cooled(hosted(B), 300), hosted(C)])
    assert (patched(decision), events(decision)) == (value(C), [])


def test_back_on_the_first_step_the_field_is_taken_away() -> None:
    decision = look(moved(A, B, A), value(B), lanes=[hosted(A), hosted(B), hosted(C)])
    assert (patched(decision), events(decision)) == (None, [])


def test_what_the_spec_shows_is_noted_once() -> None:
    first = look(moved(A, B), value(B))
    assert first.status.step is not None
    assert first.status.step.shown
    again = look(first.status, value(B))
    assert again.status == first.status
    assert again.effects == ()


def test_a_value_without_defaults_says_the_same() -> None:
    assert patched(look(moved(A, B, shown=True), {"lane": B})) is NOWHERE


@pytest.mark.row("C10")
def test_a_field_that_somebody_dropped_is_written_again_and_told() -> None:
    decision = look(moved(A, B, shown=True), now=at(30))
    assert (patched(decision), events(decision)) == (value(B), ["ActiveModelRestored"])
    assert decision.status.active_model_restores == (at(30),)
    assert where(decision) == B
    [told] = [e for e in decision.effects if isinstance(e, PostEvent)]
    assert "removed by argocd-controller" in told.message


@pytest.mark.parametrize(
    "active",
    [
        pytest.param(value("elsewhere"), id="a lane that is not in the chain"),
        pytest.param(value(B, model="other"), id="a model that is not in the chain"),
        pytest.param(value(A), id="a step that is not free"),
    ],
)
def test_what_is_no_free_step_is_written_over(active: dict[str, Any]) -> None:
    decision = look(moved(A, B, shown=True), active)
    assert (patched(decision), events(decision), where(decision)) == (value(B), ["ActiveModelRestored"], B)


def test_what_a_run_on_its_first_step_cannot_be_sent_to_is_taken_away() -> None:
    decision = look(moved(A), value("elsewhere"), lanes=[hosted(A), hosted(B), hosted(C)])
    assert (patched(decision), events(decision)) == (None, ["ActiveModelRestored"])


@pytest.mark.parametrize("status", [moved(A, B, shown=True), moved(A)], ids=["that has moved", "that has not"])
def test_a_person_moves_a_waiting_run(status: AgentRunStatus) -> None:
    decision = look(status, {"lane": C}, lanes=[hosted(A), hosted(B), hosted(C)])
    assert decision.status.step == on(C, cause=Cause.MANUAL, time=NOW, asked=True, shown=True)
    assert decision.status.fallback_history[-1].cause is Cause.MANUAL
    assert (patched(decision), events(decision)) == (NOWHERE, ["SteppedDown"])
    assert decision.status.reason == "WaitingForSlot"


def test_a_person_moves_a_suspended_run() -> None:
    decision = look(moved(A), value(C), suspend=True)
    assert (where(decision), decision.status.reason) == (C, "Suspended")


def test_a_run_that_was_sent_somewhere_stays_there_while_it_can() -> None:
    sent = look(moved(A), value(C), lanes=[hosted(A), hosted(B), hosted(C)]).status
    assert where(look(sent, value(C), lanes=[hosted(A), hosted(B), hosted(C)])) == C
    gone = look(sent, value(C), lanes=[hosted(A), hosted(B), cooled(hosted(C), 90)], now=at(5))
    assert (where(gone), patched(gone)) == (A, None)


def test_a_person_may_send_a_run_back_to_a_step_that_failed_it() -> None:
    failed = failed_view(chained(A, B, status=at_work()), [hosted(A), hosted(B)], call_failure(Cause.MODEL_NOT_FOUND))
    there = decide_run(failed, at(12)).status
    back = decide_run(
        run_view(
            chained(A, B, status=there.model_copy(update={"step": on(B, shown=True)}), activeModel=value(A)),
            lanes=[hosted(A), hosted(B)],
        ),
        at(20),
    )
    assert (where(back), back.status.reason) == (A, "WaitingForSlot")


def at_work_on_b(active: dict[str, Any] | None) -> RunDecision:
    """A running attempt on the second step, which the spec had shown."""
    status = at_work(B, step=on(B, shown=True), fallback_history=moved(A, B).fallback_history)
    view = run_view(chained(A, B, C, status=status, activeModel=active), lanes=LANES, pods=(running(),))
    return decide_run(view, NOW)


def test_a_persons_word_waits_for_the_end_of_a_running_attempt() -> None:
    decision = at_work_on_b(value(C))
    assert (where(decision), patched(decision), decision.status.reason) == (B, NOWHERE, "Running")


@pytest.mark.parametrize("active", [None, value("elsewhere"), value(A)], ids=["dropped", "unknown", "cooled"])
def test_a_running_attempt_shows_where_it_is(active: dict[str, Any] | None) -> None:
    decision = at_work_on_b(active)
    assert (patched(decision), events(decision)) == (value(B), ["ActiveModelRestored"])


def test_after_three_restores_in_ten_minutes_the_field_is_left_alone_and_the_other_manager_named() -> None:
    restores = (at(-500), at(-100), at(-50))
    decision = look(moved(A, B, shown=True, restores=restores))
    assert (patched(decision), events(decision), where(decision)) == (NOWHERE, [], B)
    assert "is left to argocd-controller" in messages(decision.status)["Admitted"]
    assert decision.due == at(100)
    again = look(moved(A, B, shown=True, restores=restores), now=at(100))
    assert patched(again) == value(B)
    assert again.status.active_model_restores == (at(-100), at(-50), at(100))


OVERWRITTEN: dict[str, Any] = {"shown": True, "restores": (at(-500), at(-100), at(-50))}


@pytest.mark.parametrize(
    ("status", "pods"),
    [
        pytest.param(moved(A, B, **OVERWRITTEN), (), id="in line"),
        pytest.param(
            moved(A, B, **OVERWRITTEN).model_copy(
                update={"queue": Queue(position=3, since=NOW, shown_time=NOW), "observed_generation": 1}
            ),
            (),
            id="in line, and told its place just now",
        ),
        pytest.param(
            at_work(
                B,
                step=on(B, shown=True),
                fallback_history=moved(A, B).fallback_history,
                active_model_restores=OVERWRITTEN["restores"],
            ),
            (running(),),
            id="at work",
        ),
    ],
)
def test_that_it_is_left_alone_is_said_once_and_no_longer_than_it_is_true(
    status: AgentRunStatus, pods: tuple[PodFacts, ...]
) -> None:
    def passed(status: AgentRunStatus, active: dict[str, Any] | None = None) -> AgentRunStatus:
        run = chained(A, B, C, status=status, activeModel=active)
        return decide_run(run_view(run, lanes=LANES, pods=pods, place=Place(2, 1, 1)), NOW).status

    first = passed(status)
    assert messages(first)["Admitted"].count("is left to") == 1
    assert passed(passed(first)) == first
    assert "is left to" not in messages(passed(first, value(B)))["Admitted"]


def test_while_it_is_left_alone_the_run_still_moves() -> None:
    restores = (at(-3), at(-2), at(-1))
    lanes = [cooled(hosted(A), 300), cooled(hosted(B), 300), hosted(C)]
    decision = look(moved(A, B, shown=True, restores=restores), lanes=lanes)
    assert (where(decision), patched(decision)) == (C, NOWHERE)


@pytest.mark.parametrize("step", [B, A], ids=["on another step", "on the first"])
def test_nothing_is_patched_after_the_end(step: str) -> None:
    ended = moved(A, B, shown=True).model_copy(
        update={
            "conditions": (condition("Finished", "True", "Completed"), condition("Admitted", "False", "Finished")),
            "completion_time": NOW,
            "step": on(step, shown=True),
        }
    )
    assert patched(look(ended)) is NOWHERE
    assert patched(look(moved(A, B), cancel=True)) is NOWHERE


@pytest.mark.parametrize(
    ("status", "active", "expected"),
    [
        pytest.param(moved(A, B, shown=True), None, True, id="dropped"),
        pytest.param(moved(A, B, shown=True), value(B), False, id="as it should be"),
        pytest.param(moved(A, B), None, False, id="our own patch is still to come"),
        pytest.param(AgentRunStatus(), None, False, id="nobody has looked at the run"),
        pytest.param(moved(A), value(C), True, id="set by a person"),
    ],
)
def test_whether_somebody_touched_it(status: AgentRunStatus, active: dict[str, Any] | None, *, expected: bool) -> None:
    view = run_view(chained(A, B, C, status=status, activeModel=active), lanes=LANES)
    assert was_touched(view.run, view.chain) is expected


def entry(manager: str, *fields: str, **changes: str) -> dict[str, Any]:
    return {"manager": manager, "fieldsV1": {"f:spec": {f"f:{name}": {} for name in fields}}, **changes}


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        pytest.param([entry("argocd", "activeModel"), entry("kubectl", "prompt")], ("argocd",), id="its owner"),
        pytest.param(
            [entry("laneway-operator", "activeModel"), entry("kubectl", "prompt"), entry("argocd", "models")],
            ("argocd", "kubectl"),
            id="nobody else owns it: all who write the spec",
        ),
        pytest.param(
            [entry("kubectl", "prompt"), entry("x", subresource="status")], ("kubectl",), id="not of the status"
        ),
        pytest.param([], (), id="nobody"),
    ],
)
def test_who_may_have_touched_it(entries: list[dict[str, Any]], expected: tuple[str, ...]) -> None:
    assert spec_managers({"metadata": {"managedFields": entries}}) == expected
