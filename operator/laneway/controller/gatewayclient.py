"""The operator's side of the gateway: polls its state, closes attempts. What it knows can be lost at any moment."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import aiohttp
from pydantic import ValidationError

from laneway.api.gatewaystate import AttemptState, GatewayState, LaneState, ModelEvidence
from laneway.controller.clock import Clock
from laneway.controller.views import GatewayView, Key

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
_LIMIT = aiohttp.ClientTimeout(total=10, connect=3)


class GatewayAway(Exception):  # noqa: N818 - it says what happened
    """The gateway did not answer as it should; the message says how."""


@dataclass
class Changes:
    """What a poll brought: attempts by run uid and number, lanes by key."""

    attempts: list[tuple[str, int]] = field(default_factory=list)
    lanes: list[Key] = field(default_factory=list)
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
        self._attempts: dict[tuple[str, int], AttemptState] = {}
        self._lanes: dict[Key, LaneState] = {}
        self._evidence: dict[tuple[str, str, str], ModelEvidence] = {}
        self._started: datetime | None = None
        self.down_since: datetime | None = None
        self.known = False

    async def close(self) -> None:
        """Close the connection."""
        if self._session is not None:
            await self._session.close()

    def attempt_view(self, run_uid: str, attempt: int | None) -> GatewayView:
        """What is known of a run's attempt."""
        state = self._attempts.get((run_uid, attempt)) if attempt else None
        return GatewayView(state=state, down_since=self.down_since, started=self._started, known=self.known)

    def lane(self, key: Key) -> LaneState | None:
        """What is known of a lane."""
        return self._lanes.get(key)

    def evidence(self, key: Key) -> tuple[ModelEvidence, ...]:
        """How the calls of a lane's models went."""
        return tuple(known for (namespace, lane, _), known in self._evidence.items() if (namespace, lane) == key)

    def forget(self, run_uid: str) -> None:
        """Drop what is known of a run that is gone."""
        for key in [key for key in self._attempts if key[0] == run_uid]:
            del self._attempts[key]

    async def poll_forever(self, on_change: Callable[[Changes], None]) -> None:
        """Poll until cancelled; every failure only makes the gateway count as away."""
        while True:
            changes = await self.poll()
            if changes.attempts or changes.lanes or changes.turned:
                on_change(changes)
            await asyncio.sleep(POLL_SECONDS)

    async def poll(self) -> Changes:
        """Ask once for what changed."""
        changes = Changes()
        try:
            body = await self._request("GET", f"/v1/state?epoch={self._epoch}&since={self._version}")
            state = GatewayState.model_validate_json(body)
        except (GatewayAway, ValidationError) as error:
            changes.turned = self._went_away(str(error))
            return changes
        changes.turned = self._came_back()
        if state.epoch != self._epoch:
            self._attempts.clear()
            self._lanes.clear()
            self._evidence.clear()
        self._epoch, self._version, self._started = state.epoch, state.version, state.started_time
        for attempt in state.attempts:
            self._learn(attempt)
            changes.attempts.append((attempt.run_uid, attempt.attempt))
        for lane in state.lanes:
            self._lanes[lane.namespace, lane.name] = lane
            changes.lanes.append((lane.namespace, lane.name))
        for known in state.evidence:
            self._evidence[known.namespace, known.lane, known.model] = known
            changes.lanes.append((known.namespace, known.lane))
        return changes

    async def close_attempt(self, run_uid: str, attempt: int) -> AttemptState:
        """Close an attempt and keep its final totals. Raises GatewayAway."""
        try:
            body = await self._request("POST", f"/v1/attempts/{run_uid}/{attempt}/close")
            state = AttemptState.model_validate_json(body)
        except ValidationError as error:
            raise GatewayAway(f"the gateway's answer cannot be read: {error}") from error
        except GatewayAway as error:
            self._went_away(str(error))
            raise
        self._came_back()
        self._attempts[run_uid, attempt] = state
        return state

    def _learn(self, state: AttemptState) -> None:
        """A closed attempt stays closed: the answer to a poll that began before its close is older than the close."""
        known = self._attempts.get((state.run_uid, state.attempt))
        if known is None or state.closed or not known.closed:
            self._attempts[state.run_uid, state.attempt] = state

    async def _request(self, method: str, path: str) -> bytes:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=_LIMIT, headers=self._headers)
        try:
            async with self._session.request(method, self._url + path, allow_redirects=False) as answer:
                body = await answer.read()
                if answer.status != 200:  # noqa: PLR2004
                    raise GatewayAway(f"the gateway answered {answer.status} to {method} {path.partition('?')[0]}")
                return body
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
