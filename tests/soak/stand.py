"""What the gateway finds in the API server: lanes to the faulty server, with bounds and prices, and runs with limits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import manifests
from bench.api import Api
from bench.ground import new_namespace
from bench.stand import Stand, put_keys, put_run
from laneway.kube.resources import MODEL_LANES, JsonObject
from laneway.rules.token import operator_secret, sign
from soak.clients import Agent
from soak.modelserver import MODELS

_LANES = 4
_PLACES = 6
"""Calls of a lane in flight: fewer than call, so that some always wait."""
_RUNS = 2
"""For each model of each lane."""
PRICING = {"inputUSDPerMillion": "1", "outputUSDPerMillion": "10"}
LANE: JsonObject = {
    "models": [{"name": model, "pricing": PRICING} for model in MODELS],
    "capacity": {"calls": _PLACES},
    "retry": {"maxRetries": 1, "initialBackoffMilliseconds": 10},
    "backoff": {"rateLimitSeconds": 1, "transientSeconds": 1, "timeoutSeconds": 1, "maxSeconds": 1},
    "timeouts": {"holdSeconds": 10},
}
"""Our own estimates are short: the soak is about calls, not about waits."""
RUN: JsonObject = {"onTransientError": "Skip", "limits": {"costUSD": "100000", "turns": 1_000_000}}
"""Money is reserved for each call and never runs out. Our own estimates shut no model for these calls; a server's word does."""
WAITING: JsonObject = {**RUN, "onTransientError": "BackOff"}
"""The first lane's runs: their calls wait for a model that rests, and one goes first."""


@dataclass(frozen=True)
class Scene:
    """A namespace with all of it."""

    stand: Stand
    agents: tuple[Agent, ...]
    secret: str
    """The operator's."""


async def build(kubeconfig: str, folder: Path, *, server: str) -> Scene:
    """A fresh namespace."""
    api = await Api.open(kubeconfig)
    try:
        namespace = await new_namespace(api, "soak")
        place = folder / namespace
        place.mkdir()
        ring = await put_keys(api, namespace)
        agents = []
        for number in range(_LANES):
            lane = f"lane-{number}"
            spec = {"endpoint": {"url": server, "server": "vLLM"}, **LANE}
            await api.send("POST", MODEL_LANES.path(namespace), manifests.lane(spec, name=lane))
            for model in MODELS * _RUNS:
                name = f"run-{len(agents)}"
                attempt = await put_run(
                    api, namespace, lane=lane, model=model, name=name, spec=RUN if number else WAITING
                )
                headers = {"Authorization": f"Bearer {sign(ring, attempt)}"}
                agents.append(Agent(attempt.run_uid, model, headers))
    finally:
        await api.close()
    secret = operator_secret(ring.keys[ring.current])
    return Scene(Stand(kubeconfig, namespace, place, {}), tuple(agents), secret)
