"""Brings the local clusters up and down, and says how they are."""

import os
import time
from pathlib import Path

from local import build, control_plane, docker, images, network, node, toolchain
from local.console import StepError, say
from local.instance import CONTROL_PLANE, NODE_CLUSTER, Instance
from local.paths import BIN
from local.teardown import remove

STEP = "starting the local cluster"


def up() -> None:
    """Starts the node cluster: with kind where a Docker engine answers, else as processes of this machine."""
    instance = NODE_CLUSTER
    if docker.answers():
        build.need(build.KUBERNETES)  # for kubectl
    if healthy():
        say(f"{instance.title} is already up: {instance.kubeconfig}")
        return
    begun = time.monotonic()
    if docker.answers():
        _up_kind(instance)
    else:
        prepare()
        begun = time.monotonic()
        _up_processes(instance)
    say(f"{instance.title} is up in {time.monotonic() - begun:.1f} s: {instance.kubeconfig}")


def up_control_plane() -> None:
    """Starts a control plane alone on loopback ports; needs no root."""
    instance = CONTROL_PLANE
    if _control_plane_healthy(instance):
        say(f"{instance.title} is already up: {instance.kubeconfig}")
        return
    toolchain.need_packages("starting the control plane", toolchain.CLIENT)
    build.need(build.KUBERNETES, build.ETCD)
    _clear(instance)
    begun = time.monotonic()
    control_plane.start(instance, scheduler=False)
    say(f"{instance.title} is up in {time.monotonic() - begun:.1f} s: {instance.kubeconfig}")


def down() -> None:
    """Ends the node cluster and checks that nothing is left."""
    if docker.answers() and docker.cluster_exists():
        docker.delete_cluster(NODE_CLUSTER.kubeconfig)
    elif network.owned_by(NODE_CLUSTER.run):
        _need_root("taking the local cluster down")
    _down(NODE_CLUSTER)


def down_control_plane() -> None:
    """Ends the control plane and removes its state."""
    _down(CONTROL_PLANE)


def prepare() -> None:
    """Builds and installs everything that the node cluster needs, so that starting it takes seconds."""
    _need_root(STEP)
    toolchain.need_packages(STEP, toolchain.CLIENT | toolchain.NODE | toolchain.IMAGE)
    build.need(build.KUBERNETES, build.ETCD, build.CONTAINERD)
    images.need_pause()
    images.need_coredns()


def need_clients() -> None:
    """kubectl and helm in our own folder, built when they are not there."""
    build.need(build.KUBERNETES, build.HELM)


def load_images(archives: list[Path]) -> None:
    """Puts image archives on the node."""
    if not healthy():
        raise StepError("loading images", "the local cluster is not up", "run hack/cluster up first")
    if docker.answers():
        for archive in archives:
            docker.load(archive)
    else:
        node.load(NODE_CLUSTER, archives)


def need_image(image: images.Image) -> bool:
    """Puts an image on the node, unless this very archive is there already; True when it was put there now."""
    mark = NODE_CLUSTER.run / "loaded" / image.archive.name
    found = image.archive.stat()
    content = f"{image.reference} {found.st_size} {found.st_mtime_ns}"
    if mark.exists() and mark.read_text() == content:
        return False
    load_images([image.archive])
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.write_text(content)
    return True


def healthy() -> bool:
    """Whether pods can run: processes alive, API server and node ready, DNS served."""
    instance = NODE_CLUSTER
    if not instance.kubeconfig.exists() or not (BIN / "kubectl").exists():
        return False
    if docker.answers():
        return docker.cluster_exists() and control_plane.kubectl_ok(
            instance, "wait", "--for=condition=Ready", "node", "--all", "--timeout=5s"
        )
    alive = all(instance.processes.pid(name) for name in instance.processes.names())
    answering = (
        alive
        and network.owned_by(instance.run)
        and control_plane.answers(instance, f"{instance.server}/readyz", seconds=5)
    )
    return answering and node.ready(instance) and node.dns_ready(instance)


def status() -> int:
    """Says how the node cluster is; 1 when it is not healthy."""
    return _say_status(NODE_CLUSTER, is_healthy=healthy())


def status_control_plane() -> int:
    """Says how the control plane is; 1 when it is not healthy."""
    return _say_status(CONTROL_PLANE, is_healthy=_control_plane_healthy(CONTROL_PLANE))


def environment(instance: Instance) -> str:
    """Lines for a shell to evaluate: the kubeconfig, and the cluster's own kubectl first in PATH."""
    return f"export KUBECONFIG={instance.kubeconfig}\nexport PATH={BIN}:$PATH"


def _up_kind(instance: Instance) -> None:
    if docker.cluster_exists():
        docker.delete_cluster(instance.kubeconfig)
    docker.create_cluster(instance.kubeconfig)


def _up_processes(instance: Instance) -> None:
    other = network.owner()
    if other is not None and other != instance.run:
        cause = f"the cluster of {other} is up, and a machine carries one at a time"
        raise StepError(STEP, cause, f"end it first: LANEWAY_CACHE={other.parent.parent} hack/cluster down")
    _clear(instance)
    network.prepare(instance.run)
    control_plane.start(instance, scheduler=True)
    node.start(instance)


def _clear(instance: Instance) -> None:
    if instance.run.exists():
        say(f"{instance.title} is half up; starting it anew")
        remove(instance)
    instance.run.mkdir(parents=True)


def _down(instance: Instance) -> None:
    begun = time.monotonic()
    if not remove(instance):
        say(f"{instance.title} is not up")
        return
    say(f"{instance.title} is down in {time.monotonic() - begun:.1f} s: nothing left")


def _need_root(step: str) -> None:
    if os.geteuid() != 0:
        raise StepError(
            step,
            "a kubelet and its containers need root",
            "run the same command as root, or with a Docker engine and kind installed",
        )


def _control_plane_healthy(instance: Instance) -> bool:
    names = instance.processes.names()
    alive = bool(names) and all(instance.processes.pid(name) for name in names)
    return alive and control_plane.answers(instance, f"{instance.server}/readyz", seconds=5)


def _say_status(instance: Instance, *, is_healthy: bool) -> int:
    if not instance.run.exists():
        say(f"{instance.title} is not up")
        return 1
    for name in instance.processes.names():
        pid = instance.processes.pid(name)
        say(f"  {name:<26}{f'pid {pid}' if pid else 'ended'}")
    say(f"{instance.title} is {'healthy' if is_healthy else 'not healthy'}: {instance.kubeconfig}")
    return 0 if is_healthy else 1
