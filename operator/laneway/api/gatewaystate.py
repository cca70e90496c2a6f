"""What the gateway tells the operator. State, not events: read twice or missed once, it changes nothing.

``GET /v1/state?epoch=E&since=N`` answers a GatewayState with what changed after version N (everything on a new epoch).
``POST /v1/attempts/<run uid>/<attempt>/close`` ends an attempt and answers its final AttemptState; doing it again answers the same.
Both want ``Authorization: Bearer <operator secret>`` (rules.token.operator_secret).
"""

from __future__ import annotations

from pydantic import Field

from laneway.api.base import Model, Time
from laneway.api.reasons import Cause, LaneReason


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


class CallFailure(Model):
    """The last call of an attempt that failed, if no call after it succeeded."""

    sent_time: Time
    cause: Cause = Field(alias="class")
    status: int | None = None
    message: str = ""
    """What the server said, at most 200 characters."""


class AttemptState(Model):
    """One attempt as the gateway saw it."""

    run_uid: str
    attempt: int
    totals: Totals = Totals()
    calls: int = 0
    open_calls: int = 0
    last_activity_time: Time | None = None
    finish_reason: str | None = None
    failure: CallFailure | None = None
    closed: bool = False
    version: int = 0


class ModelState(Model):
    """One model of a lane as the last probe saw it."""

    name: str
    served: bool | None = None
    context_tokens: int | None = None


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


class GatewayState(Model):
    """Everything that changed after the version asked for."""

    epoch: str
    started_time: Time
    """When this gateway process began: calls that were open before were lost."""
    version: int
    attempts: tuple[AttemptState, ...] = ()
    lanes: tuple[LaneState, ...] = ()
