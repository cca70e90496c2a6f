"""Runs and lanes as the cache has them, with what is read from them again and again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import NamedTuple

from laneway.api.agentrun import AgentRunSpec
from laneway.api.base import Condition
from laneway.api.limits import LimitName
from laneway.api.modellane import Access, LaneModel, ModelLaneSpec, ModelLaneStatus
from laneway.api.reasons import LaneCondition, RunCondition, Waiting
from laneway.api.runstatus import AgentRunStatus, Attempt
from laneway.rules import limits
from laneway.rules.fairshare import Caller, Turn, turn

Key = tuple[str, str]
"""Namespace and name."""


@dataclass(frozen=True)
class Meta:
    """Who an object is."""

    namespace: str
    name: str
    uid: str
    generation: int
    resource_version: str
    created: datetime
    deleting: bool = False
    keeper: str = ""
    """The tool that brings it again when it is gone; empty: none does."""

    @property
    def key(self) -> Key:
        """Namespace and name."""
        return self.namespace, self.name


class Wish(NamedTuple):
    """What a run asks of a lane. Of runs with the same wish a lane may have all or none, but for what each waits for by itself."""

    namespace: str
    preset: str
    model: str | None
    needs_price: bool
    """It has a limit of money."""


@dataclass(frozen=True)
class Run:
    """An AgentRun as the cache has it. What is worked out of it is kept with it: a lane with many waiting runs asks again at each pass."""

    meta: Meta
    spec: AgentRunSpec
    status: AgentRunStatus

    @cached_property
    def lane_key(self) -> Key:
        """The lane that it waits for, or uses: that of its step, before its first look that of its first step."""
        step = self.status.step or self.spec.models[0]
        return step.namespace or self.meta.namespace, step.lane

    @cached_property
    def caller(self) -> Caller:
        """Whom it counts for in fair shares."""
        return Caller(self.meta.namespace, self.spec.caller)

    @cached_property
    def turn(self) -> Turn:
        """Where it stands among the runs of its caller."""
        return turn(self.spec.priority, self.meta.created, self.meta.name)

    @cached_property
    def model(self) -> str | None:
        """The model that its step asks for; None: the lane's first."""
        return (self.status.step or self.spec.models[0]).model

    @cached_property
    def wish(self) -> Wish:
        """What it asks of its lane."""
        return Wish(
            self.meta.namespace, self.spec.agent.preset, self.model, needs_price=self.spec.limits.cost_usd is not None
        )

    def condition_is(self, kind: RunCondition, status: str) -> bool:
        """Whether a condition has this status."""
        return any(c.type == kind and c.status == status for c in self.status.conditions)

    @cached_property
    def finished(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self.condition_is(RunCondition.FINISHED, "True")

    @cached_property
    def owed(self) -> bool:
        """Whether its last attempt ended while the gateway was away, which still has to say what it used. Not so on a Direct lane."""
        last = self.status.attempts[-1].usage if self.status.attempts else None
        return self.finished and last is not None and last.source is None

    @cached_property
    def admitted(self) -> bool:
        """Whether it was granted a slot for an attempt that has not ended."""
        return self.condition_is(RunCondition.ADMITTED, "True") and not self.finished

    @cached_property
    def waits(self) -> bool:
        """Whether it wants a slot, now or later."""
        return not (self.spec.cancel or self.meta.deleting or self.finished or self.admitted)

    @cached_property
    def refused(self) -> Condition | None:
        """What was said of its pod if that was refused, and it waits for this reason."""
        reasons = {Waiting.QUOTA_EXCEEDED, Waiting.NAME_TAKEN, Waiting.WORKSPACE_IN_USE}
        said = (c for c in self.status.conditions if c.type == RunCondition.ADMITTED and c.status == "False")
        return next((condition for condition in said if condition.reason in reasons), None)

    @cached_property
    def next_attempt(self) -> datetime | None:
        """When the wait for its next attempt ends; None: it does not wait for one, or it is suspended."""
        return None if self.spec.suspend else self.status.next_attempt_time

    @cached_property
    def not_before(self) -> datetime | None:
        """The moment that it waits for before its first attempt; None: there is none, or it has begun."""
        return None if self.status.attempt else self.spec.not_before_time

    @cached_property
    def unhindered(self) -> bool:
        """Whether it waits for nothing by itself but its start time: only for what its wish needs."""
        return not (
            self.spec.suspend or self.spec.depends_on or self.refused or self.limit_reached or self._comes_again
        )

    @property
    def _comes_again(self) -> bool:
        """Whether its last attempt says when the one after it may begin."""
        attempts = self.status.attempts
        return bool(attempts) and attempts[-1].again_time is not None

    @cached_property
    def limit_reached(self) -> LimitName | None:
        """The limit that keeps it from another attempt: the one that it waits for, or one that its usage has reached."""
        record, usage = self.status.limit_reached, self.status.usage
        if record is not None and limits.still_reached(self.spec.limits, record):
            return record.limit
        if usage is None:
            return None
        return limits.reached(self.spec.limits, limits.used_of(usage, self.status.active_seconds))

    @cached_property
    def time_to_stay(self) -> int | None:
        """Seconds after its end until it is deleted; None: it stays. One that a tool keeps would come again, and run again."""
        return None if self.meta.keeper else self.spec.ttl_seconds_after_finished

    @cached_property
    def current(self) -> Attempt | None:
        """The attempt that holds the slot."""
        return self.status.attempts[-1] if self.admitted and self.status.attempts else None


@dataclass(frozen=True)
class Lane:
    """A ModelLane as the cache has it."""

    meta: Meta
    spec: ModelLaneSpec
    status: ModelLaneStatus

    @property
    def ready(self) -> bool:
        """Whether slots may be granted."""
        return any(c.type == LaneCondition.READY and c.status == "True" for c in self.status.conditions)

    @property
    def not_ready_because(self) -> str:
        """The message of ``Ready``, or that nobody has looked yet."""
        said = (c.message for c in self.status.conditions if c.type == LaneCondition.READY)
        return next(said, "it has not been looked at yet")

    @property
    def direct(self) -> bool:
        """Whether pods call the server themselves."""
        return self.spec.access is Access.DIRECT

    def model(self, name: str | None) -> LaneModel | None:
        """A model by name; the first when no name is given; None when the lane does not list it."""
        if name is None:
            return self.spec.models[0]
        return next((model for model in self.spec.models if model.name == name), None)

    def served(self, model: str) -> bool | None:
        """Whether the server lists the model; None when that is not known."""
        return next((m.served for m in self.status.models if m.name == model), None)
