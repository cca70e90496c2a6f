"""The ways to the mock: straight, through the gateway, through aiohttp that does nothing but pass on, through LiteLLM's proxy. All are real processes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from bench.load import FAST, PACED, Place, alone
from bench.programs import Program, port_answers, python, read
from bench.stand import Stand
from integration.operators import free_ports

_LITELLM_SECONDS = 120.0
_LITELLM_KEY = "sk-bench"
_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Door:
    """Where the load sends its calls."""

    name: str
    address: str
    tokens: Mapping[str, Sequence[str]]
    """By model."""
    program: Program | None = None
    """None: nothing stands between."""


def straight(mock: Place) -> Door:
    """The mock itself."""
    return Door("direct", str(mock), {FAST: ["none"], PACED: ["none"]})


async def gateway(stand: Stand, *, profile: Path | None = None) -> Door:
    """``laneway gateway`` as it is shipped: tokens and addresses checked, its lane, its ledger, its metrics. Answers when it is ready."""
    door, ready = start_gateway(stand, profile=profile)
    if door.program is None:
        raise RuntimeError("the gateway is a program")
    await door.program.until(lambda: _answers(ready))
    return door


def start_gateway(stand: Stand, *, profile: Path | None = None, ports: Sequence[int] | None = None) -> tuple[Door, str]:
    """The same just started, and where it says that it is ready. ``ports``: for calls, operator and metrics; with the same ones it goes on with its ledger."""
    calls, control, shown = ports or free_ports(3)
    env = {
        "KUBECONFIG": stand.kubeconfig,
        "LANEWAY_POD_NAMESPACE": stand.namespace,
        "LANEWAY_WATCH_NAMESPACES": stand.namespace,
        "LANEWAY_CALL_PORT": str(calls),
        "LANEWAY_OPERATOR_PORT": str(control),
        "LANEWAY_METRICS_PORT": str(shown),
        "LANEWAY_LEDGER_PATH": str(ledger_of(stand, calls)),
    }
    program = Program(alone(python("laneway", "gateway", profile=profile)), stand.folder / "gateway.log", env)
    return Door("gateway", f"{_LOOPBACK}:{calls}", stand.tokens, program), f"http://{_LOOPBACK}:{shown}/readyz"


def ledger_of(stand: Stand, port: int) -> Path:
    """The ledger of the gateway that serves calls at a port."""
    return stand.folder / f"ledger-{port}.db"


async def bare(mock: Place, folder: Path) -> Door:
    """aiohttp on both sides, and nothing else."""
    [own] = free_ports(1)
    command = python("bench.bare", str(own), f"http://{mock}")
    program = Program(alone(command), folder / "bare.log")
    await program.until(lambda: port_answers(_LOOPBACK, own))
    return Door("bare aiohttp", f"{_LOOPBACK}:{own}", {FAST: ["none"], PACED: ["none"]}, program)


async def litellm(mock: Place, folder: Path, command: Path) -> Door:
    """LiteLLM's proxy with one worker and a master key, without a database."""
    [own] = free_ports(1)
    served = [
        {
            "model_name": model,
            "litellm_params": {
                "model": f"openai/{model}",
                "api_base": f"http://{mock}/v1",
                "api_key": "none",
            },
        }
        for model in (FAST, PACED)
    ]
    config = folder / "litellm.yaml"
    config.write_text(json.dumps({"model_list": served, "general_settings": {"master_key": _LITELLM_KEY}}))
    arguments = ["--config", str(config), "--host", _LOOPBACK, "--port", str(own), "--num_workers", "1"]
    env = {"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "PYTHONPATH": ""}
    program = Program(alone([str(command), *arguments]), folder / "litellm.log", env)
    await program.until(lambda: _answers(f"http://{_LOOPBACK}:{own}/health/liveliness"), seconds=_LITELLM_SECONDS)
    return Door("LiteLLM", f"{_LOOPBACK}:{own}", {FAST: [_LITELLM_KEY], PACED: [_LITELLM_KEY]}, program)


async def answers_a_call(door: Door) -> bool:
    """Whether a model call comes through."""
    headers = {"Authorization": f"Bearer {door.tokens[FAST][0]}"}
    body = {"model": FAST, "messages": [{"role": "user", "content": "hi"}]}
    url = f"http://{door.address}/v1/chat/completions"
    try:
        async with aiohttp.ClientSession() as session, session.post(url, json=body, headers=headers) as answer:
            return answer.ok
    except aiohttp.ClientError:
        return False


async def _answers(url: str) -> bool:
    return bool(await read(url))
