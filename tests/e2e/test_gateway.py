"""Model calls of real pods through the gateway: counted to the token, in every wire API, and refused to everybody else."""

from __future__ import annotations

import base64
import json
import secrets
from typing import Any

import pytest

from e2e import agents, release
from e2e.commands import kubectl
from e2e.scripted import Scripted
from e2e.stage import Stage
from laneway.api.names import CREDENTIAL_LABEL
from laneway.kube.resources import SECRETS, JsonObject
from modelserver.shapes import INPUT_TOKENS, OUTPUT_TOKENS, TEXT


@pytest.mark.row("S0.11", "S0.17", "S1.16", "S2.40")
@pytest.mark.parametrize(
    "stream", [pytest.param(True, id="a streamed answer"), pytest.param(False, id="a whole answer")]
)
async def test_the_built_in_agent_is_counted_to_the_token(stage: Stage, scripted: Scripted, stream: bool) -> None:
    await stage.add_lane(
        {"models": [{"name": "scripted", "pricing": {"inputUSDPerMillion": "1", "outputUSDPerMillion": "10"}}]}
    )
    await stage.add_run({"agent": {"parameters": {"stream": stream}}})
    [run] = await stage.succeeded()
    usage = run["status"]["usage"]
    assert (usage["inputTokens"], usage["outputTokens"], usage["turns"]) == (INPUT_TOKENS, OUTPUT_TOKENS, 1)
    assert (usage["source"], usage["complete"], usage["costUSD"]) == ("Gateway", True, "0.000082")
    assert run["status"]["result"] == {"summary": TEXT, "exitCode": 0, "finishReason": "stop"}
    [call] = scripted.requests()
    assert (call["model"], bool(call["stream"]), call["outcome"]) == ("scripted", stream, "answered")
    [row] = release.ledger_rows(run["metadata"]["uid"])
    assert (row["input_tokens"], row["output_tokens"], row["cost_micro_usd"]) == (INPUT_TOKENS, OUTPUT_TOKENS, 82)


@pytest.mark.row("S0.11", "S2.1", "S2.29")
async def test_any_image_may_call_every_wire_api_from_its_first_moment_on(
    stage: Stage, scripted: Scripted, test_image: str
) -> None:
    await stage.add_lane()
    await stage.add_run({"agent": agents.program("call_at_once")})
    [run] = await stage.succeeded()
    said = stage.said(run)
    assert {name: status for name, (status, _) in said.items()} == dict.fromkeys(said, 200)
    assert json.loads(said["at once"][1])["choices"][0]["message"]["content"] == TEXT
    assert json.loads(said["messages"][1])["content"] == [{"type": "text", "text": TEXT}]
    assert json.loads(said["ollama"][1])["message"]["content"] == TEXT
    assert said["chat, streamed"][1].endswith("data: [DONE]\n\n")
    assert "usage" not in said["chat, streamed"][1], "only the gateway asked for the usage of the stream"
    assert [json.loads(line)["done"] for line in said["ollama, streamed"][1].splitlines()][-1] is True
    assert [one["id"] for one in json.loads(said["models"][1])["data"]] == ["scripted"]
    assert {call["model"] for call in scripted.requests()} == {"scripted"}
    usage = run["status"]["usage"]
    assert (usage["turns"], usage["inputTokens"], usage["outputTokens"]) == (6, 6 * INPUT_TOKENS, 6 * OUTPUT_TOKENS)


@pytest.mark.row("S2.8")
async def test_only_the_pod_of_a_running_attempt_may_use_its_token(
    stage: Stage, scripted: Scripted, test_image: str
) -> None:
    await stage.add_lane()
    await stage.add_run({"agent": agents.says("done")}, name="finished")
    await stage.add_run({"agent": agents.shell(agents.STAY)}, name="other")
    [finished] = await stage.finished("finished")
    other = token_of(await stage.running_pod("other"))
    tokens = {
        "wrong": f"{other[:-4]}{'AAAA' if other[-4:] != 'AAAA' else 'BBBB'}",
        "not ours": "sk-something-else",
        "of another pod": other,
        "of a finished run": token_of((await stage.pods(finished))[0]),
    }
    await stage.add_run({"agent": agents.program("try_tokens", TOKENS=json.dumps(tokens))})
    [run] = await stage.succeeded()
    said = stage.said(run)
    assert {api: answer[0] for api, answer in said.pop("own").items()} == dict.fromkeys(REFUSALS, 200)
    assert set(said) == {"none", *tokens}
    for name, answers in said.items():
        for api, (status, body) in answers.items():
            assert status == 401, (name, api, body)
            assert REFUSALS[api](body), (name, api, body)
    assert len(scripted.requests()) == 3, "what was refused never reached the model server"
    assert all(token not in release.logs() for token in tokens.values())


REFUSALS: dict[str, Any] = {
    "chat": lambda body: (
        body["error"]["type"] == "invalid_request_error" and body["error"]["code"] == "invalid_api_key"
    ),
    "messages": lambda body: body["type"] == "error" and body["error"]["type"] == "authentication_error",
    "ollama": lambda body: isinstance(body["error"], str),
    "models": lambda body: body["error"]["code"] == "invalid_api_key",
}
"""How each API says that a key is of no use."""


@pytest.mark.row("S0.12")
async def test_the_providers_key_reaches_the_server_and_shows_nowhere_else(
    stage: Stage, scripted: Scripted, test_image: str
) -> None:
    key, marker = f"sk-e2e-{secrets.token_hex(8)}", f"a secret errand {secrets.token_hex(8)}"
    await stage.kube.create(SECRETS, stage.namespace, provider_secret(key))
    await stage.add_lane({"endpoint": {"server": "OpenAI", "credentialRef": {"name": "provider"}}})
    await stage.add_run({"agent": agents.program("look_around"), "prompt": marker})
    [run] = await stage.succeeded()
    [call] = scripted.requests()
    assert call["authorization"] == f"Bearer {key}"
    [pod] = await stage.pods(run)
    token = token_of(pod)
    assert token not in json.dumps(call)
    log = stage.log(run)
    assert token in log, "the pod was really looked through"
    assert json.loads(log)["service account"] is False
    places = {
        "the pod": json.dumps(pod),
        "what the pod found": log,
        "the run": json.dumps(run),
        "the lane": json.dumps(await stage.lane()),
        "Events": kubectl("get", "events", "-n", stage.namespace, "-o", "json"),
        "ConfigMaps": kubectl("get", "configmaps", "-n", stage.namespace, "-o", "json"),
        "logs of operator and gateway": release.logs(),
        "metrics of operator and gateway": release.metrics(),
    }
    assert "laneway_" in places["metrics of operator and gateway"]
    for place, text in places.items():
        assert key not in text, place
        assert base64.b64encode(key.encode()).decode() not in text, place
    for place in ("the pod", "Events", "logs of operator and gateway", "metrics of operator and gateway"):
        assert marker not in places[place], place
    assert marker not in json.dumps(run["status"])
    assert "lw1." not in places["logs of operator and gateway"]


async def test_a_secret_without_our_label_is_not_used(stage: Stage, scripted: Scripted) -> None:
    body = provider_secret("sk-not-for-laneway")
    del body["metadata"]["labels"]
    await stage.kube.create(SECRETS, stage.namespace, body)
    await stage.add_lane({"endpoint": {"server": "OpenAI", "credentialRef": {"name": "provider"}}})
    ready = await stage.lane_says("CredentialMissing")
    assert ready["status"] == "False"
    assert CREDENTIAL_LABEL in ready["message"]
    await stage.kube.merge_patch(
        SECRETS, stage.namespace, "provider", {"metadata": {"labels": {CREDENTIAL_LABEL: "true"}}}
    )
    await stage.lane_says("BackendReachable")


def provider_secret(key: str) -> JsonObject:
    """A Secret that lanes may use."""
    return {"metadata": {"name": "provider", "labels": {CREDENTIAL_LABEL: "true"}}, "stringData": {"apiKey": key}}


def token_of(pod: JsonObject) -> str:
    """The token of an attempt."""
    [token] = [one["value"] for one in pod["spec"]["containers"][0]["env"] if one["name"] == "LANEWAY_TOKEN"]
    return str(token)
