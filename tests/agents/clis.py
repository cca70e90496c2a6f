"""Agents of others, headless: how each is pointed at a gateway, and what it says of its one turn."""

from __future__ import annotations

import asyncio
import json
import os
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from integration import toolcalls
from laneway.gateway import app
from laneway.gateway.wire.base import Wire

PROMPT = "What is the capital of France?"
COMMAND = "echo the tool says $((40 + 2))"
OUTPUT = "the tool says 42"
_SECONDS = 900
"""More than any takes: a real server reads the 4,000 tokens of an agent's own instructions first."""
_NOWHERE = {"HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1"}
"""Nothing leaves the machine."""


@dataclass(frozen=True)
class Ended:
    """How an agent ended."""

    code: int
    words: str
    """Its answer, or what it says went wrong."""
    usage: tuple[int, int]
    """Input and output tokens as it counts them; zero where it counts none."""


class Agent(ABC):
    """One command."""

    name: ClassVar[str]
    wire: ClassVar[Wire]
    server: ClassVar[str]
    """A kind of server that speaks its API."""
    shell: ClassVar[toolcalls.Call]
    """How a model asks it to run ``COMMAND``."""

    def __init__(self, commands: Path, home: Path) -> None:
        """``home`` is a folder of its own."""
        self.commands, self.home = commands, home

    @abstractmethod
    async def ask(self, url: str, token: str, *, tools: bool = False) -> Ended:
        """Give it the prompt, with a gateway at ``url``; with tools it may run commands, in ``home``."""

    async def run(self, command: list[str], env: dict[str, str]) -> tuple[int, str]:
        """Its exit code and what it wrote to stdout. Raises TimeoutError."""
        process = await asyncio.create_subprocess_exec(
            str(self.commands / command[0]),
            *command[1:],
            env={"PATH": os.environ["PATH"], "HOME": str(self.home), **_NOWHERE, **env},
            cwd=self.home,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            out, _ = await asyncio.wait_for(process.communicate(), _SECONDS)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return process.returncode or 0, out.decode()


class ClaudeCode(Agent):
    name, wire, server = "claude", app.MESSAGES, "Anthropic"
    shell = toolcalls.Call("Bash", {"command": COMMAND, "description": "counts"})

    async def ask(self, url: str, token: str, *, tools: bool = False) -> Ended:
        env = {
            "ANTHROPIC_BASE_URL": url,
            "ANTHROPIC_AUTH_TOKEN": token,
            "ANTHROPIC_MODEL": "any",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "CLAUDE_CODE_MAX_RETRIES": "2",
            "IS_SANDBOX": "1",
        }
        allowed = ["--tools", "Bash", "--allowedTools", "Bash"] if tools else ["--tools", ""]
        options = ["--bare", *allowed, "--system-prompt", "Be brief.", "--output-format", "json"]
        code, said = await self.run(["claude", "-p", PROMPT, *options], env)
        result = json.loads(said)
        return Ended(code, result["result"], (result["usage"]["input_tokens"], result["usage"]["output_tokens"]))


class Codex(Agent):
    name, wire, server = "codex", app.RESPONSES, "OpenAI"
    shell = toolcalls.Call("exec_command", {"cmd": COMMAND})

    async def ask(self, url: str, token: str, *, tools: bool = False) -> Ended:
        (self.home / "config.toml").write_text(
            "\n".join(
                (
                    'model = "any"',
                    'model_provider = "lane"',
                    "[model_providers.lane]",
                    'name = "lane"',
                    f'base_url = "{url}/v1"',
                    'wire_api = "responses"',
                    'env_key = "LANEWAY_TOKEN"',
                    "request_max_retries = 2",
                    "stream_max_retries = 0",
                    f"stream_idle_timeout_ms = {_SECONDS * 1000}",
                )
            )
        )
        sandbox = "danger-full-access" if tools else "read-only"
        options = ["--json", "--skip-git-repo-check", "-s", sandbox]
        env = {"CODEX_HOME": str(self.home), "LANEWAY_TOKEN": token}
        code, said = await self.run(["codex", "exec", *options, PROMPT], env)
        return _codex(code, [json.loads(line) for line in said.splitlines()])


def _codex(code: int, events: list[dict[str, object]]) -> Ended:
    words, usage = "", (0, 0)
    for event in events:
        match event:
            case {"type": "item.completed", "item": {"type": "agent_message", "text": str(text)}}:
                words = text
            case {"type": "turn.completed", "usage": {"input_tokens": int(taken), "output_tokens": int(made)}}:
                usage = taken, made
            case {"type": "turn.failed", "error": {"message": str(message)}}:
                words = message
    return Ended(code, words, usage)


AGENTS: tuple[type[Agent], ...] = (ClaudeCode, Codex)
