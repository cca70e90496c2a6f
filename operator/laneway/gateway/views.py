"""What the gateway sees of the cluster: runs, lanes and pods as plain values, kept by the mirrors, with the indexes that a call needs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Generic, TypeAlias, TypeVar

from pydantic import ValidationError

from laneway.api.agentrun import OnTransientError
from laneway.api.gatewaystate import known_cause
from laneway.api.limits import Limits
from laneway.api.modellane import AllowedFrom, ModelLaneSpec, ModelLaneStatus
from laneway.api.names import ATTEMPT_LABEL, RUN_LABEL, RUN_UID_LABEL
from laneway.api.reasons import RunCondition
from laneway.gateway.spent import Spent, spent_of
from laneway.rules.chain import Link
from laneway.rules.cooldown import Health
from laneway.rules.records import account_key, account_record, model_record
from laneway.rules.token import AttemptId

log = logging.getLogger(__name__)

LaneKey: TypeAlias = tuple[str, str]
"""Namespace and name."""
JsonObject: TypeAlias = Mapping[str, Any]

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_ENDED_PHASES = frozenset({"Succeeded", "Failed"})
_GONE_KEPT = 10_000
_UNHARMED = Health()


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
    limits: Limits = field(default_factory=Limits)
    spent: Spent = field(default_factory=Spent)
    """What its status says that it has used."""


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


_T = TypeVar("_T", bound=Run | Lane | Pod)


class Table(Generic[_T]):
    """Objects of one kind by namespace and name. A newer version of an object wins, whichever way it came."""

    def __init__(
        self,
        parse: Callable[[JsonObject], _T | None],
        changed: Callable[[_T | None, _T | None], None],
    ) -> None:
        self._parse = parse
        self._changed = changed
        self._objects: dict[tuple[str, str], _T] = {}
        self.listed = False
        """Whether a whole list was seen."""

    def __iter__(self) -> Iterator[_T]:
        return iter(list(self._objects.values()))

    def get(self, key: tuple[str, str]) -> _T | None:
        """An object by namespace and name."""
        return self._objects.get(key)

    def on_list(self, items: Iterable[JsonObject]) -> None:
        """Everything that there is."""
        seen = set()
        for item in items:
            seen.add(_key(item))
            self.put(item)
        for key in self._objects.keys() - seen:
            self._changed(self._objects.pop(key), None)
        if not self.listed:
            self.listed = True
            self._changed(None, None)

    def on_event(self, event: str, item: JsonObject) -> None:
        """One change of a watch."""
        if event == "DELETED":
            known = self._objects.get(_key(item))
            if known is not None and known.uid == item["metadata"]["uid"]:
                del self._objects[_key(item)]
                self._changed(known, None)
        elif event in {"ADDED", "MODIFIED"}:
            self.put(item)

    def put(self, item: JsonObject) -> None:
        """One object, from a watch or from a live read."""
        known = self._objects.get(_key(item))
        if known is not None and known.version >= _version(item):
            return
        new = self._parse(item)
        if new is None:
            self._objects.pop(_key(item), None)
        else:
            self._objects[_key(item)] = new
        self._changed(known, new)


class Views:
    """All that a call is judged by."""

    def __init__(self) -> None:
        """Empty; fed through ``runs``, ``lanes`` and ``pods``."""
        self.runs: Table[Run] = Table(_run, self._run_changed)
        self.lanes: Table[Lane] = Table(_lane, self._lane_changed)
        self.pods: Table[Pod] = Table(_pod, self._pod_changed)
        self.on_lane: list[Callable[[LaneKey, Lane | None], None]] = []
        """Told of every change of a lane; None: it is gone."""
        self.on_run: Callable[[str, Run | None], None] = lambda uid, run: None
        """Told of every change of a run, by uid; None: it is gone."""
        self._by_uid: dict[str, Run] = {}
        self._gone: dict[str, None] = {}
        self._by_attempt: dict[AttemptId, dict[str, Pod]] = {}
        self._by_address: dict[str, dict[str, Pod]] = {}
        self._by_account: dict[tuple[str, ...], dict[LaneKey, Lane]] = {}
        self._change = asyncio.Event()
        self._run_changes: dict[str, asyncio.Event] = {}

    @property
    def listed(self) -> bool:
        """Whether every kind was listed once."""
        return self.runs.listed and self.lanes.listed and self.pods.listed

    def run(self, uid: str) -> Run | None:
        """A run by uid."""
        return self._by_uid.get(uid)

    def is_gone(self, uid: str) -> bool:
        """Whether a run of that uid was seen and deleted."""
        return uid in self._gone

    def pods_of(self, attempt: AttemptId) -> list[Pod]:
        """The pods of an attempt; one, or none yet."""
        return list(self._by_attempt.get(attempt, {}).values())

    def pods_at(self, address: str) -> list[Pod]:
        """The pods that have an address now."""
        return list(self._by_address.get(address, {}).values())

    def peers(self, lane: Lane) -> list[Lane]:
        """The lanes that share a lane's account, itself among them."""
        account = account_key(lane.namespace, lane.spec)
        return [lane] if account is None else list(self._by_account.get(account, {lane.key: lane}).values())

    async def wait_for_change(self) -> None:
        """Until anything changes."""
        await self._change.wait()

    async def wait_for_run(self, uid: str) -> None:
        """Until a run of that uid changes or goes. Nobody else's change wakes who waits here."""
        await self._run_changes.setdefault(uid, asyncio.Event()).wait()

    def _notify(self) -> None:
        self._change.set()
        self._change = asyncio.Event()

    def _run_changed(self, old: Run | None, new: Run | None) -> None:
        if old is not None and (new is None or new.uid != old.uid):
            self._by_uid.pop(old.uid, None)
            self._gone[old.uid] = None
            self.on_run(old.uid, None)
            if len(self._gone) > _GONE_KEPT:
                del self._gone[next(iter(self._gone))]
        if new is not None:
            self._by_uid[new.uid] = new
            self.on_run(new.uid, new)
        for uid in {run.uid for run in (old, new) if run is not None}:
            if (change := self._run_changes.pop(uid, None)) is not None:
                change.set()
        self._notify()

    def _lane_changed(self, old: Lane | None, new: Lane | None) -> None:
        for lane, is_new in ((old, False), (new, True)):
            account = account_key(lane.namespace, lane.spec) if lane is not None else None
            if lane is not None and account is not None:
                sharing = self._by_account.setdefault(account, {})
                if is_new:
                    sharing[lane.key] = lane
                else:
                    sharing.pop(lane.key, None)
                if not sharing:
                    del self._by_account[account]
        known = new or old
        if known is not None:
            for tell in self.on_lane:
                tell(known.key, new)
        self._notify()

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        if old is not None:
            _drop(self._by_attempt, old.attempt, old.uid)
            for address in old.addresses:
                _drop(self._by_address, address, old.uid)
        if new is not None:
            self._by_attempt.setdefault(new.attempt, {})[new.uid] = new
            for address in () if new.ended else new.addresses:
                self._by_address.setdefault(address, {})[new.uid] = new
        self._notify()


_K = TypeVar("_K")


def _drop(index: dict[_K, dict[str, Pod]], key: _K, uid: str) -> None:
    found = index.get(key)
    if found is not None:
        found.pop(uid, None)
        if not found:
            del index[key]


def _key(item: JsonObject) -> tuple[str, str]:
    return item["metadata"]["namespace"], item["metadata"]["name"]


def _version(item: JsonObject) -> int:
    return int(item["metadata"]["resourceVersion"])


def _run(item: JsonObject) -> Run | None:
    meta, spec, status = item["metadata"], item.get("spec") or {}, item.get("status") or {}
    step = _step_in_use(status)
    try:
        limits = Limits.model_validate(spec.get("limits") or {})
    except ValidationError as error:
        log.error("run cannot be read", extra={"run": "/".join(_key(item)), "fields": error.error_count()})
        return None
    finished = any(
        one.get("type") == RunCondition.FINISHED and one.get("status") == "True"
        for one in status.get("conditions") or ()
    )
    return Run(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        version=_version(item),
        attempt=status.get("attempt") or 0,
        finished=finished,
        lane=(step["namespace"], step["lane"]) if step else None,
        model=step.get("model") if step else None,
        caller=spec.get("caller") or "",
        priority=spec.get("priority") or 0,
        skips=spec.get("onTransientError") == OnTransientError.SKIP,
        generation=meta.get("generation", 0),
        chain=tuple(_link(one) for one in status.get("chain") or ()),
        recorded=_recorded(status, finished=finished),
        limits=limits,
        spent=spent_of(status),
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


def _lane(item: JsonObject) -> Lane | None:
    meta = item["metadata"]
    try:
        spec = ModelLaneSpec.model_validate(item["spec"])
    except ValidationError as error:
        log.error("lane cannot be read", extra={"lane": "/".join(_key(item)), "fields": error.error_count()})
        return None
    status = _lane_status(item)
    return Lane(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        version=_version(item),
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


def _pod(item: JsonObject) -> Pod | None:
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
        version=_version(item),
        attempt=AttemptId(run_uid=labels[RUN_UID_LABEL], attempt=int(number)),
        run=labels.get(RUN_LABEL, ""),
        addresses=frozenset(address for address in listed if address),
        ended=status.get("phase") in _ENDED_PHASES,
    )
