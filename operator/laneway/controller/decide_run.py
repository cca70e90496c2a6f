"""What to do about one run: a whole next status, effects, and when to look again. Pure and total.

Three chains of small checks, by where the run is (finished, holding a slot, waiting); in each the first that speaks wins.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from laneway.api.gatewaystate import AttemptState
from laneway.api.reasons import End, EventReason, Outcome, Phase, Waiting
from laneway.api.runstatus import AgentRunStatus
from laneway.controller.between import aftermath, classification, rounds, waiting
from laneway.controller.chain import activemodel
from laneway.controller.decision import status
from laneway.controller.decision.decision import RunDecision
from laneway.controller.decision.effects import (
    CloseAttempt,
    CreatePod,
    DeletePod,
    Effect,
    EnsureClaim,
    EnsureConfigMap,
    LabelPod,
    PostEvent,
)
from laneway.controller.ends import afterend, endings, repeats
from laneway.controller.facts.objects import Run
from laneway.controller.facts.pods import PodFacts
from laneway.controller.facts.views import RunView
from laneway.controller.limits import limitends, limitwatch
from laneway.controller.limits.words import held_lane
from laneway.controller.pods import children
from laneway.controller.pods.diagnosis import VOLUME_TOLD_AFTER, Obstacle, find_obstacle
from laneway.controller.pods.pod import Plan, build_pod
from laneway.controller.running import healthwatch, livewalk, overtime, watchends

STOP_GRACE_SECONDS = 15
"""What an agent has to leave on SIGTERM (design section 5)."""
LIVE_USAGE_EVERY = timedelta(seconds=15)
"""Usage of a running attempt is written at most this often: every write wakes all watchers."""
RECORDED_AFTER = timedelta(seconds=2)
"""A pod that starts sooner is recorded together with its start: one write less for each run. One that is lost before has done nothing."""

Check = Callable[[RunView, datetime], RunDecision | None]


def decide_run(view: RunView, now: datetime) -> RunDecision:
    """The next step of a run."""
    if view.run.meta.deleting:
        return RunDecision(view.run.status)
    view, chosen = classification.answered(activemodel.unsaid(view))
    view, told = livewalk.with_moves(view, now)
    run = view.run
    chain = _FINISHED if run.finished else _ADMITTED if run.admitted else _WAITING
    spoken = (decision for check in chain if (decision := check(view, now)))
    decision = limitwatch.attend(view, next(spoken, RunDecision(run.status)), now)
    decision = healthwatch.attend(view, decision, now)
    decision = afterend.attend(view, activemodel.attend(view, decision, now))
    return replace(
        decision,
        effects=(*_counted_anew(view), *decision.effects, *chosen, *told, *_leftovers(view), *repeats.outlived(view)),
    )


def _counted_anew(view: RunView) -> tuple[Effect, ...]:
    """The pod of an attempt that has moved to another lane counts there, by its label. Its run's status says so already."""
    attempt, pod = view.run.current, view.pod
    if attempt is None or pod is None or pod.finished:
        return ()
    lane = attempt.step.namespace, attempt.step.lane
    return () if pod.lane == lane else (LabelPod(pod.namespace, pod.name, pod.uid, lane),)


def _leftovers(view: RunView) -> tuple[Effect, ...]:
    """Pods of attempts that have ended are stopped, whatever interrupted their end; on a lost node without grace."""
    current = view.run.current
    over = [pod for pod in view.pods if not pod.finished and (current is None or pod.attempt != current.id)]
    lost = {pod.uid for pod in over if pod.node in view.lost_nodes}
    return tuple(
        _delete(pod, grace=0 if pod.uid in lost else STOP_GRACE_SECONDS)
        for pod in over
        if not pod.deleting or pod.uid in lost
    )


# ---- holding a slot


def _cancelled(view: RunView, now: datetime) -> RunDecision | None:
    """Stop now: close the attempt, stop the pod even if the gateway is away, then say so. It counts if it was set before the pod ended."""
    if not view.run.spec.cancel or (view.pod and view.pod.finished and not view.pod.deleting):
        return None
    if stopping := _stop_first(view, now):
        return stopping
    return endings.end_run(view, now, endings.Verdict(Outcome.CANCELLED, End.CANCELLED, "spec.cancel was set"))


def _limit_reached(view: RunView, now: datetime) -> RunDecision | None:
    """The last call was refused for a limit, or what is allowed is used up. It comes before how the agent ended: it was told to stop."""
    hit = limitwatch.find_hit(view, now)
    if hit is not None:
        return _stop_first(view, now) or limitends.follow(view, now, hit)
    if limitwatch.is_spent_out(view, now):
        return _stop_first(view, now) or limitends.leave_lane(view, now)
    return None


def _overtime(view: RunView, now: datetime) -> RunDecision | None:
    """The agent has run for as long as one attempt may."""
    if not overtime.is_over(view, now):
        return None
    return _stop_first(view, now) or rounds.follow(view, now, overtime.verdict(view))


def _watchdog(view: RunView, now: datetime) -> RunDecision | None:
    """The agent gets nowhere, or does not leave."""
    return watchends.attend(view, now, stop=_stop_first)


def _refused(view: RunView, now: datetime) -> RunDecision | None:
    """The API server would not have the pod: a quota may free up, a policy will not change its mind."""
    refusal = view.refusal
    if refusal is None:
        return None
    if refusal.reason is None:
        verdict = endings.Verdict(Outcome.FAILED, End.POD_REJECTED, refusal.message)
        return endings.end_run(view, now, verdict)
    return endings.take_back(view, now, refusal.reason, refusal.message)


def _no_pod(view: RunView, now: datetime) -> RunDecision | None:
    attempt = view.run.current
    if view.pod is not None or attempt is None:
        return None
    state = view.gateway.state
    seen = state is not None and state.calls + state.open_calls > 0
    if attempt.pod_uid or seen:
        if closing := _close_first(view, now):
            return closing
        if limitwatch.was_raised(view, now):
            return limitends.begin_again(view, now)
        lost = endings.Verdict(Outcome.DISRUPTED, End.LOST_POD, f"pod {attempt.pod or ''} is gone".replace("  ", " "))
        return endings.end_attempt(view, now, lost)
    if view.run.spec.suspend:
        return endings.take_back(view, now, Waiting.SUSPENDED, "spec.suspend is true; set it to false to go on")
    return _create(view, now)


def _create(view: RunView, now: datetime) -> RunDecision:
    run, attempt = view.run, view.run.current
    if attempt is None or view.preset is None or view.lane is None:
        why = "the lane is gone" if view.lane is None else f"there is no preset {run.spec.agent.preset}"
        reason = Waiting.LANE_NOT_FOUND if view.lane is None else Waiting.PRESET_NOT_FOUND
        return endings.take_back(view, now, reason, f"the slot was given back before a pod was made: {why}")
    claim = children.claim_name(run)
    users = [pod.name for pod in view.pods if not pod.finished]
    if claim and users:
        # Two agents at once would spoil each other's work.
        return endings.take_back(view, now, Waiting.WORKSPACE_IN_USE, f"pod {users[0]} still uses claim {claim}")
    plan = Plan(run=run, lane=view.lane, preset=view.preset, attempt=attempt, surroundings=view.surroundings)
    pod = CreatePod(build_pod(plan), run.meta.uid, attempt.id)
    said = _active(view, now, Phase.STARTING, "Starting", "its pod is being made")
    return RunDecision(said, (*_kept(run), pod))


def _kept(run: Run) -> tuple[Effect, ...]:
    """What the run has beside its pods, made before the first of them."""
    workspace = run.spec.agent.workspace
    prompt = (EnsureConfigMap(children.build_prompt(run)),) if run.spec.prompt is not None else ()
    return (*prompt, EnsureClaim(children.build_claim(run, workspace))) if workspace else prompt


def _ended(view: RunView, now: datetime) -> RunDecision | None:
    pod = view.pod
    if pod is None or not pod.finished:
        return None
    if closing := _close_first(view, now):
        return closing
    verdict = endings.judge(view, pod)
    if verdict.outcome is not Outcome.SUCCEEDED and limitwatch.was_raised(view, now):
        return limitends.begin_again(view, now)
    if verdict.failure is not None:
        return aftermath.follow(view, now, verdict, verdict.failure)
    return rounds.follow(view, now, verdict)


def _node_lost(view: RunView, now: datetime) -> RunDecision | None:
    pod = view.pod
    since = view.lost_nodes.get(pod.node) if pod else None
    if pod is None or since is None:
        return None
    due = since + timedelta(seconds=view.run.spec.timeouts.lost_seconds)
    if now < due:
        message = f"node {pod.node} has not answered since {since:%H:%M:%SZ}"
        return RunDecision(_active(view, now, Phase.RUNNING, "NodeLost", message), due=due)
    if closing := _close_first(view, now):
        return closing
    verdict = endings.Verdict(Outcome.DISRUPTED, End.LOST_POD, f"node {pod.node} was away for too long")
    return endings.end_attempt(view, now, verdict)


def _not_started(view: RunView, now: datetime) -> RunDecision | None:
    pod = view.pod
    if pod is None or pod.started is not None:
        return None
    obstacle = find_obstacle(pod, prompt_missing=view.prompt_missing, claim=children.claim_name(view.run), now=now)
    due = pod.created + timedelta(seconds=view.run.spec.timeouts.start_seconds)
    if obstacle is None and _may_start_soon(view, pod, now):
        return RunDecision(view.run.status, due=pod.created + RECORDED_AFTER)
    if now < due and not (obstacle and obstacle.final):
        words = (obstacle.reason, obstacle.message) if obstacle else ("Starting", "its pod is starting")
        soon = min(due, now + timedelta(seconds=10)) if obstacle else _volume_is_late(view, pod, due)
        return RunDecision(_active(view, now, Phase.STARTING, *words), due=soon)
    if closing := _close_first(view, now):
        return closing
    return endings.end_run(view, now, _start_failure(view, obstacle))


def _volume_is_late(view: RunView, pod: PodFacts, due: datetime) -> datetime:
    """When a pod that got no node is to be looked at again; ``due`` if nothing is said of it before."""
    waits = pod.scheduled is None and children.claim_name(view.run) is not None
    return min(due, pod.created + VOLUME_TOLD_AFTER) if waits else due


def _may_start_soon(view: RunView, pod: PodFacts, now: datetime) -> bool:
    attempt = view.run.current
    return attempt is not None and attempt.pod_uid is None and now < pod.created + RECORDED_AFTER


def _start_failure(view: RunView, obstacle: Obstacle | None) -> endings.Verdict:
    seconds = view.run.spec.timeouts.start_seconds
    if obstacle is None:
        message = f"the agent did not start within {seconds} s"
        return endings.Verdict(Outcome.TIMED_OUT, End.START_TIMEOUT, message)
    late = "" if obstacle.final else f" (for {seconds} s)"
    outcome = Outcome.FAILED if obstacle.final else Outcome.TIMED_OUT
    return endings.Verdict(outcome, obstacle.end, f"{obstacle.message}{late}")


def _closed_in_vain(view: RunView, now: datetime) -> RunDecision | None:
    """The attempt was closed for a limit that was raised before its end was written: its token is dead, so it is begun again."""
    state = view.gateway.state
    if view.pod is None or state is None or not state.closed or view.direct:
        return None
    return _stop_first(view, now) or limitends.begin_again(view, now)


def _running(view: RunView, now: datetime) -> RunDecision | None:
    pod = view.pod
    if pod is None:
        return None
    walk = livewalk.find_walk(view, now)
    message = f"{livewalk.at_work(view, walk, now)}{limitwatch.unwatched(view)}"
    next_status = _active(view, now, Phase.RUNNING, "Running", message)
    state = view.gateway.state
    if state and _usage_is_due(view, state):
        next_status = endings.live_usage(view, next_status, state)
    moments = (livewalk.told_next(view, walk, now), overtime.due_at(view))
    due = min((moment for moment in moments if moment), default=None)
    return RunDecision(next_status, _started_event(view, pod), due=due, walk=walk)


def _usage_is_due(view: RunView, state: AttemptState) -> bool:
    """All that is known is written when the gateway goes away: it may come back with a new ledger, and begins from status then."""
    seen, shown = state.last_activity_time, view.run.status.last_activity_time
    if seen is None or shown is None:
        return seen is not None
    return seen - shown >= LIVE_USAGE_EVERY or (view.gateway.down_since is not None and seen > shown)


def _active(view: RunView, now: datetime, phase: Phase, reason: str, message: str) -> AgentRunStatus:
    """The status of a run that holds a slot, with its pod recorded."""
    run, attempt, pod = view.run, view.run.current, view.pod
    next_status = run.status.model_copy(update={"queue": None})
    if attempt and pod:
        seen = attempt.model_copy(
            update={"pod": pod.name, "pod_uid": pod.uid, "start_time": attempt.start_time or pod.started}
        )
        next_status = next_status.model_copy(
            update={
                "attempts": (*run.status.attempts[:-1], seen),
                "start_time": run.status.start_time or pod.started,
            }
        )
    lane = held_lane(attempt) if attempt else ""
    said = status.active_conditions(phase, reason, message, lane=lane)
    return status.with_conditions(run, next_status, said, phase=phase, reason=reason, now=now)


def _started_event(view: RunView, pod: PodFacts) -> tuple[Effect, ...]:
    attempt = view.run.current
    if attempt is None or attempt.start_time is not None or pod.started is None:
        return ()
    message = f"attempt {attempt.id} on {endings.shown(attempt)}, pod {pod.name}"
    return (PostEvent(EventReason.ATTEMPT_STARTED, message, key=f"started-{attempt.id}"),)


def _stop_first(view: RunView, now: datetime) -> RunDecision | None:
    """Close the attempt and stop its pod, which need not wait for a gateway that is away. None: both are done."""
    pod = view.pod
    stop = (_delete(pod, grace=STOP_GRACE_SECONDS),) if pod and not pod.finished and not pod.deleting else ()
    if closing := _close_first(view, now):
        return replace(closing, effects=(*closing.effects, *stop))
    return RunDecision(view.run.status, stop) if stop else None


def _close_first(view: RunView, now: datetime) -> RunDecision | None:
    """An attempt is judged only after it was closed at the gateway, or the gateway was away for too long."""
    attempt = view.run.current
    if attempt is None or endings.is_settled(view, now):
        return None
    due = None if view.gateway.down_since is None else endings.gives_up_at(view)
    return RunDecision(
        _active(view, now, Phase.RUNNING, "Closing", "the attempt is being closed"),
        (CloseAttempt(view.run.meta.uid, attempt.id),),
        due,
    )


def _delete(pod: PodFacts, *, grace: int | None = None) -> DeletePod:
    return DeletePod(pod.namespace, pod.name, pod.uid, grace)


_FINISHED: tuple[Check, ...] = (afterend.late_usage, afterend.run_expired, afterend.pods_expired)
_ADMITTED: tuple[Check, ...] = (
    _cancelled,
    _limit_reached,
    _overtime,
    _watchdog,
    _refused,
    _no_pod,
    _ended,
    _node_lost,
    _not_started,
    _closed_in_vain,
    _running,
)
_WAITING: tuple[Check, ...] = (
    waiting.cancelled,
    waiting.dependency_failed,
    limitends.stop_waiting,
    waiting.waits,
)
