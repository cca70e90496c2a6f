"""A run's limits at each pass: what is used so far, which limit is reached, who is warned, and when time will have run out. Pure.

The gateway refuses the calls that would pass a limit. Here its refusals are acted on, and what it cannot see is judged: running time, and a
last call that took exactly what was left.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import ceil

from laneway.api.gatewaystate import AttemptState
from laneway.api.limits import TURNS_CAP, LimitName, LimitReached, Warned
from laneway.api.reasons import EventReason
from laneway.api.runstatus import AgentRunStatus
from laneway.controller.decision import status
from laneway.controller.decision.decision import RunDecision
from laneway.controller.decision.effects import Effect, EventType, PostEvent
from laneway.controller.facts.views import RunView
from laneway.controller.limits import spend
from laneway.controller.limits.words import nearly_used
from laneway.rules import limits
from laneway.rules.limits import Used

QUIET_FOR = timedelta(seconds=20)
"""What an agent whose last call took all that was left has to end by itself. A call more is refused, and ends it at once."""

_WARNINGS = {
    LimitName.COST: EventReason.BUDGET_WARNING,
    LimitName.TOKENS: EventReason.TOKENS_WARNING,
    LimitName.TURNS: EventReason.TURNS_WARNING,
    LimitName.TIME: EventReason.TIME_WARNING,
}


@dataclass(frozen=True)
class Hit:
    """A limit that ends an attempt."""

    limit: LimitName
    value: int
    """In its own unit, money in micro-dollars."""
    used: int | None

    @property
    def words(self) -> str:
        """Both numbers for people."""
        return limits.words(self.limit, self.used, self.value)

    def record(self, now: datetime) -> LimitReached:
        """As the status of a run that waits for a higher limit keeps it."""
        return LimitReached(limit=self.limit, value=limits.value_text(self.limit, self.value), time=now)


def find_hit(view: RunView, now: datetime) -> Hit | None:
    """The limit that a run with a slot has reached: by a refused call, by its time, or by what its calls have used."""
    used = used_now(view, now)
    values = limits.values(view.run.spec.limits)
    refused = _refused(view)
    found = refused if refused is not None else _used_up(view, used, now)
    return None if found is None else Hit(found, values[found], used.of(found))


def was_raised(view: RunView, now: datetime) -> bool:
    """Whether a call of the attempt was refused for a limit that has been raised since: the attempt is begun again."""
    state = _state(view)
    if state is None:
        return False
    return (state.refusal is not None and _refused(view) is None) or (state.spent_out and not is_spent_out(view, now))


def is_spent_out(view: RunView, now: datetime) -> bool:
    """Whether a call was refused because the run's namespace may spend no more on the lane, and the lane says so too."""
    state = _state(view)
    if state is None or not state.spent_out or view.lane is None:
        return False
    return spend.reached(view.lane.status, view.run.meta.namespace, now) is not None


def used_now(view: RunView, now: datetime) -> Used:
    """What all attempts have used, the current one as far as the gateway has counted it."""
    run, attempt, state = view.run, view.run.current, _state(view)
    usage = run.status.usage
    if attempt is not None and state is not None:
        usage = status.add_usage(usage, before=attempt.usage, after=status.gateway_usage(state, complete=None))
    seconds = (run.status.active_seconds or 0) + running_seconds(view, now)
    return limits.used_of(usage, seconds)


def running_seconds(view: RunView, now: datetime) -> int:
    """How long the agent of the current attempt has run."""
    pod, attempt = view.pod, view.run.current
    began = (pod.started if pod else None) or (attempt.start_time if attempt else None)
    ended = pod.ended if pod and pod.finished else now
    return max(0, int((ended - began).total_seconds())) if began else 0


def next_look(view: RunView, now: datetime) -> datetime | None:
    """When a limit of a running attempt has to be looked at although nothing happens."""
    used_up = limits.reached(view.run.spec.limits, replace(used_now(view, now), seconds=None))
    moments = [*_times(view), _quiet_at(view) if used_up else None]
    return min((moment for moment in moments if moment and moment > now), default=None)


def attend(view: RunView, decision: RunDecision, now: datetime) -> RunDecision:
    """The decision with warnings: one for each limit that is nearly used up, once for each value of the limit."""
    run = view.run
    if run.finished or run.meta.deleting:
        return decision
    told, effects = _warned(view, decision.status, now)
    goes_on = replace(run, status=decision.status).admitted
    due = next_look(view, now) if run.admitted and goes_on else None
    if due is not None and (decision.due is None or due < decision.due):
        decision = replace(decision, due=due)
    if told == decision.status.warnings:
        return decision
    changed = decision.status.model_copy(update={"warnings": told})
    return replace(decision, status=changed, effects=(*decision.effects, *effects))


def unwatched(view: RunView) -> str:
    """What is said of a running attempt whose limits nobody can hold while it runs; empty if there is none."""
    given = view.run.spec.limits
    sized = given.cost_usd is not None or given.tokens is not None or given.turns < TURNS_CAP
    if not view.direct or not sized:
        return ""
    return "; its lane is Direct: limits of money, tokens and turns are judged only after each attempt"


def _state(view: RunView) -> AttemptState | None:
    return None if view.direct else view.gateway.state


def _refused(view: RunView) -> LimitName | None:
    """The limit of the last refused call. A judgement on a newer spec than ours waits for it; a limit that was raised since is none."""
    state = _state(view)
    refusal = state.refusal if state else None
    if refusal is None or refusal.generation > view.run.meta.generation:
        return None
    record = LimitReached(limit=refusal.limit, value=refusal.value, time=view.run.meta.created)
    return refusal.limit if limits.still_reached(view.run.spec.limits, record) else None


def _used_up(view: RunView, used: Used, now: datetime) -> LimitName | None:
    """An agent that ended by itself is judged by how it ended."""
    pod = view.pod
    if pod is not None and pod.finished and not pod.deleting:
        return None
    found = limits.reached(view.run.spec.limits, used)
    if found is None or found is LimitName.TIME:
        return found
    quiet = _quiet_at(view)
    if pod is None or pod.deleting or (quiet is not None and now >= quiet):
        return found
    return limits.reached(view.run.spec.limits, Used(seconds=used.seconds))


def _quiet_at(view: RunView) -> datetime | None:
    """When the agent has been without a call for long enough. While one is open, or held at the limit, the gateway decides."""
    state, pod = _state(view), view.pod
    if state is not None and state.open_calls:
        return None
    seen = state.last_activity_time if state else None
    since = seen or (pod.started if pod else None)
    return since + QUIET_FOR if since else None


def _times(view: RunView) -> list[datetime]:
    """When the warning of time is due, and its end."""
    value, pod = view.run.spec.limits.active_seconds, view.pod
    if value is None or pod is None or pod.started is None or pod.finished:
        return []
    before = view.run.status.active_seconds or 0
    marks = (limits.warn_at(view.run.spec.limits, value), value)
    return [pod.started + timedelta(seconds=ceil(mark - before)) for mark in marks]


def _warned(view: RunView, after: AgentRunStatus, now: datetime) -> tuple[tuple[Warned, ...], tuple[Effect, ...]]:
    given = view.run.spec.limits
    used = _most(used_now(view, now), limits.used_of(after.usage, after.active_seconds))
    known = {(one.limit, one.value): one for one in view.run.status.warnings}
    kept: list[Warned] = []
    effects: list[Effect] = []
    for limit in limits.nearly_used(given, used):
        value = limits.values(given)[limit]
        text = limits.value_text(limit, value)
        words = limits.words(limit, used.of(limit), value)
        if (limit, text) not in known:
            message = nearly_used(words, given)
            key = f"warned-{limit}-{text}"
            effects.append(PostEvent(_WARNINGS[limit], message, key=key, type=EventType.WARNING))
        kept.append(known.get((limit, text)) or Warned(limit=limit, value=text, time=now, message=words))
    return tuple(kept), tuple(effects)


def _most(one: Used, other: Used) -> Used:
    return Used(*(_more(one.of(limit), other.of(limit)) for limit in LimitName))


def _more(one: int | None, other: int | None) -> int | None:
    return max((value for value in (one, other) if value is not None), default=None)
