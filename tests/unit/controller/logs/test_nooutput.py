"""Success without a deed: seen, said, and a failure only on request. What nobody could see is no reproach."""

from __future__ import annotations

from typing import Any

import pytest

from laneway.agent.envelope import EnvelopeSummary
from laneway.agent.envelope import Usage as AgentUsage
from laneway.api.gatewaystate import AttemptState, Totals
from laneway.api.reasons import Cause, End, EventReason, Outcome
from laneway.controller.decide_run import decide_run
from laneway.controller.decision.effects import EventType, PostEvent
from laneway.controller.facts.views import RunView
from support.builders import admitted, at, call_failure, ended, gateway, lane, metered, run, run_view

STARTED = admitted(pod="hello-hello-01-1", pod_uid="pod-uid", start_time=at(2))
DIRECT = lane(spec={"access": "Direct"})
UNSERVED = AttemptState(run_uid="hello-0123456789", attempt=1, closed=True)
REFUSED = UNSERVED.model_copy(update={"calls": 2, "failure": call_failure(Cause.AUTH_FAILED, status=401)})
COUNTED = UNSERVED.model_copy(update={"calls": 1, "totals": Totals(turns=0, input_tokens=9)})


def view(*, message: str = "", code: int = 0, direct: bool = False, fail: bool = False, **seen: Any) -> RunView:
    """A run whose agent has exited. On a Gateway lane the gateway knows of no call, unless the case says otherwise."""
    spec = {"result": {"failIfNoOutput": True}} if fail else {}
    known: dict[str, Any] = {"lane": DIRECT} if direct else {"gateway": gateway(UNSERVED)}
    return run_view(run(spec=spec, status=STARTED), pods=(ended(code, message=message),), **{**known, **seen})


def result(text: str | None = "", **fields: Any) -> EnvelopeSummary:
    return EnvelopeSummary(finished=True, is_error=False, result_text=text, **fields)


NOTHING = [
    pytest.param({"log_blank": True}, id="no call and an empty log"),
    pytest.param({"log_blank": True, "message": " \n"}, id="a termination message of white space is no word"),
    pytest.param({"log_blank": True, "gateway": gateway(REFUSED)}, id="calls that were all refused are no deed"),
    pytest.param({"log_blank": False, "envelope": result()}, id="a result line without a word"),
    pytest.param(
        {"direct": True, "log_blank": True, "envelope": EnvelopeSummary(finished=False)}, id="Direct: an empty log"
    ),
    pytest.param(
        {"direct": True, "log_blank": False, "envelope": result(num_turns=0)},
        id="Direct: a result of no turns and no words",
    ),
]
SOMETHING = [
    pytest.param({"log_blank": True, "message": "Done."}, id="a termination message"),
    pytest.param({"log_blank": False}, id="words in the log"),
    pytest.param({"log_blank": False, "envelope": result("Done.")}, id="words in the result line"),
    pytest.param({"log_blank": True, "gateway": gateway(metered())}, id="an answered call"),
    pytest.param({"log_blank": True, "gateway": gateway(COUNTED)}, id="an answered call that is no turn"),
    pytest.param({}, id="a log that could not be read"),
    pytest.param(
        {"direct": True, "log_blank": False, "envelope": result(usage=AgentUsage(10, 5))}, id="Direct: tokens were used"
    ),
    pytest.param({"direct": True, "log_blank": False, "envelope": result(num_turns=1)}, id="Direct: a turn was made"),
    pytest.param({"direct": True, "log_blank": False, "envelope": result()}, id="Direct: nobody told of calls"),
    pytest.param({"direct": True}, id="Direct: a log that was not read"),
]


def told(the_view: RunView) -> list[PostEvent]:
    effects = decide_run(the_view, at(30)).effects
    return [one for one in effects if isinstance(one, PostEvent) and one.reason is EventReason.NO_OUTPUT]


@pytest.mark.parametrize("seen", NOTHING)
def test_success_that_did_nothing_is_a_success_with_a_warning(seen: dict[str, Any]) -> None:
    status = decide_run(view(**seen), at(30)).status
    assert status.reason == End.COMPLETED
    succeeded = next(c for c in status.conditions if c.type == "Succeeded")
    assert (succeeded.status, succeeded.reason) == ("True", End.COMPLETED)
    assert succeeded.message == "the agent finished its work, but it made no model call and left no output"
    [warning] = told(view(**seen))
    assert (warning.type, warning.key) == (EventType.WARNING, "no-output-1")


@pytest.mark.row("S0.30", "S4.51")
@pytest.mark.parametrize("seen", NOTHING)
def test_on_request_it_is_a_failure_with_a_reason_of_its_own(seen: dict[str, Any]) -> None:
    status = decide_run(view(fail=True, **seen), at(30)).status
    assert status.reason == End.NO_OUTPUT
    assert (status.attempts[-1].outcome, status.attempts[-1].cause) == (Outcome.FAILED, Cause.TASK_FAILURE)
    assert status.result is not None
    assert (status.result.exit_code, status.result.summary) == (0, None)
    assert told(view(fail=True, **seen)) == [], "the end says it"


@pytest.mark.parametrize("seen", SOMETHING)
def test_whoever_did_something_or_was_not_seen_has_succeeded(seen: dict[str, Any]) -> None:
    assert decide_run(view(fail=True, **seen), at(30)).status.reason == End.COMPLETED
    assert told(view(**seen)) == []


def test_a_failure_is_a_failure_without_more_words() -> None:
    status = decide_run(view(code=1, log_blank=True), at(30)).status
    assert status.reason == End.FAILED
    assert told(view(code=1, log_blank=True)) == []
