"""What the tests look at in the installed release: logs, ledger, leader."""

from __future__ import annotations

import json
from typing import Any

from e2e.commands import kubectl, kubectl_json

SYSTEM = "laneway-system"
OPERATOR = "laneway operator"
"""Words in the command line of the operator's process."""
_COMPONENT = "app.kubernetes.io/component"
_READ_LEDGER = """
import json, sqlite3, sys
ledger = sqlite3.connect("file:/var/lib/laneway/ledger.db?mode=ro", uri=True)
ledger.row_factory = sqlite3.Row
rows = ledger.execute("SELECT * FROM calls WHERE run_uid = ? ORDER BY started_ms", (sys.argv[1],))
print(json.dumps([dict(row) for row in rows]))
"""


def ledger_rows(run_uid: str) -> list[dict[str, Any]]:
    """The rows of a run, read beside the gateway that writes them."""
    program = ("python3", "-c", _READ_LEDGER, run_uid)
    return list(json.loads(kubectl("exec", "-n", SYSTEM, "deployment/laneway-gateway", "--", *program)))


def logs() -> str:
    """All that operator and gateway have written since they started, and before their last restart."""
    said = []
    for pod in pods("operator") + pods("gateway"):
        name = pod["metadata"]["name"]
        said.append(kubectl("logs", "-n", SYSTEM, name))
        if restarts(pod):
            said.append(kubectl("logs", "-n", SYSTEM, name, "--previous"))
    return "\n".join(said)


def metrics() -> str:
    """All metrics of operator and gateway."""
    paths = [
        f"/api/v1/namespaces/{SYSTEM}/pods/{pod['metadata']['name']}:9090/proxy/metrics"
        for pod in pods("operator") + pods("gateway")
    ]
    return "\n".join(kubectl("get", "--raw", path) for path in paths)


def pods(component: str) -> list[dict[str, Any]]:
    """The pods of the operator or the gateway."""
    return list(kubectl_json("get", "pods", "-n", SYSTEM, "-l", f"{_COMPONENT}={component}")["items"])


def lease() -> dict[str, Any]:
    """What the operators' Lease says: holderIdentity, leaseTransitions."""
    return dict(kubectl_json("get", "lease", "-n", SYSTEM, "laneway-operator")["spec"])


def holder() -> str:
    """Who holds the Lease, a pod's name and more; empty if nobody does."""
    return str(lease().get("holderIdentity") or "")


def leader() -> dict[str, Any]:
    """The operator's pod that holds the Lease."""
    name = holder()
    [pod] = [one for one in pods("operator") if name.startswith(one["metadata"]["name"])]
    return pod


def restarts(pod: dict[str, Any]) -> int:
    """How often the container of a pod was started again."""
    return sum(one["restartCount"] for one in pod["status"].get("containerStatuses", ()))


def all_ready() -> bool:
    """Whether two operators and one gateway are ready, and nothing else is there."""
    found = pods("operator") + pods("gateway")
    ready = [
        one["type"] == "Ready" and one["status"] == "True"
        for pod in found
        for one in pod["status"].get("conditions", ())
    ]
    return len(found) == 3 and sum(ready) == 3
