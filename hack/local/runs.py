"""Applies an example and shows how its agent run ended."""

import json
from dataclasses import dataclass
from typing import Any

from local import commands
from local.console import StepError, say
from local.control_plane import kubectl
from local.instance import NODE_CLUSTER
from local.paths import TREE


@dataclass(frozen=True)
class Example:
    """A folder of examples/ with one lane and one run."""

    folder: str
    run: str

    def apply(self) -> bool:
        """Applies its objects; True when its run had finished before, and so is not run again."""
        finished_before = _condition(self.read(), "Finished").get("status") == "True"
        commands.kubectl(f"applying examples/{self.folder}", "apply", "-f", str(TREE / "examples" / self.folder))
        return finished_before

    def wait(self) -> None:
        """Waits until the run has finished, well or not."""
        wanted = ["--for=condition=Finished", f"agentrun/{self.run}", "--timeout=180s"]
        commands.kubectl(f"waiting for agentrun/{self.run}", "wait", *wanted)

    def read(self) -> dict[str, Any]:
        """The run as it stands; empty when there is none."""
        said = kubectl(NODE_CLUSTER, "get", "agentrun", self.run, "--ignore-not-found", "-o", "json").stdout
        return dict(json.loads(said)) if said.strip() else {}

    def show(self) -> None:
        """Prints conditions, usage and answer; a failure when the run did not succeed."""
        run = self.read()
        status = run.get("status", {})
        say(f"\nconditions of agentrun/{self.run}")
        for condition in status.get("conditions", []):
            line = f"  {condition['type']:<13}{condition['status']:<9}{condition['reason']:<16}{condition.get('message', '')}"
            say(line.rstrip())
        say(f"\nusage of agentrun/{self.run}")
        for name, value in status.get("usage", {}).items():
            say(f"  {name:<18}{json.dumps(value) if isinstance(value, dict | list) else value}")
        say(f"\nanswer of agentrun/{self.run}\n  {status.get('result', {}).get('summary', '(none)')}")
        succeeded = _condition(run, "Succeeded")
        if succeeded.get("status") != "True":
            cause = f"it ended as {succeeded.get('reason', 'unknown')}: {succeeded.get('message', 'no message')}"
            remedy = f'eval "$(hack/cluster env)"; kubectl describe agentrun {self.run}; to try again, delete it and run make demo'
            raise StepError(f"agentrun/{self.run}", cause, remedy)


def show_table() -> None:
    """Prints all lanes and runs as kubectl shows them."""
    say("\n$ kubectl get modellanes,agentruns")
    say(kubectl(NODE_CLUSTER, "get", "modellanes,agentruns").stdout.strip())


def _condition(run: dict[str, Any], kind: str) -> dict[str, Any]:
    conditions = run.get("status", {}).get("conditions", [])
    return next((dict(condition) for condition in conditions if condition["type"] == kind), {})
