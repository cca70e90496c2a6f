"""A silent agent through whole passes: its log is read, its pod stopped, its run ended, whichever write fails on the way."""

from __future__ import annotations

from typing import Any

import pytest

from laneway.api import names
from laneway.api.reasons import End, EventReason, StopReason
from laneway.kube.errors import KubeError, Unavailable
from laneway.kube.resources import AGENT_RUNS, EVENTS, PODS, JsonObject, Key
from support.builders import admitted, at
from support.objects import raw_pod, raw_run
from unit.controller.loop.test_reconcile import HELLO, POD, Desk

LAST_LINE = "2026-03-01T12:05:00.5Z building"
ENDED = (End.IDLE_TIMEOUT, StopReason.IDLE)


def silent() -> Desk:
    """An agent on a Direct lane that began at 2 s and wrote its last line after 5 minutes."""
    desk = Desk()
    status = admitted(start_time=at(2), pod=POD, pod_uid="pod-of-hello-1")
    desk.add(AGENT_RUNS, raw_run(version=2, status=status))
    running: JsonObject = raw_pod(version=3)
    container = {"name": names.AGENT_CONTAINER, "state": {"running": {"startedAt": "2026-03-01T12:00:02Z"}}}
    running["status"]["containerStatuses"] = [container]
    desk.add(PODS, running)
    desk.kube.logs[POD] = f"{LAST_LINE}\n"
    return desk


async def passes(desk: Desk) -> None:
    """Passes until the pod is gone and the end is written; what was deleted is told by the watch."""
    for _ in range(4):
        try:
            await desk.reconciler.reconcile(HELLO)
        except KubeError:
            desk.kube.fails.clear()
        await desk.reconciler.all_told()
        pod = desk.world.cache.get(PODS, Key("team-a", POD))
        if pod is not None and (PODS, "team-a", POD) not in desk.kube.objects:
            desk.world.cache.remove(PODS, pod)


def outcome(desk: Desk) -> tuple[Any, ...]:
    run = desk.world.run(HELLO.key)
    assert run is not None
    stopped = run.status.attempts[-1].stopped
    return run.status.reason, stopped and stopped.reason


@pytest.mark.row("S4.17")
async def test_a_silent_agent_is_left_alone_until_its_time_has_come() -> None:
    desk = silent()
    desk.clock.move(300 + 1200)
    await passes(desk)
    assert outcome(desk) == ("Running", None)
    assert (PODS, "team-a", POD) in desk.kube.objects
    desk.clock.move(1)
    await passes(desk)
    assert outcome(desk) == ENDED
    assert (PODS, "team-a", POD) not in desk.kube.objects
    events = [obj["reason"] for (kind, *_), obj in desk.kube.objects.items() if kind is EVENTS]
    assert events.count(EventReason.RUN_IDLE) == 1


@pytest.mark.row("S4.17", "S4.46")
@pytest.mark.parametrize(
    "lands", [pytest.param(False, id="not done"), pytest.param(True, id="done, and its answer lost")]
)
@pytest.mark.parametrize("resource", [AGENT_RUNS, PODS])
async def test_a_write_that_fails_on_the_way_changes_nothing_of_the_end(resource: Any, *, lands: bool) -> None:
    desk = silent()
    desk.clock.move(1600)
    desk.kube.fails, desk.kube.lands = {resource: Unavailable("no answer from the API server")}, lands
    await passes(desk)
    desk.kube.fails, desk.kube.lands = {}, False
    if lands:
        desk.world.absorb(AGENT_RUNS, desk.kube.objects[AGENT_RUNS, "team-a", "hello"])
    await passes(desk)
    assert outcome(desk) == ENDED
    assert [write for write in desk.kube.writes if write[0] == "create pods"] == []


@pytest.mark.row("S4.21")
async def test_a_log_that_cannot_be_read_ends_nothing() -> None:
    desk = silent()
    desk.kube.logs.clear()
    desk.clock.move(9000)
    await passes(desk)
    assert outcome(desk) == ("Running", None)
