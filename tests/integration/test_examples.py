"""Every object of examples/ is accepted by a real API server, without a field that it does not know."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from integration.conftest import Kubectl

EXAMPLES = Path(__file__).parents[2] / "examples"
FILES = sorted(file for file in EXAMPLES.rglob("*.yaml") if file.name != "application.yaml")
"""All but those of Argo CD's kind, which tests/argocd brings to Argo CD."""


def templates() -> Iterator[Any]:
    """Runs inside ConfigMaps, which the API server takes for text."""
    for file in FILES:
        for document in yaml.safe_load_all(file.read_text()):
            for key, text in (document.get("data") or {}).items():
                yield pytest.param(text, id=f"{file.relative_to(EXAMPLES)} {key}")


@pytest.mark.parametrize("file", [pytest.param(file, id=str(file.relative_to(EXAMPLES))) for file in FILES])
def test_an_example_is_accepted(kubectl: Kubectl, namespace: str, file: Path) -> None:
    wanted = [document for document in yaml.safe_load_all(file.read_text()) if document]
    verb = "create" if any("generateName" in one["metadata"] for one in wanted) else "apply"
    said = kubectl(verb, "--dry-run=server", "--validate=strict", "--namespace", namespace, "--filename", str(file))
    assert len(said.splitlines()) == len(wanted) > 0


@pytest.mark.parametrize("text", list(templates()))
def test_a_run_inside_a_configmap_is_accepted(kubectl: Kubectl, namespace: str, text: str) -> None:
    said = kubectl(
        "create", "--dry-run=server", "--validate=strict", "--namespace", namespace, "--filename=-", stdin=text
    )
    assert said.startswith("agentrun.laneway.dev/nightly-review-")
