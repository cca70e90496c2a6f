"""Types, enums and bounds of the schema, on a real API server: what is refused, and in which words."""

from __future__ import annotations

from typing import Any

import pytest

from laneway.kube.client import Kube
from laneway.kube.errors import Invalid
from laneway.kube.resources import AGENT_RUNS, MODEL_LANES
from manifests import Manifest, lane, run


def price(value: Any) -> Manifest:
    pricing = {"inputUSDPerMillion": value, "outputUSDPerMillion": "1"}
    return lane({"models": [{"name": "m", "pricing": pricing}]})


def models(count: int) -> Manifest:
    return lane({"models": [{"name": f"m{number}"} for number in range(count)]})


def apis(*given: Manifest) -> Manifest:
    return lane({"endpoint": {"apis": list(given)}})


def header(**fields: Any) -> Manifest:
    return lane({"endpoint": {"headers": [{"name": "X-Team", "value": "a", **fields}]}})


def parameters(**fields: Any) -> Manifest:
    return run({"agent": {"parameters": fields}})


def pod(**fields: Any) -> Manifest:
    return run({"agent": {"pod": fields}})


def limits(**fields: Any) -> Manifest:
    return run({"agent": {"resources": {"limits": fields}}})


def workspace(**fields: Any) -> Manifest:
    return run({"agent": {"workspace": fields}})


DECIMAL = r"should match '^[0-9]{1,6}(\.[0-9]{1,6})?$'"

REFUSED = [
    pytest.param(lane({"endpoint": None}), "spec.endpoint: Required value", id="a lane without an endpoint"),
    pytest.param(lane({"endpoint": {"url": None}}), "spec.endpoint.url: Required value", id="an endpoint without a URL", marks=pytest.mark.row("S0.24")),
    pytest.param(lane({"endpoint": {"url": "http://" + "a" * 506}}), "spec.endpoint.url: Too long", id="a URL of 513 characters"),
    pytest.param(lane({"endpoint": {"server": "ollama"}}), 'Unsupported value: "ollama": supported values: "vLLM", "Ollama"', id="a server in the wrong case"),
    pytest.param(apis({"name": "Chat"}), 'Unsupported value: "Chat": supported values: "ChatCompletions"', id="an API that nobody speaks"),
    pytest.param(apis({"name": "Messages"}, {"name": "Messages"}), "spec.endpoint.apis[1]: Duplicate value", id="an API twice"),
    pytest.param(apis({"name": "Messages", "path": "v1/messages"}), "spec.endpoint.apis[0].path in body should match", id="a path that is not absolute"),
    pytest.param(apis({"name": "Messages", "path": "/a/../b"}), "spec.endpoint.apis[0].path in body should match", id="a path that goes up"),
    pytest.param(apis({"name": "Messages", "path": "/a?b"}), "spec.endpoint.apis[0].path in body should match", id="a path with a query"),
    pytest.param(apis({"name": "Messages", "path": "/a/"}), "spec.endpoint.apis[0].path in body should match", id="a path with a slash at its end"),
    pytest.param(header(name="X Team"), "spec.endpoint.headers[0].name in body should match", id="a header's name with a space"),
    pytest.param(header(value="a\nb"), "spec.endpoint.headers[0].value in body should match", id="a header of two lines"),
    pytest.param(header(value="\u00e9"), "spec.endpoint.headers[0].value in body should match", id="a header that is not ASCII"),
    pytest.param(models(0), "spec.models in body should have at least 1 items", id="a lane without models"),
    pytest.param(models(65), "spec.models: Too many: 65: must have at most 64 items", id="a lane with 65 models"),
    pytest.param(lane({"models": [{"name": "m"}, {"name": "m"}]}), 'spec.models[1]: Duplicate value: {"name":"m"}', id="a model twice"),
    pytest.param(lane({"capacity": {"runs": 0}}), "spec.capacity.runs in body should be greater than or equal to 1", id="no slots at all: suspend the lane instead"),
    pytest.param(lane({"capacity": {"runs": 10001}}), "spec.capacity.runs in body should be less than or equal to 10000", id="10001 slots"),
    pytest.param(lane({"capacity": {"runs": "4"}}), "spec.capacity.runs in body must be of type integer", id="slots as a string"),
    pytest.param(lane({"suspend": "yes"}), "spec.suspend in body must be of type boolean", id="a word for a boolean"),
    pytest.param(lane({"allowedNamespaces": {"from": "Selector"}}), 'supported values: "Same", "All"', id="a choice that is not there yet"),
    pytest.param(lane({"timeouts": {"requestSeconds": 86401}}), "should be less than or equal to 86400", id="a time-out of over a day"),
    pytest.param(price(2.5), "must be of type integer,string", id="a price with decimals and without quotes"),
    pytest.param(price("-1"), DECIMAL, id="a price below 0"),
    pytest.param(price(-1), "should be greater than or equal to 0", id="a price below 0 without quotes"),
    pytest.param(price("1e3"), DECIMAL, id="a price with an exponent"),
    pytest.param(price("1000000"), DECIMAL, id="a price of a million"),
    pytest.param(price(1000000), "should be less than or equal to 999999", id="a price of a million without quotes"),
    pytest.param(run({"retry": {"policy": "Always"}}), 'Unsupported value: "Always": supported values: "None", "Same"', id="a policy that is not there"),
    pytest.param(run({"retry": {"policy": "Same", "maxRetries": 1001}}), "should be less than or equal to 1000", id="1001 retries"),
    pytest.param(run({"rounds": {"max": 0}}), "spec.rounds.max in body should be greater than or equal to 1", id="no round at all"),
    pytest.param(run({"rounds": {"delaySeconds": -1}}), "should be greater than or equal to 0", id="a round before the end of the one before"),
    pytest.param(run({"models": None}), "spec.models: Required value", id="a run without a model"),
    pytest.param(run({"models": []}), "spec.models in body should have at least 1 items", id="a run with an empty chain"),
    pytest.param(run({"models": [{"lane": f"l{number}"} for number in range(17)]}), "spec.models: Too many: 17: must have at most 16 items", id="a chain of 17 steps"),
    pytest.param(run({"models": [{"lane": ""}]}), "should be at least 1 chars long", id="a step without a lane's name"),
    pytest.param(run({"models": [{"lane": "a" * 64}]}), "spec.models[0].lane: Too long", id="a lane's name of 64 characters"),
    pytest.param(run({"prompt": ""}), "spec.prompt in body should be at least 1 chars long", id="an empty prompt", marks=pytest.mark.row("S0.22")),
    pytest.param(run({"prompt": "a" * 98305}), "spec.prompt: Too long", id="a prompt of 96 KiB and a byte"),
    pytest.param(run({"podTTLSeconds": -1}), "should be greater than or equal to 0", id="a time to live below 0"),
    pytest.param(
        run({"ttlSecondsAfterFinished": -1}), "should be greater than or equal to 0", id="a time to stay below 0"
    ),
    pytest.param(run({"limits": {"costUSD": "-1"}}), "spec.limits.costUSD in body should match", id="a limit of money below 0"),
    pytest.param(run({"limits": {"costUSD": 2.5}}), "must be of type integer,string", id="a limit of money with decimals and without quotes"),
    pytest.param(run({"limits": {"warnPercent": 100}}), "should be less than or equal to 99", id="a warning that comes too late"),
    pytest.param(run({"limits": {"turns": 0}}), "should be greater than or equal to 1", id="no turns at all"),
    pytest.param(run({"limits": {"onReached": "Retry"}}), 'supported values: "Stop", "Fail", "Pause"', id="an answer to a limit that nobody knows", marks=pytest.mark.row("S4.24")),
    pytest.param(parameters(temperature="3"), "spec.agent.parameters.temperature in body should match", id="a temperature of 3"),
    pytest.param(parameters(temperature=3), "should be less than or equal to 2", id="a temperature of 3 without quotes"),
    pytest.param(parameters(responseFormat="yaml"), 'supported values: "text", "json_object"', id="an answer in a format that models do not know"),
    pytest.param(parameters(maxTokens=0), "should be greater than or equal to 1", id="an answer without tokens"),
    pytest.param(run({"agent": {"env": [{"name": "1A"}]}}), "spec.agent.env[0].name in body should match", id="a variable whose name begins with a digit"),
    pytest.param(run({"agent": {"env": [{"name": "A"}, {"name": "A"}]}}), "spec.agent.env[1]: Duplicate value", id="a variable twice"),
    pytest.param(limits(memory="1 GB"), "spec.agent.resources.limits.memory in body should match", id="a quantity that is none"),
    pytest.param(limits(cpu=0.5), "must be of type integer,string", id="half a cpu without quotes"),
    pytest.param(workspace(), "spec.agent.workspace.size: Required value", id="a workspace of no size"),
    pytest.param(workspace(size="-1Gi"), "spec.agent.workspace.size in body should match", id="a workspace below 0"),
    pytest.param(workspace(size="10m"), "spec.agent.workspace.size in body should match", id="a workspace in thousandths of a byte"),
    pytest.param(workspace(size="10GB"), "spec.agent.workspace.size in body should match", id="a workspace in a unit that Kubernetes does not know"),
    pytest.param(workspace(size="1Gi", storageClassName="Fast"), "spec.agent.workspace.storageClassName in body should match", id="a storage class with a capital letter"),
    pytest.param(workspace(size="1Gi", storageClassName=""), "should be at least 1 chars long", id="a storage class without a name"),
    pytest.param(pod(securityContext={"runAsUser": 0}), "should be greater than or equal to 1", id="an agent that is root"),
    pytest.param(pod(labels={"a": "b" * 64}), "spec.agent.pod.labels.a: Too long", id="a label of 64 characters"),
    pytest.param(pod(labels={f"l{n}": "x" for n in range(33)}), "spec.agent.pod.labels: Too many: 33", id="33 labels"),
    pytest.param(pod(tolerations=[{"effect": "Maybe"}]), "spec.agent.pod.tolerations[0].effect in body should match", id="an effect that no taint has"),
]  # fmt: skip

ACCEPTED = [
    pytest.param(lane({"endpoint": {"url": "http://" + "a" * 505}}), id="a URL of 512 characters"),
    pytest.param(apis({"name": "GenerateContent", "path": "/v1beta1/publishers/google/models"}), id="a path of one's own"),
    pytest.param(header(value="org-1 (team a)"), id="a header with spaces inside"),
    pytest.param(models(64), id="a lane with 64 models"),
    pytest.param(lane({"capacity": {"runs": 1}}), id="one slot"),
    pytest.param(lane({"capacity": {"runs": 10000}}), id="10000 slots"),
    pytest.param(price(5), id="a whole price without quotes"),
    pytest.param(price("999999.999999"), id="the highest price"),
    pytest.param(run({"prompt": "a" * 98304}), id="a prompt of 96 KiB"),
    pytest.param(run({"podTTLSeconds": 0}), id="pods that go at once"),
    pytest.param(run({"limits": {"costUSD": "2.50", "tokens": 1000, "turns": 12, "activeSeconds": 60, "warnPercent": 99, "onReached": "Pause"}}), id="all limits", marks=pytest.mark.row("S4.24", "S4.25")),
    pytest.param(parameters(temperature="2.999"), id="the highest temperature"),
    pytest.param(parameters(temperature=0), id="a temperature of 0 without quotes"),
    pytest.param(limits(cpu=1, memory="512Mi"), id="quantities with and without quotes"),
    pytest.param(workspace(size="10Gi"), id="a workspace of the default class"),
    pytest.param(workspace(size="1.5Ti", storageClassName="fast.example"), id="a workspace of a class"),
    pytest.param(pod(securityContext={"runAsUser": 1000}), id="an agent that is not root"),
    pytest.param(pod(affinity={"nodeAffinity": {"anything": [1]}}), id="an affinity, which the pod's creation judges"),
]  # fmt: skip


def resource_of(manifest: Manifest) -> Any:
    return AGENT_RUNS if manifest["kind"] == "AgentRun" else MODEL_LANES


@pytest.mark.parametrize(("manifest", "words"), REFUSED)
async def test_the_api_server_refuses(kube: Kube, namespace: str, manifest: Manifest, words: str) -> None:
    with pytest.raises(Invalid) as refusal:
        await kube.create(resource_of(manifest), namespace, manifest)
    assert words in refusal.value.message


@pytest.mark.parametrize("manifest", ACCEPTED)
async def test_the_api_server_accepts_and_keeps(kube: Kube, namespace: str, manifest: Manifest) -> None:
    stored = await kube.create(resource_of(manifest), namespace, manifest)
    assert contains(stored["spec"], manifest["spec"])


def contains(whole: Any, part: Any) -> bool:
    """Whether every field of ``part`` is in ``whole`` with its value; defaults may be added."""
    if isinstance(part, dict):
        return all(key in whole and contains(whole[key], value) for key, value in part.items())
    if isinstance(part, list):
        return len(whole) == len(part) and all(contains(*pair) for pair in zip(whole, part, strict=True))
    return bool(whole == part)
