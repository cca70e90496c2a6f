"""Agents that get nowhere: when they are stopped, what follows, and what is said before. The clock is an argument."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from laneway.agent.envelope import EnvelopeSummary
from laneway.api.gatewaystate import AttemptState
from laneway.api.reasons import Cause, End, EventReason, HealthKind, Outcome, StopReason
from laneway.api.runstatus import AgentRunStatus
from laneway.controller.decide_run import decide_run
from laneway.controller.decision.decision import RunDecision
from laneway.controller.decision.effects import CloseAttempt, DeletePod, PostEvent
from laneway.controller.facts.objects import Lane
from laneway.controller.facts.pods import PodFacts
from laneway.controller.facts.views import LiveLog, RunView
from laneway.controller.running import watchdogs
from support.builders import admitted, at, call_failure, ended, gateway, lane, metered, run, run_view, running

STARTED = {"pod": "hello-hello-01-1", "pod_uid": "pod-uid", "start_time": at(2)}
DIRECT = lane(spec={"access": "Direct"})
LIMITED = Cause.RATE_LIMIT_MODEL
SILENT = LiveLog()
"""A log that was read and has no line."""


def failing(
    since: float | None, last: float, *, cause: Cause = LIMITED, open_calls: int = 0, **changes: Any
) -> AttemptState:
    """An attempt whose calls have only failed since then, the last one at ``last``."""
    failure = call_failure(cause, sent=last - 1, seen=last, status=429)
    told = {"failure": failure, "failing_since_time": None if since is None else at(since), "open_calls": open_calls}
    return metered(closed=False).model_copy(update={**told, "last_activity_time": at(last), **changes})


def quiet(last: float, *, open_calls: int = 0, closed: bool = False) -> AttemptState:
    """An attempt that was last heard of then."""
    return metered(closed=closed).model_copy(update={"last_activity_time": at(last), "open_calls": open_calls})


def at_work(state: AttemptState | None = None, **changes: Any) -> RunView:
    """A run whose agent began at 2 s. ``timeouts`` and ``status`` are of the run, everything else of the view."""
    timeouts, status = changes.pop("timeouts", {}), changes.pop("status", admitted(**STARTED))
    made = run(spec={"timeouts": timeouts, **changes.pop("spec", {})}, status=status)
    return run_view(made, **{"pods": (running(),), "gateway": gateway(state), **changes})


def later(view: RunView, decision: RunDecision, pods: tuple[PodFacts, ...] | None = None, **changes: Any) -> RunView:
    """The world once a decision was carried out: its status is written, the attempt closed, the pod on its way out."""
    stops = any(isinstance(effect, DeletePod) for effect in decision.effects)
    if pods is None:
        pods = tuple(replace(pod, deleting=pod.deleting or stops) for pod in view.pods)
    if any(isinstance(effect, CloseAttempt) for effect in decision.effects) and view.gateway.state:
        closed = view.gateway.state.model_copy(update={"closed": True, "open_calls": 0})
        view = replace(view, gateway=replace(view.gateway, state=closed))
    return replace(view, run=replace(view.run, status=decision.status), pods=pods, **{"live_log": None, **changes})


def reasons(decision: RunDecision) -> list[EventReason]:
    return [effect.reason for effect in decision.effects if isinstance(effect, PostEvent)]


def kinds(decision: RunDecision) -> set[HealthKind]:
    return {one.kind for one in decision.status.health}


def stopped(view: RunView, now: datetime) -> StopReason | None:
    """What the agent of a view is stopped for now; checked by all that has to follow at once."""
    decision = decide_run(view, now)
    found = decision.status.attempts[-1].stopped
    effects = [effect for effect in decision.effects if isinstance(effect, DeletePod)]
    assert [effect.grace_seconds for effect in effects] == ([15] if found else [])
    return found.reason if found else None


# ---- stuck

STUCK = [
    pytest.param(at_work(failing(10, 180)), at(189), False, id="just under three minutes of failures"),
    pytest.param(at_work(failing(10, 100)), at(190), True, id="silent after failures for three minutes"),
    pytest.param(at_work(failing(10, 191, open_calls=1)), at(192), True, id="failures that span three minutes, and a call is open"),
    pytest.param(at_work(failing(10, 100, open_calls=1)), at(400), False, id="a call that is open for long after a failure"),
    pytest.param(at_work(failing(10, 100, cause=Cause.TASK_FAILURE)), at(400), False, id="a bad request, and work on something else since"),
    pytest.param(at_work(failing(10, 190, cause=Cause.TASK_FAILURE)), at(191), True, id="bad requests for three minutes"),
    pytest.param(at_work(failing(None, 10)), at(400), False, id="the last call failed and a part of an answer came since"),
    pytest.param(at_work(quiet(10)), at(400), False, id="no failure at all"),
    pytest.param(at_work(failing(10, 60), timeouts={"stuckSeconds": 60}), at(70), True, id="a shorter time"),
    pytest.param(at_work(failing(10, 60), timeouts={"idleSeconds": 120}), at(70), True, id="half of a short idle time"),
    pytest.param(at_work(failing(10, 300), timeouts={"stuckSeconds": 0}), at(400), False, id="switched off"),
    pytest.param(at_work(failing(10, 100), timeouts={"idleSeconds": 0}), at(190), True, id="without an idle time it is three minutes"),
    pytest.param(at_work(failing(10, 100), gateway=gateway(failing(10, 100), down_since=at(120))), at(400), False, id="the gateway is away and nobody knows"),
    pytest.param(at_work(failing(10, 100), gateway=gateway(failing(10, 100), known=False)), at(400), False, id="the gateway has not answered yet"),
    pytest.param(at_work(failing(10, 100), lane=DIRECT), at(400), False, id="a Direct lane, of which the gateway knows nothing"),
    pytest.param(at_work(failing(10, 100), pods=(running(deleting=True),)), at(400), False, id="somebody deleted the pod already"),
]  # fmt: skip


@pytest.mark.row("S4.12", "S4.13", "C24", "S3.35")
@pytest.mark.parametrize(("view", "now", "expected"), STUCK)
def test_an_attempt_is_stuck_when_its_calls_have_only_failed(view: RunView, now: datetime, *, expected: bool) -> None:
    assert stopped(view, now) is (StopReason.STUCK if expected else None)


@pytest.mark.row("S4.13")
def test_the_operator_looks_again_when_the_time_has_come() -> None:
    view = at_work(failing(10, 100))
    assert decide_run(view, at(101)).due == at(160)
    assert decide_run(view, at(160)).due == at(190)


@pytest.mark.row("S4.14", "S4.13")
def test_a_stuck_run_goes_on_on_the_next_step_at_no_cost_to_its_retries() -> None:
    lanes = [lane(), lane("other")]
    models = {"models": [{"lane": "local"}, {"lane": "other"}]}
    view = at_work(failing(10, 100, totals=metered().totals), spec=models, lanes=lanes)
    first = decide_run(view, at(190))
    assert [type(effect) for effect in first.effects[:2]] == [CloseAttempt, DeletePod]
    assert EventReason.RUN_STUCK in reasons(first)
    assert first.status.reason == "Closing"
    second = decide_run(later(view, first), at(191))
    [attempt] = second.status.attempts
    assert (attempt.outcome, attempt.cause) == (Outcome.MODEL_TROUBLE, LIMITED)
    assert attempt.stopped is not None
    assert "since 12:00:10Z its model calls have only failed" in (attempt.message or "")
    assert (second.status.step and second.status.step.lane, second.status.disruption_count) == ("other", None)
    assert EventReason.STEPPED_DOWN in reasons(second)
    assert EventReason.RUN_STUCK not in reasons(second)
    assert not any(isinstance(effect, DeletePod) for effect in second.effects)


@pytest.mark.row("S4.15")
def test_a_stuck_run_without_a_next_step_waits_without_pod_and_slot() -> None:
    view = at_work(failing(10, 100))
    first = decide_run(view, at(190))
    second = decide_run(later(view, first), at(191))
    assert (second.status.reason, second.status.phase) == ("BackingOff", "BackingOff")
    assert second.status.next_attempt_time is not None
    assert not replace(view.run, status=second.status).admitted


@pytest.mark.parametrize(
    ("cause", "the_lane", "end"),
    [
        pytest.param(Cause.AUTH_FAILED, lane(), End.AUTH_FAILED, id="a key that is refused"),
        pytest.param(Cause.MODEL_NOT_FOUND, lane(), End.PERMANENT_MODEL_ERROR, id="a model that is not there"),
        pytest.param(Cause.MODEL_NOT_FOUND, None, End.PERMANENT_MODEL_ERROR, id="a lane that is gone"),
    ],
)
def test_calls_that_fail_for_good_and_go_on_end_the_run(cause: Cause, the_lane: Lane | None, end: End) -> None:
    view = at_work(failing(10, 190, cause=cause), lane=the_lane)
    first = decide_run(view, at(191))
    status = decide_run(later(view, first), at(192)).status
    assert (status.reason, status.phase) == (end, "Failed")


def test_a_call_that_is_answered_while_a_stuck_attempt_is_closed_lets_it_begin_again() -> None:
    view = at_work(failing(10, 100))
    first = decide_run(view, at(190))
    answered = later(view, first, gateway=gateway(quiet(190, closed=True)))
    second = decide_run(answered, at(191))
    assert (second.status.reason, reasons(second)) == ("WaitingForSlot", [EventReason.RESUMED])


# ---- idle

IDLE = [
    pytest.param(at_work(quiet(100), live_log=SILENT), at(1299), False, id="just under 20 minutes"),
    pytest.param(at_work(quiet(100), live_log=SILENT), at(1300), True, id="20 minutes"),
    pytest.param(at_work(live_log=SILENT), at(1202), True, id="an agent that never called, from its start"),
    pytest.param(at_work(quiet(100, open_calls=1), live_log=SILENT), at(9000), False, id="an open call, however long"),
    pytest.param(at_work(quiet(100), live_log=LiveLog(at(1000))), at(2199), False, id="a line in the log, and 20 minutes less a second since"),
    pytest.param(at_work(quiet(100), live_log=LiveLog(at(1000))), at(2200), True, id="20 minutes after the last line"),
    pytest.param(at_work(quiet(100)), at(9000), False, id="a log that cannot be read"),
    pytest.param(at_work(quiet(100), live_log=SILENT, gateway=gateway(quiet(100), down_since=at(1000))), at(9000), False, id="a gateway that is away"),
    pytest.param(at_work(live_log=SILENT, gateway=gateway(quiet(100), started=at(1000))), at(2199), False, id="a gateway that began anew: calls may have been lost with it"),
    pytest.param(at_work(live_log=SILENT, gateway=gateway(quiet(100), started=at(1000))), at(2200), True, id="20 minutes after the gateway began anew"),
    pytest.param(at_work(live_log=SILENT, lane=DIRECT), at(1202), True, id="a Direct lane, by its log alone"),
    pytest.param(at_work(live_log=LiveLog(at(1000)), lane=DIRECT), at(1300), False, id="a Direct lane whose agent writes"),
    pytest.param(at_work(quiet(100), live_log=SILENT, timeouts={"idleSeconds": 60}), at(160), True, id="a shorter time"),
    pytest.param(at_work(quiet(100), live_log=SILENT, timeouts={"idleSeconds": 0}), at(90_000), False, id="switched off"),
]  # fmt: skip


@pytest.mark.row("S4.17", "C24", "S3.35")
@pytest.mark.parametrize(("view", "now", "expected"), IDLE)
def test_an_agent_is_idle_without_an_open_call_and_without_output(
    view: RunView, now: datetime, *, expected: bool
) -> None:
    assert stopped(view, now) is (StopReason.IDLE if expected else None)


IDLE_ENDS = [
    pytest.param((running(deleting=True),), id="its pod is still leaving"),
    pytest.param((ended(143, deleting=True),), id="its pod was told to leave and failed with that"),
    pytest.param((ended(0, deleting=True),), id="its pod left with 0"),
    pytest.param((), id="its pod is gone"),
]


@pytest.mark.row("S4.17", "C11", "S4.46")
@pytest.mark.parametrize("pods", IDLE_ENDS)
def test_an_idle_run_has_failed_however_its_pod_leaves(pods: tuple[PodFacts, ...]) -> None:
    view = at_work(quiet(100), live_log=SILENT)
    first = decide_run(view, at(1300))
    assert EventReason.RUN_IDLE in reasons(first)
    status = decide_run(later(view, first, pods), at(1301)).status
    assert (status.reason, status.phase) == (End.IDLE_TIMEOUT, "Failed")
    assert (status.attempts[-1].outcome, status.health) == (Outcome.TIMED_OUT, ())


def test_an_agent_that_ends_before_it_is_stopped_is_judged_by_its_end() -> None:
    view = at_work(quiet(100), live_log=SILENT)
    first = decide_run(view, at(1300))
    status = decide_run(later(view, first, (ended(0, message="Paris."),)), at(1301)).status
    assert status.reason == End.COMPLETED


def test_what_an_attempt_is_stopped_for_stands_when_the_time_is_changed_meanwhile() -> None:
    view = at_work(quiet(100), live_log=SILENT)
    first = decide_run(view, at(1300))
    longer = later(view, first)
    spec = run(spec={"timeouts": {"idleSeconds": 0}}).spec
    status = decide_run(replace(longer, run=replace(longer.run, spec=spec)), at(1301)).status
    assert status.reason == End.IDLE_TIMEOUT


@pytest.mark.row("S4.43")
def test_an_operator_that_dies_between_close_and_status_comes_to_the_same() -> None:
    for view, now in (
        (at_work(failing(10, 100)), at(190)),
        (at_work(quiet(100), live_log=SILENT), at(1300)),
    ):
        state = view.gateway.state
        assert state is not None
        closed = replace(view, gateway=gateway(state.model_copy(update={"closed": True})))
        assert stopped(closed, now) == stopped(view, now)


def test_cancel_comes_before_a_watchdog() -> None:
    view = at_work(failing(10, 100), spec={"cancel": True})
    decision = decide_run(view, at(190))
    assert EventReason.RUN_STUCK not in reasons(decision)
    assert decide_run(later(view, decision), at(191)).status.reason == End.CANCELLED


# ---- lingering after the result

GRACE = {"timeouts": {"graceAfterResultSeconds": 30}}
SAID = LiveLog(at(60), at(50), succeeded=True)

LINGERS = [
    pytest.param(at_work(quiet(48), live_log=SAID, **GRACE), at(79), False, id="just under the time"),
    pytest.param(at_work(quiet(48), live_log=SAID, **GRACE), at(80), True, id="that long after the result, chatter or not"),
    pytest.param(at_work(live_log=SAID, lane=DIRECT, **GRACE), at(80), True, id="on a Direct lane too"),
    pytest.param(at_work(quiet(48, open_calls=1), live_log=SAID, **GRACE), at(80), False, id="a call is open"),
    pytest.param(at_work(quiet(48), live_log=LiveLog(at(60)), **GRACE), at(200), False, id="no result in the log"),
    pytest.param(at_work(quiet(48), live_log=SAID), at(200), False, id="no time is set"),
    pytest.param(at_work(quiet(48), live_log=SAID, timeouts={"graceAfterResultSeconds": 0}), at(200), False, id="the time is 0"),
    pytest.param(at_work(quiet(48), live_log=SAID, spec={"agent": {"preset": "generic", "image": "a"}}, **GRACE), at(200), False, id="a preset whose log is not parsed"),
]  # fmt: skip


@pytest.mark.row("S3.28")
@pytest.mark.parametrize(("view", "now", "expected"), LINGERS)
def test_an_agent_that_said_its_result_has_so_long_to_leave(view: RunView, now: datetime, *, expected: bool) -> None:
    assert stopped(view, now) is (StopReason.LINGERED if expected else None)


@pytest.mark.row("S3.28")
@pytest.mark.parametrize(
    "pods",
    [
        pytest.param((running(deleting=True),), id="still leaving"),
        pytest.param((ended(1, deleting=True),), id="left with an error"),
        pytest.param((), id="gone"),
    ],
)
def test_the_result_of_an_agent_that_lingered_is_the_result_of_its_run(pods: tuple[PodFacts, ...]) -> None:
    view = at_work(quiet(48), live_log=SAID, **GRACE)
    first = decide_run(view, at(80))
    assert EventReason.GRACE_KILL in reasons(first)
    envelope = EnvelopeSummary(finished=True, is_error=False, result_text="Paris.")
    status = decide_run(later(view, first, pods, envelope=envelope), at(81)).status
    assert (status.reason, status.result and status.result.summary) == (End.COMPLETED, "Paris.")


def test_an_agent_that_lingered_after_an_error_has_failed() -> None:
    view = at_work(quiet(48), live_log=replace(SAID, succeeded=False), **GRACE)
    first = decide_run(view, at(80))
    envelope = EnvelopeSummary(finished=True, is_error=True, result_text="no")
    leaving = later(view, first, envelope=envelope)
    second = decide_run(leaving, at(81))
    assert not second.status.completion_time
    status = decide_run(later(leaving, second, (ended(143, deleting=True),), envelope=envelope), at(82)).status
    assert status.reason == End.FAILED


# ---- when the log is looked at

LOOKS = [
    pytest.param(at_work(quiet(100)), at(699), False, at(700), id="not before ten minutes of silence"),
    pytest.param(at_work(quiet(100)), at(700), True, at(760), id="at ten minutes, and if it cannot be read a minute later"),
    pytest.param(at_work(quiet(100), live_log=SILENT), at(700), True, at(1300), id="read and silent: when it would be idle"),
    pytest.param(at_work(quiet(100), live_log=LiveLog(at(400))), at(700), True, at(1000), id="read and not silent: ten minutes after the last line"),
    pytest.param(at_work(quiet(100, open_calls=1)), at(700), False, None, id="not while a call is open"),
    pytest.param(at_work(quiet(100)), at(101), False, at(160), id="of an agent that calls: a minute after each call"),
    pytest.param(at_work(quiet(100)), at(160), False, at(700), id="of one that is silent then: at its time"),
    pytest.param(at_work(quiet(100), timeouts={"idleSeconds": 60}), at(130), True, at(160), id="at half of idleSeconds"),
    pytest.param(at_work(quiet(100), **GRACE), at(129), False, at(130), id="for a result not before the grace is over since the last call"),
    pytest.param(at_work(quiet(100), live_log=LiveLog(at(110)), **GRACE), at(130), True, at(160), id="for a result again and again"),
    pytest.param(at_work(quiet(100), pods=(running(deleting=True),)), at(9000), False, None, id="not of a pod that leaves"),
]  # fmt: skip


@pytest.mark.parametrize(("view", "now", "wanted", "due"), LOOKS)
def test_the_log_is_looked_at_seldom(view: RunView, now: datetime, due: datetime | None, *, wanted: bool) -> None:
    assert watchdogs.wants_log(view, now) is wanted
    assert decide_run(view, now).due == due


# ---- what is said before anything ends


@pytest.mark.row("S4.22", "S4.23", "S3.35")
def test_an_agent_that_stalls_is_told_of_once_and_no_longer_when_it_goes_on() -> None:
    view = at_work(quiet(100), live_log=SILENT)
    assert decide_run(view, at(699)).status.health == ()
    first = decide_run(view, at(700))
    assert (kinds(first), EventReason.RUN_STALLED in reasons(first)) == ({HealthKind.STALLED}, True)
    again = decide_run(later(view, first, live_log=SILENT), at(760))
    assert (again.status.health, EventReason.RUN_STALLED in reasons(again)) == (first.status.health, False)
    blind = decide_run(later(view, again), at(780))
    assert blind.status.health == first.status.health
    away = decide_run(later(view, again, gateway=gateway(quiet(100), down_since=at(780))), at(790))
    assert away.status.health == first.status.health
    goes_on = decide_run(later(view, again, gateway=gateway(quiet(800))), at(801))
    assert goes_on.status.health == ()
    anew = decide_run(later(view, goes_on, gateway=gateway(quiet(800)), live_log=SILENT), at(1400))
    keys = [{effect.key for effect in decision.effects if isinstance(effect, PostEvent)} for decision in (first, anew)]
    assert EventReason.RUN_STALLED in reasons(anew)
    assert keys[0].isdisjoint(keys[1])


@pytest.mark.row("S4.22")
def test_an_agent_that_runs_for_an_hour_is_told_of_once() -> None:
    view = at_work(quiet(3600))
    assert decide_run(view, at(3601)).status.health == ()
    assert decide_run(view, at(3601)).due == at(3602)
    first = decide_run(view, at(3602))
    assert (kinds(first), EventReason.LONG_RUNNING in reasons(first)) == ({HealthKind.LONG_RUNNING}, True)
    again = decide_run(later(view, first), at(3700))
    assert (again.status.health, EventReason.LONG_RUNNING in reasons(again)) == (first.status.health, False)


@pytest.mark.row("S3.41")
def test_the_time_of_the_last_activity_stays_while_an_agent_is_silent() -> None:
    view = at_work(quiet(100))
    first = decide_run(view, at(101))
    assert first.status.last_activity_time == at(100)
    assert decide_run(later(view, first), at(500)).status.last_activity_time == at(100)


# ---- orphans


@pytest.mark.row("S4.20", "S4.16")
@pytest.mark.parametrize(
    ("status", "number", "deleted"),
    [
        pytest.param(admitted(2, **STARTED), 1, True, id="of an attempt before the current one"),
        pytest.param(admitted(2, **STARTED), 3, True, id="of an attempt that the status does not know"),
        pytest.param(AgentRunStatus(), 1, True, id="of a run that was never admitted"),
        pytest.param(admitted(1, **STARTED), 1, False, id="of the current attempt"),
    ],
)
def test_a_pod_that_belongs_to_no_attempt_is_stopped(status: AgentRunStatus, number: int, *, deleted: bool) -> None:
    orphan = running(attempt=number, uid="orphan", name=f"hello-hello-01-{number}")
    decision = decide_run(at_work(status=status, pods=(orphan,)), at(30))
    gone = [effect.uid for effect in decision.effects if isinstance(effect, DeletePod)]
    assert gone == (["orphan"] if deleted else [])
