"""The price of what a Direct attempt used, where its agent names none."""

from __future__ import annotations

from typing import Any

import pytest

from laneway.agent.envelope import EnvelopeSummary, Usage
from laneway.api.modellane import Access
from laneway.api.runstatus import CostSource
from laneway.controller.decide_run import decide_run
from laneway.controller.facts.objects import Lane
from support.builders import admitted, at, ended, lane, run, run_view

STARTED = admitted(pod="hello-hello-01-1", pod_uid="pod-uid", start_time=at(2), access=Access.DIRECT)
PRICED = {
    "name": "smollm2",
    "pricing": {"inputUSDPerMillion": "3", "outputUSDPerMillion": "15", "cacheReadUSDPerMillion": "0.3"},
}
SMALL = {"name": "small", "pricing": {"inputUSDPerMillion": "1", "outputUSDPerMillion": "4"}}
UNPRICED = {"name": "small"}
MILLION = 1_000_000


def direct(*models: dict[str, Any]) -> Lane:
    return lane(spec={"access": "Direct", "models": list(models)})


def cost(envelope: EnvelopeSummary, the_lane: Lane | None) -> tuple[str | None, CostSource | None]:
    lanes = [the_lane] if the_lane else []
    view = run_view(run(status=STARTED), lane=the_lane, lanes=lanes, pods=(ended(0),), envelope=envelope)
    usage = decide_run(view, at(30)).status.usage
    assert usage is not None
    return usage.cost_usd, usage.cost_source


def used(**fields: Any) -> EnvelopeSummary:
    plain = {"finished": True, "usage": Usage(MILLION, MILLION // 5), "usage_is_total": True, "num_turns": 1}
    return EnvelopeSummary(**{**plain, **fields})


BY_MODEL = {"smollm2": Usage(MILLION, 0), "small": Usage(0, MILLION // 5)}


@pytest.mark.row("S4.33", "S4.34", "C13", "B14", "S2.40")
@pytest.mark.parametrize(
    ("envelope", "the_lane", "expected"),
    [
        pytest.param(used(), direct(PRICED), ("6.00", "Priced"), id="tokens times the lane's prices"),
        pytest.param(
            used(usage=Usage(MILLION, 0, cache_read_tokens=MILLION)),
            direct(PRICED),
            ("0.30", "Priced"),
            id="what was cached at its own price",
        ),
        pytest.param(
            used(reported_cost_micro_usd=80_000),
            direct(PRICED),
            ("0.08", "Reported"),
            id="a cost that is reported wins",
        ),
        pytest.param(used(reported_cost_micro_usd=0), direct(PRICED), ("0.00", "Reported"), id="even if it is none"),
        pytest.param(
            used(usage=None, reported_cost_micro_usd=80_000),
            direct(PRICED),
            ("0.08", "Reported"),
            id="a cost without tokens",
        ),
        pytest.param(
            used(usage_by_model=BY_MODEL), direct(PRICED, SMALL), ("3.80", "Priced"), id="each model at its own price"
        ),
        pytest.param(
            used(usage_by_model=BY_MODEL), direct(PRICED, UNPRICED), (None, None), id="one price unknown, all unknown"
        ),
        pytest.param(
            used(usage_by_model=BY_MODEL), direct(PRICED), (None, None), id="a model that the lane does not list"
        ),
        pytest.param(used(), direct({"name": "smollm2"}), (None, None), id="no price is unknown, not free"),
        pytest.param(used(usage=None), direct(PRICED), (None, None), id="no usage costs nobody knows what"),
        pytest.param(used(), None, (None, None), id="a lane that is gone has no prices"),
        pytest.param(
            used(reported_cost_micro_usd=80_000), None, ("0.08", "Reported"), id="a lane that is gone changes no report"
        ),
    ],
)
def test_the_cost_of_a_direct_attempt(
    envelope: EnvelopeSummary, the_lane: Lane | None, expected: tuple[str | None, CostSource | None]
) -> None:
    assert cost(envelope, the_lane) == expected
