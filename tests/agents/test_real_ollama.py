"""Agents of others, as their presets start them, through the gateway to a real Ollama: program and server understand each other, and every token is counted.

The model is so small that it does not choose tools well: what it makes of them is not judged. Ollama does not speak Gemini's API.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.clis import AGENTS, Agent
from agents.hosting import Host
from agents.real import asked, check
from laneway.api.endpoint import WireAPI
from support import modelservers

SPOKEN = [agent for agent in AGENTS if agent.wire.api is not WireAPI.GENERATE_CONTENT]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Ollama, whose model has a place for tools: most agents always offer some."""
    with modelservers.ollama(tmp_path_factory.mktemp("ollama"), tools=True) as url:
        yield url


@pytest.mark.parametrize("agent", [pytest.param(agent, id=agent.name) for agent in SPOKEN])
async def test_an_agent_on_ollama_ends_by_itself_and_counts_what_the_gateway_counts(
    host: Host, tmp_path: Path, server: str, agent: Agent
) -> None:
    ended, state = await asked(agent, host, tmp_path, server, server="Ollama", model=modelservers.WITH_TOOLS)
    check(ended, state)


async def test_claude_code_with_a_tool_on_ollama(host: Host, tmp_path: Path, server: str) -> None:
    """The others have theirs always."""
    [agent] = [agent for agent in AGENTS if agent.name == "claude-code"]
    model = modelservers.WITH_TOOLS
    ended, state = await asked(agent, host, tmp_path, server, server="Ollama", model=model, tools=True)
    check(ended, state)
