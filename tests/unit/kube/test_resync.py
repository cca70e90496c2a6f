"""When the resync looks, and what a refusal does to it. What it finds is shown on a real API server."""

from __future__ import annotations

from typing import Any

import pytest

from laneway.kube.cache import Cache
from laneway.kube.errors import Unavailable
from laneway.kube.resync import Resync
from laneway.kube.table import Listed


class EnoughError(Exception):
    """Ends a loop that never ends."""


class Cluster:
    """An empty cluster that refuses the first lists, and what its user sleeps."""

    def __init__(self, *, refusals: int) -> None:
        self.pauses: list[float] = []
        self.places: list[str | None] = []
        self._refusals = refusals

    async def lines(self, resource: Any, *, namespace: str | None, **_: Any) -> tuple[list[Listed], int]:
        if self._refusals:
            self._refusals -= 1
            raise Unavailable("away")
        self.places.append(namespace)
        return [], 7

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        if len(self.pauses) == 3:
            raise EnoughError


def resync(cluster: Any, *namespaces: str) -> Resync:
    return Resync(
        kube=cluster,
        cache=Cache(
            lanes_of_run=lambda run: [],
            chain_of_run=lambda run: [],
            dependencies_of_run=lambda run: [],
            has_ended=lambda run: False,
        ),
        on_change=lambda change: None,
        namespaces=namespaces,
        sleep=cluster.sleep,
        spread=lambda low, high: high,
    )


async def test_it_looks_within_every_minute_with_jitter() -> None:
    cluster = Cluster(refusals=0)
    with pytest.raises(EnoughError):
        await resync(cluster).run()
    assert cluster.pauses == pytest.approx([49.5, 49.5, 49.5])
    assert len(cluster.places) == 6


async def test_a_refusal_is_left_for_the_next_time() -> None:
    cluster = Cluster(refusals=1)
    with pytest.raises(EnoughError):
        await resync(cluster).run()
    assert cluster.pauses == pytest.approx([49.5, 49.5, 49.5])
    assert len(cluster.places) == 3


async def test_each_namespace_is_looked_at_by_itself() -> None:
    cluster = Cluster(refusals=0)
    await resync(cluster, "a", "b").compare()
    assert cluster.places == ["a", "b"] * 3
