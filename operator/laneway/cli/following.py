"""Waits for something to become true of a run, by a watch on it alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from datetime import UTC, datetime

from laneway.cli.asking import asked_of
from laneway.cli.door import CommandError, Door
from laneway.cli.why import Asked
from laneway.kube.errors import Gone, NotFound, Unavailable
from laneway.kube.resources import AGENT_RUNS, JsonObject

_PAUSE_SECONDS = 1.0


async def until(door: Door, obj: JsonObject, true: Callable[[Asked], bool]) -> JsonObject:
    """Wait, however long, until something is true of a run; answers the run as it is then. An API server that is away is waited for.

    Raises CommandError if the run is deleted, also if another one has its name by then; KubeError for what does not pass.
    """
    while True:
        try:
            obj = await _same(door, obj)
            if true(asked_of(obj, datetime.now(UTC))):
                return obj
            found = await _watched(door, obj, true)
            if found is not None:
                return found
        except Gone:
            continue
        except Unavailable:
            await asyncio.sleep(_PAUSE_SECONDS)


async def _same(door: Door, obj: JsonObject) -> JsonObject:
    """The run as it is now."""
    meta = obj["metadata"]
    try:
        now = await door.kube.get(AGENT_RUNS, meta["namespace"], meta["name"])
    except NotFound as error:
        raise _deleted(obj) from error
    if now["metadata"]["uid"] != meta["uid"]:
        raise _deleted(obj)
    return now


async def _watched(door: Door, obj: JsonObject, true: Callable[[Asked], bool]) -> JsonObject | None:
    """The run once it is true; None when the watch has ended before, as it does each minute."""
    meta = obj["metadata"]
    events = door.kube.watch(
        AGENT_RUNS,
        namespace=meta["namespace"],
        field_selector=f"metadata.name={meta['name']}",
        resource_version=meta["resourceVersion"],
    )
    async with aclosing(events):
        async for event in events:
            if event.type == "BOOKMARK":
                continue
            if event.type == "DELETED" or event.object["metadata"]["uid"] != meta["uid"]:
                raise _deleted(obj)
            if true(asked_of(event.object, datetime.now(UTC))):
                return event.object
    return None


def _deleted(obj: JsonObject) -> CommandError:
    return CommandError(f"{obj['metadata']['name']} was deleted")
