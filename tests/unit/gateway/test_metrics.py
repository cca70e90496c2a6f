"""What the gateway counts of calls: zeros before the first count, and money where there are prices."""

from __future__ import annotations

import dataclasses
from typing import Any

from prometheus_client import REGISTRY

from laneway.gateway import metrics
from laneway.gateway.cluster.objects import Lane, read_lane
from laneway.gateway.wire.base import Kind
from laneway.rules.usage import Usage
from unit.gateway.kit import call_end, call_start, lane_object

PRICING = {"inputUSDPerMillion": "1.00", "outputUSDPerMillion": "2.00"}


def value(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


def begin(name: str, **spec: Any) -> dict[str, str]:
    """Show a lane of this name; answers the labels of its model."""
    lane: Lane | None = read_lane(lane_object("http://models.test", **spec))
    metrics.begin_lane(("agents", name), lane)
    return {"namespace": "agents", "lane": name, "model": "smollm2"}


def test_a_priced_model_is_counted_from_zero() -> None:
    where = begin("priced", models=[{"name": "smollm2", "pricing": PRICING}])
    tokens = (
        value("laneway_tokens_total", **where, token_type=kind)
        for kind in ("input", "output", "cache_read", "cache_write")
    )
    assert set(tokens) == {0.0}
    assert value("laneway_cost_usd_total", **where) == 0


def test_what_an_unpriced_model_costs_is_unknown_and_not_zero() -> None:
    where = begin("unpriced")
    assert value("laneway_tokens_total", **where, token_type="input") == 0
    assert value("laneway_cost_usd_total", **where) is None


def test_nothing_is_counted_of_a_lane_whose_calls_do_not_come_here() -> None:
    where = begin("direct", access="Direct")
    assert value("laneway_tokens_total", **where, token_type="input") is None


def test_a_lane_that_is_gone_shows_nothing_new() -> None:
    metrics.begin_lane(("agents", "gone"), None)
    assert value("laneway_tokens_total", namespace="agents", lane="gone", model="smollm2", token_type="input") is None


def test_a_try_counts_its_tokens_and_its_cost() -> None:
    start = dataclasses.replace(call_start("c1"), lane="counted")
    where = {"namespace": "models", "lane": "counted", "model": "m"}
    metrics.count_usage(start, call_end(usage=Usage(input_tokens=100, output_tokens=20), cost=600))
    metrics.count_usage(start, call_end(usage=Usage(input_tokens=1), prices=None, cost=None))
    assert value("laneway_tokens_total", **where, token_type="input") == 101
    assert value("laneway_tokens_total", **where, token_type="output") == 20
    assert value("laneway_tokens_total", **where, token_type="cache_read") is None
    assert value("laneway_cost_usd_total", **where) == 0.0006


def test_refusals_begin_at_zero() -> None:
    shown = {
        sample.labels["reason"]
        for family in metrics.REFUSALS.collect()
        for sample in family.samples
        if sample.name == "laneway_gateway_refusals_total"
    }
    assert shown == set(Kind)
