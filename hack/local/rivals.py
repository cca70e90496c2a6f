"""What the gateway's benchmarks need beside the gateway: mock and load, which are built, and LiteLLM's proxy, which is installed."""

import hashlib
import os
import subprocess
from pathlib import Path

from local import build, toolchain
from local.console import StepError, say
from local.paths import BIN, CACHE, HACK, LOGS, STAMPS, TREE

RIG = BIN / "bench-rig"
LITELLM = CACHE / "litellm"
_SOURCE = TREE / "tests" / "bench" / "rig"
_RECIPE = HACK / "local" / "litellm" / "requirements.txt"


def need_rig() -> Path:
    """The program that is both mock and load. Go's own cache knows whether there is anything to do."""
    step, log = "building the benchmarks' mock and load", LOGS / "build-rig.log"
    BIN.mkdir(parents=True, exist_ok=True)
    LOGS.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {
        "CGO_ENABLED": "0",
        "GOFLAGS": "-buildvcs=false",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
    }
    command = [str(toolchain.go()), "build", "-trimpath", "-o", str(RIG), "."]
    with build.locked(), log.open("w") as out:
        done = subprocess.run(command, cwd=_SOURCE, env=environment, stdout=out, stderr=out, check=False)
    if done.returncode != 0:
        raise StepError(step, "go build failed", "look at the log", log)
    return RIG


def need_litellm() -> Path:
    """The command of LiteLLM's proxy, as pinned."""
    wanted, stamp = hashlib.sha256(_RECIPE.read_bytes()).hexdigest(), STAMPS / "litellm"
    command = LITELLM / "bin" / "litellm"
    if not (command.exists() and stamp.exists() and stamp.read_text() == wanted):
        with build.locked():
            say("  installing LiteLLM's proxy, once, about a minute and 750 MB")
            toolchain.pip_install("installing LiteLLM", LITELLM, ["--no-deps", "-r", str(_RECIPE)])
            stamp.write_text(wanted)
    return command
