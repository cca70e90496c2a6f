"""The built-in agent as its pod starts it: a real process, a real server, its log, its termination log, its exit code."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from laneway.agent import envelope
from laneway.agent.envelope import EnvelopeSummary, Usage
from modelserver import ModelServer, Step, shapes

WORDS = "The capital of France is Paris."
PROMPT = "Tell me, please: what is the capital of France?"


@dataclass
class Ended:
    """What a pod leaves."""

    code: int
    log: str
    errors: str
    note: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.splitlines()]

    @property
    def kinds(self) -> list[str]:
        return [line["type"] for line in self.lines]

    @property
    def summary(self) -> EnvelopeSummary:
        return envelope.parse(self.log)


@dataclass
class Pod:
    """A folder with a prompt and a termination log, and the variables that a pod has."""

    folder: Path
    variables: dict[str, str]

    @property
    def note_file(self) -> Path:
        return self.folder / "termination-log"

    async def start(self, **changes: str | None) -> asyncio.subprocess.Process:
        variables = {**self.variables, **changes}
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "laneway", "agent"),
            env={name: value for name, value in variables.items() if value is not None},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def end(self, process: asyncio.subprocess.Process) -> Ended:
        out, err = await asyncio.wait_for(process.communicate(), 30)
        note = self.note_file.read_text() if self.note_file.exists() else ""
        return Ended(process.returncode or 0, out.decode("ascii"), err.decode(), note)

    async def run(self, **changes: str | None) -> Ended:
        return await self.end(await self.start(**changes))


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with ModelServer() as started:
        yield started


@pytest.fixture
def pod(tmp_path: Path, server: ModelServer) -> Pod:
    (tmp_path / "prompt").write_text(PROMPT)
    (tmp_path / "termination-log").touch()
    variables = {
        "PATH": os.environ["PATH"],
        "LANEWAY_PROMPT_FILE": str(tmp_path / "prompt"),
        "LANEWAY_TERMINATION_LOG": str(tmp_path / "termination-log"),
        "LANEWAY_MODEL": "m1",
        "OPENAI_BASE_URL": f"{server.url}/v1",
    }
    return Pod(tmp_path, variables)


def chunks(*events: object) -> Step:
    return Step(body=[f"data: {json.dumps(event)}\n\n" for event in events])


@pytest.mark.row("S0.19", "S0.20", "S0.23")
async def test_a_streamed_answer_ends_as_deltas_one_block_and_a_result(pod: Pod, server: ModelServer) -> None:
    ended = await pod.run()
    assert (ended.code, ended.errors, ended.note) == (0, "", WORDS)
    assert ended.kinds == ["stream_event"] * 7 + ["assistant", "result"]
    assert ended.lines[-2]["message"]["content"] == [{"type": "text", "text": WORDS}]
    assert (ended.lines[-1]["is_error"], ended.lines[-1]["total_cost_usd"]) == (False, None)
    assert (ended.summary.model, ended.summary.num_turns, ended.summary.finish_reason) == ("m1", 1, "stop")
    assert (ended.summary.usage, ended.summary.usage_is_total) == (Usage(12, 7), True)
    assert server.requests[0].body["messages"] == [{"role": "user", "content": PROMPT}]


@pytest.mark.row("S0.14", "S0.19")
async def test_parameters_of_the_run_reach_the_server(pod: Pod, server: ModelServer) -> None:
    parameters = {"temperature": "0.25", "maxTokens": 9, "responseFormat": "text", "stream": False}
    ended = await pod.run(LANEWAY_PARAMETERS=json.dumps(parameters))
    assert (ended.code, ended.kinds, ended.note) == (0, ["assistant", "result"], WORDS)
    body = server.requests[0].body
    assert (body["temperature"], body["max_tokens"], body["response_format"]) == (0.25, 9, {"type": "text"})
    assert "stream" not in body


@pytest.mark.row("S0.12")
async def test_the_key_goes_to_the_server_and_nowhere_else(pod: Pod, server: ModelServer) -> None:
    server.play([Step(status=401, body={"error": {"message": "Incorrect API key provided: topsecret1."}})])
    ended = await pod.run(OPENAI_API_KEY="topsecret1")
    assert server.requests[0].authorization == "Bearer topsecret1"
    assert "topsecret1" not in ended.log + ended.errors + ended.note
    assert ended.summary.raw_error == "the model server answered 401: Incorrect API key provided: (key)."


@pytest.mark.row("S0.21")
async def test_the_termination_log_holds_the_summary_section(pod: Pod, server: ModelServer) -> None:
    server.play([Step(pieces=("Long work.\n", "## Summary\n", "It is Paris.\n"))])
    ended = await pod.run()
    assert ended.note == "It is Paris."
    assert ended.summary.result_text == "Long work.\n## Summary\nIt is Paris.\n"


@pytest.mark.row("S0.21")
@pytest.mark.parametrize(
    ("piece", "left"),
    [
        pytest.param("é" * 3000, "é" * 2048, id="a long summary is cut at 4096 bytes"),
        pytest.param("x" + "🛣" * 2000, "x" + "🛣" * 1023, id="never inside a character"),
        pytest.param("half \ud83d", "half \ufffd", id="half a pair is replaced"),
    ],
)
async def test_the_summary_fits_into_the_termination_log(pod: Pod, server: ModelServer, piece: str, left: str) -> None:
    server.play([Step(pieces=(piece,))])
    ended = await pod.run()
    assert (ended.code, ended.note) == (0, left)


@pytest.mark.row("S0.21")
async def test_a_character_that_comes_in_two_pieces_is_put_together(pod: Pod, server: ModelServer) -> None:
    server.play([Step(pieces=("\ud83d", "\ude00"))])
    assert (await pod.run()).note == "😀"


@pytest.mark.row("S0.15")
@pytest.mark.parametrize(
    ("piece", "code"),
    [
        pytest.param('{"a": 1}', 0, id="an object is what was asked for"),
        pytest.param('```json\n{"a": 1}\n```', 1, id="a fenced object is not, and is not repaired"),
        pytest.param("[1]", 1, id="a list is not"),
    ],
)
async def test_json_mode_is_judged_and_its_usage_kept(pod: Pod, server: ModelServer, piece: str, code: int) -> None:
    server.play([Step(pieces=(piece,))])
    ended = await pod.run(LANEWAY_PARAMETERS='{"responseFormat": "json_object"}')
    assert (ended.code, ended.summary.is_error, ended.summary.usage) == (code, code == 1, Usage(12, 7))
    assert server.requests[0].body["response_format"] == {"type": "json_object"}
    assert ("TaskFailure: " in ended.note) == (code == 1)


@pytest.mark.row("S0.20", "S0.10")
@pytest.mark.parametrize(
    ("step", "status", "note"),
    [
        pytest.param(
            Step(status=429, headers={"Retry-After": "45"}),
            429,
            "RateLimitModel: the model call failed with status 429 (rate_limit_error)",
            id="429",
        ),
        pytest.param(
            Step(status=503, repeat=3), 503, "APITransient: the model call failed with status 503 (api_error)", id="503"
        ),
        pytest.param(
            Step(status=401, body=""), 401, "AuthFailed: the model call failed with status 401 (Refused)", id="401"
        ),
        pytest.param(
            Step(body=["data: x\n\n"]),
            None,
            "APITransient: the model call failed without a status (AnswerBroken)",
            id="nonsense",
        ),
    ],
)
async def test_a_model_error_ends_with_class_and_status(
    pod: Pod, server: ModelServer, step: Step, status: int | None, note: str
) -> None:
    server.play([step])
    ended = await pod.run()
    assert (ended.code, ended.note, ended.errors) == (1, note, f"laneway agent: {note}\n")
    assert (ended.summary.is_error, ended.summary.api_error_status, ended.summary.usage) == (True, status, None)
    assert (ended.summary.num_turns, ended.summary.model) == (0, None)


@pytest.mark.row("S0.10")
async def test_the_retry_after_header_stands_in_the_result_line(pod: Pod, server: ModelServer) -> None:
    server.play([Step(status=429, headers={"Retry-After": "45"}, body="")])
    assert "Retry-After: 45" in (await pod.run()).lines[-1]["result"]


@pytest.mark.row("S0.19")
async def test_what_came_before_a_break_is_kept(pod: Pod, server: ModelServer) -> None:
    server.play([Step(cut_after_chunks=4)])
    ended = await pod.run()
    assert (ended.code, ended.kinds) == (1, ["stream_event"] * 3 + ["assistant", "result"])
    assert ended.lines[-2]["message"]["content"] == [{"type": "text", "text": "The capital of"}]
    assert ended.summary.usage is None


@pytest.mark.row("B19")
@pytest.mark.parametrize(
    "step",
    [
        pytest.param(Step(status=400, body={"error": {"message": f"bad input {PROMPT!r}"}}), id="whole"),
        pytest.param(Step(status=400, body=f"input: {PROMPT[5:30]}..."), id="in part"),
        pytest.param(chunks({"error": {"message": PROMPT, "type": PROMPT}}), id="in a stream, as its type"),
    ],
)
async def test_a_server_that_repeats_the_prompt_is_not_quoted(pod: Pod, server: ModelServer, step: Step) -> None:
    server.play([step])
    ended = await pod.run()
    assert ended.code == 1
    assert PROMPT[8:24] not in ended.log + ended.errors + ended.note


@pytest.mark.row("S0.22")
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"LANEWAY_PROMPT_FILE": "/nowhere/prompt"}, "cannot be read", id="no prompt file"),
        pytest.param({"LANEWAY_PARAMETERS": "{"}, "must be JSON", id="parameters that are no JSON"),
        pytest.param({"LANEWAY_PARAMETERS": "[]"}, "a JSON object", id="parameters that are no object"),
        pytest.param({"LANEWAY_PARAMETERS": '{"topP": "1"}'}, "not topP", id="a parameter that nobody honours"),
        pytest.param({"LANEWAY_PARAMETERS": '{"temperature": 1}'}, "temperature must", id="a temperature in no string"),
        pytest.param({"LANEWAY_PARAMETERS": '{"temperature": "9"}'}, "temperature must", id="a temperature too high"),
        pytest.param({"LANEWAY_PARAMETERS": '{"maxTokens": 0}'}, "maxTokens must", id="an answer of no tokens"),
        pytest.param({"LANEWAY_PARAMETERS": '{"maxTokens": true}'}, "maxTokens must", id="a count that is no number"),
        pytest.param({"LANEWAY_PARAMETERS": '{"stream": "yes"}'}, "stream must", id="a switch that is a word"),
        pytest.param({"LANEWAY_PARAMETERS": '{"responseFormat": "xml"}'}, "responseFormat must", id="another format"),
        pytest.param({"OPENAI_BASE_URL": "ftp://host/v1"}, "OPENAI_BASE_URL must", id="a URL of another kind"),
        pytest.param({"OPENAI_BASE_URL": "http://host:port/v1"}, "OPENAI_BASE_URL must", id="a URL with a wrong port"),
        pytest.param({"OPENAI_API_KEY": "schlüssel"}, "OPENAI_API_KEY must", id="a key that no header can hold"),
    ],
)
async def test_wrong_settings_end_with_2_and_a_sentence(pod: Pod, changes: dict[str, str], words: str) -> None:
    ended = await pod.run(**changes)
    assert (ended.code, ended.kinds, ended.summary.is_error) == (2, ["result"], True)
    assert words in ended.note
    assert words in ended.errors
    assert changes.get("OPENAI_API_KEY", "schlüssel") not in ended.log + ended.errors + ended.note


@pytest.mark.row("S1.13")
@pytest.mark.parametrize(
    ("gateway", "requests"),
    [
        pytest.param("http://gateway:8080", 1, id="behind the gateway the lane tries again, not the agent"),
        pytest.param(None, 3, id="on a Direct lane the agent does it itself"),
    ],
)
async def test_who_tries_again(pod: Pod, server: ModelServer, gateway: str | None, requests: int) -> None:
    server.play([Step(status=503), Step(status=503), Step(status=503)])
    ended = await pod.run(LANEWAY_GATEWAY_URL=gateway)
    assert ended.code == 1
    assert len(server.requests) == requests


@pytest.mark.row("S0.22")
@pytest.mark.parametrize("name", ["OPENAI_BASE_URL", "LANEWAY_MODEL", "LANEWAY_PROMPT_FILE"])
async def test_a_variable_that_must_be_set_is_named(pod: Pod, name: str) -> None:
    ended = await pod.run(**{name: None})
    assert (ended.code, ended.errors) == (2, f"laneway agent: {name} must be set\n")


@pytest.mark.row("S0.22")
@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(b" \n", "must not be empty", id="nothing but space"),
        pytest.param(b"\xff\xfe", "must be UTF-8", id="another encoding"),
    ],
)
async def test_a_prompt_that_cannot_be_asked_is_refused(
    pod: Pod, server: ModelServer, content: bytes, words: str
) -> None:
    (pod.folder / "prompt").write_bytes(content)
    ended = await pod.run()
    assert (ended.code, server.requests) == (2, [])
    assert words in ended.note


async def test_a_missing_termination_log_is_said_and_not_made(pod: Pod) -> None:
    pod.note_file.unlink()
    ended = await pod.run()
    assert (ended.code, pod.note_file.exists()) == (0, False)
    assert "no termination log" in ended.errors


@pytest.mark.parametrize(
    ("step", "kinds"),
    [
        pytest.param(
            Step(chunk_delay_seconds=0.05, pieces=("on ",) * 1000),
            ["stream_event", "assistant", "result"],
            id="in a stream",
        ),
        pytest.param(Step(delay_seconds=60), ["result"], id="before an answer"),
        pytest.param(Step(status=503, headers={"Retry-After": "5"}), ["result"], id="in a wait between two tries"),
    ],
)
async def test_sigterm_ends_the_agent_within_a_second(
    pod: Pod, server: ModelServer, step: Step, kinds: list[str]
) -> None:
    server.play([step])
    process = await pod.start()
    assert process.stdout is not None
    head = b""
    async with asyncio.timeout(20):
        while not server.requests or (step.status == 503 and server.requests[0].outcome == "open"):
            await asyncio.sleep(0.01)
        if "stream_event" in kinds:
            head = await process.stdout.readline()
    before = time.monotonic()
    process.terminate()
    ended = await pod.end(process)
    assert time.monotonic() - before < 1
    ended.log = head.decode() + ended.log
    assert (ended.code, sorted(set(ended.kinds), key=ended.kinds.index)) == (143, kinds)
    assert (ended.summary.is_error, "SIGTERM" in ended.note, len(server.requests)) == (True, True, 1)


@pytest.mark.row("S0.19")
async def test_sigterm_never_cuts_a_line(pod: Pod, server: ModelServer) -> None:
    """The reader is slow and the lines are longer than a pipe, so the signal comes in the middle of one."""
    server.play([Step(pieces=("x" * 300_000,))])
    process = await pod.start()
    async with asyncio.timeout(20):
        while not server.requests or server.requests[0].outcome == "open":
            await asyncio.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    ended = await pod.end(process)
    assert ended.code == 143
    assert ended.lines[-1]["type"] == "result"


def test_the_words_of_the_server_are_those_of_the_fixture() -> None:
    assert shapes.TEXT == WORDS
