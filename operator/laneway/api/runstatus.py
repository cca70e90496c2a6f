"""The status of an AgentRun: what a person reads, and all that the operator needs after a restart."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from laneway.api.base import ATOMIC_LIST, Condition, Generation, Model, Time, list_map
from laneway.api.reasons import Cause, Outcome, Phase

Tokens = Annotated[int, Field(ge=0, le=9_000_000_000_000_000)]
MoneyText = Annotated[str, Field(pattern=r"^[0-9]{1,12}(\.[0-9]{1,6})?$", max_length=20)]

ATTEMPTS_KEPT = 10
SUMMARY_LIMIT = 4096


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


class Queue(Model):
    """The place of a waiting run."""

    position: int = Field(
        ge=1,
        le=1_000_000,
        description="1 is next. Exact up to 10; behind that the last place of a range: 20, 50, 100, 200, 500 and so on.",
    )
    since: Time = Field(description="Since when only a slot is missing.")


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
    source: UsageSource | None = Field(
        default=None, description="Gateway: metered on the wire. Envelope: read from the agent's log."
    )
    complete: bool | None = Field(
        default=None, description="False: some calls are missing or gave no usage. Absent while the run is active."
    )


class Attempt(Model):
    """One pod of the run."""

    id: int = Field(ge=1, le=1_000_000, description="Number of the attempt, from 1.")
    step: StepStatus = Field(description="Lane and model that it began on.")
    pod: str | None = Field(default=None, max_length=253, description="Name of its pod.")
    pod_uid: str | None = Field(default=None, max_length=64, description="Uid of its pod.")
    admitted_time: Time | None = Field(default=None, description="When it got its slot.")
    start_time: Time | None = Field(default=None, description="When the agent's container started.")
    end_time: Time | None = Field(default=None, description="When it ended.")
    outcome: Outcome | None = Field(default=None, description="How it ended; absent while it is active.")
    cause: Cause | None = Field(default=None, alias="class", description="Class of the failure that ended it.")
    message: str | None = Field(default=None, max_length=1024, description="How it ended, in a sentence.")
    usage: Usage | None = Field(default=None, description="What its calls used.")


class Result(Model):
    """What the agent left."""

    summary: str | None = Field(
        default=None, max_length=SUMMARY_LIMIT, description="The agent's own words, cut to 4096 characters."
    )
    exit_code: int | None = Field(default=None, ge=-1, le=65535, description="Exit code of the agent.")
    finish_reason: str | None = Field(default=None, max_length=64, description="Why the model stopped, as it said.")


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
    step: StepStatus | None = Field(default=None, description="Lane and model in use.")
    queue: Queue | None = Field(default=None, description="Place in the lane's queue, while it waits.")
    attempt: int | None = Field(
        default=None, ge=0, le=1_000_000, description="Number of the latest attempt; absent before the first."
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
    last_activity_time: Time | None = Field(default=None, description="When the gateway last saw the run call a model.")
    result: Result | None = Field(default=None, description="What the agent left.")
    start_time: Time | None = Field(default=None, description="When the first attempt's agent started.")
    completion_time: Time | None = Field(default=None, description="When the run ended.")
