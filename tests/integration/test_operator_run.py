"""One run at a time, with a real operator process: from apply to its end, and what a person does to it on the way."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator

import pytest

from integration.conftest import NAMESPACES
from integration.operators import Stage, condition, silence
from laneway.kube.client import Kube
from laneway.kube.resources import AGENT_RUNS, EVENTS, MODEL_LANES, PODS
from support.standin import Part
from support.witness import pods_of, status_writes

CONDITIONS = {"Admitted", "Finished", "Succeeded", "Reconciling", "Stalled"}


@pytest.fixture
async def other_namespace(kube: Kube) -> AsyncIterator[str]:
    name = f"other-{secrets.token_hex(4)}"
    await kube.create(NAMESPACES, None, {"metadata": {"name": name}})
    yield name
    await kube.delete(NAMESPACES, None, name)


async def test_a_run_goes_from_apply_to_its_result_with_few_writes_and_then_none(stage: Stage) -> None:
    await stage.add_lane()
    stage.start()
    run = await stage.add_run()
    [ended] = await stage.finished(run)
    assert condition(ended, "Finished")["reason"] == "Completed"
    assert condition(ended, "Succeeded")["status"] == "True"
    assert ended["status"]["result"] == {"summary": "Paris.", "exitCode": 0}
    assert ended["status"]["observedGeneration"] == ended["metadata"]["generation"]
    first = next(event.object for event in stage.runs.of("hello") if event.object["status"].get("phase"))
    assert {one["type"] for one in first["status"]["conditions"]} == CONDITIONS
    assert status_writes(stage.runs, "hello") <= 6
    assert await silence(stage.runs, seconds=3) == 0


async def test_each_change_is_told_by_one_event_and_a_restart_tells_none_again(stage: Stage) -> None:
    await stage.add_lane()
    operator = stage.start()
    [run] = await stage.finished(await stage.add_run())
    uid = run["metadata"]["uid"]

    async def told() -> list[str]:
        listing = await stage.kube.list(EVENTS, namespace=stage.namespace)
        return sorted(event["reason"] for event in listing.items if event["regarding"]["uid"] == uid)

    expected = ["AttemptEnded", "AttemptStarted", "RunFinished", "SlotGranted"]
    await stage.until(told, expected)
    operator.kill()
    await stage.free_lease()
    stage.start()
    await stage.finished(await stage.add_run("after"))
    assert await told() == expected


async def test_an_agent_that_fails_ends_its_run_with_code_and_words(stage: Stage) -> None:
    await stage.add_lane()
    stage.start()
    stage.node.play("hello", Part(exit_code=3, message="no such file"))
    [ended] = await stage.finished(await stage.add_run())
    assert condition(ended, "Succeeded")["reason"] == "Failed"
    assert "exited with 3: no such file" in condition(ended, "Succeeded")["message"]
    assert ended["status"]["result"] == {"exitCode": 3}


async def test_a_finished_run_ends_although_nobody_can_read_its_log(stage: Stage) -> None:
    """The built-in agent's log is read on Direct lanes; this node has no kubelet that answers."""
    await stage.add_lane()
    stage.start()
    run = await stage.add_run(spec={"agent": {"preset": "laneway", "image": None}})
    [ended] = await stage.finished(run)
    assert condition(ended, "Finished")["reason"] == "Completed"
    assert ended["status"]["usage"] == {"complete": False}


async def test_a_run_suspended_before_its_grant_waits_until_it_is_resumed(stage: Stage) -> None:
    await stage.add_lane()
    stage.start()
    run = await stage.add_run(spec={"suspend": True})
    assert "set it to false" in (await stage.condition(run, "Admitted", "Suspended"))["message"]
    await stage.change("hello", {"suspend": False})
    await stage.finished(run)


@pytest.mark.row("S3.30", "C25")
async def test_suspend_lets_a_running_attempt_go_on_to_its_end(stage: Stage) -> None:
    await stage.add_lane()
    stage.start()
    part = stage.node.play("hello", Part.held())
    run = await stage.add_run()
    await stage.has_pod(run, phase="Running")
    await stage.change("hello", {"suspend": True})
    assert await silence(stage.pods, seconds=1) == 0
    part.released.set()
    [ended] = await stage.finished(run)
    assert condition(ended, "Finished")["reason"] == "Completed"
    assert len(pods_of(stage.pods, run["metadata"]["uid"])) == 1


@pytest.mark.row("C25")
async def test_cancel_stops_the_pod_and_keeps_the_record(stage: Stage) -> None:
    await stage.add_lane()
    stage.start()
    stage.node.play("hello", Part.held(stops_seconds=1))
    run = await stage.add_run()
    pod = await stage.has_pod(run, phase="Running")
    await stage.change("hello", {"cancel": True})
    [ended] = await stage.finished(run)
    assert condition(ended, "Finished")["reason"] == "Cancelled"
    assert condition(ended, "Succeeded")["status"] == "False"
    deleted = next(event.object for event in stage.pods.events if "deletionTimestamp" in event.object["metadata"])
    assert deleted["metadata"]["uid"] == pod["metadata"]["uid"]
    assert deleted["metadata"]["deletionGracePeriodSeconds"] == 15
    await stage.gone(pod)


async def test_a_direct_lane_may_be_deleted_under_a_running_run_which_ends_without_a_gateway(stage: Stage) -> None:
    await stage.add_lane()
    stage.start()
    part = stage.node.play("hello", Part.held())
    run = await stage.add_run()
    await stage.has_pod(run, phase="Running")
    said = (await stage.condition(run, "Admitted", "SlotGranted"))["message"]
    assert "limits on that cannot be live" in said
    await stage.kube.delete(MODEL_LANES, stage.namespace, "local")
    part.released.set()
    [ended] = await stage.finished(run)
    assert condition(ended, "Finished")["reason"] == "Completed"
    assert ended["status"]["attempts"][0]["access"] == "Direct"
    assert ended["status"]["usage"] == {"complete": False}
    assert ended["status"]["result"] == {"summary": "Paris.", "exitCode": 0}


@pytest.mark.row("S2.20", "C25", "B18")
async def test_deleting_a_running_run_stops_its_pod(stage: Stage) -> None:
    await stage.add_lane()
    stage.start()
    stage.node.play("hello", Part.held())
    run = await stage.add_run()
    pod = await stage.has_pod(run, phase="Running")
    await stage.kube.delete(AGENT_RUNS, stage.namespace, "hello")
    await stage.gone(pod)


async def test_a_pod_deleted_by_a_person_is_followed_by_the_next_attempt(stage: Stage) -> None:
    await stage.add_lane()
    stage.start()
    part = stage.node.play("hello", Part.held())
    run = await stage.add_run()
    pod = await stage.has_pod(run, phase="Running")
    await stage.kube.delete(PODS, stage.namespace, pod["metadata"]["name"])
    second = await stage.has_pod(run, phase="Running", number=2)
    assert second["metadata"]["labels"]["laneway.dev/attempt"] == "2"
    part.released.set()
    [ended] = await stage.finished(run)
    assert condition(ended, "Finished")["reason"] == "Completed"
    outcomes = [attempt["outcome"] for attempt in ended["status"]["attempts"]]
    assert outcomes == ["Disrupted", "Succeeded"]
    assert ended["status"]["disruptionCount"] == 1


async def test_a_pod_on_a_node_that_is_lost_is_given_up_and_the_next_attempt_begins(stage: Stage) -> None:
    await stage.add_lane()
    stage.start()
    stage.node.play("hello", Part.held())
    run = await stage.add_run(spec={"timeouts": {"lostSeconds": 1}})
    pod = await stage.has_pod(run, phase="Running")
    stage.node.play("hello", Part())
    await stage.node.lose(pod)
    await stage.gone(pod)
    [ended] = await stage.finished(run)
    assert condition(ended, "Finished")["reason"] == "Completed"
    first, second = ended["status"]["attempts"]
    assert (first["outcome"], second["outcome"]) == ("Disrupted", "Succeeded")
    assert "was away for too long" in first["message"]


async def test_an_agent_that_does_not_start_in_time_ends_its_run_and_frees_its_pod(stage: Stage) -> None:
    await stage.add_lane()
    stage.start()
    stage.node.play("hello", Part(starts=False))
    run = await stage.add_run(spec={"timeouts": {"startSeconds": 2}})
    pod = await stage.has_pod(run)
    [ended] = await stage.finished(run)
    assert condition(ended, "Finished")["reason"] == "StartTimeout"
    assert condition(ended, "Finished")["message"] == "the agent did not start within 2 s"
    await stage.gone(pod)


async def test_a_prompt_that_does_not_exist_is_named_while_it_is_waited_for_and_at_the_end(stage: Stage) -> None:
    await stage.add_lane()
    stage.start()
    stage.node.play("hello", Part(starts=False))
    source = {"configMapKeyRef": {"name": "absent", "key": "prompt"}}
    run = await stage.add_run(spec={"prompt": None, "promptFrom": source, "timeouts": {"startSeconds": 2}})
    await stage.condition(run, "Reconciling", "PromptMissing")
    [ended] = await stage.finished(run)
    assert condition(ended, "Finished")["reason"] == "PromptMissing"


async def test_pods_go_after_their_time_and_the_run_stays(stage: Stage) -> None:
    await stage.add_lane()
    stage.start()
    run = await stage.add_run(spec={"podTTLSeconds": 2})
    pod = await stage.has_pod(run)
    [ended] = await stage.finished(run)
    assert any(event.object.get("status", {}).get("phase") == "Succeeded" for event in stage.pods.events)
    await stage.gone(pod)
    assert (await stage.run())["status"] == ended["status"]


async def test_a_finished_run_is_deleted_with_its_pods_after_its_time_but_not_one_that_git_keeps(stage: Stage) -> None:
    await stage.add_lane()
    stage.start()
    tracking = {"argocd.argoproj.io/tracking-id": f"shop:laneway.dev/AgentRun:{stage.namespace}/kept"}
    kept = await stage.add_run("kept", spec={"ttlSecondsAfterFinished": 0}, annotations=tracking)
    await stage.finished(kept)
    gone = await stage.add_run("gone", spec={"ttlSecondsAfterFinished": 1})
    pod = await stage.has_pod(gone)

    def deleted() -> bool:
        return any(event.type == "DELETED" for event in stage.runs.of("gone"))

    await stage.runs.until(deleted)
    last = [event.object for event in stage.runs.of("gone") if event.type != "DELETED"][-1]
    assert condition(last, "Finished")["status"] == "True"
    assert (await stage.run("kept"))["metadata"]["uid"] == kept["metadata"]["uid"]
    # No garbage collector runs beside this API server: that its pod belongs to it is what can be seen.
    [owner] = pod["metadata"]["ownerReferences"]
    assert owner["uid"] == gone["metadata"]["uid"]


async def test_a_missing_lane_is_named_with_those_there_are_and_its_creation_starts_the_run(stage: Stage) -> None:
    await stage.add_lane(name="other")
    stage.start()
    run = await stage.add_run()
    said = await stage.condition(run, "Admitted", "LaneNotFound")
    assert said["message"].endswith("lanes you may use: other")
    assert condition(stage.last(run["metadata"]["uid"]), "Stalled")["status"] == "True"
    await stage.add_lane()
    await stage.finished(run)


async def test_a_suspended_lane_grants_nothing_until_it_is_resumed(stage: Stage) -> None:
    await stage.add_lane({"suspend": True})
    stage.start()
    run = await stage.add_run()
    await stage.condition(run, "Admitted", "LaneSuspended")
    await stage.kube.merge_patch(MODEL_LANES, stage.namespace, "local", {"spec": {"suspend": False}})
    await stage.finished(run)


async def test_a_lane_of_another_namespace_is_used_only_if_it_allows_that(
    stage: Stage, kube: Kube, other_namespace: str
) -> None:
    await kube.create(MODEL_LANES, other_namespace, stage.lane(name="shared"))
    stage.settings["LANEWAY_WATCH_NAMESPACES"] = f"{stage.namespace},{other_namespace}"
    stage.start()
    run = await stage.add_run(spec={"models": [{"lane": "shared", "namespace": other_namespace}]})
    said = await stage.condition(run, "Admitted", "NamespaceNotAllowed")
    assert f"does not allow namespace {stage.namespace}" in said["message"]
    await kube.merge_patch(MODEL_LANES, other_namespace, "shared", {"spec": {"allowedNamespaces": {"from": "All"}}})
    await stage.finished(run)
