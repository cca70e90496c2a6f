"""ModelLane: one model endpoint, one credential, one queue."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from laneway.api.base import Condition, Generation, Model, Rule, Time, int_or_string, list_map

CALLERS_SHOWN = 20


class Server(StrEnum):
    """What kind of server answers; it decides probe path, wire APIs, authentication and time-outs."""

    VLLM = "vLLM"
    OLLAMA = "Ollama"
    OPENAI = "OpenAI"
    ANTHROPIC = "Anthropic"
    OTHER = "Other"


class Access(StrEnum):
    """Who carries the model calls of the lane's runs."""

    GATEWAY = "Gateway"
    DIRECT = "Direct"


class Auth(StrEnum):
    """How the lane's key is sent."""

    BEARER = "Bearer"
    X_API_KEY = "XApiKey"
    NONE = "None"


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


class CredentialRef(Model):
    """A key of a Secret in the lane's namespace."""

    atomic: ClassVar[bool] = True

    name: str = Field(
        min_length=1, max_length=253, description='Name of a Secret labelled laneway.dev/credential: "true".'
    )
    key: str = Field(default="apiKey", min_length=1, max_length=253, description="Key inside the Secret.")


class Endpoint(Model):
    """Where the model server answers, and how to speak to it."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "isURL(self.url) && url(self.url).getScheme() in ['http', 'https'] && url(self.url).getHostname() != ''"
            " && !self.url.contains('@') && !self.url.contains('?') && !self.url.contains('#')",
            "url must be http or https with a host, without user, query or fragment",
        ),
        Rule(
            "!has(self.credentialRef) || self.url.startsWith('https://')"
            " || (has(self.insecureCredential) && self.insecureCredential)"
            " || self.url.matches('^http://([a-z0-9-]+|[a-z0-9.-]+[.]svc|[a-z0-9.-]+[.]svc[.]cluster[.]local)(:[0-9]+)?(/|$)')",
            "a credential goes over plain http only inside the cluster (a host of one label, .svc or .svc.cluster.local),"
            " or with insecureCredential: true",
        ),
        Rule(
            "!has(self.auth) || self.auth == 'None' || has(self.credentialRef)",
            "auth Bearer and XApiKey need a credentialRef",
        ),
    )

    url: str = Field(
        min_length=8,
        max_length=512,
        description="http or https root of the server, with any path prefix; the path of an API is appended and a /v1 at"
        " the end is not doubled. A host of one label is a Service in the lane's namespace.",
    )
    server: Server = Field(
        default=Server.OTHER,
        description="Kind of server: decides probe path, wire APIs, authentication and default time-outs.",
    )
    credential_ref: CredentialRef | None = Field(
        default=None, description="The key that the gateway sends; run pods never see it."
    )
    auth: Auth | None = Field(
        default=None,
        description="Header that carries the key: Authorization: Bearer, or x-api-key. Default: XApiKey for Anthropic, else Bearer.",
    )
    insecure_credential: bool = Field(default=False, description="Allow the key to leave the cluster over plain http.")


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


class Capacity(Model):
    """How much of the lane may be in use at once."""

    runs: int = Field(default=4, ge=1, le=10000, description="Agent pods at once. Shrinking it kills nothing.")


class Share(Model):
    """The weight of a namespace."""

    namespace: str = Field(min_length=1, max_length=63, description="Name of a namespace.")
    weight: int = Field(
        default=1,
        ge=1,
        le=1000,
        description="Slots that it may hold at once, as a ratio to the weights of others that have runs waiting.",
    )


class AllowedNamespaces(Model):
    """Which namespaces may use the lane."""

    from_: AllowedFrom = Field(
        default=AllowedFrom.SAME,
        alias="from",
        description="Same: only runs in the lane's namespace. All: runs in every namespace.",
    )


class LaneTimeouts(Model):
    """Limits of one model call, in seconds."""

    request_seconds: int | None = Field(
        default=None,
        ge=1,
        le=86400,
        description="Connect, and the first byte of a stream. Default: 1800 for vLLM and Ollama (they load models), else 30.",
    )
    answer_seconds: int | None = Field(
        default=None, ge=1, le=86400, description="A whole answer. Default: 1800 for vLLM and Ollama, else 600."
    )
    stream_idle_seconds: int = Field(
        default=1200, ge=1, le=86400, description="Silence inside a stream; a stream has no total limit."
    )


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
        description="Models of this endpoint; a run that names none gets the first.",
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
    timeouts: LaneTimeouts = Field(default=LaneTimeouts(), description="Limits of one model call.")
    probe: Probe = Field(default=Probe(), description="How the gateway looks after the endpoint.")
    suspend: bool = Field(default=False, description="Grant no new slots; what runs goes on.")


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
        default=(), max_length=16, json_schema_extra=list_map("type"), description="Ready and Paused."
    )
    active_runs: int | None = Field(
        default=None, ge=0, le=1_000_000, description="Slots held now, ending pods and unsettled grants included."
    )
    queued_runs: int | None = Field(default=None, ge=0, le=1_000_000, description="Runs that wait for a slot.")
    callers: tuple[LaneCaller, ...] = Field(
        default=(),
        max_length=CALLERS_SHOWN,
        json_schema_extra=list_map("namespace", "caller"),
        description="Who has runs on the lane, at most 20, those with the most first.",
    )
    models: tuple[LaneModelStatus, ...] = Field(
        default=(), max_length=64, json_schema_extra=list_map("name"), description="What is known of each model."
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
    )

    spec: ModelLaneSpec = Field(description="What is asked of the lane.")
    status: ModelLaneStatus | None = Field(
        default=None, description="What is known of the lane; written by the operator."
    )
