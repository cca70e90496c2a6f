"""Agents of others, as their presets start them, through the gateway: they answer, are counted, wait where waiting helps, and stop where it does not."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agents.clis import AGENTS, MADE, OUTPUT, Agent
from agents.hosting import Host
from laneway.gateway.wire.base import Kind, Refusal
from laneway.rules.token import sign
from modelserver import ModelServer, Step
from modelserver.shapes import INPUT_TOKENS, OUTPUT_TOKENS, TEXT
from unit.gateway.kit import ATTEMPT, KEYS, Kit, eventually, gateway, lane_object

TOKEN = sign(KEYS, ATTEMPT)
each = pytest.mark.parametrize("agent", [pytest.param(agent, id=agent.name) for agent in AGENTS])


@asynccontextmanager
async def scripted(folder: Path, agent: Agent, steps: list[Step]) -> AsyncIterator[tuple[ModelServer, Kit]]:
    """A model server with a script, and the gateway before it."""

    async def elsewhere(request: object) -> Any:
        raise AssertionError("the lane leads to the scripted server")

    async with ModelServer(steps, host="127.0.0.1") as server, gateway(folder, elsewhere) as kit:
        kit.views.lanes.put(lane_object(server.url, server=agent.server, version=2))
        yield server, kit
        await eventually(lambda: kit.state.attempt_state(ATTEMPT).open_calls == 0)


def refused(agent: Agent, refusal: Refusal, *, repeat: int | None = 1) -> Step:
    """A refusal in the words that the gateway has for this agent."""
    answer = agent.wire.refuse(refusal)
    return Step(status=answer.status, headers=dict(answer.headers), body=answer.body.decode(), repeat=repeat)


@each
async def test_an_agent_answers_and_counts_what_the_gateway_counts(host: Host, tmp_path: Path, agent: Agent) -> None:
    async with scripted(tmp_path, agent, agent.answer()) as (server, kit):
        ended = await agent.ask(host, kit.url, TOKEN)
    totals = kit.state.attempt_state(ATTEMPT).totals
    assert ended.code == 0, ended.words
    assert TEXT in ended.words
    assert ended.usage in {None, (INPUT_TOKENS, OUTPUT_TOKENS)}
    assert (totals.input_tokens, totals.output_tokens, totals.turns) == (INPUT_TOKENS, OUTPUT_TOKENS, 1)
    [call] = server.requests
    assert (call.model, call.outcome) == ("smollm2", "answered")
    assert TOKEN not in json.dumps([call.headers, call.query])


@each
async def test_an_agent_does_what_the_model_asks_for_in_its_workspace_and_tells_the_model(
    host: Host, tmp_path: Path, agent: Agent
) -> None:
    async with scripted(tmp_path, agent, agent.work()) as (server, kit):
        ended = await agent.ask(host, kit.url, TOKEN, tools=True)
    assert ended.code == 0, ended.words
    assert (host.workspace / MADE).read_text().strip() == OUTPUT
    first, *later = (json.dumps(call.body) for call in server.requests)
    assert OUTPUT not in first
    assert any(OUTPUT in body for body in later) == agent.is_told
    totals, calls = kit.state.attempt_state(ATTEMPT).totals, len(server.requests)
    assert (totals.turns, totals.input_tokens) == (calls, calls * INPUT_TOKENS)
    assert ended.usage in {None, (totals.input_tokens, totals.output_tokens)}


@each
async def test_an_agent_with_a_token_that_is_not_ours_fails(host: Host, tmp_path: Path, agent: Agent) -> None:
    async with scripted(tmp_path, agent, []) as (server, kit):
        ended = await agent.ask(host, kit.url, "sk-something-else")
    assert ended.code != 0
    assert server.requests == []
    assert "the token is not valid" in ended.words or not agent.agrees


@each
async def test_an_agent_waits_for_a_full_lane_and_then_goes_on(host: Host, agent: Agent) -> None:
    busy = Refusal(kind=Kind.BUSY, message="the lane is full", retry_after_seconds=1)
    async with ModelServer([refused(agent, busy), *agent.answer()], host="127.0.0.1") as server:
        ended = await agent.ask(host, server.url, "any")
    assert ended.code == 0, ended.words
    assert TEXT in ended.words
    assert len(server.requests) == 2


@each
async def test_an_agent_at_its_limit_fails_and_stops_at_once_if_it_obeys(host: Host, agent: Agent) -> None:
    limit = Refusal(kind=Kind.LIMIT, message="the run has used its USD 0.50")
    async with ModelServer([refused(agent, limit, repeat=None)], host="127.0.0.1") as server:
        ended = await agent.ask(host, server.url, "any")
    assert ended.code != 0
    assert "the run has used its USD 0.50" in ended.words or not agent.agrees
    assert (len(server.requests) == 1) == agent.obeys
