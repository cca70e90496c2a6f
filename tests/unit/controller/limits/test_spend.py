"""What namespaces may spend on a lane, as the operator sees it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from laneway.api.gatewaystate import LaneSpend
from laneway.api.reasons import EventReason, Outcome, Waiting
from laneway.api.spend import Period, SpendStatus
from laneway.controller.decide_lane import decide_lane
from laneway.controller.decide_run import decide_run
from laneway.controller.decision.effects import CloseAttempt, DeletePod, PostEvent
from laneway.controller.facts.objects import Lane
from support.builders import (
    admitted,
    at,
    ended,
    gateway,
    lane,
    lane_view,
    metered,
    run,
    run_view,
    running,
)

LATER = at(30)
TODAY = datetime(2026, 3, 1, tzinfo=UTC)
TOMORROW = datetime(2026, 3, 2, tzinfo=UTC)
STARTED = admitted(pod="hello-hello-01-1", pod_uid="pod-uid", start_time=at(2))


def bounded(limit: str = "1.00", *, name: str = "local", spent: tuple[SpendStatus, ...] = ()) -> Lane:
    """A lane on which team-a may spend so much a day."""
    pricing = {"inputUSDPerMillion": "3", "outputUSDPerMillion": "15"}
    spec = {
        "models": [{"name": "smollm2", "pricing": pricing}],
        "spend": [{"namespace": "team-a", "period": "Day", "limitUSD": limit}],
    }
    made = lane(name, spec=spec)
    return replace(made, status=made.status.model_copy(update={"spend": spent}))


def told(used: int, *, refused_at: int | None = None, start: datetime = TODAY, **changes: Any) -> LaneSpend:
    plain = LaneSpend(
        namespace="team-a",
        lane="local",
        of="team-a",
        period=Period.DAY,
        period_start_time=start,
        used_micro_usd=used,
        refused_at_micro_usd=refused_at,
    )
    return plain.model_copy(update=changes)


def known(used: str, *, reached: bool = False, limit: str = "1.00", end: datetime = TOMORROW) -> SpendStatus:
    return SpendStatus(
        namespace="team-a", period=Period.DAY, used_usd=used, limit_usd=limit, reached=reached, period_end_time=end
    )


STATUS = [
    pytest.param(bounded(), (), known("0.00"), id="nothing was spent"),
    pytest.param(bounded(), (told(250_000),), known("0.25"), id="what the gateway counted"),
    pytest.param(bounded(), (told(1_000_000),), known("1.00", reached=True), id="all was spent"),
    pytest.param(bounded(), (told(999_000, refused_at=1_000_000),), known("0.999", reached=True), id="a call did not fit"),
    pytest.param(bounded("2.00"), (told(999_000, refused_at=1_000_000),), known("0.999", limit="2.00"), id="a call did not fit, and the limit was raised"),
    pytest.param(bounded(spent=(known("0.50"),)), (), known("0.50"), id="the gateway has not told yet"),
    pytest.param(bounded(spent=(known("0.50"),)), (told(100),), known("0.50"), id="the gateway lost its ledger"),
    pytest.param(bounded(spent=(known("0.999", reached=True),)), (), known("0.999", reached=True), id="a refusal outlives a restart"),
    pytest.param(bounded(spent=(known("1.00", reached=True, end=TODAY),)), (told(5, start=datetime(2026, 2, 28, tzinfo=UTC)),), known("0.00"), id="yesterday is over"),
    pytest.param(bounded(), (told(5, of="team-b"),), known("0.00"), id="another namespace spent"),
]  # fmt: skip


@pytest.mark.row("S1.15")
@pytest.mark.parametrize(("the_lane", "spends", "expected"), STATUS)
def test_a_lane_says_what_was_spent(the_lane: Lane, spends: tuple[LaneSpend, ...], expected: SpendStatus) -> None:
    decision = decide_lane(lane_view(the_lane=the_lane, spends=spends), LATER)
    assert decision.status.spend == (expected,)
    assert decision.due == TOMORROW


def test_a_lane_without_bounds_says_nothing() -> None:
    decision = decide_lane(lane_view(spends=(told(5),)), LATER)
    assert (decision.status.spend, decision.due) == ((), None)


@pytest.mark.row("S1.15")
def test_runs_of_a_namespace_that_spent_all_wait_until_the_period_ends() -> None:
    spent = bounded(spent=(known("1.00", reached=True),))
    decision = decide_run(run_view(lane=spent), LATER)
    [admitted_now] = [c for c in decision.status.conditions if c.type == "Admitted"]
    assert (admitted_now.reason, decision.due) == (Waiting.SPEND_REACHED, TOMORROW)
    assert (
        "1.00 of 1.00 USD of this day on lane team-a/local; it goes on at 2026-03-02T00:00:00Z" in admitted_now.message
    )
    assert decide_lane(lane_view(run(), the_lane=spent), LATER).grants == ()
    others = run("other", namespace="team-b", spec={"models": [{"lane": "local", "namespace": "team-a"}]})
    shared = replace(
        spent, spec=spent.spec.model_validate({**spent.spec.to_wire(), "allowedNamespaces": {"from": "All"}})
    )
    assert [grant.run for grant in decide_lane(lane_view(run(), others, the_lane=shared), LATER).grants] == [others]
    assert len(decide_lane(lane_view(run(), the_lane=spent), TOMORROW).grants) == 1


def test_a_run_goes_on_to_a_lane_that_its_namespace_may_still_use() -> None:
    spent, spare = bounded(spent=(known("1.00", reached=True),)), lane("spare")
    chained = run(spec={"models": [{"lane": "local"}, {"lane": "spare"}]})
    decision = decide_run(run_view(chained, lanes=[spent, spare]), LATER)
    assert decision.status.step is not None
    assert decision.status.step.lane == "spare"


def test_an_attempt_whose_namespace_spent_all_is_stopped_and_waits() -> None:
    spent = bounded(spent=(known("0.999", reached=True),))
    refused = metered(closed=False).model_copy(update={"spent_out": True})
    first = decide_run(run_view(run(status=STARTED), lane=spent, pods=(running(),), gateway=gateway(refused)), LATER)
    assert [type(effect) for effect in first.effects if not isinstance(effect, PostEvent)] == [CloseAttempt, DeletePod]
    closed = refused.model_copy(update={"closed": True})
    second = decide_run(
        run_view(run(status=first.status), lane=spent, pods=(ended(1),), gateway=gateway(closed)), LATER
    )
    assert second.status.reason == Waiting.WAITING_FOR_SLOT
    assert second.status.attempts[-1].outcome is Outcome.LIMIT
    assert second.status.disruption_count is None
    third = decide_run(run_view(run(status=second.status), lane=spent), LATER)
    assert third.status.reason == Waiting.SPEND_REACHED


def test_an_attempt_that_gave_up_is_begun_again_when_the_limit_was_raised() -> None:
    refused = metered().model_copy(update={"spent_out": True})
    view = run_view(run(status=STARTED), lane=bounded("5.00"), pods=(ended(1),), gateway=gateway(refused))
    decision = decide_run(view, LATER)
    assert decision.status.reason == Waiting.WAITING_FOR_SLOT
    assert EventReason.RESUMED in [effect.reason for effect in decision.effects if isinstance(effect, PostEvent)]
