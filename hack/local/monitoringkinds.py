"""The Prometheus Operator's definitions of its kinds, out of its Go module at the pinned version; nothing of it is built."""

import json
import os
import subprocess
from pathlib import Path

from local import toolchain, versions
from local.console import StepError
from local.paths import MODULES

FOLDER = "prometheus-operator"
MODULE = "github.com/prometheus-operator/prometheus-operator"
KINDS = ("servicemonitors", "prometheusrules")


def files() -> list[Path]:
    """The definitions of KINDS. The module is downloaded once, 4 MB, and checked against go.sum."""
    step = f"fetching the Prometheus Operator's definitions {versions.PROMETHEUS_OPERATOR}"
    done = subprocess.run(
        [toolchain.go(), "mod", "download", "-json", MODULE],
        cwd=MODULES / FOLDER,
        env=os.environ | {"GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly", "GOWORK": "off"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        cause = (done.stderr or done.stdout).strip()[-300:]
        raise StepError(step, f"go said: {cause}", "is the Go module proxy reachable, and is there disk space?")
    found = json.loads(done.stdout)
    if found["Version"] != f"v{versions.PROMETHEUS_OPERATOR}":
        raise StepError(step, f"its go.mod asks for {found['Version']}", "run hack/pin-modules")
    folder = Path(found["Dir"]) / "example" / "prometheus-operator-crd"
    return [folder / f"monitoring.coreos.com_{kind}.yaml" for kind in KINDS]
