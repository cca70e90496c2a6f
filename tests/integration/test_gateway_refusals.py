"""Calls that do not come through: who is refused, what the attempt's state says, and what never leaves the gateway."""

from __future__ import annotations

import asyncio
import io
import logging
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from laneway.rules.token import AttemptId
from unit.gateway.kit import (
    ATTEMPT,
    OPERATOR,
    JsonObject,
    Kit,
    eventually,
    gateway,
    lane_object,
    pod_object,
    run_object,
    secret_object,
)

CHAT = {"model": "x", "messages": []}
MESSAGES = {**CHAT, "max_tokens": 8}
ANSWER = {"choices": [{"finish_reason": "stop"}], "usage": {"prompt_tokens": 120, "completion_tokens": 30}}
KEYED = {"endpoint": {"credentialRef": {"name": "provider", "key": "apiKey"}}}
PRICED = {"models": [{"name": "smollm2", "pricing": {"inputUSDPerMillion": "2.50", "outputUSDPerMillion": "10"}}]}


async def good(request: web.Request) -> web.Response:
    return web.json_response(ANSWER)


async def never(request: web.Request) -> web.Response:
    raise AssertionError("nothing was to reach the server")


async def status_of(kit: Kit, path: str = "/v1/chat/completions", body: Any = CHAT, **headers: str) -> tuple[int, Any]:
    async with kit.client.post(kit.url + path, json=body, headers=headers or kit.headers()) as answer:
        return answer.status, await answer.json()


async def test_a_wrong_token_another_pods_token_and_a_finished_runs_token_get_401(tmp_path: Path) -> None:
    async with gateway(tmp_path, good) as kit:
        other, finished = AttemptId("other", 1), AttemptId("finished", 1)
        kit.views.runs.put(run_object(uid="other"))
        kit.views.pods.put(pod_object(uid="other", address="10.9.9.9"))
        kit.views.runs.put(run_object(uid="finished", finished=True))
        assert (await status_of(kit))[0] == 200
        for headers in (
            {"Authorization": "Bearer sk-wrong"},
            {"Authorization": "Bearer " + kit.headers()["Authorization"][7:-3] + "abc"},
            kit.headers(other),
            kit.headers(finished),
            {"X-Nothing": "at all"},
        ):
            status, body = await status_of(kit, **headers)
            assert (status, body["error"]["code"]) == (401, "invalid_api_key")
        assert len((await kit.read_state()).attempts) == 1


async def test_the_token_is_taken_from_every_place_that_clients_use_and_never_passed_on(tmp_path: Path) -> None:
    seen: list[web.Request] = []

    async def server(request: web.Request) -> web.Response:
        seen.append(request)
        return web.json_response(ANSWER)

    async with gateway(tmp_path, server) as kit:
        token = kit.headers()["Authorization"].removeprefix("Bearer ")
        for headers in ({"x-api-key": token}, {"x-goog-api-key": token}, {"Authorization": f"bearer {token}"}):
            assert (await status_of(kit, **headers))[0] == 200
        assert (await status_of(kit, f"/v1/chat/completions?key={token}", X="y"))[0] == 200
    assert len(seen) == 4
    assert all(token not in f"{request.raw_headers}{request.raw_path}" for request in seen)


async def test_a_call_at_the_pods_start_waits_for_the_view_and_succeeds(tmp_path: Path) -> None:
    async def confirm(kit: Kit) -> bool:
        kit.views.runs.put(run_object())
        if len(kit.confirmed) > 1:
            kit.views.pods.put(pod_object(version=2))
        else:
            kit.views.pods.put(pod_object(address=None))
        return True

    async with gateway(tmp_path, good, confirm=confirm, seen=False) as kit:
        assert (await status_of(kit))[0] == 200


async def test_an_unknown_attempt_is_503_while_the_api_server_is_away(tmp_path: Path) -> None:
    async def away(kit: Kit) -> bool:
        return False

    async with gateway(tmp_path, never, confirm=away, seen=False, hold_seconds=0.05) as kit:
        assert (await status_of(kit))[0] == 503


async def test_the_operator_port_is_shut_to_agents(tmp_path: Path) -> None:
    async with gateway(tmp_path, never) as kit:
        for headers in ({}, kit.headers(), {"Authorization": "Bearer "}):
            async with kit.client.get(kit.operator_url + "/v1/state", headers=headers) as answer:
                assert answer.status == 401
            path = f"/v1/attempts/{ATTEMPT.run_uid}/1/close"
            async with kit.client.post(kit.operator_url + path, headers=headers) as answer:
                assert answer.status == 401
        assert not kit.state.is_closed(ATTEMPT)


@pytest.mark.parametrize("query", [{"since": "x"}, {"ahead": "soon"}, {"ahead": "1e9"}])
async def test_a_poll_that_cannot_be_read_is_refused(tmp_path: Path, query: JsonObject) -> None:
    async with (
        gateway(tmp_path, never) as kit,
        kit.client.get(
            kit.operator_url + "/v1/state", params=query, headers={"Authorization": f"Bearer {OPERATOR}"}
        ) as answer,
    ):
        assert answer.status == 400


@pytest.mark.parametrize(
    ("run", "lane", "path", "status", "cause"),
    [
        pytest.param({}, {"server": "Ollama"}, "/api/chat", 200, None, id="Ollama speaks its own API"),
        pytest.param({}, {"server": "vLLM"}, "/api/chat", 404, "WireAPIUnsupported", id="vLLM does not"),
        pytest.param(
            {}, {"server": "OpenAI"}, "/v1/messages", 404, "WireAPIUnsupported", id="OpenAI does not speak messages"
        ),
        pytest.param(
            {},
            {"server": "Anthropic"},
            "/v1/chat/completions",
            404,
            "WireAPIUnsupported",
            id="Anthropic speaks messages only",
        ),
        pytest.param(
            {"model": "gone"}, {}, "/v1/chat/completions", 404, "ModelNotFound", id="a model that the lane lost"
        ),
        pytest.param(
            {"namespace": "elsewhere"},
            {},
            "/v1/messages",
            403,
            "AuthFailed",
            id="a namespace that the lane does not allow",
        ),
        pytest.param(
            {"namespace": "elsewhere"},
            {"allowedNamespaces": {"from": "All"}},
            "/v1/chat/completions",
            200,
            None,
            id="a lane for all",
        ),
        pytest.param(
            {},
            {"access": "Direct"},
            "/v1/chat/completions",
            404,
            "ModelNotFound",
            id="a lane that the gateway does not carry",
        ),
        pytest.param({}, KEYED, "/v1/chat/completions", 503, "AuthFailed", id="a lane whose Secret is missing"),
    ],
)
async def test_the_step_is_judged_at_each_call(
    tmp_path: Path, *, run: JsonObject, lane: JsonObject, path: str, status: int, cause: str | None
) -> None:
    async with gateway(tmp_path, good, seen=False) as kit:
        kit.views.runs.put(run_object(**run))
        kit.views.pods.put(pod_object())
        kit.views.lanes.put(lane_object(kit.server_url, version=2, **lane))
        got, body = await status_of(kit, path, MESSAGES)
        state = kit.state.attempt_state(ATTEMPT)
    assert got == status, body
    assert (state.failure.cause if state.failure else None) == cause
    assert state.calls == (1 if status == 200 else 0)


@pytest.mark.row("S0.12")
@pytest.mark.parametrize(
    ("server", "auth", "header", "value"),
    [
        ("OpenAI", None, "Authorization", "Bearer sk-secret"),
        ("OpenAI", "XApiKey", "x-api-key", "sk-secret"),
        ("Anthropic", None, "x-api-key", "sk-secret"),
        ("OpenAI", "None", "Authorization", None),
    ],
)
async def test_the_lanes_key_is_sent_in_the_header_that_its_server_wants(
    tmp_path: Path, server: str, auth: str | None, header: str, value: str | None
) -> None:
    seen: list[str | None] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.headers.get(header))
        return web.json_response({**ANSWER, "stop_reason": "end_turn"})

    ref = {"name": "provider", "key": "apiKey"}
    lane = {"server": server, "endpoint": {"credentialRef": ref, **({"auth": auth} if auth else {})}}
    async with gateway(tmp_path, answer, lane=lane) as kit:
        kit.secrets["provider"] = secret_object("sk-secret")
        path = "/v1/messages" if server == "Anthropic" else "/v1/chat/completions"
        assert (await status_of(kit, path, MESSAGES))[0] == 200
    assert seen == [value]


async def test_a_key_that_was_changed_is_read_again_once_when_the_server_refuses_it(tmp_path: Path) -> None:
    keys: list[str] = []

    async def server(request: web.Request) -> web.Response:
        keys.append(request.headers["Authorization"])
        if request.headers["Authorization"] == "Bearer new":
            return web.json_response(ANSWER)
        return web.json_response({"error": {"message": "Incorrect API key provided: old"}}, status=401)

    async with gateway(tmp_path, server, lane=KEYED) as kit:
        kit.secrets["provider"] = secret_object("old")
        status, body = await status_of(kit)
        assert (status, body["error"]["message"]) == (401, "Incorrect API key provided: [key]")
        failure = kit.state.attempt_state(ATTEMPT).failure
        assert failure is not None
        assert (failure.cause, failure.status) == ("AuthFailed", 401)
        assert "old" not in failure.message
        kit.secrets["provider"] = secret_object("new")
        assert (await status_of(kit))[0] == 200
        assert kit.state.attempt_state(ATTEMPT).failure is None
    assert keys == ["Bearer old", "Bearer old", "Bearer new"]


async def test_a_secret_without_the_label_is_not_used(tmp_path: Path) -> None:
    async with gateway(tmp_path, never, lane=KEYED) as kit:
        kit.secrets["provider"] = secret_object("sk", labelled=False)
        status, body = await status_of(kit)
    assert status == 503
    assert "laneway.dev/credential" in body["error"]["message"]


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"[]", 400), (b"{", 400), (b"x" * (33 * 1024 * 1024), 413)],
    ids=["a list", "cut short", "over 32 MiB"],
)
async def test_bodies_that_cannot_be_carried(tmp_path: Path, body: bytes, status: int) -> None:
    async with (
        gateway(tmp_path, never) as kit,
        kit.client.post(kit.url + "/v1/chat/completions", data=io.BytesIO(body), headers=kit.headers()) as answer,
    ):
        assert answer.status == status
        assert (await answer.json())["error"]["type"] == "invalid_request_error"


async def test_the_thirty_third_open_call_of_a_run_is_refused(tmp_path: Path) -> None:
    go_on = asyncio.Event()

    async def server(request: web.Request) -> web.Response:
        await go_on.wait()
        return web.json_response(ANSWER)

    async with gateway(tmp_path, server) as kit:
        calls = [asyncio.ensure_future(status_of(kit)) for _ in range(32)]
        await eventually(lambda: len(kit.state.open_calls()) == 32)
        status, body = await status_of(kit)
        assert (status, body["error"]["code"]) == (429, "rate_limit_exceeded")
        go_on.set()
        assert {(await call)[0] for call in calls} == {200}


@pytest.mark.row("S2.23")
@pytest.mark.parametrize(
    ("held", "said"),
    [
        pytest.param(
            0, {"model": "gone", "kind": "NotFound", "class": "ModelNotFound"}, id="for the model that its run wants"
        ),
        pytest.param(32, {"model": "gone", "kind": "Busy", "class": None}, id="for the calls that its run has open"),
    ],
)
async def test_a_refusal_is_logged_with_its_run_lane_and_model_and_without_the_prompt(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, held: int, said: JsonObject
) -> None:
    caplog.set_level(logging.INFO)
    async with gateway(tmp_path, never) as kit:
        kit.views.runs.put(run_object(version=2, model="gone"))
        opened = [kit.state.open(ATTEMPT) for _ in range(held)]
        await status_of(kit, body={**CHAT, "messages": [{"role": "user", "content": "a secret prompt"}]})
        for call in opened:
            kit.state.leave(ATTEMPT, call)
    (record,) = [one for one in caplog.records if one.getMessage() == "call refused"]
    whose = {"namespace": "agents", "run": f"run-{ATTEMPT.run_uid}", "run_uid": ATTEMPT.run_uid, "attempt": 1}
    expected = {**whose, "lane": "agents/lane", **said}
    assert {name: vars(record)[name] for name in expected} == expected
    assert "secret" not in str([vars(one) for one in caplog.records])


async def test_an_attempt_that_is_not_seen_yet_is_logged_without_a_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with gateway(tmp_path, never, seen=False, hold_seconds=0) as kit:
        await status_of(kit)
    (record,) = [one for one in caplog.records if one.getMessage() == "call refused"]
    unseen = ("namespace", "run", "lane", "model")
    assert {name: vars(record)[name] for name in unseen} == dict.fromkeys(unseen)
    assert vars(record)["run_uid"] == ATTEMPT.run_uid


async def test_the_ledger_has_the_same_numbers_as_the_state_and_nothing_of_the_content(tmp_path: Path) -> None:
    async with gateway(tmp_path, good, lane=PRICED) as kit:
        body = {"model": "x", "messages": [{"role": "user", "content": "a secret prompt"}]}
        assert (await status_of(kit, body=body))[0] == 200
        totals = (await kit.close()).totals
    assert (totals.input_tokens, totals.output_tokens, totals.cost_micro_usd) == (120, 30, 600)
    with sqlite3.connect(tmp_path / "ledger.sqlite") as reader:
        rows = reader.execute(
            "SELECT run_uid, lane, model, wire_api, state, input_tokens, output_tokens, cost_micro_usd FROM calls"
        ).fetchall()
    assert rows == [(ATTEMPT.run_uid, "lane", "smollm2", "ChatCompletions", "settled", 120, 30, 600)]
    files = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"a secret prompt" not in files
    assert kit.headers()["Authorization"].removeprefix("Bearer ").encode() not in files


async def test_count_tokens_passes_and_is_neither_metered_nor_a_row(tmp_path: Path) -> None:
    async def server(request: web.Request) -> web.Response:
        assert request.path == "/v1/messages/count_tokens"
        return web.json_response({"input_tokens": 41})

    async with gateway(tmp_path, server) as kit:
        assert await status_of(kit, "/v1/messages/count_tokens", MESSAGES) == (200, {"input_tokens": 41})
        assert not kit.state.knows(ATTEMPT)


@pytest.mark.parametrize(
    ("path", "headers", "check"),
    [
        ("/v1/models", {}, lambda body: [one["id"] for one in body["data"]] == ["smollm2"]),
        ("/v1/models", {"anthropic-version": "2023-06-01"}, lambda body: body["data"][0]["type"] == "model"),
        ("/v1/models/smollm2", {}, lambda body: body["id"] == "smollm2"),
        ("/v1/models/nope", {}, lambda body: body["error"]["code"] == "model_not_found"),
        ("/api/tags", {}, lambda body: [one["name"] for one in body["models"]] == ["smollm2"]),
        ("/api/version", {}, lambda body: bool(body["version"])),
        ("/v1/nothing", {}, lambda body: "error" in body),
    ],
)
async def test_lists_are_answered_by_the_gateway_itself(
    tmp_path: Path, path: str, headers: JsonObject, check: Any
) -> None:
    async with (
        gateway(tmp_path, never) as kit,
        kit.client.get(kit.url + path, headers={**kit.headers(), **headers}) as answer,
    ):
        assert check(await answer.json())


async def test_lists_need_a_token_too(tmp_path: Path) -> None:
    async with gateway(tmp_path, never) as kit:
        for path, kind in (("/v1/models", "error"), ("/api/tags", "error")):
            async with kit.client.get(kit.url + path) as answer:
                assert answer.status == 401
                assert kind in await answer.json()
