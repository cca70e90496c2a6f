"""How attempts and runs end: the verdict, decided once, and the status that records it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NamedTuple

from laneway.api.gatewaystate import AttemptState, CallFailure
from laneway.api.reasons import Cause, End, EventReason, Outcome, Phase, Waiting
from laneway.api.runstatus import ATTEMPTS_KEPT, AgentRunStatus, Attempt, Trouble, Usage
from laneway.controller.decision import status
from laneway.controller.decision.decision import RunDecision
from laneway.controller.decision.effects import Effect, EventType, PostEvent
from laneway.controller.ends import lastwords
from laneway.controller.ends.repeats import uncounted
from laneway.controller.ends.results import result_of, with_earlier_words
from laneway.controller.facts.objects import Run
from laneway.controller.facts.pods import PodFacts
from laneway.controller.facts.views import RunView
from laneway.controller.logs import nooutput, tail
from laneway.controller.logs.cost import priced_micro_usd
from laneway.controller.logs.result import corrected
from laneway.controller.logs.trouble import trouble_of
from laneway.controller.pods.diagnosis import diagnose
from laneway.rules.keeper import kept_because

GATEWAY_AWAY_FOR = timedelta(seconds=60)
"""How long the end of an attempt waits for a gateway that does not answer (design section 7), and a lane's readiness outlives it."""
DISRUPTION_WINDOW = timedelta(minutes=30)
DISRUPTIONS_IN_WINDOW = 3
"""More broken attempts than this in the window end the run (S4 4.53)."""

_PERMANENT = frozenset({Cause.MODEL_NOT_FOUND, Cause.CONTEXT_TOO_LONG, Cause.WIRE_API_UNSUPPORTED})
_WAITS_NO_MORE = {"queue": None, "backoff": None, "next_attempt_time": None, "limit_reached": None}
_HAVE_WORDS = frozenset({Outcome.SUCCEEDED, Outcome.LIMIT})
"""Attempts whose last words are what the run leaves."""


@dataclass(frozen=True)
class Verdict:
    """How an attempt ended, and how the run ends if that is the end of it."""

    outcome: Outcome
    end: End
    message: str
    cause: Cause | None = None
    exit_code: int | None = None
    failure: CallFailure | None = None
    """The model call that failed last, if that ended the attempt."""
    trouble: Trouble | None = None
    """The same, as the run's status keeps it for its lane."""
    empty: bool = False
    """The agent says that it is done, and nothing that it did can be seen."""


def judge(view: RunView, pod: PodFacts) -> Verdict:
    """The verdict on a pod that has ended and was closed: disruption, exit 0, model trouble, exit code, in this order.

    A result line in the agent's log may say better than the exit code how it ended: see ``logs.result``.
    """
    attempt = view.run.current
    stopped = attempt is not None and attempt.stopped is not None
    diagnosed = diagnose(pod, stopped_by_us=view.run.spec.cancel or stopped)
    ending = corrected(diagnosed, pod, view.envelope, direct=view.direct)
    verdict = Verdict(ending.outcome, ending.end, ending.message, exit_code=ending.exit_code)
    if ending.outcome is Outcome.SUCCEEDED and nooutput.did_nothing(view, pod):
        return _doubted(view, verdict)
    if ending.end is not End.FAILED:
        return verdict
    state = view.gateway.state
    if not view.direct and (state is None or not state.closed or _lost_its_gateway(view, pod, state)):
        message = f"{ending.message}; the gateway was away, so the attempt is begun again"
        return Verdict(Outcome.DISRUPTED, End.GATEWAY_UNAVAILABLE, message, exit_code=ending.exit_code)
    failure = _told_by_log(view, pod) if view.direct else state.failure if state else None
    if failure is not None:
        return model_trouble(verdict, failure)
    return Verdict(ending.outcome, ending.end, ending.message, Cause.TASK_FAILURE, ending.exit_code)


def _doubted(view: RunView, verdict: Verdict) -> Verdict:
    """Success without a deed: a warning, or a failure if the run asks for that."""
    message = f"{verdict.message}, but {nooutput.WORDS}"
    if not view.run.spec.result.fail_if_no_output:
        return replace(verdict, message=message, empty=True)
    return replace(
        verdict, outcome=Outcome.FAILED, end=End.NO_OUTPUT, message=message, cause=Cause.TASK_FAILURE, empty=True
    )


def _lost_its_gateway(view: RunView, pod: PodFacts, state: AttemptState) -> bool:
    """Whether the gateway began anew while the agent ran, and carried no call of it since."""
    began = view.gateway.started
    if began is None or pod.started is None or began <= pod.started:
        return False
    return state.last_activity_time is None or state.last_activity_time <= began


def _told_by_log(view: RunView, pod: PodFacts) -> CallFailure | None:
    """On a Direct lane only the agent's log can tell of a failed call."""
    sent, seen = pod.started or pod.created, pod.ended
    return trouble_of(view.envelope, sent=sent, seen=seen) if view.envelope and seen else None


def model_trouble(verdict: Verdict, failure: CallFailure) -> Verdict:
    """The verdict on an attempt whose last model call failed, and that ended with that."""
    end = End.AUTH_FAILED if failure.cause is Cause.AUTH_FAILED else End.FAILED
    end = End.PERMANENT_MODEL_ERROR if failure.cause in _PERMANENT else end
    said = f"{failure.status or 'no answer'} {failure.message}".strip()
    message = f"the last model call failed ({failure.cause}): {said}"
    return Verdict(Outcome.MODEL_TROUBLE, end, message, failure.cause, verdict.exit_code, failure)


class Closed(NamedTuple):
    """What the end of an attempt changes in its run's status."""

    attempts: tuple[Attempt, ...]
    usage: Usage
    active_seconds: int

    @property
    def update(self) -> dict[str, object]:
        """The same, for ``model_copy``."""
        return dict(self._asdict())


def is_settled(view: RunView, now: datetime) -> bool:
    """Whether nothing more can come from the gateway for the current attempt."""
    attempt, state = view.run.current, view.gateway.state
    if attempt is None or view.direct:
        return True
    if view.pod is None and attempt.pod_uid is None and (state is None or state.calls == 0):
        return True
    if state is not None and state.closed:
        return True
    return view.gateway.down_since is not None and now >= gives_up_at(view)


def gives_up_at(view: RunView) -> datetime:
    """When the end is decided without the gateway."""
    ended = view.pod.ended if view.pod and view.pod.finished else None
    since = view.gateway.down_since
    return max(moment for moment in (ended, since, view.run.meta.created) if moment) + GATEWAY_AWAY_FOR


def end_attempt(view: RunView, now: datetime, verdict: Verdict) -> RunDecision:
    """Record the end of an attempt. A disruption is followed by another attempt, within bounds; anything else ends the run."""
    if verdict.outcome is not Outcome.DISRUPTED:
        return end_run(view, now, verdict)
    run = view.run
    times = (*run.status.disruptions, now)[-ATTEMPTS_KEPT:]
    count = (run.status.disruption_count or 0) + 1
    update = {"disruptions": times, "disruption_count": count}
    recent = sum(1 for moment in times if now - moment < DISRUPTION_WINDOW)
    if count > run.spec.retry.max_disruptions or recent > DISRUPTIONS_IN_WINDOW:
        many = f"{verdict.message}; the run was disrupted {count} times, {recent} of them in the last 30 minutes"
        return end_run(view, now, Verdict(verdict.outcome, verdict.end, many, verdict.cause, verdict.exit_code), update)
    closed = close_books(view, now, verdict)
    attempts = closed.attempts
    message = f"attempt {attempts[-1].id} was broken ({verdict.message}); it waits for a slot again"
    next_status = status.with_conditions(
        run,
        run.status.model_copy(update={**update, **closed.update}),
        status.waiting_conditions(Waiting.WAITING_FOR_SLOT, message),
        phase=Phase.QUEUED,
        reason=Waiting.WAITING_FOR_SLOT,
        now=now,
    )
    key = f"lost-{attempts[-1].id}"
    return RunDecision(next_status, (PostEvent(EventReason.POD_LOST, message, key=key, type=EventType.WARNING),))


def end_run(view: RunView, now: datetime, verdict: Verdict, update: dict[str, object] | None = None) -> RunDecision:
    """Record the end of a run, and of its attempt if it has one."""
    run = view.run
    changes: dict[str, object] = {**(update or {}), **_WAITS_NO_MORE, "completion_time": now}
    effects: tuple[Effect, ...] = ()
    if run.current is not None:
        closed = close_books(view, now, verdict)
        number = closed.attempts[-1].id
        log = tail.keep(view, verdict.outcome)
        said = result_of(view, has_words=verdict.outcome in _HAVE_WORDS, exit_code=verdict.exit_code, log=log)
        changes |= {**closed.update, "result": with_earlier_words(said, run.status.result)}
        effects = (*told(view, number, verdict), *((log,) if log else ()))
    good = status.is_good(verdict.end, run.spec.limits)
    next_status = status.with_conditions(
        run,
        run.status.model_copy(update=changes),
        status.finished_conditions(verdict.end, verdict.message, good=good),
        phase=Phase.SUCCEEDED if good else Phase.FAILED,
        reason=verdict.end,
        now=now,
    )
    severity = EventType.NORMAL if good or verdict.end is End.CANCELLED else EventType.WARNING
    told_end = f"{verdict.end}: {verdict.message}{_stays(run)}"
    done = PostEvent(EventReason.RUN_FINISHED, told_end, key="finished", type=severity)
    return RunDecision(next_status, (*effects, done), min(filter(None, leaving(run, now))))


def leaving(run: Run, ended: datetime) -> tuple[datetime, datetime | None]:
    """When its pods are deleted after its end, and when it is itself; None: it stays."""
    stays = run.time_to_stay
    return (
        ended + timedelta(seconds=run.spec.pod_ttl_seconds),
        None if stays is None else ended + timedelta(seconds=stays),
    )


def _stays(run: Run) -> str:
    if run.spec.ttl_seconds_after_finished is None or not run.meta.keeper:
        return ""
    return f"; {kept_because(run.meta.keeper)}"


def take_back(view: RunView, now: datetime, reason: Waiting, message: str) -> RunDecision:
    """Give back a slot whose pod was never made; the attempt's number is free again."""
    run = view.run
    number = (run.status.attempt or 1) - 1
    update = {"attempts": run.status.attempts[:-1], "attempt": number or None, "queue": None, **uncounted(run)}
    phase = Phase.SUSPENDED if reason is Waiting.SUSPENDED else Phase.PENDING
    next_status = status.with_conditions(
        run,
        run.status.model_copy(update=update),
        status.waiting_conditions(reason, message),
        phase=phase,
        reason=reason,
        now=now,
    )
    return RunDecision(next_status)


def live_usage(view: RunView, next_status: AgentRunStatus, state: AttemptState) -> AgentRunStatus:
    """The status with what the gateway has metered so far."""
    attempt = next_status.attempts[-1]
    usage = status.gateway_usage(state, complete=None)
    total = status.add_usage(next_status.usage, before=attempt.usage, after=usage)
    attempts = (*next_status.attempts[:-1], attempt.model_copy(update={"usage": usage}))
    return next_status.model_copy(
        update={"attempts": attempts, "usage": total, "last_activity_time": state.last_activity_time}
    )


def correct_usage(view: RunView, state: AttemptState) -> AgentRunStatus:
    """The status of a finished run once the gateway could be asked after all."""
    attempts = view.run.status.attempts
    usage = status.gateway_usage(state, complete=True)
    before = attempts[-1].usage
    owed = view.run.status.usage
    total = status.add_usage(owed.model_copy(update={"complete": None}) if owed else None, before=before, after=usage)
    corrected = (*attempts[:-1], attempts[-1].model_copy(update={"usage": usage}))
    return view.run.status.model_copy(update={"attempts": corrected, "usage": total})


def shown(attempt: Attempt) -> str:
    """Lane and model of an attempt, for people."""
    return f"{attempt.step.namespace}/{attempt.step.lane} ({attempt.step.model})"


def ended_event(number: int, verdict: Verdict) -> PostEvent:
    """The Event of an attempt's end."""
    return PostEvent(EventReason.ATTEMPT_ENDED, f"attempt {number}: {verdict.message}", key=f"ended-{number}")


def told(view: RunView, number: int, verdict: Verdict) -> tuple[PostEvent, ...]:
    """The Events of an attempt's end: how it ended, and what is to be doubted in that."""
    hints = lastwords.hints(view, number, outcome=verdict.outcome, cause=verdict.cause)
    return (ended_event(number, verdict), *_doubt(number, verdict), *hints)


def _doubt(number: int, verdict: Verdict) -> tuple[PostEvent, ...]:
    """A success that shows no deed is a warning of its own; a failure says it itself."""
    if not verdict.empty or verdict.outcome is not Outcome.SUCCEEDED:
        return ()
    message = f"attempt {number}: {verdict.message}"
    return (PostEvent(EventReason.NO_OUTPUT, message, key=f"no-output-{number}", type=EventType.WARNING),)


def close_books(view: RunView, now: datetime, verdict: Verdict) -> Closed:
    """The attempts with the last one closed, and the run's usage and running time with what it used."""
    attempt = view.run.status.attempts[-1]
    usage = final_usage(view, attempt)
    pod = view.pod
    closed = attempt.model_copy(
        update={
            "pod": pod.name if pod else attempt.pod,
            "pod_uid": pod.uid if pod else attempt.pod_uid,
            "start_time": attempt.start_time or (pod.started if pod else None),
            "end_time": pod.ended if pod and pod.finished else now,
            "outcome": verdict.outcome,
            "cause": verdict.cause,
            "message": verdict.message[:1024],
            "trouble": verdict.trouble,
            "usage": usage,
        }
    )
    total = status.add_usage(view.run.status.usage, before=attempt.usage, after=usage)
    began, ended = closed.start_time, closed.end_time
    ran = max(0, int((ended - began).total_seconds())) if began and ended else 0
    return Closed((*view.run.status.attempts[:-1], closed), total, (view.run.status.active_seconds or 0) + ran)


def final_usage(view: RunView, attempt: Attempt) -> Usage:
    """What an attempt that has ended used, as far as anybody can tell."""
    if view.direct:
        priced = priced_micro_usd(view.envelope, view.lane, attempt.step.model)
        return status.envelope_usage(view.envelope, priced_micro_usd=priced)
    state = view.gateway.state
    if state is not None and state.closed:
        return status.gateway_usage(state, complete=True)
    if view.pod is None and attempt.pod_uid is None:
        return Usage(turns=0, input_tokens=0, output_tokens=0, total_tokens=0, complete=True)
    known = attempt.usage or Usage()
    return known.model_copy(update={"complete": False, "source": None, "reserved_usd": None})


def over_capacity(view: RunView, now: datetime) -> RunDecision:
    """Give back a grant that the lane has no room for."""
    return take_back(view, now, Waiting.WAITING_FOR_SLOT, "the slot was taken back: the lane has fewer slots now")
