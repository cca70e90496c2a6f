"""The end of the log of a run that did not end well, kept when its pod is gone. Pure.

It stands in a ConfigMap of the run and not in its status: who may read runs need not be one who may read what agents write (decision 0034).
"""

from __future__ import annotations

import re

from laneway.agent.envelope import TAIL_LINES, without_keys
from laneway.api.gatewaystate import AttemptState
from laneway.api.reasons import Outcome
from laneway.controller.decision.effects import KeepLog
from laneway.controller.facts.objects import Run
from laneway.controller.facts.pods import PodFacts
from laneway.controller.facts.presets import LogParser
from laneway.controller.facts.views import RunView
from laneway.controller.pods.children import build_log
from laneway.rules.chain import TRANSIENT_CAUSES

LIMIT = 4096
"""Bytes that are kept."""
LOOKED_AT = 2 * LIMIT
"""Characters at the end of a log that are looked at."""

_WELL = frozenset({Outcome.SUCCEEDED, Outcome.LIMIT})
_PROMPT_LINE = 8
"""Characters that a line of a prompt must have to be told from other words."""
_UNSEEN = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")
"""Colours, and characters that move the cursor."""


def is_wanted(run: Run, pod: PodFacts, state: AttemptState | None, *, direct: bool) -> bool:
    """Whether the log of a pod is to be read for its last words: its agent failed, or is being stopped by us, and is judged in this pass.

    Of a pod that leaves for another reason nothing is read: its node may be dead, and each try would take its time.
    """
    if pod.started is None or not (direct or (state and state.closed)) or _goes_on(run, state):
        return False
    if pod.finished:
        return pod.agent is not None and pod.agent.exit_code != 0
    bitten = run.current is not None and run.current.stopped is not None
    ours = bitten or run.spec.cancel or run.spec.timeouts.attempt_seconds is not None
    return pod.deleting and pod.ready is not False and ours


def keep(view: RunView, outcome: Outcome) -> KeepLog | None:
    """What is kept of the log that was read, of a run whose last attempt ended like this."""
    text = words_of(view) if outcome not in _WELL else ""
    return KeepLog(build_log(view.run, text)) if text else None


def words_of(view: RunView) -> str:
    """What may be shown of the log that was read; empty if none was."""
    parser = view.preset.log_parser if view.preset else LogParser.NONE
    return tail_of(view.log_end or "", parser=parser, prompt=view.run.spec.prompt)


def tail_of(log: str, *, parser: LogParser, prompt: str | None = None) -> str:
    """The last lines of a log in at most 4096 bytes, without what looks like a key and without lines of an inline prompt; perhaps none.

    Of an envelope no line is kept: the conversation is in them, and what they say of the end is in the run's message.
    """
    lines = log[-LOOKED_AT:].split("\n")
    if len(log) >= LOOKED_AT or len(lines) > TAIL_LINES:
        lines[0] = ""  # it may be the end of another
    if parser is not LogParser.NONE:
        lines = [line for line in lines if not line.lstrip().startswith("{")]
    shown = [_UNSEEN.sub("", line) for line in _without(lines, prompt)]
    text = without_keys("\n".join(line for line in shown if line.strip()))
    return text.encode()[-LIMIT:].decode(errors="ignore").strip("\n")


def _goes_on(run: Run, state: AttemptState | None) -> bool:
    """Whether another attempt follows, as far as can be told: after trouble of a model that passes, or while the task may be tried again."""
    if run.spec.cancel:
        return False
    failure = state.failure if state else None
    if failure is not None and failure.cause in TRANSIENT_CAUSES:
        return True
    return (run.status.retries or 0) < run.spec.retry.max_retries


def _without(lines: list[str], prompt: str | None) -> list[str]:
    told = {line for each in (prompt or "").splitlines() if len(line := each.strip()) >= _PROMPT_LINE}
    return ["(prompt)" if any(part in line for part in told) else line for line in lines]
