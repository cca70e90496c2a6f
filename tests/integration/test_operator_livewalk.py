"""Running attempts that move to a smaller lane, on the real API server: who has a slot of it is judged on every event of runs and pods."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from integration.operators import Stage, condition
from laneway.kube.client import Kube
from laneway.kube.resources import JsonObject
from support.gatewaystandin import GatewayStandIn, gateway_stand_in
from support.hall import open_attempt
from support.slots import live_moves, most_slots
from support.standin import Part
from support.witness import most_at_once, pods_of

BIG, SMALL = "big", "small"


@pytest.fixture
def stage(stage: Stage) -> Stage:
    stage.listen()
    return stage


@pytest.fixture
async def gateway(stage: Stage, kube: Kube, namespace: str) -> AsyncIterator[GatewayStandIn]:
    port = int(stage.settings["LANEWAY_OPERATOR_PORT"])
    async with gateway_stand_in(kube, namespace, port=port) as standing:
        yield standing


async def add_lanes(stage: Stage, gateway: GatewayStandIn, *, big: int, small: int) -> None:
    for name, slots in ((BIG, big), (SMALL, small)):
        gateway.serve_lane(await stage.add_lane({"access": "Gateway"}, name=name, slots=slots))


class Agents:
    """The agents of some runs: at a word all of them meet a model that refuses them, and go on where they are let."""

    def __init__(self, stage: Stage, gateway: GatewayStandIn) -> None:
        self._stage = stage
        self._gateway = gateway
        self._parts: dict[str, Part] = {}
        self.runs: list[JsonObject] = []
        self.went_on: set[str] = set()
        self.gave_up: set[str] = set()

    async def begin(self, count: int) -> None:
        """Make runs with a step on each lane, and wait until their agents are at work on the big one."""
        for number in range(count):
            name = f"run-{number:02}"
            self._parts[name] = self._stage.node.play(name, Part.held())
            self.runs.append(await self._stage.add_run(name, {"models": [{"lane": BIG}, {"lane": SMALL}]}))
        await self._stage.runs.until(lambda: all(self._is_recorded(run) for run in self.runs), seconds=120)

    def _is_recorded(self, run: JsonObject) -> bool:
        uid = run["metadata"]["uid"]
        attempt = open_attempt(self._stage.last(uid))
        seen = self._gateway.views.run(uid)
        return bool(attempt and attempt.get("startTime")) and seen is not None and seen.attempt == 1

    async def meet_refusals(self, *, held: dict[int, float]) -> None:
        """Every agent's call fails and is held, for a minute and a half or as said by number."""
        await asyncio.gather(*(self._live(run, held.get(n, 90)) for n, run in enumerate(self.runs)))

    async def _live(self, run: JsonObject, seconds: float) -> None:
        """An agent whose call goes on leaves well; one whose call is refused fails, and its next pod leaves well."""
        uid, name = run["metadata"]["uid"], run["metadata"]["name"]
        failure = self._gateway.fail(uid)
        moved = await self._gateway.hold(uid, failure, seconds=seconds)
        part = self._parts[name]
        if moved is not None:
            assert moved.lane is not None
            assert moved.lane[1] == SMALL
            self._gateway.succeed(uid)
            self.went_on.add(uid)
        else:
            self._stage.node.play(name, Part())
            part.exit_code = 1
            self.gave_up.add(uid)
        part.released.set()


@pytest.mark.row("S2.3", "S2.4", "S2.32")
async def test_a_lane_of_fifty_fails_over_to_a_lane_of_two_and_never_more_than_two_runs_are_on_it(
    stage: Stage, gateway: GatewayStandIn
) -> None:
    await add_lanes(stage, gateway, big=50, small=2)
    stage.start()
    agents = Agents(stage, gateway)
    await agents.begin(50)
    await agents.meet_refusals(held=dict.fromkeys(range(40, 50), 0.3))
    ended = await stage.finished(*agents.runs, seconds=180)
    assert {condition(run, "Finished")["reason"] for run in ended} == {"Completed"}
    assert most_slots(stage.runs, stage.pods, SMALL) == 2
    assert most_at_once(stage.pods, lane=SMALL) <= 2
    assert most_slots(stage.runs, stage.pods, BIG) == 50
    assert len(agents.went_on) >= 10
    assert len(agents.gave_up) >= 5
    for run in ended:
        uid = run["metadata"]["uid"]
        live = uid in agents.went_on
        assert len(pods_of(stage.pods, uid)) == (1 if live else 2)
        assert live_moves(run) == ([(BIG, SMALL)] if live else [])
        assert run["status"]["attempts"][-1]["step"]["lane"] == SMALL
        assert run["spec"]["activeModel"]["lane"] == SMALL


@pytest.mark.row("S2.4", "S2.32")
async def test_an_operator_that_is_killed_while_attempts_move_loses_none_and_passes_no_bound(
    stage: Stage, gateway: GatewayStandIn
) -> None:
    await add_lanes(stage, gateway, big=8, small=2)
    first = stage.start()
    agents = Agents(stage, gateway)
    await agents.begin(8)
    moving = asyncio.create_task(agents.meet_refusals(held={}))
    await stage.runs.until(lambda: any(live_moves(run) for run in stage.runs.objects().values()))
    first.kill()
    await stage.free_lease()
    stage.start()
    ended = await stage.finished(*agents.runs, seconds=90)
    await moving
    assert {condition(run, "Finished")["reason"] for run in ended} == {"Completed"}
    assert len(agents.went_on) == 8
    assert most_slots(stage.runs, stage.pods, SMALL) <= 2
    assert all(len(pods_of(stage.pods, run["metadata"]["uid"])) == 1 for run in ended)
