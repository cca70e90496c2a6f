"""The chart on a control plane of the tests' own: helm and kubectl, as a person uses them."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from integration.planes import OwnPlane, programs

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "laneway"
SYSTEM = "laneway-system"
OLDEST = "1.32.0"
"""The oldest Kubernetes that the chart serves."""
STRICT = ("apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "-f", "-")
"""What the API server does not know by name and type is refused (``fieldValidation=Strict``), in a request that changes nothing."""

Object = dict[str, Any]


@dataclass(frozen=True)
class ChartStage:
    """helm and kubectl against one control plane."""

    plane: OwnPlane
    home: Path
    """Of helm: no user's settings."""

    def helm(self, *words: str) -> str:
        """What helm printed. Raises AssertionError when it fails."""
        return self._run("helm", *words)

    def kubectl(self, *words: str, stdin: str | None = None) -> str:
        """What kubectl printed. Raises AssertionError when it fails."""
        return self._run("kubectl", *words, stdin=stdin)

    def accepts(self, manifest: str) -> list[str]:
        """What kubectl says of each object of a manifest that changes nothing. Raises AssertionError for a refusal or a warning."""
        done = self._attempt("kubectl", *STRICT, stdin=manifest)
        assert done.returncode == 0, done.stderr
        assert "Warning:" not in done.stderr, done.stderr
        return done.stdout.splitlines()

    def refusal(self, *words: str, stdin: str) -> str:
        """What kubectl complained of. Raises AssertionError when it does not fail."""
        done = self._attempt("kubectl", *words, stdin=stdin)
        assert done.returncode != 0, f"kubectl {words} was accepted: {done.stdout}"
        return done.stderr

    def get(self, *words: str) -> Object:
        """An object, or a list of them, as the API server has it."""
        found: Object = json.loads(self.kubectl("get", *words, "--output=json"))
        return found

    def render(self, values: Path, *flags: str) -> str:
        """The chart as helm renders it, with the pod of helm test."""
        place = ("-n", SYSTEM, "--kube-version", OLDEST)
        return self.helm("template", "laneway", str(CHART), *place, "-f", str(values), *flags)

    def _run(self, *command: str, stdin: str | None = None) -> str:
        done = self._attempt(*command, stdin=stdin)
        assert done.returncode == 0, f"{' '.join(command)} failed: {done.stderr or done.stdout}"
        return done.stdout

    def _attempt(self, *command: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        path = f"{programs()}{os.pathsep}{os.environ['PATH']}"
        env = {**os.environ, "HOME": str(self.home), "KUBECONFIG": self.plane.kubeconfig, "PATH": path}
        return subprocess.run(command, input=stdin, env=env, capture_output=True, text=True, check=False, timeout=120)


def objects(text: str) -> list[Object]:
    """The objects of a manifest."""
    return [found for found in yaml.safe_load_all(text) if found]
