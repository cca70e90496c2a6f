"""Success without a deed: an agent that exits with 0 and neither called a model nor said a word. Pure.

It is said only where it was seen. What nobody looked at, or could not read, is unknown and no reproach.
"""

from __future__ import annotations

from laneway.controller.facts.pods import PodFacts
from laneway.controller.facts.views import RunView
from laneway.controller.logs.result import was_served

WORDS = "it made no model call and left no output"


def did_nothing(view: RunView, pod: PodFacts) -> bool:
    """Whether the agent of a pod that has ended is known to have made no call that was answered, and to have left no word."""
    return _called(view) is False and _said_something(view, pod) is False


def _called(view: RunView) -> bool | None:
    if not view.direct:
        state = view.gateway.state
        return was_served(state) if state is not None and state.closed else None
    envelope = view.envelope
    if envelope is None:
        return None
    if view.log_blank:
        return False
    told = [envelope.num_turns, envelope.usage.output_tokens if envelope.usage else None]
    known = [count for count in told if count is not None]
    return any(known) if known else None


def _said_something(view: RunView, pod: PodFacts) -> bool | None:
    if pod.agent and pod.agent.message.strip():
        return True
    if view.log_blank is None:
        return None
    if view.envelope is None or not view.envelope.finished:
        return not view.log_blank
    return bool((view.envelope.result_text or "").strip())
