"""Log lines: a constant message and keys, as JSON or text."""

from __future__ import annotations

import json
import logging
import sys

import pytest
from aiohttp.http_exceptions import BadStatusLine

from laneway.logs import JsonLines, TextLines, setup
from laneway.settings import LogSettings


def record(message: str = "the gateway is away", *, error: bool = False, **keys: object) -> logging.LogRecord:
    made = logging.makeLogRecord(
        {"name": "laneway.x", "levelname": "WARNING", "msg": message, "created": 1_772_366_400.5, **keys}
    )
    if error:
        try:
            raise ValueError("no")
        except ValueError:
            made.exc_info = sys.exc_info()
    return made


def test_a_json_line_has_the_keys_beside_the_message() -> None:
    line = json.loads(JsonLines().format(record(why="no answer", count=3)))
    assert line == {
        "time": "2026-03-01T12:00:00.500+00:00",
        "level": "warning",
        "logger": "laneway.x",
        "message": "the gateway is away",
        "why": "no answer",
        "count": 3,
    }


def test_a_json_line_is_one_line_even_with_an_error_and_odd_values() -> None:
    text = JsonLines().format(record("first\nsecond", error=True, key=object()))
    assert "\n" not in text
    assert "ValueError: no" in json.loads(text)["error"]


def test_a_text_line_has_time_level_message_and_keys() -> None:
    assert TextLines().format(record(why="gone")) == "12:00:00 warning the gateway is away why=gone"


def test_a_text_line_is_followed_by_its_error() -> None:
    first, *rest = TextLines().format(record(error=True)).splitlines()
    assert first == "12:00:00 warning the gateway is away"
    assert rest[-1] == "ValueError: no"


@pytest.mark.parametrize("formatter", [JsonLines(), TextLines()])
@pytest.mark.parametrize("wrapped", [False, True])
def test_an_error_that_quotes_what_a_peer_sent_is_named_and_not_shown(
    formatter: logging.Formatter, *, wrapped: bool
) -> None:
    made = record("Error handling request")
    try:
        try:
            raise BadStatusLine("GET /?key=lw1.secret")
        except BadStatusLine:
            if not wrapped:
                raise
            raise RuntimeError("inside") from None
    except (BadStatusLine, RuntimeError):
        made.exc_info = sys.exc_info()
    line = formatter.format(made)
    assert "secret" not in line
    assert ("RuntimeError;" if wrapped else "BadStatusLine;") in line


@pytest.mark.parametrize("name", ["kopf", "aiohttp.access", "httpx", "httpcore"])
def test_libraries_speak_only_of_warnings(name: str) -> None:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        setup(LogSettings(level="debug", json=True))
        assert root.level == logging.DEBUG
        assert logging.getLogger(name).getEffectiveLevel() == logging.WARNING
        assert isinstance(root.handlers[0].formatter, JsonLines)
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
