"""``kubectl laneway retry``: a new run with the spec of one that has ended. The old one is never touched."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

from laneway.api.base import GROUP
from laneway.api.names import RETRY_OF_LABEL
from laneway.cli.asking import asked_of
from laneway.cli.door import CommandError, Door
from laneway.cli.steering import end_of
from laneway.kube.errors import AlreadyExists
from laneway.kube.resources import AGENT_RUNS, JsonObject
from laneway.rules.keeper import TRACKED_BY

_NAME_LIMIT = 52
_TRIES = 100
_NUMBERED = re.compile(r"-retry-[0-9]+$")
_OF_THE_OLD_RUN = frozenset({"activeModel", "suspend", "cancel"})
"""Fields that say what became of the old run, not what its work is; the first is refused on create."""
_TRACKED = ("app.kubernetes.io/managed-by", "app.kubernetes.io/instance", "app.kubernetes.io/part-of")


async def retry(door: Door, name: str) -> None:
    """Make the new run and print its name. Raises CommandError, KubeError."""
    old = await door.get(AGENT_RUNS, name)
    if end_of(asked_of(old, door.now)) is None:
        raise CommandError(
            f"{name} has not ended; cancel it first, or wait:"
            f" kubectl wait --for=condition=Finished agentrun/{name} -n {door.namespace}"
        )
    made = await _create(door, old)
    new = made["metadata"]["name"]
    sys.stdout.write(f"agentrun.laneway.dev/{new} created\nIt has the spec of {name}, and runs and pays anew.\n")


async def _create(door: Door, old: JsonObject) -> JsonObject:
    """Under the first name that is free."""
    for meta in _names(old):
        try:
            return await door.kube.create(AGENT_RUNS, door.namespace, new_run(old, meta))
        except AlreadyExists:
            continue
    raise CommandError(f"all {_TRIES} names for another try of {old['metadata']['name']} are taken; delete old runs")


def _names(old: JsonObject) -> Iterator[JsonObject]:
    """The API server makes the name if it made the old one's; else the next number."""
    prefix = old["metadata"].get("generateName")
    for number in range(1, _TRIES + 1):
        yield {"generateName": prefix} if prefix else {"name": retry_name(old["metadata"]["name"], number)}


def retry_name(name: str, number: int) -> str:
    """The name of a try: a try of a try counts on from the first run's name."""
    suffix = f"-retry-{number}"
    return f"{_NUMBERED.sub('', name)[: _NAME_LIMIT - len(suffix)].rstrip('-')}{suffix}"


def new_run(old: JsonObject, named: JsonObject) -> JsonObject:
    """The manifest of another try.

    Labels come along, except those by which a tool knows what it keeps: it would remove an object that its manifests do not have.
    Annotations and owners do not.
    """
    meta = old["metadata"]
    labels = {key: value for key, value in (meta.get("labels") or {}).items() if not _is_ours_or_a_tool_s(key)}
    return {
        "apiVersion": AGENT_RUNS.api_version,
        "kind": AGENT_RUNS.kind,
        "metadata": {**named, "namespace": meta["namespace"], "labels": {**labels, RETRY_OF_LABEL: meta["name"]}},
        "spec": {key: value for key, value in old["spec"].items() if key not in _OF_THE_OLD_RUN},
    }


def _is_ours_or_a_tool_s(label: str) -> bool:
    return label in _TRACKED or label.startswith((f"{GROUP}/", *TRACKED_BY, "helm.sh/"))
