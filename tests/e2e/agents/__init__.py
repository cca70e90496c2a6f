"""Agents of the preset ``generic``: what they run, as the ``agent`` of a run's spec. The programs beside this file run in pods."""

from __future__ import annotations

from pathlib import Path
from typing import Any

IMAGE = "localhost/laneway-test:dev"
_SMALL = {"requests": {"cpu": "5m", "memory": "8Mi"}}
STAY = "trap 'exit 143' TERM; sleep 600 & wait $!"
"""A shell script that works until it is told to leave."""
UNTIL_TOLD = "until [ -e go ]; do sleep 0.1; done"
"""A shell script that works until there is a file ``go`` in its workspace."""


def program(name: str, **env: str) -> dict[str, Any]:
    """An agent that runs a program of this folder."""
    source = (Path(__file__).parent / f"{name}.py").read_text()
    return _agent(["python3", "-c", source], env)


def shell(script: str, **env: str) -> dict[str, Any]:
    """An agent that runs a shell script."""
    return _agent(["sh", "-c", script], env)


def says(words: str, *, code: int = 0, before: str = ":") -> dict[str, Any]:
    """An agent that leaves words and an exit code."""
    return shell(f"{before}; echo -n '{words}' > /dev/termination-log; exit {code}")


def _agent(command: list[str], env: dict[str, str]) -> dict[str, Any]:
    variables = [{"name": name, "value": value} for name, value in env.items()]
    return {"preset": "generic", "image": IMAGE, "command": command, "env": variables, "resources": _SMALL}
