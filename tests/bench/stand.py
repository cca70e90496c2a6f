"""What the gateway has to see in the API server before it carries a call: token keys, a lane, and runs with their pods."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

import manifests
from bench.api import Api
from bench.ground import new_namespace
from bench.load import FAST, PACED
from laneway.api import names
from laneway.kube.resources import AGENT_RUNS, MODEL_LANES, PODS, SECRETS, JsonObject
from laneway.rules.token import AttemptId, TokenKeys, new_secret_data, sign

_MERGE = "application/merge-patch+json"
_SECRET = "laneway-token-keys"
_RUNS = 4
"""For each model: a run may have 32 calls open."""


@dataclass(frozen=True)
class Stand:
    """A namespace with all of it."""

    kubeconfig: str
    namespace: str
    folder: Path
    tokens: dict[str, list[str]]
    """By model, one for each run."""


async def build(kubeconfig: str, folder: Path, *, server: str) -> Stand:
    """A fresh namespace whose lane leads to ``server``; its runs call from 127.0.0.1."""
    api = await Api.open(kubeconfig)
    try:
        namespace = await new_namespace(api, "calls")
        place = folder / namespace
        place.mkdir()
        ring = await put_keys(api, namespace)
        await api.send("POST", MODEL_LANES.path(namespace), _lane(server))
        tokens = {
            model: [
                sign(ring, await put_run(api, namespace, lane="mock", model=model, name=f"{model}-{number}"))
                for number in range(_RUNS)
            ]
            for model in (FAST, PACED)
        }
    finally:
        await api.close()
    return Stand(kubeconfig, namespace, place, tokens)


async def put_keys(api: Api, namespace: str) -> TokenKeys:
    """The Secret with a fresh key for tokens."""
    key = secrets.token_bytes(32)
    keys = {"metadata": {"name": _SECRET}, "data": new_secret_data(key_id="k1", key=key)}
    await api.send("POST", SECRETS.path(namespace), keys)
    return TokenKeys(current="k1", keys={"k1": key})


def _lane(server: str) -> JsonObject:
    pricing = {"inputUSDPerMillion": "1", "outputUSDPerMillion": "10"}
    models = [{"name": model, "pricing": pricing} for model in (FAST, PACED)]
    return manifests.lane({"endpoint": {"url": server, "server": "vLLM"}, "models": models}, name="mock")


async def put_run(
    api: Api, namespace: str, *, lane: str, model: str, name: str, spec: JsonObject | None = None
) -> AttemptId:
    """A run on its first attempt, and the pod of that."""
    many = {"turns": 1_000_000}  # a run that sets no limit of turns would stop at 1,000
    run = manifests.run({"models": [{"lane": lane}], "limits": many, **(spec or {})}, name=name)
    await api.send("POST", AGENT_RUNS.path(namespace), run)
    status: JsonObject = {"attempt": 1, "step": {"lane": lane, "namespace": namespace, "model": model}}
    await _set_status(api, AGENT_RUNS.path(namespace, name, "status"), status)
    attempt = AttemptId((await api.get(AGENT_RUNS.path(namespace, name)))["metadata"]["uid"], 1)
    labels = {names.RUN_LABEL: name, names.RUN_UID_LABEL: attempt.run_uid, names.ATTEMPT_LABEL: "1"}
    pod = {
        "apiVersion": PODS.api_version,
        "kind": PODS.kind,
        "metadata": {"name": name, "labels": labels},
        "spec": {"containers": [{"name": names.AGENT_CONTAINER, "image": "none"}]},
    }
    await api.send("POST", PODS.path(namespace), pod)
    address = {"phase": "Running", "podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}]}
    await _set_status(api, PODS.path(namespace, name, "status"), address)
    return attempt


async def _set_status(api: Api, path: str, status: JsonObject) -> None:
    await api.send("PATCH", path, {"status": status}, content_type=_MERGE)
