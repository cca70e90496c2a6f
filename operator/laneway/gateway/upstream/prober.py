"""When lanes are probed: at once when they are new or changed, then again and again, spread over time."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from contextlib import suppress

from laneway.api.gatewaystate import LaneState
from laneway.api.modellane import Access
from laneway.api.reasons import Cause, LaneReason
from laneway.gateway.cluster.objects import Lane, LaneKey
from laneway.gateway.state.state import Clock, State
from laneway.gateway.upstream.credentials import Credentials
from laneway.gateway.upstream.probe import Verdict, probe
from laneway.gateway.upstream.upstream import Upstream

log = logging.getLogger(__name__)

_PARALLEL = 16
_SPREAD = 0.1
KEY_SECONDS = 5.0
"""A Secret whose key is missing or refused is looked at so often: nothing else shows that it was mended, because no call goes out."""
_NO_GOOD_KEY = frozenset({LaneReason.AUTH_FAILED, LaneReason.CREDENTIAL_MISSING})


class Prober:
    """One task for each lane that the gateway carries."""

    def __init__(
        self,
        *,
        upstream: Upstream,
        credentials: Credentials,
        state: State,
        clock: Clock,
        uniform: Callable[[float, float], float] = random.uniform,
        key_seconds: float = KEY_SECONDS,
    ) -> None:
        self._upstream = upstream
        self._credentials = credentials
        self._state = state
        self._clock = clock
        self._uniform = uniform
        self._key_seconds = key_seconds
        self._places = asyncio.Semaphore(_PARALLEL)
        self._watches: dict[LaneKey, _Watch] = {}

    def take(self, key: LaneKey, lane: Lane | None) -> None:
        """A lane is new, has changed, or is gone."""
        known = self._watches.get(key)
        if lane is None or lane.spec.access is not Access.GATEWAY:
            if known is not None:
                self._watches.pop(key).task.cancel()
            self._state.drop_lane(*key)
            return
        if known is not None and known.lane.uid == lane.uid:
            changed = known.lane.generation != lane.generation
            known.lane = lane
            known.stirred.set()
            if changed:
                self._state.keep_models(*key, [model.name for model in lane.spec.models])
                known.due = True
            return
        if known is not None:
            known.task.cancel()
            self._state.drop_lane(*key)
        self._watches[key] = self._start(lane)

    def wake(self, lane: Lane) -> None:
        """Probe a lane now."""
        known = self._watches.get(lane.key)
        if known is not None:
            known.due = True
            known.stirred.set()

    async def close(self) -> None:
        """Stop all probes."""
        tasks = [watch.task for watch in self._watches.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self, lane: Lane) -> _Watch:
        watch = _Watch(lane)
        watch.task = asyncio.create_task(self._watch(watch), name=f"probe of {lane.namespace}/{lane.name}")
        watch.task.add_done_callback(_tell_if_broken)
        return watch

    async def _watch(self, watch: _Watch) -> None:
        while True:
            watch.due = False
            lane = watch.lane
            async with self._places:
                verdict = await probe(lane, upstream=self._upstream, credentials=self._credentials)
            if watch.lane.generation == lane.generation:
                self._tell(watch.lane, verdict)
            pause = lane.spec.probe.period_seconds * self._uniform(1 - _SPREAD, 1 + _SPREAD)
            await self._pause(watch, pause)

    async def _pause(self, watch: _Watch, seconds: float) -> None:
        """Until the next probe is asked for, or due by time, or by a key in place of one that is of no use."""
        clock, key = asyncio.get_running_loop().time, self._credentials.last_key(watch.lane)
        end, look = clock() + seconds, clock() + self._key_seconds
        while clock() < end:
            watch.stirred.clear()
            if watch.due:
                return
            looks = self._has_no_good_key(watch.lane)
            if looks and clock() >= look:
                if await self._credentials.has_other_than(key, watch.lane):
                    return
                look = clock() + self._key_seconds
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout_at(min(end, look) if looks else end):
                    await watch.stirred.wait()

    def _has_no_good_key(self, lane: Lane) -> bool:
        known = self._state.lane_state(*lane.key)
        return _is_refused(lane) or (known is not None and known.reason in _NO_GOOD_KEY)

    def _tell(self, lane: Lane, verdict: Verdict) -> None:
        known = self._state.lane_state(*lane.key)
        if known is None or (known.reachable, known.reason) != (verdict.reachable, verdict.reason):
            log.info(
                "lane probed",
                extra={"lane": "/".join(lane.key), "reason": verdict.reason.value, "found": verdict.message},
            )
        self._state.put_lane(
            LaneState(
                namespace=lane.namespace,
                name=lane.name,
                uid=lane.uid,
                generation=lane.generation,
                reachable=verdict.reachable,
                reason=verdict.reason,
                message=verdict.message,
                models=verdict.models,
                probed_time=self._clock(),
            ),
            # That the server took the key again is news even if the last probe, before the refusal, had found the same.
            anew=_is_refused(lane) and verdict.reason is LaneReason.BACKEND_REACHABLE,
        )


class _Watch:
    """What is known of a lane's probing."""

    task: asyncio.Task[None]

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.due = False
        """A probe was asked for."""
        self.stirred = asyncio.Event()
        """Something changed that may end the pause between two probes."""


def _is_refused(lane: Lane) -> bool:
    """Whether the lane's status says that its key was refused."""
    cooldown = lane.account.cooldown
    return cooldown is not None and cooldown.cause is Cause.AUTH_FAILED


def _tell_if_broken(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("a probe ended with an error of ours", exc_info=error)
