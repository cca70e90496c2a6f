"""One question with a short JSON answer, in each wire API that can put one: the request's body, and the words of the answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from laneway.api.endpoint import Server, WireAPI
from laneway.gateway.wire.base import Wire
from laneway.gateway.wire.chat_completions import ChatCompletions
from laneway.gateway.wire.generate_content import GenerateContent
from laneway.gateway.wire.messages import Messages
from laneway.gateway.wire.ollama_chat import OllamaChat
from laneway.gateway.wire.responses import Responses
from laneway.rules.endpoint import PATHS

JsonObject = dict[str, object]


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked."""

    system: str
    text: str
    model: str
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Form:
    """How an API puts a question."""

    wire: Wire
    path: str
    """As clients use it; ``{model}`` is the model."""
    body: Callable[[Question, Server], JsonObject]
    words: Callable[[Mapping[str, object]], Iterator[object]]
    """The pieces of an answer's text."""


def words_of(form: Form, answer: Mapping[str, object]) -> str:
    """The text of a whole answer; empty if it has none."""
    return "".join(piece for piece in form.words(answer) if isinstance(piece, str))


def _chat(question: Question, server: Server) -> JsonObject:
    """OpenAI refuses the older name of the limit for its newer models; others may not know the newer one."""
    limit = "max_completion_tokens" if server is Server.OPENAI else "max_tokens"
    return {
        "model": question.model,
        "messages": [_says("system", question.system), _says("user", question.text)],
        limit: question.output_tokens,
        "response_format": {"type": "json_object"},
    }


def _chat_words(answer: Mapping[str, object]) -> Iterator[object]:
    for choice in _objects(answer.get("choices"))[:1]:
        yield _object(choice.get("message")).get("content")


def _messages(question: Question, server: Server) -> JsonObject:
    return {
        "model": question.model,
        "system": question.system,
        "messages": [_says("user", question.text)],
        "max_tokens": question.output_tokens,
    }


def _messages_words(answer: Mapping[str, object]) -> Iterator[object]:
    return (part.get("text") for part in _objects(answer.get("content")))


def _responses(question: Question, server: Server) -> JsonObject:
    """It wants the word JSON in the input itself before it promises any."""
    return {
        "model": question.model,
        "instructions": question.system,
        "input": [_says("developer", "Answer in JSON."), _says("user", question.text)],
        "max_output_tokens": question.output_tokens,
        "text": {"format": {"type": "json_object"}},
        "store": False,
    }


def _responses_words(answer: Mapping[str, object]) -> Iterator[object]:
    for item in _objects(answer.get("output")):
        yield from (part.get("text") for part in _objects(item.get("content")) if part.get("type") == "output_text")


def _ollama(question: Question, server: Server) -> JsonObject:
    return {
        "model": question.model,
        "messages": [_says("system", question.system), _says("user", question.text)],
        "stream": False,
        "format": "json",
        "options": {"num_predict": question.output_tokens},
    }


def _ollama_words(answer: Mapping[str, object]) -> Iterator[object]:
    yield _object(answer.get("message")).get("content")


def _gemini(question: Question, server: Server) -> JsonObject:
    return {
        "systemInstruction": {"parts": [{"text": question.system}]},
        "contents": [{"role": "user", "parts": [{"text": question.text}]}],
        "generationConfig": {
            "maxOutputTokens": question.output_tokens,
            "responseMimeType": "application/json",
        },
    }


def _gemini_words(answer: Mapping[str, object]) -> Iterator[object]:
    for candidate in _objects(answer.get("candidates"))[:1]:
        yield from (part.get("text") for part in _objects(_object(candidate.get("content")).get("parts")))


def _says(role: str, words: str) -> JsonObject:
    return {"role": role, "content": words}


def _object(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _objects(value: object) -> list[Mapping[str, object]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


FORMS: Mapping[WireAPI, Form] = {
    form.wire.api: form
    for form in (
        Form(ChatCompletions(), PATHS[WireAPI.CHAT_COMPLETIONS], _chat, _chat_words),
        Form(Messages(), PATHS[WireAPI.MESSAGES], _messages, _messages_words),
        Form(
            GenerateContent(streams=False),
            f"{PATHS[WireAPI.GENERATE_CONTENT]}/{{model}}:generateContent",
            _gemini,
            _gemini_words,
        ),
        Form(OllamaChat(), f"{PATHS[WireAPI.OLLAMA_CHAT]}/chat", _ollama, _ollama_words),
        Form(Responses(), PATHS[WireAPI.RESPONSES], _responses, _responses_words),
    )
}
"""By API; the first one that a lane speaks is used."""
