"""The output clamp: what a client asks for is lowered, never raised, in the words that the server reads."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laneway.api.endpoint import Server
from laneway.gateway.ports.agents import CHAT, EMBEDDINGS, GEMINI, MESSAGES, OLLAMA, RESPONSES
from laneway.gateway.wire.base import Prepared, Wire

WIRES = {wire.api: wire for wire in (CHAT, RESPONSES, EMBEDDINGS, MESSAGES, OLLAMA, GEMINI)}
NEW, OLD = "max_completion_tokens", "max_tokens"
VLLM, OPENAI, OTHER, LOCAL = Server.VLLM, Server.OPENAI, Server.OTHER, Server.OLLAMA
CONFIG, MOST = "generationConfig", "maxOutputTokens"


def prepared(wire: Wire, body: dict[str, Any] | str, server: Server = OTHER) -> Prepared:
    text = body if isinstance(body, str) else json.dumps(body)
    return wire.prepare(text.encode(), model="m", server=server)


@pytest.mark.parametrize(
    ("wire", "server", "body", "wanted"),
    [
        pytest.param(CHAT, VLLM, {OLD: 50}, 50, id="chat: the older name"),
        pytest.param(CHAT, OPENAI, {NEW: 50}, 50, id="chat: the newer name"),
        pytest.param(CHAT, LOCAL, {NEW: 50}, None, id="chat: Ollama does not know the newer name"),
        pytest.param(CHAT, VLLM, {}, None, id="chat: nothing asked"),
        pytest.param(CHAT, VLLM, {OLD: None}, None, id="chat: null is no limit"),
        pytest.param(CHAT, LOCAL, {OLD: 0}, None, id="chat: zero is no limit in Ollama"),
        pytest.param(CHAT, VLLM, {OLD: True}, None, id="chat: true is no number"),
        pytest.param(CHAT, VLLM, {OLD: "50"}, None, id="chat: a string is no number"),
        pytest.param(CHAT, VLLM, '{"max_tokens":1e999}', None, id="chat: a number without end is no limit"),
        pytest.param(CHAT, VLLM, {OLD: 50, "n": 3}, 150, id="chat: each choice may be so long"),
        pytest.param(CHAT, VLLM, {OLD: 50, NEW: 70}, 70, id="chat: nobody knows which of two names counts"),
        pytest.param(CHAT, VLLM, '{"max_tokens":5,"Max_Tokens":9}', 9, id="chat: nor which of a doubled one"),
        pytest.param(CHAT, VLLM, {OLD: 50, NEW: -1}, None, id="chat: one of two is no limit"),
        pytest.param(RESPONSES, OPENAI, {"max_output_tokens": 50}, 50, id="responses"),
        pytest.param(MESSAGES, OTHER, {OLD: 50}, 50, id="messages"),
        pytest.param(MESSAGES, OTHER, {OLD: 0}, 0, id="messages: zero makes nothing"),
        pytest.param(OLLAMA, LOCAL, {"options": {"num_predict": 50}}, 50, id="Ollama"),
        pytest.param(OLLAMA, LOCAL, {"options": {"num_predict": -1}}, None, id="Ollama: without end"),
        pytest.param(OLLAMA, LOCAL, {"options": None}, None, id="Ollama: null options"),
        pytest.param(GEMINI, Server.GEMINI, {CONFIG: {MOST: 50}}, 50, id="Gemini"),
        pytest.param(GEMINI, Server.GEMINI, {CONFIG: {MOST: 50, "candidateCount": 2}}, 100, id="Gemini: candidates"),
        pytest.param(
            GEMINI, Server.GEMINI, {"generation_config": {"max_output_tokens": 50}}, 50, id="Gemini's other spelling"
        ),
        pytest.param(EMBEDDINGS, OTHER, {}, 0, id="embeddings make nothing"),
    ],
)
def test_how_much_a_request_asks_for(wire: Wire, server: Server, body: Any, wanted: int | None) -> None:
    assert prepared(wire, body, server).output_tokens == wanted


@pytest.mark.parametrize(
    ("wire", "server", "before", "after", "most"),
    [
        pytest.param(CHAT, VLLM, {OLD: 500}, {OLD: 100}, 100, id="chat: lowered"),
        pytest.param(CHAT, VLLM, {OLD: 7}, {OLD: 7}, 7, id="chat: less was asked for"),
        pytest.param(CHAT, VLLM, {}, {OLD: 100}, 100, id="chat: set"),
        pytest.param(CHAT, VLLM, {NEW: 500}, {NEW: 100}, 100, id="chat: only the name that the client uses"),
        pytest.param(CHAT, OPENAI, {}, {NEW: 100}, 100, id="chat: OpenAI's newer models refuse the older name"),
        pytest.param(CHAT, OPENAI, {OLD: 500}, {OLD: 100}, 100, id="chat: unless the client knows better"),
        pytest.param(CHAT, OPENAI, {OLD: None, NEW: 500}, {OLD: None, NEW: 100}, 100, id="chat: null is left alone"),
        pytest.param(CHAT, LOCAL, {NEW: 500}, {NEW: 500, OLD: 100}, 100, id="chat: Ollama reads the older name only"),
        pytest.param(CHAT, LOCAL, {OLD: 0}, {OLD: 100}, 100, id="chat: zero is without end in Ollama"),
        pytest.param(CHAT, VLLM, {OLD: "x"}, {OLD: 100}, 100, id="chat: what is no number"),
        pytest.param(CHAT, VLLM, {OLD: 500, "n": 3}, {OLD: 33, "n": 3}, 99, id="chat: choices share it"),
        pytest.param(CHAT, VLLM, {"n": 300}, {OLD: 1, "n": 300}, 300, id="chat: one token each, and that is said"),
        pytest.param(RESPONSES, OPENAI, {}, {"max_output_tokens": 100}, 100, id="responses: set"),
        pytest.param(RESPONSES, OPENAI, {"max_output_tokens": 101}, {"max_output_tokens": 100}, 100, id="responses"),
        pytest.param(MESSAGES, OTHER, {OLD: 32000}, {OLD: 100}, 100, id="messages"),
        pytest.param(MESSAGES, OTHER, {OLD: 0}, {OLD: 0}, 0, id="messages: zero stays"),
        pytest.param(OLLAMA, LOCAL, {}, {"options": {"num_predict": 100}}, 100, id="Ollama: set"),
        pytest.param(OLLAMA, LOCAL, {"options": None}, {"options": {"num_predict": 100}}, 100, id="Ollama: null"),
        pytest.param(
            OLLAMA,
            LOCAL,
            {"options": {"seed": 1, "num_predict": -2}},
            {"options": {"seed": 1, "num_predict": 100}},
            100,
            id="Ollama: as long as the context is no limit",
        ),
        pytest.param(GEMINI, Server.GEMINI, {}, {CONFIG: {MOST: 100}}, 100, id="Gemini: set"),
        pytest.param(
            GEMINI,
            Server.GEMINI,
            {CONFIG: {"topK": 4, MOST: 900, "candidateCount": 4}},
            {CONFIG: {"topK": 4, MOST: 25, "candidateCount": 4}},
            100,
            id="Gemini: candidates share it",
        ),
        pytest.param(
            GEMINI,
            Server.GEMINI,
            {"generation_config": {"max_output_tokens": 900}},
            {"generation_config": {"max_output_tokens": 100}},
            100,
            id="Gemini's other spelling",
        ),
        pytest.param(EMBEDDINGS, OTHER, {}, {}, 0, id="embeddings make nothing"),
    ],
)
def test_a_clamp_of_a_hundred(wire: Wire, server: Server, before: Any, after: Any, most: int) -> None:
    given_ = prepared(wire, before, server)
    clamped = wire.clamp(given_, tokens=100, server=server)
    sent = json.loads(clamped.body)
    sent.pop("model", None)
    assert (sent, clamped.output_tokens) == (after, most)
    assert clamped.streamed == given_.streamed


def test_every_member_of_a_doubled_name_is_lowered() -> None:
    body = '{"options":{"num_predict":-1},"max_tokens":9, "options":{"seed":1.50, "num_predict" : 20}}'
    clamped = OLLAMA.clamp(prepared(OLLAMA, body), tokens=10, server=LOCAL)
    assert clamped.body.decode() == (
        '{"options":{"num_predict":10},"max_tokens":9, "options":{"seed":1.50, "num_predict" : 10},"model":"m"}'
    )


LIMITS = st.none() | st.booleans() | st.integers(-3, 3000) | st.floats() | st.text(max_size=2)
BODIES = st.dictionaries(
    st.sampled_from(["max_tokens", "Max_Tokens", NEW, "max_output_tokens", "n", "x"]), LIMITS, max_size=4
)
NESTED = st.dictionaries(
    st.sampled_from(["num_predict", MOST, "max_output_tokens", "candidateCount", "x"]), LIMITS, max_size=3
)
OUTER = st.dictionaries(st.sampled_from(["options", CONFIG, "generation_config"]), st.none() | NESTED, max_size=2)


@given(
    wire=st.sampled_from(sorted(WIRES)),
    flat=BODIES,
    nested=OUTER,
    tokens=st.integers(1, 2000),
    server=st.sampled_from(Server),
)
def test_what_a_clamp_says_is_what_the_request_then_asks_for(
    wire: str, flat: dict[str, Any], nested: dict[str, Any], tokens: int, server: Server
) -> None:
    api = next(each for name, each in WIRES.items() if name == wire)
    before = prepared(api, {**flat, **nested}, server)
    after = api.clamp(before, tokens=tokens, server=server)
    again = api.prepare(after.body, model="m", server=server)
    assert after.output_tokens == again.output_tokens
    assert after.output_tokens is not None
    if before.output_tokens is not None:
        assert after.output_tokens <= before.output_tokens
    assert api.clamp(after, tokens=tokens, server=server) == after
