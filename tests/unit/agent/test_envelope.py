"""The envelope is written as S0.19 and S0.20 say, and read without trust in what other agents wrote."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laneway.agent import envelope
from laneway.agent.envelope import EnvelopeSummary, RateLimitEvent, Usage, parse, summary_of


def log(*lines: object) -> str:
    return "".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines)


def assistant(
    *, text: str = "Hello.", model: str | None = "m1", usage: object = None, message_id: str | None = None
) -> dict[str, Any]:
    message: dict[str, Any] = {"content": [{"type": "text", "text": text}], "usage": usage}
    if model is not None:
        message["model"] = model
    if message_id is not None:
        message["id"] = message_id
    return {"type": "assistant", "message": message}


def tokens(fresh: int, output: int, **more: int) -> dict[str, int]:
    return {"input_tokens": fresh, "output_tokens": output, **more}


def result(**fields: object) -> dict[str, Any]:
    return {"type": "result", "is_error": False, "result": "Hello.", **fields}


def written(**changes: Any) -> list[dict[str, Any]]:
    usage = changes.pop("usage", Usage(input_tokens=12, output_tokens=7))
    text = "".join(
        [
            envelope.delta_line("The capital"),
            envelope.delta_line(" is Paris."),
            envelope.assistant_line(
                text="The capital is Paris.", message_id="c1", model="m1", finish_reason="stop", usage=usage
            ),
            envelope.result_line(
                text="The capital is Paris.",
                is_error=False,
                api_error_status=None,
                duration_milliseconds=5,
                num_turns=1,
                usage=usage,
            ),
        ]
    )
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.row("S0.19")
def test_deltas_come_first_then_one_whole_assistant_block_then_the_result() -> None:
    lines = written()
    assert [line["type"] for line in lines] == ["stream_event", "stream_event", "assistant", "result"]
    assert "".join(line["event"]["delta"]["text"] for line in lines[:2]) == "The capital is Paris."
    assert lines[2]["message"]["content"] == [{"type": "text", "text": "The capital is Paris."}]


@pytest.mark.row("S0.20")
def test_assistant_and_result_carry_the_fields_that_other_parsers_read() -> None:
    lines = written(usage=Usage(input_tokens=12, output_tokens=7, cache_read_tokens=4, cache_write_tokens=2))
    usage = {
        "input_tokens": 6,
        "output_tokens": 7,
        "cache_read_input_tokens": 4,
        "cache_creation_input_tokens": 2,
    }
    assert lines[2]["message"]["model"] == "m1"
    assert lines[2]["message"]["usage"] == usage
    assert lines[3] == {
        "type": "result",
        "subtype": "success",
        "is_error": False,
        "api_error_status": None,
        "result": "The capital is Paris.",
        "total_cost_usd": None,
        "duration_ms": 5,
        "num_turns": 1,
        "usage": usage,
    }


@pytest.mark.row("S0.20")
@pytest.mark.parametrize(
    "text",
    [
        pytest.param("one\ntwo\r\nthree", id="line ends stay inside the string"),
        pytest.param("a\u2028b\u0085c\x0bd", id="separators that split lines elsewhere stay inside the string"),
        pytest.param("\ud83d", id="half a surrogate pair can be written"),
        pytest.param("été 🛣️", id="other scripts survive"),
    ],
)
def test_a_line_is_one_ascii_line_whatever_the_model_says(text: str) -> None:
    line = envelope.delta_line(text)
    assert line.isascii()
    assert len(line.splitlines()) == 1
    assert json.loads(line)["event"]["delta"]["text"] == text


@pytest.mark.row("S0.20")
def test_what_is_written_is_read_back() -> None:
    text = "".join(json.dumps(line) + "\n" for line in written())
    assert parse(text) == EnvelopeSummary(
        finished=True,
        result_text="The capital is Paris.",
        is_error=False,
        model="m1",
        finish_reason="stop",
        num_turns=1,
        duration_milliseconds=5,
        usage=Usage(input_tokens=12, output_tokens=7),
        usage_is_total=True,
    )


@pytest.mark.row("S0.20", "S3.7")
@pytest.mark.parametrize(
    ("text", "is_error", "status", "raw"),
    [
        pytest.param(log(result()), False, None, None, id="success has no error"),
        pytest.param(
            log(result(is_error=True, api_error_status=429, result="Rate limited")), True, 429, "Rate limited", id="429"
        ),
        pytest.param(
            log('{"type":"result","is_error":true,"api_error_status":529,"result":"Overloaded"}\n'),
            True,
            529,
            "Overloaded",
            id="529 in the words of the fixture",
        ),
        pytest.param(
            log(result(is_error=True, api_error_status=408, result="Timeout")), True, 408, "Timeout", id="408"
        ),
        pytest.param(
            log(result(is_error=True, result="x" * 5000)), True, None, "x" * 200, id="a long error is cut to 200"
        ),
        pytest.param(
            log(result(is_error=True, result=None)), True, None, None, id="an error without words has no raw text"
        ),
        pytest.param(
            log(result(is_error=True, api_error_status=529), result()),
            False,
            None,
            None,
            id="the last result line counts",
        ),
    ],
)
def test_errors_are_read_from_the_result_line(text: str, is_error: bool, status: int | None, raw: str | None) -> None:
    summary = parse(text)
    assert (summary.is_error, summary.api_error_status, summary.raw_error) == (is_error, status, raw)


@pytest.mark.row("S3.7")
@pytest.mark.parametrize(
    "garbage",
    [
        pytest.param("not json\n", id="words"),
        pytest.param('{"type":"result","is_er\n', id="a line cut in the middle"),
        pytest.param('[1, 2]\n"result"\nnull\n7\n', id="JSON that is no object"),
        pytest.param('{"type":"result","total_cost_usd":NaN}\n', id="NaN is no JSON"),
        pytest.param("[" * 100_000 + "\n", id="brackets without end"),
        pytest.param('{"type":"assistant","message":"hi"}\n{"type":"new_kind"}\n{}\n', id="shapes nobody knows"),
        pytest.param("\n\n  \n", id="empty lines"),
    ],
)
def test_lines_that_are_not_of_the_envelope_are_skipped(garbage: str) -> None:
    summary = parse(log(garbage, assistant(), garbage, result(usage=tokens(12, 7)), garbage))
    assert (summary.result_text, summary.is_error, summary.model) == ("Hello.", False, "m1")
    assert summary.usage == Usage(input_tokens=12, output_tokens=7)


@pytest.mark.row("S3.7")
def test_only_the_last_50_lines_are_read() -> None:
    noise = [{"type": "noise"}] * 49
    assert parse(log(result(), *noise)).finished
    assert not parse(log(result(), {"type": "noise"}, *noise)).finished


@pytest.mark.row("S3.7")
def test_an_empty_log_says_nothing() -> None:
    assert parse("") == EnvelopeSummary(finished=False)


@pytest.mark.row("S4.32", "B9")
@pytest.mark.parametrize(
    ("lines", "usage", "total"),
    [
        pytest.param(
            [assistant(usage=tokens(100, 10)), assistant(usage=tokens(50, 5))],
            Usage(150, 15),
            False,
            id="two messages are added",
        ),
        pytest.param(
            [assistant(usage=tokens(100, 1), message_id="a"), assistant(usage=tokens(100, 10), message_id="a")],
            Usage(100, 10),
            False,
            id="one message in two lines counts once, with its last numbers",
        ),
        pytest.param(
            [assistant(usage=tokens(100, 10)), result(usage=tokens(120, 12))],
            Usage(120, 12),
            True,
            id="the result's usage wins",
        ),
        pytest.param(
            [assistant(usage=tokens(100, 10)), result(usage=None)],
            Usage(100, 10),
            False,
            id="a result without usage leaves the messages'",
        ),
        pytest.param(
            [
                assistant(
                    usage=tokens(5, 1, cache_read_input_tokens=90, cache_creation_input_tokens=3),
                ),
            ],
            Usage(98, 1, 90, 3),
            False,
            id="input includes both cache counts",
        ),
        pytest.param(
            [{"type": "assistant", "usage": tokens(9, 9), "message": {"content": []}}],
            None,
            False,
            id="usage at the top of the line is not usage",
        ),
        pytest.param([assistant(), result()], None, False, id="no usage is unknown, not zero"),
        pytest.param([assistant(usage={"input_tokens": -1, "output_tokens": 3})], None, False, id="no negative counts"),
        pytest.param([assistant(usage={"input_tokens": True, "output_tokens": 3})], None, False, id="true is no count"),
    ],
)
def test_usage_comes_from_the_messages_and_the_result_settles_it(
    lines: list[object], usage: Usage | None, total: bool
) -> None:
    summary = parse(log(*lines))
    assert (summary.usage, summary.usage_is_total) == (usage, total)


@pytest.mark.row("S4.32")
def test_a_tail_that_was_read_twice_counts_once() -> None:
    tail = log(assistant(usage=tokens(100, 10), message_id="a"), assistant(usage=tokens(50, 5), message_id="b"))
    assert parse(tail + tail).usage == parse(tail).usage == Usage(150, 15)


@pytest.mark.row("S4.34")
@pytest.mark.parametrize(
    ("cost", "micros"),
    [
        pytest.param("0.08", 80_000, id="eight cents"),
        pytest.param("0", 0, id="zero is known"),
        pytest.param("0.1234567", 123_457, id="rounded to a millionth"),
        pytest.param("1e-3", 1_000, id="with an exponent"),
        pytest.param("null", None, id="null is unknown"),
        pytest.param("-1", None, id="a negative cost is no cost"),
        pytest.param("1e999999", None, id="an absurd cost is no cost"),
        pytest.param("1e9999999999999999999", None, id="an exponent that no number holds is no cost"),
        pytest.param('"0.08"', None, id="words are no cost"),
    ],
)
def test_the_cost_that_the_agent_reports_is_read_exactly(cost: str, micros: int | None) -> None:
    assert parse(f'{{"type":"result","is_error":false,"total_cost_usd":{cost}}}').reported_cost_micro_usd == micros


@pytest.mark.row("S4.34")
def test_turns_and_duration_come_from_the_result_line() -> None:
    summary = parse(log(result(num_turns=3, duration_ms=1200)))
    assert (summary.num_turns, summary.duration_milliseconds) == (3, 1200)


@pytest.mark.row("S3.32")
def test_an_error_with_usage_gives_both() -> None:
    summary = parse(log(result(is_error=True, api_error_status=500, usage=tokens(100, 10))))
    assert (summary.api_error_status, summary.usage) == (500, Usage(100, 10))


@pytest.mark.row("S3.33")
@pytest.mark.parametrize(
    ("lines", "model"),
    [
        pytest.param([assistant(model="a"), assistant(model="b"), result()], "b", id="the latest assistant line"),
        pytest.param([assistant(model="a"), assistant(model=None)], "a", id="a line without model does not hide it"),
        pytest.param([result(is_error=True)], None, id="an error before any answer: not known"),
    ],
)
def test_the_model_is_the_one_that_answered_last(lines: list[object], model: str | None) -> None:
    assert parse(log(*lines)).model == model


@pytest.mark.row("S0.20")
@pytest.mark.parametrize(
    ("info", "event"),
    [
        pytest.param(
            {"status": "rejected", "rateLimitType": "five_hour", "resetsAt": 1_800_000_000},
            RateLimitEvent("rejected", "five_hour", 1_800_000_000),
            id="a five-hour reject",
        ),
        pytest.param(
            {"status": "rejected", "rateLimitType": None},
            RateLimitEvent("rejected", None, None),
            id="no type, no reset",
        ),
        pytest.param("odd", RateLimitEvent(None, None, None), id="info that is no object"),
    ],
)
def test_rate_limit_events_are_kept(info: object, event: RateLimitEvent) -> None:
    summary = parse(log({"type": "rate_limit_event", "rate_limit_info": info}, result(is_error=True)))
    assert summary.rate_limits == (event,)


@pytest.mark.row("S0.21")
@pytest.mark.parametrize(
    ("text", "summary"),
    [
        pytest.param("Just an answer.\n", "Just an answer.", id="no heading: the whole text"),
        pytest.param("Work.\n\n## Summary\n\nDone it.\n", "Done it.", id="the section under the heading"),
        pytest.param("## Summary\nA\n## Details\nB", "A", id="up to the next heading of its level"),
        pytest.param("## Summary\nA\n# Top\nB", "A", id="up to a heading above it"),
        pytest.param("## Summary\nA\n### Part\nB", "A\n### Part\nB", id="smaller headings belong to it"),
        pytest.param("## Summary\nold\n## Next\nx\n## Summary\nnew", "new", id="the last of several"),
        pytest.param("## SUMMARY:\r\nA\r\n", "A", id="any case, a colon, other line ends"),
        pytest.param("## Summary\n", "## Summary", id="an empty section: the whole text"),
        pytest.param("## Summary of work\nA", "## Summary of work\nA", id="another heading is not it"),
        pytest.param("Text ## Summary\nA", "Text ## Summary\nA", id="not inside a line"),
        pytest.param("## Summary\n```\n# a comment\n```\nB", "```\n# a comment\n```\nB", id="code is not a heading"),
        pytest.param("```\n## Summary\n```\nB", "```\n## Summary\n```\nB", id="a heading in code is not one"),
    ],
)
def test_the_summary_is_the_summary_section_else_everything(text: str, summary: str) -> None:
    assert summary_of(text) == summary


@pytest.mark.row("S0.21")
def test_the_summary_is_found_in_the_consolidated_block() -> None:
    text = parse(log(assistant(text="Work.\n## Summary\nDone."), result(result="Work.\n## Summary\nDone."))).result_text
    assert text is not None
    assert summary_of(text) == "Done."


def test_without_a_result_line_the_text_is_of_the_last_assistant_line() -> None:
    summary = parse(log(assistant(text="One."), assistant(text="Two.")))
    assert (summary.finished, summary.result_text, summary.is_error) == (False, "Two.", None)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["type", "message", "usage", "result"]), inner),
)


@pytest.mark.row("S3.7")
@given(
    st.lists(
        st.text()
        | st.dictionaries(
            st.sampled_from(["is_error", "result", "usage", "message", "total_cost_usd", "rate_limit_info"]), JSON
        ).flatmap(
            lambda fields: st.sampled_from(["assistant", "result", "rate_limit_event"]).map(
                lambda kind: json.dumps({**fields, "type": kind})
            )
        )
    )
)
def test_no_log_makes_the_parser_fail(lines: list[str]) -> None:
    assert isinstance(parse("\n".join(lines)), EnvelopeSummary)
