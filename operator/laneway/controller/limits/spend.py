"""What namespaces have spent on a lane in the current periods, and whether they may go on. Pure.

The gateway counts. While it is away, or has not told yet, what status knows of the same period stands.
"""

from __future__ import annotations

from datetime import datetime

from laneway.api.modellane import ModelLaneStatus
from laneway.api.spend import Spend, SpendStatus
from laneway.controller.facts.views import LaneView
from laneway.rules.money import format_usd, parse_usd
from laneway.rules.periods import end_of, start_of


def spend_status(view: LaneView, now: datetime) -> tuple[SpendStatus, ...]:
    """One entry for each of ``spec.spend``."""
    return tuple(_entry(view, bound, now) for bound in view.lane.spec.spend)


def next_period(view: LaneView, now: datetime) -> datetime | None:
    """When the first of its periods ends, and what waits for that may go on."""
    return min((end_of(bound.period, now) for bound in view.lane.spec.spend), default=None)


def reached(status: ModelLaneStatus, namespace: str, now: datetime) -> SpendStatus | None:
    """What keeps runs of a namespace from a lane: of several the one that lasts longest."""
    holding = [one for one in status.spend if one.namespace == namespace and one.reached and now < one.period_end_time]
    return max(holding, key=lambda one: one.period_end_time, default=None)


def _entry(view: LaneView, bound: Spend, now: datetime) -> SpendStatus:
    limit, end = parse_usd(bound.limit_usd), end_of(bound.period, now)
    used, refused = _known(view, bound, end), _refused_at(view, bound, now)
    return SpendStatus(
        namespace=bound.namespace,
        period=bound.period,
        used_usd=format_usd(used),
        limit_usd=format_usd(limit),
        reached=used >= limit or (refused is not None and limit <= refused),
        period_end_time=end,
    )


def _known(view: LaneView, bound: Spend, end: datetime) -> int:
    """The larger of what the gateway and what status say of this period: it is never lowered."""
    told = [one.used_micro_usd for one in view.spends if _is_of(one.of, one.period, bound) and end_of(one.period, one.period_start_time) == end]  # fmt: skip
    written = [
        parse_usd(one.used_usd)
        for one in view.lane.status.spend
        if _is_of(one.namespace, one.period, bound) and one.period_end_time == end
    ]
    return max([*told, *written], default=0)


def _refused_at(view: LaneView, bound: Spend, now: datetime) -> int | None:
    start = start_of(bound.period, now)
    told = [one for one in view.spends if _is_of(one.of, one.period, bound) and one.period_start_time == start]
    if told:
        return max((one.refused_at_micro_usd for one in told if one.refused_at_micro_usd is not None), default=None)
    written = (one for one in view.lane.status.spend if _is_of(one.namespace, one.period, bound))
    held = [one for one in written if one.reached and one.period_end_time == end_of(bound.period, now)]
    return parse_usd(held[0].limit_usd) if held else None


def _is_of(namespace: str, period: str, bound: Spend) -> bool:
    return (namespace, period) == (bound.namespace, bound.period)
