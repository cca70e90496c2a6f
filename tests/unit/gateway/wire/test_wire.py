"""Every wire API on answers of real servers: what passes, and what is read."""

from __future__ import annotations

import json

import pytest

from laneway.api.endpoint import Server
from laneway.gateway.ports.agents import CHAT, EMBEDDINGS, GEMINI, GEMINI_STREAM, MESSAGES, OLLAMA, RESPONSES
from laneway.gateway.wire.base import Wire, read_error
from laneway.rules.usage import Usage
from unit.gateway.streams import (
    ASKED,
    CUTS,
    GEMINI_EVENTS,
    GEMINI_LIST,
    GEMINI_WHOLE,
    PLAIN,
    cut,
    events,
    feed,
    sample,
)

GEMINI_USAGE = Usage(15, 27, cache_read_tokens=4)
STREAMS = [
    (CHAT, "vllm-chat_completions-stream-usage", Usage(41, 8), "stop"),
    (CHAT, "vllm-chat_completions-stream-continuous_usage", Usage(41, 4), "length"),
    (RESPONSES, "vllm-responses-stream-ends", Usage(41, 8, cache_read_tokens=0, cache_write_tokens=0), "completed"),
    (RESPONSES, "ollama-responses-stream", Usage(20, 16, cache_read_tokens=0), "completed"),
    (MESSAGES, "vllm-messages-stream", Usage(41, 8), "end_turn"),
    (MESSAGES, "ollama-messages-stream", Usage(20, 16), "end_turn"),
    (OLLAMA, "ollama-api_chat-stream", Usage(20, 16), "stop"),
    (OLLAMA, "ollama-api_generate-stream", Usage(20, 16), "stop"),
]
WHOLES = [
    (CHAT, "vllm-chat_completions-nonstream", Usage(41, 8), "stop"),
    (CHAT, "ollama-chat_completions-nonstream", Usage(20, 16), "stop"),
    (RESPONSES, "vllm-responses-nonstream", Usage(41, 8, cache_read_tokens=0, cache_write_tokens=0), "completed"),
    (RESPONSES, "ollama-responses-nonstream", Usage(20, 16, cache_read_tokens=0), "completed"),
    (EMBEDDINGS, "ollama-embeddings", Usage(11, 0), None),
    (MESSAGES, "vllm-messages-nonstream", Usage(41, 8), "end_turn"),
    (MESSAGES, "ollama-messages-nonstream", Usage(20, 16), "end_turn"),
    (OLLAMA, "ollama-api_chat-nonstream", Usage(20, 16), "stop"),
    (OLLAMA, "ollama-api_generate-nonstream", Usage(20, 16), "stop"),
    (OLLAMA, "ollama-api_generate-load", Usage(0, 0), "load"),
]


@pytest.mark.row("S0.16", "S0.17", "S1.16")
@CUTS
@pytest.mark.parametrize(
    ("wire", "data", "usage", "finish"),
    [
        *(pytest.param(wire, sample(name), usage, finish, id=name) for wire, name, usage, finish in STREAMS),
        pytest.param(GEMINI_STREAM, GEMINI_EVENTS, GEMINI_USAGE, "STOP", id="Gemini's events"),
    ],
)
def test_a_stream_passes_unchanged_and_its_usage_is_read(
    wire: Wire, data: bytes, usage: Usage, finish: str, seed: int
) -> None:
    out, reading = feed(wire.stream_reader(PLAIN), cut(data, seed))
    assert out == data
    assert (reading.usage, reading.usage_final, reading.finish_reason) == (usage, True, finish)
    assert reading.ended
    assert reading.error is None


@pytest.mark.row("S0.16", "S0.17")
@pytest.mark.parametrize(("wire", "name", "usage"), [(wire, name, usage) for wire, name, usage, _ in STREAMS])
def test_wherever_a_stream_is_cut_in_two_it_reads_the_same(wire: Wire, name: str, usage: Usage) -> None:
    data = sample(name)
    for place in range(len(data)):
        out, reading = feed(wire.stream_reader(PLAIN), [data[:place], data[place:]])
        assert (out, reading.usage, reading.ended) == (data, usage, True), place


@pytest.mark.parametrize(("wire", "name"), [(wire, name) for wire, name, _, _ in STREAMS])
def test_a_stream_that_breaks_off_is_never_taken_for_a_whole_one(wire: Wire, name: str) -> None:
    data = sample(name)
    lacking = [place for place in range(len(data)) if not feed(wire.stream_reader(PLAIN), [data[:place]])[1].ended]
    assert lacking == list(range(len(lacking))), "once it has ended it stays so"
    assert len(data) - len(lacking) < len(data) / 2
    assert not feed(wire.stream_reader(PLAIN), [data[: len(lacking) - 1]])[1].usage_final


@pytest.mark.row("S0.16")
@pytest.mark.parametrize(
    ("wire", "data", "usage", "finish"),
    [
        *(pytest.param(wire, sample(name), usage, finish, id=name) for wire, name, usage, finish in WHOLES),
        pytest.param(GEMINI, GEMINI_WHOLE, GEMINI_USAGE, "STOP", id="Gemini's whole answer"),
        pytest.param(GEMINI_STREAM, GEMINI_LIST, GEMINI_USAGE, "STOP", id="Gemini's stream as a list"),
    ],
)
def test_a_whole_answer_passes_unchanged_and_its_usage_is_read(
    wire: Wire, data: bytes, usage: Usage, finish: str | None
) -> None:
    out, reading = feed(wire.whole_reader(), cut(data, 3))
    assert out == data
    assert (reading.usage, reading.usage_final, reading.finish_reason, reading.ended) == (usage, True, finish, True)


def test_anthropic_usage_is_merged_field_by_field_and_its_input_includes_the_cache() -> None:
    start = {
        "input_tokens": 10,
        "cache_creation_input_tokens": 200,
        "cache_read_input_tokens": 3000,
        "output_tokens": 1,
    }
    deltas = [{"output_tokens": 7}, {"output_tokens": 25, "input_tokens": None}]
    parts = [{"type": "message_start", "message": {"usage": start}}, {"type": "ping"}]
    parts += [{"type": "message_delta", "delta": {"stop_reason": None}, "usage": deltas[0]}]
    parts += [
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": deltas[1]},
        {"type": "message_stop"},
    ]
    data = b"".join(f"event: {part['type']}\ndata: {json.dumps(part)}\n\n".encode() for part in parts)
    _, reading = feed(MESSAGES.stream_reader(PLAIN), cut(data, 4))
    assert reading.usage == Usage(3210, 25, cache_read_tokens=3000, cache_write_tokens=200)
    assert (reading.finish_reason, reading.usage_final) == ("tool_use", True)


@pytest.mark.parametrize(
    ("wire", "data", "words"),
    [
        (
            CHAT,
            b'data: {"error":{"message":"engine died","type":"InternalServerError","code":500}}\n\ndata: [DONE]\n\n',
            ("InternalServerError", "500", "engine died"),
        ),
        (
            MESSAGES,
            b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n',
            ("overloaded_error", "", "Overloaded"),
        ),
        (OLLAMA, b'{"model":"m","done":false}\n{"error":"runner stopped"}\n', ("", "", "runner stopped")),
        (
            RESPONSES,
            events(
                {
                    "type": "response.failed",
                    "response": {"status": "failed", "error": {"code": "rate_limit_exceeded", "message": "slow down"}},
                }
            ),
            ("", "rate_limit_exceeded", "slow down"),
        ),
        (
            RESPONSES,
            events({"type": "error", "code": "server_error", "message": "died", "param": None, "sequence_number": 3}),
            ("", "server_error", "died"),
        ),
        (
            RESPONSES,
            events({"type": "error", "error": {"type": "server_error", "code": None, "message": "died"}}),
            ("server_error", "", "died"),
        ),
        (
            RESPONSES,
            events({"error": {"message": "engine died", "type": "InternalServerError", "code": 500}}),
            ("InternalServerError", "500", "engine died"),
        ),
        (
            GEMINI_STREAM,
            events({"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}, end="\r\n\r\n"),
            ("UNAVAILABLE", "503", "overloaded"),
        ),
    ],
    ids=[
        "chat completions",
        "messages",
        "ollama",
        "a failed response",
        "an error event of responses",
        "an older error event of responses",
        "vLLM's error in a stream of responses",
        "Gemini",
    ],
)
def test_an_error_inside_a_stream_of_status_200_is_seen(wire: Wire, data: bytes, words: tuple[str, str, str]) -> None:
    out, reading = feed(wire.stream_reader(ASKED), cut(data, 2))
    assert out == data
    assert reading.error is not None
    assert (reading.error.type, reading.error.code, reading.error.message) == words


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error":{"message":"no","type":"t","param":null,"code":404}}', ("t", "404", "no")),
        (b'{"type":"error","error":{"type":"not_found_error","message":"no"}}', ("not_found_error", "", "no")),
        (b'{"error":"Unauthorized"}', ("", "", "Unauthorized")),
        (b'{"detail":"Not Found"}', ("", "", "Not Found")),
        (b"404 page not found\n", ("", "", "404 page not found")),
        (b'{"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED"}}', ("RESOURCE_EXHAUSTED", "429", "m")),
        (b'[{"error":{"code":400,"message":"m","status":"INVALID_ARGUMENT"}}\n]', ("INVALID_ARGUMENT", "400", "m")),
        (b"[]", ("", "", "[]")),
    ],
    ids=[
        "OpenAI and vLLM",
        "Anthropic",
        "a string",
        "a detail",
        "plain text",
        "Google",
        "Google's stream as a list",
        "an empty list",
    ],
)
def test_error_bodies_of_every_dialect_are_read(body: bytes, words: tuple[str, str, str]) -> None:
    error = read_error(body)
    assert (error.type, error.code, error.message) == words


@pytest.mark.parametrize(
    ("wire", "body", "streamed"),
    [
        (RESPONSES, b"{}", False),
        (RESPONSES, b'{"stream":true}', True),
        (EMBEDDINGS, b"{}", False),
        (GEMINI, b"{}", False),
        (GEMINI_STREAM, b"{}", True),
        (OLLAMA, b"{}", True),
        (OLLAMA, b'{"stream":false}', False),
        (MESSAGES, b"{}", False),
        (MESSAGES, b'{"stream":true}', True),
    ],
    ids=[
        "responses whole",
        "responses stream",
        "embeddings",
        "Gemini whole",
        "Gemini stream",
        "Ollama streams by default",
        "Ollama whole",
        "messages whole",
        "messages stream",
    ],
)
def test_who_streams(wire: Wire, body: bytes, streamed: bool) -> None:
    assert wire.prepare(body, model="m", server=Server.OTHER).streamed is streamed
