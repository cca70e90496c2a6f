"""Log lines: a constant message and keys, as JSON or text."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from aiohttp.http_exceptions import BadStatusLine

from laneway.logs import JsonLines, TextLines, setup
from laneway.settings import LogSettings

ROOT = Path(__file__).parents[2]


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
        "ts": "2026-03-01T12:00:00.500+00:00",
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


def test_keys_of_a_record_do_not_take_the_place_of_ours() -> None:
    line = json.loads(JsonLines().format(record(level="loud", ts="never", lane="local")))
    assert (line["level"], line["lane"]) == ("warning", "local")
    assert line["ts"].startswith("2026")


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(float("nan"), id="a number that JSON does not have"),
        pytest.param({(1, 2): "pair"}, id="a map whose keys are no text"),
        pytest.param(b"\xff", id="bytes"),
        pytest.param("\ud800", id="half a character"),
    ],
)
def test_a_json_line_can_be_read_whatever_is_logged(value: object) -> None:
    assert json.loads(JsonLines().format(record(odd=value)))["message"] == "the gateway is away"


def test_words_that_do_not_fit_their_arguments_are_shown_as_they_are() -> None:
    assert json.loads(JsonLines().format(record("%d of %d", args=("one",))))["message"] == "%d of %d"


PROGRAM = """
import asyncio, gc, logging, threading, warnings
from laneway.logs import setup
from laneway.settings import LogSettings

setup(LogSettings(level="info", json=True))
logging.getLogger("laneway.x").info("ours", extra={"lane": "local"})
logging.getLogger("kopf.objects").warning("a library's")
logging.getLogger("kopf.objects").info("too chatty")
logging.getLogger("aiohttp.server").error("%s of %s", "one")
warnings.warn("will go", UserWarning)

class Untidy:
    def __del__(self):
        raise ValueError("in the end")

Untidy()
gc.collect()
thread = threading.Thread(target=lambda: 1 / 0, name="writer")
thread.start()
thread.join()

async def main():
    asyncio.get_running_loop().call_soon(lambda: [][1])
    await asyncio.sleep(0.01)
    asyncio.create_task(fail())
    await asyncio.sleep(0.01)
    gc.collect()
    raise RuntimeError("at the top")

async def fail():
    raise KeyError("nobody waits")

asyncio.run(main())
"""


def test_every_line_of_a_process_is_an_object_whoever_speaks() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, cwd=ROOT / "operator"
    )
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert done.returncode == 1
    assert all({"ts", "level", "logger", "message"} <= line.keys() for line in lines)
    said = [(line["logger"], line["level"], line["message"].split("\n")[0]) for line in lines]
    assert said[:3] == [
        ("laneway.x", "info", "ours"),
        ("kopf.objects", "warning", "a library's"),
        ("aiohttp.server", "error", "%s of %s"),
    ]
    assert "UserWarning: will go" in said[3][2]
    assert said[4:6] == [
        ("laneway.logs", "error", "error that cannot be raised"),
        ("laneway.logs", "critical", "unhandled error"),
    ]
    assert {logger for logger, _, _ in said[6:-1]} == {"asyncio"}
    assert said[-1] == ("laneway.logs", "critical", "unhandled error")
    errors = [line.get("error", "").splitlines()[-1:] for line in lines[4:]]
    assert [found[0].partition(":")[0] for found in errors if found] == [
        "ValueError",
        "ZeroDivisionError",
        "IndexError",
        "KeyError",
        "RuntimeError",
    ]
    assert lines[5]["in_thread"] == "writer"


@pytest.mark.parametrize("command", ["operator", "gateway"])
@pytest.mark.parametrize("level", ["info", "loud"])
def test_a_service_that_cannot_start_says_so_in_a_line_of_its_log(command: str, level: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "laneway", command],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(ROOT / "operator"), "LANEWAY_LOG_LEVEL": level},
    )
    [line] = (json.loads(each) for each in done.stderr.splitlines())
    assert done.returncode == 2
    assert (line["level"], line["message"]) == ("error", "a setting is missing or wrong")
    assert line["cause"].endswith(" must be set")


@pytest.mark.parametrize("name", ["kopf", "aiohttp.access", "httpx", "httpcore"])
def test_libraries_speak_only_of_warnings(name: str) -> None:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
    try:
        setup(LogSettings(level="debug", json=True))
        assert root.level == logging.DEBUG
        assert logging.getLogger(name).getEffectiveLevel() == logging.WARNING
        assert isinstance(root.handlers[0].formatter, JsonLines)
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
        logging.captureWarnings(False)
