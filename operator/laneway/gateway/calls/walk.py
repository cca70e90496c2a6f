"""Where a call goes when its step fails: to another model of its lane at once, or to another lane once the operator has granted a slot there.

``Walker`` takes one call from step to step. ``shut_steps`` and ``where_next`` say where. Within the lane the call goes on by itself
(``State.move``). For another lane it waits in ``granted``, which says so in the gateway's state (``AttemptState.wish``) for as long as the call is
held and returns when the run shows the new step.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from laneway.api.endpoint import WireAPI
from laneway.api.gatewaystate import CallFailure, Wish
from laneway.api.modellane import Access
from laneway.api.reasons import Cause, ResetSource
from laneway.api.runstatus import StepStatus
from laneway.gateway.cluster.objects import Lane, LaneKey, Run
from laneway.gateway.cluster.views import Views
from laneway.gateway.state.state import State
from laneway.gateway.wire.refused import Refused
from laneway.rules.chain import Chain, Link, Shut, walk
from laneway.rules.endpoint import spoken
from laneway.rules.token import AttemptId

_UNSUITABLE_STATUSES = frozenset({400, 422})

Cools = Callable[[LaneKey, str], Cause | None]
"""Why a model of a lane must not be called now; None: it may be."""


@dataclass(frozen=True, slots=True)
class Next:
    """The step to go to."""

    link: Link
    needs_slot: bool
    """It is on another lane: the operator has to grant a slot first."""


def step_of(run: Run, state: State, attempt: AttemptId) -> StepStatus | None:
    """The step that an attempt's calls go to: the one that the run shows, or one below it to which this process has moved; None before the first."""
    if run.lane is None or run.model is None:
        return None
    namespace, lane = run.lane
    used = state.model_in_use(attempt)
    if used is not None and _is_on(run, used.step):
        return used.step
    shown = StepStatus(namespace=namespace, lane=lane, model=run.model)
    if used is None or (used.step.namespace, used.step.lane) != run.lane:
        return shown
    before, now = _index(run, shown), _index(run, used.step)
    return used.step if before is not None and now is not None and now > before else shown


def back_soon(failure: CallFailure, lane: Lane) -> bool:
    """Whether the server itself says that the model is back so soon that it is waited for, whatever else is free (C10b)."""
    named = failure.reset_source in {ResetSource.SERVER_EVENT, ResetSource.RETRY_AFTER}
    within = timedelta(seconds=lane.spec.fallback_after_seconds)
    return named and failure.reset_time is not None and failure.reset_time - failure.seen_time <= within


def shut_steps(run: Run, views: Views, api: WireAPI, cools: Cools) -> dict[int, Shut]:
    """The steps that a call of a running attempt cannot take now, by their number in the chain, and why."""
    causes = ((number, _shut(run, views, link, api, cools)) for number, link in enumerate(run.chain))
    return {number: Shut(cause) for number, cause in causes if cause is not None}


def where_next(run: Run, failed: StepStatus, because: Shut, shut: Mapping[int, Shut]) -> Next | None:
    """The first open step below the one that failed that its cause leads to. None: the call is answered with its failure."""
    number = _index(run, failed)
    found = None if number is None else walk(run.chain, shut, failed=number, because=because)
    if found is None:
        return None
    link = run.chain[found]
    return Next(link, needs_slot=link.key != (failed.namespace, failed.lane))


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """A call that waits for a slot of another lane. Each is itself: parallel calls may say the same."""

    attempt: AttemptId
    failed: StepStatus
    cause: Cause
    api: WireAPI
    since: datetime
    seconds: float
    """How long it may be held."""

    def wish(self, run: Run) -> Wish:
        """What the operator is told, judged by the run as it is now."""
        return Wish(
            step=self.failed,
            cause=self.cause,
            api=self.api,
            since_time=self.since,
            until_time=self.since + timedelta(seconds=self.seconds),
            generation=run.generation,
        )


async def granted(held: Held, state: State, views: Views) -> Run | None:
    """The run once its attempt is on another step than the one that failed. None: not in time, or the attempt is over."""
    uid = held.attempt.run_uid
    try:
        async with asyncio.timeout(held.seconds):
            while (run := views.run(uid)) is not None and _is_at_work(run, held.attempt) and not _moved(run, held):
                state.ask(held.attempt, held, held.wish(run))
                await views.wait_for_run(uid)
    except TimeoutError:
        run = views.run(uid)
    finally:
        state.withdraw(held.attempt, held)
    return run if run is not None and _is_at_work(run, held.attempt) and _moved(run, held) else None


class Walker:
    """One call on its way along the chain of its run."""

    def __init__(self, *, state: State, views: Views, attempt: AttemptId, api: WireAPI, cools: Cools) -> None:
        self._state = state
        self._views = views
        self._attempt = attempt
        self._api = api
        self._cools = cools

    def step(self, run: Run) -> StepStatus | None:
        """The step that the attempt's calls go to now."""
        return step_of(run, self._state, self._attempt)

    def on_its_step(self, run: Run) -> Run:
        """The run with the lane and model that the attempt's calls go to now: what ``target.choose`` judges."""
        step = self.step(run)
        return (
            run
            if step is None or _is_on(run, step)
            else replace(run, lane=(step.namespace, step.lane), model=step.model)
        )

    async def go_on(self, failed: StepStatus, failure: CallFailure, *, hold_seconds: float) -> bool:
        """Whether the call may be tried again, on the step that ``on_its_step`` shows then; it is held for a slot of another lane meanwhile.

        To be asked when the tries with one model are used up, before the first byte. False: it is answered with its failure.
        """
        run, lane = self._views.run(self._attempt.run_uid), self._views.lanes.get((failed.namespace, failed.lane))
        if run is None or (lane is not None and back_soon(failure, lane)):
            return False
        if self.step(run) != failed:
            return True  # another call of the attempt was quicker
        cause = self._cause(failed, failure)
        if cause is Cause.WIRE_API_UNSUPPORTED and failed in self._state.answered_steps(self._attempt):
            return False  # the agent speaks what the step does, and only tries whether it speaks more
        shut = shut_steps(run, self._views, self._api, self._cools)
        advances = lane is not None and lane.spec.advance_on_permanent
        found = where_next(run, failed, Shut(cause, advances), shut)
        if found is None or found.link.model is None:
            return False
        if not found.needs_slot:
            self._state.move(self._attempt, failed, found.link.model, cause, self._api)
            return True
        held = Held(self._attempt, failed, cause, self._api, failure.seen_time, hold_seconds)
        return await granted(held, self._state, self._views) is not None

    def with_chain(self, refused: Refused, run: Run, failed: StepStatus) -> Refused:
        """A refusal that also says why no step below takes the call; as it is where there is none, and where one could but gave no slot."""
        number, shut = _index(run, failed), shut_steps(run, self._views, self._api, self._cools)
        below = range(len(run.chain) if number is None else number + 1, len(run.chain))
        if not below or any(one not in shut for one in below):
            return refused
        links = ((run.chain[one], shut[one].cause) for one in below)
        words = ", ".join(f"{link.namespace}/{link.lane}/{link.model} ({cause})" for link, cause in links)
        message = f"{refused}; no step below it in the run's chain can take the call: {words}"
        return Refused(refused.refusal.kind, message, verdict=refused.verdict)

    def _cause(self, failed: StepStatus, failure: CallFailure) -> Cause:
        """A 400 or 422 is the step's own fault if another one has answered this attempt and this one never has (design section 6)."""
        refused = failure.cause is Cause.TASK_FAILURE and failure.status in _UNSUITABLE_STATUSES
        answered = self._state.answered_steps(self._attempt)
        return Cause.UNSUITABLE if refused and answered and failed not in answered else failure.cause


def _is_at_work(run: Run, attempt: AttemptId) -> bool:
    return run.attempt == attempt.attempt and not run.finished


def _moved(run: Run, held: Held) -> bool:
    """Whether the attempt has a slot of another lane. That the operator records a move within the old lane is no answer."""
    return run.lane is not None and run.lane != (held.failed.namespace, held.failed.lane)


def _shut(run: Run, views: Views, link: Link, api: WireAPI, cools: Cools) -> Cause | None:
    lane = views.lanes.get(link.key)
    listed = lane is not None and any(model.name == link.model for model in lane.spec.models)
    if lane is None or link.model is None or not listed or not lane.allows(run.namespace):
        return Cause.MODEL_NOT_FOUND
    if lane.spec.access is not Access.GATEWAY or api not in spoken(lane.spec.endpoint):
        return Cause.WIRE_API_UNSUPPORTED
    if lane.spec.suspend and link.key != run.lane:
        return Cause.MANUAL
    return cools(link.key, link.model)


def _is_on(run: Run, step: StepStatus) -> bool:
    return run.lane == (step.namespace, step.lane) and run.model == step.model


def _index(run: Run, step: StepStatus) -> int | None:
    return Chain(run.chain).index(step.namespace, step.lane, step.model)
