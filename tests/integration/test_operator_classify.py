"""Runs that name no model, with operator and gateway as real processes and a scripted classifier."""

from __future__ import annotations

from typing import Any

import pytest

from integration.agents import add_lane, call, start_both
from integration.operators import Stage, condition
from laneway.kube.resources import EVENTS, JsonObject
from modelserver import ModelServer, Step
from support.standin import Part

PRICING = {"inputUSDPerMillion": "1000", "outputUSDPerMillion": "1000"}
"""A call of 12 and 7 tokens costs 0.019 dollars."""
MODELS = [{"name": name, "pricing": PRICING} for name in ("smollm2", "middle", "big", "tiny")]
CLASSIFIER = {"model": "tiny", "tiers": {"simple": "smollm2", "medium": "middle", "complex": "big"}}


async def serve(stage: Stage, server: ModelServer, *answers: Step, **spec: Any) -> None:
    """A lane with one slot, whose classifier gives these answers, and everything that serves it."""
    server.models = {model["name"]: 8192 for model in MODELS}
    server.play(answers)
    await start_both(stage)
    await add_lane(stage, server, models=MODELS, classifier=CLASSIFIER, capacity={"runs": 1}, **spec)


async def fallbacks(stage: Stage) -> list[JsonObject]:
    listing = await stage.kube.list(EVENTS, namespace=stage.namespace)
    return [one for one in listing.items if one.get("reason") == "ClassifierFallback"]


def asked(server: ModelServer) -> list[str | None]:
    return [request.model for request in server.requests]


async def being_asked(stage: Stage, server: ModelServer) -> JsonObject:
    """A run whose question is on its way; the server does not answer the first one, and the next one with complex."""
    await serve(stage, server, Step(model="tiny", delay_seconds=3600), Step(model="tiny", pieces=("Complex.",)))
    run = await stage.add_run()
    await stage.any_event(lambda: asked(server) == ["tiny"])
    return run


@pytest.mark.row("S0.18", "S4.37", "S4.38", "C20")
async def test_runs_that_name_no_model_are_classified_and_started_one_after_the_other_on_one_slot(
    stage: Stage, server: ModelServer
) -> None:
    words = ('{"complexity": "complex", "reason": "many parts"}', "Simple.")
    await serve(stage, server, *(Step(model="tiny", pieces=(each,)) for each in words))
    part = stage.node.play("first", Part.held())
    first = await stage.add_run("first", {"title": "Geography"})
    pod = await stage.has_pod(first, phase="Running")
    assert (await call(stage, pod))[0] == 200
    second = await stage.add_run("second")
    await stage.condition(second, "Admitted", "WaitingForSlot")
    waiting = await stage.run("second")
    assert waiting["status"]["classification"]["model"] == waiting["status"]["step"]["model"] == "smollm2"
    part.released.set()
    ended, other = await stage.finished(first, second)
    assert ended["status"]["classification"] == {
        "complexity": "complex",
        "model": "big",
        "reason": "many parts",
        "source": "Classifier",
    }
    assert [one["step"]["model"] for one in ended["status"]["attempts"]] == ["big"]
    assert [one["step"]["model"] for one in other["status"]["attempts"]] == ["smollm2"]
    usage = ended["status"]["usage"]
    assert (usage["turns"], usage["totalTokens"], usage["costUSD"], usage["complete"]) == (1, 38, "0.038", True)
    assert (other["status"]["usage"]["turns"], other["status"]["usage"]["costUSD"]) == (0, "0.019")
    assert asked(server) == ["tiny", "big", "tiny"]
    assert server.requests[0].body["messages"][-1]["content"].startswith("Geography\n\n")
    assert await fallbacks(stage) == []


@pytest.mark.row("S4.39", "S0.25", "C20")
async def test_a_classifier_in_trouble_means_medium_and_one_event(stage: Stage, server: ModelServer) -> None:
    await serve(stage, server, Step(status=500, model="tiny", repeat=None))
    run = await stage.add_run()
    [ended] = await stage.finished(run)
    assert condition(ended, "Finished")["reason"] == "Completed"
    said = ended["status"]["classification"]
    assert (said["complexity"], said["model"], said["source"]) == ("medium", "middle", "Default")
    assert said["reason"] == "the classifier's server answers 500"
    assert [one["step"]["model"] for one in ended["status"]["attempts"]] == ["middle"]
    [event] = await fallbacks(stage)
    assert event["type"] == "Warning"
    assert event["note"].endswith("it counts as medium: middle")
    assert asked(server) == ["tiny"]


@pytest.mark.row("C20")
async def test_an_operator_that_is_killed_while_a_run_is_classified_only_asks_again(
    stage: Stage, server: ModelServer
) -> None:
    run = await being_asked(stage, server)
    await stage.condition(run, "Admitted", "WaitingForClassification")
    stage.operators[0].kill()
    await stage.free_lease()
    stage.start()
    [ended] = await stage.finished(run)
    assert [one["step"]["model"] for one in ended["status"]["attempts"]] == ["big"]
    assert ended["status"]["classification"]["source"] == "Classifier"
    assert asked(server) == ["tiny", "tiny"]


@pytest.mark.row("C20")
async def test_a_gateway_that_is_killed_while_a_run_is_classified_is_asked_again_and_both_calls_are_paid(
    stage: Stage, server: ModelServer
) -> None:
    run = await being_asked(stage, server)
    stage.gateways[0].kill()
    stage.start_gateway()
    [ended] = await stage.finished(run, seconds=40)
    assert ended["status"]["classification"]["source"] == "Classifier"
    assert ended["status"]["step"]["model"] == "big"
    assert asked(server) == ["tiny", "tiny"]
    usage = ended["status"]["usage"]
    assert float(usage["costUSD"]) > 2 * 0.019
    assert (usage["turns"], usage["complete"]) == (0, False)


@pytest.mark.row("S4.37")
async def test_a_run_that_names_a_model_is_not_classified(stage: Stage, server: ModelServer) -> None:
    await serve(stage, server)
    run = await stage.add_run(spec={"models": [{"lane": "local", "model": "middle"}]})
    [ended] = await stage.finished(run)
    assert "classification" not in ended["status"]
    assert asked(server) == []
