"""ModelLane: one model endpoint, one credential, one queue."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from laneway.api.base import ATOMIC_LIST, Condition, Generation, Model, Rule, Time, int_or_string, list_map
from laneway.api.classification import Classifier
from laneway.api.endpoint import Endpoint
from laneway.api.lanecalls import CallRetry, Capacity, EffectiveTimeouts, LaneTimeouts
from laneway.api.reasons import Cause, ResetSource
from laneway.api.spend import SPEND_LIMIT, Spend, SpendStatus
from laneway.api.steps import STEPS_LIMIT, Step

CALLERS_SHOWN = 20


class Access(StrEnum):
    """Who carries the model calls of the lane's runs."""

    GATEWAY = "Gateway"
    DIRECT = "Direct"


class AllowedFrom(StrEnum):
    """Whose runs may use a lane."""

    SAME = "Same"
    ALL = "All"


Price = Annotated[
    str,
    Field(
        pattern=r"^[0-9]{1,6}(\.[0-9]{1,6})?$",
        max_length=13,
        coerce_numbers_to_str=True,
        json_schema_extra=int_or_string(maximum=999_999),
    ),
]


class Pricing(Model):
    """US dollars per million tokens, as decimal strings. Absent is unknown, never free; free is "0"."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.inputUSDPerMillion) == has(self.outputUSDPerMillion)",
            "inputUSDPerMillion and outputUSDPerMillion go together",
        ),
    )

    input_usd_per_million: Price | None = Field(default=None, description='Price of input tokens, for example "2.50".')
    output_usd_per_million: Price | None = Field(default=None, description="Price of output tokens.")
    cache_read_usd_per_million: Price | None = Field(
        default=None, description="Price of input read from the provider's cache. Default: the input price."
    )
    cache_write_usd_per_million: Price | None = Field(
        default=None, description="Price of input written to the provider's cache. Default: the input price."
    )


class LaneModel(Model):
    """One model that the endpoint serves."""

    name: str = Field(min_length=1, max_length=256, description="Name of the model, sent to the server verbatim.")
    pricing: Pricing | None = Field(
        default=None, description="Prices, for the cost in a run's status. Absent is unknown, never free."
    )
    max_output_tokens: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000_000,
        description="The longest answer. Calls of runs with a limit of money or tokens are asked for no more, and reserve no more.",
    )


class Share(Model):
    """The weight of a namespace."""

    namespace: str = Field(min_length=1, max_length=63, description="Name of a namespace.")
    weight: int = Field(
        default=1,
        ge=1,
        le=1000,
        description="Slots that it may hold at once, as a ratio to the weights of others that have runs waiting. 1 if absent.",
    )


class AllowedNamespaces(Model):
    """Which namespaces may use the lane."""

    from_: AllowedFrom = Field(
        default=AllowedFrom.SAME,
        alias="from",
        description="Same: only runs in the lane's namespace. All: runs in every namespace.",
    )


class Backoff(Model):
    """Our own estimates of how long a model cannot be used, in seconds. What a server says replaces them."""

    rate_limit_seconds: int = Field(
        default=60, ge=1, le=86400, description="First wait after a rate limit of the model."
    )
    transient_seconds: int = Field(
        default=60, ge=1, le=86400, description="First wait after 500, 502, 503, 504, 529 or no answer."
    )
    timeout_seconds: int = Field(default=30, ge=1, le=86400, description="First wait after a time-out.")
    max_seconds: int = Field(
        default=1800,
        ge=1,
        le=86400,
        description="Longest estimate; each failure in a row doubles it, five times at most.",
    )
    ceiling_seconds: int = Field(
        default=28800,
        ge=1,
        le=604_800,
        description="Longest wait of a run, servers' times included; then it looks again.",
    )


class CooldownMode(StrEnum):
    """What a person says of a model."""

    HOLD = "Hold"
    CLEAR = "Clear"


class ManualCooldown(Model):
    """A person's word on one model; it beats what was learned before ``setTime``."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("self.mode != 'Clear' || has(self.setTime)", "Clear needs setTime: failures up to then are forgotten"),
        Rule("self.mode != 'Clear' || !has(self.until)", "only Hold has until"),
    )

    model: str = Field(min_length=1, max_length=256, description="Name of a model of this lane.")
    mode: CooldownMode = Field(
        description="Hold: nobody uses the model. Clear: forget its failures up to setTime; waiting runs start at once."
    )
    until: Time | None = Field(default=None, description="End of a Hold. Absent: as long as this entry stands.")
    set_time: Time | None = Field(default=None, description="When it was said.")


class Probe(Model):
    """How the gateway looks after the endpoint."""

    period_seconds: int = Field(default=30, ge=1, le=3600, description="Seconds between two probes.")
    timeout_seconds: int = Field(default=5, ge=1, le=300, description="Seconds until a probe has failed.")


class ModelLaneSpec(Model):
    """What a person asks of a lane."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.access) || self.access != 'Direct' || !has(self.endpoint.credentialRef)",
            "a Direct lane has no credentialRef; the run brings its own key",
        ),
        Rule(
            "!has(self.access) || self.access != 'Direct' || !has(self.capacity) || !has(self.capacity.calls)",
            "a Direct lane has no capacity.calls; its runs call the server themselves",
        ),
        Rule(
            "!has(self.cooldowns) || self.cooldowns.all(c, self.models.exists(m, m.name == c.model))",
            "cooldowns name models of this lane",
            field=".cooldowns",
        ),
        Rule(
            "!has(self.spend) || size(self.spend) == 0 || self.models.all(m, has(m.pricing) && has(m.pricing.inputUSDPerMillion))",
            "spend needs pricing on every model of the lane",
            field=".spend",
        ),
        Rule(
            "!has(self.access) || self.access != 'Direct' || !has(self.spend) || size(self.spend) == 0",
            "a Direct lane has no spend; no gateway counts there",
            field=".spend",
        ),
        Rule(
            "!has(self.classifier) || [self.classifier.model, self.classifier.tiers.simple, self.classifier.tiers.medium,"
            " self.classifier.tiers.complex].all(n, self.models.exists(m, m.name == n))",
            "classifier.model and all its tiers name models of this lane",
            field=".classifier",
        ),
        Rule(
            "!has(self.access) || self.access != 'Direct' || !has(self.classifier)",
            "a Direct lane has no classifier; the gateway asks it, and carries no calls there",
            field=".classifier",
        ),
    )

    endpoint: Endpoint = Field(description="Where the model server answers.")
    access: Access = Field(
        default=Access.GATEWAY,
        description="Gateway: calls are authenticated, metered and keyed by the gateway. Direct: the pod calls the server itself.",
    )
    models: tuple[LaneModel, ...] = Field(
        min_length=1,
        max_length=64,
        json_schema_extra=list_map("name"),
        description="Models of this endpoint; a run that names none gets that of the classifier, else the first.",
    )
    capacity: Capacity = Field(default=Capacity(), description="Bounds of what runs at once.")
    shares: tuple[Share, ...] = Field(
        default=(),
        max_length=256,
        json_schema_extra=list_map("namespace"),
        description="Fair share between namespaces; one that is not named has weight 1.",
    )
    allowed_namespaces: AllowedNamespaces = Field(
        default=AllowedNamespaces(), description="Which namespaces may use the lane."
    )
    retry: CallRetry = Field(
        default=CallRetry(), description="How one call is tried again before its first byte; the agent sees one answer."
    )
    timeouts: LaneTimeouts = Field(default=LaneTimeouts(), description="Limits of one model call.")
    account: str | None = Field(
        default=None,
        min_length=1,
        max_length=253,
        description="Lanes of a namespace with the same account cool down together when its limit is reached. Default: the credential.",
    )
    backoff: Backoff = Field(default=Backoff(), description="Our own estimates of how long a model cannot be used.")
    cooldown_seconds: int = Field(
        default=300,
        ge=1,
        le=86400,
        description="How long a model that failed is left alone when the run has another step to go to.",
    )
    fallback_after_seconds: int = Field(
        default=180,
        ge=0,
        le=86400,
        description="A run waits for its model when the server says it is back within this time; else it moves on.",
    )
    advance_on_permanent: bool = Field(
        default=False, description="Move on to the next step also when the key is refused or the request is too long."
    )
    cooldowns: tuple[ManualCooldown, ...] = Field(
        default=(), max_length=64, json_schema_extra=list_map("model"), description="Set or cleared by a person."
    )
    fallback: tuple[Step, ...] = Field(
        default=(),
        max_length=STEPS_LIMIT,
        json_schema_extra=ATOMIC_LIST,
        description="Where runs of this lane may go next; they stand in a run's chain right behind this lane's step.",
    )
    classifier: Classifier | None = Field(
        default=None,
        description="Chooses the model of runs that name none by how complex their work is. Absent: they get the first.",
    )
    spend: tuple[Spend, ...] = Field(
        default=(),
        max_length=SPEND_LIMIT,
        json_schema_extra=list_map("namespace", "period"),
        description="What namespaces may spend here in a day or a month. Reached: their runs wait until the period ends.",
    )
    probe: Probe = Field(default=Probe(), description="How the gateway looks after the endpoint.")
    suspend: bool = Field(default=False, description="Grant no new slots; what runs goes on.")


class Failures(Model):
    """Failures in a row by class; a success empties all of them."""

    rate_limit_model: int | None = Field(default=None, ge=1, le=1_000_000, description="Rate limits of the model.")
    api_transient: int | None = Field(
        default=None, ge=1, le=1_000_000, description="500, 502, 503, 504, 529, no answer."
    )
    api_timeout: int | None = Field(default=None, ge=1, le=1_000_000, description="Time-outs.")


class LaneModelStatus(Model):
    """What is known of one model."""

    name: str = Field(min_length=1, max_length=256, description="Name as in spec.models.")
    served: bool | None = Field(
        default=None,
        description="Whether the server lists the model. Absent: not known (not probed, or a Direct lane).",
    )
    context_tokens: int | None = Field(
        default=None, ge=1, le=1_000_000_000, description="Context length that the server reports, in tokens."
    )
    cooldown_until: Time | None = Field(
        default=None, description="Not used before. Absent without a cooldown, and in a Hold without end."
    )
    cooldown_reason: Cause | None = Field(default=None, description="Why it cools down; absent when it does not.")
    cooldown_source: ResetSource | None = Field(default=None, description="Who says how long.")
    failures: Failures | None = Field(default=None, description="Failures in a row; absent after a success.")
    last_failure_time: Time | None = Field(
        default=None, description="When the last failure was counted; absent after a success."
    )
    last_failure_status: int | None = Field(default=None, ge=100, le=599, description="Its HTTP status.")
    settled_time: Time | None = Field(
        default=None, description="Failures of calls that were sent up to then are accounted for and count no more."
    )


class AccountStatus(Model):
    """What is known of the account behind the lane's key."""

    cooldown_until: Time | None = Field(
        default=None, description="Not used before. Absent without a cooldown, and while its key is refused."
    )
    reason: Cause | None = Field(default=None, description="Why it cools down; absent when it does not.")
    source: ResetSource | None = Field(default=None, description="Who says how long.")
    last_failure_time: Time | None = Field(
        default=None, description="When the last failure was counted; absent after a success."
    )
    settled_time: Time | None = Field(
        default=None, description="Failures of calls that were sent up to then are accounted for and count no more."
    )


class LaneCaller(Model):
    """One caller with runs on the lane."""

    namespace: str = Field(min_length=1, max_length=63, description="Namespace of its runs.")
    caller: str = Field(default="", max_length=253, description="spec.caller of its runs.")
    active: int = Field(ge=0, le=1_000_000, description="Slots that it holds.")
    queued: int = Field(ge=0, le=1_000_000, description="Its runs that wait for a slot.")
    last_served_time: Time | None = Field(default=None, description="When it last got a slot.")


class ModelLaneStatus(Model):
    """What is known of a lane."""

    observed_generation: Generation | None = Field(default=None, description="The metadata.generation that was judged.")
    conditions: tuple[Condition, ...] = Field(
        default=(), max_length=16, json_schema_extra=list_map("type"), description="Ready, Throttled and Paused."
    )
    active_runs: int | None = Field(
        default=None, ge=0, le=1_000_000, description="Slots held now, ending pods and unsettled grants included."
    )
    queued_runs: int | None = Field(
        default=None,
        ge=0,
        le=1_000_000,
        description="Runs that wait for a slot, running attempts of other lanes that ask for one among them.",
    )
    backing_off_runs: int | None = Field(
        default=None, ge=0, le=1_000_000, description="Runs that wait for a model of the lane to be usable again."
    )
    throttled_until: Time | None = Field(
        default=None, description="When the last of its cooling models is usable again; absent when none cools."
    )
    account: AccountStatus | None = Field(
        default=None, description="What is known of the account; absent when it never failed."
    )
    callers: tuple[LaneCaller, ...] = Field(
        default=(),
        max_length=CALLERS_SHOWN,
        json_schema_extra=list_map("namespace", "caller"),
        description="Who has runs on the lane, at most 20, those with the most first.",
    )
    models: tuple[LaneModelStatus, ...] = Field(
        default=(), max_length=64, json_schema_extra=list_map("name"), description="What is known of each model."
    )
    effective_timeouts: EffectiveTimeouts | None = Field(
        default=None, description="The limits of a call that hold; absent on Direct lanes."
    )
    spend: tuple[SpendStatus, ...] = Field(
        default=(),
        max_length=SPEND_LIMIT,
        json_schema_extra=list_map("namespace", "period"),
        description="What namespaces have spent in the current period, for each entry of spec.spend.",
    )
    last_probe_time: Time | None = Field(default=None, description="When the judgement of the endpoint last changed.")


class ModelLane(Model):
    """One model endpoint with one credential, and the queue in front of it."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "size(self.metadata.name) <= 63 && !self.metadata.name.contains('.')",
            "name must be at most 63 characters without dots; pods are labelled with it",
            field=".metadata.name",
        ),
        Rule(
            "!has(self.spec.fallback) || self.spec.fallback.all(f, f.lane != self.metadata.name || has(f.namespace))",
            "a lane does not fall back to itself; runs name several models of one lane in spec.models",
            field=".spec.fallback",
        ),
    )

    spec: ModelLaneSpec = Field(description="What is asked of the lane.")
    status: ModelLaneStatus | None = Field(
        default=None, description="What is known of the lane; written by the operator."
    )
