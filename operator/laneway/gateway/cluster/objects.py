"""Runs, lanes and pods as the gateway needs them: plain values, read from what the API server sends."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeAlias

from pydantic import ValidationError

from laneway.api.agentrun import OnTransientError
from laneway.api.gatewaystate import known_cause
from laneway.api.lanecalls import EffectiveTimeouts
from laneway.api.limits import Limits
from laneway.api.modellane import AllowedFrom, ModelLaneSpec, ModelLaneStatus
from laneway.api.names import ATTEMPT_LABEL, RUN_LABEL, RUN_UID_LABEL
from laneway.api.reasons import RunCondition
from laneway.gateway.cluster.spent import Spent, spent_of
from laneway.rules.chain import Link
from laneway.rules.cooldown import Health
from laneway.rules.records import account_record, model_record
from laneway.rules.timeouts import effective
from laneway.rules.token import AttemptId

log = logging.getLogger(__name__)

LaneKey: TypeAlias = tuple[str, str]
"""Namespace and name."""
JsonObject: TypeAlias = Mapping[str, Any]

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_ENDED_PHASES = frozenset({"Succeeded", "Failed"})
_UNHARMED = Health()
_NO_LIMITS, _NOTHING_SPENT = Limits(), Spent()


@dataclass(frozen=True, slots=True)
class Run:
    """An AgentRun."""

    namespace: str
    name: str
    uid: str
    version: int
    attempt: int
    finished: bool
    lane: LaneKey | None
    """Of the step that its attempt is on, whose slot it holds."""
    model: str | None
    caller: str = ""
    priority: int = 0
    skips: bool = False
    """It ignores our own estimates of when a model is usable again."""
    generation: int = 0
    chain: tuple[Link, ...] = ()
    """As the operator worked it out."""
    recorded: JsonObject | None = None
    """The parts of the status that say what a run has used, while its count is not final; None before the first attempt."""
    limits: Limits = _NO_LIMITS
    spent: Spent = _NOTHING_SPENT
    """What its status says that it has used."""

    @property
    def settled(self) -> bool:
        """It has ended, and its status has all that it used: no call of it will come, and none is to be counted."""
        return self.finished and self.recorded is None


@dataclass(frozen=True, slots=True)
class Lane:
    """A ModelLane."""

    namespace: str
    name: str
    uid: str
    version: int
    generation: int
    spec: ModelLaneSpec
    created: datetime = _LONG_AGO
    records: Mapping[str, Health] = field(default_factory=dict)
    """What its status knows of each model that has failed."""
    account: Health = _UNHARMED
    """What its status knows of its account."""

    @property
    def key(self) -> LaneKey:
        """Namespace and name."""
        return self.namespace, self.name

    @property
    def timeouts(self) -> EffectiveTimeouts:
        """The time limits of its calls, with all defaults filled in."""
        return effective(self.spec.endpoint.server, self.spec.timeouts)

    def allows(self, namespace: str) -> bool:
        """Whether runs of a namespace may use the lane."""
        return self.spec.allowed_namespaces.from_ is AllowedFrom.ALL or namespace == self.namespace


@dataclass(frozen=True, slots=True)
class Pod:
    """The pod of an attempt."""

    namespace: str
    name: str
    uid: str
    version: int
    attempt: AttemptId
    run: str
    addresses: frozenset[str]
    ended: bool


def key_of(item: JsonObject) -> LaneKey:
    """Namespace and name."""
    return item["metadata"]["namespace"], item["metadata"]["name"]


def version_of(item: JsonObject) -> int:
    """Its resourceVersion, which only grows."""
    return int(item["metadata"]["resourceVersion"])


def _parts(item: JsonObject, *parts: tuple[str, tuple[str, ...]]) -> dict[str, Any]:
    return {
        part: {name: found[name] for name in names if name in found}
        for part, names in parts
        if (found := item.get(part))
    }


_RUN_META = ("namespace", "name", "uid", "resourceVersion", "generation")
_RUN_SPEC = ("limits", "caller", "priority", "onTransientError")
_RUN_STATUS = ("attempt", "attempts", "step", "chain", "conditions", "usage", "lastActivityTime")


def trim_run(item: JsonObject) -> dict[str, Any]:
    """What ``read_run`` reads of a run, and nothing else: prompts, and most of what there is, stay outside."""
    return _parts(item, ("metadata", _RUN_META), ("spec", _RUN_SPEC), ("status", _RUN_STATUS))


def read_run(item: JsonObject) -> Run | None:
    """A run; None: it cannot be read."""
    meta, spec, status = item["metadata"], item.get("spec") or {}, item.get("status") or {}
    step = _step_in_use(status)
    finished = any(
        one.get("type") == RunCondition.FINISHED and one.get("status") == "True"
        for one in status.get("conditions") or ()
    )
    recorded = _recorded(status, finished=finished)
    if finished and recorded is None:
        return _settled(item)
    try:
        limits = Limits.model_validate(spec.get("limits") or {})
    except ValidationError as error:
        log.error("run cannot be read", extra={"run": "/".join(key_of(item)), "fields": error.error_count()})
        return None
    return Run(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        version=version_of(item),
        attempt=status.get("attempt") or 0,
        finished=finished,
        lane=(step["namespace"], step["lane"]) if step else None,
        model=step.get("model") if step else None,
        caller=spec.get("caller") or "",
        priority=spec.get("priority") or 0,
        skips=spec.get("onTransientError") == OnTransientError.SKIP,
        generation=meta.get("generation", 0),
        chain=tuple(_link(one) for one in status.get("chain") or ()),
        recorded=recorded,
        limits=limits,
        spent=spent_of(status),
    )


def _settled(item: JsonObject) -> Run:
    """A run that has ended, whose usage is all told. There may be tens of thousands: only what refuses a late call is kept."""
    meta = item["metadata"]
    return Run(
        namespace=sys.intern(meta["namespace"]),
        name=meta["name"],
        uid=meta["uid"],
        version=version_of(item),
        attempt=item["status"].get("attempt") or 0,
        finished=True,
        lane=None,
        model=None,
        generation=meta.get("generation", 0),
    )


def _step_in_use(status: JsonObject) -> JsonObject | None:
    """The step of the attempt that holds the slot; ``status.step`` where the run goes next, if it has none."""
    for attempt in status.get("attempts") or ():
        if attempt.get("id") == status.get("attempt") and "endTime" not in attempt:
            step: JsonObject = attempt["step"]
            return step
    return status.get("step")


def _link(step: JsonObject) -> Link:
    causes = tuple(known_cause(word) for word in step.get("causes") or ())
    return Link(step["namespace"], step["lane"], step.get("model"), causes)


def _recorded(status: JsonObject, *, finished: bool) -> JsonObject | None:
    attempts = status.get("attempts") or ()
    last = attempts[-1].get("usage") if attempts else None
    owed = last is not None and "source" not in last
    if not attempts or (finished and not owed):
        return None
    return {name: status[name] for name in ("usage", "attempts", "lastActivityTime") if name in status}


def read_lane(item: JsonObject) -> Lane | None:
    """A lane; None: it cannot be read."""
    meta = item["metadata"]
    try:
        spec = ModelLaneSpec.model_validate(item["spec"])
    except ValidationError as error:
        log.error("lane cannot be read", extra={"lane": "/".join(key_of(item)), "fields": error.error_count()})
        return None
    status = _lane_status(item)
    return Lane(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        version=version_of(item),
        generation=meta.get("generation", 0),
        spec=spec,
        created=datetime.fromisoformat(meta["creationTimestamp"]) if "creationTimestamp" in meta else _LONG_AGO,
        records={one.name: record for one in status.models if (record := model_record(status, one.name)) != _UNHARMED},
        account=account_record(status),
    )


def _lane_status(item: JsonObject) -> ModelLaneStatus:
    """A lane's status; one of another version tells nothing."""
    try:
        return ModelLaneStatus.model_validate(item.get("status") or {})
    except ValidationError:
        return ModelLaneStatus()


_POD_META = ("namespace", "name", "uid", "resourceVersion", "labels")
_POD_STATUS = ("phase", "podIP", "podIPs")


def trim_pod(item: JsonObject) -> dict[str, Any]:
    """What ``read_pod`` reads of a pod, and nothing else."""
    return _parts(item, ("metadata", _POD_META), ("status", _POD_STATUS))


def read_pod(item: JsonObject) -> Pod | None:
    """The pod of an attempt; None: it is another one."""
    meta, status = item["metadata"], item.get("status") or {}
    labels = meta.get("labels") or {}
    number = labels.get(ATTEMPT_LABEL, "")
    if RUN_UID_LABEL not in labels or not number.isascii() or not number.isdigit():
        return None
    listed = [entry.get("ip") for entry in status.get("podIPs") or ()] or [status.get("podIP")]
    return Pod(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        version=version_of(item),
        attempt=AttemptId(run_uid=labels[RUN_UID_LABEL], attempt=int(number)),
        run=labels.get(RUN_LABEL, ""),
        addresses=frozenset(address for address in listed if address),
        ended=status.get("phase") in _ENDED_PHASES,
    )
