"""``kubectl laneway`` as a person uses it: kubectl finds the plugin, which asks the real API server, where a real operator works."""

from __future__ import annotations

import json
import subprocess

import yaml

from integration.conftest import Kubectl
from integration.operators import Stage, condition
from integration.plugin import Plugin
from laneway.api.reasons import Waiting
from laneway.kube.resources import AGENT_RUNS, MODEL_LANES
from support.standin import Part


async def test_why_tells_what_a_run_waits_for_and_who_has_the_slots(stage: Stage, laneway: Plugin) -> None:
    stage.start()
    lost = await stage.add_run("lost")
    await stage.condition(lost, "Admitted", Waiting.LANE_NOT_FOUND)
    assert (await laneway("why", "lost")).startswith(
        "lost waits for a lane that does not exist: there is no ModelLane local"
    )

    await stage.add_lane(slots=1)
    stage.node.play("lost", Part(starts=False))
    await stage.has_pod(lost)
    second = await stage.add_run("second")
    await stage.position(second, 1)
    said = await laneway("why", "second")
    assert (
        f"second waits for a slot: lane {stage.namespace}/local: 1 of 1 slots used, position 1. It has waited since"
        in said
    )
    assert f"Slots are held by {stage.namespace}/lost since " in said
    assert (await laneway("why", "lost")).startswith("lost has a slot on local/smollm2 and its agent does not run yet")


async def test_a_person_suspends_resumes_cancels_and_tries_again(stage: Stage, laneway: Plugin) -> None:
    stage.start()
    run = await stage.add_run()
    await stage.condition(run, "Admitted", Waiting.LANE_NOT_FOUND)
    refused = await laneway.ask("retry", "hello")
    assert (refused.code, refused.out) == (1, "")
    assert "hello has not ended; cancel it first, or wait" in refused.err

    assert "hello suspended." in await laneway("suspend", "hello")
    await stage.condition(run, "Admitted", Waiting.SUSPENDED)
    assert "suspended already" in await laneway("suspend", "hello")
    assert "hello resumed." in await laneway("resume", "hello")
    await stage.condition(run, "Admitted", Waiting.LANE_NOT_FOUND)
    assert "is not suspended" in await laneway("resume", "hello")

    assert "hello cancelled." in await laneway("cancel", "hello")
    [ended] = await stage.finished(run)
    assert "hello failed at " in await laneway("why", "hello")
    late = await laneway.ask("suspend", "hello")
    assert (late.code, late.err) == (
        1,
        "kubectl laneway: hello has ended (Cancelled); there is nothing to suspend\n",
    )

    assert "hello-retry-1 created" in await laneway("retry", "hello")
    assert "hello-retry-2 created" in await laneway("retry", "hello")
    again = await stage.run("hello-retry-2")
    assert again["metadata"]["labels"]["laneway.dev/retry-of"] == "hello"
    assert again["spec"]["prompt"] == ended["spec"]["prompt"]
    assert not again["spec"].get("cancel")
    await stage.condition(again, "Admitted", Waiting.LANE_NOT_FOUND)
    assert (await stage.run())["metadata"]["resourceVersion"] == ended["metadata"]["resourceVersion"]
    writers = {entry["manager"] for entry in again["metadata"]["managedFields"]}
    assert "kubectl-laneway" in writers


async def test_another_try_of_a_run_with_a_made_name_gets_one_too(stage: Stage, laneway: Plugin) -> None:
    stage.start()
    run = await stage.add_run(name=None, generateName="nightly-", spec={"cancel": True})
    await stage.finished(run)
    name = run["metadata"]["name"]
    made = (await laneway("retry", name)).split()[0].rpartition("/")[2]
    assert made != name
    assert made.startswith("nightly-")
    assert "retry" not in made


async def test_a_model_is_held_and_cleared_and_entries_of_others_stay(stage: Stage, laneway: Plugin) -> None:
    models = [{"name": "smollm2"}, {"name": "other"}]
    await stage.add_lane({"models": models, "cooldowns": [{"model": "other", "mode": "Hold"}]})
    stage.start()
    assert "local: smollm2 is held until 2" in await laneway("cooldown", "set", "local", "smollm2", "--for", "30m")

    async def throttled() -> int:
        lane = await stage.kube.get(MODEL_LANES, stage.namespace, "local")
        return sum("cooldownReason" in one for one in (lane.get("status") or {}).get("models", []))

    await stage.until(throttled, 2)
    shown = (await laneway("lanes")).splitlines()
    assert shown[0].split() == ["LANE", "READY", "RUNS", "QUEUED", "BACKING", "OFF", "MODELS"]
    assert shown[1].startswith("local ")
    assert "smollm2 cooling until " in shown[1]
    assert shown[1].endswith("(by hand), other not used for now (by hand)")

    run = await stage.add_run()
    await stage.condition(run, "Admitted", Waiting.ALL_MODELS_COOLING)
    assert "local: smollm2 cleared" in await laneway("cooldown", "clear", "local", "smollm2")
    await stage.finished(run)
    [_, smollm2, other] = (await laneway("cooldown", "list", "local")).splitlines()
    assert smollm2.split()[:2] == ["smollm2", "Clear"]
    assert other.split()[-1] == "Hold"

    assert "other cleared" in await laneway("cooldown", "clear", "local")
    await stage.until(throttled, 0)
    assert "there is nothing to clear" in await laneway("cooldown", "clear", "local")
    wrong = await laneway.ask("cooldown", "set", "local", "nomodel")
    assert (wrong.code, wrong.err) == (1, "kubectl laneway: lane local has no model nomodel; it has smollm2, other\n")


async def test_lists_are_those_of_kubectl(stage: Stage, laneway: Plugin, kubectl: Kubectl) -> None:
    await stage.add_run(labels={"team": "a"})
    await stage.add_run("other")
    rows = (await laneway("list", "-l", "team=a")).splitlines()
    assert [row.split()[0] for row in rows] == ["NAME", "hello"]
    everywhere = (await laneway("list", "-A", "-o", "wide")).splitlines()
    assert [stage.namespace, "hello"] in [row.split()[:2] for row in everywhere]

    theirs = json.loads(kubectl("get", "agentruns", "-n", stage.namespace, "-o", "json"))
    assert json.loads(await laneway("list", "-o", "json")) == theirs
    assert yaml.safe_load(await laneway("list", "-o", "yaml"))["items"] == theirs["items"]
    none = await laneway.ask("lanes")
    assert (none.code, none.out, none.err) == (0, "", f"No resources found in {stage.namespace} namespace.\n")
    assert "\x1b" not in "".join(everywhere)


async def test_a_reader_that_has_seen_enough_ends_a_command_without_a_word(stage: Stage, laneway: Plugin) -> None:
    await stage.add_run()
    for command in ("list -A -o json", "top --once", "usage"):
        line = f"kubectl laneway {command} -n {stage.namespace} | : ; echo ${{PIPESTATUS[0]}}"
        done = subprocess.run(
            ["bash", "-c", line], env=laneway.env, capture_output=True, text=True, check=True, timeout=60
        )
        assert (done.stdout, done.stderr) == ("0\n", ""), command


async def test_what_is_not_there_is_said_with_its_name(stage: Stage, laneway: Plugin) -> None:
    for command in (["why", "nobody"], ["cancel", "nobody"], ["retry", "nobody"], ["logs", "nobody"]):
        answer = await laneway.ask(*command)
        assert (answer.code, answer.out) == (1, "")
        assert answer.err == f"kubectl laneway: there is no AgentRun nobody in namespace {stage.namespace}\n"
    answer = await laneway.ask("cooldown", "clear", "nowhere")
    assert answer.err == f"kubectl laneway: there is no ModelLane nowhere in namespace {stage.namespace}\n"


async def test_who_may_not_look_everywhere_is_told_less_and_who_may_not_write_is_told_so(
    stage: Stage, laneway: Plugin, guest: str
) -> None:
    stage.start()
    await stage.add_lane(slots=1)
    first = await stage.add_run("first")
    stage.node.play("first", Part(starts=False))
    await stage.has_pod(first)
    second = await stage.add_run("second")
    await stage.position(second, 1)
    await stage.lane_says(activeRuns=1, queuedRuns=1)
    said = await laneway("why", "second", "--kubeconfig", guest)
    assert f"Slots are held by {stage.namespace} (1)." in said
    for command in (["cancel", "second"], ["list", "-A"]):
        refused = await laneway.ask(*command, "--kubeconfig", guest)
        assert refused.code == 1
        assert refused.err.startswith("kubectl laneway: you may not do that: ")
    assert condition(await stage.kube.get(AGENT_RUNS, stage.namespace, "second"), "Finished")["status"] == "False"
