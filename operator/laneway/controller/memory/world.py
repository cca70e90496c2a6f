"""What the cache holds, as the decisions want it: parsed runs and lanes, pods as facts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from pydantic import ValidationError

from laneway.api.agentrun import AgentRun
from laneway.api.modellane import ModelLane, ModelLaneStatus
from laneway.api.reasons import RunCondition
from laneway.api.runstatus import AgentRunStatus
from laneway.controller.between.classification import steps_of
from laneway.controller.chain.eligibility import allows
from laneway.controller.facts.objects import Lane, Meta, Run
from laneway.controller.facts.pods import PodFacts, parse_time, read_pod
from laneway.controller.facts.views import DependencyState, DependencyView
from laneway.controller.health.records import account_key
from laneway.controller.memory.outcomes import Outcomes
from laneway.kube.cache import Cache, Change
from laneway.kube.resources import AGENT_RUNS, MODEL_LANES, JsonObject, Key, Resource, key_of, uid_of
from laneway.rules.chain import Chain, LaneSteps, expand
from laneway.rules.fairshare import Caller
from laneway.rules.keeper import keeper

T = TypeVar("T")
_OUTCOMES_AT_ONCE = 50
"""Runs whose attempts are read before others have their turn: some milliseconds."""


class UnreadableObject(Exception):  # noqa: N818 - it says what happened
    """An object that the API server took, and that is not what the API says: another version's, or foreign hands'.

    The message names fields and never values: a prompt may be among them.
    """


def lanes_of_run(run: JsonObject) -> Iterable[Key]:
    """The lanes that an unfinished run stands in line for, holds a slot of, or had an attempt on: its failures are what they learn from."""
    status = run.get("status") or {}
    if _is_over(status):
        return ()
    own = run["metadata"]["namespace"]
    steps = [status.get("step")] if status.get("step") else list((run.get("spec") or {}).get("models") or ())[:1]
    steps += [attempt.get("step") or {} for attempt in status.get("attempts") or ()]
    return {Key(step.get("namespace") or own, step["lane"]) for step in steps if step.get("lane")}


def chain_of_run(run: JsonObject) -> Iterable[Key]:
    """The lanes that an unfinished run may use, those of fallbacks too once it was looked at: what changes there may concern it."""
    status = run.get("status") or {}
    if _is_over(status):
        return ()
    own = run["metadata"]["namespace"]
    steps = [*((run.get("spec") or {}).get("models") or ()), *(status.get("chain") or ())]
    return {Key(step.get("namespace") or own, step["lane"]) for step in steps if step.get("lane")}


def dependencies_of_run(run: JsonObject) -> Iterable[Key]:
    """The runs that have to end well before a run's first attempt; none once that was granted or the run has ended."""
    status = run.get("status") or {}
    if status.get("attempt") or _is_over(status):
        return ()
    own = run["metadata"]["namespace"]
    return [Key(own, one["name"]) for one in (run.get("spec") or {}).get("dependsOn") or () if one.get("name")]


def has_ended(run: JsonObject) -> bool:
    """Whether a run has ended, in whatever way."""
    return _is_over(run.get("status") or {})


def progress(run: JsonObject | None) -> tuple[DependencyState, str]:
    """How far a run is for those that depend on it, and the reason of its end."""
    if run is None:
        return DependencyState.MISSING, ""
    conditions = {one.get("type"): one for one in (run.get("status") or {}).get("conditions") or ()}
    if conditions.get(RunCondition.FINISHED, {}).get("status") != "True":
        return DependencyState.UNFINISHED, ""
    ended = conditions.get(RunCondition.SUCCEEDED, {})
    state = DependencyState.SUCCEEDED if ended.get("status") == "True" else DependencyState.FAILED
    return state, str(ended.get("reason", ""))


def make_cache() -> Cache:
    """An empty cache, which finds runs by what they say of lanes and of other runs."""
    return Cache(
        lanes_of_run=lanes_of_run,
        chain_of_run=chain_of_run,
        dependencies_of_run=dependencies_of_run,
        has_ended=has_ended,
    )


class World:
    """Reads the cache. Parsed objects are kept as long as their version is the newest, but for runs that have ended."""

    def __init__(self, cache: Cache, *, on_change: Callable[[Change], None]) -> None:
        self.cache = cache
        self._on_change = on_change
        self._outcomes: Outcomes | None = None
        self._runs = _Parsed(_parse_run, keep=lambda run: not run.finished)
        self._lanes = _Parsed(_parse_lane)
        self._pods: _Parsed[PodFacts | None] = _Parsed(read_pod)

    def run(self, key: Key) -> Run | None:
        """A run; None if it is not there. Raises UnreadableObject."""
        raw = self.cache.get(AGENT_RUNS, key)
        return self._runs.of(raw) if raw else None

    def lane(self, key: Key) -> Lane | None:
        """A lane; None if it is not there. Raises UnreadableObject."""
        raw = self.cache.get(MODEL_LANES, key)
        return self._lanes.of(raw) if raw else None

    def chain(self, run: Run) -> tuple[Chain, dict[tuple[str, str], Lane]]:
        """The chain of a run, and the lanes on it that are there and can be read."""
        found: dict[tuple[str, str], Lane] = {}

        def lane_steps(key: tuple[str, str]) -> LaneSteps | None:
            with contextlib.suppress(UnreadableObject):
                lane = found.get(key) or self.lane(Key(*key))
                if lane is not None:
                    found[key] = lane
                    return steps_of(lane, run.status)
            return None

        return expand(run.spec.models, namespace=run.meta.namespace, lane_of=lane_steps), found

    def peers(self, lane: Lane) -> tuple[Lane, ...]:
        """Other lanes of the same account."""
        wanted = account_key(lane)
        if wanted is None:
            return ()
        lanes = self._lanes.readable(self.cache.items(MODEL_LANES))
        return tuple(other for other in lanes if other.meta.uid != lane.meta.uid and account_key(other) == wanted)

    def raw_status(self, resource: Resource, key: Key) -> JsonObject:
        """The status as the API server has it, to see whether a write would change anything."""
        raw = self.cache.get(resource, key)
        return (raw.get("status") or {}) if raw else {}

    def runs_on_lane(self, key: Key) -> tuple[Run, ...]:
        """Unfinished runs of a lane, less those that cannot be read: their pods still count."""
        return tuple(self._runs.readable(self.cache.runs_on_lane(key)))

    def pods_of_run(self, uid: str) -> tuple[PodFacts, ...]:
        """Pods of a run, oldest attempt first."""
        facts = map(self._pods.of, self.cache.pods_of_run(uid))
        return tuple(sorted((pod for pod in facts if pod), key=lambda pod: pod.attempt))

    def pods_on_lane(self, key: Key) -> tuple[PodFacts, ...]:
        """Pods with a lane's labels, whoever owned them."""
        facts = map(self._pods.of, self.cache.pods_on_lane(key))
        return tuple(pod for pod in facts if pod)

    def caller(self, key: Key, uid: str) -> Caller:
        """Whom a run counts for, finished or not; one that is gone counts for its namespace without a caller."""
        raw = self.cache.get(AGENT_RUNS, key)
        known = raw is not None and uid_of(raw) == uid
        return Caller(key.namespace, str((raw.get("spec") or {}).get("caller") or "") if raw and known else "")

    def dependencies(self, run: Run) -> tuple[DependencyView, ...]:
        """What a run depends on before its first attempt, and how far that is."""
        if run.status.attempt:
            return ()
        return tuple(
            DependencyView(one.name, *progress(self.cache.get(AGENT_RUNS, Key(run.meta.namespace, one.name))))
            for one in run.spec.depends_on
        )

    def usable_lanes(self, namespace: str, *, limit: int = 8) -> tuple[str, ...]:
        """Names of lanes that runs of a namespace may use, for messages."""
        lanes = self._lanes.readable(self.cache.items(MODEL_LANES))
        shown = (
            lane.meta.name if lane.meta.namespace == namespace else f"{lane.meta.namespace}/{lane.meta.name}"
            for lane in lanes
            if allows(lane, namespace)
        )
        return tuple(sorted(shown)[:limit])

    def absorb(self, resource: Resource, obj: JsonObject) -> None:
        """Take in the answer to a write of ours or to a live read: the watch will not tell it again."""
        change = self.cache.put(resource, obj)
        if change is not None:
            self._on_change(change)

    @property
    def outcomes(self) -> Outcomes:
        """How attempts ended. Read from the cache when first asked for: everything is listed by then."""
        if self._outcomes is None:
            self._outcomes = Outcomes(self.cache.items(AGENT_RUNS))
        return self._outcomes

    async def read_outcomes(self) -> None:
        """Learn how attempts ended, a few runs at a time: on a busy machine tens of thousands in one go keep the Lease from being renewed."""
        outcomes = Outcomes(())
        for number, key in enumerate(tuple(self.cache.keys(AGENT_RUNS)), start=1):
            run = self.cache.get(AGENT_RUNS, key)
            if run is not None:
                outcomes.note(run)
            if number % _OUTCOMES_AT_ONCE == 0:
                await asyncio.sleep(0)
        self._outcomes = outcomes

    def forget(self, uid: str) -> None:
        """Drop what was parsed of an object that is gone."""
        self._runs.forget(uid)
        self._lanes.forget(uid)
        self._pods.forget(uid)


class _Parsed(Generic[T]):
    """Parsed objects by uid, each with the version it was parsed from."""

    def __init__(self, parse: Callable[[JsonObject], T], *, keep: Callable[[T], bool] = lambda _: True) -> None:
        self._parse = parse
        self._keep = keep
        self._known: dict[str, tuple[str, T]] = {}

    def of(self, raw: JsonObject) -> T:
        uid, version = raw["metadata"]["uid"], raw["metadata"]["resourceVersion"]
        known = self._known.get(uid)
        if known and known[0] == version:
            return known[1]
        try:
            parsed = self._parse(raw)
        except ValidationError as error:
            wrong = sorted({".".join(str(part) for part in one["loc"]) for one in error.errors(include_input=False)})
            raise UnreadableObject(f"{raw.get('kind')} {key_of(raw)} cannot be read: {', '.join(wrong)}") from None
        if self._keep(parsed):
            self._known[uid] = (version, parsed)
        else:
            self.forget(uid)
        return parsed

    def readable(self, objects: Iterable[JsonObject]) -> Iterator[T]:
        """Those that can be read; one that cannot is logged by its own pass and must not stop the others."""
        for raw in objects:
            with contextlib.suppress(UnreadableObject):
                yield self.of(raw)

    def forget(self, uid: str) -> None:
        self._known.pop(uid, None)


def _parse_run(raw: JsonObject) -> Run:
    run = AgentRun.model_validate(raw)
    return Run(meta=_meta(raw), spec=run.spec, status=run.status or AgentRunStatus())


def _parse_lane(raw: JsonObject) -> Lane:
    lane = ModelLane.model_validate(raw)
    return Lane(meta=_meta(raw), spec=lane.spec, status=lane.status or ModelLaneStatus())


def _meta(raw: JsonObject) -> Meta:
    meta = raw["metadata"]
    return Meta(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        generation=meta.get("generation", 0),
        resource_version=meta["resourceVersion"],
        created=parse_time(meta["creationTimestamp"]),
        deleting="deletionTimestamp" in meta,
        keeper=keeper(meta),
    )


def _is_over(status: JsonObject) -> bool:
    return any(
        condition.get("type") == RunCondition.FINISHED and condition.get("status") == "True"
        for condition in status.get("conditions") or ()
    )
