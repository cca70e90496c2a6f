"""Logs of other agents: their own words for usage, errors and results."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laneway.agent.envelope import EnvelopeSummary, Usage, parse


def log(*lines: object) -> str:
    return "".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines)


def model_usage(fresh: int, output: int, *, read: int = 0, written: int = 0) -> dict[str, Any]:
    return {
        "inputTokens": fresh,
        "outputTokens": output,
        "cacheReadInputTokens": read,
        "cacheCreationInputTokens": written,
        "webSearchRequests": 0,
        "costUSD": 0.01,
    }


def result(**fields: Any) -> dict[str, Any]:
    plain = {"type": "result", "subtype": "success", "is_error": False, "result": "Done.", "num_turns": 2}
    return {**plain, "usage": {"input_tokens": 10, "output_tokens": 5}, **fields}


# ---- Anthropic's


@pytest.mark.row("S0.20", "S2.40")
@pytest.mark.parametrize(
    ("models", "usage", "by_model"),
    [
        pytest.param(
            {"big": model_usage(10, 5), "small": model_usage(300, 20, read=40, written=2)},
            Usage(352, 25, 40, 2),
            {"big": Usage(10, 5, 0, 0), "small": Usage(342, 20, 40, 2)},
            id="helpers are counted where the models are told",
        ),
        pytest.param(
            {"big": model_usage(4, 1)}, Usage(10, 5), {}, id="models that tell less than the whole do not count"
        ),
        pytest.param(
            {"big": model_usage(300, 20), "odd": {"inputTokens": "many"}},
            Usage(10, 5),
            {},
            id="a model that cannot be read makes the rest a part only",
        ),
        pytest.param({}, Usage(10, 5), {}, id="no models told"),
        pytest.param("odd", Usage(10, 5), {}, id="models of another shape"),
    ],
)
def test_usage_by_model_is_whole_or_absent(models: object, usage: Usage, by_model: dict[str, Usage]) -> None:
    summary = parse(log(result(modelUsage=models)))
    assert (summary.usage, summary.usage_by_model, summary.usage_is_total) == (usage, by_model, True)


@pytest.mark.parametrize(
    ("fields", "is_error", "raw"),
    [
        pytest.param({"is_error": True, "result": "API Error: 529"}, True, "API Error: 529", id="an error in a result"),
        pytest.param(
            {"subtype": "error_max_turns", "is_error": False, "result": None},
            True,
            None,
            id="a subtype that is an error beats is_error",
        ),
        pytest.param(
            {"subtype": "error_during_execution", "is_error": True, "result": None, "errors": ["no disk", 7, "bye"]},
            True,
            "no disk; bye",
            id="errors in a list",
        ),
        pytest.param({"is_error": None, "subtype": "success"}, None, None, id="without is_error nothing is claimed"),
    ],
)
def test_an_error_is_one_however_it_is_said(fields: dict[str, Any], is_error: bool | None, raw: str | None) -> None:
    summary = parse(log(result(**fields)))
    assert (summary.is_error, summary.raw_error) == (is_error, raw)


KEY = "sk-proj-" + "aB3_" * 12


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        pytest.param(f"Incorrect API key provided: {KEY}.", "Incorrect API key provided: (key).", id="a key"),
        pytest.param("x" * 190 + f" {KEY}", "x" * 190 + " (key)", id="a key that the cut would have halved"),
        pytest.param("API key AIza" + "Sy0" * 11 + " is bad", "API key (key) is bad", id="a key of Google's"),
        pytest.param("Bearer " + "0a" * 24, "Bearer (key)", id="a long word of letters and digits"),
        pytest.param(
            "request 7f9c24e8-3b12-4fe1-a1d0-5b8e2c6f9a11 failed",
            "request 7f9c24e8-3b12-4fe1-a1d0-5b8e2c6f9a11 failed",
            id="the id of a request is none",
        ),
        pytest.param("rate_limit_error: sk-8 lanes", "rate_limit_error: sk-8 lanes", id="short words are none"),
    ],
)
def test_an_error_shows_no_key(words: str, kept: str) -> None:
    assert parse(log(result(is_error=True, result=words))).raw_error == kept
    assert codex({"type": "turn.failed", "error": {"message": words}}).raw_error == kept


# ---- Google's


def piece(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": text, "delta": True}


@pytest.mark.row("S3.9")
def test_googles_numbers_and_words_are_read() -> None:
    stats = {
        "total_tokens": 130,
        "input_tokens": 100,
        "output_tokens": 10,
        "cached": 60,
        "duration_ms": 900,
        "models": {"g": {"total_tokens": 130, "input_tokens": 100, "output_tokens": 10, "cached": 60}},
    }
    summary = parse(
        log(
            {"type": "init", "model": "g"},
            {"type": "message", "role": "user", "content": "the prompt"},
            piece("Let me see."),
            {"type": "tool_use", "tool_name": "ls"},
            piece("It is "),
            piece("done."),
            {"type": "result", "status": "success", "stats": stats},
        )
    )
    assert (summary.finished, summary.is_error, summary.result_text) == (True, False, "It is done.")
    assert summary.usage == Usage(100, 30, 60), "thoughts are in the total only, and count as output"
    assert summary.usage_by_model == {"g": Usage(100, 30, 60)}


# ---- OpenAI's


def codex(*lines: object) -> EnvelopeSummary:
    return parse(log({"type": "thread.started", "thread_id": "t"}, {"type": "turn.started"}, *lines))


def said(text: str) -> dict[str, Any]:
    return {"type": "item.completed", "item": {"id": "item_1", "type": "agent_message", "text": text}}


def completed(**usage: int) -> dict[str, Any]:
    return {"type": "turn.completed", "usage": usage}


@pytest.mark.row("S3.8", "S4.32")
def test_codex_tells_its_usage_and_its_last_words() -> None:
    command = {"type": "item.completed", "item": {"id": "item_0", "type": "command_execution", "text": "ls"}}
    used = completed(input_tokens=24763, cached_input_tokens=24448, output_tokens=122)
    summary = codex(said("I look."), command, said("Done."), used)
    assert summary == EnvelopeSummary(
        finished=True,
        result_text="Done.",
        is_error=False,
        usage=Usage(24763, 122, 24448),
        usage_is_total=True,
    )


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        pytest.param(
            [completed(input_tokens=10, output_tokens=1), completed(input_tokens=30, output_tokens=4)],
            (True, False, None, Usage(30, 4), True),
            id="usage is of all turns so far",
        ),
        pytest.param(
            [completed(input_tokens=0, cached_input_tokens=0, output_tokens=0)],
            (True, False, None, None, False),
            id="zeros are not told, not zero",
        ),
        pytest.param(
            [{"type": "error", "message": "Reconnecting 1/5"}, completed(input_tokens=10, output_tokens=1)],
            (True, False, None, Usage(10, 1), True),
            id="an error that passed is none",
        ),
        pytest.param(
            [{"type": "turn.failed", "error": {"message": "last status: 429 Too Many Requests"}}],
            (True, True, "last status: 429 Too Many Requests", None, False),
            id="a turn that failed is one",
        ),
        pytest.param(
            [
                completed(input_tokens=10, output_tokens=1),
                {"type": "turn.failed", "error": {"message": "stream disconnected"}},
            ],
            (True, True, "stream disconnected", Usage(10, 1), False),
            id="a turn that failed after one that did not leaves at least that usage",
        ),
        pytest.param(
            [{"type": "error", "message": "x" * 5000}],
            (False, None, "x" * 200, None, False),
            id="an error at which the log breaks off is kept, and claims nothing",
        ),
        pytest.param([said("Done.")], (False, None, None, None, False), id="a log without an end"),
    ],
)
def test_how_codex_says_that_a_turn_ended(lines: list[object], expected: tuple[object, ...]) -> None:
    summary = codex(*lines)
    found = (summary.finished, summary.is_error, summary.raw_error, summary.usage, summary.usage_is_total)
    assert found == expected


# ---- what no status could hold


@pytest.mark.row("S3.7")
@pytest.mark.parametrize(
    "count",
    [
        pytest.param(10**13, id="more tokens than there are"),
        pytest.param(10**400, id="a number of four hundred digits"),
        pytest.param(-1, id="less than none"),
    ],
)
def test_absurd_counts_are_not_said(count: int) -> None:
    usage = {"input_tokens": count, "output_tokens": 5}
    summary = parse(log(result(usage=usage, num_turns=count)))
    assert (summary.usage, summary.num_turns) == (None, None)


@pytest.mark.row("S3.7")
def test_words_fit_into_a_status() -> None:
    message = {"content": [], "stop_reason": "s" * 1000}
    summary = parse(log({"type": "assistant", "message": message}, '{"type":"result","result":"half \\ud83d"}\n'))
    assert summary.finish_reason == "s" * 64
    assert summary.result_text == "half \ufffd"


KINDS = ["assistant", "result", "message", "thread.started", "turn.completed", "turn.failed", "item.completed", "error"]
FIELDS = ["usage", "stats", "modelUsage", "models", "item", "error", "errors", "content", "message", "status", "type"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.row("S3.7")
@given(
    st.lists(
        st.dictionaries(st.sampled_from(FIELDS), JSON).flatmap(
            lambda fields: st.sampled_from(KINDS).map(lambda kind: json.dumps({**fields, "type": kind}))
        )
    )
)
def test_no_line_of_any_dialect_makes_the_parser_fail(lines: list[str]) -> None:
    assert isinstance(parse("\n".join(lines)), EnvelopeSummary)
