"""The wall of an attempt: an agent that runs into it is stopped, however busy it is, and its task has failed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from laneway.api.reasons import Cause, End, Outcome, Waiting
from laneway.controller.decide_run import decide_run
from laneway.controller.decision.effects import CloseAttempt, DeletePod
from laneway.controller.facts.views import RunView
from support.builders import admitted, at, ended, gateway, lane, metered, pod, run, run_view, running

STARTED = admitted(pod="hello-hello-01-1", pod_uid="pod-uid", start_time=at(2))
WALL = {"timeouts": {"attemptSeconds": 100}}
"""The agent begins at 2 s, so its wall is at 102 s."""
BUSY = metered(closed=False).model_copy(update={"open_calls": 1, "last_activity_time": at(101)})


def view(*pods: Any, spec: dict[str, Any] | None = None, state: Any = BUSY, **changes: Any) -> RunView:
    the_run = run(spec={**WALL, **(spec or {})}, status=STARTED)
    return run_view(the_run, pods=pods, gateway=gateway(state), **changes)


@pytest.mark.row("S3.27")
def test_the_wall_is_planned_and_activity_does_not_move_it() -> None:
    at_work = decide_run(view(running()), at(101))
    assert (at_work.status.reason, at_work.due) == ("Running", at(102))
    over = decide_run(view(running()), at(102))
    assert [type(effect) for effect in over.effects] == [CloseAttempt, DeletePod]


@pytest.mark.row("S3.27")
def test_an_attempt_that_ran_into_its_wall_has_failed_once_it_is_closed_and_stopped() -> None:
    going = running(deleting=True)
    assert decide_run(view(going), at(103)).status.completion_time is None
    status = decide_run(view(going, state=metered()), at(103)).status
    last = status.attempts[-1]
    assert (status.reason, last.outcome, last.cause) == (End.ATTEMPT_TIMEOUT, Outcome.TIMED_OUT, Cause.TASK_FAILURE)
    assert last.message == "the agent ran for 100 s and was stopped (spec.timeouts.attemptSeconds)"
    assert next(c.status for c in status.conditions if c.type == "Succeeded") == "False"
    assert status.usage is not None
    assert status.usage.turns == 1


@pytest.mark.parametrize(
    ("pods", "changes", "end"),
    [
        pytest.param((ended(143, deleting=True),), {}, End.ATTEMPT_TIMEOUT, id="the agent left on SIGTERM"),
        pytest.param((ended(0, deleting=True),), {}, End.ATTEMPT_TIMEOUT, id="and says that all is well"),
        pytest.param((), {}, End.ATTEMPT_TIMEOUT, id="its pod is gone already"),
        pytest.param((ended(0),), {}, End.COMPLETED, id="an agent that left by itself is judged by how it left"),
        pytest.param((ended(1),), {}, End.FAILED, id="also when it failed"),
        pytest.param((running(deleting=True),), {"spec": {"cancel": True}}, End.CANCELLED, id="cancel comes first"),
    ],
)
def test_how_it_ends_whatever_is_seen_next(pods: tuple[Any, ...], changes: dict[str, Any], end: End) -> None:
    assert decide_run(view(*pods, state=metered(), **changes), at(110)).status.reason == end


@pytest.mark.parametrize(
    ("seconds", "the_pod"),
    [
        pytest.param(None, running(), id="no wall is set"),
        pytest.param(9000, running(), id="a wall that was raised while the agent ran"),
        pytest.param(100, pod(), id="the wait for the agent's start does not count"),
    ],
)
def test_nobody_is_stopped_before_it(seconds: int | None, the_pod: Any) -> None:
    begun = replace(run(spec={"timeouts": {"attemptSeconds": seconds}}), status=admitted(pod_uid="pod-uid"))
    decision = decide_run(run_view(begun, pods=(the_pod,), gateway=gateway(BUSY)), at(500))
    assert not [effect for effect in decision.effects if isinstance(effect, CloseAttempt | DeletePod)]


@pytest.mark.row("S3.27", "S4.42")
def test_a_task_that_took_too_long_is_tried_again_if_it_may_be() -> None:
    retry = {"retry": {"policy": "Same", "maxRetries": 1}}
    status = decide_run(view(running(deleting=True), spec=retry, state=metered()), at(103)).status
    assert (status.reason, status.attempts[-1].outcome) == (Waiting.WAITING_FOR_RETRY, Outcome.TIMED_OUT)


def test_it_holds_on_a_direct_lane_too() -> None:
    direct = lane(spec={"access": "Direct"})
    stops = decide_run(view(running(), state=None, lane=direct), at(102))
    assert [type(effect) for effect in stops.effects] == [DeletePod]
    assert decide_run(view(running(deleting=True), state=None, lane=direct), at(103)).status.reason == (
        End.ATTEMPT_TIMEOUT
    )
