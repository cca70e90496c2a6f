"""After an attempt that ended by the agent's own doing: another round, another try, or the end of the run. Pure.

All of it is decided in the pass that judges the attempt, and written at once with the attempt's end. Trouble of a model is no failure of the
task: see ``aftermath``.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime, timedelta

from laneway.api.limits import OnReached
from laneway.api.reasons import EventReason, Outcome, Phase, Waiting
from laneway.controller.between import waiting
from laneway.controller.decision import status
from laneway.controller.decision.decision import RunDecision
from laneway.controller.decision.effects import PostEvent
from laneway.controller.ends import endings, repeats
from laneway.controller.ends.endings import Closed, Verdict
from laneway.controller.ends.repeats import Pause
from laneway.controller.ends.results import result_of, with_earlier_words
from laneway.controller.facts.views import RunView
from laneway.controller.limits import limitends
from laneway.rules.backoff import retry_delay
from laneway.rules.cooldown import ceil_second

REASON_LIMIT = 200
"""Characters of what an agent says about being done (S3.31)."""
_EVENTS = {Waiting.WAITING_FOR_RETRY: EventReason.RETRY_PLANNED, Waiting.WAITING_FOR_ROUND: EventReason.ROUND_ENDED}
_DONE = re.compile(r"^laneway: done(?:[ \t]+(.*?))?\s*$", re.MULTILINE)


def follow(view: RunView, now: datetime, verdict: Verdict) -> RunDecision:
    """What follows a verdict that is not about a model."""
    if verdict.outcome is Outcome.SUCCEEDED and view.run.spec.rounds.max > 1:
        return _after_round(view, now, verdict)
    if verdict.outcome in repeats.TASK_FAILED:
        return _after_failure(view, now, verdict)
    return endings.end_attempt(view, now, verdict)


def said_done(view: RunView) -> str | None:
    """Why the agent says that nothing is left to do, at most 200 characters, perhaps none; None: it does not say so.

    The line stands in the termination message of this very pod, or without one in the result of its log. What an earlier attempt said is gone.
    """
    pod, envelope = view.pod, view.envelope
    message = pod.agent.message if pod and pod.agent else ""
    found = _DONE.search(message if message.strip() else (envelope.result_text if envelope else None) or "")
    return " ".join((found[1] or "").split())[:REASON_LIMIT] if found else None


def _after_round(view: RunView, now: datetime, verdict: Verdict) -> RunDecision:
    run = view.run
    number, most, why = run.status.round or 1, run.spec.rounds.max, said_done(view)
    if why is not None:
        message = f"{verdict.message}, and said in round {number} that it is done{f': {why}' if why else ''}"
        return endings.end_run(view, now, replace(verdict, message=message))
    if number >= most:
        message = f"{verdict.message}; that was the last of {most} rounds"
        return endings.end_run(view, now, replace(verdict, message=message))
    closed = endings.close_books(view, now, verdict)
    delay = timedelta(seconds=run.spec.rounds.delay_seconds)
    decision = _again(view, now, verdict, closed, delay)
    said = result_of(view, has_words=True, exit_code=verdict.exit_code)
    kept = with_earlier_words(said, run.status.result)
    return replace(decision, status=decision.status.model_copy(update={"result": kept}))


def _after_failure(view: RunView, now: datetime, verdict: Verdict) -> RunDecision:
    run = view.run
    tried, attempt = run.status.retries or 0, run.status.attempt or 0
    closed = endings.close_books(view, now, verdict)
    if tried >= run.spec.retry.max_retries or _is_spent(view, closed):
        times = f"; the task was tried {tried + 1} times" if tried else ""
        return endings.end_run(view, now, replace(verdict, message=f"{verdict.message}{times}"))
    return _again(view, now, verdict, closed, retry_delay(tried, run.meta.uid, attempt))


def _is_spent(view: RunView, closed: Closed) -> bool:
    """Whether a limit leaves nothing for another try. A task that failed has failed then, and is not done by its limit."""
    run = view.run
    after = replace(run, status=run.status.model_copy(update=closed.update))
    return after.limit_reached is not None and run.spec.limits.on_reached is not OnReached.PAUSE


def _again(view: RunView, now: datetime, verdict: Verdict, closed: Closed, delay: timedelta) -> RunDecision:
    """The attempt closed, and the run as it waits for the next one: for its time, or for what comes before that."""
    last = closed.attempts[-1]
    begins = ceil_second(min(last.end_time or now, now) + delay)
    attempts = (*closed.attempts[:-1], last.model_copy(update={"again_time": begins}))
    update = {**closed.update, "attempts": attempts, "next_attempt_time": begins}
    after = replace(view.run, status=view.run.status.model_copy(update=update))
    pause = repeats.pause_after(after, now)
    if pause is None:
        raise ValueError("an attempt that another one follows says when")
    decision = _waits(replace(view, run=after, place=None), pause, now)
    told = endings.told(view, last.id, verdict)
    if decision.status.completion_time is None:
        told = (*told, PostEvent(_EVENTS[pause.reason], pause.message, key=f"again-{last.id}"))
    return replace(decision, effects=(*told, *decision.effects))


def _waits(view: RunView, pause: Pause, now: datetime) -> RunDecision:
    """What a run without a slot does next; it gives its own up in the same write."""
    said = status.waiting_conditions(pause.reason, pause.message)
    run = view.run
    given_up = status.with_conditions(run, run.status, said, phase=Phase.PENDING, reason=pause.reason, now=now)
    view = replace(view, run=replace(run, status=given_up))
    return waiting.cancelled(view, now) or limitends.stop_waiting(view, now) or waiting.waits(view, now)
