"""What a grant writes, and what it tells."""

from __future__ import annotations

import pytest

from laneway.api.reasons import Cause, ResetSource
from laneway.api.runstatus import AgentRunStatus, BackoffStatus, ChainStep, CurrentStep, Queue, StepStatus
from laneway.controller.decide_lane import decide_lane
from laneway.controller.lane.admission import Grant, granted_events, granted_status
from laneway.rules.chain import Link
from support.builders import NOW, at, lane_view, run

STEP = StepStatus(lane="local", namespace="team-a", model="smollm2")
BACKOFF = BackoffStatus(
    cause=Cause.RATE_LIMIT_MODEL,
    step=STEP,
    count=1,
    source=ResetSource.ESTIMATED,
    since_attempt=1,
    since_time=at(0),
)


def grant(status: AgentRunStatus, seconds: float) -> Grant:
    (found,) = decide_lane(lane_view(run(status=status)), at(seconds)).grants
    return found


def waited(**changes: object) -> AgentRunStatus:
    return AgentRunStatus(attempt=1, backoff=BACKOFF, next_attempt_time=at(80)).model_copy(update=changes)


def test_a_grant_ends_the_wait_and_leaves_the_queue() -> None:
    status = granted_status(grant(waited(queue=Queue(position=1, since=NOW)), 85), (), at(85))
    assert (status.backoff, status.next_attempt_time, status.queue, status.attempt) == (None, None, None, 2)


@pytest.mark.row("S3.23", "C19")
def test_the_end_of_a_wait_is_told_before_the_slot_and_is_no_recovery() -> None:
    events = granted_events(grant(waited(), 85), at(85))
    assert [(event.reason, event.message) for event in events] == [
        ("BackoffElapsed", "waited 85 s after local/smollm2 failed (rate limit)"),
        ("SlotGranted", "attempt 2 got a slot of team-a/local (smollm2)"),
    ]


def test_a_run_that_did_not_back_off_is_told_of_its_slot_only() -> None:
    assert [event.reason for event in granted_events(grant(AgentRunStatus(), 5), at(5))] == ["SlotGranted"]


def test_what_led_to_the_step_outlasts_the_grant() -> None:
    step = CurrentStep(lane="local", namespace="team-a", cause=Cause.RATE_LIMIT_MODEL, time=at(3), shown=True)
    status = granted_status(grant(AgentRunStatus(step=step), 5), (), at(5))
    assert status.step == step.model_copy(update={"model": "smollm2"})
    first = granted_status(grant(AgentRunStatus(), 5), (), at(5))
    assert first.step == CurrentStep(lane="local", namespace="team-a", model="smollm2")


LINKS = (Link("team-a", "local", "smollm2", ()), Link("team-a", "hosted", "big", ()))


def test_a_lane_that_was_quicker_than_a_runs_first_look_shows_its_chain_with_the_slot() -> None:
    """The gateway needs it as soon as the agent can call: without a chain it can carry a call that fails nowhere."""
    status = granted_status(grant(AgentRunStatus(), 5), LINKS, at(5))
    assert [one.lane for one in status.chain] == ["local", "hosted"]
    assert status.requested_model is not None
    assert status.requested_model.lane == "local"


def test_a_chain_that_is_shown_stays_as_it_is_said() -> None:
    shown = (ChainStep(lane="local", namespace="team-a", model="smollm2"),)
    assert granted_status(grant(AgentRunStatus(chain=shown), 5), LINKS, at(5)).chain == shown
