"""Agents of others, as their presets start them: what a model says to each so that it works, and what each says in the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from agents.hosting import Host, Left
from integration import toolcalls
from integration.toolcalls import Call
from laneway.agent.envelope import parse
from laneway.api.endpoint import WireAPI
from laneway.controller.facts.presets import LogParser
from laneway.gateway.ports import agents
from laneway.gateway.wire.base import Wire
from modelserver import Step
from modelserver.shapes import TEXT
from support.builders import PRESETS

PROMPT = "What is the capital of France?"
OUTPUT = "the tool says 42"
MADE = "made.txt"
"""A file in the workspace that an agent makes when a model asks for it."""
COMMAND = f"expr 40 + 2 | sed 's/^/the tool says /' | tee {MADE}"
_BASH = {"command": COMMAND, "description": "counts"}
_SUBMIT = Call("bash", {"command": f"echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT; echo '{TEXT}'"})


@dataclass(frozen=True)
class Ended:
    """How an agent ended."""

    code: int
    words: str
    """Its answer, or what it says went wrong."""
    usage: tuple[int, int] | None
    """Input and output tokens as it counts them; None where it does not tell."""


@dataclass(frozen=True)
class Agent:
    """One preset, and how its agent behaves."""

    name: str
    wire: Wire
    server: str
    """A kind of server that speaks its API."""
    work: Callable[[], list[Step]]
    """What a model says so that ``MADE`` is made."""
    answer: Callable[[], list[Step]] = list
    """What a model says so that the agent is done at once, if a plain answer is not enough."""
    brief: tuple[str, ...] = ()
    """Arguments that keep its own instructions short."""
    tools: tuple[str, ...] = ()
    """The same, when it is to use a tool."""
    is_told: bool = True
    """A model that asks for a command is told what came of it."""
    obeys: bool = True
    """It does not try again what is refused for good."""
    agrees: bool = True
    """It says that it could not do its work with the words of the refusal."""

    async def ask(self, host: Host, url: str, token: str, *, tools: bool = False) -> Ended:
        """Give it the prompt, with a gateway at ``url``."""
        left = await host.run(self.name, url, token, prompt=PROMPT, args=self.tools if tools else self.brief)
        return _read(self.name, left)


def _read(name: str, left: Left) -> Ended:
    """What the operator would read of it."""
    if PRESETS[name].log_parser is LogParser.NONE:
        return Ended(left.code, _plain(left.termination or left.log), None)
    said = parse(left.log)
    usage = (said.usage.input_tokens, said.usage.output_tokens) if said.usage else None
    return Ended(left.code, _plain((said.raw_error if said.is_error else said.result_text) or left.log), usage)


def _plain(words: str) -> str:
    """The end of some words, on one line."""
    return " ".join(words.split())[-2000:]


def _calls(api: WireAPI, *calls: Call, stream: bool = True) -> Callable[[], list[Step]]:
    return lambda: [toolcalls.step(api, call, stream=stream) for call in calls]


AGENTS: tuple[Agent, ...] = (
    Agent(
        "claude-code",
        agents.MESSAGES,
        "Anthropic",
        _calls(WireAPI.MESSAGES, Call("Bash", _BASH)),
        brief=("--bare", "--tools", "", "--system-prompt", "Be brief."),
        tools=("--bare", "--tools", "Bash", "--system-prompt", "Be brief."),
    ),
    Agent(
        "codex",
        agents.RESPONSES,
        "OpenAI",
        _calls(WireAPI.RESPONSES, Call("exec_command", {"cmd": COMMAND})),
        obeys=False,
    ),
    Agent(
        "gemini-cli",
        agents.GEMINI,
        "Gemini",
        _calls(WireAPI.GENERATE_CONTENT, Call("run_shell_command", _BASH)),
    ),
    Agent(
        "aider",
        agents.CHAT,
        "OpenAI",
        lambda: [Step(pieces=(f"{MADE}\n", "```\n", f"{OUTPUT}\n", "```\n"))],
        is_told=False,
        obeys=False,
        agrees=False,
    ),
    Agent("opencode", agents.CHAT, "OpenAI", _calls(WireAPI.CHAT_COMPLETIONS, Call("bash", _BASH))),
    Agent(
        "mini-swe-agent",
        agents.CHAT,
        "OpenAI",
        _calls(WireAPI.CHAT_COMPLETIONS, Call("bash", {"command": COMMAND}), _SUBMIT, stream=False),
        answer=_calls(WireAPI.CHAT_COMPLETIONS, _SUBMIT, stream=False),
        obeys=False,
    ),
)
