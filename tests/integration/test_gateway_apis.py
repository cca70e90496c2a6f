"""Every wire API through a gateway in process: its path, its model, its bytes and its count; and what a lane says of its server."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from unit.gateway.kit import ATTEMPT, JsonObject, eventually, gateway, run_object, secret_object
from unit.gateway.streams import GEMINI_EVENTS, GEMINI_LIST, GEMINI_WHOLE, events, sample

SSE, LINES, JSON = "text/event-stream", "application/x-ndjson", "application/json"
KEYED = {"credentialRef": {"name": "provider", "key": "apiKey"}}
BODY = {"model": "any", "unknown_field": {"kept": [1, 2.50]}}


@dataclass
class Server:
    """Gives one answer, piece by piece, and remembers what it was asked."""

    data: bytes = b"{}"
    kind: str = JSON
    asked: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.raw_path)
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        self.bodies.append(await request.json())
        response = web.StreamResponse(headers={"Content-Type": f"{self.kind}; charset=UTF-8"})
        await response.prepare(request)
        for start in range(0, len(self.data), 700):
            await response.write(self.data[start : start + 700])
        return response


def gemini(method: str, version: str = "v1beta") -> str:
    return f"/{version}/models/gemini-2.5-pro:{method}"


@pytest.mark.row("S0.11", "S0.16", "S0.17")
@pytest.mark.parametrize(
    ("server", "path", "more", "answer", "upstream", "usage", "api"),
    [
        pytest.param(
            "vLLM",
            "/v1/responses",
            {"stream": True},
            Server(sample("vllm-responses-stream-ends"), SSE),
            "/v1/responses",
            (41, 8),
            "Responses",
            id="a stream of responses",
        ),
        pytest.param(
            "OpenAI",
            "/v1/responses?include=a%2Fb",
            {},
            Server(sample("vllm-responses-nonstream")),
            "/v1/responses?include=a%2Fb",
            (41, 8),
            "Responses",
            id="a whole response",
        ),
        pytest.param(
            "Other",
            "/v1/embeddings",
            {},
            Server(sample("ollama-embeddings")),
            "/v1/embeddings",
            (11, 0),
            "Embeddings",
            id="embeddings",
        ),
        pytest.param(
            "Ollama",
            "/api/generate",
            {},
            Server(sample("ollama-api_generate-stream"), LINES),
            "/api/generate",
            (20, 16),
            "OllamaChat",
            id="Ollama's generate streams by itself",
        ),
        pytest.param(
            "Ollama",
            "/api/generate",
            {"stream": False},
            Server(sample("ollama-api_generate-nonstream")),
            "/api/generate",
            (20, 16),
            "OllamaChat",
            id="Ollama's generate as a whole",
        ),
        pytest.param(
            "Gemini",
            gemini("streamGenerateContent") + "?alt=sse&key=gone",
            {},
            Server(GEMINI_EVENTS, SSE),
            "/v1beta/models/smollm2:streamGenerateContent?alt=sse",
            (15, 27),
            "GenerateContent",
            id="Gemini's stream of events",
        ),
        pytest.param(
            "Gemini",
            gemini("streamGenerateContent"),
            {},
            Server(GEMINI_LIST),
            "/v1beta/models/smollm2:streamGenerateContent",
            (15, 27),
            "GenerateContent",
            id="Gemini's stream as a list",
        ),
        pytest.param(
            "Gemini",
            gemini("generateContent", "v1"),
            {},
            Server(GEMINI_WHOLE),
            "/v1/models/smollm2:generateContent",
            (15, 27),
            "GenerateContent",
            id="Gemini's whole answer, stable version",
        ),
    ],
)
async def test_an_answer_passes_byte_for_byte_and_is_counted(
    tmp_path: Path,
    *,
    server: str,
    path: str,
    more: JsonObject,
    answer: Server,
    upstream: str,
    usage: tuple[int, int],
    api: str,
) -> None:
    server_ = Server(answer.data, answer.kind)
    async with gateway(tmp_path, server_.answer, lane={"server": server}) as kit:
        url = URL(kit.url + path, encoded=True)
        async with kit.client.post(url, json={**BODY, **more}, headers=kit.headers()) as relayed:
            assert (relayed.status, await relayed.read()) == (200, answer.data)
        state = kit.state.attempt_state(ATTEMPT)
        await kit.ledger.flush()
        rows = sqlite3.connect(tmp_path / "ledger.sqlite").execute("SELECT wire_api, metered FROM calls").fetchall()
    assert server_.asked == [upstream]
    model = "models/smollm2" if server == "Gemini" else "smollm2"
    assert server_.bodies == [{**BODY, **more, "model": model}]
    assert (state.totals.input_tokens, state.totals.output_tokens) == usage
    assert state.totals.turns == int(api != "Embeddings")
    assert rows == [(api, 1)]


@pytest.mark.parametrize(
    ("server", "path", "answer", "upstream"),
    [
        pytest.param("Anthropic", "/v1/messages/count_tokens", {"input_tokens": 41}, None, id="Anthropic's count"),
        pytest.param("Gemini", gemini("countTokens"), {"totalTokens": 41}, "/v1beta/models/smollm2:countTokens", id="Gemini's"),
        pytest.param("Ollama", "/api/show", {"capabilities": ["completion"]}, None, id="what Ollama knows of the model"),
    ],
)  # fmt: skip
async def test_what_makes_no_tokens_is_relayed_and_not_counted(
    tmp_path: Path, server: str, path: str, answer: JsonObject, upstream: str | None
) -> None:
    server_ = Server(json.dumps(answer).encode())
    async with gateway(tmp_path, server_.answer, lane={"server": server}) as kit:
        async with kit.post(path, BODY) as relayed:
            assert (relayed.status, await relayed.json()) == (200, answer)
        assert not kit.state.knows(ATTEMPT)
    assert server_.asked == [upstream or path]


@pytest.mark.parametrize(
    ("endpoint", "path", "upstream"),
    [
        pytest.param(
            {"apis": [{"name": "ChatCompletions", "path": "/deployments/a/chat"}]},
            "/v1/chat/completions?x=1",
            "/deployments/a/chat?x=1",
            id="an API elsewhere",
        ),
        pytest.param(
            {"apis": [{"name": "Messages", "path": "/anthropic/messages"}]},
            "/v1/messages/count_tokens",
            "/anthropic/messages/count_tokens",
            id="what is below it moves along",
        ),
        pytest.param(
            {"apis": [{"name": "OllamaChat", "path": "/ollama"}]}, "/api/generate", "/ollama/generate", id="Ollama"
        ),
        pytest.param(
            {"apis": [{"name": "GenerateContent", "path": "/google/models"}]},
            gemini("generateContent", "v1"),
            "/google/models/smollm2:generateContent",
            id="Gemini, whatever its version",
        ),
        pytest.param({"apis": [{"name": "Messages"}]}, "/v1/messages", "/v1/messages", id="an API at its usual place"),
    ],
)
async def test_a_lane_says_where_its_servers_apis_are(
    tmp_path: Path, endpoint: JsonObject, path: str, upstream: str
) -> None:
    server = Server()
    async with gateway(tmp_path, server.answer, lane={"server": "Other", "endpoint": endpoint}) as kit:
        url = URL(kit.url + path, encoded=True)
        async with kit.client.post(url, json=BODY, headers=kit.headers()) as relayed:
            assert relayed.status == 200
    assert server.asked == [upstream]


async def test_an_api_that_the_lane_does_not_name_is_not_spoken(tmp_path: Path) -> None:
    server, endpoint = Server(), {"apis": [{"name": "Messages"}]}
    async with gateway(tmp_path, server.answer, lane={"server": "vLLM", "endpoint": endpoint}) as kit:
        async with kit.post("/v1/chat/completions", BODY) as refused:
            said = (await refused.json())["error"]["message"]
        assert refused.status == 404
    assert "does not speak ChatCompletions" in said
    assert server.asked == []


@pytest.mark.row("S2.29")
async def test_a_models_name_is_one_part_of_the_path_whatever_it_is(tmp_path: Path) -> None:
    server, name = Server(GEMINI_WHOLE), "../x?key=a/b"
    async with gateway(tmp_path, server.answer, lane={"server": "Gemini", "models": [{"name": name}]}) as kit:
        kit.views.runs.put(run_object(model=name, version=2))
        async with kit.post(gemini("generateContent"), BODY) as relayed:
            assert relayed.status == 200
    assert server.asked == ["/v1beta/models/..%2Fx%3Fkey%3Da%2Fb:generateContent"]


async def test_a_geminis_key_goes_in_its_own_header_and_the_token_stays_here(tmp_path: Path) -> None:
    server = Server(GEMINI_WHOLE)
    async with gateway(tmp_path, server.answer, lane={"server": "Gemini", "endpoint": KEYED}) as kit:
        kit.secrets["provider"] = secret_object("sk-secret")
        token = kit.headers()["Authorization"].removeprefix("Bearer ")
        headers = {"x-goog-api-key": token, "x-goog-api-client": "google-genai-sdk/1.30.0"}
        async with kit.client.post(kit.url + gemini("generateContent"), json=BODY, headers=headers) as relayed:
            assert relayed.status == 200
    (sent,) = server.headers
    assert (sent["x-goog-api-key"], sent["x-goog-api-client"]) == ("sk-secret", "google-genai-sdk/1.30.0")
    assert "authorization" not in sent


async def test_a_lanes_headers_win_over_the_clients(tmp_path: Path) -> None:
    server = Server()
    headers = [{"name": "OpenAI-Organization", "value": "org-lane"}, {"name": "X-Team", "value": "a b"}]
    async with (
        gateway(tmp_path, server.answer, lane={"endpoint": {"headers": headers}}) as kit,
        kit.post("/v1/chat/completions", BODY, {"openai-organization": "org-agent"}) as relayed,
    ):
        assert relayed.status == 200
    (sent,) = server.headers
    assert (sent["openai-organization"], sent["x-team"]) == ("org-lane", "a b")


@pytest.mark.parametrize(
    ("path", "headers", "status", "check"),
    [
        pytest.param("/v1beta/models", {}, 200, lambda it: [m["name"] for m in it["models"]] == ["models/smollm2"], id="all"),
        pytest.param("/v1beta/models/smollm2", {}, 200, lambda it: it["name"] == "models/smollm2", id="one"),
        pytest.param("/v1beta/models/nope", {}, 404, lambda it: it["error"]["status"] == "NOT_FOUND", id="another"),
        pytest.param("/v1/models", {"x-goog-api-key": "x"}, 200, lambda it: "models" in it, id="the stable version"),
        pytest.param("/v1beta/nothing", {}, 404, lambda it: it["error"]["status"] == "NOT_FOUND", id="no such path"),
        pytest.param("/v1/responses/r1", {}, 404, lambda it: it["error"]["code"] == "model_not_found", id="an old response"),
    ],
)  # fmt: skip
async def test_lists_and_refusals_in_the_words_of_the_client(
    tmp_path: Path, path: str, headers: JsonObject, status: int, check: Any
) -> None:
    async with (
        gateway(tmp_path, Server().answer) as kit,
        kit.client.get(kit.url + path, headers={**kit.headers(), **headers}) as answer,
    ):
        assert answer.status == status
        assert check(await answer.json())


async def test_only_the_runs_own_model_is_listed(tmp_path: Path) -> None:
    async with gateway(tmp_path, Server().answer, lane={"models": [{"name": "first"}, {"name": "smollm2"}]}) as kit:
        for path, member, key in (("/v1/models", "data", "id"), ("/api/tags", "models", "name")):
            async with kit.client.get(kit.url + path, headers=kit.headers()) as answer:
                assert [model[key] for model in (await answer.json())[member]] == ["smollm2"]


@pytest.mark.parametrize(
    ("path", "data", "kind"),
    [
        pytest.param("/v1/responses", sample("ollama-responses-stream"), SSE, id="responses"),
        pytest.param("/v1/messages", sample("ollama-messages-stream"), SSE, id="messages"),
        pytest.param("/api/generate", sample("ollama-api_generate-stream"), LINES, id="Ollama"),
    ],
)
async def test_a_stream_that_ends_too_early_is_broken_for_the_client(
    tmp_path: Path, path: str, data: bytes, kind: str
) -> None:
    server = Server(data[: len(data) // 3], kind)
    async with gateway(tmp_path, server.answer, lane={"server": "Ollama"}) as kit:
        async with kit.post(path, {**BODY, "stream": True}) as relayed:
            with pytest.raises(aiohttp.ClientError):
                await relayed.read()
        await eventually(lambda: kit.state.attempt_state(ATTEMPT).open_calls == 0)
        state = kit.state.attempt_state(ATTEMPT)
    assert (state.totals.turns, state.totals.unmetered_calls) == (0, 1)
    assert state.failure is not None


async def test_a_response_that_failed_inside_a_good_status_is_a_failure(tmp_path: Path) -> None:
    failed = {"status": "failed", "error": {"code": "insufficient_quota", "message": "no credit"}, "usage": None}
    server = Server(events({"type": "response.failed", "response": failed}), SSE)
    async with gateway(tmp_path, server.answer, lane={"server": "OpenAI"}) as kit:
        async with kit.post("/v1/responses", {**BODY, "stream": True}) as relayed:
            assert (relayed.status, await relayed.read()) == (200, server.data)
        await eventually(lambda: kit.state.attempt_state(ATTEMPT).open_calls == 0)
        state = kit.state.attempt_state(ATTEMPT)
    assert state.failure is not None
    assert (state.failure.cause, state.failure.message, state.totals.turns) == ("QuotaExhausted", "no credit", 0)
