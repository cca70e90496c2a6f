"""Every word that software may act on: condition types, reasons, causes, outcomes, Event reasons. Add to them, never rename."""

from __future__ import annotations

from enum import StrEnum


class RunCondition(StrEnum):
    """Conditions of an AgentRun; they are the truth, ``phase`` is for display."""

    ADMITTED = "Admitted"  # holds a slot of its lane
    FINISHED = "Finished"  # any end
    SUCCEEDED = "Succeeded"  # ended well; Unknown while active
    RECONCILING = "Reconciling"  # kstatus: still on its way
    STALLED = "Stalled"  # kstatus: will not go on without a person


class LaneCondition(StrEnum):
    """Conditions of a ModelLane."""

    READY = "Ready"  # slots can be granted
    THROTTLED = "Throttled"  # a model or the account cools down
    PAUSED = "Paused"  # spec.suspend


class Waiting(StrEnum):
    """Why a run holds no slot: the reason of ``Admitted=False``. One reason for each thing that a person can do."""

    WAITING_FOR_SLOT = "WaitingForSlot"
    LANE_NOT_FOUND = "LaneNotFound"
    LANE_NOT_READY = "LaneNotReady"
    LANE_SUSPENDED = "LaneSuspended"
    MODEL_NOT_FOUND = "ModelNotFound"
    NAMESPACE_NOT_ALLOWED = "NamespaceNotAllowed"
    PRESET_NOT_FOUND = "PresetNotFound"
    IMAGE_NOT_SET = "ImageNotSet"
    QUOTA_EXCEEDED = "QuotaExceeded"
    NAME_TAKEN = "NameTaken"
    WORKSPACE_IN_USE = "WorkspaceInUse"
    SUSPENDED = "Suspended"
    WAITING_FOR_DEPENDENCY = "WaitingForDependency"
    NOT_BEFORE = "NotBefore"
    BACKING_OFF = "BackingOff"
    ALL_MODELS_COOLING = "AllModelsCooling"
    WIRE_API_UNSUPPORTED = "WireAPIUnsupported"
    PRICE_UNKNOWN = "PriceUnknown"
    LIMIT_PAUSED = "LimitPaused"
    SPEND_REACHED = "SpendReached"
    WAITING_FOR_RETRY = "WaitingForRetry"
    WAITING_FOR_ROUND = "WaitingForRound"
    WAITING_FOR_CLASSIFICATION = "WaitingForClassification"


class Admitted(StrEnum):
    """Why a run holds a slot: the reason of ``Admitted=True``."""

    SLOT_GRANTED = "SlotGranted"


class End(StrEnum):
    """How a run ended: the reason of ``Finished`` and ``Succeeded``."""

    COMPLETED = "Completed"
    FAILED = "Failed"
    NO_OUTPUT = "NoOutput"
    CANCELLED = "Cancelled"
    AUTH_FAILED = "AuthFailed"
    PERMANENT_MODEL_ERROR = "PermanentModelError"
    START_TIMEOUT = "StartTimeout"
    ATTEMPT_TIMEOUT = "AttemptTimeout"
    IDLE_TIMEOUT = "IdleTimeout"
    IMAGE_UNAVAILABLE = "ImageUnavailable"
    OUT_OF_MEMORY = "OutOfMemory"
    POD_REJECTED = "PodRejected"
    PROMPT_MISSING = "PromptMissing"
    EVICTED = "Evicted"
    LOST_POD = "LostPod"
    GATEWAY_UNAVAILABLE = "GatewayUnavailable"
    QUEUE_TIMEOUT = "QueueTimeout"
    DEPENDENCY_FAILED = "DependencyFailed"
    CHAIN_EXHAUSTED = "ChainExhausted"
    TRANSIENT_STOP = "TransientStop"
    BUDGET_REACHED = "BudgetReached"
    TOKENS_REACHED = "TokensReached"
    TURNS_REACHED = "TurnsReached"
    TIME_REACHED = "TimeReached"


class Outcome(StrEnum):
    """How one attempt ended."""

    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    MODEL_TROUBLE = "ModelTrouble"
    DISRUPTED = "Disrupted"
    LIMIT = "Limit"
    CANCELLED = "Cancelled"
    TIMED_OUT = "TimedOut"


class StopReason(StrEnum):
    """Why a running attempt was stopped although nobody asked for it and no limit was reached."""

    STUCK = "Stuck"  # its calls have only failed
    IDLE = "Idle"  # no call and no output
    LINGERED = "Lingered"  # it said its result and did not leave


class HealthKind(StrEnum):
    """What is noticed of a running attempt before anything is done about it."""

    STALLED = "Stalled"  # no call and no output for a while
    LONG_RUNNING = "LongRunning"  # it runs for an hour


class Cause(StrEnum):
    """The class of a failed model call, and so of the attempt that it ended; or why a run moves to another step of its chain."""

    RATE_LIMIT_ACCOUNT = "RateLimitAccount"
    RATE_LIMIT_MODEL = "RateLimitModel"
    QUOTA_EXHAUSTED = "QuotaExhausted"
    API_TRANSIENT = "APITransient"
    API_TIMEOUT = "APITimeout"
    MODEL_NOT_FOUND = "ModelNotFound"
    CONTEXT_TOO_LONG = "ContextTooLong"
    WIRE_API_UNSUPPORTED = "WireAPIUnsupported"
    UNSUITABLE = "Unsuitable"
    AUTH_FAILED = "AuthFailed"
    FULL = "Full"
    MANUAL = "Manual"
    TASK_FAILURE = "TaskFailure"
    UNKNOWN = "Unknown"


class ResetSource(StrEnum):
    """Who says when a model may be used again."""

    SERVER_EVENT = "ServerEvent"  # an event or a body that names the time
    RETRY_AFTER = "RetryAfter"  # a header or a hint in seconds
    SERVER_MISSING = "ServerMissing"  # an account limit without its time
    ESTIMATED = "Estimated"  # our own curve
    MANUAL = "Manual"  # spec.cooldowns


class LaneReason(StrEnum):
    """Reasons of a lane's conditions."""

    BACKEND_REACHABLE = "BackendReachable"
    BACKEND_UNREACHABLE = "BackendUnreachable"
    MODEL_NOT_SERVED = "ModelNotServed"
    AUTH_FAILED = "AuthFailed"
    CREDENTIAL_MISSING = "CredentialMissing"
    NOT_PROBED = "NotProbed"
    GATEWAY_UNAVAILABLE = "GatewayUnavailable"
    SUSPENDED_BY_USER = "SuspendedByUser"
    NOT_SUSPENDED = "NotSuspended"
    SOME_MODELS_COOLING = "SomeModelsCooling"
    ALL_MODELS_COOLING = "AllModelsCooling"
    NOT_THROTTLED = "NotThrottled"


class Phase(StrEnum):
    """One word for ``kubectl get``. Display only: no code reads it."""

    PENDING = "Pending"
    QUEUED = "Queued"
    SUSPENDED = "Suspended"
    PAUSED = "Paused"
    BACKING_OFF = "BackingOff"
    STARTING = "Starting"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


class EventReason(StrEnum):
    """Reasons of the Events that Laneway posts, once for each change."""

    SLOT_GRANTED = "SlotGranted"
    ATTEMPT_STARTED = "AttemptStarted"
    ATTEMPT_ENDED = "AttemptEnded"
    NO_OUTPUT = "NoOutput"
    AUTH_SUSPECTED = "AuthSuspected"
    NETWORK_BLIP = "NetworkBlip"
    POD_LOST = "PodLost"
    RETRY_PLANNED = "RetryPlanned"
    ROUND_ENDED = "RoundEnded"
    RUN_STUCK = "RunStuck"
    RUN_IDLE = "RunIdle"
    GRACE_KILL = "GraceKill"
    RUN_STALLED = "RunStalled"
    LONG_RUNNING = "LongRunning"
    RUN_FINISHED = "RunFinished"
    UNKNOWN_MODEL = "UnknownModel"
    STEPPED_DOWN = "SteppedDown"
    STEPPED_UP = "SteppedUp"
    CLASSIFIER_FALLBACK = "ClassifierFallback"
    BACKING_OFF = "BackingOff"
    BACKOFF_ELAPSED = "BackoffElapsed"
    BUDGET_WARNING = "BudgetWarning"
    TOKENS_WARNING = "TokensWarning"
    TURNS_WARNING = "TurnsWarning"
    TIME_WARNING = "TimeWarning"
    LIMIT_PAUSED = "LimitPaused"
    RESUMED = "Resumed"
    ACTIVE_MODEL_RESTORED = "ActiveModelRestored"
    MODEL_COOLED = "ModelCooled"
    MODEL_RECOVERED = "ModelRecovered"
    COOLDOWN_SET = "CooldownSet"
    COOLDOWN_CLEARED = "CooldownCleared"
    LANE_READY = "LaneReady"
    LANE_NOT_READY = "LaneNotReady"
