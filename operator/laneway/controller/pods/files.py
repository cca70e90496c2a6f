"""Config files that a preset puts into the agent's container, built purely.

They travel as annotations of the pod, which a downwardAPI volume turns into files: no object is made beside the pod, and none is left behind.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from laneway.api import names
from laneway.controller.facts.presets import FILE_VARIABLES, REFERENCE

VOLUME = "laneway-files"

Files = Mapping[str, str]
"""Contents by absolute path."""


def files_of(
    files: Files, environment: Sequence[Mapping[str, Any]], mounts: Iterable[Mapping[str, Any]]
) -> dict[str, str]:
    """The files with their variables filled in as the container has them; the run's own mount wins over a file at its place or below it."""
    taken = [mount["mountPath"] for mount in mounts]
    values = {entry["name"]: entry["value"] for entry in environment if "value" in entry}
    known = {name: values.get(name, "") for name in FILE_VARIABLES}
    return {
        path: REFERENCE.sub(lambda found: known[found[1]], content)
        for path, content in sorted(files.items())
        if not any(PurePosixPath(path).is_relative_to(mount) for mount in taken)
    }


def annotations_of(files: Files) -> dict[str, str]:
    """The annotations that hold the contents."""
    return {names.file_annotation(number): content for number, content in enumerate(files.values())}


def volumes_of(files: Files) -> list[dict[str, Any]]:
    """The volume that makes files of them; none without files."""
    if not files:
        return []
    items = [
        {
            "path": str(number),
            "fieldRef": {"fieldPath": f"metadata.annotations['{names.file_annotation(number)}']"},
        }
        for number in range(len(files))
    ]
    return [{"name": VOLUME, "downwardAPI": {"defaultMode": 0o444, "items": items}}]


def mounts_of(files: Files) -> list[dict[str, Any]]:
    """Where they appear: each file alone, so that what the image has beside it stays."""
    return [
        {"name": VOLUME, "mountPath": path, "subPath": str(number), "readOnly": True}
        for number, path in enumerate(files)
    ]
