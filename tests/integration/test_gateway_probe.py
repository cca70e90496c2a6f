"""Probes of servers of each kind, on loopback: what the lane's state says, and when it says it anew."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from laneway.api.base import format_time
from laneway.api.gatewaystate import LaneState
from laneway.gateway.state.evidence import LaneModel
from laneway.gateway.upstream.prober import KEY_SECONDS, Prober
from unit.gateway.kit import (
    ATTEMPT,
    JsonObject,
    Kit,
    call_end,
    eventually,
    gateway,
    lane_object,
    secret_object,
    utc_now,
)

Answers = dict[str, Any]
VLLM: Answers = {"/health": b"", "/v1/models": {"data": [{"id": "smollm2", "max_model_len": 8192}]}}
OLLAMA: Answers = {
    "/api/tags": {"models": [{"name": "smollm2:latest"}, {"name": "gemma:latest"}]},
    "/api/show": {"parameters": "stop x\nnum_ctx    2048", "model_info": {"llama.context_length": 8192}},
}
OPENAI: Answers = {"/v1/models": {"data": [{"id": "smollm2"}]}}
GEMINI: Answers = {"/v1beta/models": {"models": [{"name": "models/smollm2", "inputTokenLimit": 1048576}]}}
KEYED = {"endpoint": {"credentialRef": {"name": "provider", "key": "apiKey"}}}


def scripted(answers: Answers, seen: list[web.Request] | None = None) -> Callable[[web.Request], Any]:
    async def server(request: web.Request) -> web.Response:
        if seen is not None:
            seen.append(request)
        answer = answers.get(request.path, 404)
        if answer == "hang":
            await asyncio.sleep(60)
        if isinstance(answer, int):
            return web.json_response({"error": "no"}, status=answer)
        return web.Response(body=answer) if isinstance(answer, bytes) else web.json_response(answer)

    return server


@asynccontextmanager
async def probing(kit: Kit, lane: JsonObject, *, key_seconds: float = KEY_SECONDS) -> AsyncIterator[Prober]:
    prober = Prober(
        upstream=kit.upstream,
        credentials=kit.credentials,
        state=kit.state,
        clock=utc_now,
        uniform=lambda low, high: low,
        key_seconds=key_seconds,
    )
    kit.views.on_lane.append(prober.take)
    kit.views.lanes.put(lane)
    try:
        yield prober
    finally:
        await prober.close()


async def found(kit: Kit, lane: JsonObject) -> LaneState:
    async with probing(kit, lane):
        await eventually(lambda: kit.state.lane_state("agents", "lane") is not None)
    (state,) = (await kit.read_state()).lanes
    return state


@pytest.mark.parametrize(
    ("server", "answers", "reachable", "reason", "message", "context"),
    [
        pytest.param("vLLM", VLLM, True, "BackendReachable", "the server answers", 8192, id="vLLM"),
        pytest.param(
            "vLLM",
            {**VLLM, "/health": 503},
            False,
            "BackendUnreachable",
            "the server answers 503 on /health",
            None,
            id="vLLM with a dead engine",
        ),
        pytest.param(
            "vLLM",
            {"/health": b""},
            False,
            "BackendUnreachable",
            "the server answers 404 on /v1/models",
            None,
            id="no vLLM at all",
        ),
        pytest.param(
            "Ollama",
            OLLAMA,
            True,
            "BackendReachable",
            "the server answers",
            2048,
            id="Ollama, num_ctx set in the model",
        ),
        pytest.param(
            "Ollama",
            {**OLLAMA, "/api/show": {"model_info": {"llama.context_length": 8192}}},
            True,
            "BackendReachable",
            "the server answers",
            8192,
            id="Ollama, context of the model",
        ),
        pytest.param(
            "Ollama",
            {**OLLAMA, "/api/show": 500},
            True,
            "BackendReachable",
            "the server answers",
            None,
            id="Ollama that does not tell",
        ),
        pytest.param(
            "Ollama",
            {"/api/tags": {"models": [{"name": "gemma:latest"}]}},
            True,
            "ModelNotServed",
            "the server does not serve smollm2; it serves gemma:latest",
            None,
            id="a model that is not pulled",
        ),
        pytest.param(
            "Ollama",
            {"/api/tags": {}},
            True,
            "ModelNotServed",
            "the server does not serve smollm2; it serves nothing",
            None,
            id="no models",
        ),
        pytest.param("Gemini", GEMINI, True, "BackendReachable", "the server answers", 1048576, id="Gemini"),
        pytest.param(
            "Gemini",
            {"/v1beta/models": {"models": []}},
            True,
            "ModelNotServed",
            "the server does not serve smollm2; it serves nothing",
            None,
            id="a model that Gemini does not have",
        ),
        pytest.param("OpenAI", OPENAI, True, "BackendReachable", "the server answers", None, id="OpenAI"),
        pytest.param(
            "OpenAI",
            {"/v1/models": 401},
            True,
            "AuthFailed",
            "the server refuses the lane's key: it answers 401 on /v1/models",
            None,
            id="a refused key",
        ),
        pytest.param(
            "OpenAI",
            {"/v1/models": 429},
            True,
            "BackendReachable",
            "the server is busy: it answers 429 on /v1/models",
            None,
            id="a busy server is there",
        ),
        pytest.param(
            "OpenAI",
            {"/v1/models": b"<html>"},
            True,
            "ModelNotServed",
            "the server does not serve smollm2; it serves nothing",
            None,
            id="nonsense",
        ),
        pytest.param(
            "Anthropic",
            {"/v1/models": {"data": [{"id": "other"}]}, "/v1/models/smollm2": {"id": "smollm2-2026"}},
            True,
            "BackendReachable",
            "the server answers",
            None,
            id="Anthropic knows an alias",
        ),
        pytest.param(
            "Other",
            {},
            True,
            "BackendReachable",
            "the server answers, but lists no models",
            None,
            id="another server without a list",
        ),
    ],
)
async def test_what_a_probe_finds(
    tmp_path: Path, *, server: str, answers: Answers, reachable: bool, reason: str, message: str, context: int | None
) -> None:
    async with gateway(tmp_path, scripted(answers)) as kit:
        state = await found(kit, lane_object(kit.server_url, server=server, version=2))
    assert (state.reachable, state.reason, state.message) == (reachable, reason, message)
    assert (state.generation, state.uid, state.models[0].name) == (1, "lane-uid", "smollm2")
    assert state.models[0].context_tokens == context
    served = {"BackendReachable": None if "busy" in message or "lists" in message else True, "ModelNotServed": False}
    assert state.models[0].served is served.get(reason)


async def test_one_model_of_several_that_is_missing_is_said_but_does_not_stop_the_lane(tmp_path: Path) -> None:
    async with gateway(tmp_path, scripted(VLLM)) as kit:
        lane = lane_object(kit.server_url, version=2, models=[{"name": "smollm2"}, {"name": "big"}])
        state = await found(kit, lane)
    assert (state.reason, [model.served for model in state.models]) == ("BackendReachable", [True, False])
    assert "does not serve big" in state.message


async def test_a_server_that_is_not_there(tmp_path: Path, unused_tcp_port: int) -> None:
    async with gateway(tmp_path, scripted({})) as kit:
        state = await found(kit, lane_object(f"http://127.0.0.1:{unused_tcp_port}", version=2))
    assert (state.reachable, state.reason, state.message) == (False, "BackendUnreachable", "connection refused")


async def test_a_server_that_hangs(tmp_path: Path) -> None:
    async with gateway(tmp_path, scripted({"/health": "hang"})) as kit:
        state = await found(kit, lane_object(kit.server_url, version=2, probe={"timeoutSeconds": 1}))
    assert (state.reachable, state.message) == (False, "an answer did not come within 1 s")


@pytest.mark.row("S0.12")
async def test_the_key_is_sent_and_its_absence_is_said(tmp_path: Path) -> None:
    seen: list[web.Request] = []
    async with gateway(tmp_path, scripted(OPENAI, seen)) as kit:
        lane = lane_object(kit.server_url, version=2, server="OpenAI", **KEYED)
        async with probing(kit, lane) as prober:
            await eventually(lambda: kit.state.lane_state("agents", "lane") is not None)
            missing = kit.state.lane_state("agents", "lane")
            assert missing is not None
            assert (missing.reason, missing.reachable) == ("CredentialMissing", False)
            assert seen == []
            kit.secrets["provider"] = secret_object("sk-1")
            view = kit.views.lanes.get(("agents", "lane"))
            assert view is not None
            prober.wake(view)
            await eventually(lambda: _reason(kit) == "BackendReachable")
    assert [request.headers["Authorization"] for request in seen] == ["Bearer sk-1"]


def refused(kit: Kit, *, version: int, period: int) -> JsonObject:
    """A lane whose status says that its key was refused."""
    account = {"reason": "AuthFailed", "source": "Estimated", "lastFailureTime": format_time(utc_now())}
    lane = lane_object(kit.server_url, version=version, probe={"periodSeconds": period}, **KEYED)
    return {**lane, "status": {"account": account}}


@pytest.mark.row("S3.36")
@pytest.mark.parametrize(
    "before",
    [
        pytest.param("sk-old", id="that holds a key which is refused"),
        pytest.param(None, id="that is not there"),
    ],
)
async def test_a_secret_that_is_mended_is_found_long_before_the_next_probe_is_due(
    tmp_path: Path, before: str | None
) -> None:
    async def server(request: web.Request) -> web.Response:
        good = request.headers.get("Authorization") == "Bearer sk-new"
        return web.json_response(VLLM["/v1/models"] if good else {"error": "no"}, status=200 if good else 401)

    async with gateway(tmp_path, server) as kit:
        kit.secrets.update({"provider": secret_object(before)} if before else {})
        async with probing(kit, refused(kit, version=2, period=3600), key_seconds=0.02):
            await eventually(lambda: _reason(kit) == ("AuthFailed" if before else "CredentialMissing"))
            kit.secrets["provider"] = secret_object("sk-new")
            await eventually(lambda: _reason(kit) == "BackendReachable")


@pytest.mark.row("S3.36")
async def test_a_key_that_is_refused_between_two_probes_is_looked_at_though_both_probes_are_well(
    tmp_path: Path,
) -> None:
    """Only calls met the refusal; the operator ends the hold by the time of a probe after it, so it has to hear of one."""
    seen: list[web.Request] = []
    async with gateway(tmp_path, scripted(VLLM, seen)) as kit:
        kit.secrets["provider"] = secret_object("sk-old")
        healthy = {**refused(kit, version=2, period=3600), "status": {}}
        async with probing(kit, healthy, key_seconds=0.02):
            await eventually(lambda: _reason(kit) == "BackendReachable")
            probed, version = len(seen), kit.state.version
            kit.views.lanes.put(refused(kit, version=3, period=3600))
            kit.secrets["provider"] = secret_object("sk-new")
            await eventually(lambda: kit.state.version > version)
    assert {request.headers["Authorization"] for request in seen[:probed]} == {"Bearer sk-old"}
    assert {request.headers["Authorization"] for request in seen[probed:]} == {"Bearer sk-new"}
    assert len(seen) == 2 * probed


@pytest.mark.row("S3.36")
async def test_each_probe_that_is_well_is_told_while_the_key_counts_as_refused(tmp_path: Path) -> None:
    async with gateway(tmp_path, scripted(VLLM)) as kit:
        kit.secrets["provider"] = secret_object("sk-1")
        async with probing(kit, refused(kit, version=2, period=1)):
            await eventually(lambda: _reason(kit) == "BackendReachable")
            version = kit.state.version
            await eventually(lambda: kit.state.version > version)


async def test_a_new_generation_is_probed_at_once_and_a_lost_lane_no_more(tmp_path: Path) -> None:
    answers = dict(VLLM)
    async with gateway(tmp_path, scripted(answers)) as kit:
        slow = {"probe": {"periodSeconds": 3600}}
        async with probing(kit, lane_object(kit.server_url, version=2, **slow)):
            await eventually(lambda: _reason(kit) == "BackendReachable")
            answers["/health"] = 503
            kit.views.lanes.put(lane_object(kit.server_url, version=3, generation=2, **slow))
            await eventually(lambda: _reason(kit) == "BackendUnreachable")
            told = kit.state.lane_state("agents", "lane")
            assert told is not None
            assert told.generation == 2
            kit.views.lanes.on_list([])
            assert kit.state.lane_state("agents", "lane") is None


async def test_the_evidence_of_a_model_leaves_with_the_model_and_with_its_lane(tmp_path: Path) -> None:
    def blamed() -> list[str]:
        return [one.model for one in kit.state.since(epoch=None, version=0).evidence]

    async with gateway(tmp_path, scripted(VLLM)) as kit, probing(kit, lane_object(kit.server_url, version=2)):
        for name in ("smollm2", "big"):
            model = LaneModel("agents", "lane", name)
            kit.state.settle(ATTEMPT, call_end(), model=model, sent=utc_now(), failure=None)
        assert sorted(blamed()) == ["big", "smollm2"]
        kit.views.lanes.put(lane_object(kit.server_url, version=3, generation=2))
        assert blamed() == ["smollm2"]
        kit.views.lanes.on_list([])
        assert blamed() == []


async def test_a_suspended_lane_is_probed_and_a_direct_one_is_not(tmp_path: Path) -> None:
    direct = {"access": "Direct"}
    async with (
        gateway(tmp_path, scripted(VLLM)) as kit,
        probing(kit, lane_object(kit.server_url, version=2, **direct)),
    ):
        kit.views.lanes.put(lane_object(kit.server_url, version=3, generation=2, suspend=True))
        await eventually(lambda: _reason(kit) == "BackendReachable")
        kit.views.lanes.put(lane_object(kit.server_url, version=4, generation=3, **direct))
        assert kit.state.lane_state("agents", "lane") is None


async def test_probes_go_on_and_tell_only_what_is_new(tmp_path: Path) -> None:
    answers, seen = dict(VLLM), []
    async with gateway(tmp_path, scripted(answers, seen)) as kit:
        lane = lane_object(kit.server_url, version=2, probe={"periodSeconds": 1})
        async with probing(kit, lane):
            await eventually(lambda: len(seen) >= 4)
            assert len({kit.state.version}) == 1
            version = kit.state.version
            answers["/v1/models"] = {"data": []}
            await eventually(lambda: _reason(kit) == "ModelNotServed")
            assert kit.state.version == version + 1


def _reason(kit: Kit) -> str | None:
    state = kit.state.lane_state("agents", "lane")
    return None if state is None else state.reason.value
