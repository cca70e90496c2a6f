"""The gateway asks a lane's classifier about a run: one call, counted for the run, whose failures are answers."""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from laneway.api.classification import Complexity
from laneway.api.gatewaystate import ClassifyAnswer
from laneway.rules.token import AttemptId
from unit.gateway.kit import (
    OPERATOR,
    Handler,
    Kit,
    call_end,
    call_start,
    gateway,
    lane_object,
    run_object,
    secret_object,
)

UID = "run-uid-1"
FREE = AttemptId(UID, 0)
CLASSIFIER = {"model": "tiny", "tiers": {"simple": "tiny", "medium": "big", "complex": "big"}}
PRICE = {"inputUSDPerMillion": "2", "outputUSDPerMillion": "10"}
MODELS = [{"name": "big", "pricing": PRICE}, {"name": "tiny", "pricing": PRICE}]
SORTS = {"models": MODELS, "classifier": CLASSIFIER}
TEXT = "Move the secret launch codes"
QUESTION = {"runUID": UID, "laneNamespace": "agents", "lane": "lane", "text": TEXT}
USAGE = {"prompt_tokens": 90, "completion_tokens": 11}
COST = 2 * 90 + 10 * 11
"""Micro-dollars."""


def says(words: str, usage: dict[str, int] | None = USAGE) -> Handler:
    """A chat server with one answer."""

    async def answer(request: web.Request) -> web.StreamResponse:
        choice = {"index": 0, "message": {"role": "assistant", "content": words}, "finish_reason": "stop"}
        return web.json_response({"choices": [choice], **({"usage": usage} if usage else {})})

    return answer


def refuses(status: int) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.json_response({"error": {"message": f"no: {TEXT}"}}, status=status)

    return answer


async def drops(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def hangs(request: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    return web.Response()


@asynccontextmanager
async def sorting(
    folder: Path, server: Handler, *, run: dict[str, Any] | None = None, **given: Any
) -> AsyncIterator[Kit]:
    """A gateway whose lane has a classifier, and a run that has no attempt yet."""
    lane = given.pop("lane", SORTS)
    async with gateway(folder, server, seen=False, lane=lane, **given) as kit:
        kit.views.runs.put(waiting_run(**(run or {})))
        yield kit


def waiting_run(*, namespace: str = "agents", **spec: Any) -> dict[str, Any]:
    meta = {"namespace": namespace, "name": "hello", "uid": UID, "resourceVersion": "1"}
    return {"metadata": meta, "spec": {"caller": "ci", **spec}, "status": {}}


async def classify(kit: Kit, **changes: Any) -> ClassifyAnswer:
    headers = {"Authorization": f"Bearer {OPERATOR}"}
    async with kit.client.post(kit.operator_url + "/v1/classify", json=QUESTION | changes, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        return ClassifyAnswer.model_validate_json(await answer.text())


def rows(folder: Path) -> list[dict[str, Any]]:
    with sqlite3.connect(folder / "ledger.sqlite") as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute("SELECT * FROM calls")]


@pytest.mark.row("C20", "S0.18", "S0.26")
async def test_the_classifier_is_asked_once_with_the_lanes_key_and_the_run_pays(tmp_path: Path) -> None:
    seen: list[tuple[web.Request, Any]] = []

    async def server(request: web.Request) -> web.StreamResponse:
        seen.append((request, json.loads(await request.read())))
        return await says('{"complexity": "complex", "reason": "many steps"}')(request)

    keyed = {**SORTS, "endpoint": {"credentialRef": {"name": "provider", "key": "apiKey"}}}
    async with sorting(tmp_path, server, lane=keyed) as kit:
        kit.secrets["provider"] = secret_object("sk-lane")
        answer = await classify(kit)
        await kit.ledger.flush()
        assert kit.state.open_calls() == []
    [(request, body)] = seen
    assert (request.path, request.headers["Authorization"]) == ("/v1/chat/completions", "Bearer sk-lane")
    assert (body["model"], body["response_format"], body["max_tokens"]) == ("tiny", {"type": "json_object"}, 120)
    assert body["messages"][-1] == {"role": "user", "content": TEXT}
    assert (answer.complexity, answer.reason) == (Complexity.COMPLEX, "many steps")
    totals = answer.used.totals
    assert (totals.turns, totals.input_tokens, totals.output_tokens, totals.cost_micro_usd) == (0, 90, 11, COST)
    [row] = rows(tmp_path)
    assert (row["run_uid"], row["attempt"], row["caller"], row["model"], row["state"]) == (
        UID,
        0,
        "ci",
        "tiny",
        "settled",
    )
    assert (row["turn"], row["metered"], row["cost_micro_usd"]) == (0, 1, COST)


async def test_asking_again_costs_again_and_all_of_it_is_told_after_a_restart_too(tmp_path: Path) -> None:
    for calls in (1, 2):
        async with sorting(tmp_path, says("simple")) as kit:
            answer = await classify(kit)
        assert (answer.used.calls, answer.used.totals.cost_micro_usd) == (calls, calls * COST)


async def test_what_the_ledger_took_from_status_is_no_cost_of_asking(tmp_path: Path) -> None:
    """Attempts that a status no longer lists stand under the same number in a new ledger."""
    async with gateway(tmp_path, says("simple"), lane=SORTS) as kit:
        await kit.ledger.begin(call_start("seed", attempt=FREE))
        kit.ledger.settle("seed", call_end())
        await kit.ledger.flush()
        assert (await classify(kit)).used.totals.cost_micro_usd == COST


FAILURES = [
    pytest.param(refuses(500), "the classifier's server answers 500", None, id="a server in trouble"),
    pytest.param(refuses(400), "the classifier's server answers 400", None, id="a server that does not know what we ask for"),
    pytest.param(refuses(302), "the classifier's server answers 302", None, id="a redirect"),
    pytest.param(drops, "the server closed the connection", True, id="a connection that breaks"),
    pytest.param(hangs, "the classifier did not answer within 2 s", True, id="a server that is silent"),
    pytest.param(says("banana"), "the classifier's answer names none of simple, medium and complex", False, id="an answer that says nothing"),
    pytest.param(says("simple", usage=None), "", True, id="an answer without usage is one all the same"),
]  # fmt: skip


@pytest.mark.row("S4.39", "S0.25", "C20")
@pytest.mark.parametrize(("server", "why", "estimated"), FAILURES)
async def test_whatever_goes_wrong_is_an_answer_and_is_paid_for_if_the_server_may_have_worked(
    tmp_path: Path, server: Handler, why: str, estimated: bool | None
) -> None:
    async with sorting(tmp_path, server, classify_seconds=2.0 if server is hangs else 30.0) as kit:
        answer = await classify(kit)
        await kit.ledger.flush()
        state = await kit.read_state()
    assert (answer.reason, answer.complexity is None) == (why, bool(why))
    assert state.evidence == ()
    [row] = rows(tmp_path)
    assert (row["state"], row["turn"]) == ("settled", 0)
    if estimated is None:
        assert (row["cost_micro_usd"], answer.used.totals.input_tokens) == (None, 0)
    else:
        assert bool(row["estimated"]) is estimated
        assert row["cost_micro_usd"] == answer.used.totals.cost_micro_usd
        assert row["cost_micro_usd"] > 0


REFUSALS = [
    pytest.param({"lane": "other"}, {}, "the lane has no classifier any more", id="a lane that is not there"),
    pytest.param({}, {"lane": {"models": MODELS}}, "the lane has no classifier any more", id="a lane without one"),
    pytest.param({}, {"run": {"namespace": "strangers"}}, "the lane does not allow the run's namespace", id="a namespace that may not use the lane"),
    pytest.param({}, {"lane": {**SORTS, "endpoint": {"apis": [{"name": "Embeddings"}]}}}, "the lane speaks no wire API that can put a question", id="a lane that only embeds"),
    pytest.param({}, {"lane": {**SORTS, "endpoint": {"credentialRef": {"name": "none", "key": "apiKey"}}}}, "Secret none does not exist in the lane's namespace", id="a key that is not there"),
    pytest.param({}, {"run": {"limits": {"tokens": 20}}}, "the run has reached a limit: 0 of 20 tokens used, and this call needs more (spec.limits.tokens)", id="a run whose limit has no room for a question"),
    pytest.param({}, {"run": {"limits": {"tokens": 20, "onReached": "Pause"}}}, "the run has reached a limit: 0 of 20 tokens used, and this call needs more (spec.limits.tokens)", id="a limit at which the run pauses holds no question up"),
    pytest.param({}, {"lane": {**SORTS, "spend": [{"namespace": "agents", "period": "Month", "limitUSD": "0"}]}}, "namespace agents may spend no more on lane lane: 0.00 of 0 USD of this month used, and this call needs more", id="a namespace that may spend nothing"),
]  # fmt: skip


@pytest.mark.row("S4.39", "C20")
@pytest.mark.parametrize(("asked", "given", "why"), REFUSALS)
async def test_a_question_that_may_not_be_put_costs_nothing(
    tmp_path: Path, asked: dict[str, Any], given: dict[str, Any], why: str
) -> None:
    async with sorting(tmp_path, says("simple"), **given) as kit:
        answer = await classify(kit, **asked)
    assert (answer.complexity, answer.reason, answer.used.calls) == (None, why, 0)
    assert rows(tmp_path) == []


async def test_a_gateway_that_has_not_seen_the_run_yet_waits_for_it(tmp_path: Path) -> None:
    async with gateway(tmp_path, says("Complex."), seen=False, lane=SORTS) as kit:
        asking = asyncio.create_task(classify(kit))
        await asyncio.sleep(0)
        kit.views.runs.put(waiting_run())
        assert (await asking).complexity is Complexity.COMPLEX


async def test_what_asking_cost_counts_against_the_runs_limit_and_the_lanes_spend(tmp_path: Path) -> None:
    bounded = {**SORTS, "spend": [{"namespace": "agents", "period": "Month", "limitUSD": "5.00"}]}
    async with sorting(tmp_path, says("simple"), lane=bounded, run={"limits": {"tokens": 700}}) as kit:
        await classify(kit)
        [month] = [one for one in (await kit.read_state()).spends if one.used_micro_usd]
        assert month.used_micro_usd == COST
        for _ in range(8):
            answer = await classify(kit)
        assert answer.complexity is None
        assert "of 700 tokens used" in answer.reason


async def test_a_lane_of_one_busy_place_can_still_be_asked(tmp_path: Path) -> None:
    """The place belongs to a call of an agent, which is open meanwhile (S0.18)."""
    held = asyncio.Event()

    async def server(request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        if body["model"] == "big":
            await held.wait()
        return await says("simple")(request)

    async with gateway(tmp_path, server, lane={**SORTS, "capacity": {"calls": 1}}) as kit:
        kit.views.runs.put(run_object(model="big", version=2))
        agent = asyncio.create_task(_chat(kit))
        while not kit.state.open_calls():
            await asyncio.sleep(0.005)
        other = waiting_run()
        other["metadata"] |= {"name": "other", "uid": "other-uid"}
        kit.views.runs.put(other)
        answer = await classify(kit, runUID="other-uid")
        assert answer.complexity is Complexity.SIMPLE
        assert not agent.done()
        held.set()
        assert await agent == 200


async def _chat(kit: Kit) -> int:
    body = {"model": "any", "messages": [{"role": "user", "content": "hi"}]}
    async with kit.post("/v1/chat/completions", body) as answer:
        return int(answer.status)


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        pytest.param({}, QUESTION, 401, id="nobody"),
        pytest.param({"Authorization": "Bearer wrong"}, QUESTION, 401, id="somebody else"),
        pytest.param({"Authorization": f"Bearer {OPERATOR}"}, {"runUID": UID}, 400, id="half a question"),
        pytest.param({"Authorization": f"Bearer {OPERATOR}"}, [], 400, id="no object"),
    ],
)
async def test_only_the_operator_is_answered(tmp_path: Path, headers: dict[str, str], body: Any, status: int) -> None:
    async with (
        sorting(tmp_path, says("simple")) as kit,
        kit.client.post(kit.operator_url + "/v1/classify", json=body, headers=headers) as answer,
    ):
        assert answer.status == status
        assert TEXT not in await answer.text()
    assert rows(tmp_path) == []


async def test_an_agents_token_does_not_open_it(tmp_path: Path) -> None:
    async with sorting(tmp_path, says("simple")) as kit:
        async with kit.client.post(kit.operator_url + "/v1/classify", json=QUESTION, headers=kit.headers()) as answer:
            assert answer.status == 401
        async with kit.post("/v1/classify", QUESTION) as answer:
            assert answer.status in {401, 404}


async def test_what_is_asked_and_answered_is_never_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for server in (says("simple " + TEXT), says(TEXT), refuses(500)):
        async with sorting(tmp_path, server) as kit:
            answer = await classify(kit)
        assert TEXT not in answer.reason
    assert "a run was not classified" in caplog.text
    assert TEXT not in caplog.text


async def test_an_operator_that_leaves_meanwhile_leaves_a_row_that_is_paid(tmp_path: Path) -> None:
    reached = asyncio.Event()

    async def server(request: web.Request) -> web.StreamResponse:
        reached.set()
        return await hangs(request)

    async with sorting(tmp_path, server) as kit:
        asking = asyncio.create_task(classify(kit))
        await reached.wait()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        while not kit.state.attempt_state(FREE).calls:
            await asyncio.sleep(0.005)
        await kit.ledger.flush()
    [row] = rows(tmp_path)
    assert (row["state"], row["estimated"], row["class"]) == ("settled", 1, None)


async def test_each_kind_of_server_is_asked_in_its_own_api(tmp_path: Path) -> None:
    paths: list[str] = []

    async def server(request: web.Request) -> web.StreamResponse:
        paths.append(request.path)
        return web.json_response(
            {
                "choices": [{"message": {"content": "simple"}}],
                "content": [{"type": "text", "text": "simple"}],
                "candidates": [{"content": {"parts": [{"text": "simple"}]}}],
                "message": {"content": "simple"},
                "output": [{"content": [{"type": "output_text", "text": "simple"}]}],
            }
        )

    async with sorting(tmp_path, server) as kit:
        kinds = [{"server": "OpenAI"}, {"server": "Anthropic"}, {"server": "Gemini"}]
        kinds += [{"server": "Ollama", "endpoint": {"apis": [{"name": "OllamaChat"}]}}]
        kinds += [{"server": "OpenAI", "endpoint": {"apis": [{"name": "Responses"}]}}]
        for number, kind in enumerate(kinds):
            kit.views.lanes.put(lane_object(kit.server_url, version=2 + number, **SORTS, **kind))
            assert (await classify(kit)).complexity is Complexity.SIMPLE, kind
    gemini = "/v1beta/models/tiny:generateContent"
    assert paths == ["/v1/chat/completions", "/v1/messages", gemini, "/api/chat", "/v1/responses"]
