"""Which tool keeps an object."""

from __future__ import annotations

from typing import Any

import pytest

from laneway.rules.keeper import keeper


@pytest.mark.parametrize(
    ("metadata", "tool"),
    [
        pytest.param({}, "", id="no marks: nobody"),
        pytest.param({"labels": None, "annotations": {"team": "a"}}, "", id="marks of others: nobody"),
        pytest.param(
            {"annotations": {"argocd.argoproj.io/tracking-id": "shop:laneway.dev/AgentRun:team-a/hello"}},
            "Argo CD (application shop)",
            id="Argo CD, which tracks by annotation",
        ),
        pytest.param(
            {"labels": {"argocd.argoproj.io/instance": "shop"}}, "Argo CD (application shop)", id="and by label"
        ),
        pytest.param(
            {"labels": {"kustomize.toolkit.fluxcd.io/name": "apps"}}, "Flux (Kustomization apps)", id="Flux, from files"
        ),
        pytest.param({"labels": {"helm.toolkit.fluxcd.io/name": "apps"}}, "Flux (HelmRelease apps)", id="and by Helm"),
        pytest.param({"annotations": {"meta.helm.sh/release-name": "shop"}}, "Helm (release shop)", id="Helm alone"),
    ],
)
def test_the_tool_is_read_from_its_marks(metadata: dict[str, Any], tool: str) -> None:
    assert keeper(metadata) == tool
