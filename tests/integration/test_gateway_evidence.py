"""What calls through a gateway in process leave behind for the operator: class, times, the server's own time, and what a model is blamed for."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from laneway.api.gatewaystate import CallFailure, ModelEvidence
from laneway.api.reasons import Cause, ResetSource
from laneway.controller.outside.clock import SystemClock
from laneway.controller.outside.gateway import GatewayClient
from unit.gateway.kit import ATTEMPT, OPERATOR, Handler, Kit, eventually, gateway, lane_object, secret_object, utc_now

ANSWER = {"choices": [{"finish_reason": "stop"}], "usage": {"prompt_tokens": 120, "completion_tokens": 30}}
DELTA = b'data: {"choices":[{"index":0,"delta":{"content":"Par"},"finish_reason":null}]}\n\n'
CHAT = {"model": "x", "messages": []}
STREAM = {**CHAT, "stream": True}
SECOND = timedelta(seconds=1)


def script(*answers: Handler) -> Handler:
    """A model server that answers what it is told to, one answer for each call; at the end it answers well."""
    left = list(answers)

    async def answer(request: web.Request) -> web.StreamResponse:
        return await left.pop(0)(request) if left else web.json_response(ANSWER)

    return answer


def refusal(status: int, error: Mapping[str, Any] | str = "no", **headers: str) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.json_response({"error": error}, status=status, headers=headers)

    return answer


def stream(*parts: bytes, breaks: bool = False) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for part in parts:
            await response.write(part)
        if breaks and request.transport is not None:
            request.transport.abort()
        return response

    return answer


async def drop(request: web.Request) -> web.StreamResponse:
    """No answer at all."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def broken_refusal(request: web.Request) -> web.StreamResponse:
    """The status and the headers of a rate limit, and a part of its words."""
    response = web.StreamResponse(status=429, headers={"Content-Length": "1000", "Retry-After": "45"})
    await response.prepare(request)
    await response.write(b'{"error":')
    assert request.transport is not None
    request.transport.abort()
    return response


async def call(kit: Kit, body: Mapping[str, Any] = CHAT) -> int:
    async with kit.post("/v1/chat/completions", body) as answer:
        try:
            await answer.read()
        except aiohttp.ClientError:
            return 0
        return int(answer.status)


async def evidence(kit: Kit) -> ModelEvidence | None:
    found = (await kit.read_state()).evidence
    assert len(found) <= 1
    return found[0] if found else None


async def failure(kit: Kit) -> CallFailure:
    found = (await kit.close()).failure
    assert found is not None
    return found


@pytest.mark.row("S0.10", "C3", "C4")
async def test_a_refusal_is_told_with_the_servers_time_and_counted_for_its_model(tmp_path: Path) -> None:
    async with gateway(tmp_path, script(refusal(429, {"type": "rate_limit_error"}, **{"Retry-After": "45"}))) as kit:
        before = utc_now()
        assert await call(kit) == 429
        after = utc_now()
        known = await evidence(kit)
        found = await failure(kit)
    assert known is not None
    assert (known.namespace, known.lane, known.model) == ("agents", "lane", "smollm2")
    assert (known.failures, known.run_uid, known.last_success_time) == (1, ATTEMPT.run_uid, None)
    assert known.last_failure == found
    assert (found.cause, found.status, found.cut) == (Cause.RATE_LIMIT_MODEL, 429, False)
    assert before <= found.sent_time <= found.seen_time <= after
    assert found.reset_time is not None
    assert abs(found.reset_time - found.seen_time - 45 * SECOND) < SECOND
    assert found.reset_source is ResetSource.RETRY_AFTER


@pytest.mark.parametrize(
    ("answer", "body", "cause", "cut"),
    [
        pytest.param(refusal(503), CHAT, Cause.API_TRANSIENT, False, id="a server error"),
        pytest.param(drop, CHAT, Cause.API_TRANSIENT, False, id="no answer"),
        pytest.param(stream(DELTA, breaks=True), STREAM, Cause.API_TRANSIENT, True, id="a stream that breaks"),
        pytest.param(stream(DELTA), STREAM, Cause.API_TRANSIENT, True, id="a stream without its end"),
        pytest.param(
            stream(DELTA, b'data: {"error":{"type":"overloaded_error","message":"Overloaded"}}\n\n'),
            STREAM,
            Cause.RATE_LIMIT_MODEL,
            True,
            id="an error inside a stream",
        ),
        pytest.param(
            stream(DELTA, b'data: {"error":{"message":"busy","code":529}}\n\n'),
            STREAM,
            Cause.API_TRANSIENT,
            True,
            id="an error inside a stream with a status for its code",
        ),
        pytest.param(broken_refusal, CHAT, Cause.RATE_LIMIT_MODEL, False, id="a refusal whose words break off"),
        pytest.param(refusal(401), CHAT, Cause.AUTH_FAILED, False, id="a refused key"),
        pytest.param(
            refusal(429, {"type": "insufficient_quota"}), CHAT, Cause.QUOTA_EXHAUSTED, False, id="exhausted quota"
        ),
    ],
)
@pytest.mark.row("C9", "C15")
async def test_a_failure_of_the_model(
    tmp_path: Path, *, answer: Handler, body: Mapping[str, Any], cause: Cause, cut: bool
) -> None:
    async with gateway(tmp_path, script(answer)) as kit:
        await call(kit, body)
        await eventually(lambda: not kit.state.open_calls())
        known = await evidence(kit)
        found = await failure(kit)
    assert known is not None
    assert (known.failures, known.last_failure) == (1, found)
    assert (found.cause, found.cut) == (cause, cut)


async def test_the_code_of_an_error_inside_a_stream_is_told_as_its_status(tmp_path: Path) -> None:
    error = b'data: {"error":{"message":"busy","code":529}}\n\n'
    async with gateway(tmp_path, script(stream(DELTA, error))) as kit:
        await call(kit, STREAM)
        assert (await failure(kit)).status == 529


@pytest.mark.row("S2.33", "C2")
@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        pytest.param(refusal(400), Cause.TASK_FAILURE, id="a bad request"),
        pytest.param(refusal(422), Cause.TASK_FAILURE, id="a request that cannot be read"),
        pytest.param(refusal(404, "model 'x' not found"), Cause.MODEL_NOT_FOUND, id="an unknown model"),
        pytest.param(refusal(400, {"code": "context_length_exceeded"}), Cause.CONTEXT_TOO_LONG, id="a long prompt"),
        pytest.param(refusal(501), Cause.UNKNOWN, id="what the server will never do"),
    ],
)
async def test_what_is_no_failure_of_the_model_and_no_success(tmp_path: Path, answer: Handler, cause: Cause) -> None:
    async with gateway(tmp_path, script(refusal(503), answer)) as kit:
        await call(kit)
        known = await evidence(kit)
        await call(kit)
        assert await evidence(kit) == known
        assert (await failure(kit)).cause is cause
    assert known is not None
    assert known.failures == 1


async def test_a_client_that_leaves_is_no_failure_of_the_model_and_no_success(tmp_path: Path) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(DELTA)
        await asyncio.Event().wait()
        return response

    async with gateway(tmp_path, script(endless)) as kit:
        async with kit.post("/v1/chat/completions", STREAM) as answer:
            await answer.content.readany()
            answer.close()
        await eventually(lambda: not kit.state.open_calls())
        assert await evidence(kit) is None
        assert (await kit.close()).failure is None


async def test_a_call_that_the_operator_cuts_is_no_failure_of_the_model_and_no_success(tmp_path: Path) -> None:
    arrived = asyncio.Event()

    async def silent(request: web.Request) -> web.StreamResponse:
        arrived.set()
        await asyncio.Event().wait()
        return web.Response()

    async with gateway(tmp_path, script(silent)) as kit:
        calling = asyncio.ensure_future(call(kit))
        await asyncio.wait_for(arrived.wait(), 5)
        assert (await kit.close()).failure is None
        assert await calling == 401
        assert await evidence(kit) is None


async def test_a_gateway_that_leaves_and_has_cut_calls_closes_no_attempt(tmp_path: Path) -> None:
    """Its successor does: the operator then sees a gateway that began after the agent, and begins the attempt again."""
    async with gateway(tmp_path, script()) as kit:
        kit.state.leaving = True
        assert await kit.ask_to_close() == (
            503,
            '{"error": "the gateway is leaving and has cut calls: ask the next one"}',
        )
        assert await call(kit) == 200, "the token lives"
        kit.state.leaving = False
        assert (await kit.close()).closed


@pytest.mark.parametrize(
    "lane",
    [
        pytest.param({"endpoint": {"credentialRef": {"name": "gone", "key": "apiKey"}}}, id="a key that is missing"),
        pytest.param({"models": [{"name": "another"}]}, id="a model that the lane lost"),
        pytest.param({"access": "Direct"}, id="a lane that the gateway does not carry"),
    ],
)
async def test_a_refusal_of_the_gateways_own_blames_no_model(tmp_path: Path, lane: Mapping[str, Any]) -> None:
    async with gateway(tmp_path, script()) as kit:
        kit.views.lanes.put(lane_object(kit.server_url, version=2, **lane))
        assert await call(kit) in {404, 503}
        assert await evidence(kit) is None
        assert (await failure(kit)).status is None


@pytest.mark.row("C5", "C15")
async def test_failures_add_up_until_a_call_is_answered(tmp_path: Path) -> None:
    async with gateway(tmp_path, script(refusal(503), refusal(500))) as kit:
        for count in (1, 2):
            await call(kit)
            known = await evidence(kit)
            assert known is not None
            assert known.failures == count
        before = utc_now()
        assert await call(kit) == 200
        known = await evidence(kit)
    assert known is not None
    assert (known.failures, known.last_failure) == (0, None)
    assert known.last_success_time is not None
    assert known.last_success_time >= before


async def test_the_lanes_key_is_not_in_what_is_told(tmp_path: Path) -> None:
    keyed = {"endpoint": {"credentialRef": {"name": "provider", "key": "apiKey"}}}
    answer = refusal(401, {"message": "Incorrect API key provided: sk-secret"})
    async with gateway(tmp_path, script(answer, answer), lane=keyed) as kit:
        kit.secrets["provider"] = secret_object("sk-secret")
        await call(kit)
        assert "sk-secret" not in (await kit.read_state()).model_dump_json()
        assert (await failure(kit)).message == "Incorrect API key provided: [key]"


async def test_the_attempts_last_failure_keeps_its_reset_over_a_restart(tmp_path: Path) -> None:
    async with gateway(tmp_path, script(refusal(429, **{"Retry-After": "900"}))) as kit:
        await call(kit)
        before = await failure(kit)
    async with gateway(tmp_path, script()) as kit:
        after = await failure(kit)
        assert await evidence(kit) is None
    assert (after.cause, after.status, after.reset_source) == (before.cause, 429, ResetSource.RETRY_AFTER)
    for one, other in ((before.sent_time, after.sent_time), (before.reset_time, after.reset_time)):
        assert one is not None
        assert other is not None
        assert timedelta(0) <= one - other < timedelta(milliseconds=1)


@pytest.mark.row("C3")
@pytest.mark.parametrize("ahead", [pytest.param(90, id="90 s fast"), pytest.param(-90, id="90 s slow")])
@pytest.mark.parametrize("dated", [pytest.param(False, id="seconds"), pytest.param(True, id="a server's date")])
async def test_a_gateway_whose_clock_is_wrong_gives_the_operator_the_same_reset(
    tmp_path: Path, ahead: int, *, dated: bool
) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    hint = {"Retry-After": "45"}
    if dated:
        hint = {"Retry-After": _http_date(now + timedelta(seconds=45)), "Date": _http_date(now)}
    answer = script(refusal(429, **hint))
    async with gateway(tmp_path, answer, clock=lambda: utc_now() + timedelta(seconds=ahead)) as kit:
        client = GatewayClient(url=kit.operator_url, secret=OPERATOR, clock=SystemClock())
        sent = utc_now()
        await call(kit)
        seen = utc_now()
        await client.poll()
        (known,) = client.evidence(("agents", "lane"))
        state = client.attempt_view(ATTEMPT.run_uid, 1).state
        assert state is not None
        assert state.failure == known.last_failure
        assert known.last_failure is not None
        assert known.last_failure.reset_time is not None
        assert sent - SECOND < known.last_failure.sent_time < seen + SECOND
        assert abs(known.last_failure.reset_time - seen - 45 * SECOND) < SECOND
        await client.close()


def _http_date(moment: datetime) -> str:
    return moment.strftime("%a, %d %b %Y %H:%M:%S GMT")
