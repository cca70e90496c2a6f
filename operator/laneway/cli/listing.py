"""``kubectl laneway list`` and ``lanes``: reads, and prints as kubectl would."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import datetime

import yaml

from laneway.api.modellane import ModelLane, ModelLaneStatus
from laneway.cli.door import Door, parsed
from laneway.cli.rows import (
    COLOURS,
    LANE_HEADS,
    LANE_WIDE,
    RUN_HEADS,
    RUN_WIDE,
    NamedLane,
    accounts_by_lane,
    lane_row,
    run_row,
)
from laneway.cli.tables import table
from laneway.kube.resources import AGENT_RUNS, MODEL_LANES, JsonObject, Resource


async def runs(door: Door, *, everywhere: bool, selector: str | None, output: str | None) -> None:
    """Print the runs. Raises KubeError."""
    items = await _items(door, AGENT_RUNS, everywhere=everywhere, selector=selector)
    wide = output == "wide"
    heads = (*(("NAMESPACE",) if everywhere else ()), *RUN_HEADS, *(RUN_WIDE if wide else ()))
    rows = [run_row(obj, door.now, everywhere=everywhere, wide=wide) for obj in items]
    _print(door, items, output, everywhere=everywhere, shown=lambda: (heads, rows))


async def lanes(door: Door, *, everywhere: bool, selector: str | None, output: str | None) -> None:
    """Print the lanes. Raises CommandError, KubeError."""
    items = await _items(door, MODEL_LANES, everywhere=everywhere, selector=selector)
    wide = output == "wide"

    def shown() -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        found = [named(obj) for obj in items]
        accounts = accounts_by_lane(found)
        rows = [
            lane_row(one, accounts[one.namespace, one.name], door.now, everywhere=everywhere, wide=wide)
            for one in found
        ]
        return (*LANE_HEADS, *(LANE_WIDE if wide else ())), rows

    _print(door, items, output, everywhere=everywhere, shown=shown)


def named(obj: JsonObject) -> NamedLane:
    """A lane as the API server has it. Raises CommandError."""
    lane, meta = parsed(ModelLane, obj), obj["metadata"]
    created = datetime.fromisoformat(meta["creationTimestamp"])
    return NamedLane(meta["namespace"], meta["name"], created, lane.spec, lane.status or ModelLaneStatus())


def write_table(heads: tuple[str, ...], rows: list[tuple[str, ...]], *, colours: bool) -> None:
    """Print a table."""
    sys.stdout.write(table(heads, rows, colours=COLOURS if colours else None))


async def _items(door: Door, resource: Resource, *, everywhere: bool, selector: str | None) -> list[JsonObject]:
    """What a list has, in kubectl's order and with what kubectl shows of each object."""
    namespace = None if everywhere else door.namespace
    listing = await door.kube.list(resource, namespace=namespace, label_selector=selector)
    for obj in listing.items:
        obj["metadata"].pop("managedFields", None)
        obj.update({"apiVersion": resource.api_version, "kind": resource.kind})
    return listing.items


def _print(
    door: Door,
    items: list[JsonObject],
    output: str | None,
    *,
    everywhere: bool,
    shown: Callable[[], tuple[tuple[str, ...], list[tuple[str, ...]]]],
) -> None:
    whole = {"apiVersion": "v1", "kind": "List", "items": items, "metadata": {"resourceVersion": ""}}
    if output == "json":
        sys.stdout.write(f"{json.dumps(whole, indent=4)}\n")
    elif output == "yaml":
        sys.stdout.write(yaml.safe_dump(whole, sort_keys=False))
    elif not items:
        where = "" if everywhere else f" in {door.namespace} namespace"
        sys.stderr.write(f"No resources found{where}.\n")
    else:
        write_table(*shown(), colours=door.colours)
