"""Why a run is where it is, in one paragraph: what it waits for or does, since when, until when, and what a person can do. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from laneway.api.agentrun import AgentRunSpec
from laneway.api.base import Condition
from laneway.api.modellane import ModelLane
from laneway.api.reasons import End, RunCondition, Waiting
from laneway.api.runstatus import AgentRunStatus, Attempt
from laneway.cli.advice import ENDS, WAITS
from laneway.cli.tables import age
from laneway.rules.keeper import kept_because
from laneway.rules.wording import clock, step_name

_HOLDERS_SHOWN = 5
_UNKNOWN = "See its Events: kubectl describe agentrun {run}{n}"


@dataclass(frozen=True)
class Holder:
    """A run that holds a slot."""

    namespace: str
    name: str
    since: datetime | None


@dataclass(frozen=True)
class Asked:
    """A run, and all that is known around it, at the moment of the question."""

    namespace: str
    name: str
    created: datetime
    generation: int
    deleting: bool
    spec: AgentRunSpec
    status: AgentRunStatus
    now: datetime
    keeper: str = ""
    """The tool that brings it again when it is gone; empty: none does."""
    lane: ModelLane | None = None
    """The lane of its step; None if it is not there, or may not be read."""
    holders: tuple[Holder, ...] | None = None
    """Who holds the slots of that lane; None if that was not asked, or may not be."""

    def condition(self, kind: RunCondition) -> Condition | None:
        """A condition of the run."""
        return next((one for one in self.status.conditions if one.type == kind), None)

    @property
    def lane_key(self) -> tuple[str, str]:
        """Namespace and name of the lane that it is on, before its first visit of the first that it names."""
        step = self.status.step or self.spec.models[0]
        return step.namespace or self.namespace, step.lane

    @property
    def latest(self) -> Attempt | None:
        """Its latest attempt."""
        return self.status.attempts[-1] if self.status.attempts else None

    @property
    def waits_for_slot(self) -> bool:
        """Whether only a slot is missing."""
        admitted = self.condition(RunCondition.ADMITTED)
        return admitted is not None and admitted.reason == Waiting.WAITING_FOR_SLOT


def explain(asked: Asked) -> str:
    """The paragraph."""
    finished, admitted = asked.condition(RunCondition.FINISHED), asked.condition(RunCondition.ADMITTED)
    if admitted is None or finished is None:
        sentences = _unseen(asked)
    elif finished.status == "True":
        sentences = _ended(asked, finished)
    elif admitted.status == "True":
        sentences = _works(asked)
    else:
        sentences = _waits(asked, admitted)
    return " ".join(sentence for sentence in [*sentences, *_around(asked)] if sentence)


def _unseen(asked: Asked) -> list[str]:
    return [
        f"{asked.name} was created {_ago(asked.created, asked.now)}, and the operator has not looked at it yet.",
        "That takes a second; if it lasts, see whether the operator runs and serves this namespace.",
    ]


def _waits(asked: Asked, admitted: Condition) -> list[str]:
    reason = next((known for known in Waiting if known == admitted.reason), None)
    wait = WAITS[reason] if reason else None
    what = wait.what if wait else f"waits ({admitted.reason})"
    return [
        _sentence(f"{asked.name} {what}", admitted.message),
        _since(asked, reason, admitted),
        _until(asked, reason),
        _held_by(asked) if reason is Waiting.WAITING_FOR_SLOT else "",
        _filled(wait.todo if wait else _UNKNOWN, asked),
    ]


def _since(asked: Asked, reason: Waiting | None, admitted: Condition) -> str:
    """Of some reasons the status knows when they began; of all others, since when the run has had no slot."""
    status, now = asked.status, asked.now
    moment: datetime | None = None
    if reason is Waiting.WAITING_FOR_SLOT and status.queue:
        moment = status.queue.since
    elif reason in {Waiting.BACKING_OFF, Waiting.ALL_MODELS_COOLING} and status.backoff:
        moment = status.backoff.since_time
    elif reason is Waiting.LIMIT_PAUSED and status.limit_reached:
        moment = status.limit_reached.time
    elif reason in {Waiting.WAITING_FOR_RETRY, Waiting.WAITING_FOR_ROUND} and asked.latest:
        moment = asked.latest.end_time
    if moment is not None:
        return f"It has waited since {_then(moment, now)}."
    return f"It has had no slot since {_then(admitted.last_transition_time, now)}."


def _until(asked: Asked, reason: Waiting | None) -> str:
    """When it goes on by itself, or gives up."""
    status, now, latest = asked.status, asked.now, asked.latest
    moment = status.next_attempt_time
    if reason is Waiting.NOT_BEFORE:
        moment = asked.spec.not_before_time
    elif reason in {Waiting.WAITING_FOR_RETRY, Waiting.WAITING_FOR_ROUND} and latest:
        moment = latest.again_time
    elif reason is Waiting.SPEND_REACHED:
        moment = _period_end(asked)
    seconds = asked.spec.timeouts.queue_seconds
    if reason is Waiting.WAITING_FOR_SLOT and seconds and status.queue:
        end = status.queue.since + timedelta(seconds=seconds)
        return f"Without a slot by {clock(end, now)} it ends as QueueTimeout."
    if moment is None or reason is Waiting.WAITING_FOR_SLOT:
        return ""
    if moment <= now:
        return "Its time has come; it goes on as soon as the operator looks at it."
    return f"It looks again at {clock(moment, now)}, in {age(moment - now)}."


def _period_end(asked: Asked) -> datetime | None:
    spent = asked.lane.status.spend if asked.lane and asked.lane.status else ()
    ends = [one.period_end_time for one in spent if one.namespace == asked.namespace and one.reached]
    return max(ends, default=None)


def _held_by(asked: Asked) -> str:
    """Who has the slots that it waits for; by namespace where the runs may not be read."""
    if asked.holders:
        held = [f"{one.namespace}/{one.name}{_from(one.since, asked.now)}" for one in asked.holders]
        shown, more = held[:_HOLDERS_SHOWN], len(held) - _HOLDERS_SHOWN
        return f"Slots are held by {', '.join(shown)}{f' and {more} more' if more > 0 else ''}."
    callers = asked.lane.status.callers if asked.lane and asked.lane.status else ()
    busy = [
        f"{one.namespace}{f' for {one.caller}' if one.caller else ''} ({one.active})" for one in callers if one.active
    ]
    return f"Slots are held by {', '.join(busy)}." if busy else ""


def _works(asked: Asked) -> list[str]:
    reconciling, latest, now = asked.condition(RunCondition.RECONCILING), asked.latest, asked.now
    reason = reconciling.reason if reconciling else "Running"
    message = reconciling.message if reconciling else ""
    if latest is None or latest.start_time is None:
        since = _then(latest.admitted_time, now) if latest and latest.admitted_time else ""
        return [
            _sentence(f"{asked.name} has a slot on {_step(asked)} and its agent does not run yet ({reason})", message),
            f"It has the slot since {since}." if since else "",
            f"Without a start within {asked.spec.timeouts.start_seconds} s of its pod's creation it ends.",
            _filled("What keeps it: kubectl describe pod {pod}{n}", asked) if latest and latest.pod else "",
        ]
    return [
        f"{asked.name} is at work on {_step(asked)} since {_then(latest.start_time, now)}, attempt {latest.id}.",
        _sentence("", message) if reason != "Running" or message.startswith("lane ") else "",
        f"It last called a model {_ago(asked.status.last_activity_time, now)}."
        if asked.status.last_activity_time
        else "",
        _used(asked),
        *(_sentence("", one.message) for one in asked.status.health),
        *(_sentence("", one.message) for one in asked.status.warnings),
        _filled("Its output: kubectl logs {pod}{n}", asked) if latest.pod else "",
    ]


def _ended(asked: Asked, finished: Condition) -> list[str]:
    succeeded = asked.condition(RunCondition.SUCCEEDED)
    well = "ended well" if succeeded and succeeded.status == "True" else "failed"
    done = asked.status.completion_time or finished.last_transition_time
    end = next((known for known in End if known == finished.reason), None)
    return [
        _sentence(f"{asked.name} {well} at {_then(done, asked.now)} as {finished.reason}", finished.message),
        _used(asked),
        _filled(ENDS[end] if end else _UNKNOWN, asked),
        _stays_until(asked, done),
    ]


def _stays_until(asked: Asked, done: datetime) -> str:
    seconds = asked.spec.ttl_seconds_after_finished
    if seconds is None:
        return ""
    if asked.keeper:
        return f"{kept_because(asked.keeper)}, to run once more."
    return f"It is deleted at {clock(done + timedelta(seconds=seconds), asked.now)} (ttlSecondsAfterFinished)."


def _used(asked: Asked) -> str:
    """What it used, as far as it is known."""
    usage, number = asked.status.usage, asked.status.attempt
    parts = []
    if usage and usage.turns is not None:
        parts.append(_count(usage.turns, "turn"))
    if usage and usage.total_tokens is not None:
        parts.append(_count(usage.total_tokens, "token"))
    if usage and usage.cost_usd is not None:
        parts.append(f"{usage.cost_usd} USD")
    if not parts:
        return ""
    least = "at least " if usage and usage.complete is False else ""
    tries = f" in {_count(number, 'attempt')}" if number else ""
    return f"It used {least}{', '.join(parts)}{tries}."


def _around(asked: Asked) -> list[str]:
    """What was asked of it since, and is still to come."""
    finished = asked.condition(RunCondition.FINISHED)
    over = finished is not None and finished.status == "True"
    admitted = asked.condition(RunCondition.ADMITTED)
    active = admitted is not None and admitted.status == "True"
    seen = asked.status.observed_generation
    return [
        "It is being deleted." if asked.deleting else "",
        "It is being cancelled." if asked.spec.cancel and not over else "",
        "It is suspended: this attempt goes on to its end, and no other begins."
        if asked.spec.suspend and active
        else "",
        "The operator has not looked at the latest change of its spec yet."
        if seen and seen < asked.generation and not over
        else "",
    ]


def _filled(words: str, asked: Asked) -> str:
    namespace, lane = asked.lane_key
    latest = asked.latest
    pod = latest.pod if latest and latest.pod else "POD"
    return words.format(run=asked.name, n=f" -n {asked.namespace}", lane=lane, lane_n=f" -n {namespace}", pod=pod)


def _step(asked: Asked) -> str:
    step = asked.latest.step if asked.latest else None
    if step is None:
        return step_name(*asked.lane_key, None, home=asked.namespace)
    return step_name(step.namespace, step.lane, step.model, home=asked.namespace)


def _sentence(head: str, message: str) -> str:
    words = ": ".join(part for part in (head, message.strip().rstrip(".")) if part)
    return f"{words}." if words else ""


def _from(since: datetime | None, now: datetime) -> str:
    return f" since {clock(since, now)}" if since else ""


def _then(moment: datetime, now: datetime) -> str:
    return f"{clock(moment, now)} ({_ago(moment, now)})"


def _ago(moment: datetime, now: datetime) -> str:
    return f"{age(now - moment)} ago"


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
