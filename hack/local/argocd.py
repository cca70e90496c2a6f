"""Argo CD for its tests: its programs, its own files, and the tests that it runs its health and action scripts with."""

import os
import shutil
import subprocess
from pathlib import Path

from local import build, toolchain
from local.console import StepError
from local.paths import BIN, LOGS, MODULES, TREE

SCRIPT_TESTS = f"{build.ARGOCD.module}/util/lua"
CUSTOMIZATIONS = TREE / "argocd" / "resource_customizations"  # laid out as in Argo CD's own tree
PACKAGES = {"redis-server": "redis-server", "git": "git"}
_SCRIPTS = "resource_customizations"
_NEEDED = (
    "go.mod",
    "go.sum",
    f"{_SCRIPTS}/*.go",
    "*/**/*.go",
    "assets/*",
    "util/lua/testdata/**/*",
)  # not its own scripts


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


def test_scripts(folder: Path) -> str:
    """What Argo CD's own tests of scripts say, compiled in `folder` from its tree with our scripts in the place of its own.

    They take scripts from what is embedded in them, so ours have to be there when they are compiled.
    """
    tree = _tree_with_ours(folder / "argo-cd")
    recipe = MODULES / build.ARGOCD.name
    (folder / "go.mod").write_text(f"{(recipe / 'go.mod').read_text()}\nreplace {build.ARGOCD.module} => {tree}\n")
    shutil.copyfile(recipe / "go.sum", folder / "go.sum")
    # -trimpath, as for the program: what was compiled for that is used here. Argo CD's code is not ours to vet.
    flags = ["-v", "-trimpath", "-vet=off", "-count=1", "-run=Script$", f"-modfile={folder}/go.mod"]
    command = [str(toolchain.go()), "test", *flags, SCRIPT_TESTS]
    done = subprocess.run(command, cwd=recipe, env=_environment(), capture_output=True, text=True, check=False)
    (LOGS / "argocd-scripts.log").write_text(done.stdout + done.stderr)
    if done.returncode != 0:
        failed = [line.strip() for line in done.stdout.splitlines() if "--- FAIL" in line] or [
            (done.stdout + done.stderr)[-300:]
        ]
        remedy = "look at the log; the scripts are below argocd/resource_customizations"
        raise StepError("testing scripts", ", ".join(failed), remedy, LOGS / "argocd-scripts.log")
    return done.stdout


def _tree_with_ours(copy: Path) -> Path:
    origin = source()
    ours = [(file, copy / _SCRIPTS / file.relative_to(CUSTOMIZATIONS)) for file in CUSTOMIZATIONS.rglob("*")]
    theirs = [(file, copy / file.relative_to(origin)) for part in _NEEDED for file in sorted(origin.glob(part))]
    for file, target in (*theirs, *ours):
        if file.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
    return copy


def _environment() -> dict[str, str]:
    return os.environ | {"GOTOOLCHAIN": "local", "GOFLAGS": "-buildvcs=false", "GOWORK": "off"}
