"""What the operator counts of lanes and runs: zeros before the first count, ends with their outcome, and bounds on money."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import REGISTRY

from laneway.api.modellane import ModelLaneStatus
from laneway.api.reasons import Cause
from laneway.api.runstatus import AgentRunStatus
from laneway.api.spend import SpendStatus
from laneway.controller import metrics
from laneway.controller.facts.objects import Lane
from laneway.rules.cooldown import COOLING_CAUSES
from support.builders import NOW, at, condition, lane, run


def value(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


def spent(namespace: str, used: str) -> SpendStatus:
    return SpendStatus(
        namespace=namespace, period="Day", used_usd=used, limit_usd="5.00", reached=False, period_end_time=at(60)
    )


def with_spend(the_lane: Lane, *entries: SpendStatus) -> tuple[Lane, ModelLaneStatus]:
    """A lane as it was, and the status that it gets."""
    return the_lane, the_lane.status.model_copy(update={"spend": entries})


def test_what_is_counted_of_a_lane_begins_at_zero() -> None:
    metrics.show_lane(lane("zeros"), ModelLaneStatus())
    where = {"namespace": "team-a", "lane": "zeros"}
    assert value("laneway_run_wait_seconds_count", **where) == 0
    assert {value("laneway_fallbacks_total", **where, cause=cause) for cause in Cause} == {0.0}
    rests = (
        value("laneway_upstream_throttled_total", **where, model="smollm2", reason=cause) for cause in COOLING_CAUSES
    )
    assert set(rests) == {0.0}


def test_passes_begin_at_zero() -> None:
    shown = {
        (sample.labels["kind"], sample.labels["outcome"])
        for family in metrics.RECONCILES.collect()
        for sample in family.samples
        if sample.name == "laneway_reconciles_total"
    }
    assert {(kind, "failed") for kind in ("run", "lane")} <= shown


@pytest.mark.parametrize(
    ("name", "reason", "succeeded", "outcome"),
    [
        pytest.param("well", "Completed", "True", "Succeeded", id="a run that did its work"),
        pytest.param("limit", "BudgetReached", "True", "Succeeded", id="a limit that is as good as done"),
        pytest.param("hard-limit", "BudgetReached", "False", "Failed", id="a limit that is a failure"),
        pytest.param("task", "Failed", "False", "Failed", id="a run that failed"),
        pytest.param("stopped", "Cancelled", "False", "Cancelled", id="a run that somebody stopped"),
    ],
)
def test_an_end_is_counted_with_its_outcome_and_its_time(name: str, reason: str, succeeded: str, outcome: str) -> None:
    status = AgentRunStatus(
        reason=reason,
        conditions=(condition("Succeeded", succeeded, reason),),
        start_time=NOW,
        completion_time=at(42),
    )
    metrics.count_end(run(lane=name), status)
    where = {"namespace": "team-a", "lane": name, "outcome": outcome}
    assert value("laneway_runs_finished_total", **where, reason=reason) == 1
    assert value("laneway_run_duration_seconds_sum", **where) == 42


def test_a_run_that_never_started_has_no_duration() -> None:
    status = AgentRunStatus(
        reason="QueueTimeout", conditions=(condition("Succeeded", "False", "QueueTimeout"),), completion_time=at(42)
    )
    metrics.count_end(run(lane="never"), status)
    where = {"namespace": "team-a", "lane": "never", "outcome": "Failed"}
    assert value("laneway_runs_finished_total", **where, reason="QueueTimeout") == 1
    assert value("laneway_run_duration_seconds_count", **where) is None


def test_a_bound_on_money_is_shown_with_its_sum_until_it_is_taken_away() -> None:
    where: dict[str, Any] = {"namespace": "team-a", "lane": "bounded", "period": "Day"}
    before, status = with_spend(lane("bounded"), spent("team-a", "1.25"), spent("team-b", "0.00"))
    metrics.show_lane(before, status)
    assert value("laneway_lane_spend_usd", **where, spender="team-a") == 1.25
    assert value("laneway_lane_spend_usd", **where, spender="team-b") == 0
    assert value("laneway_lane_spend_limit_usd", **where, spender="team-a") == 5
    known = Lane(meta=before.meta, spec=before.spec, status=status)
    metrics.show_lane(*with_spend(known, spent("team-a", "1.50")))
    assert value("laneway_lane_spend_usd", **where, spender="team-a") == 1.5
    assert value("laneway_lane_spend_usd", **where, spender="team-b") is None
    metrics.forget_lane("team-a", "bounded")
    assert value("laneway_lane_spend_usd", **where, spender="team-a") is None
