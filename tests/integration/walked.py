"""A run that has walked to the second step of its chain, whoever brought it there, and what must still be true of it at its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from integration.agents import add_lane, call, start_both
from integration.operators import Stage, condition
from laneway.kube.resources import EVENTS, JsonObject
from modelserver import ModelServer, Step
from support.standin import Part
from support.witness import pods_of

CHAIN = [{"lane": "first"}, {"lane": "second"}]
AGENT = {"preset": "generic", "image": "agent:test"}
OVERLOADED = Step(status=529)
NOT_THERE = Step(status=404, body={"error": {"message": "no such model", "code": "model_not_found"}})
"""Leads on too, and leaves the model free for the next run."""


@dataclass(frozen=True)
class Walked:
    """A run on the second step of its chain, at work there."""

    run: JsonObject
    """As it was made."""
    active_model: JsonObject
    pod: JsonObject
    part: Part


async def walk(stage: Stage, server: ModelServer, begin: Callable[[], object], *, because: Step = OVERLOADED) -> Walked:
    """Make the lanes, bring run ``hello``, and follow it to the second step of its chain."""
    server.play([because])
    await start_both(stage)
    for step in CHAIN:
        await add_lane(stage, server, name=step["lane"])
    part = stage.node.play("hello", Part.held())
    begin()
    return await arrive(stage, part)


async def arrive(stage: Stage, part: Part) -> Walked:
    """Wait for run ``hello``, let a call fail on its first step, and wait until the run shows the second, which has answered."""
    await stage.runs.until(lambda: stage.runs.of("hello"), seconds=60)
    run = stage.runs.of("hello")[-1].object
    pod = await stage.has_pod(run, phase="Running")
    assert (await call(stage, pod))[0] == 200
    shown = {"lane": "second", "namespace": stage.namespace, "model": "smollm2"}
    await stage.runs.until(lambda: active_models(stage, run)[-1] == shown and is_noted(stage, run))
    return Walked(run, shown, pod, part)


def active_models(stage: Stage, run: JsonObject) -> list[Any]:
    """``spec.activeModel`` at each event of a run; None where it was absent."""
    seen = [event.object for event in stage.runs.of(run["metadata"]["name"]) if event.type != "DELETED"]
    return [one["spec"].get("activeModel") for one in seen if one["metadata"]["uid"] == run["metadata"]["uid"]]


def is_noted(stage: Stage, run: JsonObject) -> bool:
    """Whether status says that the field was seen: what it loses before that is taken for a write of the operator's own that is missing."""
    return stage.last(run["metadata"]["uid"])["status"]["step"].get("shown") is True


async def restored_events(stage: Stage) -> int:
    found = (await stage.kube.list(EVENTS, namespace=stage.namespace)).items
    return [one["reason"] for one in found].count("ActiveModelRestored")


async def ends_in_its_pod(stage: Stage, walked: Walked) -> None:
    """The agent calls its model and ends, in the pod that it had; the run is where it was."""
    uid = walked.run["metadata"]["uid"]
    assert (await call(stage, walked.pod))[0] == 200
    walked.part.released.set()
    [ended] = await stage.finished(walked.run)
    assert ended["metadata"]["uid"] == uid
    assert condition(ended, "Finished")["reason"] == "Completed"
    assert ended["spec"]["activeModel"] == walked.active_model
    assert [one["step"]["lane"] for one in ended["status"]["attempts"]] == ["second"]
    assert len(pods_of(stage.pods, uid)) == 1
