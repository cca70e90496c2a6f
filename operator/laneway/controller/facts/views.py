"""Everything known about one run, or one lane, at one moment. Decisions see these and nothing else.

The timeline of a run, and which fields speak at each point:

    created      queued        slot granted     pod made        agent runs      pod ends      attempt closed   finished
       |            |               |               |               |               |               |             |
       |  Admitted=False, reason    |  Admitted=True, attempt=N     |               |               |             |  Finished=True
       |  status.queue while only   |  attempts[-1].admittedTime    |  .startTime   |  pod.finished |  gateway    |  completionTime
       |  the slot is missing       |  no pod yet   |  .pod .podUID |               |               |  .closed    |

A pod that is recorded but nowhere to be found was lost: the next attempt begins. A slot that is granted but has no recorded pod is simply acted on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property

from laneway.agent.envelope import EnvelopeSummary
from laneway.api.classification import Complexity
from laneway.api.gatewaystate import AttemptState, LaneSpend, LaneState, ModelEvidence
from laneway.api.reasons import Cause, Waiting
from laneway.api.runstatus import Attempt, StepStatus
from laneway.controller.facts.access import is_direct
from laneway.controller.facts.objects import Key, Lane, Meta, Run
from laneway.controller.facts.place import Place
from laneway.controller.facts.pods import PodFacts
from laneway.controller.facts.presets import Preset
from laneway.rules.chain import Chain
from laneway.rules.cooldown import Evidence
from laneway.rules.fairshare import Caller, Turn, first_turn


@dataclass(frozen=True)
class Walk:
    """A running attempt that asks for a slot of another lane: a call of it is held until then. It keeps its old slot as long."""

    run: Run
    step: StepStatus
    """Where it would go."""
    cause: Cause
    """Why its own step failed."""
    since: datetime
    passed: str | None = None
    """The steps between the two, and why they are passed by."""

    @property
    def meta(self) -> Meta:
        """Who the run is."""
        return self.run.meta

    @property
    def lane_key(self) -> Key:
        """The lane that it asks."""
        return self.step.namespace, self.step.lane

    @property
    def model(self) -> str:
        """The model that it would use."""
        return self.step.model

    @property
    def caller(self) -> Caller:
        """Whom it counts for in fair shares."""
        return self.run.caller

    @cached_property
    def turn(self) -> Turn:
        """First of its caller."""
        return first_turn(self.since, self.run.meta.name)


class DependencyState(StrEnum):
    """How far a run is that another one depends on."""

    MISSING = "missing"
    UNFINISHED = "unfinished"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True)
class DependencyView:
    """One run that another one depends on."""

    name: str
    state: DependencyState
    reason: str = ""
    """How it ended."""


@dataclass(frozen=True)
class Standing:
    """A place, and since when its run stands there."""

    place: Place
    since: datetime


@dataclass(frozen=True)
class GatewayView:
    """What the gateway says of a run's current attempt."""

    state: AttemptState | None = None
    down_since: datetime | None = None
    """Since when it does not answer; None while it does."""
    started: datetime | None = None
    """When its process began, by its own clock."""
    known: bool = True
    """False until it has answered once since this process began to lead."""


@dataclass(frozen=True)
class LiveLog:
    """What the log of a running agent told. None: nothing yet."""

    last_output: datetime | None = None
    """When its last line was written."""
    result: datetime | None = None
    """When it said its result, if nothing but chatter followed; looked for only if the run wants that."""
    succeeded: bool = False
    """Whether that result is a good one."""


@dataclass(frozen=True)
class Answer:
    """What came of the question how hard a run's work is."""

    lane: Key
    """Whose classifier was asked."""
    complexity: Complexity | None
    """None: it failed, or did not say."""
    reason: str
    """Why, in its words; without a complexity: why there is none."""
    used: AttemptState | None = None
    """What asking has used in all; None: nothing was asked, or nobody knows."""


@dataclass(frozen=True)
class PodRefusal:
    """Why the API server would not have the pod."""

    reason: Waiting | None
    """A wait that may end by itself; None: the pod will never be accepted."""
    message: str


@dataclass(frozen=True)
class Surroundings:
    """What an attempt's pod needs of the installation."""

    agent_image: str
    gateway_url: str
    token: str
    """This attempt's token; unused on Direct lanes."""
    traceparent: str | None = None
    """Where the agent's own spans belong; None: there are no traces."""


@dataclass(frozen=True)
class RunView:
    """Everything known of one run."""

    run: Run
    surroundings: Surroundings
    lane: Lane | None = None
    """The one that its attempt uses, or that it waits for."""
    chain: Chain = field(default_factory=Chain)
    """Empty once it has finished."""
    lanes: Mapping[Key, Lane] = field(default_factory=dict)
    """Those of its chain that are there."""
    peers: Mapping[Key, tuple[Lane, ...]] = field(default_factory=dict)
    """Other lanes of the account of each of these."""
    place: Place | None = None
    place_since: datetime | None = None
    """Since when it stands there; None: since it was told."""
    """In the queue of the lane that it waits for; None: that lane's turn to look at it has not come."""
    pods: tuple[PodFacts, ...] = ()
    gateway: GatewayView = GatewayView()
    envelope: EnvelopeSummary | None = None
    """The end of the agent's log, read once the pod has ended if it can tell what nothing else does. Its usage counts on Direct lanes only."""
    log_blank: bool | None = None
    """Whether that log was empty; None: it was not read."""
    log_end: str | None = None
    """Its last characters as they stand there; None: it was not read."""
    live_log: LiveLog | None = None
    """The log of an agent that runs, where a watchdog wanted to know; None: it was not read, or could not be."""
    presets: Mapping[str, Preset] = field(default_factory=dict)
    refusal: PodRefusal | None = None
    lost_nodes: Mapping[str, datetime] = field(default_factory=dict)
    """Nodes of its pods that do not answer, and since when."""
    answer: Answer | None = None
    """What its classifier said, until that is written; None: nothing yet, or it was not asked."""
    prompt_missing: bool = False
    usable_lanes: tuple[str, ...] = ()
    dependencies: tuple[DependencyView, ...] = ()
    """What it depends on; empty once its first attempt was granted."""
    other_managers: tuple[str, ...] = ()
    """Who may have taken or changed ``spec.activeModel``, by the names given to the API server; asked for only when somebody did."""

    @property
    def preset(self) -> Preset | None:
        """How its agent is run; None: there is no such preset."""
        return self.presets.get(self.run.spec.agent.preset)

    @property
    def pod(self) -> PodFacts | None:
        """The pod of the current attempt."""
        attempt = self.run.status.attempt
        return next((pod for pod in self.pods if pod.attempt == attempt), None)

    @property
    def direct(self) -> bool:
        """Whether the gateway sees nothing of the latest attempt's calls."""
        attempts = self.run.status.attempts
        return is_direct(attempts[-1] if attempts else None, self.lane.spec if self.lane else None)


@dataclass(frozen=True)
class Held:
    """One slot that is in use, and by what."""

    run_uid: str
    attempt: int


@dataclass(frozen=True)
class LaneView:
    """Everything known of one lane and of all that wants it."""

    lane: Lane
    runs: tuple[Run, ...] = ()
    """Unfinished runs that wait for this lane, hold a slot of it, or had an attempt on it."""
    pods: tuple[PodFacts, ...] = ()
    """Pods that carry this lane's labels, whoever owned them."""
    unsettled: frozenset[Held] = frozenset()
    """Grants whose write had no answer yet."""
    walks: tuple[Walk, ...] = ()
    """Attempts on other lanes that ask for a slot of this one."""
    holders: Mapping[str, Caller] = field(default_factory=dict)
    """Whom a slot counts for whose run is not among ``runs``, by run uid."""
    served: Mapping[Caller, datetime] = field(default_factory=dict)
    """When a caller last got a slot, as far as memory goes."""
    dependencies: Mapping[str, tuple[DependencyView, ...]] = field(default_factory=dict)
    """What runs that have dependencies depend on, by uid."""
    probe: LaneState | None = None
    evidence: tuple[ModelEvidence, ...] = ()
    """How the calls of its models went, as the gateway saw them; times are the operator's clock."""
    spends: tuple[LaneSpend, ...] = ()
    """What namespaces have spent on it, as the gateway has counted it."""
    troubles: Mapping[str, tuple[Evidence, ...]] = field(default_factory=dict)
    """Failures that ended attempts of its runs, by model; those of finished runs too."""
    successes: Mapping[str, datetime] = field(default_factory=dict)
    """On Direct lanes: when the latest attempt began that ended well, by model. There is no gateway to tell."""
    peers: tuple[Lane, ...] = ()
    """Other lanes of the same account."""
    elsewhere: frozenset[str] = frozenset()
    """Uids of runs that have another step that is free now."""
    gateway_down_since: datetime | None = None
    presets: Mapping[str, Preset] = field(default_factory=dict)
    first_pass: bool = False
    """The first look after this process began to lead."""

    @cached_property
    def active(self) -> tuple[tuple[Run, Attempt], ...]:
        """Runs that hold a slot of it, each with the attempt that does."""
        return tuple((run, run.current) for run in self.runs if run.current and is_on(run.current, self.lane))

    @property
    def current_probe(self) -> LaneState | None:
        """What the last probe found. Every judgement of the gateway carries the generation it was made on; another one's is ignored."""
        probe, meta = self.probe, self.lane.meta
        current = probe is not None and probe.uid == meta.uid and probe.generation == meta.generation
        return probe if current else None


def is_on(attempt: Attempt, lane: Lane) -> bool:
    """Whether an attempt holds a slot of a lane: by the step that it is on, wherever its run's spec points now."""
    return (attempt.step.namespace, attempt.step.lane) == lane.meta.key


def granted_step(run: Run, lane: Lane) -> StepStatus:
    """The step of a run with the lane's defaults filled in."""
    step = run.status.step or run.spec.models[0]
    model = lane.model(step.model)
    if model is None:
        raise ValueError(f"lane {lane.meta.name} does not list the model of run {run.meta.name}")
    return StepStatus(lane=lane.meta.name, namespace=lane.meta.namespace, model=model.name)
