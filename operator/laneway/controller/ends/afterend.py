"""After a run has ended: usage that the gateway still owes is fetched, its pods go after their time, and so does the run if it has one. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

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
    _, due = _leaving(view)
    if due is None or now < due or _is_owed(view):
        return None
    meta = view.run.meta
    gone = DeleteRun(meta.namespace, meta.name, meta.uid, meta.resource_version)
    return RunDecision(view.run.status, (gone,))


def pods_expired(view: RunView, now: datetime) -> RunDecision | None:
    """Its pods go podTTLSeconds after its end."""
    due, _ = _leaving(view)
    over = [pod for pod in view.pods if pod.finished and not pod.deleting] if due is not None and now >= due else []
    gone = tuple(DeletePod(pod.namespace, pod.name, pod.uid) for pod in over)
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
    return min((moment for moment in _leaving(view) if moment is not None and moment > now), default=None)


def _leaving(view: RunView) -> tuple[datetime | None, datetime | None]:
    """When its pods go, if it has any, and when it goes itself."""
    ended = view.run.status.completion_time
    if ended is None:
        return None, None
    pods, itself = endings.leaving(view.run, ended)
    return (pods if view.pods else None), itself
