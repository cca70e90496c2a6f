"""What only one API has: ends of responses, Gemini's model in the path and blocked prompts, streams cut anywhere."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laneway.api.endpoint import Server
from laneway.gateway.ports.agents import CHAT, GEMINI, GEMINI_STREAM, MESSAGES, OLLAMA, OPERATIONS, RESPONSES
from laneway.gateway.wire.base import Reading, Wire
from laneway.rules.endpoint import GEMINI_STABLE, PATHS
from laneway.rules.usage import Usage
from unit.gateway.streams import ASKED, GEMINI_EVENTS, GEMINI_PARTS, PLAIN, events, feed, sample

USAGE = {"input_tokens": 7, "output_tokens": 2}


def response(**fields: Any) -> dict[str, Any]:
    return {"object": "response", "error": None, "incomplete_details": None, **fields}


@pytest.mark.parametrize(
    ("fields", "finish", "usage", "final", "error"),
    [
        pytest.param(
            {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}, "usage": USAGE},
            "max_output_tokens",
            Usage(7, 2),
            True,
            None,
            id="a length is a reason to end",
        ),
        pytest.param(
            {"status": "failed", "error": {"code": "server_error", "message": "died"}, "usage": USAGE},
            "failed",
            Usage(7, 2),
            True,
            "died",
            id="a failure may have used tokens",
        ),
        pytest.param(
            {"status": "failed", "usage": None},
            "failed",
            Usage(),
            False,
            "the response failed, without a reason",
            id="a failure without a reason is a failure",
        ),
    ],
)
def test_how_a_response_ends(fields: dict[str, Any], finish: str, usage: Usage, final: bool, error: str | None) -> None:
    answer = response(**fields)
    streamed = events({"type": "response.created", "response": response()}) + events(
        {"type": f"response.{answer['status']}", "response": answer}
    )
    readings = [
        feed(RESPONSES.whole_reader(), [json.dumps(answer).encode()])[1],
        feed(RESPONSES.stream_reader(PLAIN), [streamed])[1],
    ]
    for reading in readings:
        assert (reading.finish_reason, reading.usage, reading.usage_final, reading.ended) == (
            finish,
            usage,
            final,
            True,
        )
        assert (reading.error.message if reading.error else None) == error


def test_a_response_in_the_background_has_no_usage_yet() -> None:
    _, reading = feed(RESPONSES.whole_reader(), [json.dumps(response(status="queued", usage=None)).encode()])
    assert (reading.usage, reading.usage_final, reading.error) == (Usage(), False, None)


@pytest.mark.parametrize(
    ("parts", "finish", "usage"),
    [
        pytest.param(
            [{"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 9}}],
            "SAFETY",
            Usage(9, 0),
            id="a blocked prompt has no candidates, and counts that are zero are left out",
        ),
        pytest.param(
            [
                {
                    "candidates": [{"finishReason": "MAX_TOKENS"}],
                    "usageMetadata": {"promptTokenCount": 9, "thoughtsTokenCount": 64},
                }
            ],
            "MAX_TOKENS",
            Usage(9, 64),
            id="thoughts alone may use up the output",
        ),
        pytest.param(
            [GEMINI_PARTS[0], {"candidates": [{"finishReason": "STOP"}]}],
            "STOP",
            Usage(12, 0),
            id="a part without usage takes none away",
        ),
        pytest.param([{"candidates": [{"finishReason": "STOP"}]}], "STOP", Usage(), id="no usage is unknown, not zero"),
    ],
)
def test_what_geminis_parts_tell(parts: list[Any], finish: str, usage: Usage) -> None:
    for reader, data in (
        (GEMINI_STREAM.stream_reader(PLAIN), events(*parts, end="\r\n\r\n")),
        (GEMINI_STREAM.whole_reader(), json.dumps(parts).encode()),
    ):
        _, reading = feed(reader, [data])
        assert (reading.finish_reason, reading.usage, reading.ended) == (finish, usage, True)
        assert reading.usage_final == usage.known


def test_a_stream_of_gemini_that_breaks_off_has_not_ended() -> None:
    begun = GEMINI_EVENTS.split(b"\r\n\r\n")[0] + b"\r\n\r\n"
    _, reading = feed(GEMINI_STREAM.stream_reader(PLAIN), [begun])
    assert (reading.ended, reading.usage_final, reading.usage) == (False, False, Usage(12, 0))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param('{"contents" : [ ] }', '{"contents" : [ ] }', id="a body without a model is not touched"),
        pytest.param('{"model":"models/x","y":1.50}', '{"model":"models/m","y":1.50}', id="a model in the body"),
        pytest.param(
            '{"generateContentRequest":{ "model":"models/x", "z":1.0}}',
            '{"generateContentRequest":{ "model":"models/m", "z":1.0}}',
            id="the request whose tokens are counted",
        ),
    ],
)
def test_geminis_body_names_the_runs_model_if_any(before: str, after: str) -> None:
    assert GEMINI.prepare(before.encode(), model="m", server=Server.GEMINI).body.decode() == after


def test_every_api_has_an_operation_below_its_path_and_only_generation_makes_turns() -> None:
    assert {operation.wire.api for operation in OPERATIONS} == set(PATHS)
    for operation in OPERATIONS:
        stable = (GEMINI_STABLE,) if operation.wire.api is GEMINI.api else ()
        assert operation.path.startswith((PATHS[operation.wire.api], *stable))
    assert [operation.path for operation in OPERATIONS if not operation.wire.turns] == ["/v1/embeddings"]
    counting = {operation.path.rpartition("/")[2] for operation in OPERATIONS if not operation.generates}
    assert counting == {"count_tokens", "show", "{model}:countTokens"}


ALL = [
    (CHAT, sample("vllm-chat_completions-stream-usage")),
    (RESPONSES, sample("ollama-responses-stream")),
    (MESSAGES, sample("ollama-messages-stream")),
    (OLLAMA, sample("ollama-api_generate-stream")),
    (GEMINI_STREAM, GEMINI_EVENTS),
]


@settings(max_examples=200)
@given(which=st.sampled_from(range(len(ALL))), places=st.lists(st.integers(0, 7000), max_size=40))
def test_any_chunking_gives_the_same_bytes_and_the_same_reading(which: int, places: list[int]) -> None:
    wire, data = ALL[which]
    for prepared in (PLAIN, ASKED):
        expected = feed(wire.stream_reader(prepared), [data])
        marks = [0, *sorted(min(place, len(data)) for place in places), len(data)]
        assert feed(wire.stream_reader(prepared), [data[a:b] for a, b in itertools.pairwise(marks)]) == expected


@settings(max_examples=300)
@given(
    wire=st.sampled_from([wire for wire, _ in ALL]),
    data=st.lists(
        st.binary(max_size=40) | st.sampled_from([b"data: ", b'{"usage"', b'"error":', b"}\n\n", b"\r\n\r\n"])
    ),
)
def test_no_reader_fails_on_an_answer_that_makes_no_sense(wire: Wire, data: list[bytes]) -> None:
    for reader in (wire.stream_reader(PLAIN), wire.stream_reader(ASKED), wire.whole_reader()):
        out, reading = feed(reader, data)
        assert out == b"".join(data)
        assert isinstance(reading, Reading)
