"""What an attempt that failed hints at with its last words: a refused key, or a network that broke. Pure.

These are Events for people and nothing else (decision 0034). They are read where nothing better is known: of an attempt that failed at its
task, as far as anybody can tell. A model call that failed is known by its structure, and an attempt that went well is not looked at (S3.38).
"""

from __future__ import annotations

from collections.abc import Iterator

from laneway.api.reasons import Cause, EventReason, Outcome
from laneway.controller.decision.effects import EventType, PostEvent
from laneway.controller.ends.repeats import TASK_FAILED
from laneway.controller.facts.views import RunView
from laneway.controller.logs import tail
from laneway.rules.classify import ErrorInfo, classify
from laneway.rules.words import find_network_trouble, find_wrong_key

_LINES = 5
"""Lines at the end of a log that are an agent's last words."""


def hints(view: RunView, number: int, *, outcome: Outcome, cause: Cause | None) -> Iterator[PostEvent]:
    """At most one Event of each kind for attempt ``number``. They name the words by our own list: the agent's may repeat a prompt."""
    if outcome not in TASK_FAILED or cause is not Cause.TASK_FAILURE:
        return
    words = _last_words(view)
    if told := _refusal(view) or find_wrong_key(words):
        message = f"attempt {number} failed, and what it left speaks of a refused key ({told})"
        yield PostEvent(EventReason.AUTH_SUSPECTED, message, key=f"auth-{number}", type=EventType.WARNING)
    if told := find_network_trouble(words):
        message = f"attempt {number} failed, and what it left speaks of network trouble ({told})"
        yield PostEvent(EventReason.NETWORK_BLIP, message, key=f"network-{number}", type=EventType.WARNING)


def _refusal(view: RunView) -> str | None:
    """The refusal of the run's own key on a Direct lane, which its log tells by status or error type."""
    envelope = view.envelope
    if not view.direct or envelope is None or not envelope.is_error:
        return None
    cause = classify(envelope.api_error_status, ErrorInfo(type=envelope.error_type or ""))
    return str(envelope.api_error_status or envelope.error_type) if cause is Cause.AUTH_FAILED else None


def _last_words(view: RunView) -> str:
    """The termination message, and the error that the log ends with; on a Direct lane, without both, the last lines of the log."""
    message = view.pod.agent.message if view.pod and view.pod.agent else ""
    envelope = view.envelope
    error = envelope.raw_error if envelope and envelope.is_error is not False else None
    said = f"{message}\n{error or ''}".strip()
    if said or not view.direct or (envelope and envelope.finished):
        return said
    return "\n".join(tail.words_of(view).split("\n")[-_LINES:])
