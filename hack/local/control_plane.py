"""etcd, kube-apiserver, kube-controller-manager and, where there is a node, kube-scheduler."""

import http
import ssl
import subprocess
import urllib.error
import urllib.request

from local import pki
from local.console import StepError
from local.instance import LOOPBACK, NODE, NODE_ADDRESS, SERVICE_ADDRESS, SERVICE_RANGE, Instance, program
from local.paths import CONFIG, TREE

COMPONENT_RATE = [
    "--kube-api-qps=1000",
    "--kube-api-burst=2000",
]  # the scheduler's default of 50 bounds pods per second


def start(instance: Instance, *, scheduler: bool) -> None:
    """Starts the control plane; returns when pods can be created."""
    instance.choose_ports(
        [
            "api",
            "etcd",
            "etcd-peer",
            "controller-manager",
            "scheduler",
            "kubelet-health",
            "proxy-health",
            "proxy-metrics",
        ]
    )
    addresses = sorted({LOOPBACK, instance.address, SERVICE_ADDRESS})
    pki.make(instance.pki, server_addresses=addresses, node=NODE, node_address=NODE_ADDRESS)
    pki.write_kubeconfigs(
        instance.pki, instance.run / "kube", server=instance.server, context=f"laneway-{instance.name}"
    )
    processes = instance.processes
    processes.start("etcd", _etcd(instance))
    processes.start("kube-apiserver", _apiserver(instance))
    processes.wait("kube-apiserver", lambda: answers(instance, f"{instance.server}/readyz"), seconds=90)
    processes.start("kube-controller-manager", _controller_manager(instance))
    if scheduler:
        processes.start("kube-scheduler", _scheduler(instance))
        processes.wait("kube-scheduler", lambda: _healthy(instance, "scheduler"), seconds=60)
    processes.wait("kube-controller-manager", lambda: _healthy(instance, "controller-manager"), seconds=60)
    processes.wait(
        "kube-controller-manager", lambda: kubectl_ok(instance, "get", "serviceaccount", "default"), seconds=60
    )


def answers(instance: Instance, url: str, *, seconds: float = 2.0) -> bool:
    """Whether an https URL of the cluster answers 200."""
    context = (
        ssl.create_default_context(cafile=str(instance.pki / "ca.crt"))
        if "readyz" in url
        else ssl._create_unverified_context()
    )
    context.load_cert_chain(instance.pki / "admin.crt", instance.pki / "admin.key")
    try:
        with urllib.request.urlopen(url, timeout=seconds, context=context) as answer:
            return bool(answer.status == http.HTTPStatus.OK)
    except (urllib.error.URLError, OSError):
        return False


def kubectl(instance: Instance, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Runs the cluster's own kubectl as its administrator."""
    command = [program("kubectl"), f"--kubeconfig={instance.kubeconfig}", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)


def install_crds(instance: Instance, step: str) -> None:
    """Applies the tree's CRDs, and waits until they are served. Raises StepError."""
    crds = str(TREE / "crds")
    for arguments in (("apply", "--server-side", "-f", crds), ("wait", "--for=condition=Established", "-f", crds)):
        done = kubectl(instance, *arguments)
        if done.returncode != 0:
            raise StepError(step, done.stderr.strip(), "look at the log of its API server")


def kubectl_ok(instance: Instance, *arguments: str) -> bool:
    """Whether a kubectl command succeeds."""
    return kubectl(instance, *arguments).returncode == 0


def _healthy(instance: Instance, name: str) -> bool:
    return answers(instance, f"https://{LOOPBACK}:{instance.port(name)}/healthz")


def _etcd(instance: Instance) -> list[str]:
    client, peer = (f"http://{LOOPBACK}:{instance.port(name)}" for name in ("etcd", "etcd-peer"))
    return [
        program("etcd"),
        "--name=laneway",
        f"--data-dir={instance.run}/etcd",
        "--unsafe-no-fsync",  # the data is thrown away with the cluster
        "--log-level=warn",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=laneway={peer}",
    ]


def _apiserver(instance: Instance) -> list[str]:
    keys = instance.pki
    # The reconciler would publish the API server's address as an Endpoint, which may not be a loopback address.
    reconciler = "none" if instance.address == LOOPBACK else "lease"
    return [
        program("kube-apiserver"),
        f"--etcd-servers=http://{LOOPBACK}:{instance.port('etcd')}",
        f"--bind-address={instance.address}",
        f"--advertise-address={instance.address}",
        f"--secure-port={instance.port('api')}",
        f"--endpoint-reconciler-type={reconciler}",
        f"--tls-cert-file={keys}/apiserver.crt",
        f"--tls-private-key-file={keys}/apiserver.key",
        f"--client-ca-file={keys}/ca.crt",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={keys}/sa.pub",
        f"--service-account-signing-key-file={keys}/sa.key",
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        f"--kubelet-client-certificate={keys}/apiserver-kubelet.crt",
        f"--kubelet-client-key={keys}/apiserver-kubelet.key",
        f"--kubelet-certificate-authority={keys}/ca.crt",
        "--kubelet-preferred-address-types=InternalIP",
        f"--cert-dir={keys}",
        f"--audit-policy-file={CONFIG}/audit.yaml",
        f"--audit-log-path={instance.run}/log/audit.log",
        "--audit-log-mode=batch",  # no request waits for its line
        "--audit-log-maxsize=100",
        "--audit-log-maxbackup=1",
    ]


def _controller_manager(instance: Instance) -> list[str]:
    return [
        program("kube-controller-manager"),
        *_as_client(instance, "controller-manager"),
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={instance.pki}/sa.key",
        f"--root-ca-file={instance.pki}/ca.crt",
    ]


def _scheduler(instance: Instance) -> list[str]:
    return [program("kube-scheduler"), *_as_client(instance, "scheduler")]


def _as_client(instance: Instance, name: str) -> list[str]:
    config = instance.client(name)
    return [
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        f"--bind-address={LOOPBACK}",
        f"--secure-port={instance.port(name)}",
        "--leader-elect=false",
        *COMPONENT_RATE,
        f"--cert-dir={instance.pki}",
    ]
