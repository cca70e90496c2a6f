"""A gateway in process: views filled by hand, a scripted model server on loopback, both ports on free ports."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from laneway.api.gatewaystate import AttemptState, GatewayState
from laneway.gateway.calls.classifying import Classifying
from laneway.gateway.calls.tools import Tools
from laneway.gateway.client.bodies import Bodies
from laneway.gateway.client.patience import runner_of
from laneway.gateway.cluster.tokens import Authenticator, KeyRing
from laneway.gateway.cluster.views import Views
from laneway.gateway.ledger.ledger import CallEnd, CallStart, Ledger, open_ledger
from laneway.gateway.money.purse import Purse
from laneway.gateway.money.spends import Spends
from laneway.gateway.ports.agents import CallPort
from laneway.gateway.ports.operators import OperatorPort
from laneway.gateway.state.state import Clock, State
from laneway.gateway.upstream.addresses import AddressPolicy
from laneway.gateway.upstream.credentials import Credentials
from laneway.gateway.upstream.upstream import Upstream, open_upstream
from laneway.rules.pricing import Prices
from laneway.rules.token import AttemptId, TokenKeys, operator_secret, sign
from laneway.rules.usage import Usage

KEYS = TokenKeys(current="k1", keys={"k1": b"1" * 32, "k0": b"0" * 32})
OPERATOR = operator_secret(KEYS.keys["k1"])
ATTEMPT = AttemptId(run_uid="run-uid-1", attempt=1)

PRICES = Prices(input=2_500_000, output=10_000_000, cache_read=2_500_000, cache_write=2_500_000)
METERED = Usage(120, 30)
PAST_MS = 1_800_000_000_000

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
JsonObject = dict[str, Any]


def utc_now() -> datetime:
    return datetime.now(UTC)


def run_object(
    *,
    uid: str = ATTEMPT.run_uid,
    attempt: int = ATTEMPT.attempt,
    namespace: str = "agents",
    finished: bool = False,
    model: str = "smollm2",
    lane: str = "lane",
    lane_namespace: str = "agents",
    version: int = 1,
) -> JsonObject:
    conditions = [{"type": "Finished", "status": "True", "reason": "Completed"}] if finished else []
    step = {"lane": lane, "namespace": lane_namespace, "model": model}
    return {
        "metadata": {"namespace": namespace, "name": f"run-{uid}", "uid": uid, "resourceVersion": str(version)},
        "status": {"attempt": attempt, "step": step, "conditions": conditions},
    }


def pod_object(
    *,
    uid: str = ATTEMPT.run_uid,
    attempt: int = ATTEMPT.attempt,
    address: str | None = "127.0.0.1",
    version: int = 1,
    phase: str = "Running",
) -> JsonObject:
    labels = {"laneway.dev/run-uid": uid, "laneway.dev/attempt": str(attempt), "laneway.dev/run": f"run-{uid}"}
    name = f"pod-{uid}-{attempt}"
    return {
        "metadata": {
            "namespace": "agents",
            "name": name,
            "uid": name,
            "resourceVersion": str(version),
            "labels": labels,
        },
        "status": {"phase": phase, "podIPs": [{"ip": address}] if address else []},
    }


def lane_object(url: str, *, server: str = "vLLM", version: int = 1, generation: int = 1, **spec: Any) -> JsonObject:
    """A lane that tries each call once, unless ``retry`` says otherwise."""
    endpoint = {"url": url, "server": server, **spec.pop("endpoint", {})}
    whole = {"endpoint": endpoint, "models": [{"name": "smollm2"}], "retry": {"maxRetries": 0}, **spec}
    meta = {"namespace": "agents", "name": "lane", "uid": "lane-uid", "resourceVersion": str(version)}
    return {"metadata": {**meta, "generation": generation}, "spec": whole}


def secret_object(key: str, *, labelled: bool = True) -> JsonObject:
    labels = {"laneway.dev/credential": "true"} if labelled else {}
    return {"metadata": {"labels": labels}, "data": {"apiKey": base64.b64encode(key.encode()).decode()}}


def call_start(
    call: str, *, attempt: AttemptId = ATTEMPT, at: int = PAST_MS, reserved: tuple[int, int, int | None] = (0, 0, None)
) -> CallStart:
    return CallStart(
        id=call,
        run_uid=attempt.run_uid,
        attempt=attempt.attempt,
        namespace="agents",
        caller="ci",
        lane_namespace="models",
        lane="lane",
        model="m",
        wire_api="Messages",
        started_ms=at,
        reserved_input_tokens=reserved[0],
        reserved_output_tokens=reserved[1],
        reserved_micro_usd=reserved[2],
    )


def call_end(
    *,
    usage: Usage = METERED,
    prices: Prices | None = PRICES,
    cost: int | None = 600,
    cause: str | None = None,
    turn: bool = True,
    metered: bool = True,
    at: int = PAST_MS + 5,
) -> CallEnd:
    return CallEnd(
        ended_ms=at,
        status=200 if turn else 503,
        cause=cause,
        finish_reason="stop" if turn else None,
        turn=turn,
        metered=metered,
        usage=usage,
        prices=prices,
        cost_micro_usd=cost,
    )


@dataclass
class Kit:
    """A running gateway and what stands around it."""

    url: str
    operator_url: str
    views: Views
    state: State
    ledger: Ledger
    upstream: Upstream
    credentials: Credentials
    client: aiohttp.ClientSession
    server_url: str
    secrets: dict[str, JsonObject]
    confirmed: list[AttemptId] = field(default_factory=list)

    def headers(self, attempt: AttemptId = ATTEMPT) -> dict[str, str]:
        return {"Authorization": f"Bearer {sign(KEYS, attempt)}"}

    def post(self, path: str, body: Any, headers: Mapping[str, str] | None = None) -> Any:
        return self.client.post(self.url + path, json=body, headers={**self.headers(), **(headers or {})})

    async def read_state(self, **query: str) -> GatewayState:
        async with self.client.get(self.operator_url + "/v1/state", params=query, headers=_operator()) as answer:
            assert answer.status == 200, await answer.text()
            return GatewayState.model_validate_json(await answer.text())

    async def close(self, attempt: AttemptId = ATTEMPT) -> AttemptState:
        status, text = await self.ask_to_close(attempt)
        assert status == 200, text
        return AttemptState.model_validate_json(text)

    async def ask_to_close(self, attempt: AttemptId = ATTEMPT) -> tuple[int, str]:
        path = f"/v1/attempts/{attempt.run_uid}/{attempt.attempt}/close"
        async with self.client.post(self.operator_url + path, headers=_operator()) as answer:
            return answer.status, await answer.text()


def _operator() -> dict[str, str]:
    return {"Authorization": f"Bearer {OPERATOR}"}


def allow_all(address: object) -> bool:
    return True


async def serve(stack: AsyncExitStack, app: web.Application, *, head_seconds: float = 30.0) -> str:
    runner = runner_of(app, head_seconds=head_seconds, shutdown_seconds=0.2)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    return f"http://127.0.0.1:{runner.addresses[0][1]}"


@asynccontextmanager
async def gateway(
    folder: Path,
    server: Handler,
    *,
    policy: AddressPolicy = allow_all,
    confirm: Callable[[Kit], Awaitable[bool]] | None = None,
    hold_seconds: float = 10.0,
    seen: bool = True,
    lane: Mapping[str, Any] | None = None,
    clock: Clock = utc_now,
    bodies: Bodies | None = None,
    head_seconds: float = 30.0,
    classify_seconds: float = 30.0,
    **tools_used: Any,
) -> AsyncIterator[Kit]:
    """A gateway whose lane leads to ``server``. ``seen=False``: the views know the lane only. ``tools_used``: ways to wait, and chance."""
    async with AsyncExitStack() as stack:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", server)
        server_url = await serve(stack, app)
        ledger, past = open_ledger(folder / "ledger.sqlite", now_ms=int(time.time() * 1000))
        stack.push_async_callback(ledger.close)
        upstream = await stack.enter_async_context(open_upstream(policy))
        secrets: dict[str, JsonObject] = {}

        async def read_secret(namespace: str, name: str) -> JsonObject | None:
            return secrets.get(name)

        async def read_keys() -> TokenKeys:
            return KEYS

        views, state, keys = Views(), State(clock=clock, past=past), KeyRing(read_keys)
        credentials = Credentials(read_secret)
        purse = Purse(state, Spends(clock, {}))
        views.on_run += [purse.look, state.look]
        views.on_lane.append(purse.look_at_lane)
        tools = Tools(
            upstream=upstream,
            credentials=credentials,
            ledger=ledger,
            state=state,
            purse=purse,
            clock=clock,
            **tools_used,
        )
        kit: Kit

        async def ask(attempt: AttemptId) -> bool:
            kit.confirmed.append(attempt)
            return True if confirm is None else await confirm(kit)

        authenticator = Authenticator(keys=keys, views=views, confirm=ask, hold_seconds=hold_seconds)
        calls = CallPort(tools=tools, views=views, authenticator=authenticator, bodies=bodies)
        url = await serve(stack, calls.app(), head_seconds=head_seconds)
        classifying = Classifying(tools=tools, views=views, seconds=classify_seconds)
        operator_url = await serve(stack, OperatorPort(tools=tools, keys=keys, classifying=classifying).app())
        client = await stack.enter_async_context(aiohttp.ClientSession())
        kit = Kit(url, operator_url, views, state, ledger, upstream, credentials, client, server_url, secrets)
        views.lanes.put(lane_object(server_url, **(lane or {})))
        if seen:
            views.runs.put(run_object())
            views.pods.put(pod_object())
        yield kit


async def eventually(check: Callable[[], bool], *, seconds: float = 5.0) -> None:
    """Until it is so; fails after a deadline."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.005)
