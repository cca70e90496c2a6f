"""Builds the programs of the local cluster from Go modules at pinned versions, once, into the cache folder.

Each folder of modules/ holds a go.mod and go.sum, so every machine compiles the same code. A stamp beside the programs says what
they were built from; they are built again only when that differs.
"""

import contextlib
import fcntl
import hashlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from local import toolchain, versions
from local.console import Progress, StepError
from local.paths import BIN, CACHE, LOGS, MODULES, SOURCE, STAMPS


@dataclass(frozen=True)
class Part:
    """One module folder and the programs it makes. `package` is what `go build` is given: `tool` is all tools of its go.mod."""

    name: str
    title: str
    module: str
    version: str
    programs: tuple[str, ...]
    minutes: str
    package: str = "tool"
    called: str = ""
    """What `go build` calls its only program, the last part of its package's path, where that is another name."""
    ldflags: str = ""
    tags: str = ""
    environment: dict[str, str] = field(default_factory=lambda: {"CGO_ENABLED": "0"})


_VERSION = "k8s.io/component-base/version"
KUBERNETES = Part(
    name="kubernetes",
    title="Kubernetes",
    module="k8s.io/kubernetes",
    version=versions.KUBERNETES,
    programs=("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl"),
    minutes="about 4 minutes",
    ldflags=f"-X {_VERSION}.gitVersion=v{versions.KUBERNETES} -X {_VERSION}.gitMajor=1 -X {_VERSION}.gitMinor={versions.KUBERNETES.split('.')[1]}",
)
ETCD = Part("etcd", "etcd", "go.etcd.io/etcd/server/v3", versions.ETCD, ("etcd",), "under a minute", called="server")
CONTAINERD = Part(
    name="containerd",
    title="containerd",
    module="github.com/containerd/containerd/v2",
    version=versions.CONTAINERD,
    programs=("containerd", "containerd-shim-runc-v2", "ctr"),
    minutes="about a minute",
    ldflags=f"-X github.com/containerd/containerd/v2/version.Version={versions.CONTAINERD}",
    tags="no_btrfs,no_devmapper,no_zfs,no_tracing",
)
COREDNS = Part(
    "coredns", "CoreDNS", "github.com/coredns/coredns", versions.COREDNS, ("coredns",), "about a minute", package="."
)
HELM = Part("helm", "Helm", "helm.sh/helm/v3", versions.HELM, ("helm",), "about a minute")
HELM4 = Part(
    "helm4", "Helm", "helm.sh/helm/v4", versions.HELM4, ("helm4",), "about 2 minutes", called="helm"
)  # for tests of what it does; the demo has Helm 3
KUBECONFORM = Part(
    "kubeconform",
    "kubeconform",
    "github.com/yannh/kubeconform",
    versions.KUBECONFORM,
    ("kubeconform",),
    "under a minute",
)
KREW = Part("krew", "Krew", "sigs.k8s.io/krew", versions.KREW, ("krew",), "under a minute")
PROMETHEUS = Part(
    name="prometheus",
    title="Prometheus",
    module="github.com/prometheus/prometheus",
    version=versions.PROMETHEUS,
    programs=("promtool", "prometheus"),
    minutes="about 6 minutes",
    tags="remove_all_sd",
)
ARGOCD = Part(
    name="argocd",
    title="Argo CD",
    module="github.com/argoproj/argo-cd/v3",
    version=versions.ARGOCD,
    programs=("argocd",),
    minutes="about 4 minutes",
    called="cmd",
    ldflags=f"-X github.com/argoproj/argo-cd/v3/common.version={versions.ARGOCD}",
    environment={},
)


def need(*parts: Part) -> None:
    """Makes sure that the programs of these parts are there, as pinned."""
    for part in parts:
        if _current(part):
            continue
        with locked():  # two commands started together build once
            if not _current(part):
                _build(part)


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """Holds the cache folder's lock, so that two commands never make the same thing at once. Who made something may leave a stamp."""
    STAMPS.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def stamp(part: Part) -> str:
    """What the programs of a part depend on, as a hash."""
    digest = hashlib.sha256(
        repr((part.version, part.programs, part.ldflags, part.tags, sorted(part.environment.items()))).encode()
    )
    for file in sorted((MODULES / part.name).iterdir()):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def _current(part: Part) -> bool:
    file = STAMPS / part.name
    return (
        file.exists() and file.read_text() == stamp(part) and all((BIN / program).exists() for program in part.programs)
    )


def _build(part: Part) -> None:
    for folder in (BIN, LOGS, SOURCE):
        folder.mkdir(parents=True, exist_ok=True)
    (STAMPS / part.name).unlink(missing_ok=True)
    compile_part(part, SOURCE / part.name)
    for program in part.programs:
        os.replace(SOURCE / part.name / (part.called or program), BIN / program)  # never half a program in place
    (STAMPS / part.name).write_text(stamp(part))


def compile_part(part: Part, output: Path) -> None:
    """Compiles a part into the folder `output`, with progress."""
    step = f"building {part.title} {part.version}"
    if f"{part.module} v{part.version}" not in (MODULES / part.name / "go.mod").read_text():
        raise StepError(step, f"its go.mod does not ask for {part.module} v{part.version}", "run hack/pin-modules")
    output.mkdir(parents=True, exist_ok=True)
    flags = ["-trimpath", *(["-tags", part.tags] if part.tags else [])]
    text = f"{step} from its modules, once, {part.minutes}"
    log = LOGS / f"build-{part.name}.log"
    log.write_text("")
    progress = Progress(text, total=_stale_packages(part, flags, text, step, log), unit="packages")
    for _ in _go(
        part, ["build", "-v", *flags, f"-ldflags=-s -w {part.ldflags}", "-o", f"{output}/", part.package], step, log
    ):
        progress.advance()
    progress.close()


def _stale_packages(part: Part, flags: list[str], text: str, step: str, log: Path) -> int:
    """How many packages will be compiled; the modules are downloaded on the way."""
    progress = Progress(text, unit="modules downloaded")
    count = 0
    template = "{{if .Stale}}stale {{.ImportPath}}{{end}}"
    for line in _go(part, ["list", "-deps", *flags, "-f", template, part.package], step, log):
        progress.advance(line.startswith("go: downloading"))
        count += line.startswith("stale ")
    progress.close()
    return count


def _go(part: Part, arguments: list[str], step: str, log: Path) -> Iterator[str]:
    """Runs the Go command in a part's module folder; yields the lines that it says and keeps them in the log."""
    environment = (
        os.environ | {"GOFLAGS": "-buildvcs=false", "GOTOOLCHAIN": "local", "GOWORK": "off"} | part.environment
    )
    process = subprocess.Popen(
        [str(toolchain.go()), *arguments],
        cwd=MODULES / part.name,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    said = []
    with log.open("a") as out:
        for line in process.stdout:
            out.write(line)
            said.append(line)
            yield line
    if process.wait() != 0:
        raise StepError(
            step, _reason(said), "look at the log; is the Go module proxy reachable, and is there disk space?", log
        )


def _reason(said: list[str]) -> str:
    words = [line.strip() for line in said if line.strip() and "go: downloading" not in line]
    return f"go said: {words[-1][:300]}" if words else "go failed and said nothing"
