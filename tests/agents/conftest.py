"""What every test of an agent needs: its commands, and a home."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from agents.clis import AGENTS, Agent

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def commands() -> Path:
    """The folder of the agents' commands, as pinned."""
    done = subprocess.run([str(ROOT / "hack" / "agents")], capture_output=True, text=True, check=True)
    return Path(done.stdout.splitlines()[-1])


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home folder for one agent."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture(params=AGENTS, ids=[kind.name for kind in AGENTS])
def agent(request: pytest.FixtureRequest, commands: Path, home: Path) -> Agent:
    """Each agent, at home."""
    made: Agent = request.param(commands, home)
    return made
