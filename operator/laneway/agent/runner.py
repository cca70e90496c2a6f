"""``laneway agent``: one prompt in, one call, the stream-json envelope out (S0.11 to S0.24)."""

from __future__ import annotations

import json
import re
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from laneway.agent import envelope
from laneway.agent.output import LineWriter, Terminated, redact, write_termination_log

if TYPE_CHECKING:
    from laneway.agent.chat import Answer, Call
    from laneway.agent.envelope import Usage
    from laneway.agent.llm import LLMError
    from laneway.settings import AgentSettings

SUCCESS, FAILED, BAD_SETTINGS, TERMINATED = 0, 1, 2, 143
_PLAIN_WORD = re.compile(r"[\w.-]{1,64}", re.ASCII)


@dataclass(frozen=True)
class Ending:
    """How the work ended, in the words of the result line and of the termination log."""

    exit_code: int
    text: str
    """For the result line."""
    note: str
    """For the termination log."""
    status: int | None = None
    answered: bool = False
    usage: Usage | None = None


@dataclass
class Said:
    """The pieces of a streamed answer so far: what is left when it breaks."""

    writer: LineWriter
    pieces: list[str] = field(default_factory=list)
    consolidated: bool = False

    def delta(self, text: str) -> None:
        """Write one piece."""
        self.pieces.append(text)
        self.writer.write(envelope.delta_line(text))

    def whole(self, answer: Answer) -> None:
        """Write the one block that holds the whole answer."""
        self.consolidated = True
        self.writer.write(
            envelope.assistant_line(
                text=answer.text,
                message_id=answer.message_id,
                model=answer.model,
                finish_reason=answer.finish_reason,
                usage=answer.usage,
            )
        )

    def remains(self) -> None:
        """Write the block of an answer that broke, if any of it came."""
        if self.pieces and not self.consolidated:
            text = "".join(self.pieces)
            line = envelope.assistant_line(text=text, message_id=None, model=None, finish_reason=None, usage=None)
            self.writer.write(line)


def run(settings: AgentSettings) -> int:
    """Do the work and answer the exit code: 0 done, 1 the model failed, 2 wrong settings, 143 stopped by SIGTERM."""
    started = time.monotonic()
    writer = LineWriter(sys.stdout)
    said = Said(writer)
    try:
        with writer.stopped_by_sigterm():
            ending = _work(settings, said)
    except Terminated:
        note = "stopped by SIGTERM before the work was done"
        ending = Ending(TERMINATED, note, note)
    _leave(settings, said, ending, milliseconds=round((time.monotonic() - started) * 1000))
    return ending.exit_code


def _work(settings: AgentSettings, said: Said) -> Ending:
    # Imported here, where SIGTERM is already heard: httpx takes most of the agent's start.
    from laneway.agent.llm import LLMClient, LLMError
    from laneway.agent.task import read_task
    from laneway.rules.retry import NO_RETRIES, RetryPolicy
    from laneway.settings import SettingsError

    try:
        call = read_task(settings)
    except SettingsError as error:
        return Ending(BAD_SETTINGS, str(error), str(error))
    try:
        policy = NO_RETRIES if settings.behind_gateway else RetryPolicy()
        with LLMClient(base_url=settings.base_url, api_key=settings.api_key, policy=policy) as client:
            answer = client.complete(call, on_delta=said.delta)
    except LLMError as error:
        words = redact(error.said, prompt=call.prompt, api_key=settings.api_key)
        text = f"{error.sentence}: {words}" if words else error.sentence
        return Ending(FAILED, text, _note(error), status=error.status)
    said.whole(answer)
    return _judge(call, answer)


def _judge(call: Call, answer: Answer) -> Ending:
    """An answer is a success, except one that should be JSON and is not: it is not repaired (S0.15)."""
    if call.response_format == "json_object" and not _is_object(answer.text):
        note = "the model was asked for a JSON object and answered something else"
        return Ending(FAILED, note, f"TaskFailure: {note}", answered=True, usage=answer.usage)
    return Ending(SUCCESS, answer.text, envelope.summary_of(answer.text), answered=True, usage=answer.usage)


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _note(error: LLMError) -> str:
    """Class and status, and nothing that a server may have copied from the prompt."""
    kind = error.error_type if error.error_type and _PLAIN_WORD.fullmatch(error.error_type) else type(error).__name__
    status = "without a status" if error.status is None else f"with status {error.status}"
    return f"{error.cause}: the model call failed {status} ({kind})"


def _leave(settings: AgentSettings, said: Said, ending: Ending, *, milliseconds: int) -> None:
    """Write what is written at every end; SIGTERM is no longer heard."""
    said.remains()
    said.writer.write(
        envelope.result_line(
            text=ending.text,
            is_error=ending.exit_code != SUCCESS,
            api_error_status=ending.status,
            duration_milliseconds=milliseconds,
            num_turns=int(ending.answered),
            usage=ending.usage,
        )
    )
    write_termination_log(settings.termination_log, ending.note)
    if ending.exit_code != SUCCESS:
        sys.stderr.write(f"laneway agent: {ending.note}\n")
