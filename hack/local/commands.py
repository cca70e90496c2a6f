"""Runs kubectl, helm and other commands for the demo's steps; what they say goes to a log that a failure names."""

import os
import subprocess
from pathlib import Path

from local.console import StepError
from local.instance import NODE_CLUSTER, program
from local.paths import LOGS


def helm(step: str, *arguments: str) -> None:
    """Runs helm on the node cluster."""
    run(step, [program("helm"), f"--kubeconfig={NODE_CLUSTER.kubeconfig}", *arguments], log=LOGS / "helm.log")


def kubectl(step: str, *arguments: str, stdin: str | None = None) -> None:
    """Runs kubectl on the node cluster."""
    command = [program("kubectl"), f"--kubeconfig={NODE_CLUSTER.kubeconfig}", *arguments]
    run(step, command, log=LOGS / "kubectl.log", stdin=stdin)


def run(step: str, command: list[str], *, log: Path, stdin: str | None = None) -> None:
    """Runs one command; a failure's cause is the last line that it said."""
    log.parent.mkdir(parents=True, exist_ok=True)
    # A make that runs this command would hand its own options on to the next one.
    environment = {
        name: value for name, value in os.environ.items() if name not in {"KUBECONFIG", "MAKEFLAGS", "MAKELEVEL"}
    }
    with log.open("w") as out:
        done = subprocess.run(
            command, input=stdin or "", stdout=out, stderr=out, env=environment, text=True, check=False
        )
    if done.returncode != 0:
        words = [line.strip() for line in log.read_text().splitlines() if line.strip()]
        cause = words[-1][:400] if words else f"{Path(command[0]).name} failed and said nothing"
        raise StepError(step, cause, "look at the log, then run the same command again", log)
