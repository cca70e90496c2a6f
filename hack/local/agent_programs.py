"""Agents of others, as pinned in hack/local/agents: npm and pip install them once into the cache folder."""

import hashlib
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

from local import build, commands, toolchain
from local.console import Progress
from local.paths import CACHE, HACK, LOGS, SOURCE, STAMPS

STEP = "installing agents"
RECIPE = HACK / "local" / "agents"
FOLDER = CACHE / "agents"
BIN = FOLDER / "bin"


@dataclass(frozen=True)
class Npm:
    """An agent from npm."""

    preset: str
    command: str
    packages: tuple[str, ...]
    """The folders of node_modules that it is made of; a star stands for the kind of machine."""


@dataclass(frozen=True)
class Python:
    """An agent from PyPI."""

    preset: str
    command: str
    module: str

    @property
    def site(self) -> Path:
        """The folder with its packages."""
        return FOLDER / self.preset


NPM = (
    Npm("claude-code", "claude", ("@anthropic-ai/claude-code", "@anthropic-ai/claude-code-linux-*")),
    Npm("codex", "codex", ("@openai/codex", "@openai/codex-linux-*")),
    Npm("gemini-cli", "gemini", ("@google/gemini-cli",)),
    Npm("opencode", "opencode", ("opencode-ai",)),
)
PYTHON = (Python("aider", "aider", "aider"), Python("mini-swe-agent", "mini", "minisweagent"))


def need_folder() -> Path:
    """The folder with a command for each agent."""
    wanted = recipe_hash()
    stamp = STAMPS / "agents"
    if stamp.exists() and stamp.read_text() == wanted and BIN.is_dir():
        return BIN
    toolchain.need_packages(STEP, {"npm": "npm"})
    with build.locked():
        shutil.rmtree(FOLDER, ignore_errors=True)
        BIN.mkdir(parents=True, exist_ok=True)
        progress = Progress("installing agents from npm and PyPI: 2.2 GB, once, about 2 minutes")
        _install_from_npm()
        for agent in PYTHON:
            _install_from_pypi(agent)
        progress.close()
        stamp.write_text(wanted)
    return BIN


def recipe_hash() -> str:
    """What is installed, as a hash."""
    digest = hashlib.sha256(str(toolchain.python()).encode())
    for file in sorted([*RECIPE.glob("*"), Path(__file__)]):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _install_from_npm() -> None:
    for name in ("package.json", "package-lock.json"):
        shutil.copy2(RECIPE / name, FOLDER)
    # Not `npm ci`: it wants the packages of every kind of machine in the lock, and not every registry has all of opencode's.
    command = ["npm", "install", "--prefix", str(FOLDER), "--no-audit", "--no-fund"]
    commands.run(STEP, command, log=LOGS / "npm.log")
    for agent in NPM:
        (BIN / agent.command).symlink_to(FOLDER / "node_modules" / ".bin" / agent.command)


def _install_from_pypi(agent: Python) -> None:
    environment = SOURCE / "pip-agents"
    toolchain.pip_install(STEP, environment, ["pip"])
    options = ["--no-deps", "--no-compile", "--target", str(agent.site), "-r", str(RECIPE / f"{agent.preset}.txt")]
    toolchain.pip(STEP, environment / "bin" / "python", ["install", *options], LOGS / f"pip-{agent.preset}.log")
    python = str(toolchain.python())
    # Unchecked, since in an image the time of every file is 0; without it a read-only pod compiles them at each start.
    compiled = [python, "-m", "compileall", "-q", "-j0", "--invalidation-mode", "unchecked-hash", str(agent.site)]
    log = LOGS / f"compile-{agent.preset}.log"
    commands.run(STEP, ["sh", "-c", f"{shlex.join(compiled)} || true"], log=log)  # templates in some are no Python
    script = BIN / agent.command
    script.write_text(f'#!/bin/sh\nPYTHONPATH={agent.site} exec {python} -m {agent.module} "$@"\n')
    script.chmod(0o755)
