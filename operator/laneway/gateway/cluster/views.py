"""What the gateway sees of the cluster, kept by the mirrors, with the indexes that a call needs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from laneway.gateway.cluster.objects import (
    JsonObject,
    Lane,
    LaneKey,
    Pod,
    Run,
    key_of,
    read_lane,
    read_pod,
    read_run,
    version_of,
)
from laneway.rules.records import account_key
from laneway.rules.token import AttemptId

_GONE_KEPT = 10_000
_GONE_LANES_KEPT = 1_000

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
            seen.add(key_of(item))
            self.put(item)
        for key in self._objects.keys() - seen:
            self._changed(self._objects.pop(key), None)
        if not self.listed:
            self.listed = True
            self._changed(None, None)

    def on_event(self, event: str, item: JsonObject) -> None:
        """One change of a watch."""
        if event == "DELETED":
            known = self._objects.get(key_of(item))
            if known is not None and known.uid == item["metadata"]["uid"]:
                del self._objects[key_of(item)]
                self._changed(known, None)
        elif event in {"ADDED", "MODIFIED"}:
            self.put(item)

    def put(self, item: JsonObject) -> None:
        """One object, from a watch or from a live read."""
        known = self._objects.get(key_of(item))
        if known is not None and known.version >= version_of(item):
            return
        new = self._parse(item)
        if new is None:
            self._objects.pop(key_of(item), None)
        else:
            self._objects[key_of(item)] = new
        self._changed(known, new)


class Views:
    """All that a call is judged by."""

    def __init__(self) -> None:
        """Empty; fed through ``runs``, ``lanes`` and ``pods``."""
        self.runs: Table[Run] = Table(read_run, self._run_changed)
        self.lanes: Table[Lane] = Table(read_lane, self._lane_changed)
        self.pods: Table[Pod] = Table(read_pod, self._pod_changed)
        self.on_lane: list[Callable[[LaneKey, Lane | None], None]] = []
        """Told of every change of a lane; None: it is gone."""
        self.on_run: list[Callable[[str, Run | None], None]] = []
        """Told of every change of a run, by uid; None: it is gone."""
        self._by_uid: dict[str, Run] = {}
        self._gone: dict[str, None] = {}
        self._by_attempt: dict[AttemptId, dict[str, Pod]] = {}
        self._by_address: dict[str, dict[str, Pod]] = {}
        self._by_account: dict[tuple[str, ...], dict[LaneKey, Lane]] = {}
        self._gone_lanes: dict[LaneKey, Lane] = {}
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

    def lane_before(self, key: LaneKey) -> Lane | None:
        """A lane that is gone, as it was last; None if this process has not seen it."""
        return self._gone_lanes.get(key)

    async def wait_for_change(self) -> None:
        """Until anything changes."""
        await self._change.wait()

    async def wait_for_run(self, uid: str) -> None:
        """Until a run of that uid changes or goes. Nobody else's change wakes who waits here."""
        await self.change_of_run(uid).wait()

    def change_of_run(self, uid: str) -> asyncio.Event:
        """Set at the next change of a run of that uid, or when it goes."""
        return self._run_changes.setdefault(uid, asyncio.Event())

    def _notify(self) -> None:
        self._change.set()
        self._change = asyncio.Event()

    def _run_changed(self, old: Run | None, new: Run | None) -> None:
        if old is not None and (new is None or new.uid != old.uid):
            self._by_uid.pop(old.uid, None)
            self._gone[old.uid] = None
            for tell in self.on_run:
                tell(old.uid, None)
            if len(self._gone) > _GONE_KEPT:
                del self._gone[next(iter(self._gone))]
        if new is not None:
            self._by_uid[new.uid] = new
            for tell in self.on_run:
                tell(new.uid, new)
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
        if old is not None and new is None:
            self._gone_lanes[old.key] = old
            if len(self._gone_lanes) > _GONE_LANES_KEPT:
                del self._gone_lanes[next(iter(self._gone_lanes))]
        if known is not None and new is not None:
            self._gone_lanes.pop(known.key, None)
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
