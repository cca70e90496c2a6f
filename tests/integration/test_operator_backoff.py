"""Waits of minutes and hours on the real API server: real operator and gateway, a clock that the test moves, a scripted model server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from integration.agents import add_lane, call, reachable_server, start_both
from integration.ahead import Ahead
from integration.operators import Stage, condition
from laneway.kube.resources import AGENT_RUNS, EVENTS, MODEL_LANES, JsonObject
from modelserver import ModelServer, Step
from support.standin import Part
from support.witness import pods_of

REFUSED = Step(status=429)
OVERLOADED = Step(status=529)
_SPREAD = (5, 31)
"""Seconds over a model's time: 5 to 30, and one for the rounding of times in status."""


@pytest.fixture
def ahead(stage: Stage) -> Ahead:
    return stage.own_clock()


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with reachable_server(models={"smollm2": 8192, "big": 8192}) as server:
        yield server


class Agent:
    """The agent of a run: each of its pods makes one call when the test says so, and ends by how the call went."""

    def __init__(self, stage: Stage, name: str = "hello") -> None:
        self._stage = stage
        self._name = name
        self._part = stage.node.play(name, Part.held())
        self.run: JsonObject = {}
        self.pods = 0

    async def begin(self, **spec: Any) -> JsonObject:
        """Make the run. The clock of the operators may be a day ahead of its pods."""
        self.run = await self._stage.add_run(self._name, {"timeouts": {"startSeconds": 86400}, **spec})
        return self.run

    async def attempt(self) -> int:
        """Wait for the next pod, and let it make its call; answers the status."""
        self.pods += 1
        pod = await self._stage.has_pod(self.run, phase="Running", number=self.pods)
        status, _ = await call(self._stage, pod)
        part, self._part = self._part, Part.held()
        self._stage.node.play(self._name, self._part)
        part.exit_code = 0 if status == 200 else 1
        part.released.set()
        return status

    async def waits(self, reason: str = "BackingOff") -> JsonObject:
        """Wait until the run waits for its model; answers its status."""
        uid = self.run["metadata"]["uid"]

        def there() -> bool:
            seen = self._stage.last(uid)
            ended = (seen.get("status", {}).get("attempts") or [{}])[-1].get("outcome") == "ModelTrouble"
            return ended and condition(seen, "Admitted").get("reason") == reason

        await self._stage.runs.until(there)
        status: JsonObject = self._stage.last(uid)["status"]
        return status


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def wait_seconds(status: JsonObject) -> float:
    """How long a run waits from the failure on."""
    return (moment(status["nextAttemptTime"]) - moment(status["backoff"]["sinceTime"])).total_seconds()


async def planned(stage: Stage, run: JsonObject, *, not_after: datetime) -> datetime:
    """When a run looks again, once that is early enough: a lane that was not probed yet is not reckoned with at first."""
    uid = run["metadata"]["uid"]
    await stage.runs.until(lambda: moment(stage.last(uid)["status"]["nextAttemptTime"]) <= not_after)
    return moment(stage.last(uid)["status"]["nextAttemptTime"])


async def lane(stage: Stage, name: str = "local") -> JsonObject:
    return await stage.kube.get(MODEL_LANES, stage.namespace, name)


async def slots_in_use(stage: Stage, number: int, name: str = "local") -> None:
    async def active() -> int:
        return int((await lane(stage, name)).get("status", {}).get("activeRuns", -1))

    await stage.until(active, answer=number)


async def throttled(stage: Stage, *lanes: str) -> None:
    """Wait until lanes say that their models cool."""

    async def say() -> set[str]:
        return {condition(await lane(stage, name), "Throttled").get("status", "") for name in lanes}

    await stage.until(say, answer={"True"})


async def events_of(stage: Stage, obj: JsonObject) -> list[JsonObject]:
    listing = await stage.kube.list(EVENTS, namespace=stage.namespace)
    return [one for one in listing.items if one["regarding"]["uid"] == obj["metadata"]["uid"]]


@pytest.mark.row("S3.14", "S3.17", "S3.20", "C10")
async def test_a_model_that_refuses_five_times_is_waited_for_on_the_curve_without_pod_and_slot(
    stage: Stage, server: ModelServer, ahead: Ahead
) -> None:
    server.play([Step(status=429, repeat=5)])
    await start_both(stage)
    await add_lane(stage, server)
    agent = Agent(stage)
    await agent.begin()
    for count, base in enumerate((60, 120, 240, 480, 960), 1):
        assert await agent.attempt() == 429
        status = await agent.waits()
        assert base + _SPREAD[0] <= wait_seconds(status) <= base + _SPREAD[1]
        assert (status["backoff"]["class"], status["backoff"]["count"]) == ("RateLimitModel", count)
        assert status["backoff"]["source"] == "Estimated"
        await slots_in_use(stage, 0)
        assert len(pods_of(stage.pods, agent.run["metadata"]["uid"])) == count
        ahead.move_to(moment(status["nextAttemptTime"]))
    assert await agent.attempt() == 200
    [ended] = await stage.finished(agent.run)
    assert condition(ended, "Finished")["reason"] == "Completed"
    assert "backoff" not in ended["status"]
    assert "nextAttemptTime" not in ended["status"]

    async def failures() -> Any:
        return (await lane(stage))["status"]["models"][0].get("failures")

    await stage.until(failures, answer=None)
    reasons = [event["reason"] for event in await events_of(stage, agent.run)]
    assert reasons.count("BackingOff") == 5
    assert reasons.count("BackoffElapsed") == 5


@pytest.mark.row("S0.6", "S3.11", "C3", "C4")
async def test_a_wait_that_the_server_names_is_kept_as_it_is_and_counts_nothing(
    stage: Stage, server: ModelServer, ahead: Ahead
) -> None:
    server.play([Step(status=429, headers={"Retry-After": "45"}, repeat=2)])
    await start_both(stage)
    await add_lane(stage, server)
    agent = Agent(stage)
    await agent.begin()
    for _ in range(2):
        assert await agent.attempt() == 429
        status = await agent.waits()
        backoff = status["backoff"]
        assert 45 + _SPREAD[0] - 1 <= wait_seconds(status) <= 45 + _SPREAD[1]
        assert (backoff["count"], backoff["source"], backoff["retryAfterSeconds"]) == (0, "RetryAfter", 45)
        assert backoff["originalResetTime"] == backoff["appliedResetTime"]
        ahead.move_to(moment(status["nextAttemptTime"]))
    assert await agent.attempt() == 200
    await stage.finished(agent.run)


@pytest.mark.row("S3.21")
async def test_a_day_is_waited_for_in_pieces_of_eight_hours(stage: Stage, server: ModelServer, ahead: Ahead) -> None:
    server.play([Step(status=429, headers={"Retry-After": "80000"})])
    await start_both(stage)
    await add_lane(stage, server)
    agent = Agent(stage)
    await agent.begin()
    assert await agent.attempt() == 429
    status = await agent.waits()
    first = moment(status["nextAttemptTime"])
    assert wait_seconds(status) >= 28799
    assert first <= ahead.now() + timedelta(seconds=28801)  # reckoned from when the operator looked
    ahead.move_to(first)

    def later() -> bool:
        return moment(stage.last(agent.run["metadata"]["uid"])["status"]["nextAttemptTime"]) > first

    await stage.runs.until(later)
    assert len(pods_of(stage.pods, agent.run["metadata"]["uid"])) == 1


@pytest.mark.row("S3.24", "S3.18", "B21")
async def test_a_killed_operator_neither_shortens_nor_repeats_a_wait(
    stage: Stage, server: ModelServer, ahead: Ahead
) -> None:
    server.play([Step(status=429, repeat=3)])
    await start_both(stage)
    await add_lane(stage, server)
    agent = Agent(stage)
    await agent.begin()
    for count, base in enumerate((60, 120, 240), 1):
        assert await agent.attempt() == 429
        status = await agent.waits()
        assert status["backoff"]["count"] == count
        assert base + _SPREAD[0] <= wait_seconds(status) <= base + _SPREAD[1]
        ahead.move(base / 2)
        stage.operators[-1].kill()
        await stage.free_lease()
        stage.start()
        await slots_in_use(stage, 0)
        kept = (await stage.run())["status"]
        assert kept["nextAttemptTime"] == status["nextAttemptTime"]
        assert len(pods_of(stage.pods, agent.run["metadata"]["uid"])) == count
        ahead.move_to(moment(status["nextAttemptTime"]))
    assert await agent.attempt() == 200
    await stage.finished(agent.run)


@pytest.mark.row("C5")
async def test_an_outage_that_many_runs_see_counts_once(stage: Stage, server: ModelServer, ahead: Ahead) -> None:
    server.play([Step(status=429, repeat=8)])
    await start_both(stage)
    await add_lane(stage, server, capacity={"runs": 8}, timeouts={"holdSeconds": 0})
    agents = [Agent(stage, f"run-{number}") for number in range(8)]
    for agent in agents:
        await agent.begin()
    for agent in agents:
        await stage.has_pod(agent.run, phase="Running")
    for agent in agents:
        assert await agent.attempt() == 429
    statuses = [await agent.waits() for agent in agents]
    assert {status["backoff"]["count"] for status in statuses} == {1}
    await slots_in_use(stage, 0)
    [model] = (await lane(stage))["status"]["models"]
    assert model["failures"] == {"rateLimitModel": 1}


@pytest.mark.row("C15", "S4.3", "S4.4")
async def test_an_overloaded_first_step_is_left_for_five_minutes_and_used_again_afterwards(
    stage: Stage, server: ModelServer, ahead: Ahead
) -> None:
    async with reachable_server(models={"small": 8192}) as other:
        server.play([OVERLOADED])
        await start_both(stage)
        await add_lane(stage, server, name="first")
        await add_lane(stage, other, name="second", models=[{"name": "small"}])
        chain = [{"lane": "first"}, {"lane": "second"}]
        agent = Agent(stage)
        await agent.begin(models=chain)
        assert await agent.attempt() == 200
        [ended] = await stage.finished(agent.run)
        status = ended["status"]
        assert [attempt["step"]["lane"] for attempt in status["attempts"]] == ["second"]
        assert ended["spec"]["activeModel"] == {"lane": "second", "namespace": stage.namespace, "model": "small"}
        assert status["requestedModel"]["lane"] == "first"
        [move] = status["fallbackHistory"]
        assert (move["from"]["lane"], move["to"]["lane"], move["cause"]) == ("first", "second", "APITransient")
        [model] = (await lane(stage, "first"))["status"]["models"]
        until = moment(model["cooldownUntil"])
        assert 298 <= (until - moment(model["lastFailureTime"])).total_seconds() <= 301
        later = Agent(stage, "later")
        await later.begin(models=chain)
        assert await later.attempt() == 200
        [skipped] = await stage.finished(later.run)
        assert skipped["status"]["attempts"][0]["step"]["lane"] == "second"
        ahead.move_to(until + timedelta(seconds=1))
        again = Agent(stage, "again")
        await again.begin(models=chain)
        assert await again.attempt() == 200
        [used] = await stage.finished(again.run)
        assert used["status"]["attempts"][0]["step"]["lane"] == "first"
        assert "activeModel" not in used["spec"]


@pytest.mark.row("S4.52", "C10", "S2.38")
async def test_with_all_steps_cooling_a_run_waits_for_the_earliest(
    stage: Stage, server: ModelServer, ahead: Ahead
) -> None:
    await start_both(stage)
    hold = {"mode": "Hold"}
    times = [ahead.now().replace(microsecond=0) + timedelta(seconds=seconds) for seconds in (900, 600)]
    for name, until in zip(("first", "second"), times, strict=True):
        held = [{**hold, "model": "smollm2", "until": until.strftime("%Y-%m-%dT%H:%M:%SZ")}]
        await add_lane(stage, server, name=name, cooldowns=held)

    await throttled(stage, "first", "second")
    agent = Agent(stage)
    await agent.begin(models=[{"lane": "first"}, {"lane": "second"}])
    said = await stage.condition(agent.run, "Admitted", "AllModelsCooling")
    assert "first" in said["message"]
    assert "second" in said["message"]
    next_attempt = await planned(stage, agent.run, not_after=times[1] + timedelta(seconds=_SPREAD[1]))
    assert next_attempt >= times[1]
    assert not pods_of(stage.pods, agent.run["metadata"]["uid"])
    ahead.move_to(next_attempt)
    assert await agent.attempt() == 200
    [ended] = await stage.finished(agent.run)
    assert ended["status"]["attempts"][0]["step"]["lane"] == "second"


@pytest.mark.row("S4.8", "S4.9")
async def test_a_model_is_held_and_cleared_by_hand(stage: Stage, server: ModelServer, ahead: Ahead) -> None:
    server.play([REFUSED])
    await start_both(stage)
    await add_lane(stage, server)
    agent = Agent(stage)
    await agent.begin()
    assert await agent.attempt() == 429
    await agent.waits()
    await throttled(stage, "local")
    said = ahead.now() + timedelta(seconds=2)
    cleared = {"model": "smollm2", "mode": "Clear", "setTime": said.strftime("%Y-%m-%dT%H:%M:%SZ")}
    await stage.kube.merge_patch(MODEL_LANES, stage.namespace, "local", {"spec": {"cooldowns": [cleared]}})
    assert await agent.attempt() == 200
    await stage.finished(agent.run)
    reasons = [event["reason"] for event in await events_of(stage, await lane(stage))]
    assert reasons.count("ModelCooled") == 1
    assert reasons.count("CooldownCleared") == 1


@pytest.mark.row("S0.9", "C25")
async def test_a_run_is_deleted_in_the_middle_of_its_wait_and_nothing_begins(
    stage: Stage, server: ModelServer, ahead: Ahead
) -> None:
    server.play([REFUSED])
    await start_both(stage)
    await add_lane(stage, server)
    agent = Agent(stage)
    await agent.begin()
    assert await agent.attempt() == 429
    status = await agent.waits()
    await stage.kube.delete(AGENT_RUNS, stage.namespace, "hello")
    ahead.move_to(moment(status["nextAttemptTime"]) + timedelta(seconds=60))
    other = Agent(stage, "other")
    await other.begin()
    assert await other.attempt() == 200
    await stage.finished(other.run)
    assert len(pods_of(stage.pods, agent.run["metadata"]["uid"])) == 1
    assert [request.path for request in server.requests] == ["/v1/chat/completions"] * 2
