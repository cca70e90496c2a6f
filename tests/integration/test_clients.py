"""The official clients through a gateway in process to the scripted model server: answers, streams, tools, and what breaks on the way."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anthropic
import ollama
import openai
import pytest

from integration import toolcalls
from integration.clients import (
    ALL,
    QUIRK,
    TALKERS,
    TOOL_USERS,
    Chat,
    Client,
    Embeddings,
    Gemini,
    Messages,
    OllamaChat,
    Responses,
)
from laneway.rules.token import sign
from modelserver import ModelServer, Step
from modelserver.shapes import INPUT_TOKENS, OUTPUT_TOKENS, TEXT, VECTOR
from unit.gateway.kit import ATTEMPT, KEYS, Kit, eventually, gateway, lane_object

pytestmark = pytest.mark.filterwarnings(QUIRK)
TOKEN = sign(KEYS, ATTEMPT)
FINISHED = {Chat: "stop", Responses: "completed", Messages: "end_turn", Gemini: "STOP"}


@dataclass
class Stand:
    """A client, the gateway that it calls, and the server behind."""

    client: Client
    kit: Kit
    server: ModelServer


@asynccontextmanager
async def stand(kind: type[Client], folder: Path, *steps: Step, **lane: Any) -> AsyncIterator[Stand]:
    """A gateway whose lane leads to the scripted server; what the server is not asked, it cannot answer."""

    async def elsewhere(request: object) -> Any:
        raise AssertionError("the lane leads to another server")

    async with ModelServer(steps, host="127.0.0.1") as server, gateway(folder, elsewhere) as kit:
        kit.views.lanes.put(lane_object(server.url, server=kind.server, version=2, **lane))
        async with kind(kit.url, TOKEN, retries=0).opened() as client:
            yield Stand(client, kit, server)


def named(*kinds: type[Client]) -> list[Any]:
    return [pytest.param(kind, id=kind.name) for kind in kinds]


@pytest.mark.row("S0.11", "S0.16")
@pytest.mark.parametrize("kind", named(*TALKERS))
@pytest.mark.parametrize("stream", [pytest.param(False, id="whole"), pytest.param(True, id="streamed")])
async def test_a_client_gets_words_usage_and_reason_and_the_gateway_counts_the_same(
    tmp_path: Path, kind: type[Client], stream: bool
) -> None:
    async with stand(kind, tmp_path) as here:
        said = await (here.client.stream() if stream else here.client.ask())
        await eventually(lambda: here.kit.state.attempt_state(ATTEMPT).open_calls == 0)
        state = here.kit.state.attempt_state(ATTEMPT)
    assert (said.text, said.usage, said.tools) == (TEXT, (INPUT_TOKENS, OUTPUT_TOKENS), ())
    assert said.finish == FINISHED.get(kind, "stop")
    assert (state.totals.input_tokens, state.totals.output_tokens) == said.usage
    assert (state.totals.turns, state.totals.unmetered_calls, state.calls) == (1, 0, 1)
    [call] = here.server.requests
    assert (call.model, call.outcome) == ("smollm2", "answered")
    assert TOKEN not in json.dumps([call.headers, call.query])


@pytest.mark.parametrize("kind", named(*TOOL_USERS))
@pytest.mark.parametrize("stream", [pytest.param(False, id="whole"), pytest.param(True, id="streamed")])
async def test_a_tool_is_offered_to_the_model_and_its_call_reaches_the_client(
    tmp_path: Path, kind: type[Client], stream: bool
) -> None:
    async with stand(kind, tmp_path, toolcalls.step(kind.wire.api, stream=stream)) as here:
        said = await (here.client.stream(tools=True) if stream else here.client.ask(tools=True))
        await eventually(lambda: here.kit.state.attempt_state(ATTEMPT).open_calls == 0)
        state = here.kit.state.attempt_state(ATTEMPT)
    assert said.tools == ((toolcalls.WEATHER.name, toolcalls.WEATHER.arguments),)
    assert toolcalls.WEATHER.name in json.dumps(here.server.requests[0].body["tools"])
    assert (state.totals.input_tokens, state.totals.output_tokens, state.totals.turns) == (*toolcalls.USAGE, 1)


async def test_embeddings_reach_the_client_and_are_no_turn(tmp_path: Path) -> None:
    async with stand(Embeddings, tmp_path) as here:
        said = await here.client.ask()
        state = here.kit.state.attempt_state(ATTEMPT)
    assert json.loads(said.text) == VECTOR
    assert (said.usage[0], state.totals.input_tokens, state.totals.turns) == (INPUT_TOKENS, INPUT_TOKENS, 0)


async def test_the_clients_list_the_models_of_the_lane(tmp_path: Path) -> None:
    async with stand(Chat, tmp_path) as here:
        url = here.kit.url
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=TOKEN) as client:
            assert [model.id async for model in client.models.list()] == ["smollm2"]
        async with anthropic.AsyncAnthropic(base_url=url, api_key=TOKEN) as client:
            assert [model.id async for model in client.models.list()] == ["smollm2"]
        async with ollama.AsyncClient(host=url, headers={"Authorization": f"Bearer {TOKEN}"}) as client:
            assert [model.model for model in (await client.list()).models] == ["smollm2"]


BROKEN: list[tuple[type[Client], str, type[Exception], str]] = [
    (Chat, 'data: {"error": {"message": "the engine died", "type": "server_error"}}\n\n', openai.APIError, "died"),
    (
        Responses,
        'event: error\ndata: {"type": "error", "error": {"message": "the engine died", "code": "server_error"}}\n\n',
        openai.APIError,
        "died",
    ),
    (
        Messages,
        'event: error\ndata: {"type": "error", "error": {"type": "overloaded_error", "message": "died"}}\n\n',
        anthropic.APIStatusError,
        "died",
    ),
    (OllamaChat, '{"error": "the engine died"}\n', ollama.ResponseError, "died"),
]


@pytest.mark.parametrize(("kind", "event", "error", "words"), [pytest.param(*case, id=case[0].name) for case in BROKEN])
async def test_an_error_inside_a_stream_is_the_clients_own_error_and_is_not_retried(
    tmp_path: Path, kind: type[Client], event: str, error: type[Exception], words: str
) -> None:
    async with stand(kind, tmp_path, Step(body=[event])) as here:
        with pytest.raises(error, match=words):
            await here.client.stream()
        await eventually(lambda: here.kit.state.attempt_state(ATTEMPT).open_calls == 0)
        failure = here.kit.state.attempt_state(ATTEMPT).failure
    assert failure is not None
    assert words in failure.message
    assert len(here.server.requests) == 1


@pytest.mark.parametrize("kind", named(*TALKERS))
async def test_a_stream_that_breaks_off_is_an_error_and_never_half_an_answer(
    tmp_path: Path, kind: type[Client]
) -> None:
    async with stand(kind, tmp_path, Step(cut_after_chunks=2)) as here:
        with pytest.raises(Exception, match=r"(?i)peer closed|incomplete|payload|disconnected|connection"):
            await here.client.stream()
        await eventually(lambda: here.kit.state.attempt_state(ATTEMPT).open_calls == 0)
        failure = here.kit.state.attempt_state(ATTEMPT).failure
    assert failure is not None
    assert failure.cut
    assert len(here.server.requests) == 1


@pytest.mark.parametrize("kind", named(*ALL))
async def test_the_servers_own_refusal_keeps_its_status_and_words_for_the_client(
    tmp_path: Path, kind: type[Client]
) -> None:
    async with stand(kind, tmp_path, Step(status=400)) as here:
        with pytest.raises(Exception, match="scripted status 400") as caught:
            await here.client.ask()
    assert getattr(caught.value, "status_code", getattr(caught.value, "code", None)) == 400
    assert len(here.server.requests) == 1
