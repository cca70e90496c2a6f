"""Argo CD for its tests: its programs, its own files, and the tests that it runs its health and action scripts with."""

import json
import os
import shutil
import subprocess
from pathlib import Path

from local import build, commands, toolchain
from local.console import StepError
from local.paths import BIN, LOGS, MODULES, TREE

SCRIPT_TESTS = f"{build.ARGOCD.module}/util/lua"
CUSTOMIZATIONS = TREE / "argocd" / "resource_customizations"  # laid out as in Argo CD's own tree
PACKAGES = {"redis-server": "redis-server", "git": "git"}
_SCRIPTS = "resource_customizations"


def need() -> Path:
    """The program that is all of Argo CD's, by the name that it is given in ARGOCD_BINARY_NAME."""
    toolchain.need_packages("starting Argo CD", PACKAGES)
    build.need(build.ARGOCD)
    return BIN / "argocd"


def source() -> Path:
    """Argo CD's own tree, as the Go command has it: manifests and built-in scripts."""
    said = subprocess.run(
        [str(toolchain.go()), "list", "-m", "-f", "{{.Dir}}", build.ARGOCD.module],
        cwd=MODULES / build.ARGOCD.name,
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if said.returncode != 0 or not said.stdout.strip():
        raise StepError("finding Argo CD's files", said.stderr.strip()[-300:], "run hack/argocd again")
    return Path(said.stdout.strip())


def build_script_tests(folder: Path) -> tuple[Path, Path]:
    """Compiles Argo CD's own tests of scripts as if ours stood in its tree; the program, and the folder to start it in.

    The tests take scripts from what is embedded in them, and test data from beside the folder that they run in.
    """
    tree = source() / _SCRIPTS
    files = [file for file in CUSTOMIZATIONS.rglob("*") if file.is_file()]
    overlay = folder / "overlay.json"
    overlay.write_text(json.dumps({"Replace": {str(tree / f.relative_to(CUSTOMIZATIONS)): str(f) for f in files}}))
    shutil.copytree(CUSTOMIZATIONS, folder / _SCRIPTS)
    work = folder / "util" / "lua"
    work.mkdir(parents=True)
    program = folder / "scripts.test"
    commands.run(
        "compiling Argo CD's tests of scripts",
        [
            *(str(toolchain.go()), "-C", str(MODULES / build.ARGOCD.name), "test", "-c"),
            *("-overlay", str(overlay), "-o", str(program), SCRIPT_TESTS),
        ],
        log=LOGS / "argocd-scripts.log",
    )
    return program, work


def _environment() -> dict[str, str]:
    return os.environ | {"GOTOOLCHAIN": "local", "GOFLAGS": "-buildvcs=false", "GOWORK": "off", "CGO_ENABLED": "0"}
