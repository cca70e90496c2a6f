"""What the gateway tells the operator. State, not events: read twice or missed once, it changes nothing.

``GET /v1/state?epoch=E&since=N&ahead=M`` answers a GatewayState with what changed after version N (everything on a new epoch). ``ahead``
is how many microseconds the operator's clock is before the gateway's: what stands in a lane's status was written by that clock.
``POST /v1/classify`` takes a ClassifyRequest, asks the classifier of a lane about a run, and answers a ClassifyAnswer. Asking again costs again.
``POST /v1/attempts/<run uid>/<attempt>/close`` ends an attempt and answers its final AttemptState; doing it again answers the same.
Times are the gateway's clock, to the microsecond; each answer carries ``answered_time``, so that the operator can shift them to its own.
All want ``Authorization: Bearer <operator secret>`` (rules.token.operator_secret).

How a running attempt moves along its chain (design section 6):

- Within the lane whose slot it holds the gateway moves by itself and says so in ``AttemptState.model``; the operator records it.
- For a step on another lane the gateway holds the call and says what it wants in ``AttemptState.wish``. The answer is the AgentRun itself:
  ``status.attempts[]`` of this attempt names another step. The gateway sees it in its own watch and goes on there; nobody calls it.

The operator writes in this order: the run's status (the attempt's step, ``status.step``, ``fallbackHistory`` with ``live``, all in one write), the
pod's lane label, ``spec.activeModel``. The status is the record; what follows is worked out from it again at every pass. So:

- The operator dies before the status is written: nothing has happened; the wish is read again from the gateway's state.
- It dies before the label is patched: the attempt's step holds a slot of the new lane, the pod's label one of the old lane. Never neither.
- It dies before ``spec.activeModel`` is patched: the spec only shows the step; the next pass patches it.
- The gateway restarts while it holds a call: the call is cut, the wish is gone with the process, and the agent sees a broken connection. If the
  step was granted meanwhile, the agent's next call goes there.
- The agent leaves: its call ends, and its wish with it. If the step was granted meanwhile, the attempt holds a slot of the new lane until its pod ends.
- The wish is stale: it names a step that the attempt is no longer on, a generation that is not the cached one, or a time that is over. The
  operator does nothing; as long as the call is held the gateway tells its wish anew with the generation that it sees.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AwareDatetime, BeforeValidator, Field, PlainSerializer

from laneway.api.base import Model, Time
from laneway.api.classification import Complexity
from laneway.api.endpoint import WireAPI
from laneway.api.limits import LimitName, LimitValue
from laneway.api.reasons import Cause, LaneReason, ResetSource
from laneway.api.runstatus import StepStatus
from laneway.api.spend import Period

Moment = Annotated[AwareDatetime, PlainSerializer(lambda moment: moment.isoformat(), return_type=str)]
"""A time to the microsecond: what is compared must not be rounded."""


MOVES_KEPT = 8
_CAUSES = {cause.value: cause for cause in Cause}
_WIRE_APIS = {api.value: api for api in WireAPI}


def known_cause(word: object) -> Cause:
    """A class as another version may have written it; what this one does not know is Unknown (B6)."""
    return _CAUSES.get(str(word), Cause.UNKNOWN)


def known_api(word: object) -> WireAPI | None:
    """A wire API; None for one that this version does not know."""
    return _WIRE_APIS.get(str(word))


class Totals(Model):
    """What the calls of one attempt used. Money is in millionths of a US dollar."""

    turns: int = 0
    input_tokens: int = 0
    cache_read_tokens: int | None = None
    """None: no server said anything of its cache."""
    cache_write_tokens: int | None = None
    output_tokens: int = 0
    cost_micro_usd: int | None = None
    """None: a call's price is unknown."""
    unmetered_calls: int = 0
    """Calls that were answered, or cut, without usage."""


class ModelTotals(Model):
    """What the calls of one attempt used of one model, whichever lanes served it."""

    model: str
    input_tokens: int = 0
    cache_read_tokens: int | None = None
    """None: no server said anything of its cache."""
    cache_write_tokens: int | None = None
    output_tokens: int = 0


class CallFailure(Model):
    """A call that failed."""

    sent_time: Moment
    seen_time: Moment
    """When it failed."""
    cause: Annotated[Cause, BeforeValidator(known_cause)] = Field(alias="class")
    """AuthFailed without a status is the gateway's own refusal: a missing key, or a lane that does not allow the namespace."""
    status: int | None = None
    message: str = ""
    """What the server said, at most 200 characters."""
    reset_time: Moment | None = None
    """When the model may be used again, as the server said."""
    reset_source: ResetSource | None = None
    cut: bool = False
    """The answer had begun: nothing could try the call again before anybody saw it (C9)."""
    step: StepStatus | None = None
    """What was called. None: no server was asked, or an older gateway does not say."""


class ModelMove(Model):
    """The gateway went on to another model of the same lane, before the first byte of an answer."""

    from_: str = Field(alias="from")
    to: str
    cause: Annotated[Cause, BeforeValidator(known_cause)]
    time: Moment
    api: Annotated[WireAPI | None, BeforeValidator(known_api)] = None
    """What the call speaks that was moved. None: an older gateway does not say."""


class ModelInUse(Model):
    """The lane and model that the calls of an attempt go to now, as the gateway last saw it."""

    step: StepStatus
    served: bool = False
    """Whether it has answered a call of this attempt."""
    moves: tuple[ModelMove, ...] = ()
    """Moves within this lane since the attempt came to it, oldest first; the last 8."""


class Wish(Model):
    """A call is held: its step failed, and the next one that is free is on another lane, where the attempt needs a slot."""

    step: StepStatus
    """The step that failed."""
    cause: Annotated[Cause, BeforeValidator(known_cause)]
    api: Annotated[WireAPI | None, BeforeValidator(known_api)] = None
    """What the held call speaks: the next step has to speak it too."""
    since_time: Moment
    until_time: Moment
    """When the call is refused if no slot was granted."""
    generation: int
    """The run's metadata.generation that was judged; the operator acts on no other."""


class LimitRefusal(Model):
    """A call that was refused because a limit of the run was reached."""

    limit: LimitName
    value: LimitValue
    """What the limit was."""
    generation: int
    """The run's metadata.generation that was judged; the operator acts on no other, so that raising a limit always wins."""


class AttemptState(Model):
    """One attempt as the gateway saw it."""

    run_uid: str
    attempt: int
    totals: Totals = Totals()
    models: tuple[ModelTotals, ...] = ()
    """The same by model, as far as that is known: less in sum than ``totals`` after a ledger was lost, or from an older gateway."""
    calls: int = 0
    open_calls: int = 0
    last_activity_time: Time | None = None
    finish_reason: str | None = None
    failure: CallFailure | None = None
    """The last call that failed, if no call after it succeeded."""
    failing_since_time: Moment | None = None
    """When the first call failed after which nothing but failures came: no answer, and no part of one. None: there is no such call."""
    model: ModelInUse | None = None
    """None: no call has succeeded, and the gateway has moved nowhere."""
    wish: Wish | None = None
    """None: no call waits for a slot of another lane."""
    refusal: LimitRefusal | None = None
    """The last call that was refused for a limit, if no call after it succeeded."""
    spent_out: bool = False
    """The last call was refused because its lane's ``spend`` for the run's namespace is used up; no call after it succeeded."""
    reserved_micro_usd: int | None = None
    """What open calls may cost at most; None: none is open, or no price is known."""
    answered_time: Moment | None = None
    """Of an answer that holds this attempt alone."""
    epoch: str | None = None
    """Of an answer that holds this attempt alone: the epoch of the process that gives it."""
    closed: bool = False
    version: int = 0


class ModelState(Model):
    """One model of a lane as the last probe saw it."""

    name: str
    served: bool | None = None
    context_tokens: int | None = None


class ModelEvidence(Model):
    """How the calls of one model of a lane went, whoever made them."""

    namespace: str
    lane: str
    model: str
    failures: int = 0
    """Requests that failed since the last success."""
    last_failure: CallFailure | None = None
    """None after a success."""
    run_uid: str | None = None
    """Whose call the last failure was."""
    last_success_time: Moment | None = None
    """When the last call that succeeded was sent."""
    version: int = 0


class LaneState(Model):
    """One lane as the last probe saw it."""

    namespace: str
    name: str
    uid: str
    generation: int
    """The lane's metadata.generation that was probed; the operator acts on no other."""
    reachable: bool
    reason: LaneReason
    message: str
    models: tuple[ModelState, ...] = ()
    probed_time: Time
    version: int = 0


class LaneSpend(Model):
    """What a namespace has spent on a lane in the current period, for each bound that the lane sets."""

    namespace: str
    lane: str
    of: str
    """The namespace whose runs spend."""
    period: Period
    period_start_time: Moment
    """By the gateway's clock; told for the period that it is in."""
    used_micro_usd: int
    refused_at_micro_usd: int | None = None
    """The limit at which a call of this period was refused, while it is not higher; None: none was."""
    version: int = 0


class GatewayState(Model):
    """Everything that changed after the version asked for."""

    epoch: str
    started_time: Time
    """When this gateway process began: calls that were open before were lost."""
    version: int
    answered_time: Moment
    attempts: tuple[AttemptState, ...] = ()
    evidence: tuple[ModelEvidence, ...] = ()
    lanes: tuple[LaneState, ...] = ()
    spends: tuple[LaneSpend, ...] = ()


class ClassifyRequest(Model):
    """A run whose model the classifier of a lane shall choose."""

    run_uid: str
    lane_namespace: str
    lane: str
    text: str
    """What the classifier reads: title and beginning of the prompt."""


class ClassifyAnswer(Model):
    """What came of it."""

    complexity: Complexity | None = None
    """None: the classifier failed, or did not say."""
    reason: str
    """Why, in the classifier's words; without a complexity: why there is none, in ours."""
    used: AttemptState
    """What classifying the run has used in all, as that of its attempt 0."""
