"""What the operator may ask of the gateway: attempts, models and lanes as they are now, each with the version of its last change."""

from __future__ import annotations

import asyncio
import uuid
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import takewhile

from laneway.api.endpoint import WireAPI
from laneway.api.gatewaystate import (
    AttemptState,
    CallFailure,
    GatewayState,
    LaneSpend,
    LaneState,
    LimitRefusal,
    ModelEvidence,
    ModelInUse,
    Wish,
)
from laneway.api.reasons import Cause
from laneway.api.runstatus import StepStatus
from laneway.gateway.cluster.objects import Run
from laneway.gateway.ledger.ledger import CallEnd
from laneway.gateway.ledger.sql import Past
from laneway.gateway.state.attempts import Attempt, OpenCall, from_ledger
from laneway.gateway.state.evidence import Evidence, LaneModel
from laneway.rules.token import AttemptId

MESSAGE_LIMIT = 200
OPEN_CALLS_LIMIT = 32
"""Calls of one run that may be open or held at once."""
_KEEP = timedelta(days=2)
_ACTIVITY_STEP = timedelta(seconds=5)

Clock = Callable[[], datetime]


class AttemptClosed(Exception):  # noqa: N818 - it says what happened
    """The attempt is closed; its token is dead."""


class TooManyCalls(Exception):  # noqa: N818 - it says what happened
    """The attempt has as many calls open as it may have."""


_LaneKey = tuple[str, str]
_Key = AttemptId | _LaneKey


class State:
    """All attempts, models and lanes, in the order of their last change."""

    def __init__(self, *, clock: Clock, past: Iterable[Past] = ()) -> None:
        """Begin a new epoch with what the ledger remembers."""
        self.epoch = uuid.uuid4().hex
        self._started = clock()
        self.version = 0
        self.operator_ahead = timedelta(0)
        """How far the operator's clock is before ours: lane status is written by it."""
        self.leaving = False
        """Calls were cut because the process ends: what their attempts came to is the next process's to say."""
        self._clock = clock
        self._attempts: OrderedDict[AttemptId, Attempt] = OrderedDict()
        self._lanes: OrderedDict[_LaneKey, LaneState] = OrderedDict()
        self._spends: OrderedDict[tuple[str, ...], LaneSpend] = OrderedDict()
        self._evidence = Evidence(self._next_version)
        self._read = -1
        """The version that the operator has read, as its last question showed."""
        self._asked = asyncio.Event()
        for one in past:
            self.remember(one)

    # Attempts

    def open(self, attempt: AttemptId) -> OpenCall:
        """A call of the current task begins, or is held. Raises AttemptClosed and TooManyCalls."""
        entry = self._entry(attempt)
        if entry.closed:
            raise AttemptClosed
        if len(entry.open) >= OPEN_CALLS_LIMIT:
            raise TooManyCalls
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a call needs a task that can be cut")
        call = OpenCall(task=task)
        entry.open.add(call)
        self._touch(entry)
        return call

    def leave(self, attempt: AttemptId, call: OpenCall) -> None:
        """The call has left, settled or not."""
        entry = self._entry(attempt)
        entry.open.discard(call)
        call.left.set()
        if entry.untouched:
            del self._attempts[attempt]
        else:
            self._touch(entry)

    def saw_activity(self, attempt: AttemptId) -> None:
        """Bytes of an answer came. A new version only now and then: a stream would make one for every token."""
        entry, now = self._entry(attempt), self._clock()
        entry.last_activity = now
        was_failing, entry.failing_since = entry.failing_since is not None, None
        if was_failing or entry.touched is None or now - entry.touched >= _ACTIVITY_STEP:
            self._touch(entry)

    def settle(
        self, attempt: AttemptId, end: CallEnd, *, model: LaneModel, sent: datetime, failure: CallFailure | None
    ) -> None:
        """Count a call that has ended, for its attempt and for its model."""
        entry = self._entry(attempt)
        entry.count(end, model.model)
        step = _step_of(model)
        if failure is not None:
            told = failure.model_copy(update={"step": step})
            entry.failed(told)
            self._evidence.failed(model, told, run_uid=attempt.run_uid)
        elif end.turn:
            entry.served(end.finish_reason)
            entry.where.served(step)
            self._evidence.succeeded(model, sent=sent)
        self._touch(entry)

    def charge(self, attempt: AttemptId, end: CallEnd, *, model: str) -> None:
        """Count a call of the gateway's own that has ended: it is nobody's turn, and how it went says nothing of the model to others."""
        entry = self._entry(attempt)
        entry.count(end, model)
        self._touch(entry)

    def fail(self, attempt: AttemptId, failure: CallFailure) -> None:
        """The gateway itself refused a call of the attempt: no model has failed."""
        entry = self._entry(attempt)
        entry.failed(failure)
        self._touch(entry)

    def model_in_use(self, attempt: AttemptId) -> ModelInUse | None:
        """The model that the attempt's calls go to, as far as this process has seen."""
        entry = self._attempts.get(attempt)
        return entry.where.model if entry else None

    def answered_steps(self, attempt: AttemptId) -> frozenset[StepStatus]:
        """The steps that have answered a call of the attempt, as far as this process has seen."""
        entry = self._attempts.get(attempt)
        return frozenset(entry.where.answered) if entry else frozenset()

    def move(self, attempt: AttemptId, left: StepStatus, to: str, cause: Cause, api: WireAPI | None = None) -> None:
        """The attempt's calls go to another model of their lane from now on. Of parallel calls the first one moves it."""
        entry = self._entry(attempt)
        if entry.where.move(left, to, cause, self._clock(), api):
            self._touch(entry)

    def ask(self, attempt: AttemptId, call: object, wish: Wish) -> None:
        """A call is held for a slot of another lane. The same wish again changes nothing."""
        entry = self._entry(attempt)
        if entry.where.ask(call, wish):
            self._touch(entry)

    def withdraw(self, attempt: AttemptId, call: object) -> None:
        """The call is held no longer."""
        entry = self._entry(attempt)
        if entry.where.withdraw(call):
            self._touch(entry)

    def refuse(self, attempt: AttemptId, refusal: LimitRefusal) -> None:
        """A call of the attempt was refused because a limit of its run is reached."""
        entry = self._entry(attempt)
        entry.refusal = refusal
        self._touch(entry)

    def spend_out(self, attempt: AttemptId) -> None:
        """A call of the attempt was refused because its namespace has spent what it may on the lane."""
        entry = self._entry(attempt)
        entry.spent_out = True
        self._touch(entry)

    def put_spend(self, spend: LaneSpend) -> None:
        """What a namespace has spent on a lane; a new version only if it says something new."""
        key = (spend.namespace, spend.lane, spend.of, spend.period)
        known = self._spends.get(key)
        if known is not None and known.model_copy(update={"version": 0}) == spend:
            return
        self._spends[key] = spend.model_copy(update={"version": self._next_version()})
        self._spends.move_to_end(key)

    def hold(self, attempt: AttemptId, micro_usd: int | None) -> None:
        """What open calls of the attempt may cost; told with its next change."""
        self._entry(attempt).reserved = micro_usd

    def is_closed(self, attempt: AttemptId) -> bool:
        """Whether the attempt's token is dead."""
        entry = self._attempts.get(attempt)
        return entry is not None and entry.closed

    def knows(self, attempt: AttemptId) -> bool:
        """Whether the attempt is in memory."""
        return attempt in self._attempts

    def close(self, attempt: AttemptId) -> list[OpenCall]:
        """The token dies and open calls are cut. Answers those calls, to be waited for."""
        entry = self._entry(attempt)
        entry.closed = True
        self._touch(entry, active=False)
        self._forget_old()
        for call in entry.open:
            call.cut()
        return list(entry.open)

    def look(self, run_uid: str, run: Run | None) -> None:
        """The view of a run has changed. Of one that has ended, whose status has all that it used, nobody asks any more; the ledger knows it still."""
        if run is None or not run.settled:
            return
        for number in range(run.attempt + 1):
            entry = self._attempts.get(AttemptId(run_uid, number))
            if entry is not None and not entry.open:
                del self._attempts[entry.id]

    def attempt_state(self, attempt: AttemptId) -> AttemptState:
        """One attempt, with the time and the epoch of this answer."""
        return self._entry(attempt).state().model_copy(update={"answered_time": self._clock(), "epoch": self.epoch})

    def open_calls(self) -> list[OpenCall]:
        """All calls in flight."""
        return [call for entry in self._attempts.values() for call in entry.open]

    def remember(self, past: Past) -> None:
        """Take what the ledger knows of an attempt."""
        version = self._next_version()
        self._attempts[past.attempt] = from_ledger(past, version=version, touched=self._clock())

    # Lanes

    def put_lane(self, lane: LaneState, *, anew: bool = False) -> None:
        """Take a probe's result; a new version only if it says something new, or if its time alone is news (``anew``)."""
        key = (lane.namespace, lane.name)
        known = self._lanes.get(key)
        if known is not None and _same(known, lane) and not anew:
            return
        self._lanes[key] = lane.model_copy(update={"version": self._next_version()})
        self._lanes.move_to_end(key)

    def drop_lane(self, namespace: str, name: str) -> None:
        """The lane is gone, or no longer carried by the gateway."""
        self._lanes.pop((namespace, name), None)
        self.keep_models(namespace, name, ())

    def keep_models(self, namespace: str, name: str, models: Collection[str]) -> None:
        """The models that a lane lists now; what is known of others is dropped."""
        self._evidence.keep(namespace, name, models)

    def evidence_of(self, model: LaneModel) -> ModelEvidence | None:
        """How the calls of a model went."""
        return self._evidence.of(model)

    def lane_state(self, namespace: str, name: str) -> LaneState | None:
        """The last result of a lane's probe."""
        return self._lanes.get((namespace, name))

    # Reading

    def since(self, *, epoch: str | None, version: int) -> GatewayState:
        """What changed after a version; everything to one who knew another epoch."""
        after = self._read = version if epoch == self.epoch else -1
        self._asked.set()
        attempts, lanes = [], []
        for entry in reversed(self._attempts.values()):
            if entry.version <= after:
                break
            attempts.append(entry.state())
        for lane in reversed(self._lanes.values()):
            if lane.version <= after:
                break
            lanes.append(lane)
        spends = takewhile(lambda one: one.version > after, reversed(self._spends.values()))
        return GatewayState(
            epoch=self.epoch,
            started_time=self._started,
            version=self.version,
            answered_time=self._clock(),
            attempts=tuple(attempts),
            evidence=self._evidence.since(after),
            lanes=tuple(lanes),
            spends=tuple(spends),
        )

    async def wait_until_read(self, *, seconds: float) -> bool:
        """Whether the operator has read, within so many seconds, all that is known now."""
        wanted = self.version
        try:
            async with asyncio.timeout(seconds):
                while self._read < wanted:
                    self._asked.clear()
                    await self._asked.wait()
        except TimeoutError:
            return False
        return True

    def _entry(self, attempt: AttemptId) -> Attempt:
        entry = self._attempts.get(attempt)
        if entry is None:
            entry = self._attempts[attempt] = Attempt(id=attempt)
        return entry

    def _touch(self, entry: Attempt, *, active: bool = True) -> None:
        entry.touched = self._clock()
        if active:
            entry.last_activity = entry.touched
        entry.version = self._next_version()
        self._attempts.move_to_end(entry.id)

    def _next_version(self) -> int:
        self.version += 1
        return self.version

    def _forget_old(self) -> None:
        """Attempts without a sign of life leave memory after two days; the ledger knows them still."""
        horizon = self._clock() - _KEEP
        for key, entry in list(self._attempts.items()):
            if entry.touched is not None and entry.touched > horizon:
                return
            if not entry.open:
                del self._attempts[key]


@lru_cache(maxsize=1024)
def _step_of(model: LaneModel) -> StepStatus:
    """Kept, because each call asks for the same few."""
    return StepStatus(namespace=model.namespace, lane=model.lane, model=model.model)


def _same(known: LaneState, new: LaneState) -> bool:
    ignored: dict[str, object] = {"version": 0, "probed_time": known.probed_time}
    return known.model_copy(update=ignored) == new.model_copy(update=ignored)
