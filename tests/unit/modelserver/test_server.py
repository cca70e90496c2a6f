"""The scripted model server speaks as real ones do, so that a test against it means something."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from modelserver import ModelServer, Step, shapes

TESTS = Path(__file__).parents[2]
PATHS = {
    shapes.CHAT: "/v1/chat/completions",
    shapes.RESPONSES: "/v1/responses",
    shapes.MESSAGES: "/v1/messages",
    shapes.OLLAMA: "/api/chat",
    shapes.GENERATE: "/api/generate",
    shapes.GEMINI: "/v1beta/models/m1:generateContent?alt=sse",
}


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def ask(prompt: str = "Capital of France?", **more: Any) -> dict[str, Any]:
    return {"model": "m1", "messages": [{"role": "user", "content": prompt}], **more}


def sse(text: str) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in text.split("\n") if line.startswith("data: ")]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


@pytest.mark.parametrize(
    ("api", "words", "usage"),
    [
        pytest.param(
            shapes.CHAT,
            lambda a: a["choices"][0]["message"]["content"],
            lambda a: (a["usage"]["prompt_tokens"], a["usage"]["completion_tokens"]),
            id="OpenAI chat completions",
        ),
        pytest.param(
            shapes.MESSAGES,
            lambda a: a["content"][0]["text"],
            lambda a: (a["usage"]["input_tokens"], a["usage"]["output_tokens"]),
            id="Anthropic messages",
        ),
        pytest.param(
            shapes.OLLAMA,
            lambda a: a["message"]["content"],
            lambda a: (a["prompt_eval_count"], a["eval_count"]),
            id="Ollama chat",
        ),
        pytest.param(
            shapes.GENERATE,
            lambda a: a["response"],
            lambda a: (a["prompt_eval_count"], a["eval_count"]),
            id="Ollama generate",
        ),
        pytest.param(
            shapes.RESPONSES,
            lambda a: a["output"][0]["content"][0]["text"],
            lambda a: (a["usage"]["input_tokens"], a["usage"]["output_tokens"]),
            id="OpenAI responses",
        ),
        pytest.param(
            shapes.GEMINI,
            lambda a: a["candidates"][0]["content"]["parts"][0]["text"],
            lambda a: (a["usageMetadata"]["promptTokenCount"], a["usageMetadata"]["candidatesTokenCount"]),
            id="Gemini",
        ),
    ],
)
async def test_a_whole_answer_has_the_shape_of_its_api(
    client: aiohttp.ClientSession, api: str, words: Callable[[Any], str], usage: Callable[[Any], tuple[int, int]]
) -> None:
    async with ModelServer() as server, client.post(server.url + PATHS[api], json=ask(stream=False)) as response:
        answer = await response.json()
    model = answer.get("model", answer.get("modelVersion"))
    assert (words(answer), usage(answer), model) == ("The capital of France is Paris.", (12, 7), "m1")


@pytest.mark.parametrize(
    ("include", "usages"),
    [
        pytest.param(
            True, [{"prompt_tokens": 12, "completion_tokens": 7, "total_tokens": 19}], id="asked for: one chunk"
        ),
        pytest.param(False, [], id="not asked for: none"),
    ],
)
async def test_an_openai_stream_gives_usage_only_when_asked(
    client: aiohttp.ClientSession, include: bool, usages: list[Any]
) -> None:
    body = ask(stream=True, **({"stream_options": {"include_usage": True}} if include else {}))
    async with ModelServer() as server, client.post(server.url + PATHS[shapes.CHAT], json=body) as response:
        *events, done = sse(await response.text())
    assert done == "[DONE]"
    assert "".join(e["choices"][0]["delta"].get("content", "") for e in events if e["choices"]) == shapes.TEXT
    assert [e["usage"] for e in events if e.get("usage")] == usages


async def test_an_anthropic_stream_has_its_events_in_order(client: aiohttp.ClientSession) -> None:
    body = ask(stream=True)
    async with ModelServer() as server, client.post(server.url + PATHS[shapes.MESSAGES], json=body) as response:
        events = sse(await response.text())
    assert [e["type"] for e in events[:2]] == ["message_start", "content_block_start"]
    assert [e["type"] for e in events[-3:]] == ["content_block_stop", "message_delta", "message_stop"]
    assert events[-2]["usage"] == {"input_tokens": 12, "output_tokens": 7}


async def test_a_stream_of_responses_ends_with_the_whole_answer(client: aiohttp.ClientSession) -> None:
    body = ask(stream=True)
    async with ModelServer() as server, client.post(server.url + PATHS[shapes.RESPONSES], json=body) as response:
        events = sse(await response.text())
    assert [e["sequence_number"] for e in events] == list(range(len(events)))
    assert "".join(e["delta"] for e in events if e["type"] == "response.output_text.delta") == shapes.TEXT
    assert (events[-1]["type"], events[-1]["response"]["usage"]["output_tokens"]) == ("response.completed", 7)


async def test_geminis_stream_is_events_or_a_list(client: aiohttp.ClientSession) -> None:
    path = "/v1beta/models/m1:streamGenerateContent"
    async with ModelServer() as server:
        async with client.post(server.url + path + "?alt=sse", json={"contents": []}) as response:
            events = sse((await response.text()).replace("\r", ""))
        async with client.post(server.url + path, json={"contents": []}) as response:
            parts = await response.json()
    assert [each["candidates"] for each in events] == [each["candidates"] for each in parts]
    assert [("finishReason" in each["candidates"][0]) for each in parts] == [False] * 6 + [True]
    assert [request.model for request in server.requests] == ["m1", "m1"]


async def test_embeddings_are_never_streamed(client: aiohttp.ClientSession) -> None:
    async with ModelServer() as server, client.post(server.url + "/v1/embeddings", json=ask(stream=True)) as response:
        answer = await response.json()
    assert (answer["data"][0]["embedding"], answer["usage"]["prompt_tokens"]) == (shapes.VECTOR, 12)


async def test_ollama_streams_unless_told_not_to(client: aiohttp.ClientSession) -> None:
    async with ModelServer() as server, client.post(server.url + PATHS[shapes.OLLAMA], json=ask()) as response:
        lines = [json.loads(line) for line in (await response.text()).splitlines()]
    assert [line["done"] for line in lines] == [False] * 7 + [True]
    assert (lines[-1]["prompt_eval_count"], lines[-1]["eval_count"]) == (12, 7)


async def test_steps_are_played_in_order_and_repeated_and_then_all_is_well(client: aiohttp.ClientSession) -> None:
    script = [Step(status=503, repeat=2), Step(status=429, headers={"Retry-After": "7"}, body="slow down")]
    seen = []
    async with ModelServer(script) as server:
        for _ in range(5):
            async with client.post(server.url + PATHS[shapes.CHAT], json=ask()) as response:
                seen.append((response.status, response.headers.get("Retry-After")))
    assert seen == [(503, None), (503, None), (429, "7"), (200, None), (200, None)]


async def test_a_step_without_a_count_answers_all_that_follow(client: aiohttp.ClientSession) -> None:
    async with ModelServer([Step(status=529, repeat=None)]) as server:
        for _ in range(3):
            async with client.post(server.url + PATHS[shapes.MESSAGES], json=ask()) as response:
                assert (response.status, (await response.json())["error"]["type"]) == (529, "overloaded_error")


async def test_a_step_for_one_model_is_passed_by_by_calls_for_others(client: aiohttp.ClientSession) -> None:
    script = [Step(status=529, model="big", repeat=2), Step(status=503, model="small"), Step(status=418)]
    seen = []
    async with ModelServer(script) as server:
        for model in ("small", "big", "small", "big", "big"):
            async with client.post(server.url + PATHS[shapes.CHAT], json={**ask(), "model": model}) as response:
                seen.append((model, response.status))
    assert seen == [("small", 503), ("big", 529), ("small", 418), ("big", 529), ("big", 200)]


@pytest.mark.parametrize(
    ("body", "step"),
    [
        pytest.param(ask(stream=True), Step(cut_after_chunks=3), id="a stream after three chunks"),
        pytest.param(
            ask(stream=True), Step(cut_after_chunks=10), id="a stream after its last chunk, before its end mark"
        ),
        pytest.param(ask(), Step(cut_after_chunks=0), id="a whole answer before its headers"),
    ],
)
async def test_a_cut_breaks_the_connection(client: aiohttp.ClientSession, body: dict[str, Any], step: Step) -> None:
    async with ModelServer([step]) as server:
        with pytest.raises(aiohttp.ClientError):
            async with client.post(server.url + PATHS[shapes.CHAT], json=body) as response:
                await response.read()
        assert [r.outcome for r in server.requests] == ["cut"]


@pytest.mark.parametrize("stream", [pytest.param(False, id="whole"), pytest.param(True, id="streamed")])
async def test_a_prompt_can_ask_for_a_slow_answer(client: aiohttp.ClientSession, stream: bool) -> None:
    started = time.monotonic()
    body = ask("sleep:0.3", stream=stream)
    async with ModelServer() as server, client.post(server.url + PATHS[shapes.CHAT], json=body) as response:
        await response.read()
    assert time.monotonic() - started >= 0.3


async def test_the_journal_tells_when_a_client_left(client: aiohttp.ClientSession) -> None:
    async with ModelServer() as server:
        with pytest.raises(TimeoutError):
            await client.post(
                server.url + PATHS[shapes.CHAT], json=ask("sleep:60"), timeout=aiohttp.ClientTimeout(total=0.2)
            )
        async with asyncio.timeout(5):
            while server.requests[0].outcome == "open":
                await asyncio.sleep(0.01)
        assert server.requests[0].outcome == "left"


async def test_the_journal_can_be_read_and_the_script_replaced_over_http(client: aiohttp.ClientSession) -> None:
    async with ModelServer() as server:
        headers = {"Authorization": "Bearer k1"}
        async with client.post(server.url + PATHS[shapes.CHAT], json=ask(stream=False), headers=headers) as response:
            assert response.status == 200
        async with client.get(f"{server.url}/_requests") as response:
            (entry,) = await response.json()
        script = {"steps": [{"status": 500}], "models": {"big": None}, "health": 503}
        async with client.put(f"{server.url}/_script", json=script) as response:
            assert response.status == 204
        async with client.post(server.url + PATHS[shapes.CHAT], json=ask()) as response:
            assert response.status == 500
        async with client.get(f"{server.url}/health") as response:
            assert response.status == 503
        async with client.delete(f"{server.url}/_requests") as response:
            assert (response.status, server.requests) == (204, [])
    assert (entry["authorization"], entry["model"], entry["stream"]) == ("Bearer k1", "m1", False)
    assert "authorization" in entry["headers"]
    assert entry["outcome"] == "answered"


@pytest.mark.parametrize(
    "script",
    [
        pytest.param({"steps": [{"stauts": 500}]}, id="a misspelt field of a step"),
        pytest.param({"step": []}, id="a misspelt field of the script"),
    ],
)
async def test_a_wrong_script_is_refused_and_changes_nothing(
    client: aiohttp.ClientSession, script: dict[str, Any]
) -> None:
    async with ModelServer([Step(status=418)]) as server:
        async with client.put(f"{server.url}/_script", json=script) as response:
            assert (response.status, "has no" in await response.text()) == (400, True)
        async with client.post(server.url + PATHS[shapes.CHAT], json=ask()) as response:
            assert response.status == 418


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        pytest.param("/health", "", id="vLLM and hosted health"),
        pytest.param("/", "Ollama is running", id="Ollama's root"),
        pytest.param("/api/version", '{"version": "0.0.0"}', id="Ollama's version"),
    ],
)
async def test_probes_are_answered(client: aiohttp.ClientSession, path: str, answer: str) -> None:
    async with ModelServer() as server, client.get(server.url + path) as response:
        assert (response.status, await response.text()) == (200, answer)


async def test_models_are_listed_in_every_shape(client: aiohttp.ClientSession) -> None:
    async with ModelServer(models={"small": 2048, "big": None}) as server:
        async with client.get(f"{server.url}/v1/models") as response:
            listed = (await response.json())["data"]
        async with client.get(f"{server.url}/api/tags") as response:
            tags = (await response.json())["models"]
        async with client.post(f"{server.url}/api/show", json={"model": "small"}) as response:
            shown = (await response.json())["model_info"]
        async with client.post(f"{server.url}/api/show", json={"model": "none"}) as response:
            assert response.status == 404
    assert [(m["id"], m.get("max_model_len")) for m in listed] == [("small", 2048), ("big", None)]
    assert [m["name"] for m in tags] == ["small", "big"]
    assert shown["llama.context_length"] == 2048


async def test_it_runs_as_a_program(client: aiohttp.ClientSession, tmp_path: Path) -> None:
    script = tmp_path / "script.json"
    script.write_text(json.dumps({"steps": [{"status": 503}]}))
    arguments = ["-m", "modelserver", "--host", "127.0.0.1", "--port", "0", "--script", str(script)]
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, env=environment, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    url = (await asyncio.wait_for(process.stdout.readline(), 20)).decode().split()[-1]
    async with client.post(url + PATHS[shapes.CHAT], json=ask()) as response:
        assert response.status == 503
    process.terminate()
    assert await asyncio.wait_for(process.wait(), 10) == 0
