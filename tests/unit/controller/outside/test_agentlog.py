"""The end of a log as the kubelet gives it: long lines, rotated files, bad bytes, and none at all."""

from __future__ import annotations

import json
from typing import Any

import pytest

from laneway.agent.envelope import Usage
from laneway.controller.facts.presets import LogParser
from laneway.controller.outside.agentlog import AgentLog, read_end
from laneway.kube.errors import Forbidden, Invalid, KubeError, NotFound, Unavailable
from support.builders import ended

PIECE = 16_384
"""Bytes of a line that containerd and CRI-O keep as one entry of the file."""


class Kubelet:
    """Reads a log file as the kubelet does: the tail is counted in entries, and the byte limit cuts its end."""

    def __init__(self, log: bytes = b"", *, error: Exception | None = None) -> None:
        self._log = log
        self._error = error
        self.reads: list[tuple[int, int]] = []

    async def read_log(self, namespace: str, pod: str, *, container: str, tail_lines: int, limit_bytes: int) -> str:
        self.reads.append((tail_lines, limit_bytes))
        if self._error:
            raise self._error
        entries = [piece for line in self._log.splitlines(keepends=True) for piece in pieces(line)]
        return b"".join(entries[-tail_lines:])[:limit_bytes].decode("utf-8", "replace")


def pieces(line: bytes) -> list[bytes]:
    return [line[start : start + PIECE] for start in range(0, len(line), PIECE)]


def line(kind: str, **fields: Any) -> bytes:
    return json.dumps({"type": kind, **fields}).encode() + b"\n"


def result(text: str = "Done.", **fields: Any) -> bytes:
    usage = {"input_tokens": 10, "output_tokens": 5}
    return line("result", is_error=False, result=text, usage=usage, **fields)


async def read(log: bytes, parser: LogParser = LogParser.STREAM_JSON) -> AgentLog:
    kubelet: Any = Kubelet(log)
    return await read_end(kubelet, ended(0), parser)


@pytest.mark.row("S3.7", "S4.19")
@pytest.mark.parametrize(
    "log",
    [
        pytest.param(result(), id="a short log"),
        pytest.param(line("user", text="x" * 60) * 5000 + result(), id="a log of many lines"),
        pytest.param(line("user", text="x" * 700_000) + result(), id="a long line before the end"),
        pytest.param(line("user", text="x" * 3_000_000) * 3 + result(), id="lines of three megabytes before the end"),
        pytest.param(result(notes="x" * 200_000), id="an end of 200 kilobytes"),
        pytest.param(result(notes="x" * 2_000_000), id="an end of two megabytes"),
        pytest.param(
            line("user", n=1)[7:] + result(), id="a file that begins in the middle of a line, as after a rotation"
        ),
        pytest.param(b"\xff\xfe\xc3\x28\x00 not UTF-8\n" + result() + b"\x80\n", id="bytes that are not UTF-8"),
        pytest.param(result() + line("noise") * 40, id="a few lines after the end"),
    ],
)
async def test_the_result_is_found(log: bytes) -> None:
    found = await read(log)
    assert found.envelope is not None
    assert (found.envelope.finished, found.envelope.result_text) == (True, "Done.")
    assert found.envelope.usage == Usage(10, 5)
    assert found.blank is False


@pytest.mark.row("S3.7")
@pytest.mark.parametrize(
    ("log", "blank"),
    [
        pytest.param(b"", True, id="no line at all"),
        pytest.param(b" \n\n\t\n", True, id="white space"),
        pytest.param(result()[:-20], False, id="an end that is cut"),
        pytest.param(result(notes="x" * 20_000_000), False, id="an end longer than anything that is read"),
        pytest.param(result() + line("noise") * 60, False, id="an end too far from the end"),
        pytest.param(b"Traceback (most recent call last):\n", False, id="words only"),
    ],
)
async def test_where_there_is_no_result_nothing_is_said(log: bytes, *, blank: bool) -> None:
    found = await read(log)
    assert found.envelope is not None
    assert (found.envelope.finished, found.envelope.usage, found.blank) == (False, None, blank)


@pytest.mark.row("S3.7")
async def test_an_endless_log_is_read_twice_at_most_and_within_a_bound() -> None:
    kubelet: Any = Kubelet(b"x" * 30_000_000)
    await read_end(kubelet, ended(0), LogParser.STREAM_JSON)
    assert len(kubelet.reads) == 2
    assert sum(limit for _, limit in kubelet.reads) <= 9 * 2**20


async def test_a_log_without_an_end_is_read_once_if_its_lines_are_short() -> None:
    kubelet: Any = Kubelet(line("user", text="hello") * 1000)
    await read_end(kubelet, ended(0), LogParser.STREAM_JSON)
    assert len(kubelet.reads) == 1


@pytest.mark.row("S3.8")
@pytest.mark.parametrize(("log", "blank"), [(b"hello\n", False), (b"\n", True)], ids=["words", "none"])
async def test_without_a_parser_only_whether_there_are_words_is_known(log: bytes, *, blank: bool) -> None:
    assert await read(log, LogParser.NONE) == AgentLog(envelope=None, blank=blank, end=log.decode())


@pytest.mark.parametrize("parser", LogParser)
async def test_its_last_characters_are_handed_on_as_they_stand_there(parser: LogParser) -> None:
    found = await read(b"x" * 20_000 + b"\nthe end\n", parser)
    assert found.end is not None
    assert (len(found.end), found.end[-9:]) == (8192, "\nthe end\n")


@pytest.mark.row("S4.21")
@pytest.mark.parametrize(
    "error",
    [
        pytest.param(NotFound("gone", status=404), id="the pod is gone"),
        pytest.param(Invalid("container is waiting", status=400), id="the container never ran"),
        pytest.param(Unavailable("no route to host", status=500), id="the node is away"),
        pytest.param(Forbidden("pods/log", status=403), id="the operator may not read logs"),
        pytest.param(TimeoutError(), id="it takes too long"),
    ],
)
async def test_a_log_that_cannot_be_read_says_nothing_and_stops_nothing(error: KubeError | TimeoutError) -> None:
    kubelet: Any = Kubelet(error=error)
    assert await read_end(kubelet, ended(0), LogParser.STREAM_JSON) == AgentLog()
