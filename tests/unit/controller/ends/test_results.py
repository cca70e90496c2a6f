"""What is left of an agent's words when its pod is gone."""

from __future__ import annotations

import pytest

from laneway.agent.envelope import EnvelopeSummary
from laneway.api.runstatus import Result
from laneway.controller.ends.results import result_of
from support.builders import admitted, at, ended, gateway, lane, metered, run, run_view

STARTED = admitted(pod="hello-hello-01-1", pod_uid="pod-uid", start_time=at(2))
DIRECT = lane(spec={"access": "Direct"})


def result(message: str = "", text: str | None = None, *, succeeded: bool = True) -> Result:
    envelope = EnvelopeSummary(finished=True, result_text=text)
    view = run_view(run(status=STARTED), lane=DIRECT, pods=(ended(0, message=message),), envelope=envelope)
    return result_of(view, has_words=succeeded, exit_code=0)


@pytest.mark.row("S0.21")
@pytest.mark.parametrize(
    ("message", "text", "summary"),
    [
        pytest.param("Paris.", "from the log", "Paris.", id="the termination message comes first"),
        pytest.param("", "from the log", "from the log", id="then the log"),
        pytest.param(" \n", "from the log", "from the log", id="white space is no message"),
        pytest.param("", "Work.\n## Summary\nDone.\n## Rest\nx", "Done.", id="of the log the summary, if it has one"),
        pytest.param("", None, None, id="no words"),
        pytest.param("", "  ", None, id="no words but white space"),
    ],
)
def test_where_the_summary_comes_from(message: str, text: str | None, summary: str | None) -> None:
    assert result(message, text).summary == summary


@pytest.mark.parametrize(
    ("message", "text", "summary", "truncated"),
    [
        pytest.param("", "x" * 4000, "x" * 4000, None, id="4000 bytes are kept whole"),
        pytest.param("", "x" * 5000, "x" * 4096, True, id="5000 are cut"),
        pytest.param("", "é" * 4096, "é" * 2048, True, id="bytes count, not characters"),
        pytest.param("", "x" + "é" * 4096, "x" + "é" * 2047, True, id="a character is not cut in two"),
        pytest.param("x" * 4096, None, "x" * 4096, True, id="as much as the kubelet takes was cut by it"),
        pytest.param("é" * 2046 + "x", None, "é" * 2046 + "x", True, id="or by an agent that cuts at a character"),
    ],
)
def test_a_summary_has_at_most_4096_bytes_and_says_when_it_was_cut(
    message: str, text: str | None, summary: str, *, truncated: bool | None
) -> None:
    found = result(message, text)
    assert (found.summary, found.truncated) == (summary, truncated)


def test_a_failure_has_no_summary() -> None:
    assert result("half an answer", "half", succeeded=False) == Result(exit_code=0)
    assert result("x" * 5000, None, succeeded=False) == Result(exit_code=0)


@pytest.mark.row("S0.16")
@pytest.mark.parametrize(
    ("direct", "reason"), [(True, "end_turn"), (False, "stop")], ids=["Direct: the log's", "Gateway: the gateway's"]
)
def test_why_the_model_stopped_is_told_by_who_saw_it(reason: str, *, direct: bool) -> None:
    envelope = EnvelopeSummary(finished=True, finish_reason="end_turn")
    view = run_view(
        run(status=STARTED),
        lane=DIRECT if direct else lane(),
        pods=(ended(0),),
        envelope=envelope,
        gateway=gateway(metered()),
    )
    assert result_of(view, has_words=True, exit_code=0).finish_reason == reason
