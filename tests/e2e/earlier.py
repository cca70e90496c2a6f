"""The release of an earlier commit: its own chart and its own image, as they were."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from e2e.commands import HACK, ROOT, run
from e2e.release import SYSTEM

COMMIT = os.environ.get("UPGRADE_FROM", "HEAD^")
_PROGRAMS = ("bin", "src")


@dataclass(frozen=True)
class Earlier:
    """What an upgrade begins from."""

    commit: str
    """Which commit it is of; empty where the tree has no history: then it is this tree's own, and only its pods are others."""
    chart: Path
    image: str


def earlier_release(folder: Path) -> Earlier:
    """The chart of the commit, and its image on the node."""
    tree = folder / "tree"
    commit = _unpack(tree)
    reference, archive = run(
        "env",
        f"LANEWAY_CACHE={_cache(folder)}",
        str((tree if commit else ROOT) / "hack" / "image"),
        "laneway",
        seconds=600,
    ).split()[-2:]
    run(str(HACK / "cluster"), "load-image", archive, seconds=120)
    return Earlier(commit, (tree if commit else ROOT) / "helm" / "laneway", reference)


def install(earlier: Earlier) -> None:
    """Bring the release to the earlier commit. The annotation makes sure that an upgrade replaces every pod, whatever has changed."""
    notes = {f"{component}.podAnnotations.release": "earlier" for component in ("operator", "gateway")}
    _upgrade(earlier.chart, earlier.image, notes)


def upgrade(image: str) -> None:
    """Bring the release to this tree's chart and image, with the values that the demo gives."""
    _upgrade(ROOT / "helm" / "laneway", image, {})


def _upgrade(chart: Path, image: str, more: dict[str, str]) -> None:
    repository, tag = image.rsplit(":", 1)
    values = {"image.repository": repository, "image.tag": tag, **more}
    words = [word for name, value in values.items() for word in ("--set", f"{name}={value}")]
    run(
        "helm", "upgrade", "laneway", str(chart), "--namespace", SYSTEM, "--wait", "--timeout=180s", *words, seconds=200
    )


def _unpack(tree: Path) -> str:
    """The commit's files; answers its id, or nothing where there is no such commit."""
    git = ("git", "-C", str(ROOT))
    known = subprocess.run([*git, "rev-parse", "--short", COMMIT], capture_output=True, text=True, check=False)
    if known.returncode != 0:
        return ""
    tree.mkdir()
    archive = tree.with_suffix(".tar")
    subprocess.run([*git, "archive", "--output", str(archive), COMMIT], check=True)
    with tarfile.open(archive) as files:
        files.extractall(tree, filter="tar")
    return known.stdout.strip()


def _cache(folder: Path) -> Path:
    """A cache for building the other image: the layers that both have are there, and what is made does not replace ours."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    ours = Path(os.environ.get("LANEWAY_CACHE") or Path(base) / "laneway").absolute()
    cache = folder / "cache"
    cache.mkdir()
    for name in _PROGRAMS:
        (cache / name).symlink_to(ours / name)
    if (ours / "layers").is_dir():
        shutil.copytree(ours / "layers", cache / "layers", copy_function=os.link)
    return cache
