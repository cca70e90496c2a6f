"""One pass over one run or one lane: read what is known, decide, carry it out, write status once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from laneway.api import names
from laneway.api.runstatus import AgentRunStatus
from laneway.controller import metrics
from laneway.controller.between.waiting import place_told_next
from laneway.controller.decide_lane import LaneDecision, decide_lane
from laneway.controller.decide_run import decide_run
from laneway.controller.decision import spans
from laneway.controller.decision.effects import CreatePod, Effect, PostEvent
from laneway.controller.ends import endings
from laneway.controller.facts.objects import Lane, Run
from laneway.controller.facts.place import Place
from laneway.controller.facts.presets import Preset
from laneway.controller.facts.views import Held, LaneView, PodRefusal, Standing, Walk
from laneway.controller.lane.admission import Grant, granted_events, granted_status, walked
from laneway.controller.lane.status import line_is_shorter
from laneway.controller.loop.gather import Gatherer
from laneway.controller.loop.queue import Queue
from laneway.controller.memory.served import Served
from laneway.controller.memory.unsettled import Unsettled, Write
from laneway.controller.memory.walks import Walks
from laneway.controller.memory.world import UnreadableObject, World
from laneway.controller.outside import livelog
from laneway.controller.outside.apply import Applied, Applier
from laneway.controller.outside.clock import Clock
from laneway.controller.outside.gateway import GatewayClient
from laneway.kube.client import Kube
from laneway.kube.errors import Conflict, KubeError, NotFound, Unavailable
from laneway.kube.resources import AGENT_RUNS, MODEL_LANES, PODS, Key
from laneway.rules.traces import Span

log = logging.getLogger(__name__)

GATEWAY_RETRY = timedelta(seconds=2)
GRANT_RETRY = timedelta(milliseconds=50)
"""After a grant was refused because its run had changed: the change is on its way to the cache."""
LINE_TOLD_EVERY = timedelta(seconds=1)
"""How often a lane says that its line got shorter, when nothing else of it changed."""
SOONEST = timedelta(seconds=1)
"""A moment that has passed already must not turn into a busy loop."""


class WorkKey(NamedTuple):
    """What to look at: a run or a lane."""

    kind: Literal["run", "lane"]
    key: Key


class Reconciler:
    """Runs the passes. All it keeps between them can be lost."""

    def __init__(
        self,
        *,
        kube: Kube,
        world: World,
        queue: Queue[WorkKey],
        gateway: GatewayClient,
        applier: Applier,
        gatherer: Gatherer,
        presets: Mapping[str, Preset],
        clock: Clock,
        trace: Callable[[Span], None] | None = None,
    ) -> None:
        """``trace`` takes the spans of what has ended; None: there are no traces."""
        self._kube = kube
        self._world = world
        self._queue = queue
        self._gateway = gateway
        self._applier = applier
        self._gatherer = gatherer
        self._presets = presets
        self._clock = clock
        self._trace = trace
        self._unsettled = Unsettled()
        self._walks = Walks()
        self._visited_lanes: set[str] = set()
        self._line_told: dict[Key, datetime] = {}
        self._served: Served | None = None

    async def reconcile(self, work: WorkKey) -> None:
        """One pass. Raises KubeError when it has to be tried again."""
        if work.kind == "run":
            await self._reconcile_run(work.key)
        else:
            await self._reconcile_lane(work.key)

    async def all_told(self) -> None:
        """Wait for the Events that are posted behind the passes."""
        await self._applier.all_told()

    # ---- runs

    async def _reconcile_run(self, key: Key, refusal: PodRefusal | None = None) -> None:
        run = self._world.run(key)
        if run is None:
            self._note_walk(key, None)
            self._gatherer.untouched.pop(key, None)
            return
        view = await livelog.looked(self._kube, await self._gatherer.run_view(run, refusal), self._clock.now())
        decision = decide_run(view, self._clock.now())
        applied = await self._prepare(run, decision.effects)
        if applied.refusal and refusal is None:
            await self._reconcile_run(key, applied.refusal)
            return
        known = self._world.raw_status(AGENT_RUNS, key)
        written = await self._applier.write_status(
            AGENT_RUNS, run.meta, decision.status, known=known, effects=decision.effects
        )
        self._note_walk(key, decision.walk)
        if written and decision.status.completion_time and not run.finished:
            metrics.count_end(run, decision.status)
        if written:
            metrics.count_moves(run, decision.status)
            self._tell_spans(run, decision.status)
        await self._applier.finish(decision.effects, kind=AGENT_RUNS.kind, meta=written or run.meta)
        self._look_again(WorkKey("run", key), decision.due, applied)

    def _tell_spans(self, run: Run, written: AgentRunStatus) -> None:
        if self._trace is not None:
            for span in spans.new_spans(run, written):
                self._trace(span)

    async def _prepare(self, run: Run, effects: tuple[Effect, ...]) -> Applied:
        """What comes before the status. A pod on its way holds its slot, whatever becomes of its run meanwhile."""
        attempt, key = run.current, Key(*run.meta.key)
        if attempt is None or not any(isinstance(effect, CreatePod) for effect in effects):
            return await self._applier.prepare(effects)
        known = self._world.run(key)
        if known is None or known.meta.uid != run.meta.uid or known.current is None or known.current.id != attempt.id:
            raise Conflict(f"run {key} no longer holds the slot that it was read with")
        lane = Key(attempt.step.namespace, attempt.step.lane)
        write = Write(key, Held(run.meta.uid, attempt.id), self._clock.now())
        self._unsettled.add(lane, write)
        try:
            applied = await self._applier.prepare(effects)
        except Unavailable:
            self._queue.add_at(WorkKey("lane", lane), write.settles)
            raise
        except KubeError:
            self._unsettled.discard(lane, write.held)
            self._queue.add(WorkKey("lane", lane))
            raise
        self._unsettled.discard(lane, write.held)
        return applied

    def _note_walk(self, key: Key, walk: Walk | None) -> None:
        """Let the lane look that a running attempt asks for a slot now, and the one that it asks no longer."""
        for lane in self._walks.note(key, Key(*walk.lane_key) if walk else None):
            self._queue.add(WorkKey("lane", lane))

    def _look_again(self, work: WorkKey, due: datetime | None, applied: Applied) -> None:
        if due is not None:
            self._queue.add_at(work, max(due, self._clock.now() + SOONEST))
        if applied.gateway_away:
            self._queue.add_at(work, self._clock.now() + GATEWAY_RETRY)
        if applied.look_again:
            self._queue.add(work)

    # ---- lanes

    async def _reconcile_lane(self, key: Key) -> None:
        lane = self._world.lane(key)
        if lane is None:
            self._line_told.pop(key, None)
            if self._gatherer.places.pop(key, None) is not None:
                metrics.forget_lane(*key)
            return
        await self._settle(key)
        now = self._clock.now()
        decision = decide_lane(self._lane_view(key, lane), now)
        for run in decision.take_back:
            await self._take_back(run)
        landed = await asyncio.gather(*(self._grant(key, grant) for grant in decision.grants))
        landed += [await self._grant_walk(key, walk) for walk in decision.walks]
        self._publish_places(key, decision)
        if not all(landed):
            # The status would say that their callers were served, and so take their turn from them.
            self._queue.add_at(WorkKey("lane", key), self._clock.now() + GRANT_RETRY)
            return
        self._visited_lanes.add(lane.meta.uid)
        metrics.show_lane(lane, decision.status)
        told_next = self._line_told.get(key, now - LINE_TOLD_EVERY) + LINE_TOLD_EVERY
        if line_is_shorter(lane.status, decision.status) and now < told_next:
            self._queue.add_at(WorkKey("lane", key), told_next)
        else:
            await self._write_lane(key, lane, decision)
        if decision.status.account != lane.status.account:
            for peer in self._world.peers(lane):
                self._queue.add(WorkKey("lane", Key(*peer.meta.key)))
        await self._applier.finish(decision.effects, kind=MODEL_LANES.kind, meta=lane.meta)
        self._look_again(WorkKey("lane", key), decision.due, Applied())

    async def _write_lane(self, key: Key, lane: Lane, decision: LaneDecision) -> None:
        known = self._world.raw_status(MODEL_LANES, key)
        if await self._applier.write_status(
            MODEL_LANES, lane.meta, decision.status, known=known, effects=decision.effects
        ):
            self._line_told[key] = self._clock.now()
            metrics.count_throttled(lane, decision.counted)

    def _lane_view(self, key: Key, lane: Lane) -> LaneView:
        runs, pods, writes = self._world.runs_on_lane(key), self._world.pods_on_lane(key), self._unsettled.on_lane(key)
        known = {run.meta.uid for run in runs}
        holding = (pod for pod in pods if not pod.finished and pod.run_uid not in known)
        others = {pod.run_uid: Key(pod.namespace, pod.run) for pod in holding}
        others |= {write.held.run_uid: write.run for write in writes if write.held.run_uid not in known}
        return LaneView(
            lane=lane,
            runs=runs,
            pods=pods,
            unsettled=frozenset(write.held for write in writes),
            walks=tuple(self._walks_to(key)),
            holders={uid: self._world.caller(run, uid) for uid, run in others.items()},
            served=self._served_times().on_lane(key),
            dependencies={run.meta.uid: self._world.dependencies(run) for run in runs if run.spec.depends_on},
            probe=self._gateway.lane(key),
            elsewhere=self._elsewhere(key, runs),
            evidence=self._gateway.evidence(key),
            spends=self._gateway.spends(key),
            troubles=self._world.outcomes.troubles(key),
            successes=self._world.outcomes.successes(key),
            peers=self._world.peers(lane),
            gateway_down_since=self._gateway.down_since,
            presets=self._presets,
            first_pass=lane.meta.uid not in self._visited_lanes,
        )

    def _walks_to(self, lane: Key) -> Iterator[Walk]:
        """The attempts that ask a lane for a slot, each looked at again: what one asked for a moment ago may be over."""
        now = self._clock.now()
        for key in self._walks.on_lane(lane):
            with contextlib.suppress(UnreadableObject):
                run = self._world.run(key)
                walk = self._gatherer.walk(run, now) if run else None
                if walk is not None and walk.lane_key == lane:
                    yield walk

    def _elsewhere(self, key: Key, runs: tuple[Run, ...]) -> frozenset[str]:
        """Which of the runs whose calls failed last could go on on another step, or have gone there in the middle of their attempt.

        Nobody else's chain is looked at: it is not asked for.
        """
        failed = {one.run_uid for one in self._gateway.evidence(key) if one.last_failure and one.run_uid}
        now = self._clock.now()
        here = {run.meta.uid: run for run in runs}
        left = {uid for uid in failed - here.keys() if any(not pod.finished for pod in self._world.pods_of_run(uid))}
        return frozenset(left | {uid for uid in failed & here.keys() if self._gatherer.elsewhere(here[uid], now)})

    def _served_times(self) -> Served:
        """Read from the cache at the first pass over a lane: everything is listed by then."""
        if self._served is None:
            self._served = Served(self._world.cache.items(AGENT_RUNS))
        return self._served

    async def _grant(self, lane: Key, grant: Grant) -> bool:
        """Write a grant, and say whether it is known to be written."""
        run, now = grant.run, self._clock.now()
        work = WorkKey("run", Key(*run.meta.key))
        if not run.status.observed_generation and work in self._queue:
            self._queue.add(work)  # its first look says which step of its chain it waits for; now a slot waits for it
            return False
        events = granted_events(grant, now)
        chain, _ = self._world.chain(run)
        if not await self._hold(lane, run, grant.attempt.id, granted_status(grant, chain.links, now), events):
            return False
        self._gatherer.untouched[work.key] = Held(run.meta.uid, grant.attempt.id)
        self._served_times().note(lane, run.caller, now)
        metrics.count_grant(run, now)
        self._applier.tell(events, kind=AGENT_RUNS.kind, meta=run.meta)
        return True

    async def _grant_walk(self, lane: Key, walk: Walk) -> bool:
        """The same for a running attempt of another lane. Its pod counts there until its label says otherwise."""
        run, now = walk.run, self._clock.now()
        status, event = walked(walk, now)
        if not await self._hold(lane, run, run.status.attempt or 0, status, (event,)):
            return False
        self._served_times().note(lane, run.caller, now)
        metrics.count_moves(run, status)
        self._applier.tell((event,), kind=AGENT_RUNS.kind, meta=run.meta)
        return True

    async def _hold(
        self, lane: Key, run: Run, attempt: int, status: AgentRunStatus, events: tuple[PostEvent, ...]
    ) -> bool:
        """Write a status that takes a slot. Without an answer the slot counts as held until a live read has settled it."""
        write = Write(Key(*run.meta.key), Held(run.meta.uid, attempt), self._clock.now())
        self._unsettled.add(lane, write)
        try:
            await self._applier.write_status(AGENT_RUNS, run.meta, status, known={}, effects=events)
        except Unavailable:
            return False
        except (Conflict, NotFound):
            self._unsettled.discard(lane, write.held)
            return False
        self._unsettled.discard(lane, write.held)
        self._queue.add(WorkKey("run", write.run))
        return True

    async def _settle(self, lane: Key) -> None:
        """Read live what became of writes that had no answer."""
        for write in self._unsettled.on_lane(lane):
            if self._clock.now() < write.settles:
                self._queue.add_at(WorkKey("lane", lane), write.settles)
                continue
            pod = names.pod_name(run=write.run.name, uid=write.held.run_uid, attempt=write.held.attempt)
            for resource, name in ((AGENT_RUNS, write.run.name), (PODS, pod)):
                try:
                    self._world.absorb(resource, await self._kube.get(resource, write.run.namespace, name))
                except NotFound:
                    log.debug("there is none", extra={"kind": resource.kind, "object": name})
            self._unsettled.discard(lane, write.held)
            self._queue.add(WorkKey("run", write.run))

    async def _take_back(self, run: Run) -> None:
        """Take back a grant over capacity that nothing came of; the run waits again."""
        view = await self._gatherer.run_view(run, None)
        if view.pod is not None:
            return
        decision = endings.over_capacity(view, self._clock.now())
        known = self._world.raw_status(AGENT_RUNS, Key(*run.meta.key))
        await self._applier.write_status(AGENT_RUNS, run.meta, decision.status, known=known)

    def _publish_places(self, key: Key, decision: LaneDecision) -> None:
        """Let runs whose place has changed say so, those that spoke of it before when they may again."""
        now = self._clock.now()
        old = self._gatherer.places.get(key, {})
        new = {uid: _standing(old.get(uid), place, now) for uid, place in decision.places.items()}
        self._gatherer.places[key] = new
        for run in self._world.runs_on_lane(key):
            before, after = old.get(run.meta.uid), new.get(run.meta.uid)
            if before == after:
                continue
            work = WorkKey("run", Key(*run.meta.key))
            later = place_told_next(run, after.place, after.since, now) if before and after else None
            if later:
                self._queue.add_at(work, later, patient=True)
            else:
                self._queue.add(work, patient=True)


def _standing(known: Standing | None, place: Place, now: datetime) -> Standing:
    return known if known and known.place == place else Standing(place, now)
