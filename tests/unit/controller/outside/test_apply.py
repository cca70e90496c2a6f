"""What is carried out after a status was written."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from laneway.api.reasons import EventReason
from laneway.controller.decision.effects import DeletePod, DeleteRun, PostEvent
from laneway.controller.memory.world import World, make_cache
from laneway.controller.outside.apply import Applier
from laneway.controller.outside.gateway import GatewayClient
from laneway.kube.errors import Conflict, KubeError, Unavailable
from laneway.kube.resources import AGENT_RUNS, EVENTS, PODS
from support.builders import meta
from support.clock import StillClock
from support.memory import MemoryKube
from support.objects import raw_run

ENDED = PostEvent(EventReason.ATTEMPT_ENDED, "attempt 1: spec.cancel was set", key="ended-1")


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(Unavailable("no answer from the API server"), id="no answer"),
        pytest.param(Conflict("refused", status=409), id="a conflict"),
    ],
)
async def test_a_deletion_that_fails_takes_no_event_of_its_decision_with_it(error: KubeError) -> None:
    kube: Any = MemoryKube()
    clock = StillClock()
    gateway = GatewayClient(url="http://127.0.0.1:9", secret="s", clock=clock)
    world = World(make_cache(), on_change=lambda change: None)
    applier = Applier(kube=kube, world=world, gateway=gateway, clock=clock, instance="o")
    kube.fails = {PODS: error}
    with pytest.raises(type(error)):
        await applier.finish((DeletePod("team-a", "hello-1", "uid"), ENDED), kind=AGENT_RUNS.kind, meta=meta())
    await applier.all_told()
    assert [obj["note"] for (kind, *_), obj in kube.objects.items() if kind is EVENTS] == [ENDED.message]


async def test_a_run_whose_time_is_over_is_deleted_only_in_the_version_that_was_looked_at() -> None:
    kube: Any = MemoryKube()
    clock = StillClock()
    gateway = GatewayClient(url="http://127.0.0.1:9", secret="s", clock=clock)
    world = World(make_cache(), on_change=lambda change: None)
    applier = Applier(kube=kube, world=world, gateway=gateway, clock=clock, instance="o")
    looked_at = raw_run()
    changed = kube.change(AGENT_RUNS, looked_at)
    for run, left in ((looked_at, [changed]), (changed, [])):
        known = run["metadata"]
        effect = DeleteRun(known["namespace"], known["name"], known["uid"], known["resourceVersion"])
        with pytest.raises(Conflict) if left else contextlib.nullcontext():
            await applier.finish((effect,), kind=AGENT_RUNS.kind, meta=meta())
        assert list(kube.objects.values()) == left
