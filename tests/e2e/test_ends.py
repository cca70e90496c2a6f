"""How runs end on a real kubelet. All of them are begun at once (endings.py), and each test waits for its own."""

from __future__ import annotations

import json

import pytest

from e2e import agents
from e2e.commands import kubectl, until
from e2e.stage import Stage, all_ended, condition
from laneway.kube.resources import CONFIG_MAPS


@pytest.mark.row("B16")
async def test_cancel_stops_the_pod_and_keeps_the_record(free: Stage) -> None:
    await free.running_pod("cancelled")
    await free.change({"cancel": True}, name="cancelled")
    [run] = await free.finished("cancelled")
    ended = condition(run, "Succeeded")
    assert (ended["status"], ended["reason"]) == ("False", "Cancelled")
    await until(lambda: all_ended(free, run), what="the pod has left")
    assert (await free.read("cancelled"))["status"]["attempts"][0]["outcome"] == "Cancelled"


@pytest.mark.row("C7")
async def test_a_suspended_run_has_no_pod_until_it_may_go_on(free: Stage) -> None:
    await free.says("Admitted", "Suspended", name="suspended")
    run = await free.read("suspended")
    assert "attempt" not in run["status"]
    assert not await free.pods(run)
    await free.change({"suspend": False}, name="suspended")
    [run] = await free.succeeded("suspended")
    assert run["status"]["result"]["summary"] == "at last"


@pytest.mark.row("S3.30")
async def test_a_run_that_is_suspended_at_work_ends_its_attempt(free: Stage) -> None:
    pod = await free.running_pod("at-work")
    await free.change({"suspend": True}, name="at-work")
    changed = (await free.read("at-work"))["metadata"]["generation"]
    await until(lambda: judged(free, "at-work", changed), what="the change was seen")
    assert (await free.running_pod("at-work"))["metadata"]["uid"] == pod["metadata"]["uid"]
    kubectl("exec", "-n", free.namespace, pod["metadata"]["name"], "--", "touch", "go")
    [run] = await free.succeeded("at-work")
    assert run["status"]["result"]["summary"] == "finished anyway"


async def judged(stage: Stage, name: str, generation: int) -> bool:
    """Whether the operator has judged this generation of a run."""
    return bool((await stage.read(name))["status"]["observedGeneration"] >= generation)


async def test_an_evicted_pod_is_followed_by_another_attempt(free: Stage) -> None:
    pod = (await free.running_pod("evicted"))["metadata"]["name"]
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": free.namespace}}
    path = f"/api/v1/namespaces/{free.namespace}/pods/{pod}/eviction"
    kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))
    await second_attempt(free, "evicted", end="evicted")


@pytest.mark.row("S4.18")
async def test_a_pod_that_was_deleted_by_force_is_followed_by_another_attempt(free: Stage) -> None:
    pod = (await free.running_pod("deleted"))["metadata"]["name"]
    kubectl("delete", "pod", "-n", free.namespace, pod, "--force", "--grace-period=0")
    await second_attempt(free, "deleted", end="gone")


async def second_attempt(stage: Stage, name: str, *, end: str) -> None:
    """The run succeeds in its second attempt, and says how the first was broken."""
    [run] = await stage.succeeded(name)
    first, second = run["status"]["attempts"]
    assert (first["outcome"], second["outcome"]) == ("Disrupted", "Succeeded")
    assert end in first["message"]
    assert run["status"]["result"]["summary"] == "second attempt"
    assert run["status"]["disruptionCount"] == 1
    assert first["podUID"] != second["podUID"]
    assert len(await stage.events(run, "PodLost")) == 1


async def test_a_run_with_a_time_to_stay_goes_after_it_with_its_pod_and_its_prompt(free: Stage) -> None:
    run = await free.add_run({"agent": agents.says("all done"), "ttlSecondsAfterFinished": 2}, name="passing")
    kubectl("wait", "-n", free.namespace, "--for=condition=Succeeded", "agrun/passing", "--timeout=60s")
    kubectl("wait", "-n", free.namespace, "--for=delete", "agrun/passing", "--timeout=60s")
    await free.pods_gone(run)

    async def its_prompt_is_gone() -> bool:
        kept = (await free.kube.list(CONFIG_MAPS, namespace=free.namespace)).items
        owners = [owner["uid"] for one in kept for owner in one["metadata"].get("ownerReferences") or ()]
        return run["metadata"]["uid"] not in owners

    await until(its_prompt_is_gone, seconds=60, what="the prompt of the run has gone with it")


@pytest.mark.row("S0.30")
async def test_kubectl_wait_returns_for_a_good_end_and_for_a_bad_one(free: Stage) -> None:
    for name in ("good", "exit-code"):
        said = kubectl("wait", "-n", free.namespace, "--for=condition=Finished", f"agrun/{name}", "--timeout=60s")
        assert said.strip() == f"agentrun.laneway.dev/{name} condition met"


@pytest.mark.row("S4.20", "S0.30")
async def test_the_pod_goes_after_its_time_and_the_run_stays(free: Stage) -> None:
    [run] = await free.succeeded("good")
    await free.pods_gone(run)
    assert (await free.read("good"))["status"]["result"] == {"summary": "all done", "exitCode": 0}


@pytest.mark.row("S0.30")
async def test_a_pod_that_a_policy_refuses_ends_the_run_with_the_policys_words(bound: Stage) -> None:
    [run] = await bound.finished("over-limit")
    ended = condition(run, "Finished")
    assert ended["reason"] == "PodRejected"
    assert "maximum memory usage per Container is 1Gi" in ended["message"]
