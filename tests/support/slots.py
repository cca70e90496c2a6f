"""Slots as witnesses saw them: judged on every event of runs and pods."""

from __future__ import annotations

from laneway.api import names
from laneway.kube.client import WatchEvent
from laneway.kube.resources import JsonObject
from support.hall import is_at_work, label, open_attempt
from support.witness import Witness


def most_slots(runs: Witness, pods: Witness, lane: str) -> int:
    """The most slots of a lane that were held after any event, by runs with an open attempt there and by pods with its label, each once."""
    holders: dict[str, tuple[str, str]] = {}
    most = 0
    events = sorted((*runs.events, *pods.events), key=_version)
    for event in events:
        obj, uid = event.object, event.object["metadata"]["uid"]
        slot = None if event.type == "DELETED" else _slot(obj, lane)
        holders.pop(uid, None)
        if slot is not None:
            holders[uid] = slot
        most = max(most, len(set(holders.values())))
    return most


def _slot(obj: JsonObject, lane: str) -> tuple[str, str] | None:
    """Run and attempt, if a run or a pod holds a slot of a lane."""
    if names.RUN_UID_LABEL in (obj["metadata"].get("labels") or {}):
        there = is_at_work(obj) and label(obj, names.LANE_LABEL) == lane
        return (label(obj, names.RUN_UID_LABEL), label(obj, names.ATTEMPT_LABEL)) if there else None
    attempt = open_attempt(obj)
    on_it = attempt is not None and attempt["step"]["lane"] == lane
    return (obj["metadata"]["uid"], str(attempt["id"])) if attempt and on_it else None


def _version(event: WatchEvent) -> int:
    return int(event.object["metadata"]["resourceVersion"])


def live_moves(run: JsonObject) -> list[tuple[str, str]]:
    """Which lanes a run's attempts went from and to in the middle."""
    moves = run["status"].get("fallbackHistory") or ()
    return [(one["from"]["lane"], one["to"]["lane"]) for one in moves if one.get("live")]
