"""One question in each wire API: what is sent, and where the words of the answer stand."""

from __future__ import annotations

import json
from typing import Any

import pytest

from laneway.api.endpoint import Server, WireAPI
from laneway.gateway.wire.question import FORMS, Question, words_of

ASKED = Question(system="Sort.", text="Fix a typo", model="m", output_tokens=120)
CHAT, MESSAGES, RESPONSES = WireAPI.CHAT_COMPLETIONS, WireAPI.MESSAGES, WireAPI.RESPONSES
OLLAMA, GEMINI = WireAPI.OLLAMA_CHAT, WireAPI.GENERATE_CONTENT
JSON_OBJECT = {"type": "json_object"}

SENT = [
    pytest.param(CHAT, Server.VLLM, {"max_tokens": 120, "response_format": JSON_OBJECT}, id="chat completions"),
    pytest.param(CHAT, Server.OPENAI, {"max_completion_tokens": 120}, id="chat completions of OpenAI, by the newer name"),
    pytest.param(MESSAGES, Server.ANTHROPIC, {"max_tokens": 120, "system": "Sort."}, id="messages, which have no such format"),
    pytest.param(RESPONSES, Server.OPENAI, {"max_output_tokens": 120, "text": {"format": JSON_OBJECT}}, id="responses"),
    pytest.param(OLLAMA, Server.OLLAMA, {"stream": False, "format": "json", "options": {"num_predict": 120}}, id="Ollama"),
    pytest.param(GEMINI, Server.GEMINI, {"generationConfig": {"maxOutputTokens": 120, "responseMimeType": "application/json"}}, id="Gemini"),
]  # fmt: skip


@pytest.mark.row("C20", "S0.15")
@pytest.mark.parametrize(("api", "server", "expected"), SENT)
def test_a_short_json_answer_is_asked_for(api: WireAPI, server: Server, expected: dict[str, Any]) -> None:
    form = FORMS[api]
    body = form.body(ASKED, server)
    assert expected.items() <= body.items()
    assert {"Sort.", "Fix a typo"} <= set(_strings(body))
    prepared = form.wire.prepare(json.dumps(body).encode(), model="m", server=server)
    assert (prepared.streamed, prepared.output_tokens) == (False, 120)


ANSWERS = [
    pytest.param(CHAT, {"choices": [{"message": {"content": "medium"}}, {"message": {"content": "no"}}]}, id="chat completions"),
    pytest.param(MESSAGES, {"content": [{"type": "thinking", "thinking": "h"}, {"type": "text", "text": "medium"}]}, id="messages"),
    pytest.param(RESPONSES, {"output": [{"type": "reasoning", "content": [{"type": "reasoning_text", "text": "h"}]}, {"content": [{"type": "output_text", "text": "medium"}]}]}, id="responses"),
    pytest.param(OLLAMA, {"message": {"content": "medium", "thinking": "h"}}, id="Ollama"),
    pytest.param(GEMINI, {"candidates": [{"content": {"parts": [{"text": "med"}, {"text": "ium"}]}}]}, id="Gemini, in parts"),
]  # fmt: skip


@pytest.mark.parametrize(("api", "answer"), ANSWERS)
def test_the_words_of_an_answer(api: WireAPI, answer: dict[str, Any]) -> None:
    assert words_of(FORMS[api], answer) == "medium"


@pytest.mark.parametrize("api", [pytest.param(api, id=str(api)) for api in FORMS])
@pytest.mark.parametrize(
    "answer",
    [
        pytest.param({}, id="an empty object"),
        pytest.param({"choices": None, "content": 7, "output": ["x"], "message": [], "candidates": [{}]}, id="anything else"),
        pytest.param({"choices": [{"message": {"content": None}}], "message": {"content": 1}}, id="content that is no text"),
    ],
)  # fmt: skip
def test_an_answer_of_any_other_shape_has_no_words(api: WireAPI, answer: dict[str, Any]) -> None:
    assert words_of(FORMS[api], answer) == ""


def test_every_api_that_generates_text_can_put_it() -> None:
    assert set(FORMS) == set(WireAPI) - {WireAPI.EMBEDDINGS}


def _strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [each for inner in value.values() for each in _strings(inner)]
    if isinstance(value, list):
        return [each for inner in value for each in _strings(inner)]
    return [value] if isinstance(value, str) else []
