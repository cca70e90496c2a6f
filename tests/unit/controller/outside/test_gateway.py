"""The operator's copy of the gateway's state, against a real HTTP server on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from laneway.api.classification import Complexity
from laneway.api.gatewaystate import (
    AttemptState,
    CallFailure,
    ClassifyAnswer,
    GatewayState,
    LaneSpend,
    LaneState,
    ModelEvidence,
)
from laneway.api.reasons import Cause, ResetSource
from laneway.api.spend import Period
from laneway.controller.decision.effects import Classify
from laneway.controller.facts.views import Answer
from laneway.controller.outside.gateway import GatewayAway, GatewayClient
from support.builders import NOW, at, call_failure, evidence, metered, probe
from support.clock import StillClock

UID = "hello-0123456789"


@dataclass
class Gateway:
    """A gateway that answers what a test says, and notes what it was asked."""

    state: GatewayState = field(
        default_factory=lambda: GatewayState(epoch="e1", started_time=NOW, version=0, answered_time=NOW)
    )
    closed: AttemptState = field(default_factory=lambda: metered().model_copy(update={"version": 9}))
    status: int = 200
    body: str | None = None
    asked: list[str] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(f"{request.method} {request.rel_url}")
        assert request.headers["Authorization"] == "Bearer s3cret"
        if self.status == 307:
            raise web.HTTPTemporaryRedirect("/elsewhere")
        told = self.state if request.method == "GET" else self.closed
        return web.Response(
            status=self.status, text=told.model_dump_json(by_alias=True) if self.body is None else self.body
        )

    def tells(
        self,
        *attempts: AttemptState,
        lanes: tuple[LaneState, ...] = (),
        evidence: tuple[ModelEvidence, ...] = (),
        spends: tuple[LaneSpend, ...] = (),
        version: int = 1,
        epoch: str = "e1",
    ) -> None:
        self.state = GatewayState(
            epoch=epoch,
            started_time=NOW,
            version=version,
            answered_time=NOW,
            attempts=attempts,
            lanes=lanes,
            evidence=evidence,
            spends=spends,
        )


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
async def server(gateway: Gateway) -> AsyncIterator[TestServer]:
    app = web.Application()
    app.router.add_route("*", "/v1/{path:.*}", gateway.answer)
    async with TestServer(app, host="127.0.0.1") as server:
        yield server


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
async def client(server: TestServer, clock: StillClock) -> AsyncIterator[GatewayClient]:
    client = GatewayClient(url=str(server.make_url("")).rstrip("/"), secret="s3cret", clock=clock)
    yield client
    await client.close()


async def test_what_a_poll_brings_is_known_and_told(gateway: Gateway, client: GatewayClient) -> None:
    gateway.tells(metered(closed=False), lanes=(probe(smollm2=True),))
    changes = await client.poll()
    assert changes.attempts == [(UID, 1)]
    assert changes.lanes == [("team-a", "local")]
    assert client.attempt_view(UID, 1).state == metered(closed=False)
    assert client.lane(("team-a", "local")) == probe(smollm2=True)


async def test_a_poll_asks_for_what_came_after_the_last_one(gateway: Gateway, client: GatewayClient) -> None:
    gateway.tells(version=7)
    await client.poll()
    await client.poll()
    assert gateway.asked == ["GET /v1/state?epoch=&since=0&ahead=0", "GET /v1/state?epoch=e1&since=7&ahead=0"]


async def test_what_is_not_told_again_stays_known(gateway: Gateway, client: GatewayClient) -> None:
    gateway.tells(metered())
    await client.poll()
    gateway.tells(version=2)
    changes = await client.poll()
    assert not changes.attempts
    assert client.attempt_view(UID, 1).state is not None


async def test_a_gateway_that_was_started_anew_is_believed_alone(gateway: Gateway, client: GatewayClient) -> None:
    gateway.tells(metered().model_copy(update={"version": 500}), lanes=(probe(),), version=500)
    await client.poll()
    gateway.tells(metered(number=2), version=3, epoch="e2")
    await client.poll()
    assert client.attempt_view(UID, 1).state is None
    assert client.lane(("team-a", "local")) is None
    assert client.attempt_view(UID, 2).state == metered(number=2)


async def test_a_close_that_a_new_process_answers_counts_once_that_one_was_read(
    gateway: Gateway, client: GatewayClient
) -> None:
    await client.poll()
    gateway.closed = metered().model_copy(update={"epoch": "e2"})
    with pytest.raises(GatewayAway, match="another process answers"):
        await client.close_attempt(UID, 1)
    assert client.attempt_view(UID, 1).state is None
    assert client.down_since is None
    gateway.tells(metered(), epoch="e2")
    await client.poll()
    assert (await client.close_attempt(UID, 1)).closed
    assert client.attempt_view(UID, 1).state is not None


async def test_the_first_answer_counts_as_a_turn_and_the_next_does_not(client: GatewayClient) -> None:
    assert not client.attempt_view(UID, 1).known
    assert (await client.poll()).turned
    assert not (await client.poll()).turned
    assert client.attempt_view(UID, 1).known


def spend(used: int, *, refused_at: int | None = None) -> LaneSpend:
    return LaneSpend(
        namespace="team-a",
        lane="local",
        of="team-b",
        period=Period.DAY,
        period_start_time=NOW,
        used_micro_usd=used,
        refused_at_micro_usd=refused_at,
    )


async def test_a_lane_looks_at_its_money_now_and_then_and_at_a_refusal_at_once(
    gateway: Gateway, client: GatewayClient, clock: StillClock
) -> None:
    looks: list[bool] = []
    for seconds, told in ((0, spend(1)), (5, spend(2)), (11, spend(3)), (1, spend(3, refused_at=9)), (1, spend(3))):
        clock.move(seconds)
        gateway.tells(spends=(told,), version=len(looks) + 1)
        looks.append((await client.poll()).lanes == [("team-a", "local")])
        assert client.spends(("team-a", "local")) == (told,)
    assert looks == [True, False, True, True, True]
    gateway.tells(version=1, epoch="e2")
    await client.poll()
    assert client.spends(("team-a", "local")) == ()


async def test_the_last_sum_is_looked_at_too_although_it_came_soon_after_another(
    gateway: Gateway, client: GatewayClient, clock: StillClock
) -> None:
    looks = []
    for seconds, spends in ((0, (spend(1),)), (5, (spend(2),)), (5, ()), (6, ()), (60, ())):
        clock.move(seconds)
        gateway.tells(spends=spends, version=len(looks) + 1)
        looks.append(bool((await client.poll()).lanes))
    assert looks == [True, False, False, True, False]


async def test_away_and_back_are_told_once_each(gateway: Gateway, client: GatewayClient, clock: StillClock) -> None:
    gateway.tells(metered())
    await client.poll()
    gateway.status = 503
    assert (await client.poll()).turned
    clock.move(5)
    assert not (await client.poll()).turned
    assert client.down_since == NOW
    assert client.attempt_view(UID, 1).state is not None
    gateway.status = 200
    assert (await client.poll()).turned
    assert client.down_since is None


@pytest.mark.parametrize(
    ("status", "body"),
    [
        pytest.param(401, None, id="a gateway that does not know us"),
        pytest.param(500, None, id="a gateway in trouble"),
        pytest.param(307, None, id="a redirect is not followed"),
        pytest.param(200, "<html>", id="something else that answers"),
        pytest.param(200, '{"epoch": 1}', id="an answer of another shape"),
    ],
)
async def test_every_other_answer_counts_as_away(
    gateway: Gateway, client: GatewayClient, status: int, body: str | None
) -> None:
    gateway.status, gateway.body = status, body
    await client.poll()
    assert client.down_since == NOW
    with pytest.raises(GatewayAway):
        await client.close_attempt(UID, 1)


async def test_nobody_who_answers_counts_as_away(server: TestServer, client: GatewayClient) -> None:
    await server.close()
    assert (await client.poll()).turned
    assert client.down_since == NOW
    assert not client.known


async def test_closing_an_attempt_answers_its_final_totals_and_keeps_them(
    gateway: Gateway, client: GatewayClient
) -> None:
    assert await client.close_attempt(UID, 1) == gateway.closed
    assert client.attempt_view(UID, 1).state == gateway.closed
    assert gateway.asked == [f"POST /v1/attempts/{UID}/1/close"]


QUESTION = Classify(UID, ("team-a", "local"), "What is the capital of France?")
USED = AttemptState(run_uid=UID, attempt=0, calls=1)


@pytest.mark.row("C20")
async def test_a_question_goes_to_the_gateway_and_its_answer_is_the_lanes(
    gateway: Gateway, client: GatewayClient
) -> None:
    told = ClassifyAnswer(complexity=Complexity.SIMPLE, reason="short", used=USED)
    gateway.body = told.model_dump_json(by_alias=True, exclude_none=True)
    assert await client.classify(QUESTION) == Answer(QUESTION.lane, Complexity.SIMPLE, "short", USED)
    assert gateway.asked == ["POST /v1/classify"]


@pytest.mark.row("S4.39")
@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        pytest.param(404, None, "the gateway answered 404", id="a gateway that is older"),
        pytest.param(500, None, "the gateway answered 500", id="a gateway in trouble"),
        pytest.param(200, "<html>", "the gateway's answer cannot be read", id="something else that answers"),
    ],
)
async def test_an_answer_of_any_other_kind_is_none_of_a_classifier(
    gateway: Gateway, client: GatewayClient, status: int, body: str | None, why: str
) -> None:
    gateway.status, gateway.body = status, body
    assert await client.classify(QUESTION) == Answer(QUESTION.lane, None, why)
    assert client.down_since is None


async def test_nobody_who_could_be_asked_is_no_answer(server: TestServer, client: GatewayClient) -> None:
    await server.close()
    assert await client.classify(QUESTION) is None


async def test_what_a_gateway_says_of_no_attempt_is_nothing_of_a_run_that_has_none(
    gateway: Gateway, client: GatewayClient
) -> None:
    gateway.tells(USED)
    await client.poll()
    assert client.attempt_view(UID, None).state is None


async def test_a_poll_that_was_overtaken_by_a_close_does_not_open_the_attempt_again(
    gateway: Gateway, client: GatewayClient
) -> None:
    await client.poll()
    await client.close_attempt(UID, 1)
    gateway.tells(metered(closed=False).model_copy(update={"version": 8}), version=8)
    await client.poll()
    view = client.attempt_view(UID, 1)
    assert view.state is not None
    assert view.state.closed


async def test_a_close_that_is_answered_shows_that_the_gateway_is_back(gateway: Gateway, client: GatewayClient) -> None:
    gateway.status = 503
    await client.poll()
    gateway.status = 200
    await client.close_attempt(UID, 1)
    assert client.down_since is None


async def test_what_is_forgotten_is_gone_and_nothing_else(gateway: Gateway, client: GatewayClient) -> None:
    other = metered().model_copy(update={"run_uid": "other"})
    gateway.tells(metered(), metered(number=2), other)
    await client.poll()
    client.forget(UID)
    assert client.attempt_view(UID, 1).state is None
    assert client.attempt_view(UID, 2).state is None
    assert client.attempt_view("other", 1).state == other


async def test_a_run_without_an_attempt_has_no_state_there(client: GatewayClient) -> None:
    assert client.attempt_view(UID, None).state is None


def test_times_of_the_wire_survive() -> None:
    """The client compares them with the run's own."""
    read = AttemptState.model_validate_json(metered().model_dump_json(by_alias=True))
    assert read.last_activity_time == at(9)


async def test_when_the_gateway_began_is_known_to_every_run(client: GatewayClient) -> None:
    assert client.attempt_view(UID, 1).started is None
    await client.poll()
    assert client.attempt_view(UID, 1).started == NOW


LANE = ("team-a", "local")
LIMITED = call_failure(
    Cause.RATE_LIMIT_MODEL, sent=3.25, seen=3.5, status=429, reset_time=at(63.5), reset_source=ResetSource.RETRY_AFTER
)


async def test_evidence_is_known_by_lane_and_its_lane_is_told(gateway: Gateway, client: GatewayClient) -> None:
    assert client.evidence(LANE) == ()
    gateway.tells(evidence=(evidence("b"), evidence("a")), lanes=(probe(),))
    assert (await client.poll()).lanes == [LANE]
    assert client.evidence(LANE) == (evidence("a"), evidence("b"))
    gateway.tells(version=2)
    assert (await client.poll()).lanes == []
    assert client.evidence(LANE) == (evidence("a"), evidence("b"))


async def test_the_evidence_of_a_gateway_that_was_started_anew_replaces_all(
    gateway: Gateway, client: GatewayClient
) -> None:
    gateway.tells(evidence=(evidence("a"), evidence("b")))
    await client.poll()
    gateway.tells(evidence=(evidence("b"),), epoch="e2")
    await client.poll()
    assert client.evidence(LANE) == (evidence("b"),)


@pytest.mark.row("C5")
async def test_a_lane_looks_at_every_failure_and_not_at_every_success(gateway: Gateway, client: GatewayClient) -> None:
    async def news(**changes: object) -> bool:
        gateway.tells(evidence=(evidence(failures=0).model_copy(update=changes),))
        return LANE in (await client.poll()).lanes

    assert await news(last_success_time=at(1))
    assert not await news(last_success_time=at(2))
    assert not await news(last_success_time=at(5.9))
    assert client.evidence(LANE)[0].last_success_time == at(5.9)
    assert await news(last_success_time=at(6))
    assert await news(last_success_time=at(6), failures=1, last_failure=call_failure())
    assert not await news(last_success_time=at(6), failures=1, last_failure=call_failure())
    assert await news(last_success_time=at(6), failures=2, last_failure=call_failure())
    assert await news(last_success_time=at(7), failures=0)


SKEWS = pytest.mark.parametrize(
    "ahead",
    [
        pytest.param(0, id="clocks that agree"),
        pytest.param(90, id="a gateway whose clock is 90 s fast"),
        pytest.param(-90, id="a gateway whose clock is 90 s slow"),
        pytest.param(1, id="a gateway whose clock is a second fast"),
    ],
)


@SKEWS
@pytest.mark.row("C3")
async def test_a_wrong_clock_of_the_gateway_changes_no_time(
    gateway: Gateway, client: GatewayClient, clock: StillClock, ahead: float
) -> None:
    def by_its_clock(state: GatewayState) -> GatewayState:
        return _shifted(state, ahead)

    known = evidence(last_failure=LIMITED, last_success_time=at(1))
    state = metered(closed=False).model_copy(update={"failure": LIMITED, "failing_since_time": at(3)})
    gateway.tells(state, evidence=(known,), lanes=(probe(),))
    clock.move(10)
    gateway.state = by_its_clock(gateway.state.model_copy(update={"answered_time": at(10)}))
    await client.poll()
    assert client.evidence(LANE) == (known,)
    view = client.attempt_view(UID, 1)
    assert (view.state, view.started) == (state, NOW)
    assert client.lane(LANE) == probe()


@SKEWS
async def test_a_close_tells_the_same_times(
    gateway: Gateway, client: GatewayClient, clock: StillClock, ahead: float
) -> None:
    state = metered().model_copy(update={"failure": LIMITED})
    told = _shifted_attempt(state, ahead).model_copy(update={"answered_time": at(10 + ahead)})
    gateway.closed = told
    clock.move(10)
    assert await client.close_attempt(UID, 1) == state


async def test_times_stay_when_the_same_is_told_again_while_the_clocks_drift(
    gateway: Gateway, client: GatewayClient, clock: StillClock
) -> None:
    known = evidence(last_failure=LIMITED, last_success_time=at(1))
    state = metered(closed=False).model_copy(update={"failure": LIMITED})
    gateway.tells(state, evidence=(known,))
    await client.poll()
    clock.move(100)
    drifted = {"answered_time": at(100.75), "version": 2}
    again = gateway.state.model_copy(update=drifted)
    more = state.model_copy(update={"calls": 2})
    gateway.state = again.model_copy(
        update={"attempts": (more,), "evidence": (known.model_copy(update={"failures": 2}),)}
    )
    await client.poll()
    assert client.evidence(LANE) == (known.model_copy(update={"failures": 2}),)
    assert client.attempt_view(UID, 1).state is not None
    assert client.attempt_view(UID, 1).state.failure == LIMITED
    gateway.closed = more.model_copy(update={"closed": True, "answered_time": at(101)})
    assert (await client.close_attempt(UID, 1)).failure == LIMITED


def _shifted(state: GatewayState, ahead: float) -> GatewayState:
    """The same as a gateway says it whose clock is ``ahead`` seconds before ours."""
    by = timedelta(seconds=ahead)
    return state.model_copy(
        update={
            "started_time": state.started_time + by,
            "answered_time": state.answered_time + by,
            "attempts": tuple(_shifted_attempt(one, ahead) for one in state.attempts),
            "evidence": tuple(_shifted_evidence(one, by) for one in state.evidence),
            "lanes": tuple(one.model_copy(update={"probed_time": one.probed_time + by}) for one in state.lanes),
        }
    )


def _shifted_attempt(state: AttemptState, ahead: float) -> AttemptState:
    by = timedelta(seconds=ahead)
    failure = state.failure and _shifted_failure(state.failure, by)
    active = state.last_activity_time and state.last_activity_time + by
    failing = state.failing_since_time and state.failing_since_time + by
    return state.model_copy(update={"failure": failure, "failing_since_time": failing, "last_activity_time": active})


def _shifted_evidence(one: ModelEvidence, by: timedelta) -> ModelEvidence:
    failure = one.last_failure and _shifted_failure(one.last_failure, by)
    success = one.last_success_time and one.last_success_time + by
    return one.model_copy(update={"last_failure": failure, "last_success_time": success})


def _shifted_failure(failure: CallFailure, by: timedelta) -> CallFailure:
    return failure.model_copy(
        update={
            "sent_time": failure.sent_time + by,
            "seen_time": failure.seen_time + by,
            "reset_time": failure.reset_time and failure.reset_time + by,
        }
    )
