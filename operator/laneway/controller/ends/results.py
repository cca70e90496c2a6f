"""What is kept of an agent's words when its pod is gone. Pure."""

from __future__ import annotations

from laneway.agent.envelope import summary_of
from laneway.api.runstatus import SUMMARY_LIMIT, Result
from laneway.controller.decision.effects import KeepLog
from laneway.controller.facts.views import RunView

_SURELY_WHOLE = SUMMARY_LIMIT - 4
"""Bytes of a text that nobody cut: the kubelet and careful agents cut at 4096, the latter at the end of a character."""


def result_of(view: RunView, *, has_words: bool, exit_code: int | None, log: KeepLog | None = None) -> Result:
    """The result of a run that has ended. Only a success, or an end at a limit, has a summary (``has_words``): the termination message, else the summary of the log's result (S0.21)."""
    pod, state, envelope = view.pod, view.gateway.state, view.envelope
    message = pod.agent.message if pod and pod.agent else ""
    words = message.strip() or summary_of((envelope.result_text if envelope else None) or "")
    whole = words.encode()
    summary = whole[:SUMMARY_LIMIT].decode(errors="ignore")
    is_cut = max(len(whole), len(message.encode())) > _SURELY_WHOLE
    told = envelope.finish_reason if envelope and view.direct else state.finish_reason if state else None
    return Result(
        summary=summary or None if has_words else None,
        truncated=True if has_words and is_cut else None,
        exit_code=exit_code,
        finish_reason=told,
        log_config_map=log.manifest["metadata"]["name"] if log else None,
    )


def with_earlier_words(result: Result, before: Result | None) -> Result:
    """The result of a run of several rounds: without a summary of its last attempt that of the round before."""
    if result.summary is not None or before is None:
        return result
    return result.model_copy(update={"summary": before.summary, "truncated": before.truncated})
