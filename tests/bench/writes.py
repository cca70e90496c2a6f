"""P5, the arithmetic: the writes of one program, from what the API server counted. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

_SAMPLE = re.compile(r"^apiserver_request_total\{(?P<labels>[^}]*)\} (?P<value>\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_OWN_SAMPLE = re.compile(r"^laneway_kube_requests_total\{(?P<labels>[^}]*)\} (?P<value>\S+)$", re.MULTILINE)
_OWN_WRITES = frozenset({"create", "apply", "patch", "replace", "delete"})
_WRITES = frozenset({"POST", "PUT", "PATCH", "APPLY", "DELETE"})
_LEFT_OUT = frozenset({"events", "leases", "subjectaccessreviews", "tokenreviews"})
"""Events are not counted by the target; the others do not come with runs."""
OTHERS = frozenset({"POST agentruns", "POST jobs", "PATCH pods/status"})
"""What the benchmark writes itself: the load, and the player's part of the pods."""


def counted(metrics: str) -> Counter[str]:
    """Writes so far, refused ones too, by verb and resource: ``PATCH pods/status``."""
    found: Counter[str] = Counter()
    for sample in _SAMPLE.finditer(metrics):
        labels = dict(_LABEL.findall(sample["labels"]))
        if labels["verb"] in _WRITES and labels["resource"] not in _LEFT_OUT:
            part = f"/{labels['subresource']}" if labels["subresource"] else ""
            found[f"{labels['verb']} {labels['resource']}{part}"] += round(float(sample["value"]))
    return found


def of_the_program(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """Writes between two counts, without those of the benchmark."""
    made = {name: count - before.get(name, 0) for name, count in after.items() if name not in OTHERS}
    return {name: count for name, count in sorted(made.items()) if count}


def counted_by_operator(metrics: str) -> int:
    """The operator's own count of the same."""
    total = 0.0
    for sample in _OWN_SAMPLE.finditer(metrics):
        labels = dict(_LABEL.findall(sample["labels"]))
        if labels["verb"] in _OWN_WRITES and labels["resource"] not in _LEFT_OUT:
            total += float(sample["value"])
    return round(total)
