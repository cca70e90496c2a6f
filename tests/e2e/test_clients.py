"""The official clients through the gateway to a real Ollama with a small real model: its words, its counts, and its refusals in each client's terms.

Both are on loopback here: a pod with the clients in it would show no more, and no pod could be asked what its client raised.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anthropic
import ollama
import openai
import pytest

from integration.clients import Chat, Client, Messages, OllamaChat, OllamaGenerate, Responses
from laneway.rules.token import sign
from support import modelservers
from unit.gateway.kit import ATTEMPT, KEYS, Kit, eventually, gateway, lane_object, run_object

SPOKEN = (Chat, Responses, Messages, OllamaChat, OllamaGenerate)
"""Everything that Ollama speaks."""
REFUSALS = {
    Chat: (openai.NotFoundError, openai.BadRequestError),
    Responses: (openai.NotFoundError, openai.BadRequestError),
    Messages: (anthropic.NotFoundError, anthropic.BadRequestError),
    OllamaChat: (ollama.ResponseError, ollama.ResponseError),
}
"""For a model that is not there, and for tools that the model cannot use."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Ollama on loopback; the demo uses the same program and model."""
    with modelservers.ollama(tmp_path_factory.mktemp("ollama")) as url:
        yield url


@asynccontextmanager
async def asked(
    kind: type[Client], folder: Path, server: str, *, model: str = "smollm2"
) -> AsyncIterator[tuple[Client, Kit]]:
    """A client, and the gateway between it and Ollama."""

    async def elsewhere(request: object) -> Any:
        raise AssertionError("the lane leads to Ollama")

    async with gateway(folder, elsewhere) as kit:
        lane = lane_object(server, server="Ollama", version=2, models=[{"name": model}])
        kit.views.lanes.put(lane)
        kit.views.runs.put(run_object(model=model, version=2))
        async with kind(kit.url, sign(KEYS, ATTEMPT), retries=0).opened() as client:
            yield client, kit


def each(*kinds: type[Client]) -> Any:
    return pytest.mark.parametrize("kind", [pytest.param(kind, id=kind.name) for kind in kinds])


@each(*SPOKEN)
@pytest.mark.parametrize("stream", [pytest.param(False, id="whole"), pytest.param(True, id="streamed")])
async def test_the_client_and_the_gateway_read_the_same_counts(
    tmp_path: Path, server: str, kind: type[Client], stream: bool
) -> None:
    async with asked(kind, tmp_path, server) as (client, kit):
        said = await (client.stream() if stream else client.ask())
        await eventually(lambda: kit.state.attempt_state(ATTEMPT).open_calls == 0)
        totals = kit.state.attempt_state(ATTEMPT).totals
    assert "Paris" in said.text
    assert (totals.input_tokens, totals.output_tokens) == said.usage
    assert all(said.usage)
    assert (totals.turns, totals.unmetered_calls) == (1, 0)


@each(*REFUSALS)
async def test_a_model_that_ollama_does_not_have_is_not_found(tmp_path: Path, server: str, kind: type[Client]) -> None:
    async with asked(kind, tmp_path, server, model="nope") as (client, kit):
        with pytest.raises(REFUSALS[kind][0], match="not found"):
            await client.ask()
        failure = kit.state.attempt_state(ATTEMPT).failure
    assert failure is not None
    assert (failure.cause, failure.status) == ("ModelNotFound", 404)


@each(*REFUSALS)
async def test_tools_for_a_model_that_cannot_use_them_are_a_bad_request(
    tmp_path: Path, server: str, kind: type[Client]
) -> None:
    async with asked(kind, tmp_path, server) as (client, kit):
        with pytest.raises(REFUSALS[kind][1], match="does not support tools"):
            await client.ask(tools=True)
        failure = kit.state.attempt_state(ATTEMPT).failure
    assert failure is not None
    assert failure.status == 400
