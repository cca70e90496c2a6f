"""What stands between two attempts of a run whose task is tried again, or that goes on to another round. Pure.

It is read off the run alone: the last attempt says how it ended and when the one after it may begin.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from laneway.api.reasons import Outcome, Waiting
from laneway.api.runstatus import AgentRunStatus, Attempt
from laneway.controller.decision.effects import DeletePod
from laneway.controller.facts.objects import Run
from laneway.controller.facts.views import RunView
from laneway.rules import wording

TASK_FAILED = frozenset({Outcome.FAILED, Outcome.TIMED_OUT})
"""How an attempt ends whose agent did not do its work: it gave up, or it took too long."""


@dataclass(frozen=True)
class Pause:
    """A wait between two attempts."""

    reason: Waiting
    message: str
    until: datetime


def find_pause(run: Run, now: datetime) -> Pause | None:
    """What the run waits for before its next attempt; None if nothing follows its last one, or when that may begin."""
    planned = pause_after(run, now)
    return planned if planned and now < planned.until else None


def pause_after(run: Run, now: datetime) -> Pause | None:
    """The wait after the last attempt, over or not; None if it has none."""
    last = _last(run.status.attempts)
    if last is None or last.again_time is None:
        return None
    begins = wording.clock(last.again_time, now)
    if last.outcome is Outcome.SUCCEEDED:
        number = run.status.round or 1
        words = f"round {number} of at most {run.spec.rounds.max} is over; the next begins not before {begins}"
        return Pause(Waiting.WAITING_FOR_ROUND, words, last.again_time)
    number = (run.status.retries or 0) + 1
    tries = f"retry {number} of {run.spec.retry.max_retries}"
    words = f"attempt {last.id} failed ({last.message}); {tries} begins not before {begins}"
    return Pause(Waiting.WAITING_FOR_RETRY, words, last.again_time)


def is_planned(run: Run) -> bool:
    """Whether the time of the next attempt is that of a retry or a round, and no model is waited for."""
    last, planned = _last(run.status.attempts), run.status.next_attempt_time
    return last is not None and planned is not None and planned == last.again_time


def rested(run: Run, now: datetime) -> Run:
    """A failed task whose wait is over goes on where it is. After a round that went well the chain is looked at from its top."""
    last = _last(run.status.attempts)
    if last is None or last.outcome not in TASK_FAILED or not is_planned(run) or find_pause(run, now):
        return run
    return replace(run, status=run.status.model_copy(update={"next_attempt_time": None}))


def counted(run: Run) -> dict[str, object]:
    """The counters of a run that begins another attempt now: its rounds and its retries."""
    return _counters(run, _last(run.status.attempts), by=1)


def uncounted(run: Run) -> dict[str, object]:
    """The same once its latest attempt is taken back."""
    return _counters(run, _last(run.status.attempts[:-1]), by=-1)


def outlived(view: RunView) -> tuple[DeletePod, ...]:
    """Pods of attempts that status no longer lists: a run of many rounds keeps the logs of its last ones."""
    attempts = view.run.status.attempts
    oldest = attempts[0].id if attempts else 0
    return tuple(
        DeletePod(pod.namespace, pod.name, pod.uid)
        for pod in view.pods
        if pod.finished and not pod.deleting and pod.attempt < oldest
    )


def _counters(run: Run, before: Attempt | None, *, by: int) -> dict[str, object]:
    """``before``: the attempt before the one that is counted."""
    status: AgentRunStatus = run.status
    if before is None or before.outcome is Outcome.SUCCEEDED:
        several = run.spec.rounds.max > 1
        return {"round": ((status.round or 0) + by or None) if several else None}
    if before.outcome in TASK_FAILED:
        return {"retries": (status.retries or 0) + by or None}
    return {}


def _last(attempts: tuple[Attempt, ...]) -> Attempt | None:
    return attempts[-1] if attempts else None
