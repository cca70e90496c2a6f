"""The single node: containerd, kubelet, kube-proxy, cluster DNS and a provider of volumes, beside the control plane."""

import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from string import Template

from local import images, network
from local.console import StepError
from local.control_plane import kubectl, kubectl_ok
from local.instance import DNS_ADDRESS, LOOPBACK, NODE, NODE_ADDRESS, POD_RANGE, SERVICE_RANGE, Instance, program
from local.paths import CONFIG, HACK


def start(instance: Instance) -> None:
    """Starts the node beside a running control plane; returns when pods, Services and DNS work."""
    _write_configuration(instance)
    _start_containerd(instance)
    load(instance, [images.need_pause().archive, images.need_coredns().archive])
    processes, run = instance.processes, instance.run
    processes.start(
        "kubelet",
        [
            program("kubelet"),
            f"--config={run}/kubelet/config.yaml",
            f"--kubeconfig={instance.client('kubelet')}",
            f"--root-dir={run}/kubelet/root",
            f"--hostname-override={NODE}",
            f"--node-ip={NODE_ADDRESS}",
        ],
    )
    applied = kubectl(instance, "apply", "-f", "-", stdin=_rendered("cluster.yaml", instance))
    if applied.returncode != 0:
        raise StepError(
            "setting the cluster up",
            f"kubectl apply said: {applied.stderr.strip()[-300:]}",
            "run hack/cluster down, then up again",
        )
    processes.start("kube-proxy", [program("kube-proxy"), f"--config={run}/kube-proxy.yaml"])
    volumes = [
        sys.executable,
        "-B",
        str(HACK / "local" / "volumes.py"),
        str(run / "volumes"),
        instance.server,
        str(instance.pki),
    ]
    processes.start("volumes", volumes)
    processes.wait("kubelet", lambda: ready(instance), seconds=90)
    processes.wait("kube-proxy", lambda: _proxy_healthy(instance), seconds=60)
    processes.wait("kubelet", lambda: dns_ready(instance), seconds=90)


def ready(instance: Instance) -> bool:
    """Whether the node says that it is Ready."""
    return kubectl_ok(instance, "wait", "--for=condition=Ready", f"node/{NODE}", "--timeout=1s")


def dns_ready(instance: Instance) -> bool:
    """Whether cluster DNS is served."""
    return kubectl_ok(
        instance, "-n", "kube-system", "wait", "--for=condition=Available", "deployment/coredns", "--timeout=1s"
    )


def load(instance: Instance, archives: list[Path]) -> None:
    """Puts image archives into the node's containerd."""
    for archive in archives:
        command = [
            program("ctr"),
            "-a",
            f"{instance.run}/containerd.sock",
            "-n",
            "k8s.io",
            "images",
            "import",
            "--local",
            str(archive.absolute()),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise StepError(
                f"loading {archive.name}",
                f"ctr said: {done.stderr.strip().splitlines()[-1][-300:]}",
                "is the file an OCI image archive?",
            )


def _write_configuration(instance: Instance) -> None:
    run = instance.run
    for folder in ("containerd", "cni/net.d", "kubelet", "volumes"):
        (run / folder).mkdir(parents=True)
    (run / "resolv.conf").write_text("")
    (run / "containerd" / "config.toml").write_text(_rendered("containerd.toml", instance))
    (run / "cni" / "net.d" / "10-laneway.conflist").write_text(_rendered("cni.json", instance))
    (run / "kubelet" / "config.yaml").write_text(
        _rendered("kubelet.yaml", instance, health_port=instance.port("kubelet-health"))
    )
    ports = {"health_port": instance.port("proxy-health"), "metrics_port": instance.port("proxy-metrics")}
    (run / "kube-proxy.yaml").write_text(_rendered("kube-proxy.yaml", instance, **ports))


def _rendered(name: str, instance: Instance, **values: object) -> str:
    return Template((CONFIG / name).read_text()).substitute(
        run=instance.run,
        bridge=network.BRIDGE,
        node=NODE,
        node_address=NODE_ADDRESS,
        pod_range=POD_RANGE,
        service_range=SERVICE_RANGE,
        dns_address=DNS_ADDRESS,
        pause=images.PAUSE,
        coredns=images.COREDNS,
        **values,
    )


def _start_containerd(instance: Instance) -> None:
    processes, socket = instance.processes, f"{instance.run}/containerd.sock"
    processes.start("containerd", [program("containerd"), "--config", f"{instance.run}/containerd/config.toml"])
    processes.wait("containerd", _succeeds([program("ctr"), "-a", socket, "version"]), seconds=30)


def _succeeds(command: list[str]) -> Callable[[], bool]:
    return lambda: subprocess.run(command, capture_output=True, check=False).returncode == 0


def _proxy_healthy(instance: Instance) -> bool:
    try:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{instance.port('proxy-health')}/healthz", timeout=2):
            return True
    except (urllib.error.URLError, OSError):
        return False
