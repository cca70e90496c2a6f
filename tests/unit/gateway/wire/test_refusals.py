"""How the gateway refuses in the words of each API."""

from __future__ import annotations

import json

import pytest

from laneway.api.endpoint import Server
from laneway.gateway.ports.agents import CHAT, EMBEDDINGS, GEMINI, MESSAGES, OLLAMA, RESPONSES
from laneway.gateway.wire.base import Kind, Reading, Refusal, Wire

WIRES = (CHAT, RESPONSES, EMBEDDINGS, MESSAGES, OLLAMA, GEMINI)
CODE, TYPE, WORDS, STATUS = ("error", "code"), ("error", "type"), ("error",), ("error", "status")
REFUSALS = [
    (CHAT, Kind.UNAUTHENTICATED, 401, CODE, "invalid_api_key"),
    (CHAT, Kind.FORBIDDEN, 403, TYPE, "permission_error"),
    (CHAT, Kind.NOT_FOUND, 404, CODE, "model_not_found"),
    (CHAT, Kind.BUSY, 429, CODE, "rate_limit_exceeded"),
    (CHAT, Kind.THROTTLED, 429, CODE, "rate_limit_exceeded"),
    (CHAT, Kind.LIMIT, 403, CODE, "insufficient_quota"),
    (CHAT, Kind.UNAVAILABLE, 503, TYPE, "server_error"),
    (RESPONSES, Kind.UNAUTHENTICATED, 401, CODE, "invalid_api_key"),
    (RESPONSES, Kind.BUSY, 503, TYPE, "server_error"),
    (RESPONSES, Kind.THROTTLED, 503, TYPE, "server_error"),
    (RESPONSES, Kind.LIMIT, 403, CODE, "insufficient_quota"),
    (EMBEDDINGS, Kind.BUSY, 429, CODE, "rate_limit_exceeded"),
    (EMBEDDINGS, Kind.LIMIT, 403, CODE, "insufficient_quota"),
    (MESSAGES, Kind.UNAUTHENTICATED, 401, TYPE, "authentication_error"),
    (MESSAGES, Kind.FORBIDDEN, 403, TYPE, "permission_error"),
    (MESSAGES, Kind.NOT_FOUND, 404, TYPE, "not_found_error"),
    (MESSAGES, Kind.BUSY, 529, TYPE, "overloaded_error"),
    (MESSAGES, Kind.THROTTLED, 429, TYPE, "rate_limit_error"),
    (MESSAGES, Kind.LIMIT, 403, TYPE, "permission_error"),
    (MESSAGES, Kind.TOO_LARGE, 413, TYPE, "request_too_large"),
    (OLLAMA, Kind.UNAUTHENTICATED, 401, WORDS, "why"),
    (OLLAMA, Kind.NOT_FOUND, 404, WORDS, "why"),
    (OLLAMA, Kind.BUSY, 503, WORDS, "why"),
    (OLLAMA, Kind.THROTTLED, 503, WORDS, "why"),
    (OLLAMA, Kind.LIMIT, 403, WORDS, "why"),
    (GEMINI, Kind.UNAUTHENTICATED, 401, STATUS, "UNAUTHENTICATED"),
    (GEMINI, Kind.NOT_FOUND, 404, STATUS, "NOT_FOUND"),
    (GEMINI, Kind.BUSY, 429, STATUS, "RESOURCE_EXHAUSTED"),
    (GEMINI, Kind.THROTTLED, 429, STATUS, "RESOURCE_EXHAUSTED"),
    (GEMINI, Kind.LIMIT, 403, STATUS, "PERMISSION_DENIED"),
    (GEMINI, Kind.TIMEOUT, 504, STATUS, "DEADLINE_EXCEEDED"),
]


@pytest.mark.parametrize(
    ("wire", "kind", "status", "path", "word"), REFUSALS, ids=[f"{w.api} {k} is {s}" for w, k, s, *_ in REFUSALS]
)
def test_each_api_refuses_in_its_own_words(
    wire: Wire, kind: Kind, status: int, path: tuple[str, ...], word: str
) -> None:
    answer = wire.refuse(Refusal(kind, "why", retry_after_seconds=3))
    value = json.loads(answer.body)
    for step in path:
        value = value[step]
    assert (answer.status, value, answer.headers["Retry-After"]) == (status, word, "3")


@pytest.mark.parametrize("wire", WIRES, ids=lambda wire: wire.api.value)
@pytest.mark.parametrize("kind", list(Kind))
def test_every_api_has_words_for_every_refusal(wire: Wire, kind: Kind) -> None:
    answer = wire.refuse(Refusal(kind, "why"))
    assert answer.status >= 400
    assert b"why" in answer.body


@pytest.mark.parametrize(
    ("wire", "kind", "asked", "told"),
    [
        pytest.param(CHAT, Kind.THROTTLED, 600, "60", id="OpenAI's clients give up on a long wait, so it is cut"),
        pytest.param(CHAT, Kind.THROTTLED, 5, "5", id="a short wait stays"),
        pytest.param(CHAT, Kind.BUSY, 600, "600", id="a wait of our own is what we say"),
        pytest.param(EMBEDDINGS, Kind.THROTTLED, 600, "60", id="of embeddings too"),
        pytest.param(RESPONSES, Kind.THROTTLED, 600, "60", id="and of responses"),
        pytest.param(
            MESSAGES, Kind.THROTTLED, 600, "60", id="Anthropic's clients sleep as long as they are told, so it is cut"
        ),
        pytest.param(GEMINI, Kind.THROTTLED, 600, "600", id="Gemini CLI gives up on a long wait, and shall"),
        pytest.param(CHAT, Kind.THROTTLED, None, None, id="no wait is told when none is known"),
    ],
)
def test_how_long_a_client_is_told_to_wait(wire: Wire, kind: Kind, asked: int | None, told: str | None) -> None:
    assert wire.refuse(Refusal(kind, "why", asked)).headers.get("Retry-After") == told


@pytest.mark.parametrize("wire", WIRES, ids=lambda wire: wire.api.value)
@pytest.mark.parametrize(
    ("refusal", "told"),
    [
        pytest.param(Refusal(Kind.UPSTREAM, "why", final=True), "false", id="after the tries of the lane"),
        pytest.param(Refusal(Kind.UPSTREAM, "why"), None, id="when the gateway does not try again"),
        pytest.param(Refusal(Kind.LIMIT, "why"), "false", id="at a limit"),
        pytest.param(Refusal(Kind.BUSY, "why", 3), None, id="when it may come back soon"),
    ],
)
def test_whether_a_client_is_told_not_to_try_again(wire: Wire, refusal: Refusal, told: str | None) -> None:
    assert wire.refuse(refusal).headers.get("x-should-retry") == told


def test_gemini_cli_finds_the_wait_in_the_details() -> None:
    error = json.loads(GEMINI.refuse(Refusal(Kind.BUSY, "why", 3)).body)["error"]
    assert error["code"] == 429
    assert error["details"] == [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "3s"}]
    assert "details" not in json.loads(GEMINI.refuse(Refusal(Kind.BUSY, "why")).body)["error"]


@pytest.mark.parametrize("wire", [CHAT, RESPONSES, MESSAGES], ids=lambda wire: wire.api)
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(None, id="a refusal of the gateway's own"),
        pytest.param(b'{"error": {"message": "why", "type": "overloaded_error"}}', id="an error of a server"),
        pytest.param(b'{"error": "why"}', id="an error in one word"),
        pytest.param(b"why", id="an error that is no JSON"),
    ],
)
def test_an_error_in_a_stream_that_was_kept_alive_is_read_as_one(wire: Wire, body: bytes | None) -> None:
    server = Server.VLLM
    reader = wire.stream_reader(wire.prepare(b'{"stream": true}', model="m", server=server))
    reader.feed(wire.keep_alive * 3)
    assert reader.reading == Reading()
    reader.feed(wire.in_stream(body or wire.refuse(Refusal(Kind.BUSY, "why")).body))
    assert reader.reading.error is not None
    assert reader.reading.error.message == "why"


def test_only_streams_of_events_can_be_kept_alive() -> None:
    assert {wire.api for wire in WIRES if wire.keep_alive} == {CHAT.api, RESPONSES.api, MESSAGES.api}
