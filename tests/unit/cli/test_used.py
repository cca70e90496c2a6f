"""What runs have used by their status: what is unknown is counted beside the sums and never zero."""

from __future__ import annotations

from typing import Any

import pytest

from laneway.api.grouping import GroupBy
from laneway.api.modellane import ModelLaneStatus
from laneway.api.reasons import Cause
from laneway.api.runstatus import AgentRunStatus, Fallback, ModelUsage, NamedStep, StepStatus, Usage
from laneway.api.spend import Period, SpendStatus
from laneway.cli.bill import Line
from laneway.cli.rows import NamedLane
from laneway.cli.used import UsedRun, lines_of, moved_runs, spend_share
from support.builders import NOW, at, attempt, lane, run

PRICED = Usage(turns=2, input_tokens=100, output_tokens=10, cost_usd="0.50", complete=True)
LOCAL = StepStatus(lane="local", namespace="team-a", model="small")
OTHER = StepStatus(lane="other", namespace="models", model="big")


def used(
    name: str = "hello", usage: Usage | None = PRICED, *, spec: dict[str, Any] | None = None, **status: Any
) -> UsedRun:
    known = {"attempt": 1, "attempts": (attempt(1, step=LOCAL, usage=usage),), "completion_time": NOW, **status}
    return UsedRun("team-a", name, f"uid-{name}", run(spec=spec).spec, AgentRunStatus(usage=usage, **known))


def some(line: Line, *names: str) -> tuple[Any, ...]:
    return tuple(getattr(line, name) for name in names)


@pytest.mark.parametrize(
    ("the_run", "cost", "unpriced", "unknown", "under_way"),
    [
        pytest.param(used(), 500_000, 0, 0, 0, id="all is known"),
        pytest.param(used(usage=Usage(input_tokens=1, output_tokens=1, complete=True)), None, 1, 0, 0, id="no price"),
        pytest.param(
            used(usage=PRICED.model_copy(update={"complete": False})), 500_000, 0, 1, 0, id="some calls told nothing"
        ),
        pytest.param(used(usage=None), None, 0, 1, 0, id="it had an agent and nobody counted"),
        pytest.param(used(usage=None, attempt=None, attempts=()), None, 0, 0, 0, id="it never had an agent"),
        pytest.param(
            used(usage=None, completion_time=None), None, 0, 0, 1, id="it is at work and has called nobody yet"
        ),
        pytest.param(used(completion_time=None), 500_000, 0, 0, 1, id="it is at work"),
    ],
)
def test_what_is_not_known_of_a_run_is_counted(
    the_run: UsedRun, cost: int | None, unpriced: int, unknown: int, under_way: int
) -> None:
    [line] = lines_of([the_run], GroupBy.NAMESPACE, everywhere=False)
    assert some(line, "cost_micro_usd", "unpriced", "unknown", "open") == (cost, unpriced, unknown, under_way)


def test_runs_of_a_group_are_added_and_what_nobody_told_stays_out_of_the_sum() -> None:
    unpriced = used("other", Usage(turns=1, input_tokens=5, output_tokens=1, complete=True))
    [line] = lines_of([used(), unpriced], GroupBy.NAMESPACE, everywhere=True)
    assert some(line, "names", "runs", "turns", "input_tokens", "cost_micro_usd", "is_least", "cache_read_tokens") == (
        {"namespace": "team-a"}, 2, 3, 105, 500_000, True, None,
    )  # fmt: skip


def test_a_run_of_several_lanes_is_split_by_its_attempts_and_older_ones_belong_to_nobody_known() -> None:
    second = Usage(turns=1, input_tokens=30, output_tokens=3, cost_usd="0.10")
    third = Usage(turns=1, input_tokens=20, output_tokens=2, cost_usd="0.20")
    attempts = (attempt(2, step=LOCAL, usage=second), attempt(3, step=OTHER, usage=third))
    lines = lines_of([used(attempt=3, attempts=attempts)], GroupBy.LANE, everywhere=False)
    assert [some(line, "names", "input_tokens", "cost_micro_usd", "unpriced") for line in lines] == [
        ({"lane": "models/other"}, 20, 200_000, 0),
        ({"lane": "team-a/local"}, 30, 100_000, 0),
        ({"lane": None}, 50, None, 1),
    ]


def test_of_several_models_the_tokens_are_known_and_the_cost_is_not() -> None:
    both = (
        ModelUsage(model="big", input_tokens=60, output_tokens=6),
        ModelUsage(model="small", input_tokens=40, output_tokens=4),
    )
    lines = lines_of([used(usage=PRICED.model_copy(update={"by_model": both}))], GroupBy.MODEL, everywhere=False)
    assert [some(line, "names", "input_tokens", "turns", "cost_micro_usd", "unpriced") for line in lines] == [
        ({"model": "big"}, 60, None, None, 1),
        ({"model": "small"}, 40, None, None, 1),
    ]
    [one] = lines_of([used(usage=PRICED.model_copy(update={"by_model": both[:1]}))], GroupBy.MODEL, everywhere=False)
    assert some(one, "names", "turns", "cost_micro_usd") == ({"model": "big"}, 2, 500_000)


def test_a_run_has_the_share_of_its_own_limit_and_its_namespace_where_all_are_shown() -> None:
    [line] = lines_of([used(spec={"limits": {"costUSD": "2.00"}})], GroupBy.RUN, everywhere=True)
    assert line.names == {"namespace": "team-a", "run": "hello"}
    assert line.limit is not None
    assert (line.limit.percent, line.limit.words) == (25, "spec.limits.costUSD: 0.50 of 2.00")


def test_a_run_that_went_to_another_lane_while_at_work_is_counted() -> None:
    def moved(to: str, *, live: bool = True) -> UsedRun:
        one = Fallback(
            time=NOW,
            attempt=1,
            from_=NamedStep(lane="local", namespace="team-a"),
            to=NamedStep(lane=to, namespace="team-a"),
            cause=Cause.RATE_LIMIT_MODEL,
            live=live,
        )
        return used(fallback_history=(one,))

    assert moved_runs([moved("other"), moved("local"), moved("other", live=False)]) == 1


def spending(name: str, *spends: SpendStatus) -> NamedLane:
    return NamedLane("models", name, NOW, lane().spec, ModelLaneStatus(spend=spends))


def spend(
    used_usd: str, limit: str, *, namespace: str = "team-a", ends: float = 60, period: Period = Period.DAY
) -> SpendStatus:
    return SpendStatus(
        namespace=namespace, period=period, used_usd=used_usd, limit_usd=limit, reached=False, period_end_time=at(ends)
    )


def test_the_bound_that_is_used_up_most_is_the_one_that_is_told() -> None:
    lanes = [
        spending("first", spend("1.00", "4.00"), spend("9.00", "10.00", period=Period.MONTH, namespace="team-b")),
        spending("second", spend("6.30", "10.00", period=Period.MONTH), spend("9.99", "10.00", ends=-1)),
    ]
    share = spend_share(lanes, NOW, namespace="team-a")
    assert share is not None
    assert (share.percent, share.words) == (63, "models/second by month: 6.30 of 10.00")
    first = spend_share(lanes, NOW, lane="models/first")
    assert first is not None
    assert first.percent == 90
    assert spend_share(lanes, NOW, namespace="team-c") is None
    nothing = spend_share([spending("none", spend("0", "0"))], NOW)
    assert nothing is not None
    assert nothing.percent == 100
