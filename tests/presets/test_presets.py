"""Each preset's agent, the real program, in a real pod under Pod Security restricted: it works, and what it leaves is what the run says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agents.clis import AGENTS, OUTPUT, PROMPT, Agent
from e2e.scripted import Scripted
from e2e.stage import Stage, condition
from laneway.api.endpoint import WireAPI
from laneway.controller.facts.presets import LogParser
from laneway.kube.resources import JsonObject
from modelserver import Step
from modelserver.shapes import INPUT_TOKENS, OUTPUT_TOKENS, TEXT
from presets.conftest import ImageOf
from support.builders import PRESETS

OLLAMA = {"endpoint": {"url": "http://ollama.default.svc:11434", "server": "Ollama"}, "models": [{"name": "smollm2"}]}
"""The demo's own model server, whose model takes no tools."""
each = pytest.mark.parametrize("agent", [pytest.param(agent, id=agent.name) for agent in AGENTS])


def spec_of(agent: Agent, image: str, *args: str, **more: Any) -> JsonObject:
    """A run of a preset."""
    wanted = {"preset": agent.name, "image": image, "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}}}
    return {"prompt": PROMPT, "agent": {**wanted, **({"args": list(args)} if args else {}), **more}}


def script(steps: list[Step]) -> list[JsonObject]:
    """Steps as the scripted server takes them."""
    plain = Step()
    fields = vars(plain)
    changed = [{k: v for k, v in vars(step).items() if v != fields[k]} for step in steps]
    return [json.loads(json.dumps(step)) for step in changed]


async def on_scripted(
    stage: Stage, scripted: Scripted, agent: Agent, steps: list[Step], spec: JsonObject
) -> JsonObject:
    """The run, once it has ended; its lane speaks the agent's protocol."""
    server = "Gemini" if agent.wire.api is WireAPI.GENERATE_CONTENT else "Ollama"
    await stage.add_lane({"endpoint": {"url": "http://scripted:8000", "server": server}})
    scripted.play(steps=script(steps), models={"scripted": 8192})
    await stage.add_run(spec)
    [ended] = await stage.finished(seconds=240)
    return ended


@each
async def test_an_agent_works_in_its_pod_and_its_run_says_what_it_said(
    stage: Stage, scripted: Scripted, image_of: ImageOf, agent: Agent
) -> None:
    spec = spec_of(agent, image_of(agent.name), *agent.tools)
    ended = await on_scripted(stage, scripted, agent, agent.work(), spec)
    assert condition(ended, "Finished")["reason"] == "Completed", (ended["status"], stage.log(ended))
    calls = scripted.requests()
    usage = ended["status"]["usage"]
    assert (usage["turns"], usage["inputTokens"], usage["outputTokens"]) == (
        len(calls),
        len(calls) * INPUT_TOKENS,
        len(calls) * OUTPUT_TOKENS,
    )
    assert any(OUTPUT in json.dumps(call["body"]) for call in calls[1:]) == agent.is_told
    summary = ended["status"]["result"].get("summary", "")
    said = OUTPUT if not agent.is_told else TEXT
    assert said in summary


@each
async def test_the_pod_lets_an_agent_write_where_it_may_and_nowhere_else(
    stage: Stage, scripted: Scripted, image_of: ImageOf, agent: Agent
) -> None:
    """Its image has a shell, which looks around in the agent's place."""
    look = "id -u; for place in /workspace /tmp /opt /etc; do touch $place/new 2>/dev/null && echo $place; done"
    files = " ".join(PRESETS[agent.name].files)
    spec = spec_of(agent, image_of(agent.name), command=["sh", "-c", f"{look}; cat {files or '/dev/null'}"])
    ended = await on_scripted(stage, scripted, agent, [], spec)
    user, *places = stage.log(ended).split("\n", 3)
    assert (user, places[:2]) == ("65532", ["/workspace", "/tmp"])
    assert "$(" not in places[2]
    assert bool(PRESETS[agent.name].files) == bool(places[2].strip())


@each
async def test_a_key_that_the_model_server_refuses_ends_the_run_as_that(
    stage: Stage, scripted: Scripted, image_of: ImageOf, agent: Agent
) -> None:
    """The agent's exit code is no success, so the gateway's word counts."""
    spec = spec_of(agent, image_of(agent.name), *agent.brief)
    ended = await on_scripted(stage, scripted, agent, [Step(status=401, repeat=None)], spec)
    assert condition(ended, "Succeeded")["status"] == "False", ended["status"]
    assert condition(ended, "Finished")["reason"] == "AuthFailed"


@pytest.mark.parametrize(
    "agent", [agent for agent in AGENTS if agent.name in {"claude-code", "aider"}], ids=lambda a: a.name
)
async def test_an_agent_on_the_real_ollama_of_the_demo(stage: Stage, image_of: ImageOf, agent: Agent) -> None:
    """Those that can work without tools, which the demo's model does not take."""
    await stage.add_lane(OLLAMA)
    await stage.add_run(spec_of(agent, image_of(agent.name), *agent.brief) | {"models": [{"lane": "lane"}]})
    [ended] = await stage.finished(seconds=300)
    status = ended["status"]
    assert condition(ended, "Finished")["reason"] == "Completed", (status, stage.log(ended))
    assert status["usage"]["source"] == "Gateway"
    assert status["usage"]["inputTokens"] > 0
    assert status["usage"]["outputTokens"] > 0
    assert status["result"]["summary"]
    assert PRESETS[agent.name].log_parser is LogParser.NONE or '"type":"result"' in stage.log(ended)
