"""Many runs at once from a lane that refuses to a much smaller one, with the real operator, the real gateway and a model server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from integration.agents import add_lane, call, reachable_server, start_both
from integration.operators import Stage, condition
from laneway.kube.resources import JsonObject
from modelserver import ModelServer, Step
from support.slots import live_moves, most_slots
from support.standin import Part
from support.witness import most_at_once, pods_of

BIG, SMALL = "big", "small"
BIG_SLOTS, SMALL_SLOTS, RUNS = 50, 2, 52
_GOOD = 200


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with reachable_server(models={BIG: 8192, SMALL: 8192}) as server:
        server.play([Step(status=429, model=BIG, repeat=None)])
        yield server


async def next_pod(stage: Stage, run: JsonObject, had: set[str]) -> JsonObject:
    """The run's next pod, once its agent is at work."""
    uid = run["metadata"]["uid"]

    def running() -> list[JsonObject]:
        return [
            pod
            for pod in stage.pods.objects().values()
            if pod["metadata"]["labels"].get("laneway.dev/run-uid") == uid
            and pod["metadata"]["uid"] not in had
            and (pod.get("status") or {}).get("phase") == "Running"
        ]

    await stage.pods.until(running, seconds=150)
    return running()[0]


async def live(stage: Stage, run: JsonObject, begin: asyncio.Event) -> int:
    """An agent that makes one call and leaves: well if it was answered, else its run goes on with another. Answers how many it took."""
    name, had = run["metadata"]["name"], set[str]()
    while True:
        part = stage.node.play(name, Part.held())
        pod = await next_pod(stage, run, had)
        had.add(pod["metadata"]["uid"])
        await begin.wait()
        status, _ = await call(stage, pod)
        part.exit_code = 0 if status == _GOOD else 1
        part.released.set()
        if status == _GOOD:
            return len(had)


@pytest.mark.row("S2.3", "S2.4", "S2.32", "C10")
async def test_fifty_attempts_go_on_to_a_lane_of_two_and_never_more_than_two_are_on_it(
    stage: Stage, server: ModelServer
) -> None:
    await start_both(stage)
    await add_lane(stage, server, name=BIG, models=[{"name": BIG}], capacity={"runs": BIG_SLOTS})
    await add_lane(stage, server, name=SMALL, models=[{"name": SMALL}], capacity={"runs": SMALL_SLOTS})
    begin = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        runs = [
            await stage.add_run(f"run-{number:02}", {"models": [{"lane": BIG}, {"lane": SMALL}]})
            for number in range(RUNS)
        ]
        agents = [group.create_task(live(stage, run, begin)) for run in runs]
        await stage.runs.until(lambda: stage.runs.objects() and running_on(stage, BIG) == BIG_SLOTS, seconds=120)
        begin.set()
        ended = await stage.finished(*runs, seconds=180)
    assert {condition(run, "Finished")["reason"] for run in ended} == {"Completed"}
    assert most_slots(stage.runs, stage.pods, SMALL) == SMALL_SLOTS
    assert most_at_once(stage.pods, lane=SMALL) <= SMALL_SLOTS
    assert most_slots(stage.runs, stage.pods, BIG) == BIG_SLOTS
    asked = [request.model for request in server.requests if request.model]
    assert asked.count(SMALL) == RUNS, "each run is answered once"
    moved = [run for run in ended if live_moves(run)]
    print(f"{len(moved)} went on in the middle, {sum(agent.result() > 1 for agent in agents)} with another attempt")
    assert len(moved) >= SMALL_SLOTS
    for run, agent in zip(ended, agents, strict=True):
        assert len(pods_of(stage.pods, run["metadata"]["uid"])) == agent.result() <= 2
        assert run["status"]["attempts"][-1]["step"]["lane"] == SMALL


def running_on(stage: Stage, lane: str) -> int:
    """How many runs say that their agent is at work on a lane."""
    return sum(
        condition(run, "Reconciling").get("reason") == "Running"
        and run["status"]["attempts"][-1]["step"]["lane"] == lane
        for run in stage.runs.objects().values()
    )
