"""How attempts and runs are entered as ended: what is counted, what is given back, who is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from laneway.agent.envelope import EnvelopeSummary
from laneway.agent.envelope import Usage as AgentUsage
from laneway.api.modellane import Access
from laneway.api.reasons import End, EventReason, Outcome, Waiting
from laneway.api.runstatus import AgentRunStatus, Usage
from laneway.controller.decide_run import decide_run
from laneway.controller.decision.effects import CloseAttempt, DeletePod, EventType, PostEvent
from laneway.controller.ends import endings
from laneway.controller.ends.endings import Verdict
from laneway.controller.facts.objects import Lane
from support.builders import (
    NOW,
    admitted,
    at,
    attempt,
    condition,
    ended,
    gateway,
    lane,
    metered,
    run,
    run_view,
    running,
)

KEPT_BY_GIT = "Argo CD (application shop)"
STARTED = admitted(pod="hello-hello-01-1", pod_uid="pod-uid", start_time=at(2))
DIRECT = lane(spec={"access": "Direct"})
LOST = Verdict(Outcome.DISRUPTED, End.LOST_POD, "its pod is gone")


def with_history(count: int, *, seconds_apart: float) -> AgentRunStatus:
    """A run that was disrupted before, the last time so many seconds ago."""
    times = tuple(at(-seconds_apart * (count - n)) for n in range(count))
    return STARTED.model_copy(update={"disruptions": times[-10:], "disruption_count": count})


@pytest.mark.row("S4.53")
@pytest.mark.parametrize(
    ("count", "seconds_apart", "limit", "ends"),
    [
        pytest.param(0, 0, 10, False, id="the first is forgiven"),
        pytest.param(2, 60, 10, False, id="the third within half an hour is forgiven"),
        pytest.param(3, 60, 10, True, id="the fourth within half an hour is not"),
        pytest.param(3, 1800, 10, False, id="the fourth over two hours is"),
        pytest.param(9, 3600, 10, False, id="the tenth in all is forgiven"),
        pytest.param(10, 3600, 10, True, id="the eleventh in all is not"),
        pytest.param(0, 0, 0, True, id="none is forgiven if none may be"),
    ],
)
def test_disruptions_are_bounded(count: int, seconds_apart: float, limit: int, *, ends: bool) -> None:
    status = with_history(count, seconds_apart=seconds_apart)
    view = run_view(run(spec={"retry": {"maxDisruptions": limit}}, status=status), lane=DIRECT, pods=(running(),))
    decision = endings.end_attempt(view, NOW, LOST)
    assert (decision.status.completion_time is not None) is ends
    assert decision.status.disruption_count == count + 1
    assert decision.status.disruptions[-1] == NOW
    if ends:
        assert f"disrupted {count + 1} times" in (decision.status.attempts[-1].message or "")
    else:
        assert decision.status.reason == Waiting.WAITING_FOR_SLOT


def test_a_broken_attempt_is_entered_and_told_and_the_slot_is_given_up() -> None:
    decision = endings.end_attempt(run_view(run(status=STARTED), lane=DIRECT, pods=(running(),)), NOW, LOST)
    last = decision.status.attempts[-1]
    assert (last.outcome, last.end_time, last.message) == (Outcome.DISRUPTED, NOW, "its pod is gone")
    admitted_now = next(c for c in decision.status.conditions if c.type == "Admitted")
    assert admitted_now.status == "False"
    [told] = decision.effects
    assert isinstance(told, PostEvent)
    assert (told.reason, told.type, told.key) == (EventReason.POD_LOST, EventType.WARNING, "lost-1")


@pytest.mark.parametrize(("number", "left"), [(1, None), (4, 3)], ids=["the first", "the fourth"])
def test_a_slot_that_was_given_back_leaves_its_number_free(number: int, left: int | None) -> None:
    view = run_view(run(status=admitted(number)))
    decision = endings.take_back(view, NOW, Waiting.QUOTA_EXCEEDED, "exceeded quota")
    assert (decision.status.attempt, decision.status.attempts) == (left, ())
    assert decision.effects == ()


def test_a_run_keeps_its_last_ten_disruptions() -> None:
    view = run_view(run(spec={"retry": {"maxDisruptions": 1000}}, status=with_history(40, seconds_apart=3600)))
    decision = endings.end_attempt(view, NOW, LOST)
    assert len(decision.status.disruptions) == 10
    assert decision.status.disruption_count == 41


def test_an_attempt_that_never_had_a_pod_has_used_nothing() -> None:
    verdict = Verdict(Outcome.CANCELLED, End.CANCELLED, "spec.cancel was set")
    decision = endings.end_run(run_view(run(status=admitted())), NOW, verdict)
    usage = decision.status.attempts[-1].usage
    assert usage is not None
    assert (usage.turns, usage.total_tokens, usage.complete) == (0, 0, True)


def test_the_words_of_a_failed_agent_are_no_summary() -> None:
    view = run_view(run(status=STARTED), lane=DIRECT, pods=(ended(1, message="half an answer"),))
    decision = endings.end_run(view, NOW, Verdict(Outcome.FAILED, End.FAILED, "exit 1", exit_code=1))
    assert decision.status.result is not None
    assert (decision.status.result.summary, decision.status.result.exit_code) == (None, 1)


@pytest.mark.parametrize(
    ("end", "outcome", "severity"),
    [
        (End.COMPLETED, Outcome.SUCCEEDED, EventType.NORMAL),
        (End.CANCELLED, Outcome.CANCELLED, EventType.NORMAL),
        (End.FAILED, Outcome.FAILED, EventType.WARNING),
    ],
)
def test_only_a_bad_end_is_a_warning(end: End, outcome: Outcome, severity: EventType) -> None:
    decision = endings.end_run(run_view(run(status=STARTED)), NOW, Verdict(outcome, end, "m"))
    told = [effect for effect in decision.effects if isinstance(effect, PostEvent)]
    assert [effect.reason for effect in told] == [EventReason.ATTEMPT_ENDED, EventReason.RUN_FINISHED]
    assert told[-1].type is severity


@pytest.mark.row("C25")
@pytest.mark.parametrize(
    "away", [gateway(), gateway(down_since=at(-1))], ids=["while the gateway answers", "while the gateway is away"]
)
def test_cancel_stops_the_pod_at_once(away: Any) -> None:
    view = run_view(run(spec={"cancel": True}, status=STARTED), pods=(running(),), gateway=away)
    effects = decide_run(view, NOW).effects
    assert [type(effect) for effect in effects] == [CloseAttempt, DeletePod]


def test_cancel_is_decided_only_after_the_attempt_was_closed() -> None:
    going = running(deleting=True)
    cancelled = run(spec={"cancel": True}, status=STARTED)
    waits = decide_run(run_view(cancelled, pods=(going,), gateway=gateway(metered(closed=False))), NOW)
    assert waits.status.completion_time is None
    ends = decide_run(run_view(cancelled, pods=(going,), gateway=gateway(metered())), NOW)
    assert ends.status.reason == End.CANCELLED
    assert ends.status.usage == Usage(
        turns=1, input_tokens=12, output_tokens=7, total_tokens=19, source="Gateway", complete=True
    )


def test_a_pod_that_has_not_started_is_stopped_with_grace_so_that_it_is_seen_until_it_is_gone() -> None:
    """Without grace the object would go at once, while its container may be starting."""
    waiting = run(status=AgentRunStatus(attempt=1, attempts=(attempt(1, outcome=Outcome.DISRUPTED),)))
    pending = running(phase="Pending", started=None)
    [stop] = decide_run(run_view(waiting, pods=(pending,)), NOW).effects
    assert isinstance(stop, DeletePod)
    assert stop.grace_seconds == 15


# ---- a Direct lane that is deleted, or made anew as another


BEGUN_DIRECT = admitted(pod="hello-hello-01-1", pod_uid="pod-uid", start_time=at(2), access=Access.DIRECT)
BEGUN_GATEWAY = admitted(pod="hello-hello-01-1", pod_uid="pod-uid", start_time=at(2), access=Access.GATEWAY)


@pytest.mark.parametrize("left", [None, lane()], ids=["deleted", "made anew for the gateway"])
def test_an_attempt_that_began_on_a_direct_lane_needs_no_gateway_to_end(left: Lane | None) -> None:
    envelope = EnvelopeSummary(finished=True, is_error=False, usage=AgentUsage(20, 8), usage_is_total=True)
    view = run_view(run(status=BEGUN_DIRECT), lane=left, pods=(ended(0, message="Paris."),), envelope=envelope)
    view = replace(view, gateway=gateway(down_since=at(-5)))
    decision = decide_run(view, NOW)
    assert decision.status.reason == End.COMPLETED
    assert not [effect for effect in decision.effects if isinstance(effect, CloseAttempt)]
    usage = decision.status.usage
    assert usage is not None
    assert (usage.source, usage.input_tokens, usage.complete) == ("Envelope", 20, True)


def test_an_attempt_that_began_on_a_gateway_lane_is_closed_though_its_lane_is_direct_now() -> None:
    decision = decide_run(run_view(run(status=BEGUN_GATEWAY), lane=DIRECT, pods=(ended(0),)), NOW)
    assert decision.effects == (CloseAttempt("hello-0123456789", 1),)


@pytest.mark.parametrize("left", [None, lane()], ids=["deleted", "made anew for the gateway"])
def test_the_gateway_is_not_asked_later_for_what_it_never_saw(left: Lane | None) -> None:
    unknown = Usage(complete=False)
    over = AgentRunStatus(
        observed_generation=1,
        conditions=(condition("Admitted", "False", "Finished"), condition("Finished", "True", "Completed")),
        attempt=1,
        attempts=(attempt(1, usage=unknown, access=Access.DIRECT),),
        usage=unknown,
        completion_time=at(10),
    )
    decision = decide_run(run_view(run(status=over), lane=left), at(20))
    assert (decision.status, decision.effects) == (over, ())


@pytest.mark.parametrize(
    ("status", "told"),
    [
        pytest.param(BEGUN_DIRECT, True, id="said on a Direct lane"),
        pytest.param(BEGUN_GATEWAY, False, id="not on a Gateway lane"),
    ],
)
def test_that_no_limit_can_stop_a_direct_attempt_is_said_while_it_runs(status: AgentRunStatus, *, told: bool) -> None:
    decision = decide_run(run_view(run(status=status), pods=(running(),), gateway=gateway(metered(closed=False))), NOW)
    message = next(c.message for c in decision.status.conditions if c.type == "Admitted")
    assert message.startswith("holds a slot of lane team-a/local")
    assert ("limits on that cannot be live" in message) is told


@pytest.mark.row("S4.21")
def test_a_direct_attempt_whose_log_is_gone_has_unknown_usage_not_none() -> None:
    usage = decide_run(run_view(run(status=BEGUN_DIRECT), pods=(ended(0),)), NOW).status.usage
    assert usage == Usage(complete=False)


@pytest.mark.parametrize(
    ("spec", "due"),
    [
        pytest.param({}, 3600, id="its pods an hour later"),
        pytest.param({"ttlSecondsAfterFinished": 60}, 60, id="the run, if its time is shorter"),
        pytest.param({"ttlSecondsAfterFinished": 7200}, 3600, id="its pods, if theirs is"),
    ],
)
def test_what_goes_first_after_the_end_of_a_run(spec: dict[str, Any], due: float) -> None:
    decision = endings.end_run(run_view(run(spec=spec, status=STARTED)), NOW, LOST)
    assert decision.due == at(due)


@pytest.mark.parametrize("seconds", [pytest.param(60, id="with a time to stay"), pytest.param(None, id="without one")])
def test_a_run_that_a_tool_keeps_is_told_that_its_time_to_stay_is_not_heard(seconds: int | None) -> None:
    kept = run(spec={"ttlSecondsAfterFinished": seconds}, status=STARTED, keeper=KEPT_BY_GIT)
    decision = endings.end_run(run_view(kept), NOW, LOST)
    [told] = [one for one in decision.effects if isinstance(one, PostEvent) and one.key == "finished"]
    assert (f"{KEPT_BY_GIT} would bring it again" in told.message) is (seconds is not None)
    assert decision.due == at(3600)
