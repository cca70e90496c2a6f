"""One screen of ``top``."""

from __future__ import annotations

from typing import Any

from laneway.api.base import format_time
from laneway.api.modellane import ModelLaneStatus
from laneway.cli.rows import NamedLane
from laneway.cli.screen import Sight, fitted, lines_of
from support.builders import NOW, at, lane

LANE = NamedLane("team-a", "local", NOW, lane().spec, ModelLaneStatus())


def seen(
    name: str, phase: str | None, *, namespace: str = "team-a", ended: float | None = None, position: int | None = None
) -> dict[str, Any]:
    status: dict[str, Any] = {"phase": phase} if phase else {}
    if ended is not None:
        status["completionTime"] = format_time(at(ended))
    if position is not None:
        status["queue"] = {"position": position}
    meta = {"name": name, "namespace": namespace, "creationTimestamp": format_time(at(-600))}
    return {"metadata": meta, "status": status}


RUNS = [
    seen("old", "Succeeded", ended=-300),
    seen("late", "Succeeded", ended=-10),
    seen("second", "Queued", position=2),
    seen("new", None),
    seen("first", "Queued", position=1),
    seen("works", "Running"),
    seen("bad", "Failed", ended=-60),
]


def test_runs_at_work_come_first_then_the_queue_by_place_and_the_ended_last() -> None:
    lines = lines_of(Sight([LANE], RUNS, NOW, "team-a"), colours=False)
    assert lines[0] == "team-a   12:00:00Z   runs: 1 Running, 2 Queued, 1 Pending, 1 Failed, 2 Succeeded"
    assert [line.split()[0] for line in lines[2:] if line] == [
        "LANE", "local", "NAME", "works", "first", "second", "new", "bad", "late", "old",
    ]  # fmt: skip


def test_all_namespaces_are_told_apart_and_silence_is_said() -> None:
    sight = Sight([LANE], [seen("hello", "Running", namespace="team-b")], NOW, "", silent_seconds=95)
    lines = lines_of(sight, colours=False)
    assert lines[0].startswith("all namespaces")
    assert lines[0].endswith("nothing heard for 95 s")
    assert lines[3].startswith("team-a/local")
    assert lines[-1].split()[:2] == ["team-b", "hello"]


def test_what_does_not_fit_is_counted_and_colours_take_no_place() -> None:
    assert fitted(["one", "two", "three", "four"], columns=4, rows=3) == ["one", "two", "... "]
    assert fitted(["one", "two", "three", "four"], columns=80, rows=3)[-1] == "... and 2 more lines"
    assert fitted(["one", "two"], columns=80, rows=2) == ["one", "two"]
    assert fitted(["a \x1b[31mFailed\x1b[0m b"], columns=5, rows=1) == ["a \x1b[31mFai\x1b[0m\x1b[0m"]
    coloured = lines_of(Sight([], [seen("bad", "Failed", ended=-1)], NOW, "team-a"), colours=True)
    assert "\x1b[31mFailed\x1b[0m" in coloured[-1]
