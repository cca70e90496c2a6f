"""The examples of agents: their images are those that the tests of presets run, and their runs name what there is."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from laneway.api.endpoint import Endpoint
from laneway.rules.endpoint import spoken
from support.builders import PRESETS

ROOT = Path(__file__).parents[2]
AGENTS = ROOT / "examples" / "agents"
PINS = ROOT / "hack" / "local" / "agents"
NAMES = sorted(folder.name for folder in AGENTS.iterdir() if folder.is_dir())
LANES = {
    lane["metadata"]["name"]: lane["spec"] for lane in yaml.safe_load_all((AGENTS / "modellanes.yaml").read_text())
}
each = pytest.mark.parametrize("name", NAMES)


def pinned() -> set[str]:
    """Packages with their versions, as the tests of agents install them."""
    npm = json.loads((PINS / "package.json").read_text())["dependencies"]
    lines = [line for file in PINS.glob("*.txt") for line in file.read_text().splitlines()]
    return {f"{package}@{version}" for package, version in npm.items()} | set(lines)


def run_of(name: str) -> Any:
    return yaml.safe_load((AGENTS / name / "agentrun.yaml").read_text())


@each
def test_a_dockerfile_installs_the_version_that_is_tested(name: str) -> None:
    text = (AGENTS / name / "Dockerfile").read_text()
    installed = set(re.findall(r"\S+[@=]=?\d+\.\d+\.\d+", text.partition("FROM")[2]))
    assert installed
    assert installed <= pinned()


@each
def test_a_dockerfile_ends_as_the_user_of_the_pod_and_sets_no_entry_point(name: str) -> None:
    lines = (AGENTS / name / "Dockerfile").read_text().splitlines()
    assert "USER 65532:65532" in lines
    assert not [line for line in lines if line.startswith(("ENTRYPOINT", "CMD"))]
    assert lines[0] == f"# docker build -t {run_of(name)['spec']['agent']['image']} examples/agents/{name}"


@each
def test_a_run_names_a_lane_that_speaks_its_protocol(name: str) -> None:
    [step] = run_of(name)["spec"]["models"]
    endpoint = Endpoint.model_validate(LANES[step["lane"]]["endpoint"])
    assert PRESETS[name].wire_api in spoken(endpoint)
