"""Raw objects as the API server has them, for what reads the cache."""

from __future__ import annotations

from typing import Any

import manifests
from laneway.api import names
from laneway.api.base import Model
from laneway.kube.resources import JsonObject

CREATED = "2026-03-01T12:00:00Z"


def raw_run(
    name: str = "hello", *, version: int = 1, status: Model | None = None, spec: Any = None, uid: str = "", **meta: Any
) -> JsonObject:
    """A run of namespace team-a; its uid is made of its name, as the builders' is."""
    made = manifests.run(spec, name=name, namespace="team-a", **_meta(uid or f"{name}-0123456789", version), **meta)
    return {**made, "status": status.to_wire() if status else dict(manifests.UNSEEN)}


def raw_lane(
    name: str = "local", *, version: int = 1, status: Model | None = None, spec: Any = None, **meta: Any
) -> JsonObject:
    """A Direct lane of namespace team-a."""
    given = manifests.merged({"access": "Direct"}, spec or {})
    where = {"namespace": "team-a", **meta}
    made = manifests.lane(given, name=name, **_meta(f"{name}-0123456789", version), **where)
    return {**made, "status": status.to_wire() if status else dict(manifests.UNSEEN)}


def raw_pod(run: str = "hello", *, attempt: int = 1, version: int = 1, phase: str = "Running") -> JsonObject:
    """The pod of a run's attempt."""
    uid = f"{run}-0123456789"
    labels = {
        names.RUN_LABEL: run,
        names.RUN_UID_LABEL: uid,
        names.ATTEMPT_LABEL: str(attempt),
        names.LANE_LABEL: "local",
        names.LANE_NAMESPACE_LABEL: "team-a",
    }
    name = names.pod_name(run=run, uid=uid, attempt=attempt)
    owner = {"uid": uid, "controller": True, "kind": "AgentRun", "name": run}
    meta = {"name": name, "namespace": "team-a", "labels": labels, "ownerReferences": [owner]}
    return {"metadata": {**meta, **_meta(f"pod-of-{run}-{attempt}", version)}, "spec": {}, "status": {"phase": phase}}


def _meta(uid: str, version: int) -> dict[str, Any]:
    return {"uid": uid, "resourceVersion": str(version), "generation": 1, "creationTimestamp": CREATED}
