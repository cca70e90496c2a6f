"""Kubernetes Events, one for each change however often it is posted: the name is derived from what it says."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

from laneway.api.base import API_VERSION
from laneway.api.names import REPORTING_CONTROLLER
from laneway.controller.decision.effects import PostEvent
from laneway.controller.facts.objects import Meta

NOTE_LIMIT = 1024
_INSTANCE_LIMIT = 128


def build_event(effect: PostEvent, *, kind: str, meta: Meta, instance: str, now: datetime) -> dict[str, Any]:
    """The events.k8s.io object. ``instance`` is the replica that posts it."""
    digest = hashlib.sha256(f"{meta.uid}/{effect.reason}/{effect.key}".encode()).hexdigest()[:16]
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": f"{meta.name}.{digest}", "namespace": meta.namespace},
        "eventTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "reportingController": REPORTING_CONTROLLER,
        "reportingInstance": instance[:_INSTANCE_LIMIT],
        "action": "Reconcile",
        "reason": effect.reason,
        "type": effect.type,
        "note": effect.message[:NOTE_LIMIT],
        "regarding": {
            "apiVersion": API_VERSION,
            "kind": kind,
            "namespace": meta.namespace,
            "name": meta.name,
            "uid": meta.uid,
        },
    }
