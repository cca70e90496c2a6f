"""The AgentRun that the flags of ``kubectl laneway submit`` describe. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from laneway.api.base import API_VERSION
from laneway.cli.spans import span_of

JsonObject: TypeAlias = dict[str, Any]

_STEP_PARTS = 2
_MADE_NAME = "run-"


@dataclass(frozen=True)
class Described:
    """What the flags say."""

    prompt: str
    lanes: Sequence[str]
    """Steps of the chain, in order: LANE or NAMESPACE/LANE."""
    namespace: str
    models: Sequence[str] = ()
    """Models of these steps: none, or one for each."""
    name: str | None = None
    generate_name: str | None = None
    title: str | None = None
    caller: str | None = None
    priority: int | None = None
    preset: str | None = None
    image: str | None = None
    env: Sequence[str] = ()
    """NAME=VALUE each."""
    labels: Sequence[str] = ()
    """KEY=VALUE each."""
    limit_cost: str | None = None
    limit_tokens: int | None = None
    limit_turns: int | None = None
    ttl: str | None = None
    """A span: how long the run stays once it is finished."""


def manifest_of(described: Described) -> JsonObject:
    """The manifest; what no flag says is left to the API's defaults. Raises ValueError with a sentence."""
    meta: JsonObject = (
        {"name": described.name} if described.name else {"generateName": described.generate_name or _MADE_NAME}
    )
    meta["namespace"] = described.namespace
    if described.labels:
        meta["labels"] = dict(_pair("--label", one) for one in described.labels)
    spec = {
        "title": described.title,
        "prompt": described.prompt,
        "models": _steps(described),
        "agent": _agent(described),
        "caller": described.caller,
        "priority": described.priority,
        "limits": _limits(described),
        "ttlSecondsAfterFinished": None if described.ttl is None else int(span_of(described.ttl).total_seconds()),
    }
    return {
        "apiVersion": API_VERSION,
        "kind": "AgentRun",
        "metadata": meta,
        "spec": {name: value for name, value in spec.items() if value not in (None, {})},
    }


def _steps(described: Described) -> list[JsonObject]:
    if len(described.models) not in {0, len(described.lanes)}:
        raise ValueError(
            f"--model must be given as often as --lane, in the same order, or not at all; lanes: {len(described.lanes)},"
            f" models: {len(described.models)}"
        )
    steps = [_lane(one) for one in described.lanes]
    return (
        [{**step, "model": model} for step, model in zip(steps, described.models, strict=True)]
        if described.models
        else steps
    )


def _lane(text: str) -> JsonObject:
    parts = text.split("/")
    if len(parts) > _STEP_PARTS or not all(parts):
        raise ValueError(f"--lane must be LANE or NAMESPACE/LANE, not {text!r}")
    return {"lane": parts[0]} if len(parts) == 1 else {"lane": parts[1], "namespace": parts[0]}


def _agent(described: Described) -> JsonObject:
    preset = described.preset or ("generic" if described.image else None)
    env = [dict(zip(("name", "value"), _pair("--env", one), strict=True)) for one in described.env]
    agent = {"preset": preset, "image": described.image, "env": env}
    return {name: value for name, value in agent.items() if value}


def _limits(described: Described) -> JsonObject:
    limits = {"costUSD": described.limit_cost, "tokens": described.limit_tokens, "turns": described.limit_turns}
    return {name: value for name, value in limits.items() if value is not None}


def _pair(flag: str, text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ValueError(f"{flag} must be NAME=VALUE, not {text!r}")
    return name, value
