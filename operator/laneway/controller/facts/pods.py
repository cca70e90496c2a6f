"""What the operator reads off a pod, and nothing more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from laneway.api import names

_FINISHED = frozenset({"Succeeded", "Failed"})
_NEVER = "1970-01-01"


@dataclass(frozen=True)
class Termination:
    """How a container ended."""

    exit_code: int
    reason: str
    message: str
    started: datetime | None
    ended: datetime | None


@dataclass(frozen=True)
class PodFacts:
    """One pod of one attempt. ``None`` is not known (yet)."""

    namespace: str
    name: str
    uid: str
    run: str
    """Name of its run."""
    run_uid: str
    attempt: int
    lane: tuple[str, str]
    """Namespace and name of the lane whose slot it holds."""
    created: datetime
    deleting: bool
    phase: str
    reason: str
    """``status.reason``, for example Evicted."""
    message: str
    started: datetime | None
    """When the agent's container started."""
    waiting_reason: str
    waiting_message: str
    scheduled: datetime | None
    unschedulable: str
    """Why no node takes it; empty when one did."""
    disruption: str
    """Reason of the DisruptionTarget condition; empty without one."""
    ready: bool | None
    node: str
    agent: Termination | None
    failed_init: tuple[str, Termination] | None

    @property
    def finished(self) -> bool:
        """Whether all its containers have ended: it holds no slot any more."""
        return self.phase in _FINISHED

    @property
    def ended(self) -> datetime:
        """When it ended, as near as it is known."""
        return (self.agent and self.agent.ended) or self.created


def read_pod(pod: Mapping[str, Any]) -> PodFacts | None:
    """The facts of a pod that carries our labels; None for any other pod."""
    meta, status = pod["metadata"], pod.get("status") or {}
    labels = meta.get("labels") or {}
    attempt = str(labels.get(names.ATTEMPT_LABEL, ""))
    if names.RUN_UID_LABEL not in labels or not attempt.isdigit():
        return None
    conditions = {c["type"]: c for c in status.get("conditions") or ()}
    container = _named(status.get("containerStatuses"), names.AGENT_CONTAINER)
    state = container.get("state") or {}
    waiting, scheduled = state.get("waiting") or {}, conditions.get("PodScheduled", {})
    disruption = conditions.get("DisruptionTarget", {})
    agent = _termination(state.get("terminated"))
    return PodFacts(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        run=labels.get(names.RUN_LABEL, ""),
        run_uid=labels[names.RUN_UID_LABEL],
        attempt=int(attempt),
        lane=(labels.get(names.LANE_NAMESPACE_LABEL, ""), labels.get(names.LANE_LABEL, "")),
        created=parse_time(meta["creationTimestamp"]),
        deleting="deletionTimestamp" in meta,
        phase=status.get("phase", "Pending"),
        reason=status.get("reason", ""),
        message=status.get("message", ""),
        started=_time((state.get("running") or {}).get("startedAt")) or (agent.started if agent else None),
        waiting_reason=waiting.get("reason", ""),
        waiting_message=waiting.get("message", ""),
        scheduled=_time(scheduled.get("lastTransitionTime")) if scheduled.get("status") == "True" else None,
        unschedulable=scheduled.get("message", "") if scheduled.get("status") == "False" else "",
        disruption=disruption.get("reason", "") if disruption.get("status") == "True" else "",
        ready=conditions["Ready"]["status"] == "True" if "Ready" in conditions else None,
        node=(pod.get("spec") or {}).get("nodeName", ""),
        agent=agent,
        failed_init=_failed_init(status.get("initContainerStatuses")),
    )


def parse_time(text: str) -> datetime:
    """An RFC 3339 time of the Kubernetes API."""
    return datetime.fromisoformat(text)


def _time(text: str | None) -> datetime | None:
    """The kubelet writes the first second of 1970 for what never happened."""
    return parse_time(text) if text and not text.startswith(_NEVER) else None


def _named(statuses: list[dict[str, Any]] | None, name: str) -> dict[str, Any]:
    return next((status for status in statuses or () if status["name"] == name), {})


def _termination(terminated: Mapping[str, Any] | None) -> Termination | None:
    if not terminated:
        return None
    return Termination(
        exit_code=terminated.get("exitCode", -1),
        reason=terminated.get("reason", ""),
        message=terminated.get("message", ""),
        started=_time(terminated.get("startedAt")),
        ended=_time(terminated.get("finishedAt")),
    )


def _failed_init(statuses: list[dict[str, Any]] | None) -> tuple[str, Termination] | None:
    for status in statuses or ():
        ended = _termination((status.get("state") or {}).get("terminated"))
        if ended and ended.exit_code != 0:
            return status["name"], ended
    return None
