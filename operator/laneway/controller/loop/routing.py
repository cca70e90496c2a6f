"""From a change to the keys that have to be looked at again."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from laneway.api import names
from laneway.api.agentrun import Selection
from laneway.api.lanecalls import Capacity
from laneway.api.reasons import Cause
from laneway.controller.facts.pods import read_pod
from laneway.controller.loop.queue import Queue
from laneway.controller.loop.reconcile import WorkKey
from laneway.controller.memory.world import UnreadableObject, World, lanes_of_run, progress
from laneway.controller.outside.gateway import Changes, GatewayClient
from laneway.kube.cache import Change
from laneway.kube.resources import AGENT_RUNS, MODEL_LANES, PODS, JsonObject, Key, key_of, uid_of


class Router:
    """Queues runs and lanes. Runs wake their lane and the runs that depend on them; lanes wake their runs when they change for them; pods wake both."""

    def __init__(self, *, queue: Queue[WorkKey], world: World, gateway: GatewayClient) -> None:
        self._queue = queue
        self._world = world
        self._gateway = gateway
        self._lane_faces: dict[Key, object] = {}
        gateway.questions.on_answer = self._on_answer

    def on_change(self, change: Change) -> None:
        """An object came, changed or went. A new run is in no hurry: its lane asks for it if a slot waits for its first look."""
        seen = [obj for obj in (change.before, change.after) if obj is not None]
        if change.resource is AGENT_RUNS:
            if change.before is None and change.after is not None:
                self._wake_full_lanes(change.after)
            self._queue.add(WorkKey("run", change.key), patient=change.before is None)
            if change.before is None or change.after is None or _run_face(change.before) != _run_face(change.after):
                self._wake_lanes({lane for run in seen for lane in lanes_of_run(run)})
            if change.after is not None:
                # Before any pass of the lane: a slot that a failure set free must not go to another run for the same model.
                self._wake_lanes(self._world.outcomes.note(change.after))
            if progress(change.before) != progress(change.after):
                self._wake_dependents(change.key)
        elif change.resource is MODEL_LANES:
            self._queue.add(WorkKey("lane", change.key))
            self._lane_changed(change)
        elif change.resource is PODS:
            for pod in seen:
                self._pod_changed(pod)
        if change.before is not None and (change.after is None or uid_of(change.after) != uid_of(change.before)):
            self._world.forget(uid_of(change.before))
            self._gateway.forget(uid_of(change.before))

    def on_gateway(self, changes: Changes) -> None:
        """The gateway told something new."""
        self._wake_lanes(Key(*lane) for lane in changes.lanes)
        for uid, _ in changes.attempts:
            self._wake_owner(self._world.cache.pods_of_run(uid))
        if changes.turned:
            self.everything()

    def _on_answer(self, run: Key) -> None:
        """A classifier has answered, or can be asked again."""
        self._queue.add(WorkKey("run", run))

    def everything(self) -> None:
        """Look at all there is, behind what is fresh."""
        for lane in self._world.cache.keys(MODEL_LANES):
            self._queue.add(WorkKey("lane", lane), patient=True)
        for run in self._world.cache.keys(AGENT_RUNS):
            self._queue.add(WorkKey("run", run), patient=True)

    def _wake_lanes(self, lanes: Iterable[Key]) -> None:
        for lane in lanes:
            self._queue.add(WorkKey("lane", lane))

    def _wake_full_lanes(self, run: JsonObject) -> None:
        """A new run that has to stand in line is given its place before it is looked at: both are said in one write."""
        lanes = {lane: self._world.cache.get(MODEL_LANES, lane) for lane in lanes_of_run(run)}
        self._wake_lanes(lane for lane, obj in lanes.items() if obj and _room(obj) <= 0)

    def _wake_dependents(self, key: Key) -> None:
        for run in self._world.cache.dependents_of_run(key):
            self._queue.add(WorkKey("run", key_of(run)))
            self._wake_lanes(lanes_of_run(run))

    def _wake_owner(self, pods: list[JsonObject]) -> None:
        for pod in pods[:1]:
            run = (pod["metadata"].get("labels") or {}).get(names.RUN_LABEL)
            if run:
                self._queue.add(WorkKey("run", Key(pod["metadata"]["namespace"], run)))

    def _pod_changed(self, pod: JsonObject) -> None:
        facts = read_pod(pod)
        if facts is None:
            return
        self._wake_owner([pod])
        self._queue.add(WorkKey("lane", Key(*facts.lane)))

    def _lane_changed(self, change: Change) -> None:
        """A lane's counts change with every grant; its runs are woken only by what they read of it."""
        self._wake_for_room(change)
        face = _face(change.after) if change.after else None
        if self._lane_faces.get(change.key, ()) == face:
            return
        self._lane_faces[change.key] = face
        for lane in (change.key, *self._peers(change)):
            for run in self._world.cache.runs_with_lane_in_chain(lane):
                self._queue.add(WorkKey("run", key_of(run)), patient=True)

    def _peers(self, change: Change) -> list[Key]:
        """Lanes of the same account, if what is known of the account has changed: its cooldown shuts their models too."""
        before, after = (_account(obj) if obj else None for obj in (change.before, change.after))
        if before == after:
            return []
        try:
            lane = self._world.lane(change.key)
        except UnreadableObject:
            return []
        return [Key(*peer.meta.key) for peer in self._world.peers(lane)] if lane else []

    def _wake_for_room(self, change: Change) -> None:
        """A lane has free slots and nobody in line: as many runs are told that stand in line elsewhere and may come here."""
        before, after = (_room(obj) if obj else 0 for obj in (change.before, change.after))
        if after <= max(0, before):
            return
        movable = (run for run in self._world.cache.runs_with_lane_in_chain(change.key) if may_move(run, change.key))
        for run in islice(movable, after):
            self._queue.add(WorkKey("run", key_of(run)))


_ONLY_SHOWN = frozenset({"queue", "usage", "lastActivityTime"})


def _run_face(run: JsonObject) -> object:
    """What lanes read of a run: all but what its status only shows. Else every place that is written would wake the lane again."""
    meta, status = run["metadata"], run.get("status") or {}
    conditions = [
        (c["type"], c["status"], c.get("reason"), c.get("lastTransitionTime")) for c in status.get("conditions") or ()
    ]
    attempts = [
        {name: value for name, value in attempt.items() if name not in _ONLY_SHOWN}
        for attempt in status.get("attempts") or ()
    ]
    rest = {name: value for name, value in status.items() if name not in _ONLY_SHOWN}
    identity = meta["uid"], meta.get("generation"), "deletionTimestamp" in meta, set(lanes_of_run(run))
    return identity, {**rest, "conditions": conditions, "attempts": attempts}


def _face(lane: JsonObject) -> object:
    """What runs read of a lane: its spec, readiness, which models may be used, and who may spend no more."""
    status = lane.get("status") or {}
    ready = [(c["type"], c["status"], c.get("message")) for c in status.get("conditions") or () if c["type"] == "Ready"]
    models = [
        (model["name"], model.get("served"), model.get("cooldownUntil"), model.get("cooldownReason"))
        for model in status.get("models") or ()
    ]
    spent = [
        (spend["namespace"], spend["period"], spend["periodEndTime"])
        for spend in status.get("spend") or ()
        if spend["reached"]
    ]
    return lane["metadata"]["uid"], lane["metadata"].get("generation"), ready, models, _account(lane), spent


def _account(lane: JsonObject) -> object:
    account = (lane.get("status") or {}).get("account") or {}
    return account.get("cooldownUntil"), account.get("reason")


def _room(lane: JsonObject) -> int:
    """Slots that are free and that nobody stands in line for."""
    status, spec = lane.get("status") or {}, lane.get("spec") or {}
    slots = (spec.get("capacity") or {}).get("runs", Capacity().runs)
    return int(slots) - (status.get("activeRuns") or 0) - (status.get("queuedRuns") or 0)


def may_move(run: JsonObject, lane: Key) -> bool:
    """Whether a run stands in line elsewhere and might rather be on this lane: a step above its own, one for lack of slots, or any."""
    status = run.get("status") or {}
    step, chain = status.get("step"), status.get("chain") or ()
    if not step or status.get("queue") is None or (step["namespace"], step["lane"]) == lane:
        return False
    if (run.get("spec") or {}).get("selection") == Selection.LEAST_BUSY:
        return True
    steps = [(one["namespace"], one["lane"], one.get("model")) for one in chain]
    here = (step["namespace"], step["lane"], step.get("model"))
    own = steps.index(here) if here in steps else 0
    return any(
        one[:2] == lane and (number < own or Cause.FULL in (chain[number].get("causes") or ()))
        for number, one in enumerate(steps)
    )
