"""Asks the classifier of a lane how hard a run's work is: one call, charged to the run, that takes no slot and no place (S0.18, C20).

The run has no attempt yet: the call is counted for its attempt 0, which the ledger keeps for what is in a run's sum and in none of its
attempts. Nothing is tried twice, and whatever goes wrong is an answer. What is read and what is answered is never logged.
"""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import dataclass, replace

from laneway.api.gatewaystate import ClassifyAnswer, ClassifyRequest
from laneway.api.modellane import Access
from laneway.api.reasons import Cause
from laneway.gateway import metrics
from laneway.gateway.calls.exchange import call_start
from laneway.gateway.calls.tools import Tools
from laneway.gateway.cluster.objects import Lane, Run
from laneway.gateway.cluster.target import Target
from laneway.gateway.cluster.tokens import Caller
from laneway.gateway.cluster.views import Views
from laneway.gateway.ledger.ledger import CallEnd, CallStart, LedgerError
from laneway.gateway.money.books import Reservation
from laneway.gateway.money.worstcase import bounded, demand_of
from laneway.gateway.upstream import headers
from laneway.gateway.upstream.credentials import CredentialMissing, lane_headers
from laneway.gateway.upstream.upstream import Outgoing, UpstreamError
from laneway.gateway.wire.base import Prepared, Reading, parse_object
from laneway.gateway.wire.question import FORMS, Form, Question, words_of
from laneway.gateway.wire.refused import Refused
from laneway.rules.classify import Signals, judge
from laneway.rules.complexity import QUESTION, Reply, read_reply
from laneway.rules.endpoint import spoken
from laneway.rules.pricing import cost_micro_usd, prices_of
from laneway.rules.token import AttemptId

log = logging.getLogger(__name__)

CLASSIFY_SECONDS = 30.0
"""For everything, waiting for money included (S4.37)."""
OUTPUT_TOKENS = 120
NO_ATTEMPT = 0
_ANSWER_LIMIT = 1024 * 1024
_FIRST_REDIRECT = 300
_MILLISECONDS = 1000


class _Failed(Exception):  # noqa: N818 - it says what happened
    """There is no classification; the message says why, in our own words."""


class Classifying:
    """Answers the operator's questions."""

    def __init__(self, *, tools: Tools, views: Views, seconds: float = CLASSIFY_SECONDS) -> None:
        self._tools = tools
        self._views = views
        self._seconds = seconds

    async def classify(self, asked: ClassifyRequest) -> ClassifyAnswer:
        """What the classifier says, or why it says nothing; with all that classifying this run has used."""
        attempt = AttemptId(asked.run_uid, NO_ATTEMPT)
        reply: Reply | None = None
        try:
            async with asyncio.timeout(self._seconds):
                reply = await self._ask(asked, attempt)
        except TimeoutError:
            why = f"the classifier did not answer within {self._seconds:g} s"
        except LedgerError:
            why = "the gateway cannot write its ledger"
        except (_Failed, Refused, CredentialMissing, UpstreamError) as error:
            why = str(error)
        used = self._tools.state.attempt_state(attempt)
        if reply is not None:
            return ClassifyAnswer(complexity=reply.complexity, reason=reply.reason, used=used)
        keys = {"run_uid": asked.run_uid, "lane": f"{asked.lane_namespace}/{asked.lane}", "why": why}
        log.warning("a run was not classified", extra=keys)
        return ClassifyAnswer(reason=why, used=used)

    async def _ask(self, asked: ClassifyRequest, attempt: AttemptId) -> Reply:
        run = await self._seen(asked.run_uid)
        if not run.attempt:  # of a run that had attempts the ledger may hold theirs under this number too
            await self._tools.recall(attempt)
        lane = self._views.lanes.get((asked.lane_namespace, asked.lane))
        if lane is None or lane.spec.classifier is None or lane.spec.access is not Access.GATEWAY:
            raise _Failed("the lane has no classifier any more")
        if not lane.allows(run.namespace):
            raise _Failed("the lane does not allow the run's namespace")
        form = next((form for api, form in FORMS.items() if api in spoken(lane.spec.endpoint)), None)
        if form is None:
            raise _Failed("the lane speaks no wire API that can put a question")
        call = _Call(self._tools, Caller(attempt, run), _target(lane, form), form)
        reply = read_reply(await call.ask(asked.text))
        if reply is None:
            raise _Failed("the classifier's answer names none of simple, medium and complex")
        return reply

    async def _seen(self, uid: str) -> Run:
        """The run; the operator may have been quicker to see it."""
        while (run := self._views.run(uid)) is None:
            if self._views.is_gone(uid):
                raise _Failed("the run is gone")
            await self._views.wait_for_change()
        return run


@dataclass
class _Seen:
    """What is known of a call so far."""

    sent: bool = False
    status: int | None = None
    cause: Cause | None = None
    reading: Reading | None = None


class _Call:
    """One call of a classifier. It is settled once, however it ends."""

    def __init__(self, tools: Tools, caller: Caller, target: Target, form: Form) -> None:
        self._tools = tools
        self._caller = caller
        self._target = target
        self._form = form
        self._seen = _Seen()

    async def ask(self, text: str) -> str:
        """The words of the answer. Raises _Failed, Refused, CredentialMissing, UpstreamError and LedgerError."""
        lane, wire = self._target.lane, self._form.wire
        key = await self._tools.credentials.key_of(lane)
        server = lane.spec.endpoint.server
        question = Question(QUESTION, text, self._target.model, OUTPUT_TOKENS)
        body = json.dumps(self._form.body(question, server)).encode()
        prepared = wire.prepare(body, model=self._target.model, server=server)
        demand = demand_of(self._caller, target=self._target, prepared=prepared, wire=wire, hold_seconds=0)
        reservation = await self._tools.purse.reserve(replace(demand, turn=False))
        started = self._tools.clock()
        start = call_start(wire.api, self._caller, self._target, started, reservation)
        begun = True
        try:
            await self._tools.ledger.begin(start)
            return await self._carry(bounded(prepared, reservation, target=self._target, wire=wire), key)
        except LedgerError:
            self._tools.purse.release(reservation)
            begun = False
            raise
        except UpstreamError as error:
            self._seen.sent, self._seen.cause = error.sent, error.cause
            raise
        finally:
            if begun:
                self._settle(start, reservation)

    async def _carry(self, prepared: Prepared, key: str | None) -> str:
        plain = {"Content-Type": "application/json"}
        self._seen.sent = True
        incoming = await self._tools.upstream.send(
            Outgoing(
                method="POST",
                url=self._target.url(self._form.path, ""),
                headers=headers.to_server(plain, lane_headers(self._target.lane, key)),
                body=prepared.body,
            )
        )
        try:
            self._seen.status = incoming.status
            if incoming.status >= _FIRST_REDIRECT:
                signals = Signals(status=incoming.status, headers=incoming.headers)
                self._seen.cause = judge(signals, now=self._tools.clock()).cause
                raise _Failed(f"the classifier's server answers {incoming.status}")
            answer = parse_object(await incoming.read_all(_ANSWER_LIMIT))
        finally:
            incoming.close()
        if answer is None:
            raise _Failed("the classifier's answer cannot be read")
        self._seen.reading = self._form.wire.read_whole(answer)
        return words_of(self._form, answer)

    def _settle(self, start: CallStart, reservation: Reservation) -> None:
        """Count the call and write its row, without waiting. It costs its reservation if it was sent and nobody told what it used."""
        end = self._end()
        end = self._tools.purse.settle(reservation, end).entered_in(end)
        self._tools.ledger.settle(start.id, end)
        self._tools.state.charge(self._caller.attempt, end, model=self._target.model)
        metrics.count_usage(start, end)
        if self._tools.on_settled is not None:
            self._tools.on_settled(start, end)

    def _end(self) -> CallEnd:
        seen, prices = self._seen, self._target.prices
        reading = seen.reading or Reading()
        refused = seen.status is not None and seen.status >= _FIRST_REDIRECT
        return CallEnd(
            ended_ms=int(self._tools.clock().timestamp() * _MILLISECONDS),
            status=seen.status,
            cause=seen.cause.value if seen.cause else None,
            finish_reason=reading.finish_reason,
            turn=False,
            metered=reading.usage_final or refused or not seen.sent,
            usage=reading.usage,
            prices=prices,
            cost_micro_usd=cost_micro_usd(prices, reading.usage),
        )


def _target(lane: Lane, form: Form) -> Target:
    """The model that classifies."""
    name = lane.spec.classifier.model if lane.spec.classifier else ""
    model = next((model for model in lane.spec.models if model.name == name), None)
    if model is None:
        raise _Failed("the lane does not list the model of its classifier")
    return Target(lane=lane, api=form.wire.api, model=model.name, prices=prices_of(model.pricing))
