"""Claude Code and Codex, headless, through the gateway to a real Ollama: program and server understand each other, and every token is counted.

The model is so small that it does not choose tools well: what it makes of them is not judged.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.clis import Agent
from agents.real import asked, check
from support import modelservers


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Ollama, whose model has a place for tools: Codex always offers some."""
    with modelservers.ollama(tmp_path_factory.mktemp("ollama"), tools=True) as url:
        yield url


@pytest.mark.parametrize("tools", [pytest.param(False, id="plainly"), pytest.param(True, id="with tools")])
async def test_an_agent_on_ollama_ends_by_itself_and_counts_what_the_gateway_counts(
    tmp_path: Path, server: str, agent: Agent, tools: bool
) -> None:
    ended, state = await asked(agent, tmp_path, server, server="Ollama", model=modelservers.WITH_TOOLS, tools=tools)
    check(ended, state)
