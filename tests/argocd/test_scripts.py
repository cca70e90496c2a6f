"""Health and action scripts under Argo CD's own tests of scripts, which are compiled as if ours stood in its tree."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CUSTOMIZATIONS = ROOT / "argocd" / "resource_customizations"
KINDS = ("laneway.dev/AgentRun", "laneway.dev/ModelLane")


@pytest.fixture(scope="module")
def passed() -> set[str]:
    """The names of Argo CD's tests that passed; it has one for each case of each kind."""
    command = [str(ROOT / "hack" / "argocd"), "--script-tests"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return set(re.findall(r"^\s+--- PASS: (\S+)", done.stdout, re.MULTILINE))


@pytest.mark.parametrize("kind", KINDS)
def test_health_is_right_at_each_stage(passed: set[str], kind: str) -> None:
    cases = yaml.safe_load((CUSTOMIZATIONS / kind / "health_test.yaml").read_text())["tests"]
    files = {f"testdata/{file.name}" for file in (CUSTOMIZATIONS / kind / "testdata").iterdir()}
    assert {case["inputPath"] for case in cases} == files
    assert {f"TestLuaHealthScript/{kind}/{case['inputPath']}" for case in cases} <= passed


@pytest.mark.parametrize("kind", KINDS)
def test_actions_are_offered_where_they_mean_something_and_change_one_field(passed: set[str], kind: str) -> None:
    cases = yaml.safe_load((CUSTOMIZATIONS / kind / "actions" / "action_test.yaml").read_text())
    offered = {f"discovery/{case['inputPath']}" for case in cases["discoveryTests"]}
    done = {f"actions/{case['action']}/{case['inputPath']}" for case in cases["actionTests"]}
    assert {f"TestLuaResourceActionsScript/{case}" for case in offered | done} <= passed
    assert {case["action"] for case in cases["actionTests"]} == {
        file.parent.name for file in (CUSTOMIZATIONS / kind / "actions").glob("*/action.lua")
    }
