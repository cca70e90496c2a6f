"""Prometheus' programs, and the control plane of the integration tests."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from integration.conftest import cluster, kube, namespace, stage, until

ROOT = Path(__file__).parents[2]

__all__ = ["cluster", "kube", "namespace", "promtool", "stage", "until"]


@pytest.fixture(scope="session")
def promtool() -> Path:
    """The program, built if it is not there."""
    done = subprocess.run([str(ROOT / "hack" / "alerts")], capture_output=True, text=True, check=True)
    return Path(done.stdout.splitlines()[-1])
