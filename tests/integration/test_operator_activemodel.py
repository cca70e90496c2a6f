"""Where a run is in its chain, shown in ``spec.activeModel``: real operator processes, and everybody who writes the same object."""

from __future__ import annotations

import json
from typing import Any

import pytest

import manifests
from integration.conftest import Kubectl
from integration.operators import Stage, condition
from laneway.kube.resources import AGENT_RUNS, EVENTS, MODEL_LANES, JsonObject
from support.standin import Part

WRITTEN_OVER = "was written over 3 times in 10 minutes and is left to kubectl-client-side-apply"
"""kubectl replace only takes things away, and so leaves no name of its own; the one who made the object does."""
CHAIN = [{"lane": "first"}, {"lane": "second"}, {"lane": "third"}]
MANIFEST = manifests.run({"agent": {"preset": "generic", "image": "agent:test"}, "models": CHAIN}, name="hello")


@pytest.fixture
async def lanes(stage: Stage) -> Part:
    """Three lanes: nobody may use the first, and another run holds the only slot of the second until it is let go."""
    await stage.add_lane({"suspend": True}, name="first")
    await stage.add_lane(name="second", slots=1)
    await stage.add_lane({"suspend": True}, name="third")
    part = stage.node.play("holder", Part.held())
    stage.start()
    holder = await stage.add_run("holder", {"models": [{"lane": "second"}]})
    await stage.has_pod(holder, phase="Running")
    return part


@pytest.fixture
async def moved(stage: Stage, lanes: Part, kubectl: Kubectl) -> JsonObject:
    """A run, made with kubectl, that has moved to the second lane and stands in line there."""
    kubectl("apply", "-n", stage.namespace, "-f", "-", stdin=json.dumps(MANIFEST))
    run = await stage.run()
    await shown(stage, "second")
    return run


async def active(stage: Stage) -> Any:
    return ((await stage.run())["spec"].get("activeModel") or {}).get("lane")


async def shown(stage: Stage, lane: str | None) -> None:
    """Wait until the field says so and the operator has seen that."""

    async def seen() -> tuple[Any, Any, Any]:
        run = await stage.run()
        step = run.get("status", {}).get("step", {})
        return await active(stage), step.get("lane"), step.get("shown")

    await stage.until(seen, answer=(lane, lane or "first", True))


async def told(stage: Stage, reason: str) -> list[str]:
    listing = await stage.kube.list(EVENTS, namespace=stage.namespace)
    return [
        event["note"] for event in listing.items if event["reason"] == reason and event["regarding"]["name"] == "hello"
    ]


async def open_lane(stage: Stage, name: str) -> None:
    await stage.kube.merge_patch(MODEL_LANES, stage.namespace, name, {"spec": {"suspend": False}})


@pytest.mark.row("C10", "S4.1", "B15")
async def test_a_move_stands_in_status_before_the_spec_shows_it(stage: Stage, moved: JsonObject) -> None:
    seen = [event.object for event in stage.runs.of("hello") if event.object.get("status", {}).get("step")]
    assert seen[0]["status"]["step"]["lane"] == "second"
    assert "activeModel" not in seen[0]["spec"]
    [move] = seen[0]["status"]["fallbackHistory"]
    assert (move["from"]["lane"], move["to"]["lane"], move["attempt"]) == ("first", "second", 0)
    run = await stage.run()
    assert run["spec"]["activeModel"] == {"lane": "second", "namespace": stage.namespace, "model": "smollm2"}
    assert run["spec"]["models"] == CHAIN
    assert run["status"]["requestedModel"]["lane"] == "first"
    assert run["status"]["observedGeneration"] == run["metadata"]["generation"]
    assert len(await told(stage, "SteppedDown")) == 1


@pytest.mark.row("C10")
@pytest.mark.parametrize(
    "how",
    [
        pytest.param(("apply",), id="client-side apply"),
        pytest.param(("apply", "--server-side", "--force-conflicts"), id="server-side apply"),
    ],
)
async def test_apply_leaves_the_field_alone(
    stage: Stage, moved: JsonObject, kubectl: Kubectl, how: tuple[str, ...]
) -> None:
    for number in range(3):
        changed = manifests.merged(MANIFEST, {"spec": {"priority": number}})
        kubectl(*how, "-n", stage.namespace, "-f", "-", stdin=json.dumps(changed))
        assert await active(stage) == "second"
    assert await told(stage, "ActiveModelRestored") == []


@pytest.mark.row("C10")
async def test_a_replace_drops_the_field_and_three_times_it_is_written_again(
    stage: Stage, moved: JsonObject, lanes: Part, kubectl: Kubectl
) -> None:
    for number in range(1, 4):
        kubectl("replace", "-n", stage.namespace, "-f", "-", stdin=json.dumps(MANIFEST))

        async def restored() -> tuple[Any, int]:
            status = (await stage.run())["status"]
            return await active(stage), len(status.get("activeModelRestores") or ())

        await stage.until(restored, answer=("second", number))
    kubectl("replace", "-n", stage.namespace, "-f", "-", stdin=json.dumps(MANIFEST))

    async def says() -> str:
        message: str = condition(await stage.run(), "Admitted").get("message", "")
        return message.partition("; spec.activeModel ")[2]

    await stage.until(says, answer=WRITTEN_OVER)
    assert await active(stage) is None
    notes = await told(stage, "ActiveModelRestored")
    assert 1 <= len(notes) <= 3
    assert all("removed by kubectl-client-side-apply;" in note for note in notes)
    lanes.released.set()
    [ended] = await stage.finished(moved)
    assert [attempt["step"]["lane"] for attempt in ended["status"]["attempts"]] == ["second"]
    assert await active(stage) is None


async def test_the_field_goes_when_the_run_is_back_on_its_first_step(stage: Stage, moved: JsonObject) -> None:
    await open_lane(stage, "first")
    [ended] = await stage.finished(moved)
    assert [attempt["step"]["lane"] for attempt in ended["status"]["attempts"]] == ["first"]
    assert "activeModel" not in (await stage.run())["spec"]
    assert len(await told(stage, "SteppedUp")) == 1
    assert await told(stage, "ActiveModelRestored") == []


async def test_a_person_sends_a_waiting_run_to_another_step(stage: Stage, moved: JsonObject) -> None:
    await open_lane(stage, "third")
    await stage.change("hello", {"activeModel": {"lane": "third", "namespace": None, "model": None}})
    [ended] = await stage.finished(moved)
    assert [attempt["step"]["lane"] for attempt in ended["status"]["attempts"]] == ["third"]
    assert ended["status"]["fallbackHistory"][-1]["cause"] == "Manual"
    assert await told(stage, "ActiveModelRestored") == []


async def test_what_is_no_free_step_is_written_over(stage: Stage, moved: JsonObject) -> None:
    await stage.change("hello", {"activeModel": {"lane": "third"}})
    await shown(stage, "second")

    async def notes() -> int:
        return len(await told(stage, "ActiveModelRestored"))

    await stage.until(notes, answer=1)


async def test_an_operator_killed_at_the_move_leaves_a_spec_that_is_put_right_without_an_event(
    stage: Stage, lanes: Part, kubectl: Kubectl
) -> None:
    operator = stage.operators[-1]
    kubectl("apply", "-n", stage.namespace, "-f", "-", stdin=json.dumps(MANIFEST))
    await stage.any_event(lambda: any(event.object.get("status", {}).get("step") for event in stage.runs.of("hello")))
    operator.kill()
    await stage.free_lease()
    stage.start()
    await shown(stage, "second")
    assert await told(stage, "ActiveModelRestored") == []


async def test_a_status_without_its_patch_is_what_a_crash_leaves_and_it_is_patched(
    stage: Stage, moved: JsonObject
) -> None:
    """The moment between both writes, made exactly: the status as it was written, the spec as it was before."""
    stage.operators[-1].kill()
    run = await stage.run()
    del run["spec"]["activeModel"]
    bare = await stage.kube.replace(AGENT_RUNS, stage.namespace, "hello", run)
    del bare["status"]["step"]["shown"]
    await stage.kube.apply_status(
        AGENT_RUNS,
        stage.namespace,
        "hello",
        status=bare["status"],
        resource_version=bare["metadata"]["resourceVersion"],
        uid=bare["metadata"]["uid"],
    )
    await stage.free_lease()
    stage.start()
    await shown(stage, "second")
    assert await told(stage, "ActiveModelRestored") == []


async def test_a_finished_run_is_not_patched_and_its_later_versions_are_seen(
    stage: Stage, moved: JsonObject, lanes: Part, kubectl: Kubectl
) -> None:
    lanes.released.set()
    [ended] = await stage.finished(moved)
    kubectl("replace", "-n", stage.namespace, "-f", "-", stdin=json.dumps(MANIFEST))
    stage.operators[-1].kill()
    await stage.free_lease()
    stage.start()
    await stage.finished(await stage.add_run("after", {"models": [{"lane": "second"}]}))
    assert await active(stage) is None
    kubectl("wait", "-n", stage.namespace, "--for=condition=Finished", "--timeout=20s", "agruns/hello")
    seen = await stage.run()
    assert seen["metadata"]["generation"] > ended["metadata"]["generation"]
    assert seen["status"]["observedGeneration"] == seen["metadata"]["generation"], "kstatus would call it InProgress"
    assert ended["spec"]["activeModel"]["lane"] == "second"
