"""What every test of an agent needs: the commands, and a place to run."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from agents.hosting import Host

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def commands() -> Path:
    """The folder of the agents' commands, as pinned."""
    done = subprocess.run([str(ROOT / "hack" / "agents")], capture_output=True, text=True, check=True)
    return Path(done.stdout.splitlines()[-1])


@pytest.fixture
def host(commands: Path, tmp_path: Path) -> Host:
    """Where one agent runs."""
    return Host(tmp_path / "pod", commands)
