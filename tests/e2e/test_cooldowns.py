"""Models that cool down and chains that lead on, with real pods and a scripted model server."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from e2e.commands import until
from e2e.scripted import Scripted
from e2e.stage import Stage, condition
from laneway.api.names import LANE_LABEL
from laneway.kube.resources import PODS, JsonObject
from support.witness import pods_of, witness

MODELS = {"big": 8192, "small": 8192}
CHAIN = [{"lane": "lane", "model": "big"}, {"lane": "lane", "model": "small"}]
OVERLOADED, UNAVAILABLE = 529, 503
"""Two models of one account that are overloaded within a minute cool it whole; what is unavailable cools alone."""
AT_ONCE = timedelta(seconds=4)
"""A busy machine's time from a decision to the next grant; times in status are whole seconds."""


async def add_lane(stage: Stage, scripted: Scripted, failing: dict[str, int], **spec: Any) -> None:
    """A lane with both models; calls for the failing ones meet this status until the next script."""
    steps = [{"status": status, "model": name, "repeat": None} for name, status in failing.items()]
    scripted.play(models=MODELS, steps=steps)
    await stage.add_lane({"models": [{"name": name} for name in MODELS], **spec})


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


async def model(stage: Stage, name: str) -> JsonObject:
    """What the lane says of a model."""
    status = (await stage.lane())["status"]
    return next(one for one in status["models"] if one["name"] == name)


async def cooling_until(stage: Stage, name: str) -> datetime:
    """The end of a model's cooldown, once it has one."""
    text = await until(lambda: _field(stage, name, "cooldownUntil"), what=f"{name} cools")
    return moment(text)


async def _field(stage: Stage, name: str, field: str) -> Any:
    return (await model(stage, name)).get(field)


async def free(stage: Stage, name: str, *, seconds: float = 60.0) -> None:
    """Wait until a model does not cool."""

    async def look() -> bool:
        return "cooldownReason" not in await model(stage, name)

    await until(look, seconds=seconds, what=f"{name} may be used")


@pytest.mark.row("S4.1", "S4.3", "S4.4", "C10", "C15")
async def test_a_run_goes_on_with_its_next_model_at_once_when_the_first_is_overloaded(
    stage: Stage, scripted: Scripted
) -> None:
    await add_lane(stage, scripted, {"big": OVERLOADED})
    run = await stage.add_run({"models": CHAIN})
    [ended] = await stage.succeeded()
    status, here = ended["status"], stage.namespace
    [attempt] = status["attempts"]
    assert (attempt["outcome"], attempt["step"]["model"]) == ("Succeeded", "small"), "its agent never noticed"
    assert ended["spec"]["activeModel"] == {"lane": "lane", "namespace": here, "model": "small"}
    assert status["requestedModel"] == {"lane": "lane", "namespace": here, "model": "big"}
    [move] = status["fallbackHistory"]
    assert (move["from"]["model"], move["to"]["model"], move["cause"]) == ("big", "small", "APITransient")
    assert move["live"] is True
    assert len(await stage.events(run, "SteppedDown")) == 1
    assert not await stage.events(run, "BackingOff"), "it did not wait"
    cooled = await model(stage, "big")
    rest = moment(cooled["cooldownUntil"]) - moment(cooled["lastFailureTime"])
    assert timedelta(seconds=299) <= rest <= timedelta(seconds=302)
    assert (cooled["cooldownReason"], cooled["lastFailureStatus"]) == ("APITransient", OVERLOADED)
    assert "cooldownReason" not in await model(stage, "small")
    assert condition(await stage.lane(), "Throttled")["status"] == "True"


@pytest.mark.row("C10", "C15")
async def test_a_running_agent_is_carried_to_another_lane_where_its_pod_counts_from_then_on(
    stage: Stage, scripted: Scripted
) -> None:
    scripted.play(models=MODELS, steps=[{"status": OVERLOADED, "model": "big", "repeat": None}])
    for lane, name in (("lane", "big"), ("other", "small")):
        await stage.add_lane({"models": [{"name": name}]}, name=lane)
    run = await stage.add_run({"models": [{"lane": "lane"}, {"lane": "other"}]})
    [ended] = await stage.succeeded()
    [attempt] = ended["status"]["attempts"]
    assert (attempt["outcome"], attempt["step"]["lane"]) == ("Succeeded", "other"), "its agent never noticed"
    [move] = ended["status"]["fallbackHistory"]
    assert (move["from"]["lane"], move["to"]["lane"], move["live"]) == ("lane", "other", True)
    [pod] = await stage.pods(run)
    assert pod["metadata"]["labels"][LANE_LABEL] == "other"
    for lane in ("lane", "other"):
        await stage.holds_no_slot(lane)


@pytest.mark.row("S4.6", "C10")
async def test_a_later_run_skips_a_model_while_it_cools_and_uses_it_afterwards(
    stage: Stage, scripted: Scripted
) -> None:
    await add_lane(stage, scripted, {"big": OVERLOADED}, cooldownSeconds=25)
    await stage.add_run({"models": CHAIN}, name="meets-it")
    await stage.succeeded("meets-it")
    until_then = await cooling_until(stage, "big")
    scripted.play()
    asked = len(scripted.requests())
    await stage.add_run({"models": CHAIN}, name="skips-it")
    [skipped] = await stage.succeeded("skips-it")
    [attempt] = skipped["status"]["attempts"]
    assert moment(attempt["admittedTime"]) < until_then, "it began while the model was cooling"
    assert skipped["spec"]["activeModel"]["model"] == attempt["step"]["model"] == "small"
    assert [call["model"] for call in scripted.requests()[asked:]] == ["small"]
    await free(stage, "big")
    await stage.add_run({"models": CHAIN}, name="uses-it")
    [used] = await stage.succeeded("uses-it")
    assert [one["step"]["model"] for one in used["status"]["attempts"]] == ["big"]
    assert "activeModel" not in used["spec"]
    assert scripted.requests()[-1]["model"] == "big"


@pytest.mark.row("S4.6", "S4.52", "C7", "C10")
async def test_with_all_models_cooling_runs_wait_without_pods_and_one_goes_first_at_the_earliest_end(
    stage: Stage, scripted: Scripted
) -> None:
    slow = "sleep:4 What is the capital of France?"
    names = ["one", "two", "three"]
    failing = dict.fromkeys(MODELS, UNAVAILABLE)
    await add_lane(stage, scripted, failing, cooldownSeconds=25)
    async with witness(stage.kube, PODS, stage.namespace) as pods:
        await stage.add_run({"models": CHAIN}, name="meets-both")
        await stage.says("Admitted", "AllModelsCooling", name="meets-both")
        earliest = min([await cooling_until(stage, name) for name in MODELS])
        runs = [await stage.add_run({"models": CHAIN, "prompt": slow}, name=name) for name in names]
        for name in names:
            said = await stage.says("Admitted", "AllModelsCooling", name=name)
            assert (said["status"], "big" in said["message"], "small" in said["message"]) == ("False", True, True)
            assert moment((await stage.read(name))["status"]["nextAttemptTime"]) == earliest
        waiting = (await stage.lane())["status"]
        assert waiting["activeRuns"] == 0, "waiting holds no slot"
        assert not [pod for run in runs for pod in pods_of(pods, run["metadata"]["uid"])]
        scripted.play()
        asked = len(scripted.requests())
        ended = await stage.succeeded(*names, seconds=120)
    calls = scripted.requests()[asked:]
    assert calls[0]["time"] >= earliest.timestamp()
    began = sorted(moment(run["status"]["attempts"][0]["admittedTime"]) for run in ended)
    assert timedelta(0) <= began[0] - earliest <= AT_ONCE
    assert calls[1]["time"] - calls[0]["time"] >= 4, "the rest waited until the first had its answer"
    assert all(len(pods_of(pods, run["metadata"]["uid"])) == 1 for run in ended)
