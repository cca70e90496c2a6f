"""The status of an AgentRun: what a person reads, and all that the operator needs after a restart."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from laneway.api.base import ATOMIC_LIST, Condition, Generation, Model, Time, list_map
from laneway.api.classification import Classification
from laneway.api.health import HealthWarning, Stopped
from laneway.api.limits import LimitName, LimitReached, Warned
from laneway.api.modellane import Access
from laneway.api.reasons import Cause, HealthKind, Outcome, Phase, ResetSource

Tokens = Annotated[int, Field(ge=0, le=9_000_000_000_000_000)]
MoneyText = Annotated[str, Field(pattern=r"^[0-9]{1,12}(\.[0-9]{1,6})?$", max_length=20)]

ATTEMPTS_KEPT = 10
SUMMARY_LIMIT = 4096
CHAIN_LIMIT = 32
"""Steps of a chain once the fallbacks of its lanes are in it."""
HISTORY_KEPT = 20
PASSED_LIMIT = 768
"""Characters of one move; Events hold 1024."""
MODELS_SHOWN = 16
RESTORES_KEPT = 3
RAW_LIMIT = 200


class UsageSource(StrEnum):
    """Who counted."""

    GATEWAY = "Gateway"
    ENVELOPE = "Envelope"


class CostSource(StrEnum):
    """Where the cost comes from: the lane's prices, or what the agent reported."""

    PRICED = "Priced"
    REPORTED = "Reported"


class StepStatus(Model):
    """The lane and model of the run, with the lane's defaults filled in."""

    atomic: ClassVar[bool] = True

    lane: str = Field(max_length=63, description="Name of the lane.")
    namespace: str = Field(max_length=63, description="Namespace of the lane.")
    model: str = Field(max_length=256, description="Name of the model.")


class NamedStep(Model):
    """A step as far as it is known."""

    atomic: ClassVar[bool] = True

    lane: str = Field(max_length=63, description="Name of the lane.")
    namespace: str = Field(max_length=63, description="Namespace of the lane.")
    model: str | None = Field(
        default=None,
        max_length=256,
        description="Name of the model. Absent while the run names none and the lane is not there, or its classifier has not chosen yet.",
    )


class CurrentStep(NamedStep):
    """Where the run is in its chain, and how it came there."""

    cause: Cause | None = Field(default=None, description="What led here; absent on the first step.")
    time: Time | None = Field(default=None, description="Since when.")
    asked: bool | None = Field(
        default=None, description="True: a person sent the run here by spec.activeModel; it stays while it can."
    )
    shown: bool | None = Field(
        default=None,
        description="True once spec.activeModel was seen to say the same: what it loses then, somebody took.",
    )


class ChainStep(NamedStep):
    """One step of the chain."""

    causes: tuple[Cause, ...] = Field(
        default=(),
        max_length=len(Cause),
        json_schema_extra=ATOMIC_LIST,
        description="What may lead here. Absent: all but Full.",
    )


class Trouble(Model):
    """The failed model call that ended an attempt: what the lane learns from it."""

    sent_time: Time = Field(description="When the call was sent.")
    seen_time: Time = Field(description="When it failed.")
    status: int | None = Field(
        default=None, ge=100, le=599, description="HTTP status; absent when there was no answer."
    )
    reset_time: Time | None = Field(default=None, description="When the model may be used again, as the server said.")
    reset_source: ResetSource | None = Field(default=None, description="How the server said it.")
    elsewhere: bool | None = Field(
        default=None, description="True: another step of the run's chain was free at that moment."
    )


class BackoffStatus(Model):
    """The wait of a run whose models cannot be used now. Absent when it does not wait."""

    cause: Cause = Field(alias="class", description="Class of the failure.")
    step: StepStatus = Field(description="Lane and model that failed.")
    count: int = Field(
        ge=0,
        le=1_000_000,
        description="Failures of this class in a row on that model; 0 when the server named the time.",
    )
    source: ResetSource = Field(description="Who says how long.")
    since_attempt: int = Field(ge=1, le=1_000_000, description="The attempt that failed.")
    since_time: Time = Field(description="Since when the run waits.")
    retry_after_seconds: int | None = Field(
        default=None, ge=0, le=1_000_000_000, description="The server's own hint, in seconds."
    )
    original_reset_time: Time | None = Field(
        default=None, description="The server's time, or our first estimate before it was doubled."
    )
    applied_reset_time: Time | None = Field(
        default=None, description="The time that holds. Absent: until a person acts."
    )
    capped: bool | None = Field(
        default=None, description="True: our estimate would have been longer than spec.backoff.maxSeconds."
    )
    raw: str | None = Field(
        default=None, max_length=RAW_LIMIT, description="What the server said, at most 200 characters."
    )


class Fallback(Model):
    """One move along the chain."""

    time: Time = Field(description="When.")
    attempt: int = Field(
        ge=0,
        le=1_000_000,
        description="The attempt that ended before it, or of a live move the one that made it; 0 before the first.",
    )
    from_: NamedStep = Field(alias="from", description="The step that was left.")
    to: NamedStep = Field(description="The step that was taken.")
    cause: Cause = Field(description="Why.")
    live: bool | None = Field(default=None, description="True: in the middle of an attempt.")
    passed: str | None = Field(
        default=None,
        max_length=PASSED_LIMIT,
        description="The steps between the two that were passed by, and why. Absent: there were none.",
    )


class Queue(Model):
    """The place of a waiting run."""

    position: int = Field(
        ge=1,
        le=1_000_000,
        description="1 is next. Exact up to 10; behind that the last place of a range: 20, 50, 100, 200, 500 and so on.",
    )
    since: Time = Field(description="Since when only a slot is missing.")
    shown_time: Time | None = Field(
        default=None,
        description="When the place was worked out; another one is written once the run has stood there for 5 s, or after a minute.",
    )


class ModelUsage(Model):
    """Tokens of one model."""

    model: str = Field(
        min_length=1,
        max_length=256,
        description="Name of the model that served: as its lane has it, of a Direct lane as the agent says it.",
    )
    input_tokens: Tokens = Field(description="Input tokens, cached ones included.")
    cache_read_tokens: Tokens | None = Field(default=None, description="Input tokens read from the provider's cache.")
    cache_write_tokens: Tokens | None = Field(default=None, description="Input tokens written to the provider's cache.")
    output_tokens: Tokens = Field(description="Output tokens.")


class Usage(Model):
    """What the run's model calls used. Absent is unknown, never zero."""

    turns: Tokens | None = Field(default=None, description="Answered generation calls.")
    input_tokens: Tokens | None = Field(default=None, description="Input tokens, cached ones included.")
    cache_read_tokens: Tokens | None = Field(default=None, description="Input tokens read from the provider's cache.")
    cache_write_tokens: Tokens | None = Field(default=None, description="Input tokens written to the provider's cache.")
    output_tokens: Tokens | None = Field(default=None, description="Output tokens.")
    total_tokens: Tokens | None = Field(default=None, description="Input and output tokens together.")
    cost_usd: MoneyText | None = Field(default=None, description="Cost in US dollars. Absent when a price is unknown.")
    cost_source: CostSource | None = Field(
        default=None, description="Priced: by the lane's prices. Reported: by the agent."
    )
    by_model: tuple[ModelUsage, ...] | None = Field(
        default=None,
        max_length=MODELS_SHOWN,
        json_schema_extra=list_map("model"),
        description="The same by model, where all of it is known: from the gateway, or from the log on a Direct lane. Whole or absent.",
    )
    reserved_usd: MoneyText | None = Field(
        default=None, description="What open calls may cost at most, on top of costUSD. Absent when none is open."
    )
    source: UsageSource | None = Field(
        default=None, description="Gateway: metered on the wire. Envelope: read from the agent's log."
    )
    complete: bool | None = Field(
        default=None, description="False: some calls are missing or gave no usage. Absent while the run is active."
    )


class Attempt(Model):
    """One pod of the run."""

    id: int = Field(ge=1, le=1_000_000, description="Number of the attempt, from 1.")
    step: StepStatus = Field(description="Lane and model that it uses, or used last; it holds a slot of this lane.")
    moved_time: Time | None = Field(default=None, description="When it came to this step. Absent: it began on it.")
    access: Access | None = Field(
        default=None, description="Who carries its calls, as its lane said when the slot was granted."
    )
    pod: str | None = Field(default=None, max_length=253, description="Name of its pod.")
    pod_uid: str | None = Field(default=None, max_length=64, description="Uid of its pod.")
    admitted_time: Time | None = Field(default=None, description="When it got its slot.")
    start_time: Time | None = Field(default=None, description="When the agent's container started.")
    end_time: Time | None = Field(default=None, description="When it ended.")
    outcome: Outcome | None = Field(default=None, description="How it ended; absent while it is active.")
    cause: Cause | None = Field(default=None, alias="class", description="Class of the failure that ended it.")
    message: str | None = Field(default=None, max_length=1024, description="How it ended, in a sentence.")
    trouble: Trouble | None = Field(default=None, description="The failed call, if trouble of the model ended it.")
    again_time: Time | None = Field(
        default=None,
        description="When the one after it may begin. Set when its task is tried again, or when another round follows.",
    )
    stopped: Stopped | None = Field(
        default=None, description="That it was stopped because it was stuck, idle, or did not leave after its result."
    )
    usage: Usage | None = Field(default=None, description="What its calls used.")

    @property
    def slot_time(self) -> datetime | None:
        """When it came to its step: with a slot of that lane, or by a move within the lane."""
        return self.moved_time or self.admitted_time


class Result(Model):
    """What the agent left."""

    summary: str | None = Field(
        default=None, max_length=SUMMARY_LIMIT, description="The agent's own words, cut to 4096 bytes."
    )
    truncated: bool | None = Field(
        default=None,
        description="True: the summary was cut. The whole may be in the log of the last attempt's pod, while that is kept.",
    )
    exit_code: int | None = Field(default=None, ge=-1, le=65535, description="Exit code of the agent.")
    finish_reason: str | None = Field(default=None, max_length=64, description="Why the model stopped, as it said.")
    log_config_map: str | None = Field(
        default=None,
        max_length=253,
        description="Name of the ConfigMap that keeps the end of the last attempt's log, at most 4096 bytes, as long as the run. Absent: the run ended well, or nothing could be read.",
    )


class AgentRunStatus(Model):
    """What is known of a run."""

    observed_generation: Generation | None = Field(default=None, description="The metadata.generation that was judged.")
    conditions: tuple[Condition, ...] = Field(
        default=(),
        max_length=16,
        json_schema_extra=list_map("type"),
        description="Admitted, Finished, Succeeded, Reconciling, Stalled.",
    )
    phase: Phase | None = Field(default=None, description="For display only; conditions are the truth.")
    reason: str | None = Field(
        default=None, max_length=64, description="For display only: the reason of the condition that matters now."
    )
    requested_model: NamedStep | None = Field(default=None, description="The first step of the chain.")
    chain: tuple[ChainStep, ...] = Field(
        default=(),
        max_length=CHAIN_LIMIT,
        json_schema_extra=ATOMIC_LIST,
        description="All steps, fallbacks of lanes among them, as worked out before the latest attempt.",
    )
    step: CurrentStep | None = Field(default=None, description="Lane and model in use, or next.")
    classification: Classification | None = Field(
        default=None,
        description="How hard the work is, if a lane's classifier chooses its model. Absent: that was not asked.",
    )
    backoff: BackoffStatus | None = Field(
        default=None, description="Why the run waits for its models; absent when it does not."
    )
    next_attempt_time: Time | None = Field(default=None, description="When the run looks for a slot again.")
    fallback_history: tuple[Fallback, ...] = Field(
        default=(),
        max_length=HISTORY_KEPT,
        json_schema_extra=ATOMIC_LIST,
        description="The last 20 moves along the chain.",
    )
    active_model_restores: tuple[Time, ...] = Field(
        default=(),
        max_length=RESTORES_KEPT,
        json_schema_extra=ATOMIC_LIST,
        description="When spec.activeModel was written again because somebody had removed or changed it, the last 3.",
    )
    queue: Queue | None = Field(default=None, description="Place in the lane's queue, while it waits.")
    attempt: int | None = Field(
        default=None, ge=0, le=1_000_000, description="Number of the latest attempt; absent before the first."
    )
    round: int | None = Field(
        default=None, ge=1, le=1000, description="Number of the round, from 1. Absent while the run has only one."
    )
    retries: int | None = Field(
        default=None, ge=0, le=1000, description="How often a failed task was tried again; absent if never."
    )
    attempts: tuple[Attempt, ...] = Field(
        default=(),
        max_length=ATTEMPTS_KEPT,
        json_schema_extra=list_map("id"),
        description="The last 10 attempts, oldest first.",
    )
    disruptions: tuple[Time, ...] = Field(
        default=(),
        max_length=ATTEMPTS_KEPT,
        json_schema_extra=ATOMIC_LIST,
        description="When the cluster broke an attempt, the last 10.",
    )
    disruption_count: int | None = Field(
        default=None, ge=0, le=1_000_000, description="How many attempts the cluster broke in all."
    )
    usage: Usage | None = Field(default=None, description="What all attempts used together.")
    active_seconds: int | None = Field(
        default=None,
        ge=0,
        le=9_000_000_000,
        description="How long the agents of its ended attempts ran; waiting does not count.",
    )
    warnings: tuple[Warned, ...] = Field(
        default=(),
        max_length=len(LimitName),
        json_schema_extra=list_map("limit"),
        description="Limits that are nearly used up.",
    )
    health: tuple[HealthWarning, ...] = Field(
        default=(),
        max_length=len(HealthKind),
        json_schema_extra=list_map("kind"),
        description="What is noticed of the running attempt.",
    )
    limit_reached: LimitReached | None = Field(
        default=None, description="The limit for which the run waits; absent when it does not."
    )
    last_activity_time: Time | None = Field(default=None, description="When the gateway last saw the run call a model.")
    result: Result | None = Field(default=None, description="What the agent left.")
    start_time: Time | None = Field(default=None, description="When the first attempt's agent started.")
    completion_time: Time | None = Field(default=None, description="When the run ended.")
