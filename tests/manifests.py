"""The smallest objects that work, and what a test changes in them."""

from __future__ import annotations

import copy
from typing import Any

Manifest = dict[str, Any]

_LANE: Manifest = {
    "apiVersion": "laneway.dev/v1alpha1",
    "kind": "ModelLane",
    "metadata": {"name": "local"},
    "spec": {"endpoint": {"url": "http://ollama:11434", "server": "Ollama"}, "models": [{"name": "smollm2"}]},
}
_RUN: Manifest = {
    "apiVersion": "laneway.dev/v1alpha1",
    "kind": "AgentRun",
    "metadata": {"name": "hello"},
    "spec": {"prompt": "What is the capital of France?", "models": [{"lane": "local"}]},
}


def lane(spec: Manifest | None = None, **metadata: Any) -> Manifest:
    """A ModelLane; ``spec`` is a JSON merge patch of the smallest one's."""
    return merged(_LANE, {"metadata": metadata, "spec": spec or {}})


def run(spec: Manifest | None = None, **metadata: Any) -> Manifest:
    """An AgentRun; ``spec`` is a JSON merge patch of the smallest one's."""
    return merged(_RUN, {"metadata": metadata, "spec": spec or {}})


UNSEEN: Manifest = {"observedGeneration": 0}
"""The status that the API server gives to what has none."""


def merged(base: Manifest, patch: Manifest) -> Manifest:
    """A JSON merge patch applied: None removes, objects are merged, all else replaces."""
    result = copy.deepcopy(base)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result
