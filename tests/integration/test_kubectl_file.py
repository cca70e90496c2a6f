"""The single file of ``kubectl laneway``: built from the tree, run with nothing but Python, against the real API server."""

from __future__ import annotations

import hashlib
import os
import runpy
import subprocess
import sys
import sysconfig
import tarfile
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml

from integration.operators import Stage
from integration.planes import programs

ROOT = Path(__file__).parents[2]
BARE = str(Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}")
"""The Python that the environment was made from; with -I and -S it has its own library and nothing else."""
LIMIT_BYTES = 5_000_000


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, str(ROOT / "hack" / "plugin"), "--out", str(out)], check=True, timeout=120)
    return out / "kubectl-laneway"


def run(file: Path, home: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    env = {"HOME": str(home), "PATH": os.environ["PATH"], **more}
    return subprocess.run(
        [BARE, "-I", "-S", str(file), *arguments], env=env, capture_output=True, text=True, check=False, timeout=120
    )


async def test_the_file_answers_with_nothing_but_python(stage: Stage, file: Path, tmp_path: Path) -> None:
    assert file.stat().st_size < LIMIT_BYTES
    told = run(file, tmp_path, "--help")
    assert (told.returncode, told.stderr) == (0, "")
    assert "usage: kubectl laneway" in told.stdout
    [unpacked] = (tmp_path / ".cache" / "kubectl-laneway").iterdir()
    await stage.add_lane()
    await stage.add_run()
    listed = run(file, tmp_path, "list", "-n", stage.namespace, KUBECONFIG=stage.kubeconfig)
    assert (listed.returncode, listed.stderr) == (0, "")
    assert [line.split()[0] for line in listed.stdout.splitlines()] == ["NAME", "hello"]
    why = run(file, tmp_path, "why", "hello", "-n", stage.namespace, KUBECONFIG=stage.kubeconfig)
    assert why.stdout.startswith("hello was created ")
    assert [unpacked] == list((tmp_path / ".cache" / "kubectl-laneway").iterdir())
    assert "kubernetes/client" not in "".join(str(path) for path in unpacked.rglob("*"))


def test_a_home_that_cannot_be_written_and_a_python_that_it_is_not_for_are_no_traceback(
    file: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    told = run(file, tmp_path / "file", "--version")
    assert (told.returncode, told.stderr) == (0, "")
    other = tmp_path / "kubectl-laneway"
    other.write_bytes(file.read_bytes().replace(b"_pydantic_core.cpython-3", b"_pydantic_core.cpython-9"))
    wrong = run(other, tmp_path, "--version")
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("kubectl laneway: this file is for other Pythons (cpython-9")


def test_the_same_tree_makes_the_same_file(file: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(ROOT / "hack" / "plugin"), "--out", str(tmp_path)], check=True, timeout=120)
    assert (tmp_path / "kubectl-laneway").read_bytes() == file.read_bytes()


def _plugin(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.syspath_prepend(str(ROOT / "hack"))
    return runpy.run_path(str(ROOT / "hack" / "local" / "plugin.py"))


def test_a_release_has_an_archive_for_each_platform_and_a_manifest_with_their_sums(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plugin = _plugin(monkeypatch)
    wheels: list[tuple[str, str]] = []

    def core(platform: str, python: str) -> dict[str, bytes]:
        wheels.append((platform, python))
        return {f"_pydantic_core.{platform}-{python}.so": b"compiled"}

    monkeypatch.setitem(plugin["release"].__globals__, "_core", core)
    uri = "https://example.com/{version}/{archive}"
    *archives, manifest = plugin["release"](tmp_path, version="v0.1.0", uri=uri)
    assert len(wheels) == len(set(wheels)) == len(plugin["PLATFORMS"]) * len(plugin["PYTHONS"])
    read = yaml.safe_load(manifest.read_text())
    assert (read["kind"], read["metadata"]["name"], read["spec"]["version"]) == ("Plugin", "laneway", "v0.1.0")
    for archive, platform in zip(archives, read["spec"]["platforms"], strict=True):
        assert platform["sha256"] == hashlib.sha256(archive.read_bytes()).hexdigest()
        assert platform["uri"] == f"https://example.com/v0.1.0/{archive.name}"
        with tarfile.open(archive) as found:
            assert {one.name: one.mode for one in found} == {"kubectl-laneway": 0o755, "LICENSE": 0o644}


def test_krew_installs_a_release_and_kubectl_finds_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By the real Krew, from the archive beside the manifest: nothing is published yet."""
    krew = subprocess.run([ROOT / "hack" / "tool", "krew"], capture_output=True, text=True, check=True)
    plugin = _plugin(monkeypatch)
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    [core] = (Path(sysconfig.get_path("purelib")) / "pydantic_core").glob(f"*{suffix}")
    monkeypatch.setitem(plugin["release"].__globals__, "_core", lambda *_: {core.name: core.read_bytes()})
    *archives, manifest = plugin["release"](tmp_path, version="v0.1.0", uri="https://example.com/{archive}")
    system = sysconfig.get_platform().replace("-", "_").replace("x86_64", "amd64").replace("aarch64", "arm64")
    [archive] = [one for one in archives if one.name.endswith(f"_{system}.tar.gz")]
    env = {"HOME": str(tmp_path), "KREW_ROOT": str(tmp_path / "krew"), "KREW_NO_UPGRADE_CHECK": "1"}
    path = os.pathsep.join(
        (str(tmp_path / "krew" / "bin"), str(programs()), str(Path(BARE).parent), os.environ["PATH"])
    )
    words = ("install", f"--manifest={manifest}", f"--archive={archive}")
    for command in ([krew.stdout.split()[-1], *words], ["kubectl", "laneway", "--version"]):
        done = subprocess.run(
            command, env={**env, "PATH": path}, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    assert done.stdout == f"{metadata.version('laneway')}\n"
