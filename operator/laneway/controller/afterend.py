"""After a run has ended: its pods go after their time, and usage that the gateway still owes is fetched. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from laneway.controller import endings
from laneway.controller.decision import RunDecision
from laneway.controller.effects import CloseAttempt, DeletePod
from laneway.controller.views import RunView


def late_usage(view: RunView, now: datetime) -> RunDecision | None:
    """The gateway was away when the run ended; its totals are entered once it is back."""
    attempts = view.run.status.attempts
    owed = bool(attempts) and attempts[-1].usage is not None and attempts[-1].usage.source is None
    if not owed or view.direct or view.gateway.down_since or not view.gateway.known:
        return None
    state = view.gateway.state
    if state is None or not state.closed:
        return RunDecision(view.run.status, (CloseAttempt(view.run.meta.uid, attempts[-1].id),))
    return RunDecision(endings.correct_usage(view, state), due=_pods_due(view))


def pods_expired(view: RunView, now: datetime) -> RunDecision | None:
    """Its pods go podTTLSeconds after its end."""
    due = _pods_due(view)
    if due is None or now < due:
        return RunDecision(view.run.status, due=due)
    gone = tuple(DeletePod(pod.namespace, pod.name, pod.uid) for pod in view.pods if pod.finished and not pod.deleting)
    return RunDecision(view.run.status, gone)


def attend(view: RunView, decision: RunDecision) -> RunDecision:
    """An end holds for every later version of the spec. Whoever waits for the object looks at the version that was judged: kstatus, kubectl wait, Argo CD."""
    generation, status = view.run.meta.generation, decision.status
    if not view.run.finished or status.observed_generation == generation:
        return decision
    conditions = tuple(one.model_copy(update={"observed_generation": generation}) for one in status.conditions)
    return replace(
        decision, status=status.model_copy(update={"observed_generation": generation, "conditions": conditions})
    )


def _pods_due(view: RunView) -> datetime | None:
    completed = view.run.status.completion_time
    if completed is None or not view.pods:
        return None
    return completed + timedelta(seconds=view.run.spec.pod_ttl_seconds)
