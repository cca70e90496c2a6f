"""Every CEL rule that holds at any time, on a real API server: one object refused with its sentence, one accepted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from laneway.api import crds
from laneway.kube.client import Kube
from laneway.kube.errors import Invalid
from laneway.kube.resources import AGENT_RUNS, MODEL_LANES
from manifests import Manifest, lane, run

URL = "url must be http or https with a host, without user, query or fragment"
PLAIN = (
    "a credential goes over plain http only inside the cluster (a host of one label, .svc or .svc.cluster.local),"
    " or with insecureCredential: true"
)
AUTH = "an auth other than None needs a credentialRef"
NO_KEY = "a key is not a header of the lane; use credentialRef"
OWN_HEADERS = "headers of the connection and of the body are the gateway's own"
DIRECT = "a Direct lane has no credentialRef; the run brings its own key"
DIRECT_CALLS = "a Direct lane has no capacity.calls; its runs call the server themselves"
CALL_SECONDS = "callSeconds must be 0 or at least requestSeconds + 60, so that the limit of a request speaks first"
PRICES = "inputUSDPerMillion and outputUSDPerMillion go together"
LANE_NAME = "name must be at most 63 characters without dots; pods are labelled with it"
RUN_NAME = "name must be at most 52 characters without dots; pods and labels are named after it"
PROMPT = "exactly one of prompt and promptFrom must be set"
PROMPT_SIZE = "prompt must be at most 96 KiB; use promptFrom and a volume for more"
PARAMETERS = "parameters are for the built-in agent (preset laneway) only"
SELF = "a run cannot depend on itself"
STUCK = "stuckSeconds must be less than idleSeconds"
GENERIC = "preset generic needs an image"
SIZE = "size must be over 0, for example 10Gi"
RETRIES = "policy Same goes with maxRetries of 1 or more, policy None with none"
OWN_ENV = "names that begin with LANEWAY_ are Laneway's own"
OWN_KEYS = "keys that begin with laneway.dev/ and app.kubernetes.io/managed-by are Laneway's own"
OWN_VOLUMES = "volume names that begin with laneway- are Laneway's own"
OWN_PATHS = "/laneway is Laneway's own folder"
AGENT_PATHS = "/workspace and /tmp of the agent are Laneway's own; mount below them or elsewhere"
OWN_CONTAINERS = "container names agent and those that begin with laneway- are Laneway's own"
ONE_VALUE = "set value or valueFrom, not both"
ONE_SOURCE = "exactly one of secretKeyRef and configMapKeyRef must be set"
NO_CIRCLE = "a lane does not fall back to itself; runs name several models of one lane in spec.models"
OWN_MODELS = "cooldowns name models of this lane"
CLEAR_TIME = "Clear needs setTime: failures up to then are forgotten"
HOLD_UNTIL = "only Hold has until"
SPEND_PRICES = "spend needs pricing on every model of the lane"
NO_SPEND = "a Direct lane has no spend; no gateway counts there"
OWN_TIERS = "classifier.model and all its tiers name models of this lane"
NO_CLASSIFIER = "a Direct lane has no classifier; the gateway asks it, and carries no calls there"
NO_LIMIT = "costUSD must be over 0; leave it out for no limit"
OPERATORS = "activeModel is written by the operator; remove it from the manifest"
ONE_VOLUME = "exactly one of configMap, secret, emptyDir and persistentVolumeClaim must be set"

NOON = "2026-03-01T12:00:00Z"
COOLDOWNS = "spec.cooldowns[]"
HEADER = "spec.endpoint.headers[].name"
ENDPOINT, POD, ENV = "spec.endpoint", "spec.agent.pod", "spec.agent.env"
WORKSPACE = "spec.agent.workspace.size"
INIT = f"{POD}.initContainers[]"
REF = {"name": "a", "key": "b"}
PRICED: Manifest = {"name": "m", "pricing": {"inputUSDPerMillion": "1", "outputUSDPerMillion": "2"}}


def endpoint(**fields: Any) -> Manifest:
    return lane({"endpoint": fields})


def keyed(url: str, **fields: Any) -> Manifest:
    return endpoint(url=url, credentialRef={"name": "key"}, **fields)


def headed(name: str) -> Manifest:
    return endpoint(headers=[{"name": name, "value": "a"}])


def priced(**prices: str) -> Manifest:
    return lane({"models": [{"name": "m", "pricing": prices}]})


def bounded(models: list[Manifest], **fields: Any) -> Manifest:
    return lane({"models": models, "spend": [{"namespace": "team-a", "period": "Month", "limitUSD": "5.00"}], **fields})


def sorting(model: str = "a", *, complex_tier: str = "b", **fields: Any) -> Manifest:
    tiers = {"simple": "a", "medium": "a", "complex": complex_tier}
    return lane({"models": [{"name": "a"}, {"name": "b"}], "classifier": {"model": model, "tiers": tiers}, **fields})


def cooled(model: str = "smollm2", **fields: str) -> Manifest:
    return lane({"cooldowns": [{"model": model, **fields}]})


def agent(**fields: Any) -> Manifest:
    return run({"agent": fields})


def workspace(size: Any) -> Manifest:
    return agent(workspace={"size": size})


def pod(**fields: Any) -> Manifest:
    return agent(pod=fields)


def init(**fields: Any) -> Manifest:
    return pod(initContainers=[{"name": "clone", "image": "git"} | fields])


def variable(**fields: Any) -> dict[str, Any]:
    return {"name": "A", **fields}


REFUSED = [
    pytest.param("metadata.name", lane(name="a" * 64), LANE_NAME, id="a lane whose name has 64 characters"),
    pytest.param("metadata.name", lane(name="a.b"), LANE_NAME, id="a lane whose name has a dot"),
    pytest.param(ENDPOINT, endpoint(url="ftp://host/x"), URL, id="a URL that is not http"),
    pytest.param(ENDPOINT, endpoint(url="http:///v1"), URL, id="a URL without a host"),
    pytest.param(ENDPOINT, endpoint(url="ollama:11434"), URL, id="a URL without a scheme"),
    pytest.param(ENDPOINT, endpoint(url="http://u:p@host/v1"), URL, id="a URL with a user"),
    pytest.param(ENDPOINT, endpoint(url="http://host/v1?key=a"), URL, id="a URL with a query"),
    pytest.param(ENDPOINT, endpoint(url="http://host/v1#a"), URL, id="a URL with a fragment"),
    pytest.param(ENDPOINT, keyed("http://api.example.com/v1"), PLAIN, id="a key over plain http to a public host"),
    pytest.param(ENDPOINT, keyed("http://host.svc.example.com"), PLAIN, id="a key to a host that only looks inside"),
    pytest.param(ENDPOINT, endpoint(url="http://a.svc", auth="Bearer"), AUTH, id="a way to send a key without a key"),
    pytest.param(ENDPOINT, endpoint(url="http://a.svc", auth="XGoogApiKey"), AUTH, id="Gemini's way without a key"),
    pytest.param(HEADER, headed("X-Api-Key"), NO_KEY, id="a key as a header of the lane"),
    pytest.param(HEADER, headed("Content-length"), OWN_HEADERS, id="a header of the body"),
    pytest.param("spec.timeouts.stuckSeconds", run({"timeouts": {"stuckSeconds": 1200}}), STUCK, id="stuck no sooner than idle"),
    pytest.param("spec.dependsOn", run({"dependsOn": [{"name": "other"}, {"name": "me"}]}, name="me"), SELF, id="a run that depends on itself"),
    pytest.param("spec", lane({"access": "Direct", "endpoint": {"credentialRef": {"name": "key"}}}), DIRECT, id="a Direct lane with a key"),
    pytest.param("spec", lane({"access": "Direct", "capacity": {"calls": 2}}), DIRECT_CALLS, id="a Direct lane with places for calls"),
    pytest.param("spec.timeouts", lane({"timeouts": {"requestSeconds": 30, "callSeconds": 89}}), CALL_SECONDS, id="a call that ends before its request", marks=pytest.mark.row("S2.17")),
    pytest.param("spec.fallback", lane({"fallback": [{"lane": "me", "model": "other"}]}, name="me"), NO_CIRCLE, id="a lane that falls back to itself"),
    pytest.param("spec.cooldowns", cooled("other", mode="Hold"), OWN_MODELS, id="a cooldown of a model that the lane does not have"),
    pytest.param(COOLDOWNS, cooled(mode="Clear"), CLEAR_TIME, id="a Clear that does not say when"),
    pytest.param(COOLDOWNS, cooled(mode="Clear", setTime=NOON, until=NOON), HOLD_UNTIL, id="a Clear with an end"),
    pytest.param("spec.activeModel", run({"activeModel": {"lane": "other"}}), OPERATORS, id="a new run with an active model"),
    pytest.param("spec.models[].pricing", priced(inputUSDPerMillion="1"), PRICES, id="a price of input alone"),
    pytest.param("spec.models[].pricing", priced(outputUSDPerMillion="1"), PRICES, id="a price of output alone"),
    pytest.param("spec.spend", bounded([PRICED, {"name": "other"}]), SPEND_PRICES, id="a bound on spending with a model that has no price"),
    pytest.param("spec.spend", bounded([{"name": "m", "pricing": {"cacheReadUSDPerMillion": "1"}}]), SPEND_PRICES, id="a bound on spending with a price of the cache alone"),
    pytest.param("spec.spend", bounded([PRICED], access="Direct"), NO_SPEND, id="a bound on spending where nobody counts"),
    pytest.param("spec.classifier", sorting("other"), OWN_TIERS, id="a classifier that is no model of the lane", marks=pytest.mark.row("C20")),
    pytest.param("spec.classifier", sorting(complex_tier="other"), OWN_TIERS, id="a tier that is no model of the lane", marks=pytest.mark.row("C20")),
    pytest.param("spec.classifier", sorting(access="Direct"), NO_CLASSIFIER, id="a classifier where no gateway could ask it"),
    pytest.param("spec.limits.costUSD", run({"limits": {"costUSD": "0.00"}}), NO_LIMIT, id="a limit of no money", marks=pytest.mark.row("B11")),
    pytest.param("spec.limits.costUSD", run({"limits": {"costUSD": 0}}), NO_LIMIT, id="a limit of no money without quotes", marks=pytest.mark.row("B11")),
    pytest.param("metadata.name", run(name="a" * 53), RUN_NAME, id="a run whose name has 53 characters"),
    pytest.param("metadata.name", run(name="a.b"), RUN_NAME, id="a run whose name has a dot"),
    pytest.param("spec", run({"promptFrom": {"configMapKeyRef": REF}}), PROMPT, id="a prompt twice"),
    pytest.param("spec", run({"prompt": None}), PROMPT, id="no prompt", marks=pytest.mark.row("S0.22")),
    pytest.param("spec", run({"prompt": "é" * 49153}), PROMPT_SIZE, id="a prompt of few characters with too many bytes"),
    pytest.param("spec.agent", agent(preset="generic", image="i", parameters={"stream": True}), PARAMETERS, id="parameters for an agent that is not ours"),
    pytest.param("spec.retry", run({"retry": {"policy": "Same"}}), RETRIES, id="a policy without a number of retries", marks=pytest.mark.row("S4.42")),
    pytest.param("spec.retry", run({"retry": {"maxRetries": 2}}), RETRIES, id="retries without a policy", marks=pytest.mark.row("S4.42")),
    pytest.param("spec.agent", agent(preset="generic"), GENERIC, id="any image without an image"),
    pytest.param(WORKSPACE, workspace("0.0Gi"), SIZE, id="a workspace without room"),
    pytest.param(WORKSPACE, workspace(0), SIZE, id="a workspace without room and without quotes"),
    pytest.param(ENV, agent(env=[variable(), {"name": "LANEWAY_TOKEN"}]), OWN_ENV, id="a variable with one of our names"),
    pytest.param(f"{ENV}[]", agent(env=[variable(value="x", valueFrom={"secretKeyRef": REF})]), ONE_VALUE, id="a variable with two values"),
    pytest.param(f"{ENV}[].valueFrom", agent(env=[variable(valueFrom={})]), ONE_SOURCE, id="a variable from nowhere"),
    pytest.param(f"{ENV}[].valueFrom", agent(env=[variable(valueFrom={"secretKeyRef": REF, "configMapKeyRef": REF})]), ONE_SOURCE, id="a variable from two places"),
    pytest.param(f"{POD}.labels", pod(labels={"laneway.dev/run": "x"}), OWN_KEYS, id="one of our labels"),
    pytest.param(f"{POD}.labels", pod(labels={"app.kubernetes.io/managed-by": "x"}), OWN_KEYS, id="another manager"),
    pytest.param(f"{POD}.annotations", pod(annotations={"laneway.dev/x": "x"}), OWN_KEYS, id="one of our annotations"),
    pytest.param(f"{POD}.volumes", pod(volumes=[{"name": "laneway-prompt", "emptyDir": {}}]), OWN_VOLUMES, id="one of our volumes"),
    pytest.param(f"{POD}.volumes[]", pod(volumes=[{"name": "a"}]), ONE_VOLUME, id="a volume from nowhere"),
    pytest.param(f"{POD}.volumes[]", pod(volumes=[{"name": "a", "hostPath": {"path": "/"}}]), ONE_VOLUME, id="a host path, which cannot be expressed"),
    pytest.param(f"{POD}.volumes[]", pod(volumes=[{"name": "a", "emptyDir": {}, "secret": {"secretName": "s"}}]), ONE_VOLUME, id="a volume from two places"),
    pytest.param(f"{POD}.volumeMounts", pod(volumeMounts=[{"name": "a", "mountPath": "/laneway"}]), OWN_PATHS, id="a volume over our folder"),
    pytest.param(f"{POD}.volumeMounts", pod(volumeMounts=[{"name": "a", "mountPath": "/laneway/prompt"}]), OWN_PATHS, id="a volume over our prompt"),
    pytest.param(f"{POD}.volumeMounts", pod(volumeMounts=[{"name": "a", "mountPath": "/workspace"}]), AGENT_PATHS, id="a volume over the workspace"),
    pytest.param(f"{POD}.initContainers", init(name="agent"), OWN_CONTAINERS, id="a container with the name of ours"),
    pytest.param(f"{INIT}.env", init(env=[{"name": "LANEWAY_RUN"}]), OWN_ENV, id="one of our names before the agent"),
    pytest.param(f"{INIT}.env[]", init(env=[variable(value="x", valueFrom={"secretKeyRef": REF})]), ONE_VALUE, id="two values before the agent"),
    pytest.param(f"{INIT}.env[].valueFrom", init(env=[variable(valueFrom={})]), ONE_SOURCE, id="a value from nowhere before the agent"),
    pytest.param(f"{INIT}.volumeMounts", init(volumeMounts=[{"name": "a", "mountPath": "/laneway/x"}]), OWN_PATHS, id="our folder before the agent"),
]  # fmt: skip

ACCEPTED = [
    pytest.param("spec", lane({"access": "Gateway", "capacity": {"calls": 2}}), DIRECT_CALLS, id="a lane with places for calls"),
    pytest.param("spec.timeouts", lane({"timeouts": {"requestSeconds": 30, "callSeconds": 90}}), CALL_SECONDS, id="a call that outlasts its request"),
    pytest.param("spec.timeouts", lane({"timeouts": {"requestSeconds": 30, "callSeconds": 0}}), CALL_SECONDS, id="a call without a limit"),
    pytest.param("spec.timeouts", lane({"timeouts": {"callSeconds": 10}}), CALL_SECONDS, id="a call limit alone"),
    pytest.param("metadata.name", lane(name="a" * 63), LANE_NAME, id="a lane whose name has 63 characters"),
    pytest.param(ENDPOINT, endpoint(url="https://host:8443/any/prefix/v1"), URL, id="a URL with port and prefix"),
    pytest.param(ENDPOINT, endpoint(url="http://[fd00::1]:8000"), URL, id="a URL with an IPv6 address"),
    pytest.param(ENDPOINT, keyed("https://api.example.com/v1"), PLAIN, id="a key over https to a public host"),
    pytest.param(ENDPOINT, keyed("http://vllm:8000/v1"), PLAIN, id="a key to a Service of the namespace"),
    pytest.param(ENDPOINT, keyed("http://vllm.models.svc:8000/v1"), PLAIN, id="a key to a Service"),
    pytest.param(ENDPOINT, keyed("http://vllm.models.svc.cluster.local"), PLAIN, id="a key to a Service by its full name"),
    pytest.param(ENDPOINT, keyed("http://api.example.com", insecureCredential=True), PLAIN, id="a key over plain http that was asked for"),
    pytest.param(ENDPOINT, keyed("https://a.example", auth="XApiKey"), AUTH, id="a way to send a key with a key"),
    pytest.param(ENDPOINT, endpoint(url="http://a.svc", auth="None"), AUTH, id="no key at all"),
    pytest.param(ENDPOINT, keyed("https://a.example", server="Gemini", auth="XGoogApiKey"), AUTH, id="Gemini's way with a key"),
    pytest.param(HEADER, headed("OpenAI-Organization"), NO_KEY, id="a header that names an organization"),
    pytest.param(HEADER, headed("X-Team"), OWN_HEADERS, id="a header of one's own"),
    pytest.param("spec", lane({"access": "Direct"}), DIRECT, id="a Direct lane without a key"),
    pytest.param("spec.fallback", lane({"fallback": [{"lane": "me", "namespace": "other"}]}, name="me"), NO_CIRCLE, id="a fallback to a lane of the same name elsewhere"),
    pytest.param("spec.cooldowns", cooled(mode="Hold"), OWN_MODELS, id="a hold without end"),
    pytest.param(COOLDOWNS, cooled(mode="Clear", setTime=NOON), CLEAR_TIME, id="a Clear that says when"),
    pytest.param(COOLDOWNS, cooled(mode="Hold", setTime=NOON, until=NOON), HOLD_UNTIL, id="a hold with an end"),
    pytest.param("spec.activeModel", run({"models": [{"lane": "local"}, {"lane": "other"}]}), OPERATORS, id="a new run with a chain"),
    pytest.param("spec.models[].pricing", priced(inputUSDPerMillion="0", outputUSDPerMillion="0"), PRICES, id="a model that is free"),
    pytest.param("spec.models[].pricing", priced(cacheReadUSDPerMillion="0.3"), PRICES, id="a price of the cache alone"),
    pytest.param("spec.spend", bounded([PRICED]), SPEND_PRICES, id="a bound on spending with prices"),
    pytest.param("spec.spend", bounded([PRICED], access="Gateway"), NO_SPEND, id="a bound on spending where the gateway counts"),
    pytest.param("spec.classifier", sorting(), OWN_TIERS, id="a classifier and tiers of the lane"),
    pytest.param("spec.classifier", sorting(access="Gateway"), NO_CLASSIFIER, id="a classifier where the gateway asks it"),
    pytest.param("spec.limits.costUSD", run({"limits": {"costUSD": "0.000001"}}), NO_LIMIT, id="a limit of a millionth of a dollar"),
    pytest.param("spec.limits.costUSD", run({"limits": {"costUSD": 5}}), NO_LIMIT, id="a limit of whole dollars without quotes"),
    pytest.param("metadata.name", run(name="a" * 52), RUN_NAME, id="a run whose name has 52 characters"),
    pytest.param("spec.timeouts.stuckSeconds", run({"timeouts": {"stuckSeconds": 1199}}), STUCK, id="stuck a second before idle"),
    pytest.param("spec.timeouts.stuckSeconds", run({"timeouts": {"stuckSeconds": 1200, "idleSeconds": 0}}), STUCK, id="stuck without an idle time"),
    pytest.param("spec.dependsOn", run({"dependsOn": [{"name": "other"}]}, name="me"), SELF, id="a run that depends on another"),
    pytest.param("spec", run({"prompt": None, "promptFrom": {"configMapKeyRef": REF}}), PROMPT, id="a prompt from a ConfigMap"),
    pytest.param("spec", run({"prompt": "é" * 49152}), PROMPT_SIZE, id="a prompt of exactly 96 KiB"),
    pytest.param("spec.agent", agent(parameters={"temperature": "0.7"}), PARAMETERS, id="parameters for the built-in agent, which is the default"),
    pytest.param("spec.agent", agent(preset="generic", image="busybox"), GENERIC, id="any image"),
    pytest.param("spec.retry", run({"retry": {"policy": "Same", "maxRetries": 2}}), RETRIES, id="two retries", marks=pytest.mark.row("S4.42")),
    pytest.param("spec.retry", run({"retry": {"policy": "None"}}), RETRIES, id="no retries, said aloud"),
    pytest.param("spec.retry", run({"retry": {"maxDisruptions": 3}}), RETRIES, id="a bound on disruptions alone"),
    pytest.param(WORKSPACE, workspace("0.5Gi"), SIZE, id="a workspace of half a gibibyte"),
    pytest.param(WORKSPACE, workspace(1073741824), SIZE, id="a workspace in bytes, without quotes"),
    pytest.param(ENV, agent(env=[variable(value="x"), {"name": "MY_LANEWAY_NAME"}]), OWN_ENV, id="variables with names of their own"),
    pytest.param(f"{ENV}[]", agent(env=[variable(), {"name": "B", "value": ""}]), ONE_VALUE, id="variables that are empty"),
    pytest.param(f"{ENV}[].valueFrom", agent(env=[variable(valueFrom={"secretKeyRef": REF})]), ONE_SOURCE, id="a variable from a Secret"),
    pytest.param(f"{POD}.labels", pod(labels={"team": "a", "kueue.x-k8s.io/queue-name": "b"}), OWN_KEYS, id="labels of others"),
    pytest.param(f"{POD}.annotations", pod(annotations={"example.com/a": "b"}), OWN_KEYS, id="annotations of others"),
    pytest.param(f"{POD}.volumes", pod(volumes=[{"name": "my-laneway", "emptyDir": {"sizeLimit": "1Gi"}}]), OWN_VOLUMES, id="a volume with a name of its own"),
    pytest.param(f"{POD}.volumes[]", pod(volumes=[{"name": "a", "persistentVolumeClaim": {"claimName": "c"}}]), ONE_VOLUME, id="a claim"),
    pytest.param(f"{POD}.volumeMounts", pod(volumeMounts=[{"name": "a", "mountPath": "/laneways"}]), OWN_PATHS, id="a folder whose name only begins like ours"),
    pytest.param(f"{POD}.volumeMounts", pod(volumeMounts=[{"name": "a", "mountPath": "/workspace/models"}]), AGENT_PATHS, id="a volume below the workspace"),
    pytest.param(f"{POD}.initContainers", init(name="agents"), OWN_CONTAINERS, id="a container with a name of its own"),
    pytest.param(f"{INIT}.env", init(env=[variable(value="x")]), OWN_ENV, id="a variable before the agent"),
    pytest.param(f"{INIT}.env[]", init(env=[variable(valueFrom={"configMapKeyRef": REF})]), ONE_VALUE, id="one value before the agent"),
    pytest.param(f"{INIT}.env[].valueFrom", init(env=[variable(valueFrom={"configMapKeyRef": REF})]), ONE_SOURCE, id="a value from a ConfigMap before the agent"),
    pytest.param(f"{INIT}.volumeMounts", init(volumeMounts=[{"name": "a", "mountPath": "/src"}]), OWN_PATHS, id="a folder before the agent"),
]  # fmt: skip


async def create(kube: Kube, namespace: str, manifest: Manifest) -> Manifest:
    resource = AGENT_RUNS if manifest["kind"] == "AgentRun" else MODEL_LANES
    return await kube.create(resource, namespace, manifest)


@pytest.mark.parametrize(("where", "manifest", "sentence"), REFUSED)
async def test_the_api_server_refuses(
    kube: Kube, namespace: str, where: str, manifest: Manifest, sentence: str
) -> None:
    with pytest.raises(Invalid) as refusal:
        await create(kube, namespace, manifest)
    place = re.escape(where).replace(r"\[\]", r"\[[^]]+\]")
    assert re.search(rf"{place}: Invalid value: [^\n]*{re.escape(sentence)}", refusal.value.message), (
        refusal.value.message
    )


@pytest.mark.parametrize(("where", "manifest", "sentence"), ACCEPTED)
async def test_the_api_server_accepts(
    kube: Kube, namespace: str, where: str, manifest: Manifest, sentence: str
) -> None:
    stored = await create(kube, namespace, manifest)
    assert stored["metadata"]["uid"], (where, sentence)


def rules_of(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    """Where each rule that holds on create points, and its sentence."""
    for rule in schema.get("x-kubernetes-validations", ()):
        if "oldSelf" not in rule["rule"] or rule.get("optionalOldSelf"):
            yield (path + rule.get("fieldPath", "")).lstrip("."), rule["message"]
    for name, child in schema.get("properties", {}).items():
        yield from rules_of(child, f"{path}.{name}")
    if "items" in schema:
        yield from rules_of(schema["items"], f"{path}[]")


@pytest.mark.parametrize("table", [pytest.param(REFUSED, id="refused"), pytest.param(ACCEPTED, id="accepted")])
def test_every_rule_has_a_case(table: list[Any]) -> None:
    every = {rule for kind in crds.KINDS for rule in rules_of(crds.root_schema(kind.model))}
    assert {(case.values[0], case.values[2]) for case in table} == every
