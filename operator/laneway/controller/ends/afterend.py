"""After a run has ended: usage that the gateway still owes is fetched, its pods go after their time, and so does the run if it has one. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from laneway.controller.decision.decision import RunDecision
from laneway.controller.decision.effects import CloseAttempt, DeletePod, DeleteRun
from laneway.controller.ends import endings
from laneway.controller.facts.views import RunView


def late_usage(view: RunView, now: datetime) -> RunDecision | None:
    """The gateway was away when the run ended; its totals are entered once it is back."""
    attempts = view.run.status.attempts
    if not _is_owed(view) or view.gateway.down_since or not view.gateway.known:
        return None
    state = view.gateway.state
    if state is None or not state.closed:
        return RunDecision(view.run.status, (CloseAttempt(view.run.meta.uid, attempts[-1].id),))
    return RunDecision(endings.correct_usage(view, state), due=_next_to_go(view, now))


def run_expired(view: RunView, now: datetime) -> RunDecision | None:
    """It goes itself ttlSecondsAfterFinished after its end, but not before all that it used is known: nobody could add it up then."""
    due = _run_due(view)
    if due is None or now < due or _is_owed(view):
        return None
    meta = view.run.meta
    gone = DeleteRun(meta.namespace, meta.name, meta.uid, meta.resource_version)
    return RunDecision(view.run.status, (gone,))


def pods_expired(view: RunView, now: datetime) -> RunDecision | None:
    """Its pods go podTTLSeconds after its end."""
    due = _pods_due(view)
    if due is None or now < due:
        return RunDecision(view.run.status, due=_next_to_go(view, now))
    gone = tuple(DeletePod(pod.namespace, pod.name, pod.uid) for pod in view.pods if pod.finished and not pod.deleting)
    return RunDecision(view.run.status, gone, due=_next_to_go(view, now))


def attend(view: RunView, decision: RunDecision) -> RunDecision:
    """An end holds for every later version of the spec. Whoever waits for the object looks at the version that was judged: kstatus, kubectl wait, Argo CD."""
    generation, status = view.run.meta.generation, decision.status
    if not view.run.finished or status.observed_generation == generation:
        return decision
    conditions = tuple(one.model_copy(update={"observed_generation": generation}) for one in status.conditions)
    return replace(
        decision, status=status.model_copy(update={"observed_generation": generation, "conditions": conditions})
    )


def _is_owed(view: RunView) -> bool:
    return view.run.owed and not view.direct


def _next_to_go(view: RunView, now: datetime) -> datetime | None:
    moments = (_pods_due(view), _run_due(view))
    return min((moment for moment in moments if moment is not None and moment > now), default=None)


def _pods_due(view: RunView) -> datetime | None:
    return _after_end(view, view.run.spec.pod_ttl_seconds if view.pods else None)


def _run_due(view: RunView) -> datetime | None:
    return _after_end(view, view.run.time_to_stay)


def _after_end(view: RunView, seconds: int | None) -> datetime | None:
    completed = view.run.status.completion_time
    return None if completed is None or seconds is None else completed + timedelta(seconds=seconds)
