"""The listener for the operator: state, classifying runs, and the closing of attempts (protocol: api.gatewaystate)."""

from __future__ import annotations

import logging
import re
from datetime import timedelta

from aiohttp import web
from pydantic import ValidationError

from laneway.api.base import Model
from laneway.api.gatewaystate import ClassifyRequest
from laneway.gateway.calls.classifying import Classifying
from laneway.gateway.calls.tools import Tools
from laneway.gateway.cluster.tokens import KeyRing
from laneway.gateway.ledger.ledger import LedgerError
from laneway.gateway.state.attempts import wait_until_left
from laneway.rules.token import AttemptId, is_operator

log = logging.getLogger(__name__)

_CUT_SECONDS = 5.0
_MILLISECONDS = 1000
_MICROSECONDS = re.compile(r"-?[0-9]{1,17}", re.ASCII)
_VERSION_DIGITS = 18


class OperatorPort:
    """Answers the operator, and no one else."""

    def __init__(self, *, tools: Tools, keys: KeyRing, classifying: Classifying) -> None:
        self._tools = tools
        self._classifying = classifying
        self._keys = keys

    def app(self) -> web.Application:
        """The application."""
        app = web.Application()
        app.router.add_get("/v1/state", self._show_state)
        app.router.add_post("/v1/classify", self._classify)
        app.router.add_post("/v1/attempts/{run_uid}/{attempt:[0-9]{1,9}}/close", self._close_attempt)
        return app

    async def _show_state(self, request: web.Request) -> web.Response:
        if not await self._is_operator(request):
            return _refuse(401, "the operator secret is missing or wrong")
        since = request.query.get("since", "0")
        if not since.isascii() or not since.isdigit() or len(since) > _VERSION_DIGITS:
            return _refuse(400, "since must be a version number")
        if (ahead := request.query.get("ahead")) is not None:
            if not _MICROSECONDS.fullmatch(ahead):
                return _refuse(400, "ahead must be a number of microseconds")
            self._tools.state.operator_ahead = timedelta(microseconds=int(ahead))
        return _answer(self._tools.state.since(epoch=request.query.get("epoch"), version=int(since)))

    async def _close_attempt(self, request: web.Request) -> web.Response:
        """The token dies at once; the answer comes when open calls are settled and all of it is on the disk.

        An agent whose call was cut because this process ends has failed for no reason of its own. The operator tells that by
        a gateway that began after the agent, so the next process must answer.
        """
        if not await self._is_operator(request):
            return _refuse(401, "the operator secret is missing or wrong")
        if self._tools.state.leaving:
            return _refuse(503, "the gateway is leaving and has cut calls: ask the next one")
        attempt = AttemptId(run_uid=request.match_info["run_uid"], attempt=int(request.match_info["attempt"]))
        state, ledger = self._tools.state, self._tools.ledger
        try:
            if not state.knows(attempt) and (past := await ledger.past_of(attempt)) and not state.knows(attempt):
                state.remember(past)
            calls = state.close(attempt)
            if not await wait_until_left(calls, seconds=_CUT_SECONDS):
                log.error("calls of a closed attempt did not end", extra={"run_uid": attempt.run_uid})
            await ledger.close_attempt(attempt, now_ms=int(self._tools.clock().timestamp() * _MILLISECONDS))
        except LedgerError as error:
            log.error("attempt could not be closed", extra={"error": str(error)})
            return _refuse(503, "the gateway cannot write its ledger")
        return _answer(state.attempt_state(attempt))

    async def _classify(self, request: web.Request) -> web.Response:
        """A classifier that fails is an answer too: the run takes another tier, and what was used is told."""
        if not await self._is_operator(request):
            return _refuse(401, "the operator secret is missing or wrong")
        try:
            asked = ClassifyRequest.model_validate_json(await request.read())
        except ValidationError:
            return _refuse(400, "the body is no question about a run")
        return _answer(await self._classifying.classify(asked))

    async def _is_operator(self, request: web.Request) -> bool:
        scheme, _, shown = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return False
        if self._keys.keys is not None and is_operator(self._keys.keys, shown):
            return True
        await self._keys.refresh()
        return self._keys.keys is not None and is_operator(self._keys.keys, shown)


def _answer(model: Model) -> web.Response:
    return web.json_response(text=model.model_dump_json(by_alias=True, exclude_none=True))


def _refuse(status: int, message: str) -> web.Response:
    return web.json_response({"error": message}, status=status)
