"""A control plane of a test's own, whose API server can be stopped, killed and started again without a harm to other tests."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
_CLUSTER = str(ROOT / "hack" / "cluster")
_PROGRAMS = ("bin", "src", "stamps")
"""What the cache of programs has that another one may share."""


class OwnPlane:
    """etcd, kube-apiserver and kube-controller-manager that nobody else uses."""

    def __init__(self, cache: Path) -> None:
        self._run = cache / "run" / "control"
        self._pid = int((self._run / "pids" / "kube-apiserver").read_text().split()[0])
        self._command = Path(f"/proc/{self._pid}/cmdline").read_bytes().decode().split("\0")[:-1]
        self._again: subprocess.Popen[bytes] | None = None

    @property
    def kubeconfig(self) -> str:
        """The administrator's kubeconfig."""
        return str(self._run / "kube" / "admin.conf")

    @property
    def audit_log(self) -> Path:
        """What accounts of laneway-system have asked of the API server."""
        return self._run / "log" / "audit.log"

    def stop(self) -> None:
        """SIGSTOP: connections stay, and nothing answers."""
        os.kill(self._pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        os.kill(self._pid, signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL: connections break, and new ones are refused."""
        os.kill(self._pid, signal.SIGKILL)
        self.close()

    def start(self) -> None:
        """Start the API server that was killed, as it was, on the same etcd."""
        with (self._run / "log" / "kube-apiserver.log").open("ab") as out:
            self._again = subprocess.Popen(self._command, stdout=out, stderr=out)
        self._pid = self._again.pid

    def close(self) -> None:
        """End the API server that was started again."""
        if self._again is not None:
            self._again.kill()
            self._again.wait()
            self._again = None


@contextmanager
def own_plane(folder: Path) -> Iterator[OwnPlane]:
    """A control plane with our CRDs, below ``folder``; it is taken down in the end."""
    cache = folder / "cache"
    cache.mkdir()
    shared = _cache()
    for name in _PROGRAMS:
        if (shared / name).exists():
            (cache / name).symlink_to(shared / name)
    env = {**os.environ, "LANEWAY_CACHE": str(cache)}
    _run([_CLUSTER, "up", "--control-plane"], env)
    try:
        plane = OwnPlane(cache)
        try:
            path = f"{cache / 'bin'}{os.pathsep}{os.environ['PATH']}"
            install_crds({**env, "KUBECONFIG": plane.kubeconfig, "PATH": path})
            yield plane
        finally:
            plane.close()
    finally:
        _run([_CLUSTER, "down", "--control-plane"], env)


def install_crds(env: Mapping[str, str]) -> None:
    """Our CRDs in the cluster of KUBECONFIG, and in use."""
    crds = ["-f", str(ROOT / "crds")]
    _run(["kubectl", "apply", "--server-side", "--force-conflicts", *crds], env)
    # kubectl wait fails on an object without conditions, as a CRD is for its first moment.
    _run(["kubectl", "wait", "--for=jsonpath={.status.conditions}", "--timeout=30s", *crds], env)
    _run(["kubectl", "wait", "--for=condition=Established", "--timeout=30s", *crds], env)


def programs() -> Path:
    """Where kubectl, helm and the control plane's programs are."""
    return _cache() / "bin"


def _cache() -> Path:
    """Where hack/cluster keeps its programs."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("LANEWAY_CACHE") or Path(base) / "laneway").absolute()


def _run(command: list[str], env: Mapping[str, str]) -> None:
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr or done.stdout}")
