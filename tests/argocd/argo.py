"""A real Argo CD beside the control plane: application controller, repo server and API server as processes, on a Redis of their own."""

from __future__ import annotations

import os
import secrets
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from integration.operators import free_ports

ROOT = Path(__file__).parents[2]
SNIPPET = ROOT / "argocd" / "argocd-cm.yaml"
_LOOPBACK = "127.0.0.1"


class ArgoCD:
    """One installation in a namespace of its own, with Laneway's entries in its argocd-cm."""

    def __init__(self, program: Path, source: Path, folder: Path) -> None:
        self.namespace = f"argocd-{secrets.token_hex(4)}"
        self.folder = folder
        self._program = program
        self._source = source
        self._running: list[tuple[str, subprocess.Popen[bytes]]] = []
        self._redis, self._repo, self._server, *self._metrics = free_ports(6)

    def install(self) -> None:
        """Its definitions and its configuration, as its own manifests have them, and ours as docs/gitops.md adds it."""
        kubectl("create", "namespace", self.namespace)
        for file in sorted((self._source / "manifests" / "crds").glob("*-crd.yaml")):
            kubectl("apply", "--server-side", "-f", str(file))
        for file in sorted((self._source / "manifests" / "base" / "config").glob("argocd-*.yaml")):
            kubectl("apply", "-n", self.namespace, "-f", str(file))
        kubectl("patch", "configmap", "argocd-cm", "-n", self.namespace, "--patch-file", str(SNIPPET))

    def start(self) -> None:
        """Start all four, and wait until the API server answers."""
        repo, controller, server = map(str, self._metrics)
        shared = ("--redis", f"{_LOOPBACK}:{self._redis}", "--loglevel", "debug", "--logformat", "text")
        kube = ("--namespace", self.namespace, "--repo-server", f"{_LOOPBACK}:{self._repo}", "--repo-server-plaintext")
        self._run("redis", ["redis-server", "--bind", _LOOPBACK, "--port", str(self._redis), "--save", ""])
        self._role(
            *("argocd-repo-server", *shared, "--disable-tls", "--address", _LOOPBACK, "--port", str(self._repo)),
            *("--metrics-address", _LOOPBACK, "--metrics-port", repo),
        )
        self._role(
            *("argocd-application-controller", *shared, *kube, "--metrics-port", controller),
            *("--app-resync", "15", "--app-resync-jitter", "0", "--persist-resource-health"),
        )
        self._role(
            *("argocd-server", *shared, *kube, "--insecure", "--disable-auth", "--address", _LOOPBACK),
            *("--port", str(self._server), "--metrics-address", _LOOPBACK, "--metrics-port", server),
            *("--staticassets", str(self.folder)),
        )
        self._wait(f"http://{_LOOPBACK}:{self._server}/healthz", seconds=90)

    def stop(self) -> None:
        """End all of it and remove its namespace; what its processes said is in its folder."""
        for _, process in reversed(self._running):
            process.kill()
            process.wait()
        kubectl("delete", "namespace", self.namespace, "--wait=false")

    def cli(self, *arguments: str) -> str:
        """Run the ``argocd`` command; answers what it printed, and fails if it fails."""
        where = ("--server", f"{_LOOPBACK}:{self._server}", "--plaintext", "--config", str(self.folder / "cli"))
        done = subprocess.run(
            [str(self._program), *arguments, *where],
            env=self._env("argocd"),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def log(self, role: str) -> str:
        """All that a process has said."""
        return (self.folder / f"{role}.log").read_text(errors="replace")

    def _role(self, role: str, *arguments: str) -> None:
        self._run(role, [str(self._program), *arguments])

    def _run(self, role: str, command: list[str]) -> None:
        with (self.folder / f"{role}.log").open("wb") as out:
            process = subprocess.Popen(command, env=self._env(role), stdout=out, stderr=out, cwd=self.folder)
        self._running.append((role, process))

    def _env(self, role: str) -> dict[str, str]:
        scratch = self.folder / f"{role}-tmp"
        scratch.mkdir(exist_ok=True)
        return {
            **os.environ,
            "HOME": str(self.folder),
            "TMPDIR": str(scratch),
            "ARGOCD_BINARY_NAME": role,
            "ARGOCD_FAKE_IN_CLUSTER": "true",
            "ARGOCD_GPG_ENABLED": "false",
            "ARGOCD_CONTROLLER_SHARD": "0",
            "ARGOCD_TLS_DATA_PATH": str(scratch),
            "ARGOCD_SSH_DATA_PATH": str(scratch),
            "ARGOCD_ASK_PASS_SOCK": str(scratch / "ask.sock"),
        }

    def _wait(self, url: str, *, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while True:
            gone = [role for role, process in self._running if process.poll() is not None]
            assert not gone, f"{gone[0]} has ended: {self.log(gone[0])[-2000:]}"
            try:
                with urllib.request.urlopen(url, timeout=2):
                    return
            except (urllib.error.URLError, OSError):
                assert time.monotonic() < deadline, f"no answer from {url}: {self.log('argocd-server')[-2000:]}"
                time.sleep(0.2)


@contextmanager
def installed(folder: Path) -> Iterator[ArgoCD]:
    """An Argo CD that runs, and is gone afterwards. It is built when it is not there."""
    done = subprocess.run([str(ROOT / "hack" / "argocd")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    program, source = (Path(line) for line in done.stdout.splitlines()[-2:])
    argo = ArgoCD(program, source, folder)
    try:
        argo.install()
        argo.start()
        yield argo
    finally:
        argo.stop()


def kubectl(*arguments: str) -> str:
    """Run kubectl; answers what it printed."""
    done = subprocess.run(["kubectl", *arguments], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout
