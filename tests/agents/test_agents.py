"""Claude Code and Codex, headless, through the gateway: they answer, are counted, wait where waiting helps, and stop where it does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agents.clis import AGENTS, OUTPUT, Agent
from integration import toolcalls
from laneway.gateway.wire.base import Kind, Refusal
from laneway.rules.token import sign
from modelserver import ModelServer, Step
from modelserver.shapes import INPUT_TOKENS, OUTPUT_TOKENS, TEXT
from unit.gateway.kit import ATTEMPT, KEYS, eventually, gateway, lane_object

TOKEN = sign(KEYS, ATTEMPT)
each = pytest.mark.parametrize("kind", [pytest.param(kind, id=kind.name) for kind in AGENTS])


def refused(kind: type[Agent], refusal: Refusal, *, repeat: int | None = 1) -> Step:
    """A refusal in the words that the gateway has for this agent."""
    answer = kind.wire.refuse(refusal)
    return Step(status=answer.status, headers=dict(answer.headers), body=answer.body.decode(), repeat=repeat)


async def elsewhere(request: object) -> Any:
    raise AssertionError("the lane leads to the scripted server")


@each
async def test_an_agent_answers_and_counts_what_the_gateway_counts(
    commands: Path, home: Path, tmp_path: Path, kind: type[Agent]
) -> None:
    async with ModelServer(host="127.0.0.1") as server, gateway(tmp_path, elsewhere) as kit:
        kit.views.lanes.put(lane_object(server.url, server=kind.server, version=2))
        ended = await kind(commands, home).ask(kit.url, TOKEN)
        await eventually(lambda: kit.state.attempt_state(ATTEMPT).open_calls == 0)
        state = kit.state.attempt_state(ATTEMPT)
    assert (ended.code, ended.words, ended.usage) == (0, TEXT, (INPUT_TOKENS, OUTPUT_TOKENS))
    assert (state.totals.input_tokens, state.totals.output_tokens, state.totals.turns) == (*ended.usage, 1)
    [call] = server.requests
    assert (call.model, call.stream, call.outcome) == ("smollm2", True, "answered")
    assert TOKEN not in json.dumps([call.headers, call.query])


@each
async def test_an_agent_runs_a_command_that_the_model_asks_for_and_tells_the_model_what_came(
    commands: Path, home: Path, tmp_path: Path, kind: type[Agent]
) -> None:
    wish = toolcalls.step(kind.wire.api, kind.shell, stream=True)
    async with ModelServer([wish], host="127.0.0.1") as server, gateway(tmp_path, elsewhere) as kit:
        kit.views.lanes.put(lane_object(server.url, server=kind.server, version=2))
        ended = await kind(commands, home).ask(kit.url, TOKEN, tools=True)
        await eventually(lambda: kit.state.attempt_state(ATTEMPT).open_calls == 0)
        totals = kit.state.attempt_state(ATTEMPT).totals
    assert (ended.code, ended.words) == (0, TEXT)
    asked, told = server.requests
    assert OUTPUT not in json.dumps(asked.body)
    assert OUTPUT in json.dumps(told.body)
    assert (totals.turns, totals.input_tokens, totals.output_tokens) == (2, 2 * INPUT_TOKENS, 2 * OUTPUT_TOKENS)


@each
async def test_an_agent_with_a_token_that_is_not_ours_fails_and_says_why(
    commands: Path, home: Path, tmp_path: Path, kind: type[Agent]
) -> None:
    async with gateway(tmp_path, elsewhere) as kit:
        ended = await kind(commands, home).ask(kit.url, "sk-something-else")
    assert ended.code == 1
    assert "the token is not valid" in ended.words


@each
async def test_an_agent_waits_for_a_full_lane_and_then_goes_on(commands: Path, home: Path, kind: type[Agent]) -> None:
    busy = Refusal(kind=Kind.BUSY, message="the lane is full", retry_after_seconds=1)
    async with ModelServer([refused(kind, busy)], host="127.0.0.1") as server:
        ended = await kind(commands, home).ask(server.url, "any")
    assert (ended.code, ended.words) == (0, TEXT)
    assert len(server.requests) == 2


@each
async def test_an_agent_at_its_limit_stops_at_once_and_says_why(commands: Path, home: Path, kind: type[Agent]) -> None:
    limit = Refusal(kind=Kind.LIMIT, message="the run has used its USD 0.50")
    async with ModelServer([refused(kind, limit, repeat=None)], host="127.0.0.1") as server:
        ended = await kind(commands, home).ask(server.url, "any")
    assert ended.code == 1
    assert "the run has used its USD 0.50" in ended.words
    assert len(server.requests) == 1
