"""What a crash, a pause and a restart may not change: pods, results, numbers, the bound of a lane."""

from __future__ import annotations

import asyncio

import pytest

from e2e import agents, processes, release
from e2e.commands import kubectl, until
from e2e.scripted import Scripted
from e2e.stage import Stage
from laneway.kube.resources import PODS, JsonObject
from modelserver.shapes import INPUT_TOKENS, OUTPUT_TOKENS, TEXT
from support.witness import most_at_once, witness

PAUSE_SECONDS = 20
"""Longer than a Lease, shorter than the kubelet's patience with a process that does not answer."""
pytestmark = pytest.mark.usefixtures("whole_release")


@pytest.mark.row("S2.13", "S4.41", "S4.43", "S4.44")
async def test_a_run_goes_on_in_its_pod_when_the_operator_is_killed(
    stage: Stage, scripted: Scripted, test_image: str
) -> None:
    async with witness(stage.kube, PODS, stage.namespace) as pods:
        await stage.add_lane({"capacity": {"runs": 1}})
        await stage.add_run({"prompt": "sleep:5 What is the capital of France?"}, name="running")
        pod = await stage.running_pod("running")
        await stage.add_run({"agent": agents.says("then me")}, name="queued")
        await stage.says("Admitted", "WaitingForSlot", name="queued")
        await until(scripted.requests, what="the call is open")
        leader = release.leader()
        processes.kill(leader, program=release.OPERATOR)
        running, queued = await stage.succeeded("running", "queued", seconds=90)
        await until(lambda: restarts_of(leader) > release.restarts(leader), seconds=60, what="the kubelet restarted it")
    assert [one["podUID"] for one in running["status"]["attempts"]] == [pod["metadata"]["uid"]]
    assert running["status"]["result"]["summary"] == TEXT
    assert running["status"]["usage"]["outputTokens"] == OUTPUT_TOKENS
    assert queued["status"]["result"]["summary"] == "then me"
    assert most_at_once(pods, lane="lane") == 1
    for run in (running, queued):
        await granted_once(stage, run)


@pytest.mark.row("S2.3", "S4.41")
async def test_a_leader_that_was_paused_for_longer_than_its_lease_grants_nothing_twice(
    stage: Stage, scripted: Scripted, test_image: str
) -> None:
    names = [f"run-{number}" for number in range(8)]
    async with witness(stage.kube, PODS, stage.namespace) as pods:
        await stage.add_lane({"capacity": {"runs": 1}})
        for name in names:
            await stage.add_run({"agent": agents.says(name, before="sleep 2")}, name=name)
        await stage.running_pod(names[1])
        leader = release.leader()
        with processes.paused(leader, program=release.OPERATOR):
            await asyncio.sleep(PAUSE_SECONDS)
            assert release.leader()["metadata"]["uid"] != leader["metadata"]["uid"], "the other replica leads"
        ended = await stage.succeeded(*names, seconds=120)
        await until(
            lambda: restarts_of(leader) > release.restarts(leader), seconds=60, what="the paused replica has left"
        )
    assert [run["status"]["result"]["summary"] for run in ended] == names
    assert most_at_once(pods, lane="lane") == 1
    for run in ended:
        assert len(run["status"]["attempts"]) == 1
        await granted_once(stage, run)


async def test_a_call_that_is_open_ends_well_when_the_gateway_is_replaced(
    stage: Stage, scripted: Scripted, laneway_image: str
) -> None:
    await stage.add_lane()
    await stage.add_run({"prompt": "sleep:10 What is the capital of France?"})
    await until(scripted.requests, what="the call is open")
    [gateway] = release.pods("gateway")
    kubectl("delete", "pod", "-n", release.SYSTEM, gateway["metadata"]["name"], "--wait=false")
    [run] = await stage.succeeded(seconds=90)
    assert run["status"]["result"]["summary"] == TEXT
    assert len(run["status"]["attempts"]) == 1
    usage = run["status"]["usage"]
    assert (usage["inputTokens"], usage["outputTokens"], usage["complete"]) == (INPUT_TOKENS, OUTPUT_TOKENS, True)
    await until(release.all_ready, seconds=90, every=0.5, what="the new gateway is ready")
    [row] = release.ledger_rows(run["metadata"]["uid"])
    assert (row["state"], row["input_tokens"], row["output_tokens"]) == ("settled", INPUT_TOKENS, OUTPUT_TOKENS)
    assert release.pods("gateway")[0]["metadata"]["uid"] != gateway["metadata"]["uid"]


async def granted_once(stage: Stage, run: JsonObject) -> None:
    """One Event tells of the slot, however often it was decided."""
    assert len(await stage.events(run, "SlotGranted")) == 1, run["metadata"]["name"]


def restarts_of(pod: JsonObject) -> int:
    """How often the pod was restarted by now."""
    return sum(
        release.restarts(one) for one in release.pods("operator") if one["metadata"]["uid"] == pod["metadata"]["uid"]
    )
