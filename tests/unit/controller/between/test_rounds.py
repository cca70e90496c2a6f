"""A task that failed is tried again, and an agent that is not done goes on to another round: how often, when, and what is kept."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laneway.agent.envelope import EnvelopeSummary
from laneway.api.gatewaystate import AttemptState, Totals
from laneway.api.reasons import Cause, End, EventReason, Outcome, Phase, Waiting
from laneway.api.runstatus import AgentRunStatus
from laneway.controller.between import rounds
from laneway.controller.decide_lane import LaneDecision, decide_lane
from laneway.controller.decide_run import decide_run
from laneway.controller.decision.decision import RunDecision
from laneway.controller.decision.effects import DeletePod, PostEvent
from laneway.controller.ends import endings
from laneway.controller.facts.objects import Lane
from laneway.controller.facts.place import Place
from laneway.controller.facts.pods import PodFacts, Termination
from laneway.controller.lane.admission import granted_status
from laneway.rules.backoff import retry_delay
from support.builders import (
    NOW,
    at,
    call_failure,
    ended,
    gateway,
    lane,
    lane_view,
    metered,
    pod,
    run,
    run_view,
    running,
)

RETRIES = {"retry": {"policy": "Same", "maxRetries": 2}}
ROUNDS = {"rounds": {"max": 3}}
BOTH = {**RETRIES, **ROUNDS}
SUMMARY = "Half of it is there."
DONE = "All tests pass.\nlaneway: done nothing is left"


def exited(number: int, code: int, *, message: str = "", when: datetime = NOW) -> PodFacts:
    """The pod of an attempt whose agent has exited just then."""
    agent = Termination(exit_code=code, reason="", message=message, started=NOW, ended=when)
    return ended(code, attempt=number, agent=agent, name=f"hello-hello-01-{number}", uid=f"pod-{number}")


def granted(
    spec: dict[str, Any], status: AgentRunStatus, now: datetime, *, the_lane: Lane | None = None
) -> AgentRunStatus:
    """The run with its slot, which it must get."""
    [grant] = decide_lane(lane_view(run(spec=spec, status=status), the_lane=the_lane), now).grants
    return granted_status(grant, (), now)


def ends(
    spec: dict[str, Any], status: AgentRunStatus, code: int, now: datetime, *, message: str = "", **seen: Any
) -> RunDecision:
    """What is decided when the agent of the latest attempt has exited."""
    number = status.attempt or 0
    known: dict[str, Any] = {
        "pods": (exited(number, code, message=message, when=now),),
        "gateway": gateway(metered(number=number)),
    }
    return decide_run(run_view(run(spec=spec, status=status), **{**known, **seen}), now)


def first(spec: dict[str, Any]) -> AgentRunStatus:
    return granted(spec, AgentRunStatus(), NOW)


def lived(spec: dict[str, Any], codes: list[int], *, messages: tuple[str, ...] = ()) -> list[AgentRunStatus]:
    """The status after each attempt of a run whose agents exit with these codes, each as soon as its time has come."""
    status, now, seen = AgentRunStatus(), NOW, []
    for number, code in enumerate(codes):
        status = granted(spec, status, now)
        status = ends(spec, status, code, now, message=messages[number] if number < len(messages) else "").status
        seen.append(status)
        now = status.next_attempt_time or now
    return seen


def told(decision: RunDecision) -> list[str]:
    return [effect.reason for effect in decision.effects if isinstance(effect, PostEvent)]


def holds_a_slot(status: AgentRunStatus) -> bool:
    return any(c.type == "Admitted" and c.status == "True" for c in status.conditions)


# ---- a task that failed


@pytest.mark.row("S4.42")
@pytest.mark.parametrize(
    ("retry", "attempts"),
    [
        pytest.param({}, 1, id="by default a failed task is not tried again"),
        pytest.param({"policy": "None", "maxRetries": 0}, 1, id="nor with the policy None"),
        pytest.param({"policy": "Same", "maxRetries": 1}, 2, id="one retry makes two attempts"),
        pytest.param({"policy": "Same", "maxRetries": 2}, 3, id="two retries make three"),
    ],
)
def test_a_failed_task_is_tried_again_so_many_times(retry: dict[str, Any], attempts: int) -> None:
    seen = lived({"retry": retry}, [2] * attempts)
    for number, status in enumerate(seen[:-1], 1):
        assert (status.reason, status.phase) == (Waiting.WAITING_FOR_RETRY, Phase.BACKING_OFF)
        assert not holds_a_slot(status)
        assert (status.attempt, status.attempts[-1].outcome) == (number, Outcome.FAILED)
    last = seen[-1]
    assert (last.reason, last.attempt, last.retries or 0) == (End.FAILED, attempts, attempts - 1)
    assert ("tried" in (last.attempts[-1].message or "")) is (attempts > 1)


def test_a_try_that_goes_well_ends_the_run_well() -> None:
    *_, status = lived(RETRIES, [1, 0])
    assert (status.reason, status.retries, status.round) == (End.COMPLETED, 1, None)


@pytest.mark.row("S4.42", "S3.26")
def test_the_wait_for_a_retry_begins_with_the_agent_s_end_and_is_known_from_the_run_alone() -> None:
    one, two, _ = lived(RETRIES, [1, 1, 1])
    assert one.next_attempt_time == one.attempts[-1].again_time
    for tried, status in enumerate((one, two)):
        end, again = status.attempts[-1].end_time, status.attempts[-1].again_time
        assert end is not None
        assert again is not None
        wait, wanted = (again - end).total_seconds(), retry_delay(tried, "hello-0123456789", tried + 1).total_seconds()
        assert wanted <= wait < wanted + 1
    late = ends(RETRIES, first(RETRIES), 1, at(300), pods=(exited(1, 1, when=at(290)),)).status.attempts[-1]
    ahead = ends(RETRIES, first(RETRIES), 1, at(300), pods=(exited(1, 1, when=at(9000)),)).status.attempts[-1]
    assert late.again_time is not None
    assert ahead.again_time is not None
    assert late.again_time < ahead.again_time < at(340), "a node whose clock is ahead makes no wait longer"


def test_the_message_of_a_wait_says_why_how_often_and_when_and_it_is_told_once() -> None:
    decision = ends(RETRIES, first(RETRIES), 3, NOW, message="no compiler")
    said = next(c.message for c in decision.status.conditions if c.type == "Admitted")
    assert said.startswith(
        "attempt 1 failed (the agent exited with 3: no compiler); retry 1 of 2 begins not before 12:00:"
    )
    assert told(decision) == [EventReason.ATTEMPT_ENDED, EventReason.RETRY_PLANNED]
    later = decide_run(run_view(run(spec=RETRIES, status=decision.status)), at(5))
    assert (later.status, later.due, later.effects) == (decision.status, decision.status.next_attempt_time, ())


def lane_at(spec: dict[str, Any], status: AgentRunStatus, now: datetime) -> LaneDecision:
    return decide_lane(lane_view(run(spec=spec, status=status)), now)


@pytest.mark.row("S4.42", "S3.26")
def test_no_slot_is_granted_before_the_time_and_one_is_right_then() -> None:
    [waits] = lived(RETRIES, [1])
    again = waits.next_attempt_time
    assert again is not None
    early = lane_at(RETRIES, waits, at(6))
    assert (early.grants, early.due) == ((), again)
    assert early.status.backing_off_runs == 0, "it waits for no model"
    assert len(lane_at(RETRIES, waits, again).grants) == 1
    forgotten = waits.model_copy(update={"next_attempt_time": None})
    assert lane_at(RETRIES, forgotten, at(6)).grants == (), "the attempt itself says when the next one may begin"


@pytest.mark.parametrize("name", ["a-run", "z-run"], ids=["before it", "behind it"])
def test_a_run_that_waits_keeps_no_other_from_its_slot(name: str) -> None:
    [waits] = lived(RETRIES, [1])
    forgotten = run(spec=RETRIES, status=waits.model_copy(update={"next_attempt_time": None}))
    other = run(name, spec={"models": [{"lane": "local", "model": "smollm2"}]})
    assert other.wish == forgotten.wish
    for runs in ((forgotten, other), (other, forgotten)):
        grants = decide_lane(lane_view(*runs), at(6)).grants
        assert [grant.run.meta.name for grant in grants] == [name]


@pytest.mark.parametrize(
    ("outcome", "end", "again"),
    [
        pytest.param(Outcome.FAILED, End.FAILED, True, id="an exit code"),
        pytest.param(Outcome.FAILED, End.NO_OUTPUT, True, id="no result"),
        pytest.param(Outcome.FAILED, End.OUT_OF_MEMORY, True, id="too much memory"),
        pytest.param(Outcome.TIMED_OUT, End.ATTEMPT_TIMEOUT, True, id="too much time"),
        pytest.param(Outcome.CANCELLED, End.CANCELLED, False, id="not a run that was cancelled"),
    ],
)
def test_what_counts_as_a_task_that_failed(outcome: Outcome, end: End, *, again: bool) -> None:
    view = run_view(run(spec=RETRIES, status=first(RETRIES)), pods=(exited(1, 1),))
    status = rounds.follow(view, NOW, endings.Verdict(outcome, end, "said")).status
    assert (status.reason == Waiting.WAITING_FOR_RETRY) is again
    assert (status.completion_time is None) is again


def test_a_pod_that_did_not_start_is_no_failure_of_the_task() -> None:
    stuck = pod(unschedulable="no room", scheduled=None)
    view = run_view(run(spec=RETRIES, status=first(RETRIES)), pods=(stuck,), gateway=gateway(metered(turns=0)))
    assert decide_run(view, at(700)).status.reason == End.START_TIMEOUT


def test_trouble_of_the_model_is_no_failure_of_the_task() -> None:
    state = metered().model_copy(update={"failure": call_failure(Cause.TASK_FAILURE, status=400, message="bad")})
    status = ends(RETRIES, first(RETRIES), 1, NOW, gateway=gateway(state)).status
    assert (status.reason, status.attempts[-1].outcome) == (End.FAILED, Outcome.MODEL_TROUBLE)
    passing = metered().model_copy(update={"failure": call_failure(status=503)})
    status = ends(RETRIES, first(RETRIES), 1, at(10), gateway=gateway(passing)).status
    assert (status.reason, status.retries) == (Waiting.BACKING_OFF, None)


# ---- rounds


@pytest.mark.row("S3.29")
@pytest.mark.parametrize("most", [2, 3, 5])
def test_rounds_are_bounded_and_their_end_is_a_success(most: int) -> None:
    *waits, last = lived({"rounds": {"max": most}}, [0] * most)
    assert [(status.reason, status.round) for status in waits] == [
        (Waiting.WAITING_FOR_ROUND, number) for number in range(1, most)
    ]
    assert not any(holds_a_slot(status) for status in waits)
    assert (last.reason, last.round, last.attempt) == (End.COMPLETED, most, most)
    finished = next(c for c in last.conditions if c.type == "Succeeded")
    assert (finished.status, finished.message) == (
        "True",
        f"the agent finished its work; that was the last of {most} rounds",
    )


@pytest.mark.row("S3.31")
def test_an_agent_that_says_it_is_done_ends_its_rounds() -> None:
    waits, last = lived(ROUNDS, [0, 0], messages=(SUMMARY, DONE))
    assert (waits.reason, waits.result and waits.result.summary) == (Waiting.WAITING_FOR_ROUND, SUMMARY)
    assert (last.reason, last.round) == (End.COMPLETED, 2)
    said = next(c.message for c in last.conditions if c.type == "Finished")
    assert said == "the agent finished its work, and said in round 2 that it is done: nothing is left"


@pytest.mark.row("S3.31")
@pytest.mark.parametrize(
    ("message", "reason"),
    [
        pytest.param("laneway: done", "", id="no reason"),
        pytest.param("laneway: done  all  green \r\n", "all green", id="white space is made one"),
        pytest.param(f"words\n{'laneway: done it works'}\nmore words", "it works", id="a line among others"),
        pytest.param(f"laneway: done {'x' * 300}", "x" * 200, id="a long reason is cut"),
        pytest.param("laneway: doneness", None, id="another word"),
        pytest.param("I am not laneway: done", None, id="not at the beginning of a line"),
        pytest.param("Laneway: Done", None, id="in other letters"),
        pytest.param("", None, id="no word at all"),
    ],
)
def test_the_line_that_says_it(message: str, reason: str | None) -> None:
    view = run_view(run(spec=ROUNDS, status=first(ROUNDS)), pods=(exited(1, 0, message=message),))
    assert rounds.said_done(view) == reason


@pytest.mark.row("S3.31")
def test_a_silent_agent_may_say_it_in_the_result_of_its_log() -> None:
    envelope = EnvelopeSummary(finished=True, is_error=False, result_text=DONE)
    view = run_view(run(spec=ROUNDS, status=first(ROUNDS)), pods=(exited(1, 0),), envelope=envelope)
    assert rounds.said_done(view) == "nothing is left"
    spoken = replace(view, pods=(exited(1, 0, message=SUMMARY),))
    assert rounds.said_done(spoken) is None, "a termination message comes first"


@pytest.mark.row("S3.31")
def test_what_an_older_attempt_said_does_not_end_a_newer_one() -> None:
    [waits] = lived(BOTH, [1], messages=(DONE,))
    assert waits.reason == Waiting.WAITING_FOR_RETRY, "who failed is not done"
    again = waits.next_attempt_time
    assert again is not None
    second = granted(BOTH, waits, again)
    pods = (exited(1, 0, message=DONE), exited(2, 0, message=SUMMARY, when=again))
    assert ends(BOTH, second, 0, again, pods=pods).status.reason == Waiting.WAITING_FOR_ROUND


@pytest.mark.row("S3.26")
@pytest.mark.parametrize("delay", [0, 3, 90])
def test_the_next_round_begins_after_its_delay(delay: int) -> None:
    spec = {"rounds": {"max": 3, "delaySeconds": delay}}
    decision = ends(spec, first(spec), 0, NOW)
    assert decision.status.attempts[-1].again_time == at(delay)
    assert told(decision) == [EventReason.ATTEMPT_ENDED, EventReason.ROUND_ENDED]
    assert len(lane_at(spec, decision.status, at(delay)).grants) == 1
    assert delay == 0 or lane_at(spec, decision.status, at(delay - 1)).grants == ()


def test_a_place_from_before_the_attempt_is_not_told_again() -> None:
    spec = {"rounds": {"max": 3, "delaySeconds": 0}}
    status = ends(spec, first(spec), 0, NOW, place=Place(7, 4, 4)).status
    said = next(c.message for c in status.conditions if c.type == "Admitted")
    assert (status.reason, status.queue) == (Waiting.WAITING_FOR_SLOT, None)
    assert said == "lane team-a/local: its turn is being worked out"


def test_one_round_ends_as_it_always_did() -> None:
    [status] = lived({}, [0], messages=(DONE,))
    assert (status.reason, status.round) == (End.COMPLETED, None)
    assert next(c.message for c in status.conditions if c.type == "Finished") == "the agent finished its work"


def test_a_failed_round_is_tried_again_as_the_same_round_and_retries_count_over_all() -> None:
    seen = lived(BOTH, [0, 1, 0, 1, 1])
    assert [(one.round, one.retries or 0) for one in seen] == [(1, 0), (2, 0), (2, 1), (3, 1), (3, 2)]
    assert seen[-1].reason == End.FAILED
    assert "tried 3 times" in (seen[-1].attempts[-1].message or "")


def test_the_words_of_the_last_good_round_are_kept() -> None:
    silent, failed = lived(ROUNDS, [0, 0, 1], messages=(SUMMARY, "", "half an answer"))[1:]
    assert silent.result is not None
    assert silent.result.summary == SUMMARY
    assert failed.result is not None
    assert (failed.reason, failed.result.summary, failed.result.exit_code) == (End.FAILED, SUMMARY, 1)


@pytest.mark.row("S4.53")
def test_a_disruption_uses_no_retry_and_stays_in_its_round() -> None:
    *_, waits = lived(BOTH, [0, 1])
    again = waits.next_attempt_time
    assert again is not None
    status = granted(BOTH, waits, again)
    assert (status.round, status.retries) == (2, 1)
    evicted = replace(exited(3, 137, when=again), reason="Evicted")
    broken = ends(BOTH, status, 137, again, pods=(evicted,)).status
    assert (broken.reason, broken.disruption_count) == (Waiting.WAITING_FOR_SLOT, 1)
    next_one = granted(BOTH, broken, again)
    assert (next_one.attempt, next_one.round, next_one.retries) == (4, 2, 1)


@pytest.mark.parametrize("codes", [[0], [1], [0, 1], []], ids=["a round", "a retry", "a retry of a round", "the first"])
def test_a_grant_that_is_taken_back_counts_for_nothing(codes: list[int]) -> None:
    before = lived(BOTH, codes)[-1] if codes else AgentRunStatus()
    now = before.next_attempt_time or NOW
    view = run_view(run(spec=BOTH, status=granted(BOTH, before, now)))
    after = endings.take_back(view, now, Waiting.QUOTA_EXCEEDED, "exceeded quota").status
    assert (after.round, after.retries, after.attempt) == (before.round, before.retries, before.attempt)


def test_pods_of_attempts_that_status_no_longer_lists_go() -> None:
    spec = {"rounds": {"max": 20}}
    *_, status = lived(spec, [0] * 12)
    assert [one.id for one in status.attempts] == list(range(3, 13))
    pods = tuple(exited(number, 0) for number in (1, 2, 3, 12))
    effects = decide_run(run_view(run(spec=spec, status=status), pods=pods), NOW).effects
    assert [effect.uid for effect in effects if isinstance(effect, DeletePod)] == ["pod-1", "pod-2"]


def test_a_round_that_did_nothing_is_warned_of_and_another_follows() -> None:
    idle = AttemptState(run_uid="hello-0123456789", attempt=1, closed=True)
    decision = ends(ROUNDS, first(ROUNDS), 0, NOW, gateway=gateway(idle), log_blank=True)
    assert decision.status.reason == Waiting.WAITING_FOR_ROUND
    assert told(decision) == [EventReason.ATTEMPT_ENDED, EventReason.NO_OUTPUT, EventReason.ROUND_ENDED]


@settings(max_examples=60)
@given(
    most=st.integers(1, 5),
    retries=st.integers(0, 3),
    fates=st.lists(st.sampled_from(["good", "fails", "evicted", "taken back"]), max_size=20),
)
def test_no_life_passes_its_bounds_and_every_life_ends(most: int, retries: int, fates: list[str]) -> None:
    policy = {"policy": "Same", "maxRetries": retries} if retries else {}
    spec = {"rounds": {"max": most}, "retry": {**policy, "maxDisruptions": 1000}}
    status, now, good, failed, broken = AgentRunStatus(), NOW, 0, 0, 0
    for fate in [*fates, *["good"] * most]:
        status = granted(spec, status, now)
        number = status.attempt or 0
        if fate == "taken back":
            view = run_view(run(spec=spec, status=status))
            status = endings.take_back(view, now, Waiting.WAITING_FOR_SLOT, "no room").status
            continue
        pod = exited(number, 0 if fate == "good" else 1, when=now)
        pods = (replace(pod, reason="Evicted"),) if fate == "evicted" else (pod,)
        status = ends(spec, status, 0, now, pods=pods).status
        good, failed, broken = good + (fate == "good"), failed + (fate == "fails"), broken + (fate == "evicted")
        assert number == good + failed + broken, "an attempt's number is used once"
        assert (status.retries or 0) == failed - (fate == "fails"), "what has begun is counted"
        if status.completion_time:
            break
        now = (status.next_attempt_time or now) + timedelta(hours=1)
    assert status.completion_time is not None
    assert good <= most
    assert failed <= retries + 1
    assert (status.reason == End.COMPLETED) is (good == most)


# ---- limits hold over all attempts


@pytest.mark.row("S4.30", "C11")
@pytest.mark.parametrize(
    ("spec", "code", "reason"),
    [
        pytest.param(ROUNDS, 0, End.TURNS_REACHED, id="no round follows, and that is a success"),
        pytest.param(RETRIES, 1, End.FAILED, id="a task that failed is not done by its limit"),
    ],
)
def test_nothing_follows_once_a_limit_is_used_up(spec: dict[str, Any], code: int, reason: End) -> None:
    status = lived({**spec, "limits": {"turns": 2}}, [code, code])[-1]
    assert (status.reason, status.attempt, status.usage and status.usage.turns) == (reason, 2, 2)


@pytest.mark.parametrize(("spec", "code"), [(ROUNDS, 0), (RETRIES, 1)], ids=["a round", "a retry"])
def test_a_run_that_pauses_at_its_limit_goes_on_where_it_was(spec: dict[str, Any], code: int) -> None:
    paused = lived({**spec, "limits": {"turns": 1, "onReached": "Pause"}}, [code])[-1]
    assert paused.reason == Waiting.LIMIT_PAUSED
    raised = {**spec, "limits": {"turns": 9, "onReached": "Pause"}}
    soon = decide_run(run_view(run(spec=raised, status=paused)), at(1)).status
    assert soon.reason in {Waiting.WAITING_FOR_ROUND, Waiting.WAITING_FOR_RETRY}
    later = granted(raised, soon, at(60))
    assert (later.attempt, later.round or 0, later.retries or 0) == (2, 2 if code == 0 else 0, code)


def test_what_rounds_use_is_summed() -> None:
    spec = {"rounds": {"max": 2}}
    totals = metered(number=2).model_copy(update={"totals": Totals(turns=3, input_tokens=5, output_tokens=5)})
    [waits] = lived(spec, [0])
    status = ends(spec, granted(spec, waits, at(3)), 0, at(10), gateway=gateway(totals)).status
    assert status.usage is not None
    assert (status.usage.turns, status.usage.total_tokens) == (4, 29)


# ---- suspend and cancel


@pytest.mark.row("S3.30", "S4.50", "C25")
@pytest.mark.parametrize(
    ("spec", "code"),
    [pytest.param(ROUNDS, 0, id="between two rounds"), pytest.param(RETRIES, 1, id="before a retry")],
)
def test_suspend_lets_the_attempt_end_and_holds_what_follows_until_it_is_resumed(
    spec: dict[str, Any], code: int
) -> None:
    held = {**spec, "suspend": True}
    started = first(spec)
    at_work = decide_run(run_view(run(spec=held, status=started), pods=(running(),)), at(5))
    assert (at_work.status.reason, [e for e in at_work.effects if isinstance(e, DeletePod)]) == ("Running", [])
    suspended = ends(held, at_work.status, code, at(10)).status
    assert (suspended.reason, holds_a_slot(suspended)) == (Waiting.SUSPENDED, False)
    assert lane_at(held, suspended, at(900)).grants == ()
    still = decide_run(run_view(run(spec=held, status=suspended)), at(900)).status
    assert still.reason == Waiting.SUSPENDED
    resumed = granted(spec, still, at(901))
    assert (resumed.attempt, resumed.attempts[-1].step) == (2, started.attempts[-1].step)


def test_suspend_does_not_keep_the_last_round_from_ending_the_run() -> None:
    held = {"rounds": {"max": 1}, "suspend": True}
    assert ends(held, first({}), 0, at(10)).status.reason == End.COMPLETED


@pytest.mark.row("S3.30", "C25")
@pytest.mark.parametrize(("spec", "code"), [(ROUNDS, 0), (RETRIES, 1)], ids=["a round", "a retry"])
def test_a_wait_that_is_resumed_early_lasts_as_long_as_planned(spec: dict[str, Any], code: int) -> None:
    suspended = ends({**spec, "suspend": True}, first(spec), code, NOW).status
    back = decide_run(run_view(run(spec=spec, status=suspended)), at(1))
    assert back.status.reason in {Waiting.WAITING_FOR_ROUND, Waiting.WAITING_FOR_RETRY}
    assert back.due == suspended.attempts[-1].again_time


@pytest.mark.row("C25")
@pytest.mark.parametrize(
    ("spec", "code"),
    [
        pytest.param(ROUNDS, 0, id="a run that waits for its next round"),
        pytest.param(RETRIES, 1, id="a run that waits for its next try"),
        pytest.param({**ROUNDS, "suspend": True}, 0, id="a run that is suspended between two rounds"),
        pytest.param(
            {**ROUNDS, "limits": {"turns": 1, "onReached": "Pause"}}, 0, id="a run that is paused between two rounds"
        ),
    ],
)
def test_cancel_ends_every_wait_at_once(spec: dict[str, Any], code: int) -> None:
    waits = ends(spec, first({**spec, "suspend": False}), code, NOW).status
    assert waits.completion_time is None
    decision = decide_run(run_view(run(spec={**spec, "cancel": True}, status=waits)), at(1))
    assert (decision.status.reason, decision.status.next_attempt_time) == (End.CANCELLED, None)
    assert decision.status.result == waits.result
    assert lane_at({**spec, "cancel": True}, waits, at(900)).grants == ()


@pytest.mark.row("C25")
@pytest.mark.parametrize(("spec", "code"), [(ROUNDS, 0), (RETRIES, 1)], ids=["a round", "a failed try"])
def test_a_cancel_that_comes_with_the_end_of_an_attempt_lets_nothing_follow(spec: dict[str, Any], code: int) -> None:
    decision = ends({**spec, "cancel": True}, first(spec), code, at(10))
    assert decision.status.reason == End.CANCELLED
    assert told(decision) == [EventReason.ATTEMPT_ENDED, EventReason.RUN_FINISHED]
    assert decision.status.usage is not None
    assert decision.status.usage.turns == 1, "an attempt is counted once"


# ---- which step


TWO = {"models": [{"lane": "a"}, {"lane": "b"}]}
LANES = [lane("a"), lane("b")]


@pytest.mark.row("S4.42", "S4.50")
@pytest.mark.parametrize(
    ("spec", "code", "goes_on"),
    [
        pytest.param(RETRIES, 1, "b", id="a failed task stays on its step"),
        pytest.param(ROUNDS, 0, "a", id="after a success the chain is looked at from its top"),
    ],
)
def test_the_step_of_the_next_attempt(spec: dict[str, Any], code: int, goes_on: str) -> None:
    spec = {**spec, **TWO}
    status = granted_status(_grant_on_b(spec), (), NOW)
    ended_then = ends(spec, status, code, NOW, lanes=LANES, lane=LANES[1]).status
    again = ended_then.next_attempt_time
    assert again is not None
    assert decide_lane(lane_view(run(spec=spec, status=ended_then), the_lane=LANES[1]), again).grants == ()
    looked = decide_run(run_view(run(spec=spec, status=ended_then), lanes=LANES), again)
    assert looked.status.step is not None
    assert (looked.status.step.lane, looked.status.next_attempt_time) == (goes_on, None)
    assert looked.status.reason == Waiting.WAITING_FOR_SLOT


def _grant_on_b(spec: dict[str, Any]) -> Any:
    """A slot on the second step, to which trouble had led."""
    moved = {"step": {"lane": "b", "namespace": "team-a", "model": "smollm2", "cause": "APITransient"}}
    status = AgentRunStatus.model_validate(moved)
    [grant] = decide_lane(lane_view(run(spec=spec, status=status), the_lane=LANES[1]), NOW).grants
    return grant
