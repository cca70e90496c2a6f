"""One pass over one run or one lane: read what is known, decide, carry it out, write status once."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from laneway.controller import endings, metrics
from laneway.controller.admission import granted_event, granted_status
from laneway.controller.apply import Applied, Applier
from laneway.controller.clock import Clock
from laneway.controller.decide_lane import Grant, LaneDecision, decide_lane
from laneway.controller.decide_run import decide_run
from laneway.controller.gatewayclient import GatewayClient
from laneway.controller.gather import Gatherer
from laneway.controller.presets import Preset
from laneway.controller.queue import Queue
from laneway.controller.views import Held, LaneView, Place, PodRefusal, Run
from laneway.controller.world import World
from laneway.kube.client import Kube
from laneway.kube.errors import Conflict, NotFound, Unavailable
from laneway.kube.resources import AGENT_RUNS, MODEL_LANES, Key

log = logging.getLogger(__name__)

WRITE_SETTLES_AFTER = timedelta(seconds=6)
"""A write without an answer has landed or failed by then: the server gives it 4 s, the way there one."""
GATEWAY_RETRY = timedelta(seconds=2)
SOONEST = timedelta(seconds=1)
"""A moment that has passed already must not turn into a busy loop."""


class WorkKey(NamedTuple):
    """What to look at: a run or a lane."""

    kind: Literal["run", "lane"]
    key: Key


@dataclass(frozen=True)
class _Unsettled:
    run: Key
    sent: datetime


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
    ) -> None:
        self._kube = kube
        self._world = world
        self._queue = queue
        self._gateway = gateway
        self._applier = applier
        self._gatherer = gatherer
        self._presets = frozenset(presets)
        self._clock = clock
        self._unsettled: dict[Key, dict[Held, _Unsettled]] = {}
        self._visited_lanes: set[str] = set()

    async def reconcile(self, work: WorkKey) -> None:
        """One pass. Raises KubeError when it has to be tried again."""
        if work.kind == "run":
            await self._reconcile_run(work.key)
        else:
            await self._reconcile_lane(work.key)

    # ---- runs

    async def _reconcile_run(self, key: Key, refusal: PodRefusal | None = None) -> None:
        run = self._world.run(key)
        if run is None:
            return
        view = await self._gatherer.run_view(run, refusal)
        decision = decide_run(view, self._clock.now())
        applied = await self._applier.prepare(decision.effects)
        if applied.refusal and refusal is None:
            await self._reconcile_run(key, applied.refusal)
            return
        known = self._world.raw_status(AGENT_RUNS, key)
        written = await self._applier.write_status(AGENT_RUNS, run.meta, decision.status, known=known)
        if written and decision.status.completion_time and not run.finished:
            metrics.count_end(run, decision.status.reason or "")
        await self._applier.finish(decision.effects, kind=AGENT_RUNS.kind, meta=run.meta)
        self._look_again(WorkKey("run", key), decision.due, applied)

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
            if self._gatherer.places.pop(key, None) is not None:
                metrics.forget_lane(*key)
            return
        await self._settle(key)
        view = LaneView(
            lane=lane,
            runs=self._world.runs_on_lane(key),
            pods=self._world.pods_on_lane(key),
            unsettled=frozenset(self._unsettled.get(key, ())),
            probe=self._gateway.lane(key),
            gateway_down_since=self._gateway.down_since,
            gateway_known=self._gateway.known,
            presets=self._presets,
            first_pass=lane.meta.uid not in self._visited_lanes,
        )
        decision = decide_lane(view, self._clock.now())
        for run in decision.take_back:
            await self._take_back(run)
        for grant in decision.grants:
            await self._grant(key, grant)
        self._visited_lanes.add(lane.meta.uid)
        self._publish_places(key, decision)
        metrics.show_lane(lane, decision.status)
        known = self._world.raw_status(MODEL_LANES, key)
        await self._applier.write_status(MODEL_LANES, lane.meta, decision.status, known=known)
        await self._applier.finish(decision.effects, kind=MODEL_LANES.kind, meta=lane.meta)
        self._look_again(WorkKey("lane", key), decision.due, Applied())

    async def _grant(self, lane: Key, grant: Grant) -> None:
        """Write a grant. Without an answer the slot counts as held until a live read has settled it."""
        run = grant.run
        held = Held(run.meta.uid, grant.attempt.id)
        run_key = Key(*run.meta.key)
        now = self._clock.now()
        slots = self._unsettled.setdefault(lane, {})
        slots[held] = _Unsettled(run_key, now)
        try:
            status = granted_status(grant, now)
            await self._applier.write_status(AGENT_RUNS, run.meta, status, known={})
        except Unavailable:
            self._queue.add_at(WorkKey("lane", lane), now + WRITE_SETTLES_AFTER)
            return
        except (Conflict, NotFound):
            self._queue.add_at(WorkKey("lane", lane), now + timedelta(milliseconds=50))
        else:
            self._queue.add(WorkKey("run", run_key))
            metrics.count_grant(run, now)
            await self._applier.post(granted_event(grant), kind=AGENT_RUNS.kind, meta=run.meta)
        del slots[held]

    async def _settle(self, lane: Key) -> None:
        """Read live what became of grants that had no answer."""
        now = self._clock.now()
        for held, unsettled in list(self._unsettled.get(lane, {}).items()):
            if now < unsettled.sent + WRITE_SETTLES_AFTER:
                self._queue.add_at(WorkKey("lane", lane), unsettled.sent + WRITE_SETTLES_AFTER)
                continue
            try:
                self._world.absorb(AGENT_RUNS, await self._kube.get(AGENT_RUNS, *unsettled.run))
            except NotFound:
                log.debug("a run is gone before its grant was settled", extra={"run": str(unsettled.run)})
            del self._unsettled[lane][held]
            self._queue.add(WorkKey("run", unsettled.run))

    async def _take_back(self, run: Run) -> None:
        """Take back a grant over capacity that nothing came of; the run waits again."""
        view = await self._gatherer.run_view(run, None)
        if view.pod is not None:
            return
        decision = endings.over_capacity(view, self._clock.now())
        known = self._world.raw_status(AGENT_RUNS, Key(*run.meta.key))
        await self._applier.write_status(AGENT_RUNS, run.meta, decision.status, known=known)

    def _publish_places(self, key: Key, decision: LaneDecision) -> None:
        """Let runs whose place has changed say so."""
        old = self._gatherer.places.get(key, {})
        new: dict[str, Place] = dict(decision.places)
        self._gatherer.places[key] = new
        for run in self._world.runs_on_lane(key):
            if old.get(run.meta.uid) != new.get(run.meta.uid):
                self._queue.add(WorkKey("run", Key(*run.meta.key)))
