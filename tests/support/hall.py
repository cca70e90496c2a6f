"""An operator, a gateway and a node in one process without a network: real passes, real gateway state, objects in memory, and writes that fail.

After every write the bounds of both lanes are judged by what the objects say: a slot is a run with an open attempt, or a pod that has not ended.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import Any

from laneway.api import names
from laneway.api.base import format_time
from laneway.api.gatewaystate import CallFailure, Wish
from laneway.api.modellane import ModelLaneStatus
from laneway.api.reasons import Cause
from laneway.api.runstatus import StepStatus
from laneway.controller.loop.gather import Gatherer
from laneway.controller.loop.queue import Queue
from laneway.controller.loop.reconcile import Reconciler, WorkKey
from laneway.controller.loop.routing import Router
from laneway.controller.memory.world import World, make_cache
from laneway.controller.outside.apply import Applier
from laneway.controller.outside.gateway import GatewayClient
from laneway.gateway.state.state import State
from laneway.kube.cache import Change
from laneway.kube.errors import KubeError, Unavailable
from laneway.kube.resources import AGENT_RUNS, MODEL_LANES, PODS, JsonObject, Resource
from laneway.rules.token import AttemptId, TokenKeys
from support.builders import PRESETS, ready
from support.clock import StillClock
from support.memory import MemoryKube
from support.objects import raw_lane, raw_run

BIG, SMALL = "big", "small"
MODEL = "smollm2"
HOLD = timedelta(seconds=60)
_ENDED = frozenset({"Succeeded", "Failed"})


class Died(Exception):  # noqa: N818 - it says what happened
    """The operator process is no more."""


class NearGateway(GatewayClient):
    """The operator's client, with the gateway's state in the same process."""

    def __init__(self, hall: Hall) -> None:
        super().__init__(url="", secret="", clock=hall.clock)
        self._hall = hall

    async def _request(self, method: str, path: str) -> bytes:
        state = self._hall.state
        if method == "GET":
            query = dict(part.split("=") for part in path.partition("?")[2].split("&"))
            told: Any = state.since(epoch=query["epoch"], version=int(query["since"]))
        else:
            *_, uid, number, _ = path.split("/")
            attempt = AttemptId(uid, int(number))
            state.close(attempt)
            told = state.attempt_state(attempt)
        return str(told.model_dump_json(by_alias=True)).encode()


class FailingKube(MemoryKube):
    """A store whose writes go wrong when told: at one of the next ones the operator dies, or its answer is lost, before or after it was done."""

    def __init__(self, slots: dict[str, int], clock: StillClock) -> None:
        super().__init__()
        self._slots = slots
        self._clock = clock
        self._countdown = 0
        self._error: Exception | None = None
        self._after = False

    def fail(self, error: Exception | None, *, at_write: int = 1, after: bool = False) -> None:
        """Let one of the next writes go wrong; None: none."""
        self._error, self._countdown, self._after = error, at_write, after

    def held(self, lane: str) -> set[tuple[str, str]]:
        """Run and attempt of every slot of a lane that is in use."""
        slots = set()
        for (resource, *_), obj in self.objects.items():
            if resource is AGENT_RUNS and (attempt := open_attempt(obj)) and attempt["step"]["lane"] == lane:
                slots.add((obj["metadata"]["uid"], str(attempt["id"])))
            if resource is PODS and is_at_work(obj) and label(obj, names.LANE_LABEL) == lane:
                slots.add((label(obj, names.RUN_UID_LABEL), label(obj, names.ATTEMPT_LABEL)))
        return slots

    def add(self, resource: Resource, obj: JsonObject) -> JsonObject:
        added = super().add(resource, obj)
        for lane, slots in self._slots.items():
            assert len(self.held(lane)) <= slots, f"{lane}: {self.held(lane)}"
        return added

    async def _before(self, verb: str, resource: Resource, name: str) -> None:
        await super()._before(verb, resource, name)
        if self._error is not None:
            self._countdown -= 1
            if not self._countdown and not self._after:
                raise self._spent()

    def _done(self, resource: Resource, obj: JsonObject) -> JsonObject:
        if resource is PODS and "status" not in obj:
            obj["metadata"]["creationTimestamp"] = format_time(self._clock.now())
        done = super()._done(resource, obj)
        if self._error is not None and self._countdown == 0:
            raise self._spent()
        return done

    def _spent(self) -> Exception:
        error, self._error = self._error, None
        assert error is not None
        return error


class Hall:
    """Two lanes, and runs that begin on the big one and may go on on the small one."""

    def __init__(self, *, big: int, small: int, runs: int) -> None:
        self.clock = StillClock()
        self.kube: Any = FailingKube({BIG: big, SMALL: small}, self.clock)
        self.state = State(clock=self.clock.now)
        for name, slots in ((BIG, big), (SMALL, small)):
            spec = {"access": "Gateway", "capacity": {"runs": slots}}
            self.kube.change(MODEL_LANES, raw_lane(name, spec=spec, status=ModelLaneStatus(conditions=(ready(),))))
        self.deaf = 0
        """For how long, in works, the watches tell nothing: the operator knows of its own answered writes only."""
        self.names = [f"run-{number}" for number in range(runs)]
        for name in self.names:
            spec = {
                "models": [{"lane": BIG}, {"lane": SMALL}],
                "agent": {"preset": "generic", "image": "agent:test"},
                "caller": name[-1],
            }
            self.kube.change(AGENT_RUNS, raw_run(name, spec=spec))
        self.clock.move(10)  # calls of the second in which a lane was made say nothing of it
        self.start()

    def start(self) -> None:
        """A new operator process: nothing is left but the objects."""
        self.queue: Queue[WorkKey] = Queue(self.clock)
        self.cache = make_cache()
        self.world = World(self.cache, on_change=self._on_change)
        self.gateway = NearGateway(self)
        self.router: Router | None = None
        self.watch()
        self.router = Router(queue=self.queue, world=self.world, gateway=self.gateway)
        self.reconciler = self._reconciler()
        self.router.everything()

    def _reconciler(self) -> Reconciler:
        gatherer = Gatherer(
            kube=self.kube,
            world=self.world,
            gateway=self.gateway,
            presets=PRESETS,
            keys=TokenKeys(current="k", keys={"k": b"k" * 32}),
            agent_image="laneway:test",
            gateway_url="http://gateway",
        )
        applier = Applier(kube=self.kube, world=self.world, gateway=self.gateway, clock=self.clock, instance="o")
        return Reconciler(
            kube=self.kube,
            world=self.world,
            queue=self.queue,
            gateway=self.gateway,
            applier=applier,
            gatherer=gatherer,
            presets=PRESETS,
            clock=self.clock,
        )

    def _on_change(self, change: Change) -> None:
        if self.router is not None:
            self.router.on_change(change)

    def watch(self) -> None:
        """What the watches tell: everything as it is now."""
        for resource in (MODEL_LANES, AGENT_RUNS, PODS):
            there = [obj for (kind, *_), obj in self.kube.objects.items() if kind is resource]
            for obj in there:
                self.world.absorb(resource, obj)
            uids = {obj["metadata"]["uid"] for obj in there}
            for ghost in [one for one in self.cache.items(resource) if one["metadata"]["uid"] not in uids]:
                if change := self.cache.remove(resource, ghost):
                    self._on_change(change)

    # ---- passes

    async def settle(self) -> None:
        """Work until nothing is left to do now; what goes wrong on the way is tried again later, by a new process if this one died."""
        self.deaf = max(0, self.deaf - 1)
        for _ in range(20):
            self.start_pods()
            self.release()
            if not self.deaf:
                self.watch()
            try:
                changes = await self.gateway.poll()
                assert self.router is not None
                self.router.on_gateway(changes)
                if not await self._work():
                    return
            except Died:
                self.start()
        raise AssertionError("there is always something left to do")

    async def _work(self) -> int:
        count = 0
        while (work := await self._next()) is not None:
            count += 1
            assert count < 500, work
            try:
                await self.reconciler.reconcile(work)
            except KubeError as error:
                wait = 5 if isinstance(error, Unavailable) else 0
                self.queue.failed(work, at_least=timedelta(seconds=wait))
            else:
                self.queue.done(work)
        return count

    async def _next(self) -> WorkKey | None:
        getting = asyncio.ensure_future(self.queue.get())
        await asyncio.sleep(0)
        if getting.done():
            return getting.result()
        getting.cancel()
        with suppress(asyncio.CancelledError):
            await getting
        return None

    async def later(self, seconds: float) -> None:
        """Let time pass, and work."""
        self.clock.move(seconds)
        await self.settle()

    # ---- the node

    def pods(self) -> list[JsonObject]:
        """Pods that have not ended."""
        return [obj for (kind, *_), obj in self.kube.objects.items() if kind is PODS and is_at_work(obj)]

    def start_pods(self) -> None:
        """Let the agents of new pods start."""
        for pod in self.pods():
            if not pod.get("status", {}).get("phase"):
                self._tell(pod, "Running", {"running": {"startedAt": self._now()}})

    def end(self, name: str, code: int = 0) -> None:
        """Let the agent of a run exit."""
        for pod in self.pods():
            if label(pod, names.RUN_LABEL) == name and pod.get("status", {}).get("phase") == "Running":
                self._leave(pod)
                over = {"exitCode": code, "startedAt": self._now(), "finishedAt": self._now()}
                self._tell(pod, "Failed" if code else "Succeeded", {"terminated": over})

    def _tell(self, pod: JsonObject, phase: str, state: JsonObject) -> None:
        status = {"phase": phase, "containerStatuses": [{"name": names.AGENT_CONTAINER, "state": state}]}
        self.kube.change(PODS, {**pod, "status": status})

    def _now(self) -> str:
        return format_time(self.clock.now())

    # ---- the gateway

    def ask(self, name: str) -> None:
        """The model of a run's step has failed, and the call is held for a slot of another lane."""
        attempt = open_attempt(self.run(name))
        if attempt is None or not attempt.get("podUID"):
            return
        step = StepStatus.model_validate(attempt["step"])
        now = self.clock.now()
        wish = Wish(
            step=step,
            cause=Cause.RATE_LIMIT_MODEL,
            since_time=now,
            until_time=now + HOLD,
            generation=self.run(name)["metadata"]["generation"],
        )
        self.state.ask(self._attempt(name), name, wish)

    def release(self) -> None:
        """Held calls go on whose run shows another step; those that were held for too long are refused, and their agents give up."""
        for name in self.names:
            wish, attempt = self.wish(name), open_attempt(self.run(name))
            if wish is None or attempt is None:
                continue
            generation = self.run(name)["metadata"]["generation"]
            if StepStatus.model_validate(attempt["step"]) != wish.step:
                self.state.withdraw(self._attempt(name), name)
            elif self.clock.now() >= wish.until_time:
                self.give_up(name)
            elif wish.generation != generation:
                self.state.ask(self._attempt(name), name, wish.model_copy(update={"generation": generation}))

    def give_up(self, name: str) -> None:
        """The held call of a run is refused, and its agent ends because of that."""
        wish = self.wish(name)
        if wish is None:
            return
        attempt = self._attempt(name)
        self.state.withdraw(attempt, name)
        now = self.clock.now()
        failure = CallFailure(
            sent_time=wish.since_time, seen_time=now, cause=wish.cause, status=429, message="slow down", step=wish.step
        )
        self.state.fail(attempt, failure)
        self.end(name, code=1)

    def restart_gateway(self) -> None:
        """A new gateway process: held calls are cut."""
        self.state = State(clock=self.clock.now)

    def wish(self, name: str) -> Wish | None:
        """What the gateway asks for a run."""
        attempt = self._attempt(name)
        return self.state.attempt_state(attempt).wish if self.state.knows(attempt) else None

    def _leave(self, pod: JsonObject) -> None:
        name = label(pod, names.RUN_LABEL)
        self.state.withdraw(self._attempt(name), name)

    # ---- the runs

    def run(self, name: str) -> JsonObject:
        """A run as the store has it."""
        found: JsonObject = self.kube.objects[AGENT_RUNS, "team-a", name]
        return found

    def said(self, name: str) -> Any:
        """Its status."""
        return self.run(name).get("status") or {}

    def is_finished(self, name: str) -> bool:
        """Whether it has ended."""
        return "completionTime" in self.said(name)

    def _attempt(self, name: str) -> AttemptId:
        return AttemptId(self.run(name)["metadata"]["uid"], self.said(name).get("attempt") or 0)


def open_attempt(run: JsonObject) -> JsonObject | None:
    """The attempt that holds a slot, as the object says."""
    status = run.get("status") or {}
    admitted = any(c["type"] == "Admitted" and c["status"] == "True" for c in status.get("conditions") or ())
    last: JsonObject = (status.get("attempts") or [{}])[-1]
    return last if admitted and last and "endTime" not in last else None


def is_at_work(pod: JsonObject) -> bool:
    """Whether it has not ended."""
    return (pod.get("status") or {}).get("phase") not in _ENDED


def label(obj: JsonObject, name: str) -> str:
    """A label of an object."""
    return str((obj["metadata"].get("labels") or {}).get(name, ""))
