"""``kubectl laneway submit``, ``top``, completion and ``why`` against the real API server, with a real operator."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import subprocess
from contextlib import suppress

import pytest
import yaml

from integration.conftest import Kubectl
from integration.operators import Stage
from integration.plugin import Plugin
from laneway.cli.asking import on_lane
from laneway.kube.resources import AGENT_RUNS
from support.kubeletport import kubelet_port
from support.standin import Part

AGENT = ("--image", "agent:test", "--lane", "local")


async def test_a_run_is_made_of_flags_and_stdin_and_judged_by_the_api_server(stage: Stage, laneway: Plugin) -> None:
    flags = ("--model", "smollm2", "--limit-cost", "2.50", "--label", "team=a", "--env", "CI=true", "--caller", "ci")
    made = await laneway.ask("submit", "-f", "-", *AGENT, *flags, "--name", "hello", "-o", "name", stdin="Say hello.\n")
    assert (made.code, made.out) == (0, "agentrun.laneway.dev/hello\n")
    run = await stage.run()
    assert run["metadata"]["labels"] == {"team": "a"}
    assert run["spec"]["prompt"] == "Say hello.\n"
    assert run["spec"]["models"] == [{"lane": "local", "model": "smollm2"}]
    assert run["spec"]["limits"]["costUSD"] == "2.50"
    agent = {name: run["spec"]["agent"][name] for name in ("preset", "image", "env")}
    assert agent == {"preset": "generic", "image": "agent:test", "env": [{"name": "CI", "value": "true"}]}
    assert "run-" in await laneway("submit", "--prompt", "x", *AGENT)
    again = await laneway.ask("submit", "--prompt", "x", *AGENT, "--name", "hello")
    assert (again.code, again.out) == (1, "")
    assert '"hello" already exists' in again.err
    refused = await laneway.ask("submit", "--prompt", "x", "--lane", "local", "--limit-cost", "0")
    assert refused.code == 1
    assert "spec.limits.costUSD" in refused.err


async def test_a_dry_run_makes_nothing_and_its_manifest_can_be_applied(
    stage: Stage, laneway: Plugin, kubectl: Kubectl
) -> None:
    text = await laneway("submit", "--prompt", "x", *AGENT, "--name", "hello", "--dry-run", "-o", "yaml")
    server = json.loads(await laneway("submit", "--prompt", "x", *AGENT, "--dry-run=server", "-o", "json"))
    assert server["spec"]["limits"]["turns"] == 1000  # by the API server's defaults
    assert kubectl("get", "agentruns", "-n", stage.namespace, "-o", "name") == ""
    kubectl("apply", "-f", "-", stdin=text)
    assert "status" not in yaml.safe_load(text)
    assert (await stage.run())["spec"]["prompt"] == "x"


async def test_who_waits_gets_the_end_and_an_exit_code_that_tells_it(stage: Stage, laneway: Plugin) -> None:
    await stage.add_lane()
    stage.start()
    well = await laneway.ask("submit", "--prompt", "x", *AGENT, "--name", "hello", "--wait")
    assert (well.code, well.err) == (0, "")
    assert well.out.startswith("agentrun.laneway.dev/hello created\nhello ended well at ")
    stage.node.play("bad", Part(exit_code=3))
    failed = await laneway.ask("submit", "--prompt", "x", *AGENT, "--name", "bad", "--wait", "-o", "json")
    assert (failed.code, json.loads(failed.out)["status"]["reason"]) == (3, "Failed")
    assert failed.err.endswith("kubectl laneway: bad failed as Failed\n")
    stage.node.play("long", Part.held())
    late = await laneway.ask("submit", "--prompt", "x", *AGENT, "--name", "long", "--wait", "--timeout", "1")
    assert (late.code, late.out) == (4, "agentrun.laneway.dev/long created\n")
    assert "long has not ended within 1 s; it goes on" in late.err


async def test_who_follows_gets_the_log_alone_on_stdout(stage: Stage, laneway: Plugin) -> None:
    await stage.add_lane()
    async with kubelet_port(stage.node, kubeconfig=stage.kubeconfig, text="the answer\n"):
        stage.start()
        done = await laneway.ask("submit", "--prompt", "x", *AGENT, "--name", "hello", "--follow")
    assert (done.code, done.out) == (0, "the answer\n")
    assert done.err.startswith("agentrun.laneway.dev/hello created\n")


async def test_why_asks_for_runs_of_the_lane_that_have_not_ended_and_for_no_others(
    stage: Stage, laneway: Plugin
) -> None:
    await stage.add_lane(slots=1)
    await stage.add_lane(name="other")
    stage.start()
    for name, lane in (("ended", "local"), ("elsewhere", "other"), ("first", "local")):
        part = stage.node.play(name, Part() if name == "ended" else Part.held())
        run = await stage.add_run(name, spec={"models": [{"lane": lane}]})
        await (stage.has_pod(run, phase="Running") if not part.released.is_set() else stage.finished(run))
    second = await stage.add_run("second")
    await stage.position(second, 1)
    asked = await stage.kube.list(AGENT_RUNS, field_selector=on_lane(stage.namespace, "local"))
    assert {run["metadata"]["name"] for run in asked.items} == {"first", "second"}
    said = await laneway("why", "second")
    assert re.search(rf"Slots are held by {stage.namespace}/first since [0-9:]+Z\. ", said)


async def test_near_names_are_offered_for_a_name_that_is_not_there(stage: Stage, laneway: Plugin) -> None:
    await stage.add_run("nightly")
    wrong = await laneway.ask("why", "nighty")
    assert (wrong.code, wrong.err) == (
        1,
        f"kubectl laneway: there is no AgentRun nighty in namespace {stage.namespace}; did you mean nightly?\n",
    )


async def test_top_prints_one_screen_for_scripts_and_asks_for_a_terminal_else(stage: Stage, laneway: Plugin) -> None:
    stage.start()
    await stage.add_lane(slots=1)
    stage.node.play("first", Part.held())
    await stage.has_pod(await stage.add_run("first"), phase="Running")
    second = await stage.add_run("second")
    await stage.position(second, 1)
    lines = (await laneway("top", "--once")).splitlines()
    assert lines[0].startswith(f"{stage.namespace}   ")
    assert lines[0].endswith("runs: 1 Running, 1 Queued")
    assert [line.split()[0] for line in lines if line] == [stage.namespace, "LANE", "local", "NAME", "first", "second"]
    none = await laneway.ask("top")
    assert (none.code, none.err) == (1, "kubectl laneway: top draws on a terminal; --once prints one screen\n")


async def test_top_draws_changes_on_a_terminal_and_gives_it_back(stage: Stage, laneway: Plugin) -> None:
    await stage.add_run("first")
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *laneway.command("top", "--every", "0.1"), env={**laneway.env, "TERM": "xterm"}, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    try:
        seen = await _shown(ours, "first")
        assert seen.startswith("\x1b[?1049h\x1b[?25l\x1b[H")
        await stage.add_run("second")
        await _shown(ours, "second")
        process.send_signal(2)
        assert (await _shown(ours, "\x1b[?1049l")).endswith("\x1b[?25h\x1b[?1049l")
        assert await asyncio.wait_for(process.wait(), 60) == 130
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        os.close(ours)


async def _shown(terminal: int, words: str) -> str:
    """What a terminal gets until these words have come."""
    seen = ""
    async with asyncio.timeout(60):
        while words not in seen:
            seen += (await asyncio.to_thread(os.read, terminal, 65_536)).decode()
    return seen


@pytest.mark.parametrize(
    ("words", "found"),
    [
        pytest.param(["why", "ni"], ["nightly", ":4"], id="names of runs"),
        pytest.param(["cooldown", "set", ""], ["local", ":4"], id="names of lanes"),
        pytest.param(["cooldown", "clear", "local", "sm"], ["smollm2", ":4"], id="models of the lane that was named"),
        pytest.param(
            ["submit", "--lane", "local", "--model", ""], ["smollm2", ":4"], id="models of the lane of a flag"
        ),
        pytest.param(["usage", "--by", "na"], ["namespace", ":4"], id="what a flag takes"),
        pytest.param(["lo"], ["logs\tprint what the agent of a run wrote, across its attempts", ":4"], id="commands"),
        pytest.param(
            ["top", "--on"], ["--once\tprint it once, whole, also where there is no terminal", ":4"], id="flags"
        ),
        pytest.param(["submit", "-f", ""], [":0"], id="a file is the shell's to complete"),
    ],
)
async def test_kubectl_completes_words_with_the_help_of_the_second_program(
    stage: Stage, laneway: Plugin, words: list[str], found: list[str]
) -> None:
    await stage.add_lane()
    await stage.add_run("nightly")
    words = [words[0], "-n", stage.namespace, *words[1:]] if len(words) > 1 and words[0] != "cooldown" else words
    if words[0] == "cooldown":
        words = [*words[:2], "-n", stage.namespace, *words[2:]]
    done = await asyncio.to_thread(_kubectl_complete, laneway, words)
    assert done[-1].startswith(":")
    assert done == found


def _kubectl_complete(laneway: Plugin, words: list[str]) -> list[str]:
    """As the shell asks kubectl."""
    done = subprocess.run(
        ["kubectl", "__complete", "laneway", *words],
        env=laneway.env,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout.splitlines()
