"""What a classifier reads of a run, and what its answers mean."""

from __future__ import annotations

import pytest

from laneway.api.classification import REASON_LIMIT, Complexity
from laneway.rules.complexity import PROMPT_CHARACTERS, QUESTION, Reply, read_reply, text_of

SIMPLE, MEDIUM, COMPLEX = Complexity.SIMPLE, Complexity.MEDIUM, Complexity.COMPLEX
CUT = "p" * PROMPT_CHARACTERS

READ = [
    pytest.param("Fix a typo", "In README.", "Fix a typo\n\nIn README.", id="the title and the prompt"),
    pytest.param(None, "In README.", "In README.", id="a prompt alone"),
    pytest.param("Fix a typo", None, "Fix a typo", id="a title alone, where the prompt is kept elsewhere"),
    pytest.param("t", CUT + "q", f"t\n\n{CUT}", id="600 characters of the prompt and no more"),
    pytest.param(" ", None, "", id="a title of blanks is nothing"),
    pytest.param(None, None, "", id="nothing at all"),
]


@pytest.mark.row("S4.37", "C20")
@pytest.mark.parametrize(("title", "prompt", "expected"), READ)
def test_what_is_read_of_a_run(title: str | None, prompt: str | None, expected: str) -> None:
    assert text_of(title, prompt) == expected


ANSWERS = [
    pytest.param('{"complexity": "complex", "reason": "many files"}', Reply(COMPLEX, "many files"), id="the object that was asked for"),
    pytest.param('{"complexity": "Simple", "reason": null}', Reply(SIMPLE, ""), id="an object without a reason, in its own spelling"),
    pytest.param('{"complexity": "medium", "reason": "not simple"}', Reply(MEDIUM, "not simple"), id="words of a reason do not count"),
    pytest.param('{"complexity": "hard", "reason": "complex"}', Reply(COMPLEX, ""), id="an object of another kind is read as words"),
    pytest.param('```json\n{"complexity": "complex"}\n```', Reply(COMPLEX, ""), id="a fence is not taken off; its words are read"),
    pytest.param("Complex.", Reply(COMPLEX, ""), id="one word with a full stop"),
    pytest.param("A medium task, not a complex one", Reply(MEDIUM, ""), id="of several words the first of simple, medium, complex"),
    pytest.param("complex, not simple", Reply(SIMPLE, ""), id="it is the order of the tiers that counts, not that of the words"),
    pytest.param('["complex"]', Reply(COMPLEX, ""), id="a list is no object"),
    pytest.param("banana", None, id="a word that means nothing"),
    pytest.param("", None, id="no word"),
    pytest.param("[" * 100_000, None, id="nesting without end"),
]  # fmt: skip


@pytest.mark.row("S4.37", "S0.26", "C20")
@pytest.mark.parametrize(("words", "expected"), ANSWERS)
def test_an_answer_means(words: str, expected: Reply | None) -> None:
    assert read_reply(words) == expected


def test_a_reason_is_one_short_line_that_any_store_takes() -> None:
    reply = read_reply('{"complexity": "simple", "reason": "a\\nb\\u0000c\\ud800 ' + "d" * 500 + '"}')
    assert reply is not None
    assert reply.reason.startswith("a b?c? ddd")
    assert len(reply.reason) == REASON_LIMIT


def test_the_question_names_what_is_read_of_its_answer() -> None:
    assert "JSON" in QUESTION  # OpenAI refuses json_object where the word does not stand
    assert all(f'"{each}"' in QUESTION for each in Complexity)
