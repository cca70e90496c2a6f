"""``kubectl laneway`` as a person has it: scripts on the PATH, which kubectl finds."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPTS = {"kubectl-laneway": "laneway.cli.main", "kubectl_complete-laneway": "laneway.cli.completion"}
"""The project's scripts, and where their main is."""


@dataclass(frozen=True)
class Answer:
    """What a command printed, and its exit code."""

    out: str
    err: str
    code: int


class Plugin:
    """``kubectl laneway`` in a namespace."""

    def __init__(self, folder: Path, namespace: str) -> None:
        self.namespace = namespace
        self.env = {
            **os.environ,
            "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT / "operator"),
        }
        for name, module in SCRIPTS.items():
            script = folder / name
            script.write_text(f"#!{sys.executable}\nimport sys\nfrom {module} import main\nsys.exit(main())\n")
            script.chmod(0o755)

    def command(self, *arguments: str) -> list[str]:
        """The words of a command line in the namespace."""
        return ["kubectl", "laneway", *arguments, "-n", self.namespace]

    async def ask(self, *arguments: str, stdin: str | None = None) -> Answer:
        """Run a command."""
        done = await asyncio.to_thread(
            subprocess.run,
            self.command(*arguments),
            env=self.env,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert "Traceback" not in done.stderr
        return Answer(done.stdout, done.stderr, done.returncode)

    async def __call__(self, *arguments: str) -> str:
        """Run a command that can be done; answers what it printed."""
        answer = await self.ask(*arguments)
        assert (answer.code, answer.err) == (0, ""), answer
        return answer.out
