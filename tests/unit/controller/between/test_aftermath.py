"""What follows an attempt that trouble of its model ended: the next step, a wait with its numbers, or an end."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from laneway.agent.envelope import EnvelopeSummary
from laneway.api.gatewaystate import CallFailure
from laneway.api.modellane import Failures
from laneway.api.reasons import Cause, EventReason, Outcome, ResetSource
from laneway.api.runstatus import AgentRunStatus, Usage
from laneway.controller.between.aftermath import has_other_step
from laneway.controller.decide_run import decide_run
from laneway.controller.decision.decision import RunDecision
from laneway.controller.decision.effects import EventType, PatchActiveModel, PostEvent
from laneway.controller.facts.objects import Lane, Run
from laneway.controller.facts.views import RunView
from laneway.rules.backoff import jitter
from support.builders import at, attempt, call_failure, ended, gateway, lane, metered, run_view
from support.chains import (
    A,
    B,
    C,
    account_cooled,
    at_work,
    chained,
    cooled,
    failed_view,
    hosted,
    messages,
    not_ready,
    on,
    past_attempt,
    step,
)

LATER = at(12)
LIMITED = Cause.RATE_LIMIT_MODEL
UID = "hello-0123456789"


def spread(number: int = 1) -> timedelta:
    return jitter(UID, number)


def after(view: RunView, now: datetime = LATER) -> AgentRunStatus:
    return decide_run(view, now).status


def events(decision: RunDecision) -> list[str]:
    return [effect.reason.value for effect in decision.effects if isinstance(effect, PostEvent)]


def said(status: AgentRunStatus) -> str:
    return messages(status)["Admitted"]


def close_to(moment: datetime | None, expected: datetime) -> bool:
    """Within the second to which status rounds up."""
    return moment is not None and timedelta(0) <= moment - expected <= timedelta(seconds=1)


# ---- one step: the wait


@pytest.mark.row("S3.13", "S3.14", "S3.15", "S3.16", "S3.18", "S3.20", "S3.44", "B23")
@pytest.mark.parametrize(
    ("cause", "before", "seconds", "capped"),
    [
        *((LIMITED, n, seconds, n >= 5) for n, seconds in enumerate((60, 120, 240, 480, 960, 1800, 1800))),
        *((Cause.API_TRANSIENT, n, seconds, n >= 5) for n, seconds in enumerate((60, 120, 240, 480, 960, 1800, 1800))),
        *((Cause.API_TIMEOUT, n, seconds, False) for n, seconds in enumerate((30, 60, 120, 240, 480, 960, 960))),
    ],
)
def test_the_wait_grows_with_what_the_lane_has_counted(
    cause: Cause, before: int, seconds: int, *, capped: bool
) -> None:
    names = {LIMITED: "rate_limit_model", Cause.API_TRANSIENT: "api_transient", Cause.API_TIMEOUT: "api_timeout"}
    counted = Failures(**{names[cause]: before or None})
    known = cooled(hosted(), None, cooldown_reason=None, cooldown_source=None, failures=counted, settled_time=at(1))
    status = after(failed_view(chained(A, status=at_work()), [known], call_failure(cause, message="try later")))
    backoff = status.backoff
    assert backoff is not None
    assert (backoff.cause, backoff.count, backoff.source) == (cause, before + 1, ResetSource.ESTIMATED)
    assert (backoff.capped or False) is capped
    assert backoff.applied_reset_time == at(9 + seconds)
    assert backoff.original_reset_time == at(9 + (30 if cause is Cause.API_TIMEOUT else 60))
    assert (backoff.step, backoff.since_attempt, backoff.since_time) == (step(A), 1, at(9))
    assert (backoff.raw, backoff.retry_after_seconds) == ("try later", None)
    assert close_to(status.next_attempt_time, at(9 + seconds) + spread())


@pytest.mark.row("S3.24", "B21", "C10")
def test_a_run_that_backs_off_holds_no_pod_no_slot_and_no_place() -> None:
    decision = decide_run(failed_view(chained(A, status=at_work()), [hosted()], call_failure(LIMITED)), LATER)
    status = decision.status
    assert (status.reason, status.phase, status.queue) == ("BackingOff", "BackingOff", None)
    assert not replace_run(status).admitted
    assert decision.due == status.next_attempt_time
    assert events(decision) == ["AttemptEnded", "BackingOff"]
    told = decision.effects[-1]
    assert isinstance(told, PostEvent)
    assert told.type is EventType.NORMAL
    assert told.message == (
        "a/m failed (rate limit) and rests until 12:01:09Z (our own estimate);"
        f" next attempt {status.next_attempt_time:%H:%M:%SZ}; no pod and no slot is held until then"
    )
    last = status.attempts[-1]
    assert (last.outcome, last.cause) == (Outcome.MODEL_TROUBLE, LIMITED)
    assert status.fallback_history == ()
    assert (status.disruption_count, status.disruptions) == (None, ())


def replace_run(status: AgentRunStatus) -> Run:
    return chained(A, status=status)


@pytest.mark.row("S3.11", "S3.12", "S3.21", "S3.22", "C3", "B5", "S0.6")
@pytest.mark.parametrize(
    ("failure", "source", "reset", "following"),
    [
        pytest.param(
            call_failure(LIMITED, reset_time=at(54), reset_source=ResetSource.RETRY_AFTER),
            ResetSource.RETRY_AFTER,
            54,
            54,
            id="a server's hint is used as it is",
        ),
        pytest.param(
            call_failure(Cause.RATE_LIMIT_ACCOUNT, reset_time=at(909), reset_source=ResetSource.SERVER_EVENT),
            ResetSource.SERVER_EVENT,
            909,
            909,
            id="an account's reset is used as it is",
        ),
        pytest.param(
            call_failure(Cause.RATE_LIMIT_ACCOUNT), ResetSource.SERVER_MISSING, 309, 309, id="a reset that is missing"
        ),
        pytest.param(
            call_failure(Cause.RATE_LIMIT_ACCOUNT, reset_time=at(86400), reset_source=ResetSource.SERVER_EVENT),
            ResetSource.SERVER_EVENT,
            86400,
            None,
            id="a reset a day away is looked at again after 28800 s",
        ),
        pytest.param(
            call_failure(LIMITED, reset_time=at(-40), reset_source=ResetSource.SERVER_EVENT),
            ResetSource.SERVER_EVENT,
            -40,
            None,
            id="a reset in the past is no wait but the spacing of attempts",
        ),
    ],
)
def test_a_servers_word(failure: CallFailure, source: ResetSource, reset: float, following: float | None) -> None:
    status = after(failed_view(chained(A, status=at_work()), [hosted()], failure))
    backoff = status.backoff
    assert backoff is not None
    assert (backoff.source, backoff.count) == (source, 0)
    assert backoff.original_reset_time == backoff.applied_reset_time == at(reset)
    expected = {86400: LATER + timedelta(seconds=28800), -40: at(15)}
    assert close_to(status.next_attempt_time, expected.get(reset, at(reset) + spread()))
    assert backoff.retry_after_seconds == (45 if source is ResetSource.RETRY_AFTER else None)


@pytest.mark.row("C5", "S3.17")
def test_the_second_run_of_one_outage_waits_for_the_cooldown_that_holds_and_counts_nothing() -> None:
    known = cooled(hosted(), 65, failures=Failures(rate_limit_model=1), settled_time=at(6))
    status = after(failed_view(chained(A, status=at_work()), [known], call_failure(LIMITED, sent=4, seen=7)))
    assert status.backoff is not None
    assert (status.backoff.count, status.backoff.applied_reset_time) == (1, at(65))
    assert close_to(status.next_attempt_time, at(65) + spread())


@pytest.mark.row("S3.18", "S3.24")
def test_a_restart_changes_no_wait() -> None:
    """The next attempt's time is worked out once; another process, however late it looks, leaves it."""
    first = after(failed_view(chained(A, status=at_work()), [hosted()], call_failure(LIMITED)))
    kept = AgentRunStatus.model_validate(first.to_wire())
    known = cooled(hosted(), 69)
    for later in (13, 40, 68, 70):
        assert decide_run(run_view(chained(A, status=kept), lanes=[known]), at(later)).due == first.next_attempt_time


@pytest.mark.row("S3.20", "C17")
def test_runs_of_one_outage_come_back_spread_over_25_seconds() -> None:
    waits = []
    for number in range(1, 201):
        view = failed_view(chained(A, status=at_work(number=number)), [hosted()], call_failure(LIMITED))
        moment = after(view).next_attempt_time
        assert moment is not None
        waits.append((moment - at(69)).total_seconds())
    assert min(waits) >= 5
    assert max(waits) <= 31
    assert max(waits) - min(waits) > 20


# ---- several steps: the walk


@pytest.mark.row("S4.1", "S2.32", "C10", "B15", "S2.39")
def test_the_run_goes_on_at_once_on_the_next_step() -> None:
    view = failed_view(chained(A, B, status=at_work()), [hosted(A), hosted(B)], call_failure(LIMITED, status=429))
    decision = decide_run(view, LATER)
    status = decision.status
    assert (status.reason, status.phase) == ("WaitingForSlot", "Queued")
    assert (status.backoff, status.next_attempt_time) == (None, None)
    assert status.step == on(B, cause=LIMITED, time=LATER)
    [move] = status.fallback_history
    assert (move.attempt, move.from_.lane, move.to.lane, move.cause, move.time) == (1, A, B, LIMITED, LATER)
    assert status.requested_model is not None
    assert status.requested_model.lane == A
    assert events(decision) == ["AttemptEnded", "SteppedDown"]
    assert "moved from a/m to b/m (rate limit)" in [e.message for e in decision.effects if isinstance(e, PostEvent)]
    [patch] = [effect for effect in decision.effects if isinstance(effect, PatchActiveModel)]
    assert patch.value is not None
    assert patch.value.to_wire() == {"lane": B, "namespace": "team-a", "model": "m"}


@pytest.mark.row("C15", "S2.37")
def test_what_the_lane_learns_says_whether_another_step_was_free() -> None:
    failure = call_failure(LIMITED, status=429, reset_time=at(400.4), reset_source=ResetSource.RETRY_AFTER)
    two = after(failed_view(chained(A, B, status=at_work()), [hosted(A), hosted(B)], failure)).attempts[-1].trouble
    one = after(failed_view(chained(A, status=at_work()), [hosted(A)], failure)).attempts[-1].trouble
    assert two is not None
    assert one is not None
    assert (two.elsewhere, one.elsewhere) == (True, None)
    assert (two.status, two.sent_time, two.seen_time) == (429, at(8), at(9))
    assert (two.reset_time, two.reset_source) == (at(401), ResetSource.RETRY_AFTER)


@pytest.mark.row("C10", "C3")
@pytest.mark.parametrize(
    ("reset", "reason"),
    [
        pytest.param(9 + 180, "BackingOff", id="180 s: it waits for the very model, although another step is free"),
        pytest.param(9 + 181, "WaitingForSlot", id="181 s: it moves on"),
    ],
)
def test_a_servers_time_that_is_near_is_waited_for(reset: float, reason: str) -> None:
    failure = call_failure(LIMITED, reset_time=at(reset), reset_source=ResetSource.RETRY_AFTER)
    view = failed_view(chained(A, B, status=at_work()), [hosted(A), hosted(B)], failure)
    status = after(view)
    assert (status.reason, status.step and status.step.lane) == (reason, A if reason == "BackingOff" else B)
    if reason == "BackingOff":
        again = after(run_view(chained(A, B, status=status), lanes=[cooled(hosted(A), reset), hosted(B)]), at(20))
        assert (again.reason, again.step and again.step.lane) == ("BackingOff", A)
        assert again.next_attempt_time == status.next_attempt_time


@pytest.mark.row("S4.2")
def test_a_walk_goes_down_although_the_first_step_is_free_again() -> None:
    status = at_work(B, fallback_history=())
    view = failed_view(chained(A, B, C, status=status), [hosted(A), hosted(B), hosted(C)], call_failure(LIMITED))
    assert after(view).step == on(C, cause=LIMITED, time=LATER)


def test_behind_the_last_step_a_free_one_above_is_taken() -> None:
    view = failed_view(chained(A, B, status=at_work(B)), [hosted(A), hosted(B)], call_failure(LIMITED))
    decision = decide_run(view, LATER)
    assert decision.status.step == on(A, time=LATER, shown=True)
    assert "SteppedUp" in events(decision)


@pytest.mark.row("B20", "S2.38", "C10", "S4.52")
def test_when_all_cool_the_run_waits_for_the_earliest_and_every_step_is_named() -> None:
    lanes = [hosted(A), cooled(hosted(B), 40, source=ResetSource.RETRY_AFTER), cooled(hosted(C), 500)]
    decision = decide_run(failed_view(chained(A, B, C, status=at_work()), lanes, call_failure(LIMITED)), LATER)
    status = decision.status
    assert (status.reason, status.phase) == ("AllModelsCooling", "BackingOff")
    assert said(status).startswith(
        "a/m cooling until 12:01:09Z (rate limit, our own estimate);"
        " b/m cooling until 12:00:40Z (rate limit, as the server said);"
        " c/m cooling until 12:08:20Z (rate limit, our own estimate)"
    )
    assert close_to(status.next_attempt_time, at(40) + spread())
    assert status.backoff is not None
    assert status.backoff.applied_reset_time == at(69)
    assert status.step == on(A)


@pytest.mark.row("C16")
def test_an_account_that_is_limited_takes_all_its_models_and_lanes_with_it() -> None:
    failure = call_failure(Cause.RATE_LIMIT_ACCOUNT)
    lanes = [hosted(A, "m", "n", account="x"), hosted(B, account="x"), hosted(C)]
    models = [{"lane": A}, {"lane": A, "model": "n"}, {"lane": B}, {"lane": C}]
    peers = {("team-a", A): (lanes[1],), ("team-a", B): (lanes[0],)}
    view = failed_view(chained(A, models=models, status=at_work()), lanes, failure, peers=peers)
    assert after(view).step == on(C, cause=Cause.RATE_LIMIT_ACCOUNT, time=LATER)


@pytest.mark.row("S2.33")
@pytest.mark.parametrize("cause", [Cause.MODEL_NOT_FOUND, Cause.WIRE_API_UNSUPPORTED])
def test_a_model_that_is_not_there_is_passed_without_a_cooldown_and_not_come_back_to(cause: Cause) -> None:
    lanes = [hosted(A), hosted(B)]
    first = after(failed_view(chained(A, B, status=at_work()), lanes, call_failure(cause, status=404)))
    assert first.step == on(B, cause=cause, time=LATER)
    held = run_view(chained(A, B, status=first), lanes=[hosted(A), cooled(hosted(B), 90)])
    waiting = after(held, at(20))
    assert (waiting.reason, waiting.step and waiting.step.lane) == ("AllModelsCooling", B)
    assert "a/m: an attempt of this run failed there" in said(waiting)


@pytest.mark.row("S2.33", "S2.38")
def test_a_chain_of_which_no_step_is_left_ends_and_names_all() -> None:
    first = after(
        failed_view(chained(A, B, status=at_work()), [hosted(A), hosted(B)], call_failure(Cause.MODEL_NOT_FOUND))
    )
    second = first.model_copy(
        update={
            "attempt": 2,
            "attempts": (*first.attempts, attempt(2, step=step(B), pod_uid="p2", start_time=at(20))),
            "conditions": at_work().conditions,
        }
    )
    view = failed_view(
        chained(A, B, status=second), [hosted(A), hosted(B)], call_failure(Cause.MODEL_NOT_FOUND, sent=21, seen=22)
    )
    status = after(view, at(30))
    assert (status.reason, status.phase) == ("ChainExhausted", "Failed")
    words = messages(status)["Finished"]
    assert "a/m: an attempt" in words
    assert "b/m: an attempt" in words


def test_a_step_that_only_cools_is_waited_for_when_the_model_of_another_is_gone() -> None:
    lanes = [hosted(A), cooled(hosted(B), 90)]
    view = failed_view(chained(A, B, status=at_work()), lanes, call_failure(Cause.MODEL_NOT_FOUND))
    status = after(view)
    assert (status.reason, status.backoff, status.next_attempt_time) == ("AllModelsCooling", None, at(90))
    later = after(run_view(chained(A, B, status=status), lanes=[hosted(A), hosted(B)]), at(90))
    assert later.step == on(B, cause=Cause.MODEL_NOT_FOUND, time=at(90))


@dataclass(frozen=True)
class End:
    """A failure on the first of two free steps."""

    failure: CallFailure
    reason: str
    lane: Lane = hosted(A)  # noqa: RUF009 - a value
    causes: tuple[Cause, ...] = ()


@pytest.mark.row("S2.34", "C22", "S3.36")
@pytest.mark.parametrize(
    "case",
    [
        pytest.param(End(call_failure(Cause.AUTH_FAILED, status=401), "AuthFailed"), id="a refused key ends the run"),
        pytest.param(
            End(call_failure(Cause.AUTH_FAILED, status=401), "WaitingForSlot", hosted(A, advanceOnPermanent=True)),
            id="a refused key moves it on if the lane says so",
        ),
        pytest.param(
            End(call_failure(Cause.AUTH_FAILED, status=403), "WaitingForSlot", causes=(Cause.AUTH_FAILED,)),
            id="a refused key moves it on to a step that lists it",
        ),
        pytest.param(
            End(call_failure(Cause.CONTEXT_TOO_LONG, status=400), "PermanentModelError"),
            id="a request that is too long ends it",
        ),
        pytest.param(
            End(call_failure(Cause.CONTEXT_TOO_LONG, status=400), "WaitingForSlot", hosted(A, advanceOnPermanent=True)),
            id="a request that is too long moves it on if the lane says so",
        ),
        pytest.param(
            End(call_failure(Cause.TASK_FAILURE, status=400), "Failed", hosted(A, advanceOnPermanent=True)),
            id="400 never moves on by the switch",
        ),
        pytest.param(
            End(call_failure(Cause.TASK_FAILURE, status=422), "Failed", hosted(A, advanceOnPermanent=True)),
            id="nor 422",
        ),
        pytest.param(End(call_failure(Cause.UNKNOWN, status=501), "Failed"), id="what nobody knows ends it"),
        pytest.param(
            End(call_failure(LIMITED), "BackingOff", causes=(Cause.API_TIMEOUT,)),
            id="a step for other causes is not taken: it waits for the first",
        ),
    ],
)
def test_ends_and_moves_by_cause(case: End) -> None:
    models = [{"lane": A}, {"lane": B, "causes": list(case.causes)}]
    view = failed_view(chained(A, models=models, status=at_work()), [case.lane, hosted(B)], case.failure)
    status = after(view)
    expected = {"BackingOff": "AllModelsCooling"}.get(case.reason, case.reason)
    assert status.reason == expected


@pytest.mark.parametrize(
    ("cause", "reason"),
    [
        (Cause.MODEL_NOT_FOUND, "PermanentModelError"),
        (Cause.WIRE_API_UNSUPPORTED, "PermanentModelError"),
        (Cause.QUOTA_EXHAUSTED, "BackingOff"),
        (Cause.AUTH_FAILED, "AuthFailed"),
    ],
)
def test_a_chain_of_one_step(cause: Cause, reason: str) -> None:
    assert (
        after(failed_view(chained(A, status=at_work()), [hosted()], call_failure(cause, status=401))).reason == reason
    )


@pytest.mark.parametrize(
    ("served", "turns", "status", "reason"),
    [
        pytest.param(1, 0, 400, "WaitingForSlot", id="400 after another step served the run is the step's fault"),
        pytest.param(1, 0, 422, "WaitingForSlot", id="422 as well"),
        pytest.param(1, 3, 400, "Failed", id="not if this step has served it too"),
        pytest.param(0, 0, 400, "Failed", id="not if no step has served it"),
        pytest.param(1, 0, 413, "Failed", id="not another status"),
    ],
)
def test_a_request_that_only_this_model_refuses(served: int, turns: int, status: int, reason: str) -> None:
    """Unsuitable: the next step, without a cooldown."""
    before = past_attempt(A, turns=served, outcome=Outcome.MODEL_TROUBLE, cause=LIMITED)
    now = at_work(B, number=2)
    now = now.model_copy(update={"attempts": (before, *now.attempts)})
    failure = call_failure(Cause.TASK_FAILURE, status=status)
    lanes = [cooled(hosted(A), 300), hosted(B), hosted(C)]
    decided = after(failed_view(chained(A, B, C, status=now), lanes, failure, turns=turns))
    assert decided.reason == reason
    if reason == "WaitingForSlot":
        assert decided.step == on(C, cause=Cause.UNSUITABLE, time=LATER)


# ---- onTransientError


@pytest.mark.row("S3.25", "S3.26")
@pytest.mark.parametrize(
    ("failure", "lanes", "expected"),
    [
        pytest.param(call_failure(LIMITED), [hosted(A)], 15.0, id="skip ignores our estimate and waits 6 s"),
        pytest.param(
            call_failure(LIMITED, reset_time=at(900), reset_source=ResetSource.RETRY_AFTER),
            [hosted(A)],
            None,
            id="never a server's time",
        ),
    ],
)
def test_skip(failure: CallFailure, lanes: list[Lane], expected: float | None) -> None:
    view = failed_view(chained(A, status=at_work(), onTransientError="Skip"), lanes, failure)
    status = after(view)
    moment = at(expected) if expected else at(900) + spread()
    assert close_to(status.next_attempt_time, moment)
    known = cooled(
        lanes[0], 69 if expected else 900, source=ResetSource.ESTIMATED if expected else ResetSource.RETRY_AFTER
    )
    early = decide_run(run_view(chained(A, status=status, onTransientError="Skip"), lanes=[known]), at(14))
    assert (early.status.reason, early.due) == ("BackingOff", status.next_attempt_time)
    there = after(run_view(chained(A, status=status, onTransientError="Skip"), lanes=[known]), at(16))
    assert there.reason == ("WaitingForSlot" if expected else "BackingOff")


@pytest.mark.row("S3.25")
def test_skip_does_not_ignore_a_hold_by_hand() -> None:
    held = cooled(hosted(A), None, cause=Cause.MANUAL, source=ResetSource.MANUAL)
    status = after(run_view(chained(A, onTransientError="Skip"), lanes=[held]))
    assert (status.reason, status.next_attempt_time) == ("AllModelsCooling", None)
    assert "by hand" in said(status)


@pytest.mark.row("S3.25")
def test_stop_ends_the_run_done() -> None:
    view = failed_view(chained(A, status=at_work(), onTransientError="Stop"), [hosted(A)], call_failure(LIMITED))
    decision = decide_run(view, LATER)
    assert (decision.status.reason, decision.status.phase) == ("TransientStop", "Succeeded")
    succeeded = next(c for c in decision.status.conditions if c.type == "Succeeded")
    assert (succeeded.status, succeeded.reason) == ("True", "TransientStop")
    assert decision.status.attempts[-1].trouble is not None
    assert (decision.status.backoff, decision.status.next_attempt_time) == (None, None)


@pytest.mark.row("S3.25")
def test_stop_walks_on_while_a_step_is_free() -> None:
    failure = call_failure(LIMITED, reset_time=at(20), reset_source=ResetSource.RETRY_AFTER)
    view = failed_view(chained(A, B, status=at_work(), onTransientError="Stop"), [hosted(A), hosted(B)], failure)
    assert after(view).step == on(B, cause=LIMITED, time=LATER)


# ---- Direct lanes, lanes that are gone, other steps


@pytest.mark.row("S3.4", "S3.6")
@pytest.mark.parametrize(
    ("envelope", "reason"),
    [
        pytest.param(
            EnvelopeSummary(finished=True, is_error=True, api_error_status=429, raw_error="slow down"),
            "BackingOff",
            id="a log that ends in 429 is a rate limit",
        ),
        pytest.param(EnvelopeSummary(finished=True, is_error=False), "Failed", id="an agent that saw no error failed"),
        pytest.param(None, "Failed", id="without a log it is the agent's exit that counts"),
    ],
)
def test_on_a_direct_lane_the_log_tells(envelope: EnvelopeSummary | None, reason: str) -> None:
    direct = lane(A, spec={"access": "Direct", "models": [{"name": "m"}]})
    view = run_view(chained(A, status=at_work()), lanes=[direct], pods=(ended(1),), envelope=envelope)
    status = after(view)
    assert status.reason == reason
    if reason == "BackingOff":
        trouble = status.attempts[-1].trouble
        assert trouble is not None
        assert (trouble.sent_time, trouble.seen_time, trouble.status) == (at(2), at(10), 429)


def test_a_lane_that_is_gone_leaves_the_run_waiting_for_it_or_moves_it_on() -> None:
    alone = after(failed_view(chained(A, status=at_work()), [], call_failure(LIMITED)))
    assert (alone.reason, alone.backoff) == ("LaneNotFound", None)
    moved = after(failed_view(chained(A, B, status=at_work()), [hosted(B)], call_failure(LIMITED)))
    assert moved.step == on(B, cause=LIMITED, time=LATER)


def test_a_run_that_exits_well_is_done_whatever_its_calls_met() -> None:
    status = after(
        failed_view(chained(A, B, status=at_work()), [hosted(A), hosted(B)], call_failure(LIMITED), exit_code=0)
    )
    assert (status.reason, status.step and status.step.lane) == ("Completed", A)


@pytest.mark.row("C15")
@pytest.mark.parametrize(
    ("lanes", "expected"),
    [
        pytest.param([hosted(A), hosted(B)], True, id="the next one is free"),
        pytest.param([hosted(A), cooled(hosted(B), 90)], False, id="the next one cools"),
        pytest.param([hosted(A), not_ready(hosted(B))], False, id="the next one's lane is not ready"),
        pytest.param([hosted(A), account_cooled(hosted(B), 90)], False, id="the next one's account is limited"),
        pytest.param([hosted(A)], False, id="the next one's lane is not there"),
    ],
)
def test_whether_a_run_has_another_step(lanes: list[Lane], *, expected: bool) -> None:
    assert has_other_step(run_view(chained(A, B, status=at_work()), lanes=lanes), LATER) is expected


@pytest.mark.row("B14", "C21")
def test_each_attempt_keeps_what_it_used_on_its_own_step() -> None:
    """The gateway prices each call by the lane that served it; a move adds to the run's usage and rewrites nothing."""
    first = after(failed_view(chained(A, B, status=at_work()), [hosted(A), hosted(B)], call_failure(LIMITED), turns=2))
    assert first.attempts[-1].step.lane == A
    assert first.attempts[-1].usage is not None
    assert first.usage == Usage(
        turns=2, input_tokens=12, output_tokens=7, total_tokens=19, source="Gateway", complete=True
    )
    running = first.model_copy(
        update={
            "attempt": 2,
            "attempts": (*first.attempts, attempt(2, step=step(B), pod_uid="p2", start_time=at(20))),
            "conditions": at_work().conditions,
        }
    )
    done = run_view(
        chained(A, B, status=running),
        lanes=[hosted(A), hosted(B)],
        pods=(ended(0, attempt=2),),
        gateway=gateway(metered(number=2, turns=3)),
    )
    last = after(done, at(40))
    assert last.usage is not None
    assert last.usage.turns == 5
    assert [one.usage and one.usage.turns for one in last.attempts] == [2, 3]
    assert last.requested_model is not None
    assert last.requested_model.lane == A


def test_a_failure_says_nothing_of_the_prompt() -> None:
    view: Any = failed_view(chained(A, status=at_work()), [hosted()], call_failure(LIMITED, message="x" * 400))
    decision = decide_run(replace(view), LATER)
    assert decision.status.backoff is not None
    assert decision.status.backoff.raw == "x" * 200
    assert "capital of France" not in f"{decision.status.to_wire()} {decision.effects}"


def test_the_events_of_a_wait_are_posted_once_for_an_attempt() -> None:
    decision = decide_run(failed_view(chained(A, status=at_work()), [hosted()], call_failure(LIMITED)), LATER)
    keys = {e.reason: e.key for e in decision.effects if isinstance(e, PostEvent)}
    assert keys == {EventReason.ATTEMPT_ENDED: "ended-1", EventReason.BACKING_OFF: "backing-off-1"}
    again = decide_run(run_view(chained(A, status=decision.status), lanes=[cooled(hosted(), 69)]), at(20))
    assert events(again) == []


# ---- what the gateway itself refused


@pytest.mark.row("S2.21")
def test_a_run_whose_call_got_no_place_comes_back_soon() -> None:
    """The gateway says so as a rate limit that is over at the moment of the refusal; the model that has not failed is not left alone."""
    refused = call_failure(LIMITED, status=None, reset_time=at(9), reset_source=ResetSource.RETRY_AFTER)
    status = after(failed_view(chained(A, status=at_work()), [hosted()], refused))
    assert (status.reason, status.attempts[-1].outcome) == ("BackingOff", Outcome.MODEL_TROUBLE)
    assert status.backoff is not None
    assert status.backoff.count == 0
    assert status.next_attempt_time is not None
    assert at(9) < status.next_attempt_time <= at(9 + 32)


def test_a_run_whose_call_was_refused_because_the_model_rests_waits_for_that_rest() -> None:
    resting = cooled(hosted(), 900, cooldown_source=ResetSource.ESTIMATED, settled_time=at(1))
    refused = call_failure(LIMITED, status=None)
    status = after(failed_view(chained(A, status=at_work()), [resting], refused))
    assert status.reason == "BackingOff"
    assert status.backoff is not None
    assert status.backoff.applied_reset_time == at(900)
