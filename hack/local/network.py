"""What a node changes on the machine outside its state folder, and how all of it is put back.

The bridge carries the state folder's path as its alias: it says whose cluster is up, even when the folder is gone.
"""

import shutil
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from local.console import StepError
from local.instance import NODE_ADDRESS
from local.processes import POLL_SECONDS

BRIDGE = "laneway0"
# Written by the kubelet and by the bridge plugin.
SYSCTLS = ("net/ipv4/ip_forward", "vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops")
# kube-proxy makes both families on a one-family cluster; `nat` is made by the portmap plugin through iptables.
TABLES = ("ip kube-proxy", "ip6 kube-proxy", "ip nat", "ip6 nat")
CGROUP_SECONDS = 15
# Written by containerd, the kubelet and CNI whatever folder they are told to use.
FIXED_FOLDERS = (
    "/var/log/containers",
    "/run/containerd/runc/k8s.io",
    "/run/containerd/runc",
    "/run/containerd/s",
    "/run/containerd",
    "/var/lib/cni/results",
    "/var/lib/cni",
    "/var/lib/kubelet/device-plugins",
    "/var/lib/kubelet",
)


def owner() -> Path | None:
    """The state folder of the node cluster that is up on this machine, whoever started it."""
    alias = Path(f"/sys/class/net/{BRIDGE}/ifalias")
    return Path(alias.read_text().strip() or "/unknown") if alias.exists() else None


def owned_by(run: Path) -> bool:
    """Whether the bridge is this state folder's."""
    return owner() == run


def was_used(run: Path) -> bool:
    """Whether this state folder had a node, and so changed the machine."""
    return owned_by(run) or (run / "before").exists()


def prepare(run: Path) -> None:
    """Makes the bridge, after noting how the machine was before."""
    before = run / "before"
    before.mkdir()
    (before / "tables").write_text(_output("nft", "list", "tables"))
    for name in SYSCTLS:
        (before / name.replace("/", ".")).write_text(Path("/proc/sys", name).read_text())
    (before / "folders").write_text("\n".join(folder for folder in FIXED_FOLDERS if Path(folder).exists()))
    _must("ip", "link", "add", BRIDGE, "type", "bridge")
    _must("ip", "link", "set", BRIDGE, "alias", str(run))
    _must("ip", "addr", "add", f"{NODE_ADDRESS}/24", "dev", BRIDGE)
    _must("ip", "link", "set", BRIDGE, "up")


def remove(run: Path) -> None:
    """Takes away what the node made and puts back what it changed."""
    for name in _pod_namespaces():
        _try("umount", "-l", f"/run/netns/{name}")
        Path("/run/netns", name).unlink(missing_ok=True)
    for port in _bridge_ports():  # an orphaned TCP socket can hold a pod's namespace, and so its veth, for minutes
        _try("ip", "link", "del", port)
    _try("ip", "link", "del", BRIDGE)
    before = run / "before"
    tables = (before / "tables").read_text().splitlines() if before.exists() else []
    for table in TABLES:
        if f"table {table}" not in tables:
            _try("nft", "delete", "table", *table.split())
    for name in SYSCTLS:
        if (kept := before / name.replace("/", ".")).exists():
            Path("/proc/sys", name).write_text(kept.read_text())
    _remove_cgroups()
    _remove_fixed(run, folders_before(run))


def unmount_below(run: Path) -> None:
    """Takes every mount below the state folder away, the deepest first."""
    for point in sorted(mounts_below(run), reverse=True):
        _try("umount", "-l", point)


def mounts_below(run: Path) -> list[str]:
    """Mount points below the state folder."""
    points = [
        line.split()[1].encode().decode("unicode_escape") for line in Path("/proc/mounts").read_text().splitlines()
    ]
    return [point for point in points if point.startswith(f"{run}/")]


def folders_before(run: Path) -> list[str]:
    """Those of the fixed folders that were on the machine before the node; all that are there when that is not known any more."""
    note = run / "before" / "folders"
    return note.read_text().split() if note.exists() else [folder for folder in FIXED_FOLDERS if Path(folder).exists()]


def traces(run: Path, folders: list[str]) -> list[str]:
    """What a node leaves behind outside its state folder, if anything does; `folders` were there before it."""
    found = [f"interface {BRIDGE}"] if owned_by(run) else []
    found += [f"network namespace {name}" for name in _pod_namespaces()]
    found += [f"nftables table {line}" for line in _output("nft", "list", "tables").splitlines() if "kube" in line]
    found += [
        f"iptables rule {line}" for line in _output("iptables-save").splitlines() if "KUBE" in line or "CNI-" in line
    ]
    found += [f"cgroup {folder}" for folder in _cgroups()]
    found += [f"folder {folder}" for folder in FIXED_FOLDERS if folder not in folders and Path(folder).exists()]
    return found


def _pod_namespaces() -> list[str]:
    folder = Path("/run/netns")
    return sorted(file.name for file in folder.iterdir() if file.name.startswith("cni-")) if folder.exists() else []


def _bridge_ports() -> list[str]:
    folder = Path(f"/sys/class/net/{BRIDGE}/brif")
    return [port.name for port in folder.iterdir()] if folder.exists() else []


def _cgroups() -> list[Path]:
    return [
        folder
        for folder in (*Path("/sys/fs/cgroup").glob("*/kubepods"), Path("/sys/fs/cgroup/kubepods"))
        if folder.exists()
    ]


def _remove_cgroups() -> None:
    """Removes them once their processes have ended: one that gives gigabytes back takes seconds."""
    deadline = time.monotonic() + CGROUP_SECONDS
    while left := _cgroups():
        for folder in (path for top in left for path in sorted((top, *top.rglob("*")), reverse=True) if path.is_dir()):
            with suppress(OSError):  # a process in it is still ending
                folder.rmdir()
        if time.monotonic() > deadline:  # `traces` says what stays
            return
        time.sleep(POLL_SECONDS)


def _remove_fixed(run: Path, kept: list[str]) -> None:
    for link in Path("/var/log/containers").glob("*"):
        if link.is_symlink() and str(link.readlink()).startswith(f"{run}/"):
            link.unlink()
    for result in Path("/var/lib/cni/results").glob("laneway-*-eth0"):
        result.unlink()
        sandbox = result.name.removeprefix("laneway-").removesuffix("-eth0")
        result.with_name(f"cni-loopback-{sandbox}-lo").unlink(missing_ok=True)
    for folder in (name for name in FIXED_FOLDERS if name not in kept):
        if folder.startswith(("/run/containerd/", "/var/lib/kubelet/device-plugins")):
            shutil.rmtree(folder, ignore_errors=True)
        elif Path(folder).is_dir() and not any(Path(folder).iterdir()):
            Path(folder).rmdir()


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def _try(*command: str) -> None:
    subprocess.run(command, capture_output=True, check=False)


def _must(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise StepError(
            "making the node's network",
            f"{' '.join(command)} said: {done.stderr.strip()}",
            "run hack/cluster down, then up again",
        )
