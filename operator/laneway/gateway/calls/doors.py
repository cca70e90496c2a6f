"""What a call passes before it goes out: the gate of its model and a place on its lane, in the time that the lane gives it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from laneway.api.gatewaystate import CallFailure
from laneway.api.lanecalls import LaneTimeouts, StreamSlot
from laneway.api.modellane import ModelLaneSpec
from laneway.api.reasons import Cause, ResetSource
from laneway.gateway import metrics
from laneway.gateway.calls.gate import Gate, Pass, Shut
from laneway.gateway.calls.queue import Bound, CallQueue, Place
from laneway.gateway.client.hold import Hold
from laneway.gateway.cluster.objects import Lane, LaneKey, Run
from laneway.gateway.cluster.target import LaneGone, Target
from laneway.gateway.cluster.views import Views
from laneway.gateway.state.failure import refusal_failure
from laneway.gateway.state.state import Clock, State
from laneway.gateway.wire.base import Kind
from laneway.gateway.wire.refused import Refused
from laneway.rules.classify import Verdict
from laneway.rules.cooldown import Cooldown
from laneway.rules.fairshare import Caller

BUSY_RETRY_SECONDS = 5
"""A call that was held in vain may come back after so long."""
_SAID_BY_SERVER = frozenset({ResetSource.SERVER_EVENT, ResetSource.RETRY_AFTER})


@dataclass(frozen=True)
class Doors:
    """The doors of all lanes."""

    queue: CallQueue
    gate: Gate
    clock: Clock
    views: Views


def open_doors(views: Views, state: State, clock: Clock) -> Doors:
    """Doors that follow the lanes as they change."""

    def bound_of(key: LaneKey) -> Bound:
        lane = views.lanes.get(key)
        return Bound(gone=True) if lane is None else _bound(lane.spec)

    doors = Doors(CallQueue(bound_of), Gate(views=views, state=state, clock=clock), clock, views)

    def changed(key: LaneKey, lane: Lane | None) -> None:
        doors.queue.changed(key)
        doors.gate.lane_changed(key, lane)

    views.on_lane.append(changed)
    return doors


GoOn = Callable[[Target, CallFailure], Awaitable[bool]]
"""Whether a call that cannot use a target goes on to another one."""
AskElsewhere = Callable[[float], Coroutine[Any, Any, object]]
"""Asks for another step, for so many seconds; a grant shows in the run."""


class Passage:
    """One call's way through the doors. Whoever begins one leaves it, whatever happens."""

    def __init__(self, doors: Doors, hold: Hold, run: Run, go_on: GoOn, *, generates: bool) -> None:
        """``generates``: the call makes tokens, so that it shows whether a model is well again; others neither try nor wait for that."""
        self._doors = doors
        self._go_on = go_on
        self._hold = hold
        self._run = run
        self._generates = generates
        self._arrival = doors.queue.arrival()
        self._place: Place | None = None
        self._pass: Pass | None = None
        self._entered: tuple[LaneKey, str] | None = None

    async def enter(self, aim: Callable[[], Target]) -> Target:
        """Wait for the model and for a place; the target as it is then. A call that has both goes on. Raises Refused."""
        while True:
            target = aim()
            lane, model = target.lane, target.model
            if self._entered == (lane.key, model):
                return target
            self._leave_model()
            found = self._doors.gate.look(lane, model, skips=self._run.skips)
            if isinstance(found, Shut) and (found.cooldown is not None or self._generates):
                self._leave_place()
                await self._wait_for_model(target, found)
            elif await self._has_place(target):
                # Nothing has happened since the look: a place that is held is not waited for.
                if isinstance(found, Pass) and self._generates:
                    self._pass = found
                    self._doors.gate.take(found)
                self._entered = lane.key, model
                return target

    async def wait_for_lane(self, gone: LaneGone, ask_elsewhere: AskElsewhere) -> None:
        """A lane of the same name may come back, or the run go on to another one: whichever is first. Raises what it was given when the time is up."""
        self.leave()
        views, (namespace, name) = self._doors.views, gone.lane
        before = views.lane_before(gone.lane)
        timeouts = LaneTimeouts() if before is None else before.spec.timeouts
        left = self._hold.left(timeouts.hold_seconds)
        if left <= 0:
            raise gone
        metrics.HOLDS.labels(name, namespace, Kind.NOT_FOUND.value).inc()
        moved = asyncio.ensure_future(views.change_of_run(self._run.uid).wait())
        asking = asyncio.ensure_future(ask_elsewhere(left))
        back = self._doors.gate.waker(gone.lane)
        either = asyncio.ensure_future(asyncio.wait((back, moved), return_when=asyncio.FIRST_COMPLETED))
        try:
            await self._hold.wait(either, left)
        finally:
            asking.cancel()
            moved.cancel()
            either.cancel()

    def begin(self, target: Target, *, streamed: bool) -> None:
        """The model answers: others may call it, and a stream gives its place up if its lane says so (S2.12)."""
        if self._pass is not None:
            self._doors.gate.begin(self._pass)
        if streamed and target.lane.spec.capacity.stream_slot is StreamSlot.OPENING:
            self._leave_place()

    def leave(self) -> None:
        """The call is over; doing it again changes nothing."""
        self._leave_place()
        self._leave_model()

    async def _has_place(self, target: Target) -> bool:
        """Whether a place is held; if not, it was waited for. Raises Refused."""
        if self._place is None or self._place.lane != target.lane.key:
            self._leave_place()
            caller = Caller(self._run.namespace, self._run.caller)
            self._place = self._doors.queue.enter(
                target.lane.key, caller, priority=self._run.priority, arrival=self._arrival
            )
        if self._place.held:
            return True
        left = self._left(target)
        if left <= 0:
            raise self._busy(f"the lane has no free place for a call (capacity.calls: {_calls(target)})")
        metrics.HOLDS.labels(target.lane.name, target.lane.namespace, Kind.BUSY.value).inc()
        await self._hold.wait(self._place.granted, left)
        return False

    async def _wait_for_model(self, target: Target, shut: Shut) -> None:
        """A model that rests is waited for only if the call cannot go on without it. Raises Refused."""
        refusal = None if shut.cooldown is None else self._cools(target, shut.cooldown, shut.seconds)
        failure = None if refusal is None else refusal_failure(refusal, self._doors.clock())
        if failure is not None and await self._go_on(target, failure):
            return
        left = self._left(target)
        if refusal is not None and (shut.seconds is None or shut.seconds > left):
            raise refusal
        if left <= 0:
            raise self._busy("another call tries the model first, because it has failed before")
        metrics.HOLDS.labels(target.lane.name, target.lane.namespace, Kind.THROTTLED.value).inc()
        await self._hold.wait(self._doors.gate.waker(target.lane.key), min(left, shut.seconds or left))

    def _left(self, target: Target) -> float:
        return self._hold.left(target.lane.timeouts.hold_seconds)

    def _busy(self, message: str) -> Refused:
        """An agent that gives up after this has not failed at its task: its run comes back soon, and no model is blamed for long."""
        verdict = Verdict(Cause.RATE_LIMIT_MODEL, self._doors.clock(), ResetSource.RETRY_AFTER)
        return Refused(Kind.BUSY, message, verdict=verdict, retry_after_seconds=BUSY_RETRY_SECONDS)

    def _cools(self, target: Target, cooldown: Cooldown, seconds: float | None) -> Refused:
        """The attempt must know, so that its run waits as if it had met the failure itself."""
        lane = "/".join(target.lane.key)
        if cooldown.cause is Cause.AUTH_FAILED:
            message = f"the key of lane {lane} was refused by its server"
            return Refused(Kind.FORBIDDEN, message, cause=Cause.AUTH_FAILED)
        until = f" until {cooldown.until:%Y-%m-%dT%H:%M:%SZ}" if cooldown.until is not None else ""
        verdict = Verdict(Cause.API_TRANSIENT if cooldown.cause is Cause.MANUAL else cooldown.cause)
        if seconds is not None and cooldown.source in _SAID_BY_SERVER:
            reset = self._doors.clock() + timedelta(seconds=seconds)
            verdict = replace(verdict, reset_time=reset, reset_source=cooldown.source)
        return Refused(
            Kind.THROTTLED,
            f"model {target.model} of lane {lane} rests ({cooldown.cause}){until}",
            verdict=verdict,
            retry_after_seconds=None if seconds is None else math.ceil(seconds),
        )

    def _leave_place(self) -> None:
        self._entered = None
        if self._place is not None:
            self._doors.queue.leave(self._place)
            self._place = None

    def _leave_model(self) -> None:
        self._entered = None
        if self._pass is not None:
            self._doors.gate.leave(self._pass)
            self._pass = None


def _bound(spec: ModelLaneSpec) -> Bound:
    return Bound(spec.capacity.calls, spec.shares)


def _calls(target: Target) -> int | None:
    return target.lane.spec.capacity.calls
