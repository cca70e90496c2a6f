"""When a model may be called: by its lane's status, by what the gateway has seen itself, and one call first after a rest."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from laneway.api.base import format_time
from laneway.api.gatewaystate import CallFailure
from laneway.api.reasons import Cause, ResetSource
from laneway.gateway.calls.gate import Gate, Pass, Shut
from laneway.gateway.cluster.views import Views
from laneway.gateway.state.evidence import LaneModel
from laneway.gateway.state.state import State
from unit.gateway.kit import ATTEMPT, call_end, lane_object

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
KEY = ("agents", "lane")
TWO = [{"name": "smollm2"}, {"name": "other"}]
REF = {"endpoint": {"credentialRef": {"name": "provider", "key": "apiKey"}}}


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


class Stage:
    """A gate, the lanes before it, and a clock moved by hand."""

    def __init__(self) -> None:
        self.now = NOW
        self.views = Views()
        self.state = State(clock=self.clock)
        self.gate = Gate(views=self.views, state=self.state, clock=self.clock)
        self.views.on_lane.append(self.gate.lane_changed)
        self._version = 0

    def clock(self) -> datetime:
        return self.now

    def put(self, status: Mapping[str, Any] | None = None, name: str = "lane", **spec: Any) -> None:
        self._version += 1
        lane = lane_object("http://server", version=self._version, **{"models": TWO, **spec})
        lane["metadata"] |= {"name": name, "creationTimestamp": format_time(at(-3600))}
        self.views.lanes.put({**lane, "status": dict(status or {})})

    def fail(self, cause: Cause, *, times: int = 1, model: str = "smollm2", name: str = "lane", **fields: Any) -> None:
        failure = CallFailure(sent_time=self.now, seen_time=self.now, cause=cause, **fields)
        for _ in range(times):
            self._settle(failure, model, name)
        lane = self.views.lanes.get(("agents", name))
        assert lane is not None
        self.gate.heard(lane, failure)

    def succeed(self, model: str = "smollm2") -> None:
        self._settle(None, model, "lane")

    def _settle(self, failure: CallFailure | None, model: str, name: str) -> None:
        end = call_end(turn=failure is None)
        self.state.settle(ATTEMPT, end, model=LaneModel("agents", name, model), sent=self.now, failure=failure)

    def look(self, model: str = "smollm2", *, skips: bool = False) -> Shut | Pass:
        lane = self.views.lanes.get(KEY)
        assert lane is not None
        return self.gate.look(lane, model, skips=skips)

    def enter(self, model: str = "smollm2") -> Shut | Pass:
        found = self.look(model)
        if isinstance(found, Pass):
            self.gate.take(found)
        return found

    def seconds(self, model: str = "smollm2") -> float | None:
        """Until the model's cooldown is over; 0: it may be called."""
        found = self.look(model)
        if isinstance(found, Pass):
            return 0
        assert found.cooldown is not None
        return found.seconds


def cooling(until: float | None, source: str = "RetryAfter", reason: str = "RateLimitModel", **more: Any) -> Any:
    found = {"name": "smollm2", "cooldownReason": reason, "cooldownSource": source, "lastFailureTime": format_time(NOW)}
    if until is not None:
        found["cooldownUntil"] = format_time(at(until))
    return {"models": [{**found, "settledTime": format_time(NOW), **more}]}


@pytest.mark.row("C10", "S4.6")
async def test_a_model_that_rests_by_its_lanes_status_is_shut_until_its_time() -> None:
    stage = Stage()
    stage.put(cooling(40))
    assert (stage.seconds(), stage.seconds("other")) == (40, 0)
    stage.now = at(39.999)
    assert isinstance(stage.look(), Shut)
    stage.now = at(40)
    assert isinstance(stage.look(), Pass)


@pytest.mark.row("S3.25")
async def test_a_run_that_skips_ignores_our_own_estimate_and_no_servers_word() -> None:
    stage = Stage()
    stage.put(cooling(40, source="Estimated"))
    assert isinstance(stage.look(skips=True), Pass)
    stage.put(cooling(40, source="RetryAfter"))
    assert isinstance(stage.look(skips=True), Shut)


@pytest.mark.row("C15")
@pytest.mark.parametrize(
    ("cause", "times", "fields", "shut"),
    [
        pytest.param(Cause.RATE_LIMIT_MODEL, 1, {"status": 429}, True, id="one rate limit"),
        pytest.param(Cause.API_TRANSIENT, 1, {"status": 529}, True, id="one 529"),
        pytest.param(Cause.API_TRANSIENT, 2, {"status": 503}, False, id="two server errors"),
        pytest.param(Cause.API_TRANSIENT, 3, {"status": 503}, True, id="three server errors"),
        pytest.param(Cause.API_TIMEOUT, 3, {}, True, id="three time-outs"),
        pytest.param(Cause.API_TRANSIENT, 1, {"cut": True}, True, id="one stream that was cut"),
        pytest.param(Cause.MODEL_NOT_FOUND, 3, {"status": 404}, False, id="what says nothing of health"),
        pytest.param(Cause.AUTH_FAILED, 1, {"status": 401}, False, id="a refused key, which may be another by now"),
    ],
)
async def test_what_the_gateway_has_seen_itself_shuts_a_model_at_once(
    cause: Cause, times: int, fields: Mapping[str, Any], *, shut: bool
) -> None:
    stage = Stage()
    stage.put()
    stage.fail(cause, times=times, **fields)
    assert isinstance(stage.look(), Shut) is shut
    assert isinstance(stage.look("other"), Pass)


async def test_from_when_the_status_shows_a_failure_the_status_decides() -> None:
    stage = Stage()
    stage.put()
    stage.fail(Cause.RATE_LIMIT_MODEL, status=429)
    assert stage.seconds() == 60
    stage.put(cooling(300, source="Estimated"))
    assert stage.seconds() == 300
    stage.put({"models": [{"name": "smollm2", "settledTime": format_time(at(1))}]})
    assert stage.seconds() == 0


async def test_what_a_person_cleared_is_forgotten() -> None:
    stage = Stage()
    stage.put()
    stage.fail(Cause.RATE_LIMIT_MODEL, status=429)
    stage.put(cooldowns=[{"model": "smollm2", "mode": "Clear", "setTime": format_time(at(1))}])
    assert stage.seconds() == 0


@pytest.mark.row("C16")
async def test_an_account_that_is_used_up_shuts_every_model_behind_its_key() -> None:
    stage = Stage()
    stage.put(**REF)
    stage.put(name="peer", **REF)
    stage.put(name="stranger")
    reset = {"reset_time": at(900), "reset_source": ResetSource.SERVER_EVENT}
    stage.fail(Cause.RATE_LIMIT_ACCOUNT, name="stranger", status=429, **reset)
    assert stage.seconds() == 0
    stage.fail(Cause.RATE_LIMIT_ACCOUNT, name="peer", status=429, **reset)
    assert (stage.seconds(), stage.seconds("other")) == (900, 900)
    until = {"cooldownUntil": format_time(at(950)), "reason": "RateLimitAccount", "source": "ServerEvent"}
    stage.put({"account": {**until, "settledTime": format_time(NOW)}}, name="peer", **REF)
    assert stage.seconds() == 950


async def test_after_a_rest_one_call_goes_first_and_the_others_follow_its_first_byte() -> None:
    stage = Stage()
    stage.put(cooling(40))
    stage.now = at(40)
    first, second = stage.enter(), stage.enter()
    assert isinstance(first, Pass)
    assert isinstance(second, Shut)
    assert second.cooldown is None
    assert isinstance(stage.enter("other"), Pass)
    waker = stage.gate.waker(KEY)
    stage.gate.begin(first)
    assert waker.done()
    assert all(isinstance(stage.enter(), Pass) for _ in range(3))


async def test_after_a_rest_of_the_account_one_call_goes_first_for_all_its_models() -> None:
    stage = Stage()
    status = {"account": {"lastFailureTime": format_time(NOW), "settledTime": format_time(NOW)}}
    stage.put(status, **REF)
    stage.now = at(10)
    first = stage.enter()
    assert isinstance(first, Pass)
    assert isinstance(stage.enter("other"), Shut)
    stage.gate.begin(first)
    assert isinstance(stage.enter("other"), Pass)


async def test_when_the_first_call_leaves_without_an_answer_the_next_goes_first() -> None:
    stage = Stage()
    stage.put(cooling(0))
    first = stage.enter()
    assert isinstance(first, Pass)
    waker = stage.gate.waker(KEY)
    stage.gate.leave(first)
    stage.gate.leave(first)
    assert waker.done()
    second, third = stage.enter(), stage.enter()
    assert isinstance(second, Pass)
    assert isinstance(third, Shut)
    stage.gate.leave(first)
    assert isinstance(stage.enter(), Shut)


async def test_a_first_call_that_fails_shuts_the_model_again() -> None:
    stage = Stage()
    stage.put(cooling(40))
    stage.now = at(41)
    first = stage.enter()
    assert isinstance(first, Pass)
    stage.fail(Cause.RATE_LIMIT_MODEL, status=429)
    stage.gate.leave(first)
    assert (stage.seconds() or 0) > 0


async def test_a_success_ends_the_time_of_going_first() -> None:
    stage = Stage()
    stage.put(cooling(0))
    stage.now = at(1)
    assert isinstance(stage.enter(), Pass)
    assert isinstance(stage.enter(), Shut)
    stage.succeed()
    assert isinstance(stage.enter(), Pass)


@pytest.mark.row("C3")
@pytest.mark.parametrize("ahead", [90, -90])
async def test_a_wrong_clock_of_the_gateway_changes_no_wait(ahead: int) -> None:
    """The operator writes status by its own clock; ``ahead`` is how far that is before the gateway's."""
    stage = Stage()
    stage.state.operator_ahead = timedelta(seconds=ahead)
    stage.put(cooling(40 + ahead))
    assert stage.seconds() == 40
    stage.put()
    stage.fail(Cause.RATE_LIMIT_MODEL, status=429)
    assert stage.seconds() == 60


async def test_a_status_of_another_version_tells_nothing() -> None:
    stage = Stage()
    stage.put({"models": "many"})
    assert stage.seconds() == 0
