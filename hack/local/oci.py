"""Writes OCI image archives by hand: no registry, no daemon, no root.

Layers are plain tar, sorted, with uid 0 and time 0, so the same input gives the same digest.
"""

import hashlib
import io
import json
import os
import platform
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"


class Layer:
    """One layer of an image, written to a file as it grows. Parent folders come by themselves, with mode 0755."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._tar = tarfile.open(file, "w", format=tarfile.PAX_FORMAT)  # noqa: SIM115 - closed by close()
        self._seen: set[str] = set()

    def file(self, source: Path, target: str) -> None:
        """Adds one file, link or folder (without what is in it) at the path `target`."""
        entry = self._enter(target)
        if entry is None:
            return
        info = self._tar.gettarinfo(str(source), entry)
        if info is None:  # a socket
            return
        info.uid = info.gid = info.mtime = 0
        info.uname = info.gname = ""
        if not info.issym():  # as if the builder's umask were 022: a folder made private here must be readable there
            info.mode = 0o755 if info.isdir() or info.mode & 0o100 else 0o644
        if info.islnk():  # no hard links: each file whole
            info.type, info.size = tarfile.REGTYPE, source.stat().st_size
        if info.isreg():
            with source.open("rb") as data:
                self._tar.addfile(info, data)
        else:
            self._tar.addfile(info)

    def text(self, target: str, content: str) -> None:
        """Adds a file with this text."""
        if (entry := self._enter(target)) is not None:
            info = tarfile.TarInfo(entry)
            info.size, info.mode = len(content.encode()), 0o644
            self._tar.addfile(info, io.BytesIO(content.encode()))

    def link(self, target: str, to: str) -> None:
        """Adds a symbolic link at `target`."""
        if (entry := self._enter(target)) is not None:
            info = tarfile.TarInfo(entry)
            info.type, info.linkname = tarfile.SYMTYPE, to
            self._tar.addfile(info)

    def folder(self, target: str, mode: int = 0o755) -> None:
        """Adds an empty folder."""
        if (entry := self._enter(target)) is not None:
            info = tarfile.TarInfo(entry)
            info.type, info.mode = tarfile.DIRTYPE, mode
            self._tar.addfile(info)

    def tree(self, source: Path, target: str) -> None:
        """Adds a folder with everything in it."""
        for top, folders, files in os.walk(source):
            folders.sort()
            here = target if top == str(source) else f"{target}/{os.path.relpath(top, source)}"
            self.file(Path(top), here)
            linked = [name for name in folders if Path(top, name).is_symlink()]
            for name in sorted([*files, *linked]):
                self.file(Path(top, name), f"{here}/{name}")

    def close(self) -> None:
        """Finishes the file."""
        self._tar.close()

    def _enter(self, target: str) -> str | None:
        """The path inside the layer, after its parents; None when it is there already."""
        entry = target.strip("/")
        if not entry or entry in self._seen:
            return None
        parent = os.path.dirname(entry)
        if parent and parent not in self._seen:
            self.folder(parent)
        self._seen.add(entry)
        return entry


@dataclass(frozen=True)
class Settings:
    """How a container of an image starts unless its pod says otherwise."""

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    user: str = ""
    folder: str = "/"


def write_archive(archive: Path, *, reference: str, layers: Iterable[Path], settings: Settings) -> None:
    """Writes an image archive of these layer files, under its full name `reference`."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    part = archive.with_suffix(".part")
    with tarfile.open(part, "w") as out:
        _member(out, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
        described = [_layer_blob(out, layer) for layer in layers]
        config = _blob(out, _json(_config(settings, described)), "application/vnd.oci.image.config.v1+json")
        kind = "application/vnd.oci.image.manifest.v1+json"
        manifest = _blob(
            out, _json({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": described}), kind
        )
        manifest["annotations"] = {
            "io.containerd.image.name": reference,
            "org.opencontainers.image.ref.name": reference.rsplit(":", 1)[-1],
        }
        _member(out, "index.json", _json({"schemaVersion": 2, "manifests": [manifest]}))
    part.rename(archive)


def _config(settings: Settings, layers: list[dict[str, Any]]) -> dict[str, Any]:
    environment = {"PATH": PATH} | settings.environment
    return {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()],
        "os": "linux",
        "config": {
            "Env": [f"{name}={value}" for name, value in environment.items()],
            "Entrypoint": list(settings.entrypoint),
            "Cmd": list(settings.command),
            "User": settings.user,
            "WorkingDir": settings.folder,
        },
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]},
    }


def _layer_blob(out: tarfile.TarFile, file: Path) -> dict[str, Any]:
    with file.open("rb") as data:
        digest = hashlib.file_digest(data, "sha256").hexdigest()
        data.seek(0)
        info = tarfile.TarInfo(f"blobs/sha256/{digest}")
        info.size = file.stat().st_size
        out.addfile(info, data)
    return {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": f"sha256:{digest}", "size": info.size}


def _blob(out: tarfile.TarFile, data: bytes, kind: str) -> dict[str, Any]:
    digest = hashlib.sha256(data).hexdigest()
    _member(out, f"blobs/sha256/{digest}", data)
    return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(data)}


def _member(out: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    out.addfile(info, io.BytesIO(data))


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True).encode()
