"""docs/kubectl.md, replayed: each command in it is run against the real API server, and it has all commands and flags that there are."""

from __future__ import annotations

import argparse
import asyncio
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from integration.operators import Stage
from integration.plugin import Plugin
from integration.test_kubectl_usage import gateway_port
from laneway.cli.parser import build_parser
from support.standin import Part

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "kubectl.md").read_text(encoding="utf-8")
SHOWN_ELSEWHERE = {
    "pip install .": "the project's own environment",
    "make plugin": "test_kubectl_file.py",
    "make plugin VERSION=v0.1.0 URI='https://example.com/laneway/{version}/{archive}'": "test_kubectl_file.py, without pip's wheels",
}
OF_ENDED = frozenset({"why", "logs", "usage", "retry"})
"""Commands that the page shows for a run that has ended; the others are for one that waits."""
_REMARK = re.compile(r"\s+# .*")


def commands() -> list[str]:
    """Every line of a block, without what is said of it."""
    return [_REMARK.sub("", line[4:]) for line in PAGE.splitlines() if line.startswith("    ") and line.strip()]


def filled(command: str, *, namespace: str) -> str:
    """A command of the page with the names of the stage."""
    word = command.split()[2]
    names = {
        "RUN": "ended" if word in OF_ENDED else "waiting",
        "[MODEL]": "smollm2",
        "LANE": "local",
        "MODEL": "smollm2",
    }
    for name, value in names.items():
        command = re.sub(rf"(?<![\w]){re.escape(name)}(?!\w)", value, command)
    gateway = f" --gateway-namespace {namespace}" if word == "usage" else ""
    place = "" if word in {"--help", "completion"} else f" -n {namespace}{gateway}"
    head, mark, tail = _cut(command)
    return f"{head}{place}{mark}{tail}"


def _cut(command: str) -> tuple[str, str, str]:
    """A command and what the shell does with its streams."""
    found = re.search(r" [<>&]", command)
    return (command[: found.start()], " ", command[found.start() + 1 :]) if found else (command, "", "")


async def test_every_command_of_the_page_does_what_it_says(stage: Stage, laneway: Plugin, tmp_path: Path) -> None:
    await stage.add_lane()
    (tmp_path / "prompt.md").write_text("Say hello.\n")
    (tmp_path / "bin").mkdir(exist_ok=True)
    env = {**laneway.env, "HOME": str(tmp_path)}
    stage.start()
    stage.node.play("ended", Part())
    ended = await stage.add_run("ended")
    await stage.finished(ended, seconds=60)
    waiting = await stage.add_run("waiting", spec={"notBeforeTime": "2100-01-01T00:00:00Z"})
    await stage.condition(waiting, "Admitted", "NotBefore")
    ran = 0
    async with gateway_port(stage, text="a line\n"):
        for command in commands():
            if command in SHOWN_ELSEWHERE:
                continue
            given = filled(command, namespace=stage.namespace)
            done = await asyncio.to_thread(
                subprocess.run,
                ["bash", "-c", given],
                env=env, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=120,
            )  # fmt: skip
            assert (done.returncode, "Traceback" in done.stderr) == (0, False), (given, done.stdout, done.stderr)
            ran += 1
    assert ran > 20


def parsers(parser: argparse.ArgumentParser, *path: str) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Each command with its parser."""
    inner = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not inner:
        yield " ".join(path), parser
    for action in inner:
        for name, command in action.choices.items():
            yield from parsers(command, *path, name)


def test_the_page_has_every_command_and_every_flag() -> None:
    everything = dict(parsers(build_parser()))
    told = set(re.findall(r"(?<![\w-])--?[a-zA-Z][\w-]*", PAGE))
    missing = [name for name in everything if f"kubectl laneway {name}" not in PAGE]
    flags = {
        max(a.option_strings, key=len) for parser in everything.values() for a in parser._actions if a.option_strings
    }
    short = {"--namespace": "-n", "--all-namespaces": "-A", "--selector": "-l", "--output": "-o", "--follow": "-f"}
    assert not missing
    assert {short.get(flag, flag) for flag in flags} - told == set()
