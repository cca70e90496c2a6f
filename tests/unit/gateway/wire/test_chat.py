"""Chat completions: usage is asked for behind the client's back, so its traces are left out."""

from __future__ import annotations

import json

import pytest

from laneway.api.endpoint import Server
from laneway.gateway.ports.agents import CHAT
from laneway.rules.usage import Usage
from unit.gateway.streams import (
    ASKED,
    CUTS,
    PLAIN,
    cut,
    feed,
    sample,
)


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
    prepared = CHAT.prepare(json.dumps({"model": "a", **body}).encode(), model="m", server=Server.VLLM)
    sent = json.loads(prepared.body)
    assert (sent["model"], sent.get("stream_options"), prepared.asked_usage) == ("m", options, asked)
    assert prepared.streamed == bool(body.get("stream"))
