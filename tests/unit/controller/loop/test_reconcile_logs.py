"""The end of a failed agent's log through whole passes: it is read, kept and named, and the run ends whatever becomes of it."""

from __future__ import annotations

from typing import Any

import pytest

from laneway.api import names
from laneway.api.reasons import End
from laneway.kube.errors import Forbidden, Invalid, KubeError, NotFound, Unavailable
from laneway.kube.resources import AGENT_RUNS, CONFIG_MAPS, PODS, JsonObject
from support.builders import admitted, at
from support.objects import raw_pod, raw_run
from unit.controller.loop.test_reconcile import HELLO, POD, Desk

LOG = "hello-hello-01-log"
EXITED = {"exitCode": 3, "startedAt": "2026-03-01T12:00:02Z", "finishedAt": "2026-03-01T12:00:10Z"}
BEGAN = {"startedAt": "2026-03-01T12:00:02Z"}


def desk_of(phase: str, state: JsonObject, **meta: Any) -> Desk:
    """A run on a Direct lane whose agent began at 2 s and has written something."""
    desk = Desk()
    desk.add(
        AGENT_RUNS, raw_run(version=2, status=admitted(start_time=at(2), pod=POD, pod_uid="pod-of-hello-1"), spec=meta)
    )
    pod = raw_pod(phase=phase, version=3)
    pod["status"]["containerStatuses"] = [{"name": names.AGENT_CONTAINER, "state": state}]
    desk.add(PODS, pod)
    desk.kube.logs[POD] = "no such file\n"
    return desk


def failed() -> Desk:
    return desk_of("Failed", {"terminated": EXITED})


def kept(desk: Desk) -> JsonObject | None:
    """What is kept of the log, which the run names."""
    run = desk.world.run(HELLO.key)
    assert run is not None
    assert run.finished
    assert run.status.result is not None
    assert run.status.result.log_config_map == LOG
    found: JsonObject | None = desk.kube.objects.get((CONFIG_MAPS, "team-a", LOG))
    return found["data"] if found else None


async def test_the_end_of_a_failed_agents_log_is_kept() -> None:
    desk = failed()
    await desk.reconciler.reconcile(HELLO)
    assert kept(desk) == {"log": "no such file"}
    writes = list(desk.kube.writes)
    await desk.reconciler.reconcile(HELLO)
    assert desk.kube.writes == writes


@pytest.mark.parametrize(
    "refusal",
    [
        pytest.param(Forbidden("exceeded quota: small", status=403), id="a quota"),
        pytest.param(Forbidden("cannot create resource configmaps", status=403), id="a missing right"),
        pytest.param(NotFound("namespace team-a not found", status=404), id="a namespace that goes"),
        pytest.param(Invalid("data: too long", status=422), id="a policy"),
    ],
)
async def test_a_run_ends_although_its_log_cannot_be_kept_for(refusal: KubeError) -> None:
    desk = failed()
    desk.kube.fails = {CONFIG_MAPS: refusal}
    await desk.reconciler.reconcile(HELLO)
    assert kept(desk) is None


async def test_a_config_map_of_that_name_that_is_not_the_runs_is_left_alone() -> None:
    desk = failed()
    other = desk.kube.add(CONFIG_MAPS, {"metadata": {"name": LOG, "namespace": "team-a"}, "data": {"mine": "1"}})
    await desk.reconciler.reconcile(HELLO)
    assert kept(desk) == other["data"] == {"mine": "1"}


@pytest.mark.row("S4.21")
@pytest.mark.parametrize("lands", [False, True], ids=["not done", "done, and its answer lost"])
@pytest.mark.parametrize("resource", [CONFIG_MAPS, AGENT_RUNS])
async def test_a_write_that_fails_on_the_way_is_done_again(resource: Any, *, lands: bool) -> None:
    desk = failed()
    desk.kube.fails, desk.kube.lands = {resource: Unavailable("no answer from the API server")}, lands
    with pytest.raises(Unavailable):
        await desk.reconciler.reconcile(HELLO)
    desk.kube.fails, desk.kube.lands = {}, False
    if lands:
        desk.world.absorb(AGENT_RUNS, desk.kube.objects[AGENT_RUNS, "team-a", "hello"])
    await desk.reconciler.reconcile(HELLO)
    assert kept(desk) == {"log": "no such file"}


async def test_the_log_of_an_agent_that_is_stopped_is_read_while_its_pod_leaves() -> None:
    desk = desk_of("Running", {"running": BEGAN}, timeouts={"attemptSeconds": 60})
    desk.clock.move(100)
    await desk.reconciler.reconcile(HELLO)
    assert ("delete pods", POD) in desk.kube.writes
    leaving = raw_pod(version=9)
    leaving["status"]["containerStatuses"] = [{"name": names.AGENT_CONTAINER, "state": {"running": BEGAN}}]
    leaving["metadata"]["deletionTimestamp"] = "2026-03-01T12:02:00Z"
    desk.add(PODS, leaving)
    await desk.reconciler.reconcile(HELLO)
    assert kept(desk) == {"log": "no such file"}
    run = desk.world.run(HELLO.key)
    assert run is not None
    assert run.status.reason == End.ATTEMPT_TIMEOUT
