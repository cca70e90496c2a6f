"""AgentRun: one piece of agent work."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from pydantic import Field

from laneway.api.base import ATOMIC_LIST, Model, Rule, Time, int_or_string, list_map
from laneway.api.limits import Limits
from laneway.api.podoptions import OWN_ENV, EnvVar, KeyRef, PodOptions, Resources, Text, ruled
from laneway.api.retry import Rounds, RunRetry
from laneway.api.runstatus import AgentRunStatus
from laneway.api.steps import STEPS_LIMIT, ActiveModel, Step
from laneway.api.workspace import Workspace

FROZEN = (
    "prompt",
    "promptFrom",
    "title",
    "agent",
    "caller",
    "dependsOn",
    "notBeforeTime",
    "retry",
    "rounds",
    "result",
    "selection",
    "onTransientError",
)
"""Fields of the spec that may change until the first attempt begins."""

# The API server evaluates all rules at each write of the status too, and for every field that a rule touches it copies the schemas of
# all fields beside it. So the frozen fields share one rule, and a new phase ends it early: only the status subresource can write one,
# and that cannot change the spec.
_STARTED = "has(oldSelf.status) && has(oldSelf.status.attempt) && oldSelf.status.attempt > 0"
_NEW_PHASE = "has(oldSelf.status.phase) && has(self.status) && has(self.status.phase) && self.status.phase != oldSelf.status.phase"
_MAY_CHANGE = f"!({_STARTED}) || ({_NEW_PHASE})"


def _frozen(fields: tuple[str, ...]) -> Rule:
    """Presence and value of each field are compared; the sentence names the first that differs."""
    *others, last = fields
    same = " && ".join(f"({_same(field)})" for field in fields)
    changed = "".join(f"!({_same(field)}) ? '{field}' : " for field in others)
    sentence = "cannot change after the first attempt; create a new run"
    return Rule(
        f"{_MAY_CHANGE} || ({same})",
        f"{', '.join(fields)} {sentence}",
        field=".spec",
        message_expression=f"({changed}'{last}') + ' {sentence}'",
    )


def _same(field: str) -> str:
    new, old = f"self.spec.{field}", f"oldSelf.spec.{field}"
    return f"has({new}) == has({old}) && (!has({new}) || {new} == {old})"


class ResponseFormat(StrEnum):
    """What the built-in agent asks the model to answer with."""

    TEXT = "text"
    JSON_OBJECT = "json_object"


class PromptSource(Model):
    """A prompt kept elsewhere."""

    config_map_key_ref: KeyRef = Field(description="A key of a ConfigMap in the run's namespace.")


class Parameters(Model):
    """Sampling parameters of the built-in agent. What is unset is absent from the request."""

    temperature: str | None = Field(
        default=None,
        max_length=5,
        pattern=r"^[0-2](\.[0-9]{1,3})?$",
        coerce_numbers_to_str=True,
        json_schema_extra=int_or_string(maximum=2),
        description='A decimal from "0" to "2.999".',
    )
    max_tokens: int | None = Field(default=None, ge=1, le=10_000_000, description="Longest answer, in tokens.")
    response_format: ResponseFormat | None = Field(default=None, description="text or json_object.")
    stream: bool | None = Field(default=None, description="Stream the answer. Default: true.")


class Agent(Model):
    """What runs in the pod."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.parameters) || self.preset == 'laneway'",
            "parameters are for the built-in agent (preset laneway) only",
        ),
        Rule("self.preset != 'generic' || has(self.image)", "preset generic needs an image"),
    )

    preset: str = Field(
        default="laneway",
        min_length=1,
        max_length=63,
        description="Name of a preset: image, arguments, environment, log parser.",
    )
    image: str | None = Field(default=None, min_length=1, max_length=512, description="Image. Default: the preset's.")
    command: tuple[Text, ...] | None = Field(
        default=None, max_length=64, json_schema_extra=ATOMIC_LIST, description="Entry point. Default: the preset's."
    )
    args: tuple[Text, ...] | None = Field(
        default=None, max_length=256, json_schema_extra=ATOMIC_LIST, description="Arguments. Default: the preset's."
    )
    env: tuple[EnvVar, ...] | None = Field(
        default=None,
        max_length=128,
        json_schema_extra=ruled(OWN_ENV, **list_map("name")),
        description="More variables; they win over the names that clients read, never over LANEWAY_*.",
    )
    resources: Resources | None = Field(default=None, description="Requests and limits. Default: the preset's.")
    parameters: Parameters | None = Field(default=None, description="Sampling parameters of the built-in agent.")
    workspace: Workspace | None = Field(
        default=None,
        description="A claim that keeps the workspace over all attempts. Default: an empty folder for each attempt.",
    )
    pod: PodOptions | None = Field(default=None, description="What else the pod needs, from a closed list.")


class Selection(StrEnum):
    """Which of the free steps of the chain a run takes."""

    ORDERED = "Ordered"
    LEAST_BUSY = "LeastBusy"


class OnTransientError(StrEnum):
    """What follows an attempt that ended in a rate limit or another passing trouble of its model."""

    BACK_OFF = "BackOff"
    SKIP = "Skip"
    STOP = "Stop"


class Dependency(Model):
    """A run that has to end well first."""

    name: str = Field(min_length=1, max_length=63, description="Name of an AgentRun in the same namespace.")


class RunTimeouts(Model):
    """Limits of waiting and of an attempt, in seconds."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.stuckSeconds) || self.idleSeconds == 0 || self.stuckSeconds < self.idleSeconds",
            "stuckSeconds must be less than idleSeconds",
            field=".stuckSeconds",
        ),
    )

    queue_seconds: int | None = Field(
        default=None,
        ge=1,
        le=31_536_000,
        description="The longest wait for a slot; then the run ends. It counts while only a slot is missing. Absent: no limit.",
    )
    start_seconds: int = Field(
        default=600,
        ge=1,
        le=86400,
        description="From the pod's creation until the agent runs; then the run ends, with what kept it.",
    )
    attempt_seconds: int | None = Field(
        default=None,
        ge=1,
        le=31_536_000,
        description="How long the agent of one attempt may run, whatever it does; then it is stopped, and its task has failed."
        " Absent: no limit.",
    )
    lost_seconds: int = Field(
        default=120,
        ge=1,
        le=86400,
        description="How long the pod's node may be away before the attempt counts as lost.",
    )
    idle_seconds: int = Field(
        default=1200,
        ge=0,
        le=86400,
        description="How long an agent may be without an open call and without output; then the attempt ends as IdleTimeout."
        " 0: as long as it likes.",
    )
    stuck_seconds: int | None = Field(
        default=None,
        ge=0,
        le=86400,
        description="How long model calls may only fail; then the attempt ends as trouble of its model."
        " Default: 180, or half of idleSeconds if that is less. 0: as long as the agent tries.",
    )
    grace_after_result_seconds: int | None = Field(
        default=None,
        ge=0,
        le=86400,
        description="How long an agent may live after the result line in its log; then it is stopped, and its result counts."
        " Absent or 0: as long as it likes.",
    )


class ResultOptions(Model):
    """What counts as a result."""

    fail_if_no_output: bool = Field(
        default=False,
        description="True: an agent that exits with 0, made no model call and left no output has failed (NoOutput)."
        " False: that is a warning.",
    )


class AgentRunSpec(Model):
    """What a person asks of a run."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "[has(self.prompt), has(self.promptFrom)].exists_one(x, x)",
            "exactly one of prompt and promptFrom must be set",
        ),
        Rule(
            "!has(self.prompt) || size(bytes(self.prompt)) <= 98304",
            "prompt must be at most 96 KiB; use promptFrom and a volume for more",
        ),
    )

    prompt: str | None = Field(
        default=None, min_length=1, max_length=98304, description="The work, at most 96 KiB; mounted as a file."
    )
    prompt_from: PromptSource | None = Field(default=None, description="The work, kept elsewhere; instead of prompt.")
    title: str | None = Field(
        default=None, max_length=256, description="A name for people, and for the classifier of a lane."
    )
    agent: Agent = Field(default=Agent(), description="What runs in the pod.")
    models: tuple[Step, ...] = Field(
        min_length=1,
        max_length=STEPS_LIMIT,
        json_schema_extra=ATOMIC_LIST,
        description="The chain of models, in order: the first is used while it can be. Fallbacks of a lane come right behind its step.",
    )
    active_model: ActiveModel | None = Field(
        default=None,
        description="Where the run is in its chain; written by the operator, absent from manifests. Absent means the first step.",
    )
    selection: Selection = Field(
        default=Selection.ORDERED,
        description="Ordered: the first free step of the chain. LeastBusy: the free one with the fewest runs.",
    )
    on_transient_error: OnTransientError = Field(
        default=OnTransientError.BACK_OFF,
        description="When no other step is free. BackOff: wait until the model may be used again. Skip: try again after 6 s,"
        " unless the server itself named a time. Stop: end the run, done.",
    )
    caller: str = Field(
        default="",
        max_length=253,
        description="Whom the run is for: a bucket of the namespace. Callers of a namespace share its slots of a lane evenly.",
    )
    priority: int = Field(
        default=0,
        ge=-1_000_000,
        le=1_000_000,
        description="Order among the waiting runs of one caller, higher first; it never beats another caller.",
    )
    depends_on: tuple[Dependency, ...] = Field(
        default=(),
        max_length=16,
        json_schema_extra=list_map("name"),
        description="Runs of the same namespace that must have succeeded before the first attempt. One that did not succeed ends this run.",
    )
    not_before_time: Time | None = Field(default=None, description="The first attempt does not begin before this time.")
    limits: Limits = Field(
        default=Limits(),
        description="What all attempts together may use. Raising a limit always wins, also while it is being reached.",
    )
    timeouts: RunTimeouts = Field(default=RunTimeouts(), description="Limits of waiting and of an attempt.")
    retry: RunRetry = Field(default=RunRetry(), description="What is tried again.")
    rounds: Rounds = Field(default=Rounds(), description="How often the agent is run until it says that it is done.")
    result: ResultOptions = Field(default=ResultOptions(), description="What counts as a result.")
    suspend: bool = Field(default=False, description="Begin no new attempt; a running one goes on to its end.")
    cancel: bool = Field(
        default=False,
        json_schema_extra=ruled(Rule("self || !oldSelf", "cancel cannot be taken back; create a new run")),
        description="Stop now and keep the record. Cannot be taken back.",
    )
    pod_ttl_seconds: int = Field(
        default=3600,
        ge=0,
        le=31_536_000,
        description="How long the pods of a finished run stay, for their logs; the run itself stays.",
    )
    ttl_seconds_after_finished: int | None = Field(
        default=None,
        ge=0,
        le=31_536_000,
        description="How long the run itself stays once it is finished; then it is deleted with all that is its own."
        " Absent: until somebody deletes it. A run that a GitOps tool or a chart keeps is not deleted: it would be"
        " brought again, to run and pay once more.",
    )


class AgentRun(Model):
    """One piece of agent work on a model lane."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "size(self.metadata.name) <= 52 && !self.metadata.name.contains('.')",
            "name must be at most 52 characters without dots; pods and labels are named after it",
            field=".metadata.name",
        ),
        _frozen(FROZEN),
        Rule(
            f"{_MAY_CHANGE} || self.spec.models == oldSelf.spec.models || (has(self.spec.suspend) && self.spec.suspend)",
            "models can change after the first attempt only while suspend is true",
            field=".spec.models",
        ),
        Rule(
            "oldSelf.hasValue() || !has(self.spec.activeModel)",
            "activeModel is written by the operator; remove it from the manifest",
            field=".spec.activeModel",
            optional_old_self=True,
        ),
        Rule(
            "!has(self.spec.dependsOn) || self.spec.dependsOn.all(d, d.name != self.metadata.name)",
            "a run cannot depend on itself",
            field=".spec.dependsOn",
        ),
    )

    spec: AgentRunSpec = Field(description="What is asked of the run.")
    status: AgentRunStatus | None = Field(
        default=None, description="What is known of the run; written by the operator."
    )
