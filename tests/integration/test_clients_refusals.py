"""What the official clients make of each refusal: the exception, what it says, and whether they try again (wire facts 9.7).

First the words of every kind of refusal, served as they are; then the refusals that the gateway gives, from the gateway.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anthropic
import anyio
import ollama
import openai
import pytest
from aiohttp import web
from google.genai import errors as gemini

from integration.clients import (
    ALL,
    QUIRK,
    TALKERS,
    Chat,
    Client,
    Embeddings,
    Gemini,
    Messages,
    OllamaChat,
    OllamaGenerate,
    Responses,
)
from laneway.gateway.wire.base import Kind, Refusal, Wire
from laneway.rules.token import sign
from unit.gateway.kit import ATTEMPT, KEYS, gateway, lane_object, serve

pytestmark = pytest.mark.filterwarnings(QUIRK)
WORDS = "words that say why"
WAIT = 7


@dataclass(frozen=True)
class Felt:
    """What a client does with a refusal."""

    error: type[Exception]
    status: int
    again: bool = False
    """It tries again."""


_OPENAI_FOR_EVER = {
    Kind.BAD_REQUEST: Felt(openai.BadRequestError, 400),
    Kind.UNAUTHENTICATED: Felt(openai.AuthenticationError, 401),
    Kind.FORBIDDEN: Felt(openai.PermissionDeniedError, 403),
    Kind.NOT_FOUND: Felt(openai.NotFoundError, 404),
    Kind.TOO_LARGE: Felt(openai.APIStatusError, 413),
    Kind.LIMIT: Felt(openai.PermissionDeniedError, 403),
}
_OPENAI_LATER = {
    Kind.UNAVAILABLE: Felt(openai.InternalServerError, 503, again=True),
    Kind.UPSTREAM: Felt(openai.InternalServerError, 502, again=True),
    Kind.TIMEOUT: Felt(openai.InternalServerError, 504, again=True),
}
_CHAT = {
    **_OPENAI_FOR_EVER,
    **_OPENAI_LATER,
    Kind.BUSY: Felt(openai.RateLimitError, 429, again=True),
    Kind.THROTTLED: Felt(openai.RateLimitError, 429, again=True),
}
_OLLAMA = {
    Kind.BAD_REQUEST: 400,
    Kind.UNAUTHENTICATED: 401,
    Kind.FORBIDDEN: 403,
    Kind.NOT_FOUND: 404,
    Kind.TOO_LARGE: 413,
    Kind.BUSY: 503,
    Kind.THROTTLED: 503,
    Kind.LIMIT: 403,
    Kind.UNAVAILABLE: 503,
    Kind.UPSTREAM: 502,
    Kind.TIMEOUT: 504,
}
FELT: Mapping[type[Client], Mapping[Kind, Felt]] = {
    Chat: _CHAT,
    Embeddings: _CHAT,
    Responses: {
        **_OPENAI_FOR_EVER,
        **_OPENAI_LATER,
        Kind.BUSY: Felt(openai.InternalServerError, 503, again=True),
        Kind.THROTTLED: Felt(openai.InternalServerError, 503, again=True),
    },
    Messages: {
        Kind.BAD_REQUEST: Felt(anthropic.BadRequestError, 400),
        Kind.UNAUTHENTICATED: Felt(anthropic.AuthenticationError, 401),
        Kind.FORBIDDEN: Felt(anthropic.PermissionDeniedError, 403),
        Kind.NOT_FOUND: Felt(anthropic.NotFoundError, 404),
        Kind.TOO_LARGE: Felt(anthropic.RequestTooLargeError, 413),
        Kind.BUSY: Felt(anthropic.OverloadedError, 529, again=True),
        Kind.THROTTLED: Felt(anthropic.RateLimitError, 429, again=True),
        Kind.LIMIT: Felt(anthropic.PermissionDeniedError, 403),
        Kind.UNAVAILABLE: Felt(anthropic.ServiceUnavailableError, 503, again=True),
        Kind.UPSTREAM: Felt(anthropic.InternalServerError, 502, again=True),
        Kind.TIMEOUT: Felt(anthropic.DeadlineExceededError, 504, again=True),
    },
    OllamaChat: {kind: Felt(ollama.ResponseError, status) for kind, status in _OLLAMA.items()},
    OllamaGenerate: {kind: Felt(ollama.ResponseError, status) for kind, status in _OLLAMA.items()},
    Gemini: {
        Kind.BAD_REQUEST: Felt(gemini.ClientError, 400),
        Kind.UNAUTHENTICATED: Felt(gemini.ClientError, 401),
        Kind.FORBIDDEN: Felt(gemini.ClientError, 403),
        Kind.NOT_FOUND: Felt(gemini.ClientError, 404),
        Kind.TOO_LARGE: Felt(gemini.ClientError, 413),
        Kind.BUSY: Felt(gemini.ClientError, 429, again=True),
        Kind.THROTTLED: Felt(gemini.ClientError, 429, again=True),
        Kind.LIMIT: Felt(gemini.ClientError, 403),
        Kind.UNAVAILABLE: Felt(gemini.ServerError, 503, again=True),
        Kind.UPSTREAM: Felt(gemini.ServerError, 502, again=True),
        Kind.TIMEOUT: Felt(gemini.ServerError, 504, again=True),
    },
}
OBEY_RETRY_AFTER = (Chat, Embeddings, Responses, Messages)
"""The client of Ollama never tries again; google-genai goes by its own clock."""


@dataclass
class Waits:
    """In place of sleeping: how long a client would have waited before each further try."""

    seconds: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.seconds.append(seconds)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Waits:
    """The clock of openai and anthropic, who wait with anyio."""
    waits = Waits()
    monkeypatch.setattr(anyio, "sleep", waits.sleep)
    return waits


@dataclass
class Refuser:
    """Refuses everything, in the words of one API."""

    wire: Wire
    refusal: Refusal
    asked: int = 0

    async def answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        await request.read()
        answer = self.wire.refuse(self.refusal)
        return web.Response(status=answer.status, body=answer.body, headers=dict(answer.headers))


@asynccontextmanager
async def refused(kind: type[Client], refusal: Refusal) -> AsyncIterator[tuple[Client, Refuser]]:
    """A client that tries once more where it tries again, and a server that refuses it."""
    refuser = Refuser(kind.wire, refusal)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", refuser.answer)
    async with AsyncExitStack() as stack:
        client = kind(await serve(stack, app), "token", retries=1)
        yield await stack.enter_async_context(client.opened()), refuser


def status_of(error: BaseException) -> int | None:
    return getattr(error, "status_code", getattr(error, "code", None))


def test_every_kind_of_refusal_has_its_line_for_every_client() -> None:
    assert set(FELT) == set(ALL)
    assert all(set(kinds) == set(Kind) for kinds in FELT.values())


@pytest.mark.parametrize("kind", [pytest.param(kind, id=kind.value) for kind in Kind])
@pytest.mark.parametrize("client", [pytest.param(client, id=client.name) for client in ALL])
async def test_a_refusal_is_the_clients_typed_error_and_is_tried_again_only_where_that_is_of_use(
    client: type[Client], kind: Kind, waits: Waits
) -> None:
    felt = FELT[client][kind]
    refusal = Refusal(kind=kind, message=WORDS, retry_after_seconds=WAIT if felt.again else None)
    for streamed in (False, True) if client in TALKERS else (False,):
        async with refused(client, refusal) as (opened, refuser):
            with pytest.raises(felt.error) as caught:
                await (opened.stream() if streamed else opened.ask())
        assert caught.type is felt.error
        assert (status_of(caught.value), WORDS in str(caught.value)) == (felt.status, True)
        assert refuser.asked == (2 if felt.again else 1)
        assert waits.seconds == ([WAIT] if felt.again and client in OBEY_RETRY_AFTER else [])
        waits.seconds.clear()


@pytest.mark.parametrize(
    ("client", "code"),
    [
        pytest.param(Chat, {Kind.BUSY: "rate_limit_exceeded", Kind.LIMIT: "insufficient_quota"}, id="chat completions"),
        pytest.param(Responses, {Kind.BUSY: "server_is_overloaded", Kind.LIMIT: "insufficient_quota"}, id="responses"),
    ],
)
async def test_openai_tells_apart_a_full_lane_and_a_limit_by_code(
    client: type[Client], code: Mapping[Kind, str], waits: Waits
) -> None:
    for kind, expected in code.items():
        async with refused(client, Refusal(kind=kind, message=WORDS)) as (opened, _):
            with pytest.raises(openai.APIStatusError) as caught:
                await opened.ask()
        assert caught.value.code == expected


@pytest.mark.parametrize("client", [pytest.param(client, id=client.name) for client in OBEY_RETRY_AFTER])
async def test_a_long_pause_of_the_server_does_not_make_a_client_give_up(client: type[Client], waits: Waits) -> None:
    hours = Refusal(kind=Kind.THROTTLED, message=WORDS, retry_after_seconds=3 * 3600)
    async with refused(client, hours) as (opened, refuser):
        with pytest.raises(FELT[client][Kind.THROTTLED].error):
            await opened.ask()
    assert (refuser.asked, waits.seconds) == (2, [60])


@pytest.mark.parametrize("kind", [pytest.param(kind, id=kind.value) for kind in (Kind.UPSTREAM, Kind.TIMEOUT)])
@pytest.mark.parametrize("client", [pytest.param(client, id=client.name) for client in ALL])
async def test_a_failure_after_the_tries_of_the_lane_is_tried_again_only_by_clients_that_go_by_status(
    client: type[Client], kind: Kind, waits: Waits
) -> None:
    felt = FELT[client][kind]
    async with refused(client, Refusal(kind, WORDS, final=True)) as (opened, refuser):
        with pytest.raises(felt.error):
            await opened.ask()
    assert refuser.asked == (2 if client is Gemini else 1)
    assert waits.seconds == []


# From the gateway itself


@asynccontextmanager
async def at_the_gateway(
    kind: type[Client], folder: Path, *, token: str | None = None, **lane: Any
) -> AsyncIterator[tuple[Client, Any]]:
    async def never(request: web.Request) -> web.Response:
        raise AssertionError("nothing was to reach the server")

    async with gateway(folder, never) as kit:
        lane = {"server": kind.server, **lane}
        kit.views.lanes.put(lane_object(lane.pop("url", kit.server_url), version=2, **lane))
        async with kind(kit.url, token or sign(KEYS, ATTEMPT), retries=1).opened() as client:
            yield client, kit


async def error_of(client: Client, kind: Kind, prompt: str = WORDS) -> Exception:
    """The error of a call, which has the type that this kind of refusal has for this client."""
    felt = FELT[type(client)][kind]
    with pytest.raises(felt.error) as caught:
        await client.ask(prompt)
    assert (caught.type, status_of(caught.value)) == (felt.error, felt.status)
    return caught.value


def each(*kinds: type[Client]) -> Any:
    return pytest.mark.parametrize("kind", [pytest.param(kind, id=kind.name) for kind in kinds])


@each(*ALL)
async def test_a_token_that_is_not_ours_is_an_authentication_error(
    tmp_path: Path, kind: type[Client], waits: Waits
) -> None:
    async with at_the_gateway(kind, tmp_path, token="sk-something-else") as (client, _):
        error = await error_of(client, Kind.UNAUTHENTICATED)
    assert "the token is not valid" in str(error)
    assert waits.seconds == []


@each(*ALL)
async def test_an_api_that_the_lane_does_not_speak_is_not_found(
    tmp_path: Path, kind: type[Client], waits: Waits
) -> None:
    other = "OpenAI" if kind.server == "Gemini" or kind in (Messages, OllamaChat, OllamaGenerate) else "Anthropic"
    async with at_the_gateway(kind, tmp_path, server=other) as (client, _):
        error = await error_of(client, Kind.NOT_FOUND)
    assert "does not speak" in str(error)
    assert waits.seconds == []


@pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")  # google-genai does
@each(Chat, Messages, OllamaChat, Gemini)
async def test_a_body_over_32_mib_is_too_large(tmp_path: Path, kind: type[Client], waits: Waits) -> None:
    async with at_the_gateway(kind, tmp_path) as (client, _):
        error = await error_of(client, Kind.TOO_LARGE, "x" * (33 * 1024 * 1024))
    assert "larger than" in str(error)
    assert waits.seconds == []


@each(*ALL)
async def test_a_run_with_too_many_calls_open_is_busy_and_its_client_waits_as_it_is_told(
    tmp_path: Path, kind: type[Client], waits: Waits
) -> None:
    async with at_the_gateway(kind, tmp_path) as (client, kit):
        opened = [kit.state.open(ATTEMPT) for _ in range(32)]
        error = await error_of(client, Kind.BUSY)
        for call in opened:
            kit.state.leave(ATTEMPT, call)
    assert "too many calls open" in str(error)
    assert waits.seconds == ([1] if kind in OBEY_RETRY_AFTER else [])


@each(*ALL)
async def test_a_lane_without_its_key_is_unavailable(tmp_path: Path, kind: type[Client], waits: Waits) -> None:
    keyed = {"credentialRef": {"name": "provider", "key": "apiKey"}}
    async with at_the_gateway(kind, tmp_path, endpoint=keyed) as (client, _):
        error = await error_of(client, Kind.UNAVAILABLE)
    assert "the lane has no key" in str(error)


@each(*ALL)
async def test_a_model_server_that_is_not_there_is_a_bad_gateway(
    tmp_path: Path, kind: type[Client], waits: Waits, unused_tcp_port: int
) -> None:
    async with at_the_gateway(kind, tmp_path, url=f"http://127.0.0.1:{unused_tcp_port}") as (client, _):
        error = await error_of(client, Kind.UPSTREAM)
    assert "connection refused" in str(error)
    assert len(waits.seconds) == (1 if kind is Embeddings else 0)  # of which the gateway makes one try, always


@each(Chat, Responses, Messages, OllamaChat, Gemini)
async def test_a_model_server_that_is_too_slow_is_a_gateway_timeout(
    tmp_path: Path, kind: type[Client], waits: Waits
) -> None:
    async def hangs(request: web.Request) -> web.Response:
        await anyio.Event().wait()
        raise AssertionError("the gateway waited for ever")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", hangs)
    async with AsyncExitStack() as stack:
        url = await serve(stack, app)
        client, _ = await stack.enter_async_context(
            at_the_gateway(kind, tmp_path, url=url, timeouts={"answerSeconds": 1})
        )
        error = await error_of(client, Kind.TIMEOUT)
    assert "did not come within 1 s" in str(error)
    assert waits.seconds == []
