"""What a decision asks of the world. Each effect is idempotent: carried out twice, it changes nothing more."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from laneway.api.reasons import EventReason
from laneway.api.steps import ActiveModel


class EventType(StrEnum):
    """Severity of a Kubernetes Event."""

    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True)
class EnsureConfigMap:
    """Create an immutable ConfigMap; one that exists is success."""

    manifest: dict[str, Any]


@dataclass(frozen=True)
class KeepLog:
    """Create the immutable ConfigMap with the end of a log; no end of a run hangs on it."""

    manifest: dict[str, Any]


@dataclass(frozen=True)
class EnsureClaim:
    """Create the claim of a run's workspace; one that exists is success only if it is that run's."""

    manifest: dict[str, Any]


@dataclass(frozen=True)
class CreatePod:
    """Create the pod of an attempt; one that exists counts only if it is that attempt's."""

    manifest: dict[str, Any]
    run_uid: str
    attempt: int


@dataclass(frozen=True)
class DeletePod:
    """Delete one pod, by uid; one that is gone is success."""

    namespace: str
    name: str
    uid: str
    grace_seconds: int | None = None


@dataclass(frozen=True)
class DeleteRun:
    """Delete a run, by uid and in the version that was looked at; one that is gone is success."""

    namespace: str
    name: str
    uid: str
    resource_version: str


@dataclass(frozen=True)
class LabelPod:
    """Count a pod on the lane that its attempt has moved to, after the run's status says so."""

    namespace: str
    name: str
    uid: str
    lane: tuple[str, str]
    """Namespace and name."""


@dataclass(frozen=True)
class CloseAttempt:
    """End an attempt at the gateway: its token dies, its calls are cut, its totals are final."""

    run_uid: str
    attempt: int


@dataclass(frozen=True)
class Classify:
    """Ask the classifier of a lane how hard a run's work is; while it is being asked, it is not asked again. The answer wakes the run."""

    run_uid: str
    lane: tuple[str, str]
    """Namespace and name."""
    text: str
    """What the classifier reads."""


@dataclass(frozen=True)
class PostEvent:
    """Tell people of a change. ``key`` makes it one Event however often it is posted."""

    reason: EventReason
    message: str
    key: str
    type: EventType = EventType.NORMAL


@dataclass(frozen=True)
class PatchActiveModel:
    """Show in ``spec.activeModel`` where the run is, after its status says so; None takes the field away."""

    value: ActiveModel | None


Effect = (
    EnsureConfigMap
    | KeepLog
    | EnsureClaim
    | CreatePod
    | DeletePod
    | DeleteRun
    | LabelPod
    | CloseAttempt
    | Classify
    | PostEvent
    | PatchActiveModel
)
