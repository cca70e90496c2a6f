"""A real Argo CD, and what the integration tests have: control plane, operator processes, played pods, a model server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from argocd.argo import ArgoCD, installed
from argocd.repository import Repository
from integration.conftest import Cluster, cluster, kube, namespace, server, stage, until

__all__ = ["cluster", "kube", "namespace", "server", "stage", "until"]


@pytest.fixture(scope="session")
def argo(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArgoCD]:
    """One Argo CD for all tests."""
    with installed(tmp_path_factory.mktemp("argocd")) as argo:
        yield argo


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """An empty repository."""
    return Repository(tmp_path / "git")
