"""A network of a command's own, which has nothing but loopback: what is sent there reaches nothing outside, and nobody outside reaches in.

The gateway refuses model servers on 127.0.0.1. So the loopback device of that network has one more address, and the gateway's own
rules stay as they are.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence

from local.console import StepError

ADDRESS = "198.18.0.1"
"""For what stands for something outside. Of RFC 2544: for tests of machines, never of a host."""
_INSIDE = "--inside"


def need(step: str) -> None:
    """Whether a network can be made here. Raises StepError."""
    if not (shutil.which("unshare") and shutil.which("ip")):
        raise StepError(step, "unshare or ip is not there", "install util-linux and iproute2")


def is_inside() -> bool:
    """Whether this process was started by ``again_inside``. Takes the mark off the command line."""
    if _INSIDE not in sys.argv:
        return False
    sys.argv.remove(_INSIDE)
    return True


def again_inside(options: Sequence[str]) -> int:
    """Runs the program that runs, with other options, in a new network. Answers its exit code."""
    as_root = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    command = ["unshare", "--net", *as_root, sys.executable, sys.argv[0], _INSIDE, *options]
    return subprocess.run(command, check=False).returncode


def set_up(step: str) -> None:
    """In the new network: its loopback device, with the address. Raises StepError."""
    for command in ("ip link set lo up", f"ip address add {ADDRESS}/32 dev lo"):
        done = subprocess.run(command.split(), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise StepError(step, f"{command}: {done.stderr.strip()}", "run it as root")
