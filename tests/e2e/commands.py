"""Programs that the tests run: kubectl and the project's own hack/."""

from __future__ import annotations

import asyncio
import json
import shlex
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from laneway.kube.errors import NotFound

ROOT = Path(__file__).parents[2]
HACK = ROOT / "hack"


def run(*command: str, stdin: str | None = None, seconds: float = 60.0) -> str:
    """What a program printed. Raises AssertionError when it fails."""
    code, said, complained = attempt(*command, stdin=stdin, seconds=seconds)
    assert code == 0, f"{shlex.join(command)} failed: {complained or said}"
    return said


def attempt(*command: str, stdin: str | None = None, seconds: float = 60.0) -> tuple[int, str, str]:
    """Exit code, output and complaints of a program."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=seconds, check=False, cwd=ROOT)
    return done.returncode, done.stdout, done.stderr


def kubectl(*arguments: str, stdin: str | None = None, seconds: float = 60.0) -> str:
    """What kubectl printed. Raises AssertionError when it fails."""
    return run("kubectl", *arguments, stdin=stdin, seconds=seconds)


def kubectl_json(*arguments: str) -> Any:
    """What kubectl read, parsed."""
    return json.loads(kubectl(*arguments, "--output=json"))


async def until(question: Callable[[], Any], *, seconds: float = 30.0, every: float = 0.1, what: str = "") -> Any:
    """Ask until the answer is true, and answer it; what is not there yet counts as no. The question may be async."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            answer = question()
            if asyncio.iscoroutine(answer):
                answer = await answer
        except NotFound:
            answer = None
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {seconds} s: {what or question}"
        await asyncio.sleep(every)
