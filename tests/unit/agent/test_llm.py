"""The client against a real HTTP server: what it asks, what it reads, what it tries again."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from laneway.agent.chat import Answer, Call
from laneway.agent.envelope import Usage
from laneway.agent.llm import (
    DEFAULT_POLICY,
    AnswerBroken,
    ConnectionFailed,
    LLMClient,
    LLMError,
    Refused,
    TimedOut,
    Waiting,
)
from laneway.api.reasons import Cause
from laneway.rules.retry import RetryPolicy
from modelserver import ModelServer, Step, shapes

WORDS = "The capital of France is Paris."
NEVER = RetryPolicy(max_retries=0)


@dataclass
class Client:
    """One call against one server; waits are noted, not slept."""

    server: ModelServer
    api_key: str | None = None
    policy: RetryPolicy = DEFAULT_POLICY
    silence_seconds: float = 5
    deltas: list[str] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)

    async def complete(self, call: Call) -> Answer:
        return await asyncio.to_thread(self._complete, call)

    async def fail(self, call: Call) -> LLMError:
        with pytest.raises(LLMError) as failure:
            await self.complete(call)
        return failure.value

    def _complete(self, call: Call) -> Answer:
        waiting = Waiting(self.waits.append, lambda _, high: high, lambda: datetime(2026, 3, 1, tzinfo=UTC))
        with LLMClient(
            base_url=f"{self.server.url}/v1",
            api_key=self.api_key,
            policy=self.policy,
            silence_seconds=self.silence_seconds,
            waiting=waiting,
        ) as client:
            return client.complete(call, on_delta=self.deltas.append)


def call(**fields: Any) -> Call:
    return Call(**{"model": "m1", "prompt": "Capital of France?", **fields})


def stream(*chunks: object) -> Step:
    """A stream of these chunks; text goes out as it is."""
    return Step(body=[chunk if isinstance(chunk, str) else f"data: {json.dumps(chunk)}\n\n" for chunk in chunks])


def chunk(text: str | None = None, finish: str | None = None, **more: object) -> dict[str, object]:
    return {"choices": [{"delta": {"content": text}, "finish_reason": finish}], **more}


@pytest.mark.row("S0.11", "S0.16", "S0.17", "S1.16")
async def test_a_stream_is_read_to_its_end_with_its_usage() -> None:
    async with ModelServer() as server:
        client = Client(server)
        answer = await client.complete(call())
    assert answer == Answer(WORDS, "chatcmpl-1", "m1", "stop", Usage(12, 7))
    assert client.deltas == list(shapes.PIECES)
    assert server.requests[0].body["stream_options"] == {"include_usage": True}


@pytest.mark.row("S0.16")
async def test_a_whole_answer_gives_the_same() -> None:
    async with ModelServer([Step(input_tokens=120, output_tokens=30, finish_reason="length")]) as server:
        client = Client(server)
        answer = await client.complete(call(stream=False))
    assert answer == Answer(WORDS, "chatcmpl-1", "m1", "length", Usage(120, 30))
    assert client.deltas == []


@pytest.mark.row("S0.14", "S0.15")
@pytest.mark.parametrize(
    ("fields", "body"),
    [
        pytest.param({"stream": False}, {}, id="what is unset is absent"),
        pytest.param({"stream": False, "temperature": 0.0}, {"temperature": 0.0}, id="a temperature of zero is set"),
        pytest.param({"stream": False, "max_tokens": 5}, {"max_tokens": 5}, id="the longest answer"),
        pytest.param(
            {"stream": False, "response_format": "json_object"},
            {"response_format": {"type": "json_object"}},
            id="JSON mode",
        ),
        pytest.param({}, {"stream": True, "stream_options": {"include_usage": True}}, id="a stream asks for its usage"),
    ],
)
async def test_the_request_holds_what_is_set_and_nothing_else(fields: dict[str, Any], body: dict[str, Any]) -> None:
    async with ModelServer() as server:
        await Client(server).complete(call(**fields))
    messages = [{"role": "user", "content": "Capital of France?"}]
    assert server.requests[0].body == {"model": "m1", "messages": messages, **body}
    assert (server.requests[0].path, server.requests[0].query) == ("/v1/chat/completions", "")


@pytest.mark.row("S0.12")
@pytest.mark.parametrize(
    ("key", "header"),
    [pytest.param(None, None, id="no key: no header"), pytest.param("k1", "Bearer k1", id="a key: as bearer")],
)
async def test_the_key_is_optional(key: str | None, header: str | None) -> None:
    async with ModelServer() as server:
        await Client(server, api_key=key).complete(call())
    assert server.requests[0].authorization == header


@pytest.mark.row("S0.16")
@pytest.mark.parametrize(
    ("usage", "read"),
    [
        pytest.param(
            {"prompt_tokens": 10, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 8}},
            Usage(10, 2, cache_read_tokens=8),
            id="cached tokens are part of the input",
        ),
        pytest.param(
            {"prompt_tokens": 10, "completion_tokens": 2, "prompt_tokens_details": None},
            Usage(10, 2),
            id="no details, as vLLM writes it",
        ),
        pytest.param(None, None, id="no usage is unknown"),
        pytest.param({}, None, id="empty usage is unknown"),
    ],
)
async def test_usage_is_read_as_it_is(usage: object, read: Usage | None) -> None:
    body = {"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}], "usage": usage}
    async with ModelServer([Step(body=body)]) as server:
        answer = await Client(server).complete(call(stream=False))
    assert answer == Answer("Hi", None, None, "stop", read)


@pytest.mark.row("S0.17")
@pytest.mark.parametrize(
    ("step", "answer"),
    [
        pytest.param(
            stream(chunk("a\u2028b\u0085c"), chunk(None, "stop"), "data: [DONE]\n\n"),
            Answer("a\u2028b\u0085c", None, None, "stop", None),
            id="separators that are no line feeds",
        ),
        pytest.param(
            Step(
                body=[
                    'data: {"choices":[{"delta":{"content":"é\u2028"}',
                    ',"finish_reason":"stop"}]}\r\n\r\ndata: [DONE]',
                ]
            ),
            Answer("é\u2028", None, None, "stop", None),
            id="an event in two pieces, raw separators, other line ends, no end of the last line",
        ),
        pytest.param(
            stream(": keep-alive\n\n", chunk("x"), "event: ping\n\n", chunk("", "stop")),
            Answer("x", None, None, "stop", None),
            id="comments and other fields, no [DONE]",
        ),
        pytest.param(
            stream(
                chunk("x", usage={"prompt_tokens": 5, "completion_tokens": 1}),
                chunk("y", "stop", usage={"prompt_tokens": 5, "completion_tokens": 2}),
                "data: [DONE]\n\n",
            ),
            Answer("xy", None, None, "stop", Usage(5, 2)),
            id="running totals are not added",
        ),
    ],
)
async def test_streams_of_other_servers_are_read(step: Step, answer: Answer) -> None:
    async with ModelServer([step]) as server:
        assert await Client(server).complete(call()) == answer


@pytest.mark.row("S0.17")
async def test_a_server_that_does_not_stream_is_understood() -> None:
    body = json.dumps({"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]})
    async with ModelServer([Step(body=body, headers={"Content-Type": "application/json"})]) as server:
        assert (await Client(server).complete(call())).text == "Hi"


@pytest.mark.row("S0.8", "S1.6", "S1.2")
@pytest.mark.parametrize(
    ("status", "requests"),
    [
        pytest.param(400, 1, id="400 is asked once"),
        pytest.param(401, 1, id="401 is asked once"),
        pytest.param(404, 1, id="404 is asked once"),
        pytest.param(501, 1, id="501 is asked once"),
        pytest.param(429, 1, id="429 without a hint is asked once"),
        pytest.param(503, 3, id="503 is asked three times"),
        pytest.param(500, 3, id="500 is asked three times"),
    ],
)
@pytest.mark.parametrize("streamed", [pytest.param(True, id="streamed"), pytest.param(False, id="whole")])
async def test_a_server_that_always_refuses_gets_so_many_requests(status: int, requests: int, streamed: bool) -> None:
    async with ModelServer([Step(status=status, repeat=None)]) as server:
        client = Client(server)
        error = await client.fail(call(stream=streamed))
    assert (type(error), error.status, len(server.requests)) == (Refused, status, requests)
    assert client.waits == [0.1, 0.2][: requests - 1]


@pytest.mark.row("S0.13")
async def test_two_refusals_and_an_answer_are_a_success() -> None:
    async with ModelServer([Step(status=503, repeat=2)]) as server:
        client = Client(server)
        assert (await client.complete(call())).text == WORDS
    assert (len(server.requests), client.waits) == (3, [0.1, 0.2])


async def test_a_short_hint_is_waited_for_and_a_long_one_ends_the_call() -> None:
    steps = [Step(status=429, headers={"Retry-After": "3"}), Step(status=429, headers={"Retry-After": "3"})]
    async with ModelServer(steps) as server:
        client = Client(server)
        await client.fail(call())
        assert (client.waits, len(server.requests)) == ([3.0], 2)
        server.play([Step(status=503, headers={"Retry-After": "6"})])
        await client.fail(call())
        assert (client.waits, len(server.requests)) == ([3.0], 3)


@pytest.mark.row("S0.10")
async def test_a_retry_after_header_stands_in_the_words_of_the_error() -> None:
    async with ModelServer([Step(status=429, headers={"Retry-After": "45"}, body="")]) as server:
        error = await Client(server).fail(call())
    assert error.retry_after == "45"
    assert "Retry-After: 45" in str(error)


@pytest.mark.row("S0.11")
@pytest.mark.parametrize(
    ("step", "error_type", "cause", "words"),
    [
        pytest.param(Step(status=429), "rate_limit_error", Cause.RATE_LIMIT_MODEL, "scripted status 429", id="OpenAI"),
        pytest.param(
            Step(status=404, body={"error": {"message": "The model `x` does not exist.", "type": "NotFoundError"}}),
            "NotFoundError",
            Cause.MODEL_NOT_FOUND,
            "does not exist",
            id="vLLM, unknown model",
        ),
        pytest.param(
            Step(status=401, body={"error": "Unauthorized"}), None, Cause.AUTH_FAILED, "Unauthorized", id="words"
        ),
        pytest.param(
            Step(status=405, body={"detail": "Not Allowed"}), None, Cause.WIRE_API_UNSUPPORTED, "Not", id="detail"
        ),
        pytest.param(
            Step(status=502, body="<html>bad</html>"), None, Cause.API_TRANSIENT, "<html>bad", id="a proxy's page"
        ),
        pytest.param(Step(status=500, body=[1]), None, Cause.API_TRANSIENT, "[1]", id="JSON of no known shape"),
        pytest.param(Step(status=503, body=""), None, Cause.API_TRANSIENT, "no reason given", id="nothing"),
    ],
)
async def test_refusals_in_every_shape_are_understood(
    step: Step, error_type: str | None, cause: Cause, words: str
) -> None:
    async with ModelServer([step]) as server:
        error = await Client(server, policy=NEVER).fail(call())
    assert (error.error_type, error.cause) == (error_type, cause)
    assert words in error.said


@pytest.mark.row("S1.9")
@pytest.mark.parametrize(
    ("step", "cause"),
    [
        pytest.param(Step(cut_after_chunks=3), Cause.API_TRANSIENT, id="the connection breaks"),
        pytest.param(stream(chunk("x")), Cause.API_TRANSIENT, id="the stream ends without a reason"),
        pytest.param(stream(chunk("x"), "data: {oops\n\n"), Cause.API_TRANSIENT, id="no JSON"),
        pytest.param(stream(chunk("x"), "data: []\n\n"), Cause.API_TRANSIENT, id="no JSON object"),
        pytest.param(
            stream(chunk("x"), {"error": {"message": "busy", "type": "overloaded_error"}}),
            Cause.RATE_LIMIT_MODEL,
            id="an error in the stream",
        ),
        pytest.param(
            stream({"error": {"message": "gone", "code": 503}}),
            Cause.API_TRANSIENT,
            id="an error with a status as code",
        ),
    ],
)
async def test_nothing_is_tried_again_after_the_first_byte(step: Step, cause: Cause) -> None:
    async with ModelServer([step]) as server:
        error = await Client(server).fail(call())
        assert (type(error), error.cause, len(server.requests)) == (AnswerBroken, cause, 1)


@pytest.mark.row("S1.9")
@pytest.mark.parametrize(
    "step",
    [
        pytest.param(Step(cut_after_chunks=0), id="a stream that breaks before its first byte"),
        pytest.param(Step(body=[""]), id="a stream that ends without a byte"),
    ],
)
async def test_the_opening_of_a_stream_is_tried_again(step: Step) -> None:
    async with ModelServer([step]) as server:
        assert (await Client(server).complete(call())).text == WORDS
        assert len(server.requests) == 2


@pytest.mark.row("S0.17")
@pytest.mark.parametrize(
    "body",
    [
        pytest.param("not json", id="no JSON"),
        pytest.param("[]", id="no object"),
        pytest.param("{}", id="no choices"),
        pytest.param('{"choices": "?"}', id="choices that are no list"),
    ],
)
async def test_a_whole_answer_of_no_known_shape_is_broken(body: str) -> None:
    async with ModelServer([Step(body=body)]) as server:
        error = await Client(server).fail(call(stream=False))
        assert (type(error), len(server.requests)) == (AnswerBroken, 1)


async def test_no_server_is_a_failed_connection_tried_three_times() -> None:
    async with ModelServer() as server:
        pass
    client = Client(server)
    error = await client.fail(call())
    assert (type(error), error.cause, error.status) == (ConnectionFailed, Cause.API_TRANSIENT, None)
    assert client.waits == [0.1, 0.2]


@pytest.mark.row("S1.7")
@pytest.mark.parametrize(
    ("policy", "requests"),
    [
        pytest.param(RetryPolicy(), 1, id="once by default"),
        pytest.param(RetryPolicy(timeouts=True), 3, id="three times where the policy says so"),
    ],
)
async def test_a_silent_server_is_a_time_out(policy: RetryPolicy, requests: int) -> None:
    async with ModelServer([Step(delay_seconds=30, repeat=None)]) as server:
        error = await Client(server, policy=policy, silence_seconds=0.2).fail(call())
        assert (type(error), error.cause, len(server.requests)) == (TimedOut, Cause.API_TIMEOUT, requests)


@pytest.mark.row("S1.9")
async def test_a_stream_may_take_longer_than_it_may_be_silent() -> None:
    async with ModelServer([Step(chunk_delay_seconds=0.1)]) as server:
        assert (await Client(server, silence_seconds=0.5).complete(call())).text == WORDS


async def test_a_key_that_no_header_can_hold_is_not_quoted() -> None:
    async with ModelServer() as server:
        error = await Client(server, api_key="secret\nkey", policy=NEVER).fail(call())
        await Client(server).complete(call())  # so that the server has seen the first connection before it closes
    assert "secret" not in str(error)
