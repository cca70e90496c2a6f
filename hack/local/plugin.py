"""kubectl laneway as one file that needs nothing but a Python 3.11 or later: a zip with the command line's part of the tree and what that imports.

Everything in it is Python, and goes without the C parts of its packages, except pydantic's core, which is compiled for each platform and each
Python: so there is a file for each platform, with the core for each Python in it. The kubernetes client is 74 MB, of which the command line
needs how to find a cluster and to prove who one is: some 100 kB (decision 0039).
"""

import gzip
import hashlib
import io
import json
import os
import re
import stat
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path

import yaml

from local.console import StepError
from local.paths import CACHE, TREE

NAME = "kubectl-laneway"
URI = "https://example.com/laneway/{version}/{archive}"
"""A placeholder: a release names its own."""
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
PLATFORMS = {
    ("linux", "amd64"): "manylinux_2_17_x86_64",
    ("linux", "arm64"): "manylinux_2_17_aarch64",
    ("darwin", "amd64"): "macosx_10_12_x86_64",
    ("darwin", "arm64"): "macosx_11_0_arm64",
}
"""Krew's names of a platform, and that of its wheels."""
PACKAGES = {
    "aiohappyeyeballs": "aiohappyeyeballs",
    "aiohttp": "aiohttp",
    "aiohttp-retry": "aiohttp_retry",
    "aiosignal": "aiosignal",
    "annotated-types": "annotated_types",
    "attrs": "attr",
    "frozenlist": "frozenlist",
    "idna": "idna",
    "multidict": "multidict",
    "prometheus-client": "prometheus_client",
    "propcache": "propcache",
    "pydantic": "pydantic",
    "pydantic-core": "pydantic_core",
    "python-dateutil": "dateutil",
    "pyyaml": "yaml",
    "typing-extensions": "typing_extensions.py",
    "typing-inspection": "typing_inspection",
    "yarl": "yarl",
}
"""Distributions that go in whole, and what they install."""
KUBERNETES = (
    "aio/config",
    "aio/client/api_client.py",
    "aio/client/api_response.py",
    "aio/client/configuration.py",
    "aio/client/exceptions.py",
    "aio/client/rest.py",
    "aio/utils/_retry_base.py",
    "aio/utils/retry.py",
)
"""What of the kubernetes client goes in."""
_EMPTIED = {
    "kubernetes/__init__.py": "",
    "kubernetes/aio/__init__.py": "",
    "kubernetes/aio/utils/__init__.py": "",
    "kubernetes/aio/client/models/__init__.py": "",
    "kubernetes/aio/client/__init__.py": (
        "from kubernetes.aio.client.api_client import ApiClient\nfrom kubernetes.aio.client.configuration import Configuration\n"
    ),
}
"""Packages of it whose own beginning would import everything."""
OURS = ("__init__.py", "settings.py", "api", "cli", "kube", "rules")
_LICENCE = re.compile(r"licen[sc]e|copying|notice", re.IGNORECASE)
_MOMENT = (2026, 1, 1, 0, 0, 0)
"""Of all files: the same tree makes the same bytes."""
_SHEBANG = b"#!/usr/bin/env python3\n"


def build_here(out: Path) -> Path:
    """The file for this machine and this Python, with what the environment has. Raises StepError."""
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    core = _installed() / "pydantic_core" / f"_pydantic_core{suffix}"
    return _write(out / NAME, {core.name: core.read_bytes()})


def release(out: Path, *, version: str, uri: str) -> list[Path]:
    """Archives for all platforms, and the manifest for Krew. Raises StepError."""
    if not re.fullmatch(r"v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?", version):
        raise StepError("the version", f"{version!r} is none that Krew takes", "write one like v0.1.0")
    made, platforms = [], []
    for (system, machine), tag in PLATFORMS.items():
        cores = {name: data for python in PYTHONS for name, data in _core(tag, python).items()}
        file = _write(out / f"{system}_{machine}" / NAME, cores)
        archive = _archive(out / f"{NAME}_{version}_{system}_{machine}.tar.gz", file)
        platforms.append(
            {
                "selector": {"matchLabels": {"os": system, "arch": machine}},
                "uri": uri.format(version=version, archive=archive.name),
                "sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
                "bin": NAME,
            }
        )
        made.append(archive)
    path = out / "laneway.yaml"
    path.write_text(manifest_text(version, platforms), encoding="utf-8")
    return [*made, path]


def manifest_text(version: str, platforms: list[dict[str, object]]) -> str:
    """The manifest for Krew. JSON is YAML, but people read this."""
    return yaml.safe_dump(
        {
            "apiVersion": "krew.googlecontainertools.github.com/v1alpha2",
            "kind": "Plugin",
            "metadata": {"name": "laneway"},
            "spec": {
                "version": version,
                "shortDescription": "See why agent runs wait, and steer them",
                "description": (
                    "Says why AI agent runs of Laneway wait, follows their logs across attempts, sums up their tokens and\n"
                    "cost, and suspends, cancels and retries them; holds and clears models of their lanes.\n"
                ),
                "caveats": (
                    "Needs Python 3.11 or later as python3 on the PATH.\n"
                    "Completion: kubectl laneway completion > kubectl_complete-laneway, made executable, on the PATH.\n"
                ),
                "platforms": platforms,
            },
        },
        sort_keys=False,
    )


def _write(path: Path, cores: dict[str, bytes]) -> Path:
    files = _files() | {f"lib/pydantic_core/{name}": data for name, data in cores.items()}
    build = hashlib.sha256(b"".join(name.encode() + b"\0" + data for name, data in sorted(files.items()))).hexdigest()
    beginning = (Path(__file__).parent / "plugin_main.py").read_text(encoding="utf-8")
    files["__main__.py"] = beginning.encode()
    files["build.json"] = json.dumps({"build": build[:16], "version": metadata.version("laneway")}).encode()
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in sorted(files.items()):
            info = zipfile.ZipInfo(name, _MOMENT)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            archive.writestr(info, content)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_SHEBANG + data.getvalue())
    path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    return path


def _archive(path: Path, file: Path) -> Path:
    """The file and the licence, as Krew wants them."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for source, mode in ((file, 0o755), (TREE / "LICENSE", 0o644)):
            info = tarfile.TarInfo(source.name)
            info.size, info.mode = source.stat().st_size, mode
            archive.addfile(info, io.BytesIO(source.read_bytes()))
    path.write_bytes(gzip.compress(data.getvalue(), mtime=0))
    return path


def _files() -> dict[str, bytes]:
    """All that is the same for every platform, by its name in the zip."""
    installed, found = _installed(), {}
    for name in PACKAGES.values():
        found |= _sources(installed / name, installed)
    for name in KUBERNETES:
        found |= _sources(installed / "kubernetes" / name, installed)
    found |= {name: text.encode() for name, text in _EMPTIED.items()}
    for name in OURS:
        found |= _sources(TREE / "operator" / "laneway" / name, TREE / "operator")
    whole = {f"lib/{name}": data for name, data in found.items()}
    return whole | {"LICENSE": (TREE / "LICENSE").read_bytes()} | _licences()


def _sources(path: Path, root: Path) -> dict[str, bytes]:
    """The Python of a file or a folder, without tests."""
    if not path.exists():
        raise StepError("what goes in", f"{path.relative_to(root)} is not installed", "run make plugin")
    paths = path.rglob("*.py") if path.is_dir() else [path]
    return {one.relative_to(root).as_posix(): one.read_bytes() for one in paths if not one.name.endswith("_test.py")}


def _licences() -> dict[str, bytes]:
    """Of everything that goes in."""
    found = {}
    for name in (*PACKAGES, "kubernetes"):
        for file in metadata.files(name) or []:
            if ".dist-info" in str(file) and _LICENCE.search(file.name):
                found[f"licenses/{name}/{file.name}"] = Path(str(file.locate())).read_bytes()
    return found


def _installed() -> Path:
    return Path(sysconfig.get_path("purelib"))


def _core(platform: str, python: str) -> dict[str, bytes]:
    """pydantic's core for a platform and a Python, by pip, as requirements.lock has it. Raises StepError."""
    folder = CACHE / "wheels" / f"{platform}-{python}"
    folder.mkdir(parents=True, exist_ok=True)
    wanted = folder / "requirements.txt"
    wanted.write_text(_locked("pydantic-core"), encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
    command += ["--platform", platform, "--python-version", python, "--implementation", "cp"]
    done = subprocess.run(
        [*command, "-d", str(folder), "-r", str(wanted)], capture_output=True, text=True, check=False, env=os.environ
    )
    if done.returncode != 0:
        cause = f"pip did not find it for {platform} and Python {python}: {done.stderr.strip()[-500:]}"
        raise StepError("pydantic's core", cause, "look whether the package index can be reached")
    [wheel] = folder.glob(f"pydantic_core-{metadata.version('pydantic-core')}-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return {Path(name).name: archive.read(name) for name in archive.namelist() if name.endswith(".so")}


def _locked(name: str) -> str:
    """The lines of a package in requirements.lock: its version and its sums."""
    lines = (TREE / "requirements.lock").read_text(encoding="utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"{name}=="))
    end = next((number for number in range(start + 1, len(lines)) if not lines[number].startswith(" ")), len(lines))
    return "\n".join(line for line in lines[start:end] if not line.strip().startswith("#")) + "\n"
