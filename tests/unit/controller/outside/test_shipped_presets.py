"""The presets that come with Laneway, one by one: what each asks for, and the pod that comes out."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from laneway.api.endpoint import WireAPI
from laneway.controller.facts.presets import LogParser
from laneway.controller.pods.pod import Plan, build_pod
from support.builders import PRESETS, SURROUNDINGS, attempt, lane, run

ROOT = Path(__file__).parents[4]
URL, TOKEN = SURROUNDINGS.gateway_url, SURROUNDINGS.token


@dataclass(frozen=True)
class Facts:
    """What is known of one preset."""

    api: WireAPI | None
    parser: LogParser
    program: str = ""
    """The command that a shell in the pod becomes; empty where the preset has none."""
    files: tuple[str, ...] = ()
    needs_image: bool = True
    read_only: bool = True


FACTS = {
    "laneway": Facts(WireAPI.CHAT_COMPLETIONS, LogParser.STREAM_JSON, needs_image=False, read_only=False),
    "generic": Facts(None, LogParser.NONE, read_only=False),
    "claude-code": Facts(WireAPI.MESSAGES, LogParser.STREAM_JSON, "claude"),
    "codex": Facts(WireAPI.RESPONSES, LogParser.STREAM_JSON, "codex", ("/etc/codex/config.toml",)),
    "gemini-cli": Facts(WireAPI.GENERATE_CONTENT, LogParser.STREAM_JSON, "gemini", ("/etc/gemini-cli/settings.json",)),
    "aider": Facts(WireAPI.CHAT_COMPLETIONS, LogParser.NONE, "aider", ("/etc/laneway/aider-models.json",)),
    "opencode": Facts(WireAPI.CHAT_COMPLETIONS, LogParser.NONE, "opencode", ("/etc/laneway/opencode.json",)),
    "mini-swe-agent": Facts(WireAPI.CHAT_COMPLETIONS, LogParser.NONE, "mini"),
}
OTHERS = {name: facts for name, facts in FACTS.items() if facts.program}
"""Agents of others."""

each = pytest.mark.parametrize(("name", "facts"), [pytest.param(name, facts, id=name) for name, facts in FACTS.items()])
each_other = pytest.mark.parametrize(
    ("name", "facts"), [pytest.param(name, facts, id=name) for name, facts in OTHERS.items()]
)


def pod_of(name: str, *, access: str = "Gateway", **agent: Any) -> dict[str, Any]:
    """The pod of a run of this preset."""
    spec = {"agent": {"preset": name, "image": "mine:1", **agent}}
    the_lane = lane(spec={"access": access})
    return build_pod(
        Plan(run=run(spec=spec), lane=the_lane, preset=PRESETS[name], attempt=attempt(), surroundings=SURROUNDINGS)
    )


def agent_of(pod: dict[str, Any]) -> dict[str, Any]:
    [container] = pod["spec"]["containers"]
    return dict(container)


def files_of(pod: dict[str, Any]) -> dict[str, str]:
    """The files that the agent finds, as the kubelet makes them of the pod."""
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    found = {}
    for mount in agent_of(pod)["volumeMounts"]:
        if "subPath" in mount:
            items = {
                item["path"]: item["fieldRef"]["fieldPath"] for item in volumes[mount["name"]]["downwardAPI"]["items"]
            }
            key = items[mount["subPath"]].removeprefix("metadata.annotations['").removesuffix("']")
            found[mount["mountPath"]] = pod["metadata"]["annotations"][key]
    return found


def variables_of(pod: dict[str, Any]) -> dict[str, str]:
    return {entry["name"]: entry.get("value", "") for entry in agent_of(pod)["env"]}


def test_every_shipped_preset_is_listed_here_and_in_the_documents() -> None:
    assert set(PRESETS) == set(FACTS)
    text = (ROOT / "docs" / "agents.md").read_text(encoding="utf-8")
    assert [name for name in FACTS if f"| `{name}` |" not in text] == []


@each
def test_a_preset_asks_for_what_is_known_of_its_agent(name: str, facts: Facts) -> None:
    preset = PRESETS[name]
    assert (preset.wire_api, preset.log_parser, tuple(preset.files)) == (facts.api, facts.parser, facts.files)
    assert (preset.needs_image, preset.read_only_root_filesystem) == (facts.needs_image, facts.read_only)


@each
def test_the_pod_is_restricted_and_holds_the_token_in_variables_only(name: str, facts: Facts) -> None:
    pod = pod_of(name)
    container = agent_of(pod)
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert container["securityContext"] == security | ({"readOnlyRootFilesystem": True} if facts.read_only else {})
    assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
    assert TOKEN not in json.dumps([pod["metadata"], container.get("command"), container.get("args")])
    assert tuple(files_of(pod)) == facts.files


@each_other
def test_an_agent_becomes_the_container_reads_the_prompt_from_its_file_and_takes_the_runs_arguments(
    name: str, facts: Facts
) -> None:
    container = agent_of(pod_of(name, args=["--one", "two words"]))
    shell, option, script, own_name = container["command"]
    assert (shell, option, own_name) == ("sh", "-c", name)
    [line] = [line for line in script.splitlines() if line.removeprefix("exec ").startswith(f"{facts.program} ")]
    assert line.startswith("exec ") == (script == line), "what waits for the agent hands SIGTERM on"
    assert line.startswith("exec ") or "trap 'kill \"$!\"' TERM" in script
    assert '"$@"' in script
    assert '"$LANEWAY_PROMPT_FILE"' in script
    assert container["args"] == ["--one", "two words"]


@each_other
def test_an_agent_without_an_image_says_where_its_dockerfile_is(name: str, facts: Facts) -> None:
    folder = ROOT / "examples" / "agents" / name
    assert f"examples/agents/{name} has a Dockerfile" in PRESETS[name].description
    assert (folder / "Dockerfile").is_file()
    [example] = list(yaml.safe_load_all((folder / "agentrun.yaml").read_text()))
    assert (example["kind"], example["spec"]["agent"]["preset"]) == ("AgentRun", name)
    assert example["spec"]["agent"]["image"]


@each_other
@pytest.mark.parametrize("access", ["Gateway", "Direct"])
def test_an_agent_knows_where_to_call_and_which_model(name: str, facts: Facts, access: str) -> None:
    """By a variable that its client reads, or by its file; on a Direct lane that is the server."""
    pod = pod_of(name, access=access)
    root = URL if access == "Gateway" else "http://ollama.team-a.svc:11434"
    told = variables_of(pod) | files_of(pod)
    assert any(root in value for value in told.values())
    assert "smollm2" in json.dumps(list(told.values()))
    assert not any("$(LANEWAY" in value or "$(OPENAI" in value for value in files_of(pod).values())


def test_codex_finds_its_provider_in_its_settings() -> None:
    settings = tomllib.loads(files_of(pod_of("codex"))["/etc/codex/config.toml"])
    [(name, provider)] = settings["model_providers"].items()
    assert (settings["model_provider"], settings["model"]) == (name, "smollm2")
    assert (provider["base_url"], provider["wire_api"]) == (f"{URL}/v1", "responses")
    assert variables_of(pod_of("codex"))[provider["env_key"]] == TOKEN


def test_opencode_finds_its_provider_in_its_settings() -> None:
    settings = json.loads(files_of(pod_of("opencode"))["/etc/laneway/opencode.json"])
    [(name, provider)] = settings["provider"].items()
    assert settings["model"] == f"{name}/smollm2"
    assert list(provider["models"]) == ["smollm2"]
    assert provider["options"] == {"baseURL": f"{URL}/v1", "apiKey": "{env:OPENAI_API_KEY}"}
    assert settings["autoupdate"] is False


def test_gemini_cli_takes_the_key_and_reports_nothing() -> None:
    settings = json.loads(files_of(pod_of("gemini-cli"))["/etc/gemini-cli/settings.json"])
    assert settings["security"]["auth"]["selectedType"] == "gemini-api-key"
    assert settings["privacy"]["usageStatisticsEnabled"] is False
    assert settings["general"]["enableAutoUpdate"] is False


def test_aider_knows_the_model_so_that_it_does_not_ask_for_it_elsewhere() -> None:
    models = json.loads(files_of(pod_of("aider"))["/etc/laneway/aider-models.json"])
    assert list(models) == ["openai/smollm2"]


def test_claude_code_asks_for_the_runs_model_in_its_helpers_too() -> None:
    """Kubernetes fills in what stands before a variable, so the model has to."""
    names = list(variables_of(pod_of("claude-code")))
    for tier in ("OPUS", "SONNET", "HAIKU"):
        assert variables_of(pod_of("claude-code"))[f"ANTHROPIC_DEFAULT_{tier}_MODEL"] == "$(ANTHROPIC_MODEL)"
        assert names.index("ANTHROPIC_MODEL") < names.index(f"ANTHROPIC_DEFAULT_{tier}_MODEL")
