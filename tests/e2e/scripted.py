"""The scripted model server (tests/modelserver) as a pod and a Service, steered through the API server's proxy."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.commands import attempt, kubectl, until

FILES = Path(__file__).parents[1] / "modelserver"
NAME = "scripted"
PORT = 8000
_POD = "model-server"  # not the Service's name: a pod's own name answers first inside it
_LABELS = {"app": NAME}


@dataclass(frozen=True)
class Scripted:
    """The server of one namespace."""

    namespace: str
    image: str

    async def start(self) -> None:
        """Make it, and wait until its Service answers."""
        kubectl(
            "apply",
            "-n",
            self.namespace,
            "-f",
            "-",
            stdin=json.dumps({"kind": "List", "apiVersion": "v1", "items": self._objects()}),
        )
        await until(self.answers, what="the scripted model server answers")

    def stop(self) -> None:
        """Take its pod away; the Service stays and leads nowhere."""
        kubectl("delete", "pod", "-n", self.namespace, _POD, "--now")

    def answers(self) -> bool:
        return attempt("kubectl", "get", "--raw", self._path("_requests"))[0] == 0

    def requests(self) -> list[dict[str, Any]]:
        """The journal of chat calls."""
        return list(json.loads(kubectl("get", "--raw", self._path("_requests"))))

    def play(self, **script: Any) -> None:
        """Begin a new script: steps, models, health."""
        kubectl("replace", "--raw", self._path("_script"), "-f", "-", stdin=json.dumps(script))

    def _path(self, path: str) -> str:
        return f"/api/v1/namespaces/{self.namespace}/services/{NAME}:{PORT}/proxy/{path}"

    def _objects(self) -> list[dict[str, Any]]:
        files = {file.name: file.read_text() for file in FILES.glob("*.py")}
        ports = [{"port": PORT, "targetPort": PORT}]
        return [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": _POD}, "data": files},
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": NAME},
                "spec": {"selector": _LABELS, "ports": ports},
            },
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": _POD, "labels": _LABELS}, "spec": self._pod()},
        ]

    def _pod(self) -> dict[str, Any]:
        container = {
            "name": "server",
            "image": self.image,
            "command": ["python3", "-m", "modelserver", "--port", str(PORT)],
            "workingDir": "/program",
            "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
            "readinessProbe": {"httpGet": {"path": "/health", "port": PORT}, "periodSeconds": 1},
            "volumeMounts": [{"name": "program", "mountPath": "/program/modelserver"}],
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }
        return {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 2,
            "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [container],
            "volumes": [{"name": "program", "configMap": {"name": _POD}}],
        }
