"""Each wire API on answers of real servers (samples/), whole, byte by byte and in odd chunks."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from laneway.gateway.app import CHAT, MESSAGES, OLLAMA
from laneway.gateway.wire.base import Kind, Prepared, Reader, Reading, Refusal, Wire, read_error
from laneway.rules.usage import Usage

SAMPLES = Path(__file__).parent / "samples"
ASKED = Prepared(body=b"", streamed=True, asked_usage=True)
PLAIN = Prepared(body=b"", streamed=True)


def sample(name: str) -> bytes:
    return (SAMPLES / f"{name}.txt").read_bytes()


def cut(data: bytes, seed: int) -> list[bytes]:
    """All at once, byte by byte, or in chunks of chance."""
    if seed < 2:
        return [data] if seed == 0 else [data[i : i + 1] for i in range(len(data))]
    chance, parts = random.Random(seed), []
    while data:
        size = chance.randint(1, 90)
        parts.append(data[:size])
        data = data[size:]
    return parts


def feed(reader: Reader, parts: list[bytes]) -> tuple[bytes, Reading]:
    out = b"".join([*(reader.feed(part) for part in parts), reader.close()])
    return out, reader.reading


CUTS = pytest.mark.parametrize(
    "seed",
    [
        pytest.param(0, id="at once"),
        pytest.param(1, id="byte by byte"),
        *(pytest.param(n, id=f"odd chunks {n}") for n in range(2, 7)),
    ],
)


@pytest.mark.row("S0.16", "S0.17", "S1.16")
@CUTS
@pytest.mark.parametrize(
    ("wire", "name", "usage", "finish"),
    [
        (CHAT, "vllm-chat_completions-stream-usage", Usage(41, 8), "stop"),
        (CHAT, "vllm-chat_completions-stream-continuous_usage", Usage(41, 4), "length"),
        (MESSAGES, "vllm-messages-stream", Usage(41, 8), "end_turn"),
        (MESSAGES, "ollama-messages-stream", Usage(20, 16), "end_turn"),
        (OLLAMA, "ollama-api_chat-stream", Usage(20, 16), "stop"),
    ],
)
def test_a_stream_passes_unchanged_and_its_usage_is_read(
    wire: Wire, name: str, usage: Usage, finish: str, seed: int
) -> None:
    data = sample(name)
    out, reading = feed(wire.stream_reader(PLAIN), cut(data, seed))
    assert out == data
    assert (reading.usage, reading.usage_final, reading.finish_reason) == (usage, True, finish)
    assert reading.ended
    assert reading.error is None


@pytest.mark.row("S0.16")
@pytest.mark.parametrize(
    ("wire", "name", "usage", "finish"),
    [
        (CHAT, "vllm-chat_completions-nonstream", Usage(41, 8), "stop"),
        (CHAT, "ollama-chat_completions-nonstream", Usage(20, 16), "stop"),
        (MESSAGES, "vllm-messages-nonstream", Usage(41, 8), "end_turn"),
        (MESSAGES, "ollama-messages-nonstream", Usage(20, 16), "end_turn"),
        (OLLAMA, "ollama-api_chat-nonstream", Usage(20, 16), "stop"),
    ],
)
def test_a_whole_answer_passes_unchanged_and_its_usage_is_read(
    wire: Wire, name: str, usage: Usage, finish: str
) -> None:
    out, reading = feed(wire.whole_reader(), cut(sample(name), 3))
    assert out == sample(name)
    assert (reading.usage, reading.usage_final, reading.finish_reason, reading.ended) == (usage, True, finish, True)


@CUTS
def test_the_usage_chunk_that_only_the_gateway_asked_for_is_left_out(seed: int) -> None:
    data = sample("vllm-chat_completions-stream-usage")
    events = data.split(b"\n\n")
    expected = b"\n\n".join(event for event in events if b'"choices":[]' not in event)
    out, reading = feed(CHAT.stream_reader(ASKED), cut(data, seed))
    assert out == expected
    assert len(out) < len(data)
    assert reading.usage == Usage(41, 8)


@CUTS
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
def test_null_usage_is_left_out_with_every_kind_of_line_end(end: bytes, seed: int) -> None:
    events = [
        b'data: {"id":"1","choices":[{"index":0,"delta":{"content":"\xc3\xa9 \\"usage\\":null"}}],"usage":null}',
        b": keep-alive",
        b'data: {"usage": null, "id":"1","choices":[]}',
        b'data: {"id":"1","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":5}}}',
        b"data: [DONE]",
    ]
    kept = [events[0].replace(b',"usage":null}', b"}"), events[1], b'data: {"id":"1","choices":[]}', events[4]]
    out, reading = feed(CHAT.stream_reader(ASKED), cut(b"".join(event + end + end for event in events), seed))
    assert out == b"".join(event + end + end for event in kept)
    assert reading.usage == Usage(7, 2, cache_read_tokens=5)


def test_usage_that_a_server_sends_with_its_last_words_is_not_taken_away() -> None:
    data = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":2}}\n\n'
    out, reading = feed(CHAT.stream_reader(ASKED), [data])
    assert (out, reading.usage, reading.usage_final) == (data, Usage(7, 2), True)


def test_a_stream_that_stops_without_an_end_gives_what_was_held_back_and_is_not_ended() -> None:
    data = b'data: {"choices":[{"index":0,"delta":{"content":"Par"},"finish_reason":null}]}\n\ndata: {"choi'
    out, reading = feed(CHAT.stream_reader(ASKED), [data])
    assert out == data
    assert (reading.ended, reading.usage_final, reading.usage) == (False, False, Usage())


def test_a_stream_without_usage_has_unknown_usage_not_zero() -> None:
    _, reading = feed(CHAT.stream_reader(PLAIN), [sample("vllm-chat_completions-stream-nousage")])
    assert (reading.ended, reading.usage, reading.usage_final) == (True, Usage(), False)


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
    ],
    ids=["chat completions", "messages", "ollama"],
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
    ],
    ids=["OpenAI and vLLM", "Anthropic", "a string", "a detail", "plain text", "Google"],
)
def test_error_bodies_of_every_dialect_are_read(body: bytes, words: tuple[str, str, str]) -> None:
    error = read_error(body)
    assert (error.type, error.code, error.message) == words


@pytest.mark.row("S1.16")
@pytest.mark.parametrize(
    ("body", "options", "asked"),
    [
        ({"stream": True}, {"include_usage": True}, True),
        ({"stream": True, "stream_options": None}, {"include_usage": True}, True),
        ({"stream": True, "stream_options": {"x": 1}}, {"x": 1, "include_usage": True}, True),
        ({"stream": True, "stream_options": {"include_usage": False}}, {"include_usage": True}, True),
        ({"stream": True, "stream_options": {"include_usage": True}}, {"include_usage": True}, False),
        ({"stream": False}, None, False),
        ({}, None, False),
    ],
    ids=[
        "no options",
        "null options",
        "other options",
        "refused by the client",
        "asked by the client",
        "no stream",
        "stream unsaid",
    ],
)
def test_usage_is_asked_for_in_a_chat_stream_only(body: dict[str, object], options: object, asked: bool) -> None:
    prepared = CHAT.prepare(json.dumps({"model": "a", **body}).encode(), model="m")
    sent = json.loads(prepared.body)
    assert (sent["model"], sent.get("stream_options"), prepared.asked_usage) == ("m", options, asked)
    assert prepared.streamed == bool(body.get("stream"))


@pytest.mark.parametrize(
    ("wire", "body", "streamed"),
    [
        (OLLAMA, b"{}", True),
        (OLLAMA, b'{"stream":false}', False),
        (MESSAGES, b"{}", False),
        (MESSAGES, b'{"stream":true}', True),
    ],
    ids=["Ollama streams by default", "Ollama whole", "messages whole", "messages stream"],
)
def test_who_streams(wire: Wire, body: bytes, streamed: bool) -> None:
    assert wire.prepare(body, model="m").streamed is streamed


REFUSALS = [
    (CHAT, Kind.UNAUTHENTICATED, 401, ("error", "code"), "invalid_api_key"),
    (CHAT, Kind.FORBIDDEN, 403, ("error", "type"), "permission_error"),
    (CHAT, Kind.NOT_FOUND, 404, ("error", "code"), "model_not_found"),
    (CHAT, Kind.BUSY, 429, ("error", "code"), "rate_limit_exceeded"),
    (CHAT, Kind.UNAVAILABLE, 503, ("error", "type"), "server_error"),
    (MESSAGES, Kind.UNAUTHENTICATED, 401, ("error", "type"), "authentication_error"),
    (MESSAGES, Kind.FORBIDDEN, 403, ("error", "type"), "permission_error"),
    (MESSAGES, Kind.NOT_FOUND, 404, ("error", "type"), "not_found_error"),
    (MESSAGES, Kind.BUSY, 529, ("error", "type"), "overloaded_error"),
    (MESSAGES, Kind.TOO_LARGE, 413, ("error", "type"), "request_too_large"),
    (OLLAMA, Kind.UNAUTHENTICATED, 401, ("error",), "why"),
    (OLLAMA, Kind.NOT_FOUND, 404, ("error",), "why"),
    (OLLAMA, Kind.BUSY, 503, ("error",), "why"),
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


@pytest.mark.parametrize("wire", [CHAT, MESSAGES, OLLAMA], ids=lambda wire: wire.api.value)
@pytest.mark.parametrize("kind", list(Kind))
def test_every_api_has_words_for_every_refusal(wire: Wire, kind: Kind) -> None:
    answer = wire.refuse(Refusal(kind, "why"))
    assert answer.status >= 400
    assert b"why" in answer.body
