"""Which tool keeps an object, and brings it again when it is gone: read from the marks that the tool leaves on it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_ARGO_ID = "argocd.argoproj.io/tracking-id"
_TOOLS = (
    ("argocd.argoproj.io/instance", "Argo CD (application {})"),
    ("kustomize.toolkit.fluxcd.io/name", "Flux (Kustomization {})"),
    ("helm.toolkit.fluxcd.io/name", "Flux (HelmRelease {})"),
    ("meta.helm.sh/release-name", "Helm (release {})"),
)
TRACKED_BY = ("argocd.argoproj.io/", "kustomize.toolkit.fluxcd.io/", "helm.toolkit.fluxcd.io/", "meta.helm.sh/")
"""What labels and annotations of tools that keep objects begin with."""


def keeper(metadata: Mapping[str, Any]) -> str:
    """The tool that keeps an object with this metadata, as people know it; empty if none does."""
    marks = {**(metadata.get("labels") or {}), **(metadata.get("annotations") or {})}
    if application := str(marks.get(_ARGO_ID) or "").partition(":")[0]:
        return f"Argo CD (application {application})"
    return next((name.format(marks[mark]) for mark, name in _TOOLS if marks.get(mark)), "")


def kept_because(tool: str) -> str:
    """Why a finished run that a tool keeps is not deleted after its time (decision 0044)."""
    return f"ttlSecondsAfterFinished does not delete it, for {tool} would bring it again"
