"""A real node with Laneway on it, as in tests/e2e, and an image for each agent. Each is hundreds of MB, so `make test` leaves these tests out."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from e2e.commands import HACK, run
from e2e.conftest import cluster, kube, laneway_image, scripted, stage

__all__ = ["cluster", "kube", "laneway_image", "scripted", "stage"]

ImageOf = Callable[[str], str]


@pytest.fixture(scope="session")
def demo(cluster: None) -> None:
    """The demo's cluster with its Ollama, and Laneway on it."""
    run(str(HACK / "demo"), "--until", "install", seconds=1500)


@pytest.fixture(scope="session")
def image_of(demo: None) -> ImageOf:
    """Builds the image of a preset's agent, puts it on the node, and answers its name."""
    known: dict[str, str] = {}

    def need(preset: str) -> str:
        if preset not in known:
            reference, archive = run(str(HACK / "image"), f"laneway-{preset}", seconds=900).split()
            run(str(HACK / "cluster"), "load-image", archive, seconds=300)
            known[preset] = reference
        return known[preset]

    return need
