"""The official Python clients behind one face: what an agent gets that uses them, by wire API."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import anthropic
import ollama
import openai
from google import genai
from google.genai import types

from laneway.gateway.ports import agents
from laneway.gateway.wire.base import Wire

QUIRK = "ignore:Inheritance class AiohttpClientSession:DeprecationWarning"
"""A warning that google-genai brings about by itself."""
PROMPT = "What is the capital of France?"
MODEL = "any"
"""The gateway puts the run's model in its place."""
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = "weather"
_ABOUT = "Tells the weather of a city"


@dataclass(frozen=True)
class Said:
    """An answer as the client hands it to its user."""

    text: str
    usage: tuple[int | None, int | None]
    """Input and output tokens."""
    finish: str | None
    tools: tuple[tuple[str, dict[str, Any]], ...] = ()
    """Name and arguments of each tool that is to be called."""


class Client(ABC):
    """One API of one client."""

    name: ClassVar[str]
    wire: ClassVar[Wire]
    server: ClassVar[str] = "Ollama"
    """A kind of server that speaks it."""

    def __init__(self, url: str, token: str, *, retries: int) -> None:
        """A client of a gateway at ``url`` that tries ``retries`` times more where it tries again at all."""
        self.url, self.token, self.retries = url, token, retries

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Client]:
        """The client with its connections."""
        async with AsyncExitStack() as stack:
            await self.open(stack)
            yield self

    @abstractmethod
    async def open(self, stack: AsyncExitStack) -> None:
        """Make the library's client."""

    @abstractmethod
    async def ask(self, prompt: str = PROMPT, *, tools: bool = False) -> Said:
        """A whole answer."""

    @abstractmethod
    async def stream(self, prompt: str = PROMPT, *, tools: bool = False) -> Said:
        """A streamed answer, put together by the client's own means as far as it has any."""


class _OpenAI(Client):
    async def open(self, stack: AsyncExitStack) -> None:
        client = openai.AsyncOpenAI(base_url=f"{self.url}/v1", api_key=self.token, max_retries=self.retries)
        self._client = await stack.enter_async_context(client)


class Chat(_OpenAI):
    name, wire = "openai chat", agents.CHAT

    async def ask(self, prompt: str = PROMPT, *, tools: bool = False) -> Said:
        answer = await self._client.chat.completions.create(**self._request(prompt, tools))
        [choice] = answer.choices
        usage = answer.usage
        calls = [(each.function.name, json.loads(each.function.arguments)) for each in choice.message.tool_calls or ()]
        counts = (usage.prompt_tokens, usage.completion_tokens) if usage else (None, None)
        return Said(choice.message.content or "", counts, choice.finish_reason, tuple(calls))

    async def stream(self, prompt: str = PROMPT, *, tools: bool = False) -> Said:
        request = self._request(prompt, tools) | {"stream_options": {"include_usage": True}}
        async with self._client.chat.completions.stream(**request) as stream:
            answer = await stream.get_final_completion()
        [choice] = answer.choices
        usage = answer.usage
        calls = [(each.function.name, json.loads(each.function.arguments)) for each in choice.message.tool_calls or ()]
        counts = (usage.prompt_tokens, usage.completion_tokens) if usage else (None, None)
        return Said(choice.message.content or "", counts, choice.finish_reason, tuple(calls))

    def _request(self, prompt: str, tools: bool) -> dict[str, Any]:
        function = {"name": TOOL, "description": _ABOUT, "parameters": CITY}
        offered = {"tools": [{"type": "function", "function": function}]} if tools else {}
        return {"model": MODEL, "messages": [{"role": "user", "content": prompt}], **offered}


class Responses(_OpenAI):
    name, wire = "openai responses", agents.RESPONSES

    async def ask(self, prompt: str = PROMPT, *, tools: bool = False) -> Said:
        return _response(await self._client.responses.create(**self._request(prompt, tools)))

    async def stream(self, prompt: str = PROMPT, *, tools: bool = False) -> Said:
        async with self._client.responses.stream(**self._request(prompt, tools)) as stream:
            return _response(await stream.get_final_response())

    def _request(self, prompt: str, tools: bool) -> dict[str, Any]:
        tool = {"type": "function", "name": TOOL, "description": _ABOUT, "parameters": CITY, "strict": False}
        return {"model": MODEL, "input": prompt, **({"tools": [tool]} if tools else {})}


class Embeddings(_OpenAI):
    name, wire = "openai embeddings", agents.EMBEDDINGS

    async def ask(self, prompt: str = PROMPT, *, tools: bool = False) -> Said:
        answer = await self._client.embeddings.create(model=MODEL, input=prompt, encoding_format="float")
        return Said(json.dumps(answer.data[0].embedding), (answer.usage.prompt_tokens, None), None)

    async def stream(self, prompt: str = PROMPT, *, tools: bool = False) -> Said:
        raise NotImplementedError("embeddings have no streams")


class Messages(Client):
    name, wire = "anthropic messages", agents.MESSAGES

    async def open(self, stack: AsyncExitStack) -> None:
        client = anthropic.AsyncAnthropic(base_url=self.url, api_key=self.token, max_retries=self.retries)
        self._client = await stack.enter_async_context(client)

    async def ask(self, prompt: str = PROMPT, *, tools: bool = False) -> Said:
        return _message(await self._client.messages.create(**self._request(prompt, tools)))

    async def stream(self, prompt: str = PROMPT, *, tools: bool = False) -> Said:
        async with self._client.messages.stream(**self._request(prompt, tools)) as stream:
            return _message(await stream.get_final_message())

    def _request(self, prompt: str, tools: bool) -> dict[str, Any]:
        offered = {"tools": [{"name": TOOL, "description": _ABOUT, "input_schema": CITY}]} if tools else {}
        return {"model": MODEL, "max_tokens": 64, "messages": [{"role": "user", "content": prompt}], **offered}


class _Ollama(Client):
    wire = agents.OLLAMA

    async def open(self, stack: AsyncExitStack) -> None:
        headers = {"Authorization": f"Bearer {self.token}"}
        self._client = await stack.enter_async_context(ollama.AsyncClient(host=self.url, headers=headers))


class OllamaChat(_Ollama):
    name = "ollama chat"

    async def ask(self, prompt: str = PROMPT, *, tools: bool = False) -> Said:
        return _chat_parts([await self._client.chat(**self._request(prompt, tools))])

    async def stream(self, prompt: str = PROMPT, *, tools: bool = False) -> Said:
        return _chat_parts(
            [part async for part in await self._client.chat(**self._request(prompt, tools), stream=True)]
        )

    def _request(self, prompt: str, tools: bool) -> dict[str, Any]:
        function = {"name": TOOL, "description": _ABOUT, "parameters": CITY}
        offered = {"tools": [{"type": "function", "function": function}]} if tools else {}
        return {"model": MODEL, "messages": [{"role": "user", "content": prompt}], **offered}


class OllamaGenerate(_Ollama):
    name = "ollama generate"

    async def ask(self, prompt: str = PROMPT, *, tools: bool = False) -> Said:
        return _generate_parts([await self._client.generate(model=MODEL, prompt=prompt)])

    async def stream(self, prompt: str = PROMPT, *, tools: bool = False) -> Said:
        parts = await self._client.generate(model=MODEL, prompt=prompt, stream=True)
        return _generate_parts([part async for part in parts])


class Gemini(Client):
    name, wire, server = "google-genai", agents.GEMINI, "Gemini"

    async def open(self, stack: AsyncExitStack) -> None:
        again = types.HttpRetryOptions(attempts=1 + self.retries, initial_delay=0.01, max_delay=0.01, jitter=0.01)
        options = types.HttpOptions(base_url=self.url, retry_options=again if self.retries else None)
        self._client = genai.Client(api_key=self.token, http_options=options)
        stack.push_async_callback(self._client.aio.aclose)
        stack.callback(self._client.close)

    async def ask(self, prompt: str = PROMPT, *, tools: bool = False) -> Said:
        return _candidates([await self._client.aio.models.generate_content(**self._request(prompt, tools))])

    async def stream(self, prompt: str = PROMPT, *, tools: bool = False) -> Said:
        stream = await self._client.aio.models.generate_content_stream(**self._request(prompt, tools))
        return _candidates([part async for part in stream])

    def _request(self, prompt: str, tools: bool) -> dict[str, Any]:
        declared = types.FunctionDeclaration(name=TOOL, description=_ABOUT, parameters_json_schema=CITY)
        offered = [types.Tool(function_declarations=[declared])] if tools else None
        return {"model": MODEL, "contents": prompt, "config": types.GenerateContentConfig(tools=offered)}


TALKERS: tuple[type[Client], ...] = (Chat, Responses, Messages, OllamaChat, OllamaGenerate, Gemini)
"""Those that answer with words, whole and streamed."""
TOOL_USERS: tuple[type[Client], ...] = (Chat, Responses, Messages, OllamaChat, Gemini)
ALL: tuple[type[Client], ...] = (*TALKERS, Embeddings)


def _response(answer: Any) -> Said:
    calls = tuple((each.name, json.loads(each.arguments)) for each in answer.output if each.type == "function_call")
    usage = answer.usage
    return Said(answer.output_text, (usage.input_tokens, usage.output_tokens), answer.status, calls)


def _message(answer: anthropic.types.Message) -> Said:
    text = "".join(block.text for block in answer.content if block.type == "text")
    calls = tuple((block.name, dict(block.input)) for block in answer.content if block.type == "tool_use")
    return Said(text, (answer.usage.input_tokens, answer.usage.output_tokens), answer.stop_reason, calls)


def _chat_parts(parts: list[ollama.ChatResponse]) -> Said:
    last = parts[-1]
    calls = tuple(
        (each.function.name, dict(each.function.arguments)) for part in parts for each in part.message.tool_calls or ()
    )
    text = "".join(part.message.content or "" for part in parts)
    return Said(text, (last.prompt_eval_count, last.eval_count), last.done_reason, calls)


def _generate_parts(parts: list[ollama.GenerateResponse]) -> Said:
    last = parts[-1]
    text = "".join(part.response for part in parts)
    return Said(text, (last.prompt_eval_count, last.eval_count), last.done_reason)


def _candidates(parts: list[types.GenerateContentResponse]) -> Said:
    found = [part for whole in parts for part in whole.candidates[0].content.parts or ()]
    calls = tuple((part.function_call.name, dict(part.function_call.args)) for part in found if part.function_call)
    usage, finish = parts[-1].usage_metadata, parts[-1].candidates[0].finish_reason
    counts = (usage.prompt_token_count, usage.candidates_token_count) if usage else (None, None)
    return Said("".join(part.text or "" for part in found), counts, finish.value if finish else None, calls)
