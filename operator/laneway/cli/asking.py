"""``kubectl laneway why``: reads the run, its lane, and who holds the lane's slots."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import datetime

from laneway.api.agentrun import AgentRun
from laneway.api.modellane import ModelLane
from laneway.api.reasons import Phase, RunCondition
from laneway.api.runstatus import AgentRunStatus
from laneway.cli.door import Door, parsed
from laneway.cli.why import Asked, Holder, explain
from laneway.kube.errors import Forbidden, NotFound
from laneway.kube.resources import AGENT_RUNS, MODEL_LANES, JsonObject
from laneway.rules.keeper import keeper


async def why(door: Door, name: str) -> None:
    """Print the paragraph on a run. Raises CommandError, KubeError."""
    obj = await door.get(AGENT_RUNS, name)
    asked = asked_of(obj, door.now)
    asked = replace(asked, lane=await _lane(door, *asked.lane_key))
    if asked.waits_for_slot:
        asked = replace(asked, holders=await _holders(door, *asked.lane_key))
    sys.stdout.write(f"{explain(asked)}\n")


def asked_of(obj: JsonObject, now: datetime) -> Asked:
    """The question about a run as the API server has it."""
    run, meta = parsed(AgentRun, obj), obj["metadata"]
    return Asked(
        namespace=meta["namespace"],
        name=meta["name"],
        created=datetime.fromisoformat(meta["creationTimestamp"]),
        generation=meta["generation"],
        deleting="deletionTimestamp" in meta,
        keeper=keeper(meta),
        spec=run.spec,
        status=run.status or AgentRunStatus(),
        now=now,
    )


async def _lane(door: Door, namespace: str, name: str) -> ModelLane | None:
    """The lane, if it is there and may be read: without it the answer is shorter, not wrong."""
    try:
        return parsed(ModelLane, await door.kube.get(MODEL_LANES, namespace, name))
    except (NotFound, Forbidden):
        return None


async def _holders(door: Door, namespace: str, name: str) -> tuple[Holder, ...] | None:
    """Runs of all namespaces with a slot of the lane; None for somebody who may not list them.

    The API server leaves out runs of other lanes, and those that have ended: a lane may have thousands of these.
    """
    try:
        listing = await door.kube.list(AGENT_RUNS, field_selector=on_lane(namespace, name))
    except Forbidden:
        return None
    return holders_of(listing.items, namespace, name)


def on_lane(namespace: str, name: str) -> str:
    """The field selector of the runs that are on a lane and have not ended."""
    ended = (f"status.phase!={phase}" for phase in (Phase.SUCCEEDED, Phase.FAILED))
    return ",".join([f"status.step.lane={name}", f"status.step.namespace={namespace}", *ended])


def holders_of(runs: list[JsonObject], namespace: str, name: str) -> tuple[Holder, ...]:
    """Those of ``runs`` that hold a slot of the lane, the longest first."""
    found = []
    for obj in runs:
        status = obj.get("status") or {}
        conditions = status.get("conditions") or []
        attempts = status.get("attempts") or []
        admitted = any(one["type"] == RunCondition.ADMITTED and one["status"] == "True" for one in conditions)
        step = attempts[-1]["step"] if attempts else {}
        if admitted and (step.get("namespace"), step.get("lane")) == (namespace, name):
            since = attempts[-1].get("movedTime") or attempts[-1].get("admittedTime")
            meta = obj["metadata"]
            found.append(Holder(meta["namespace"], meta["name"], datetime.fromisoformat(since) if since else None))
    return tuple(sorted(found, key=lambda one: (one.since is None, one.since, one.namespace, one.name)))
