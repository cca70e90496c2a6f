"""Certificates and kubeconfigs of a cluster: one authority signs all, made by openssl in half a second."""

import subprocess
from pathlib import Path
from string import Template

from local.console import StepError
from local.paths import CONFIG

DAYS = "365"
CLIENTS = {  # kubeconfig name -> subject
    "admin": "/O=system:masters/CN=admin",
    "controller-manager": "/CN=system:kube-controller-manager",
    "scheduler": "/CN=system:kube-scheduler",
    "kubelet": "/O=system:nodes/CN=system:node:{node}",
    "proxy": "/CN=system:kube-proxy",
    "volumes": "/O=system:masters/CN=local-volumes",
}


def make(folder: Path, *, server_addresses: list[str], node: str, node_address: str) -> None:
    """Writes the authority, all certificates and the service account keys into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    _key(folder / "ca.key")
    _openssl(
        "req",
        "-x509",
        "-new",
        "-key",
        folder / "ca.key",
        "-subj",
        "/CN=laneway-local",
        "-days",
        DAYS,
        "-out",
        folder / "ca.crt",
    )
    names = [
        "DNS:localhost",
        "DNS:kubernetes",
        "DNS:kubernetes.default",
        "DNS:kubernetes.default.svc",
        "DNS:kubernetes.default.svc.cluster.local",
    ]
    _certificate(
        folder,
        "apiserver",
        "/CN=kube-apiserver",
        "serverAuth",
        [*(f"IP:{address}" for address in server_addresses), *names],
    )
    _certificate(folder, "kubelet-server", f"/CN={node}", "serverAuth", [f"IP:{node_address}", f"DNS:{node}"])
    _certificate(folder, "apiserver-kubelet", "/O=system:masters/CN=kube-apiserver-kubelet-client", "clientAuth", [])
    for name, subject in CLIENTS.items():
        _certificate(folder, name, subject.format(node=node), "clientAuth", [])
    _openssl("genrsa", "-out", folder / "sa.key", "2048")
    _openssl("rsa", "-in", folder / "sa.key", "-pubout", "-out", folder / "sa.pub")


def write_kubeconfigs(pki: Path, folder: Path, *, server: str, context: str) -> None:
    """Writes one kubeconfig for each client into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    template = Template((CONFIG / "kubeconfig.yaml").read_text())
    for name in CLIENTS:
        file = folder / f"{name}.conf"
        file.write_text(template.substitute(server=server, pki=pki, user=name, context=context))
        file.chmod(0o600)


def _key(file: Path) -> None:
    _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", file)
    file.chmod(0o600)


def _certificate(folder: Path, name: str, subject: str, usage: str, names: list[str]) -> None:
    key, request, extensions = (folder / f"{name}.{end}" for end in ("key", "csr", "ext"))
    _key(key)
    _openssl("req", "-new", "-key", key, "-subj", subject, "-out", request)
    alternative = f"subjectAltName={','.join(names)}\n" if names else ""
    extensions.write_text(f"extendedKeyUsage={usage}\n{alternative}")
    signing: list[str | Path] = [
        "-CA",
        folder / "ca.crt",
        "-CAkey",
        folder / "ca.key",
        "-CAcreateserial",
        "-days",
        DAYS,
        "-extfile",
        extensions,
    ]
    _openssl("x509", "-req", "-in", request, *signing, "-out", folder / f"{name}.crt")


def _openssl(*arguments: str | Path) -> None:
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise StepError(
            "making certificates",
            f"openssl {arguments[0]} said: {done.stderr.strip()[-300:]}",
            "is openssl 1.1 or newer installed?",
        )
