"""What is kept of an agent's log when its pod is gone: of which runs, how much, and what is never in it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laneway.api.gatewaystate import AttemptState
from laneway.api.health import Stopped
from laneway.api.reasons import Cause, Outcome, StopReason
from laneway.controller.decide_run import decide_run
from laneway.controller.decision.decision import RunDecision
from laneway.controller.decision.effects import KeepLog
from laneway.controller.facts.objects import Run
from laneway.controller.facts.pods import PodFacts
from laneway.controller.facts.presets import LogParser
from laneway.controller.logs.tail import LIMIT, LOOKED_AT, is_wanted, keep, tail_of
from support.builders import admitted, at, ended, gateway, lane, metered, pod, run, run_view, running

WORDS, LINES = LogParser.NONE, LogParser.STREAM_JSON
STARTED = admitted(pod="hello-hello-01-1", pod_uid="pod-uid", start_time=at(2))
DIRECT = lane(spec={"access": "Direct"})
TRACE = "Traceback (most recent call last):\nValueError: no such file\n"
KEYS = ["sk-abcdefgh12345678", "AIza" + "x1" * 10, "ghp_" + "a" * 20, "a1" * 20, "x-" + "a1" * 20]


@pytest.mark.parametrize(
    ("log", "parser", "kept"),
    [
        pytest.param(TRACE, WORDS, TRACE.strip(), id="words as they stand there"),
        pytest.param("one\n\n \ntwo\n", WORDS, "one\ntwo", id="no empty lines"),
        pytest.param("", WORDS, "", id="nothing"),
        pytest.param(" \n\t\n", WORDS, "", id="white space"),
        pytest.param("\x1b[31mred\x1b[0m\x07\x00 40%\r50%\n", WORDS, "red 40%50%", id="no colours and no bells"),
        pytest.param('{"level": "error"}\nbye\n', WORDS, '{"level": "error"}\nbye', id="lines of JSON of any agent"),
        pytest.param('{"type": "user", "message": "Hi"}\nbye\n', LINES, "bye", id="no line of an envelope"),
        pytest.param('{"type": "assistant", "mess', LINES, "", id="nor one that is cut"),
        pytest.param("the end of a long line\n" + "x\n" * 50, LINES, "\n".join("x" * 50), id="nor the end of one"),
    ],
)
def test_which_lines_are_kept(log: str, parser: LogParser, kept: str) -> None:
    assert tail_of(log, parser=parser) == kept


@pytest.mark.parametrize("parser", LogParser)
def test_the_end_is_kept_and_a_line_that_is_cut_is_not(parser: LogParser) -> None:
    log = "secret " * 2000 + "\n" + "line\n" * 200
    assert tail_of(log[-LOOKED_AT:], parser=parser) == ("line\n" * 200).strip()
    assert tail_of(("x" * 20_000)[-LOOKED_AT:], parser=parser) == ""


@pytest.mark.parametrize("text", ["x", "é", "漢", "🙂"])
def test_at_most_4096_bytes_and_whole_characters(text: str) -> None:
    kept = tail_of("first\n" + text * 5000 + "\n" + "é" * 3000, parser=WORDS)
    assert 4090 <= len(kept.encode()) <= LIMIT
    assert set(kept) == {"é"}


@pytest.mark.parametrize("key", KEYS)
def test_what_looks_like_a_key_is_left_out(key: str) -> None:
    assert tail_of(f"calling with {key}\nOPENAI_API_KEY={key}", parser=WORDS) == (
        "calling with (key)\nOPENAI_API_KEY=(key)"
    )


def test_lines_of_the_runs_prompt_are_left_out() -> None:
    prompt = "Find the traitor among us.\n  Tell nobody.\nok"
    log = 'asked: Find the traitor among us.\n{"prompt": "Find the traitor among us.\\n  Tell nobody."}\nok, failed\n'
    assert tail_of(log, parser=WORDS, prompt=prompt) == "(prompt)\n(prompt)\nok, failed"


@given(st.text(), st.sampled_from(LogParser), st.none() | st.text())
def test_no_log_makes_it_fail(log: str, parser: LogParser, prompt: str | None) -> None:
    kept = tail_of(log, parser=parser, prompt=prompt)
    assert len(kept.encode()) <= LIMIT
    assert "\x00" not in kept


# ---- whose log is read


BITTEN = Stopped(reason=StopReason.IDLE, time=at(9), message="silent")
IDLE = run(status=admitted(start_time=at(2), stopped=BITTEN))


def retried(times: int) -> Run:
    """A run with one retry, which has had so many."""
    status = STARTED.model_copy(update={"retries": times or None})
    return run(spec={"retry": {"policy": "Same", "maxRetries": 1}}, status=status)


CANCELLED = run(spec={"cancel": True}, status=STARTED)
TIMED = run(spec={"timeouts": {"attemptSeconds": 5}}, status=STARTED)


def closed(failure: Cause | None = None) -> AttemptState:
    return metered(failure=failure)


@pytest.mark.parametrize(
    ("found", "state", "changes", "wanted"),
    [
        pytest.param(ended(1), closed(), {}, True, id="an agent that failed, once its attempt is closed"),
        pytest.param(ended(1), metered(closed=False), {}, False, id="not before"),
        pytest.param(ended(1), None, {}, False, id="nor while the gateway is away"),
        pytest.param(ended(1), None, {"direct": True}, True, id="on a Direct lane at once"),
        pytest.param(ended(0), closed(), {}, False, id="not of one that went well"),
        pytest.param(ended(1), closed(Cause.API_TRANSIENT), {}, False, id="nor of trouble that passes"),
        pytest.param(ended(1), closed(Cause.MODEL_NOT_FOUND), {}, True, id="of trouble that stays"),
        pytest.param(ended(1), closed(), {"run": retried(0)}, False, id="not while the task may be tried again"),
        pytest.param(ended(1), closed(), {"run": retried(1)}, True, id="once it was tried as often as it may"),
        pytest.param(running(), closed(), {}, False, id="not of one at work"),
        pytest.param(running(deleting=True), closed(), {"run": IDLE}, True, id="of one that a watchdog stops"),
        pytest.param(running(deleting=True), closed(), {"run": TIMED}, True, id="of one that may have met its wall"),
        pytest.param(running(deleting=True), closed(), {"run": CANCELLED}, True, id="of one that a person cancelled"),
        pytest.param(
            ended(143, deleting=True),
            closed(Cause.API_TRANSIENT),
            {"run": CANCELLED},
            True,
            id="of a cancelled one whose model had trouble: no other attempt follows",
        ),
        pytest.param(running(deleting=True), closed(), {}, False, id="not of a pod that leaves for another reason"),
        pytest.param(running(deleting=True, ready=False), closed(), {"run": IDLE}, False, id="or whose node is away"),
        pytest.param(pod(deleting=True), closed(), {"run": IDLE}, False, id="nor of one that never started"),
        pytest.param(pod(phase="Failed"), closed(), {}, False, id="nor of a pod that its node refused"),
    ],
)
def test_whose_log_is_read_for_its_last_words(
    found: PodFacts, state: AttemptState | None, changes: dict[str, Any], *, wanted: bool
) -> None:
    the_run = changes.get("run", run(status=STARTED))
    assert is_wanted(the_run, found, state, direct=changes.get("direct", False)) is wanted


# ---- whose is kept


def decided(found: PodFacts, log: str | None = TRACE, **changes: Any) -> RunDecision:
    view = run_view(run(spec=changes.pop("spec", {}), status=STARTED), lane=DIRECT, pods=(found,), **changes)
    return decide_run(replace(view, log_end=log), at(11))


def kept(decision: RunDecision) -> list[dict[str, Any]]:
    return [effect.manifest for effect in decision.effects if isinstance(effect, KeepLog)]


def test_the_end_of_the_log_of_a_run_that_failed_is_kept_as_long_as_the_run() -> None:
    decision = decided(ended(3))
    [manifest] = kept(decision)
    assert decision.status.result is not None
    assert decision.status.result.log_config_map == manifest["metadata"]["name"] == "hello-hello-01-log"
    assert (manifest["immutable"], manifest["data"]) == (True, {"log": TRACE.strip()})
    [owner] = manifest["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["controller"]) == ("AgentRun", "hello", True)
    assert "ValueError" not in decision.status.model_dump_json()
    assert not any("ValueError" in str(effect) for effect in decision.effects if not isinstance(effect, KeepLog))


def test_the_end_of_the_log_of_a_cancelled_run_is_kept_too() -> None:
    [manifest] = kept(decided(running(deleting=True), spec={"cancel": True}))
    assert manifest["data"] == {"log": TRACE.strip()}


@pytest.mark.parametrize(
    "decision",
    [
        pytest.param(decided(ended(0, message="Paris.")), id="a run that went well"),
        pytest.param(decided(ended(3), None), id="a log that was not read"),
        pytest.param(decided(ended(3), " \n"), id="a log without words"),
        pytest.param(
            decided(ended(3), spec={"retry": {"policy": "Same", "maxRetries": 1}}),
            id="an attempt that another one follows: its pod stays",
        ),
    ],
)
def test_nothing_is_kept_of(decision: RunDecision) -> None:
    assert kept(decision) == []
    assert decision.status.result is None or decision.status.result.log_config_map is None


@pytest.mark.parametrize("outcome", Outcome)
def test_the_log_is_kept_of_every_end_but_a_good_one(outcome: Outcome) -> None:
    view = replace(run_view(run(status=STARTED), gateway=gateway(metered())), log_end=TRACE)
    good = {Outcome.SUCCEEDED, Outcome.LIMIT}
    assert (keep(view, outcome) is None) is (outcome in good)
