"""Runs that end in every way, begun all at once: each test waits for its own, and the slow ones ripen while others run."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from typing import Any

from e2e import agents
from e2e.commands import kubectl, kubectl_json
from e2e.stage import RESTRICTED, scripted_lane, scripted_run
from laneway.kube.resources import JsonObject

OLLAMA = {"endpoint": {"url": "http://ollama.default.svc:11434"}, "models": [{"name": "smollm2"}]}
SECOND_TIME = f'[ "$LANEWAY_ATTEMPT" = 2 ] && echo -n "second attempt" > /dev/termination-log && exit 0; {agents.STAY}'
"""Stays until it is told to leave, but ends well the second time."""
MEGABYTES = 'exec python3 -c "x = bytearray(256 << 20)"'


def with_resources(agent: JsonObject, **resources: Any) -> JsonObject:
    """An agent that asks for something else of its node."""
    return {**agent, "resources": resources}


RUNS: dict[str, JsonObject] = {
    "good": {"agent": agents.says("all done"), "podTTLSeconds": 1},
    "exit-code": {"agent": agents.says("it broke", code=3)},
    "memory": {"agent": with_resources(agents.shell(MEGABYTES), limits={"memory": "32Mi"})},
    "no-image": {"agent": {"image": "localhost/no-such-image:1"}},
    "bad-image-name": {"agent": {"image": "Not an image"}},
    "too-big": {
        "agent": with_resources(agents.says("never"), requests={"cpu": "1000"}),
        "timeouts": {"startSeconds": 5},
    },
    "no-prompt": {
        "prompt": None,
        "promptFrom": {"configMapKeyRef": {"name": "nowhere", "key": "prompt"}},
        "timeouts": {"startSeconds": 5},
    },
    "cancelled": {"agent": agents.shell(agents.STAY)},
    "evicted": {"agent": agents.shell(SECOND_TIME)},
    "deleted": {"agent": agents.shell(SECOND_TIME)},
    "at-work": {"agent": agents.says("finished anyway", before=agents.UNTIL_TOLD)},
    "suspended": {"agent": agents.says("at last"), "suspend": True},
}
REFUSED: dict[str, JsonObject] = {
    "over-quota": {"agent": with_resources(agents.says("there is room"), requests={"memory": "8Mi"})},
    "over-limit": {"agent": with_resources(agents.says("never"), limits={"memory": "4Gi"})},
}
NO_PODS = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "pods"}, "spec": {"hard": {"pods": "0"}}}
ONE_GIGABYTE = {
    "apiVersion": "v1",
    "kind": "LimitRange",
    "metadata": {"name": "memory"},
    "spec": {"limits": [{"type": "Container", "max": {"memory": "1Gi"}, "default": {"memory": "64Mi"}}]},
}


@dataclass(frozen=True)
class Endings:
    """Where the runs are."""

    free: str
    """Namespace where pods are welcome; its runs are RUNS."""
    bound: str
    """Namespace with a quota and a limit; its runs are REFUSED."""
    over_quota: JsonObject
    """The run as it waited for the quota, which was raised afterwards."""

    @classmethod
    def begin(cls) -> Endings:
        """Begin all runs, and raise the quota once it was met."""
        free, bound = (f"e2e-{secrets.token_hex(3)}" for _ in range(2))
        _begin(bound, [NO_PODS, ONE_GIGABYTE, *_runs(REFUSED)])
        _begin(free, _runs(RUNS))
        met = "--for=jsonpath={.status.reason}=QuotaExceeded"
        kubectl("wait", "-n", bound, met, "agrun/over-quota", "--timeout=30s")
        waiting = kubectl_json("get", "-n", bound, "agrun", "over-quota")
        kubectl(
            "patch", "-n", bound, "resourcequota", "pods", "--type=merge", "-p", '{"spec": {"hard": {"pods": "5"}}}'
        )
        return cls(free=free, bound=bound, over_quota=waiting)

    def remove(self) -> None:
        """Remove both namespaces, in the background."""
        kubectl("delete", "namespace", self.free, self.bound, "--wait=false")


def _begin(namespace: str, items: list[JsonObject]) -> None:
    """Make a namespace with a lane to the demo's Ollama and these objects."""
    place = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": RESTRICTED}}
    kubectl("apply", "-f", "-", stdin=json.dumps(place))
    lane = scripted_lane({**OLLAMA, "capacity": {"runs": 20}})
    body = {"apiVersion": "v1", "kind": "List", "items": [lane, *items]}
    kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(body))


def _runs(specs: dict[str, JsonObject]) -> list[JsonObject]:
    return [scripted_run(spec, name=name) for name, spec in specs.items()]
