"""The resources that Laneway reads or writes, and how an object of one is named."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import quote

from laneway.api.base import GROUP, VERSION

JsonObject: TypeAlias = dict[str, Any]
"""An object of the Kubernetes API as plain JSON."""


class Key(NamedTuple):
    """Where an object is. The namespace of a cluster-wide object is empty."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


@dataclass(frozen=True)
class Resource:
    """One kind of object and its place in the API."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """The ``apiVersion`` of its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, *names: str) -> str:
        """The URL path of the collection, or of ``names``: an object and, if wanted, its subresource."""
        parts = ["apis", self.group, self.version] if self.group else ["api", self.version]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        return "/" + "/".join(quote(part, safe="") for part in [*parts, self.plural, *names])


AGENT_RUNS = Resource(GROUP, VERSION, "agentruns", "AgentRun")
MODEL_LANES = Resource(GROUP, VERSION, "modellanes", "ModelLane")
PODS = Resource("", "v1", "pods", "Pod")
CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap")
CLAIMS = Resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim")
SECRETS = Resource("", "v1", "secrets", "Secret")
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
NODES = Resource("", "v1", "nodes", "Node", namespaced=False)
EVENTS = Resource("events.k8s.io", "v1", "events", "Event")
ENDPOINT_SLICES = Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")


def key_of(obj: JsonObject) -> Key:
    """Where an object is."""
    meta = obj["metadata"]
    return Key(meta.get("namespace", ""), meta["name"])


def version_of(obj: JsonObject) -> int:
    """Its resourceVersion as a number; versions of one resource may be compared since KEP-5504."""
    return int(obj["metadata"]["resourceVersion"])


def uid_of(obj: JsonObject) -> str:
    """Its uid."""
    return str(obj["metadata"]["uid"])
