"""One prompt of an agent through a gateway to a real model server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from agents.clis import Agent, Ended
from agents.hosting import Host
from laneway.api.gatewaystate import AttemptState
from laneway.rules.token import sign
from unit.gateway.kit import ATTEMPT, KEYS, Kit, eventually, gateway, lane_object, run_object

TOKEN = sign(KEYS, ATTEMPT)
LONGEST = 128
"""Output tokens of an answer, by the lane, for a run with a limit: agents ask for more than the model's whole context."""
LIMITS = {"tokens": 1_000_000}
_FORMAT = "RepeatedFormatError"
"""What mini-swe-agent ends with when the model did not call its tool, three times in a row."""


@asynccontextmanager
async def leads_to(url: str, folder: Path, *, server: str, model: str) -> AsyncIterator[Kit]:
    """A gateway whose lane leads to a model of the server at ``url``; ``server`` is its kind."""
    async with gateway(folder, _elsewhere) as kit:
        models = [{"name": model, "maxOutputTokens": LONGEST}]
        kit.views.lanes.put(lane_object(url, server=server, version=2, models=models))
        run = run_object(model=model, version=2)
        kit.views.runs.put({**run, "metadata": {**run["metadata"], "generation": 2}, "spec": {"limits": LIMITS}})
        yield kit


async def asked(
    agent: Agent, host: Host, folder: Path, url: str, *, server: str, model: str, tools: bool = False
) -> tuple[Ended, AttemptState]:
    """How the agent ended, and what the gateway has counted."""
    async with leads_to(url, folder, server=server, model=model) as kit:
        ended = await agent.ask(host, kit.url, TOKEN, tools=tools)
        await eventually(lambda: kit.state.attempt_state(ATTEMPT).open_calls == 0)
        return ended, kit.state.attempt_state(ATTEMPT)


def check(ended: Ended, state: AttemptState) -> None:
    """Check that agent and gateway have seen the same, and that the agent ended by itself.

    A small model may not find its end: Claude Code then asks it three times to go on, and fails. Nor does it follow an agent's format.
    """
    print(ended, state.totals, state.failure)
    assert ended.code == 0 or any(words in ended.words for words in ("output token maximum", _FORMAT)), ended.words
    assert ended.words
    assert ended.usage in {None, (state.totals.input_tokens, state.totals.output_tokens)}
    assert state.totals.input_tokens
    assert state.totals.output_tokens
    assert (state.totals.unmetered_calls, state.failure) == (0, None)


async def _elsewhere(request: object) -> Any:
    raise AssertionError("the lane leads to the real server")
