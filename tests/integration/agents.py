"""The agent's side where pods are played: model servers that the gateway may reach, and calls with the token of a pod."""

from __future__ import annotations

import socket
from typing import Any

import aiohttp

from integration.operators import Program, Stage
from laneway.kube.resources import SECRETS, JsonObject
from modelserver import ModelServer


def reachable_server(**script: Any) -> ModelServer:
    """A model server on an address of this machine that is not loopback: the gateway refuses that one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return ModelServer(host=probe.getsockname()[0], **script)


async def add_lane(stage: Stage, server: ModelServer, *, name: str = "local", **spec: Any) -> JsonObject:
    """A Gateway lane whose endpoint is the scripted server, probed every second."""
    endpoint = {"url": server.url, "server": "Other"}
    given = {"access": "Gateway", "endpoint": endpoint, "probe": {"periodSeconds": 1}, **spec}
    return await stage.add_lane(given, name=name)


async def start_both(stage: Stage) -> Program:
    """The operator, which makes the token keys, and then the gateway; answers the gateway."""
    stage.listen()
    stage.start()

    async def has_keys() -> bool:
        listing = await stage.kube.list(SECRETS, namespace=stage.namespace)
        return bool(listing.items)

    await stage.until(has_keys, answer=True)
    return stage.start_gateway()


async def call(stage: Stage, pod: JsonObject) -> tuple[int, Any]:
    """One model call, as the agent in the pod would make it."""
    return await call_with(stage, token_of(pod))


async def call_with(stage: Stage, token: str) -> tuple[int, Any]:
    """One model call with this token."""
    headers = {"Authorization": f"Bearer {token}"}
    body = {"model": "any", "messages": [{"role": "user", "content": "hi"}]}
    url = stage.settings["LANEWAY_GATEWAY_URL"] + "/v1/chat/completions"
    async with aiohttp.ClientSession() as session, session.post(url, json=body, headers=headers) as answer:
        return answer.status, await answer.json()


def token_of(pod: JsonObject) -> str:
    """The token that an agent finds in its pod."""
    [container] = pod["spec"]["containers"]
    return next(str(variable["value"]) for variable in container["env"] if variable["name"] == "LANEWAY_TOKEN")
