"""The operator's side of the gateway: polls its state, closes attempts, puts questions. What it knows can be lost at any moment; its times are our clock's."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import aiohttp
from pydantic import ValidationError

from laneway.api.gatewaystate import (
    AttemptState,
    ClassifyAnswer,
    ClassifyRequest,
    GatewayState,
    LaneSpend,
    LaneState,
    ModelEvidence,
)
from laneway.controller.decision.effects import Classify
from laneway.controller.facts.objects import Key
from laneway.controller.facts.views import Answer, GatewayView
from laneway.controller.memory.questions import Questions
from laneway.controller.outside import skew
from laneway.controller.outside.clock import Clock

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
_SUCCESS_STEP = timedelta(seconds=5)
"""A model that answers call after call is told of this often: every pass sees the latest anyway."""
_SPEND_STEP = timedelta(seconds=15)
"""Each call moves the sum of its lane, and each look at the lane may write it. That money runs out is told at once, by a refusal."""
_LIMIT = aiohttp.ClientTimeout(total=10, connect=3)
_QUESTION_LIMIT = aiohttp.ClientTimeout(total=40, connect=3)
"""The gateway gives a classifier 30 s."""
_OK = 200


class GatewayAway(Exception):  # noqa: N818 - it says what happened
    """The gateway did not answer as it should; the message says how."""


@dataclass
class Changes:
    """What a poll brought: attempts by run uid and number, lanes by key."""

    attempts: list[tuple[str, int]] = field(default_factory=list)
    lanes: list[Key] = field(default_factory=list)
    """Probed, or with new evidence of a model, or with money spent."""
    turned: bool = False
    """The gateway went away or came back."""


class GatewayClient:
    """A copy of the gateway's state, and the way to close an attempt."""

    def __init__(self, *, url: str, secret: str, clock: Clock) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {secret}"}
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None
        self._epoch = ""
        self._version = 0
        self._ahead = skew.NO_SKEW
        self._attempts: dict[str, dict[int, tuple[AttemptState, AttemptState]]] = {}
        """By run uid and number, as told, and with our clock's times."""
        self._evidence: dict[Key, dict[str, tuple[ModelEvidence, ModelEvidence]]] = {}
        """As told, and with our clock's times."""
        self._reported: dict[tuple[Key, str], datetime] = {}
        """The latest success of a model that was a change."""
        self._lanes: dict[Key, LaneState] = {}
        self._spends: dict[Key, dict[tuple[str, str], LaneSpend]] = {}
        self._spends_shown: dict[tuple[Key, tuple[str, str]], datetime] = {}
        """When a sum was last a change."""
        self._spends_owed: set[tuple[Key, tuple[str, str]]] = set()
        """Sums that have grown since."""
        self._started: datetime | None = None
        self.down_since: datetime | None = None
        self.known = False
        self.questions = Questions(self.classify)

    async def close(self) -> None:
        """Put no more questions, and close the connection."""
        await self.questions.close()
        if self._session is not None:
            await self._session.close()

    def attempt_view(self, run_uid: str, attempt: int | None) -> GatewayView:
        """What is known of a run's attempt."""
        known = None if attempt is None else self._attempts.get(run_uid, {}).get(attempt)
        state = known[1] if known else None
        return GatewayView(state=state, down_since=self.down_since, started=self._started, known=self.known)

    def lane(self, key: Key) -> LaneState | None:
        """What is known of a lane."""
        return self._lanes.get(key)

    def evidence(self, key: Key) -> tuple[ModelEvidence, ...]:
        """How the calls of a lane's models went, by the models' names."""
        return tuple(known for _, (_, known) in sorted(self._evidence.get(key, {}).items()))

    def spends(self, key: Key) -> tuple[LaneSpend, ...]:
        """What namespaces have spent on a lane. Periods are those of the calendar, whatever the gateway's clock."""
        return tuple(spend for _, spend in sorted(self._spends.get(key, {}).items()))

    def forget(self, run_uid: str) -> None:
        """Drop what is known of a run that is gone, or that has ended with all that it used in its status."""
        self.questions.forget(run_uid)
        self._attempts.pop(run_uid, None)

    async def poll_forever(self, on_change: Callable[[Changes], None]) -> None:
        """Poll until cancelled; every failure only makes the gateway count as away."""
        while True:
            changes = await self.poll()
            if changes.attempts or changes.lanes or changes.turned:
                on_change(changes)
            await asyncio.sleep(POLL_SECONDS)

    async def poll(self) -> Changes:
        """Ask once for what changed."""
        changes, asked = Changes(), self._clock.now()
        try:
            ahead = self._ahead // timedelta(microseconds=1)
            path = f"/v1/state?epoch={self._epoch}&since={self._version}&ahead={ahead}"
            body = await self._request("GET", path)
            state = GatewayState.model_validate_json(body)
        except (GatewayAway, ValidationError) as error:
            changes.turned = self._went_away(str(error))
            return changes
        changes.turned = self._came_back()
        self._measure(asked, state.answered_time)
        if state.epoch != self._epoch:
            self._begin_anew(state.started_time)
        self._epoch, self._version = state.epoch, state.version
        for attempt in state.attempts:
            self._learn(attempt)
            changes.attempts.append((attempt.run_uid, attempt.attempt))
        for lane in state.lanes:
            self._lanes[lane.namespace, lane.name] = skew.moved_lane(lane, self._ahead)
        probed = [(lane.namespace, lane.name) for lane in state.lanes]
        for spend in state.spends:
            self._learn_spend(spend)
        told = [(one.namespace, one.lane) for one in state.evidence if self._learn_evidence(one)]
        changes.lanes = list(dict.fromkeys(probed + told + self._spends_due()))
        return changes

    async def close_attempt(self, run_uid: str, attempt: int) -> AttemptState:
        """Close an attempt and keep its final totals.

        Raises GatewayAway; also while a process answers of which no poll has told yet, because how an attempt ended is judged by when its gateway began.
        """
        asked = self._clock.now()
        try:
            body = await self._request("POST", f"/v1/attempts/{run_uid}/{attempt}/close")
            state = AttemptState.model_validate_json(body)
        except ValidationError as error:
            raise GatewayAway(f"the gateway's answer cannot be read: {error}") from error
        except GatewayAway as error:
            self._went_away(str(error))
            raise
        self._came_back()
        if state.epoch not in {None, self._epoch}:
            raise GatewayAway("another process answers, and what it knows was not read yet")
        if state.answered_time is not None:
            self._measure(asked, state.answered_time)
        return self._keep(state)

    async def classify(self, question: Classify) -> Answer | None:
        """Ask the classifier of a lane about a run. None: the gateway is away."""
        namespace, lane = question.lane
        asked = ClassifyRequest(run_uid=question.run_uid, lane_namespace=namespace, lane=lane, text=question.text)
        try:
            status, body = await self._exchange(
                "POST", "/v1/classify", data=asked.model_dump_json(by_alias=True), limit=_QUESTION_LIMIT
            )
            said = ClassifyAnswer.model_validate_json(body) if status == _OK else None
        except GatewayAway as error:
            log.warning("a classifier could not be asked", extra={"run_uid": question.run_uid, "why": str(error)})
            return None
        except ValidationError:
            return Answer(question.lane, None, "the gateway's answer cannot be read")
        if said is None:
            return Answer(question.lane, None, f"the gateway answered {status}")
        return Answer(question.lane, said.complexity, said.reason, said.used)

    def _learn(self, state: AttemptState) -> None:
        """A closed attempt stays closed: the answer to a poll that began before its close is older than the close."""
        known = self._attempts.get(state.run_uid, {}).get(state.attempt)
        if known is None or state.closed or not known[0].closed:
            self._keep(state)

    def _keep(self, state: AttemptState) -> AttemptState:
        of_run = self._attempts.setdefault(state.run_uid, {})
        ours = skew.moved_attempt(state, self._ahead, before=of_run.get(state.attempt))
        of_run[state.attempt] = (state, ours)
        return ours

    def _learn_evidence(self, told: ModelEvidence) -> bool:
        """Keep what is told of a model; whether its lane must look: a failure, the end of failures, or a success after a while."""
        key, model = (told.namespace, told.lane), told.model
        models = self._evidence.setdefault(key, {})
        before = models.get(model)
        ours = skew.moved_evidence(told, self._ahead, before=before)
        models[model] = (told, ours)
        success, reported = ours.last_success_time, self._reported.get((key, model))
        news = success is not None and (reported is None or success - reported >= _SUCCESS_STEP)
        if before is None or _failed(before[0]) != _failed(told) or news:
            if success is not None:
                self._reported[key, model] = success
            return True
        return False

    def _learn_spend(self, told: LaneSpend) -> None:
        """Keep a sum; that a call was refused for it, or no longer is, must not wait."""
        key, entry = (told.namespace, told.lane), (told.of, told.period)
        before = self._spends.setdefault(key, {}).get(entry)
        self._spends[key][entry] = told
        if before is not None and before.refused_at_micro_usd != told.refused_at_micro_usd:
            self._spends_shown.pop((key, entry), None)
        self._spends_owed.add((key, entry))

    def _spends_due(self) -> list[Key]:
        """Lanes that must look at their sums: each is a change now and then only, and the last one, too, in the end."""
        now, shown = self._clock.now(), self._spends_shown
        due = {one for one in self._spends_owed if one not in shown or now - shown[one] >= _SPEND_STEP}
        shown.update(dict.fromkeys(due, now))
        self._spends_owed -= due
        return sorted({key for key, _ in due})

    def _begin_anew(self, started: datetime) -> None:
        """Another process answers: what the last one told is no longer true."""
        self._attempts.clear()
        self._evidence.clear()
        self._reported.clear()
        self._lanes.clear()
        self._spends.clear()
        self._spends_shown.clear()
        self._spends_owed.clear()
        self._started = started + self._ahead

    def _measure(self, asked: datetime, answered: datetime) -> None:
        self._ahead = skew.measured(self._ahead, asked=asked, answered=answered, came=self._clock.now())

    async def _request(self, method: str, path: str) -> bytes:
        status, body = await self._exchange(method, path)
        if status != _OK:
            raise GatewayAway(f"the gateway answered {status} to {method} {path.partition('?')[0]}")
        return body

    async def _exchange(
        self, method: str, path: str, *, data: str | None = None, limit: aiohttp.ClientTimeout = _LIMIT
    ) -> tuple[int, bytes]:
        if self._session is None:
            self._session = aiohttp.ClientSession(headers=self._headers)
        try:
            async with self._session.request(
                method, self._url + path, data=data, timeout=limit, allow_redirects=False
            ) as answer:
                return answer.status, await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise GatewayAway(f"the gateway cannot be reached: {type(error).__name__}") from error

    def _went_away(self, why: str) -> bool:
        first = self.down_since is None
        if first:
            self.down_since = self._clock.now()
            log.warning("the gateway is away", extra={"why": why})
        return first

    def _came_back(self) -> bool:
        back = self.down_since is not None or not self.known
        if self.down_since is not None:
            log.info("the gateway is back")
        self.down_since, self.known = None, True
        return back


def _failed(told: ModelEvidence) -> tuple[object, ...]:
    return told.failures, told.last_failure
