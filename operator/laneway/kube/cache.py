"""What we know of the cluster: one dict for each resource, kept by the feed, by our own writes and by the resync.

Events of one name can arrive out of order (the new object before the end of the old one), and the answer to a write can be
older than an event that came before it. So an object is replaced only by a higher resourceVersion, of the same or of a new
uid; it is removed only by the end of the same uid; and what has ended does not come back.

Objects are shared and must not be changed by readers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator
from dataclasses import dataclass

from laneway.api.names import LANE_LABEL, LANE_NAMESPACE_LABEL, RUN_UID_LABEL
from laneway.kube.resources import (
    AGENT_RUNS,
    MODEL_LANES,
    PODS,
    JsonObject,
    Key,
    Resource,
    key_of,
    uid_of,
    version_of,
)
from laneway.kube.table import Index, Listed, Table

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_ENDED_LIMIT = 4096
"""How many ended uids are remembered; enough for the few seconds that a late answer can take."""


@dataclass(frozen=True)
class Change:
    """One object came, changed or went. At least one of both is there."""

    resource: Resource
    before: JsonObject | None
    """What the cache held; None: it is new."""
    after: JsonObject | None
    """What the cache holds now; None: it is gone."""

    @property
    def key(self) -> Key:
        """Where the object is or was."""
        known = self.after if self.after is not None else self.before
        assert known is not None
        return key_of(known)


class Cache:
    """AgentRuns, ModelLanes and Pods by key, with indexes by lane and by run."""

    def __init__(
        self,
        *,
        lanes_of_run: Callable[[JsonObject], Iterable[Key]],
        chain_of_run: Callable[[JsonObject], Iterable[Key]],
        dependencies_of_run: Callable[[JsonObject], Iterable[Key]],
        has_ended: Callable[[JsonObject], bool],
    ) -> None:
        """The lanes that a run concerns, those of its chain, and the other runs, under which it is found; whether it has ended, and is kept small.

        The functions must accept any object the API accepts.
        """
        self._runs_by_lane = Index(lanes_of_run)
        self._runs_by_chain = Index(chain_of_run)
        self._runs_by_dependency = Index(dependencies_of_run)
        self._pods_by_run = Index(_run_of_pod)
        self._pods_by_lane = Index(_lane_of_pod)
        self._tables = {
            AGENT_RUNS: Table([self._runs_by_lane, self._runs_by_chain, self._runs_by_dependency], at_rest=has_ended),
            MODEL_LANES: Table([]),
            PODS: Table([self._pods_by_run, self._pods_by_lane]),
        }
        self._ended: dict[str, None] = {}
        self._events: dict[Resource, int] = dict.fromkeys(self._tables, 0)

    def __repr__(self) -> str:
        sizes = ", ".join(f"{len(table)} {resource.plural}" for resource, table in self._tables.items())
        return f"<Cache {sizes}>"

    # Reading

    def get(self, resource: Resource, key: Key) -> JsonObject | None:
        """The object at this place, if known."""
        return self._tables[resource].get(key)

    def keys(self, resource: Resource) -> Collection[Key]:
        """Where the objects of a resource are; a live view, so copy it before an await."""
        return self._tables[resource].keys()

    def items(self, resource: Resource) -> Iterator[JsonObject]:
        """All objects of a resource, one after the other; not to be used across an await."""
        table = self._tables[resource]
        return (obj for line in table.lines() if (obj := table.get(line.key)) is not None)

    def runs_on_lane(self, lane: Key) -> list[JsonObject]:
        """The runs that ``lanes_of_run`` put under this lane."""
        return self._find(AGENT_RUNS, self._runs_by_lane, lane)

    def runs_with_lane_in_chain(self, lane: Key) -> list[JsonObject]:
        """The runs that ``chain_of_run`` put under this lane."""
        return self._find(AGENT_RUNS, self._runs_by_chain, lane)

    def dependents_of_run(self, run: Key) -> list[JsonObject]:
        """The runs that ``dependencies_of_run`` put under this run, whether it exists or not."""
        return self._find(AGENT_RUNS, self._runs_by_dependency, run)

    def pods_of_run(self, uid: str) -> list[JsonObject]:
        """The pods that carry this run's uid."""
        return self._find(PODS, self._pods_by_run, uid)

    def pods_on_lane(self, lane: Key) -> list[JsonObject]:
        """The pods that carry this lane's labels, whether their run still exists or not."""
        return self._find(PODS, self._pods_by_lane, lane)

    def lacks(self, resource: Resource, listed: Listed) -> bool:
        """Whether a list showed something newer than what is known here."""
        known = self._tables[resource].line(listed.key)
        return listed.uid not in self._ended and (known is None or known.version < listed.version)

    def events(self, resource: Resource) -> int:
        """How many events of a watch have told of this resource."""
        return self._events[resource]

    # Changing

    def take_event(self, resource: Resource, kind: str | None, obj: JsonObject) -> Change | None:
        """Take in an event of a watch; None: it was no news. ``kind`` is None for what a watch lists before it begins."""
        self._events[resource] += 1
        return self.remove(resource, obj) if kind == "DELETED" else self.put(resource, obj)

    def put(self, resource: Resource, obj: JsonObject) -> Change | None:
        """Take in an object from a list, an event or the answer to a write; None: it was not news."""
        table, key, uid = self._tables[resource], key_of(obj), uid_of(obj)
        known = table.line(key)
        if uid in self._ended or (known is not None and version_of(obj) <= known.version):
            return None
        if known is not None and known.uid != uid:
            self._end(known.uid)
        before, after = table.get(key), _trimmed(obj)
        table.store(key, after)
        return Change(resource, before, after)

    def remove(self, resource: Resource, obj: JsonObject) -> Change | None:
        """Take in the end of an object; None: another one has its place, or it was not known."""
        return self._drop(resource, Listed.of(obj))

    def retain(
        self, resource: Resource, listing: Iterable[Listed], *, version: int, namespace: str | None = None
    ) -> list[Change]:
        """Drop what a whole list of ``namespace`` (None: of the cluster) read at ``version`` no longer has.

        What is newer than the list stays: it came after the list was read.
        """
        uids = {listed.key: listed.uid for listed in listing}
        table = self._tables[resource]
        ghosts = [
            line
            for line in table.lines()
            if namespace in (None, line.key.namespace) and uids.get(line.key) != line.uid and line.version <= version
        ]
        return [change for ghost in ghosts if (change := self._drop(resource, ghost))]

    def _find(self, resource: Resource, index: Index, value: Hashable) -> list[JsonObject]:
        table = self._tables[resource]
        return [obj for key in index.keys_by_value.get(value, ()) if (obj := table.get(key)) is not None]

    def _drop(self, resource: Resource, ended: Listed) -> Change | None:
        table, known = self._tables[resource], self._tables[resource].line(ended.key)
        self._end(ended.uid)
        if known is None or known.uid != ended.uid:
            return None
        before = table.get(ended.key)
        table.discard(ended.key)
        return Change(resource, before, None)

    def _end(self, uid: str) -> None:
        self._ended[uid] = None
        if len(self._ended) > _ENDED_LIMIT:
            del self._ended[next(iter(self._ended))]


def _run_of_pod(pod: JsonObject) -> Iterable[str]:
    uid = (pod["metadata"].get("labels") or {}).get(RUN_UID_LABEL)
    return [uid] if uid else []


def _lane_of_pod(pod: JsonObject) -> Iterable[Key]:
    labels = pod["metadata"].get("labels") or {}
    if LANE_LABEL not in labels:
        return []
    return [Key(labels.get(LANE_NAMESPACE_LABEL) or pod["metadata"].get("namespace", ""), labels[LANE_LABEL])]


def _trimmed(obj: JsonObject) -> JsonObject:
    """Without what only other tools read: it is more than half of a small object."""
    meta = {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
    if _LAST_APPLIED in (meta.get("annotations") or {}):
        meta["annotations"] = {name: value for name, value in meta["annotations"].items() if name != _LAST_APPLIED}
    return {**obj, "metadata": meta}
