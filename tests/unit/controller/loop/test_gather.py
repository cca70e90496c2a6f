"""What is gathered for a decision from outside the cache: the log of an agent that has no gateway."""

from __future__ import annotations

from typing import Any

import pytest

from laneway.api import names
from laneway.api.base import Condition
from laneway.api.reasons import Cause
from laneway.api.runstatus import AgentRunStatus
from laneway.controller.facts.presets import LogParser, Preset
from laneway.controller.facts.views import RunView
from laneway.controller.logs.trouble import trouble_of
from laneway.controller.loop.gather import Gatherer
from laneway.controller.memory.world import World, make_cache
from laneway.controller.outside.gateway import GatewayClient
from laneway.kube.resources import AGENT_RUNS, MODEL_LANES, PODS, JsonObject, Key, Resource
from laneway.rules.token import TokenKeys
from support.builders import at
from support.clock import StillClock
from support.memory import MemoryKube
from support.objects import raw_lane, raw_pod, raw_run

ENDED = {
    "type": "Finished",
    "status": "True",
    "reason": "Completed",
    "message": "",
    "lastTransitionTime": "2026-03-01T12:00:00Z",
    "observedGeneration": 1,
}
LOG = '{"type":"result","is_error":true,"api_error_status":529,"result":"Overloaded"}\n'
STEP = {"lane": "local", "namespace": "team-a", "model": "smollm2"}


class Logs(MemoryKube):
    """Every pod has the same log."""

    async def read_log(self, namespace: str, pod: str, **_: Any) -> str:
        return LOG


def status(**begun: Any) -> AgentRunStatus:
    """Attempt 1 holds a slot."""
    told = {"status": "True", "reason": "SlotGranted", "message": "", "lastTransitionTime": "2026-03-01T12:00:00Z"}
    return AgentRunStatus.model_validate(
        {
            "conditions": [{**told, "type": "Admitted", "observedGeneration": 1}],
            "attempt": 1,
            "attempts": [{"id": 1, "step": STEP, "admittedTime": "2026-03-01T12:00:00Z", **begun}],
            "step": STEP,
        }
    )


def ended_pod(run: str, *, code: int, message: str) -> JsonObject:
    ended = {"exitCode": code, "startedAt": "2026-03-01T12:00:02Z", "finishedAt": "2026-03-01T12:00:10Z"}
    pod = raw_pod(run, phase="Failed")
    container = {"name": names.AGENT_CONTAINER, "state": {"terminated": {**ended, "message": message}}}
    return {**pod, "status": {**pod["status"], "containerStatuses": [container]}}


async def view_of(
    run: str = "hello",
    *,
    preset: str = "laneway",
    parser: LogParser = LogParser.STREAM_JSON,
    lane: JsonObject | None = None,
    code: int = 1,
    message: str = "",
    **begun: Any,
) -> RunView:
    """The view of a run whose agent has ended, with a preset of any name that reads logs in one way."""
    kube: Any = Logs()
    world = World(
        make_cache(),
        on_change=lambda change: None,
    )

    def add(resource: Resource, obj: JsonObject) -> None:
        world.absorb(resource, kube.add(resource, obj))

    if lane is not None:
        add(MODEL_LANES, lane)
    add(AGENT_RUNS, raw_run(run, spec={"agent": {"preset": preset}}, status=status(**begun)))
    add(PODS, ended_pod(run, code=code, message=message))
    gatherer = Gatherer(
        kube=kube,
        world=world,
        gateway=GatewayClient(url="http://127.0.0.1:9", secret="s", clock=StillClock()),
        presets={preset: Preset(description="An agent.", image="agent:1", log_parser=parser)},
        keys=TokenKeys(current="k", keys={"k": b"k" * 32}),
        agent_image="laneway:test",
        gateway_url="http://gateway",
    )
    found = world.run(Key("team-a", run))
    assert found is not None
    return await gatherer.run_view(found, None)


class Remembering(GatewayClient):
    """Notes which runs it was told to forget."""

    def __init__(self) -> None:
        super().__init__(url="http://127.0.0.1:9", secret="s", clock=StillClock())
        self.forgotten: list[str] = []

    def forget(self, run_uid: str) -> None:
        self.forgotten.append(run_uid)
        super().forget(run_uid)


@pytest.mark.parametrize(
    ("finished", "usage", "forgotten"),
    [
        pytest.param("True", {"source": "Gateway", "complete": True}, True, id="one that has ended, with its usage"),
        pytest.param("True", {"complete": False}, False, id="not one whose usage the gateway still owes"),
        pytest.param("False", {"source": "Gateway", "complete": False}, False, id="nor one that goes on"),
    ],
)
async def test_what_the_gateway_told_of_a_run_is_forgotten(
    finished: str, usage: JsonObject, *, forgotten: bool
) -> None:
    kube: Any = MemoryKube()
    world = World(make_cache(), on_change=lambda change: None)
    told = status(usage=usage)
    end = Condition.model_validate({**ENDED, "status": finished})
    world.absorb(AGENT_RUNS, raw_run(status=told.model_copy(update={"conditions": (*told.conditions, end)})))
    gateway = Remembering()
    gatherer = Gatherer(
        kube=kube,
        world=world,
        gateway=gateway,
        presets={"laneway": Preset(description="An agent.", image="agent:1", log_parser=LogParser.NONE)},
        keys=TokenKeys(current="k", keys={"k": b"k" * 32}),
        agent_image="laneway:test",
        gateway_url="http://gateway",
    )
    found = world.run(Key("team-a", "hello"))
    assert found is not None
    await gatherer.run_view(found, None)
    assert (gateway.forgotten == [found.meta.uid]) is forgotten


@pytest.mark.row("S3.8")
@pytest.mark.parametrize(
    ("run", "preset"),
    [
        pytest.param("hello", "laneway", id="a shipped preset"),
        pytest.param("renamed", "laneway", id="a run of another name"),
        pytest.param("hello", "our-own-agent", id="a preset of another name"),
    ],
)
async def test_the_log_is_read_as_the_preset_says_whatever_anything_is_called(run: str, preset: str) -> None:
    view = await view_of(run, preset=preset, lane=raw_lane())
    assert view.envelope is not None
    found = trouble_of(view.envelope, sent=at(2), seen=at(10))
    assert found is not None
    assert found.cause is Cause.API_TRANSIENT


@pytest.mark.row("S3.8")
async def test_a_preset_without_a_parser_has_no_log_read_however_it_is_called() -> None:
    assert (await view_of(parser=LogParser.NONE, lane=raw_lane())).envelope is None


GATEWAY = raw_lane(spec={"access": "Gateway"})


@pytest.mark.parametrize(
    ("case", "is_read"),
    [
        pytest.param({"lane": raw_lane()}, True, id="on a Direct lane"),
        pytest.param({"access": "Direct"}, True, id="of an attempt that began on a Direct lane which is gone"),
        pytest.param({"lane": GATEWAY, "access": "Direct"}, True, id="or was made anew as another"),
        pytest.param({"lane": GATEWAY}, False, id="not on a Gateway lane"),
        pytest.param({"lane": raw_lane(), "access": "Gateway"}, False, id="nor of an attempt that began on one"),
        pytest.param({"lane": GATEWAY, "code": 143}, True, id="there of one that was killed"),
        pytest.param({"lane": GATEWAY, "code": 0}, True, id="and of one that left no summary"),
        pytest.param({"lane": GATEWAY, "code": 0, "message": "Paris."}, False, id="not of one that left one"),
    ],
)
async def test_whose_log_is_read(case: dict[str, Any], *, is_read: bool) -> None:
    view = await view_of(**case)
    assert (view.envelope is not None) is is_read
    assert view.log_blank is (False if is_read else None)
