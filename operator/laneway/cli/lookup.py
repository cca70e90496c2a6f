"""Names in the cluster and in the kubeconfig, for completion. Who may not see them, or cannot reach them, gets none."""

from __future__ import annotations

from collections.abc import Mapping

from laneway.cli.door import CommandError, Door, opened
from laneway.cli.listing import named
from laneway.kube.connection import context_names
from laneway.kube.errors import KubeError
from laneway.kube.resources import AGENT_RUNS, MODEL_LANES, NAMESPACES, Resource


async def names_of(kind: str, given: Mapping[str, str]) -> list[str]:
    """The names of a kind, by the options and arguments that were given before."""
    kubeconfig, context = given.get("kubeconfig"), given.get("context")
    try:
        if kind == "context":
            return context_names(kubeconfig)
        async with opened(
            namespace=given.get("namespace"), kubeconfig=kubeconfig, context=context, colours=False
        ) as door:
            return await _asked(door, kind, given)
    except (KubeError, CommandError):
        return []


async def _asked(door: Door, kind: str, given: Mapping[str, str]) -> list[str]:
    match kind:
        case "run":
            return await _names(door, AGENT_RUNS, door.namespace)
        case "lane":
            return await _names(door, MODEL_LANES, door.namespace)
        case "model":
            home, _, lane = (given.get("lane") or given.get("lanes") or "").rpartition("/")
            found = await door.kube.get(MODEL_LANES, home or door.namespace, lane) if lane else None
            return [model.name for model in named(found).spec.models] if found else []
        case _:
            return await _names(door, NAMESPACES, None)


async def _names(door: Door, resource: Resource, namespace: str | None) -> list[str]:
    lines, _ = await door.kube.lines(resource, namespace=namespace)
    return [line.key.name for line in lines]
