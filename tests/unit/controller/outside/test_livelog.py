"""The log of an agent that runs: read only where a watchdog wants to know, and what its lines with their times tell."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from laneway.api.health import Stopped
from laneway.api.reasons import StopReason
from laneway.controller.facts.views import LiveLog, RunView
from laneway.controller.outside.livelog import looked, told
from laneway.kube.errors import Forbidden, NotFound, Unavailable
from support.builders import admitted, at, gateway, metered, run, run_view, running


def line(second: int, words: str) -> str:
    return f"2026-03-01T12:00:{second:02}.123456789Z {words}\n"


def stamp(second: int) -> datetime:
    return datetime(2026, 3, 1, 12, 0, second, 123456, tzinfo=UTC)


def result(**fields: Any) -> str:
    return json.dumps({"type": "result", "is_error": False, "result": "Paris.", **fields})


WORK = json.dumps({"type": "assistant", "message": {"content": [{"type": "text", "text": "Paris."}]}})

TOLD = [
    pytest.param("", LiveLog(), id="nothing"),
    pytest.param("no time here\n", LiveLog(), id="a line without a time"),
    pytest.param("2026-03-01T12:00:07 words\n", LiveLog(), id="a time without a zone"),
    pytest.param(line(7, "building"), LiveLog(stamp(7)), id="a line"),
    pytest.param(line(7, "building").strip(), LiveLog(stamp(7)), id="a line that has no end yet"),
    pytest.param("2026-03-01T13:00:07.123456789+01:00 x", LiveLog(stamp(7)), id="a node in another time zone"),
    pytest.param(line(7, "a") + line(9, "b"), LiveLog(stamp(9)), id="the last of several"),
    pytest.param(line(7, WORK) + line(8, result()), LiveLog(stamp(8), stamp(8), succeeded=True), id="a result"),
    pytest.param(line(8, result()) + line(9, "bye"), LiveLog(stamp(9), stamp(8), succeeded=True), id="chatter behind a result"),
    pytest.param(line(8, result()) + line(9, WORK), LiveLog(stamp(9)), id="work behind a result"),
    pytest.param(line(8, result(is_error=True)), LiveLog(stamp(8), stamp(8)), id="a result that is an error"),
]  # fmt: skip


@pytest.mark.row("S3.28", "S4.17")
@pytest.mark.parametrize(("text", "expected"), TOLD)
def test_what_a_log_tells(text: str, expected: LiveLog) -> None:
    assert told(text) == expected


class Kubelet:
    """Answers with a log, or with an error, and counts how often it was asked for how much."""

    def __init__(self, answer: str | Exception) -> None:
        self._answer = answer
        self.reads: list[tuple[int, bool]] = []

    async def read_log(self, *_: str, tail_lines: int, timestamps: bool = False, **__: Any) -> str:
        self.reads.append((tail_lines, timestamps))
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


def view(*, stopped: StopReason | None = None, **timeouts: int) -> RunView:
    """An agent that was last heard of at 9 s."""
    why = Stopped(reason=stopped, time=at(50), message="") if stopped else None
    status = admitted(start_time=at(2), stopped=why)
    pod = running(deleting=stopped is not None)
    return run_view(
        run(spec={"timeouts": timeouts}, status=status), pods=(pod,), gateway=gateway(metered(closed=False))
    )


@pytest.mark.parametrize(
    ("the_view", "now", "reads"),
    [
        pytest.param(view(), 608, [], id="not of an agent that calls"),
        pytest.param(view(), 609, [(1, True)], id="one line of an agent that is silent for ten minutes"),
        pytest.param(view(graceAfterResultSeconds=30), 39, [(50, True)], id="the end, where a result is looked for"),
        pytest.param(view(stopped=StopReason.IDLE), 5000, [], id="not of an agent that is being stopped"),
        pytest.param(view(stopped=StopReason.LINGERED), 60, [(50, False)], id="the result of one that is stopped after it"),
    ],
)  # fmt: skip
async def test_the_log_is_read_where_somebody_wants_to_know(
    the_view: RunView, now: float, reads: list[tuple[int, bool]]
) -> None:
    kubelet: Any = Kubelet(line(7, result()))
    await looked(kubelet, the_view, at(now))
    assert kubelet.reads == reads


async def test_what_was_read_stands_in_the_view() -> None:
    kubelet: Any = Kubelet(line(7, "building"))
    assert (await looked(kubelet, view(), at(700))).live_log == LiveLog(stamp(7))
    kubelet = Kubelet(result() + "\n")
    leaving = await looked(kubelet, view(stopped=StopReason.LINGERED), at(60))
    assert leaving.envelope is not None
    assert leaving.envelope.result_text == "Paris."


@pytest.mark.row("S4.21")
@pytest.mark.parametrize(
    "error",
    [
        pytest.param(NotFound("gone", status=404), id="the pod is gone"),
        pytest.param(Forbidden("no", status=403), id="no right"),
        pytest.param(Unavailable("down"), id="the node does not answer"),
        pytest.param(TimeoutError(), id="it takes too long"),
    ],
)
async def test_a_log_that_cannot_be_read_is_unknown(error: Exception) -> None:
    kubelet: Any = Kubelet(error)
    assert (await looked(kubelet, view(), at(700))).live_log is None
