"""A real vLLM behind the gateway: the official clients with streams, tools and errors, Claude Code and Codex. Needs 3 GB of packages, so `make vllm` runs it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from agents.clis import AGENTS, Agent
from agents.hosting import Host
from agents.real import TOKEN, asked, check, leads_to
from integration.clients import CITY, PROMPT, TOOL, Chat, Client, Messages, Responses
from support import modelservers
from unit.gateway.kit import ATTEMPT, Kit, eventually

WEATHER: Any = {"type": "function", "function": {"name": TOOL, "description": "Tells the weather", "parameters": CITY}}
FORCED: Any = {"type": "function", "function": {"name": TOOL}}
SPOKEN = [agent for agent in AGENTS if agent.name in {"claude-code", "codex"}]
ASK: Any = {"model": "any", "messages": [{"role": "user", "content": PROMPT}], "max_tokens": 64}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real vLLM on CPUs."""
    with modelservers.vllm(tmp_path_factory.mktemp("vllm")) as url:
        yield url


@pytest.fixture
async def kit(tmp_path: Path, server: str) -> AsyncIterator[Kit]:
    """A gateway whose lane leads to it."""
    async with leads_to(server, tmp_path, server="vLLM", model=modelservers.MODEL) as kit:
        yield kit


@pytest.fixture
async def client(kit: Kit) -> AsyncIterator[openai.AsyncOpenAI]:
    """OpenAI's own client of that gateway."""
    async with openai.AsyncOpenAI(base_url=f"{kit.url}/v1", api_key=TOKEN, max_retries=0) as client:
        yield client


async def counted(kit: Kit) -> tuple[int, int]:
    """Input and output tokens of one call, as the gateway has them."""
    await eventually(lambda: kit.state.attempt_state(ATTEMPT).open_calls == 0)
    totals = kit.state.attempt_state(ATTEMPT).totals
    assert (totals.turns, totals.unmetered_calls) == (1, 0)
    return totals.input_tokens, totals.output_tokens


async def test_a_whole_answer(kit: Kit, client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(**ASK)
    [choice] = answer.choices
    assert "Paris" in choice.message.content
    assert await counted(kit) == (answer.usage.prompt_tokens, answer.usage.completion_tokens)


async def test_a_streamed_answer(kit: Kit, client: openai.AsyncOpenAI) -> None:
    options = {"stream_options": {"include_usage": True}}
    async with client.chat.completions.stream(**ASK, **options) as stream:
        pieces = [event.delta async for event in stream if event.type == "content.delta"]
        answer = await stream.get_final_completion()
    assert len(pieces) > 1
    assert "Paris" in "".join(pieces) == answer.choices[0].message.content
    assert await counted(kit) == (answer.usage.prompt_tokens, answer.usage.completion_tokens)


async def test_a_stream_that_did_not_ask_for_usage_has_none_and_is_counted(
    kit: Kit, client: openai.AsyncOpenAI
) -> None:
    chunks = [chunk async for chunk in await client.chat.completions.create(**ASK, stream=True)]
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)
    assert all(await counted(kit))


@pytest.mark.parametrize("stream", [pytest.param(False, id="whole"), pytest.param(True, id="streamed")])
async def test_the_call_of_a_tool(kit: Kit, client: openai.AsyncOpenAI, stream: bool) -> None:
    """So small a model keeps to no schema: that its arguments are whole JSON is judged, not their shape."""
    messages: Any = [{"role": "user", "content": "What is the weather in Paris?"}]
    wish = {**ASK, "messages": messages, "tools": [WEATHER], "tool_choice": FORCED}
    if stream:
        async with client.chat.completions.stream(**wish, stream_options={"include_usage": True}) as told:
            answer = await told.get_final_completion()
    else:
        answer = await client.chat.completions.create(**wish)
    [call] = answer.choices[0].message.tool_calls
    assert call.function.name == TOOL
    assert "Paris" in str(json.loads(call.function.arguments))
    assert await counted(kit) == (answer.usage.prompt_tokens, answer.usage.completion_tokens)


@pytest.mark.parametrize("kind", [pytest.param(kind, id=kind.name) for kind in (Chat, Responses, Messages)])
@pytest.mark.parametrize("stream", [pytest.param(False, id="whole"), pytest.param(True, id="streamed")])
async def test_each_official_client_whose_api_vllm_speaks_reads_the_counts_of_the_gateway(
    kit: Kit, kind: type[Client], stream: bool
) -> None:
    async with kind(kit.url, TOKEN, retries=0).opened() as spoken:
        said = await (spoken.stream() if stream else spoken.ask())
    assert "Paris" in said.text
    assert await counted(kit) == said.usage
    assert all(said.usage)


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        pytest.param(Chat, openai.NotFoundError, id="openai, chat"),
        pytest.param(Responses, openai.NotFoundError, id="openai, responses"),
        pytest.param(Messages, anthropic.NotFoundError, id="anthropic"),
    ],
)
async def test_a_model_that_vllm_does_not_have_is_each_clients_own_error(
    tmp_path: Path, server: str, kind: type[Client], error: type[Exception]
) -> None:
    async with leads_to(server, tmp_path, server="vLLM", model="nope") as kit:
        async with kind(kit.url, TOKEN, retries=0).opened() as spoken:
            with pytest.raises(error):
                await spoken.ask()
        failure = kit.state.attempt_state(ATTEMPT).failure
    assert failure is not None
    assert (failure.cause, failure.status) == ("ModelNotFound", 404)


async def test_a_prompt_that_is_too_long_is_a_bad_request_and_known_as_that(
    kit: Kit, client: openai.AsyncOpenAI
) -> None:
    messages: Any = [{"role": "user", "content": "word " * 9000}]
    with pytest.raises(openai.BadRequestError, match="8192"):
        await client.chat.completions.create(model="any", messages=messages)
    failure = kit.state.attempt_state(ATTEMPT).failure
    assert failure is not None
    assert (failure.cause, failure.status) == ("ContextTooLong", 400)


@pytest.mark.parametrize("agent", [pytest.param(agent, id=agent.name) for agent in SPOKEN])
@pytest.mark.parametrize("tools", [pytest.param(False, id="plainly"), pytest.param(True, id="with tools")])
async def test_an_agent_ends_by_itself_and_counts_what_the_gateway_counts(
    host: Host, tmp_path: Path, server: str, agent: Agent, tools: bool
) -> None:
    ended, state = await asked(agent, host, tmp_path, server, server="vLLM", model=modelservers.MODEL, tools=tools)
    check(ended, state)
