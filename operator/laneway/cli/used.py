"""What runs have used by their status, and how much of its limits that is. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from laneway.api.agentrun import AgentRunSpec
from laneway.api.grouping import GroupBy
from laneway.api.runstatus import AgentRunStatus, ModelUsage, Usage
from laneway.cli.bill import Line, Share, added
from laneway.cli.rows import NamedLane
from laneway.rules.money import parse_usd

NAMES: Mapping[GroupBy, tuple[str, ...]] = {
    GroupBy.RUN: ("run",),
    GroupBy.LANE: ("lane",),
    GroupBy.MODEL: ("model",),
    GroupBy.NAMESPACE: ("namespace",),
    GroupBy.DAY: ("day",),
    GroupBy.CALLER: ("caller",),
}
"""What names a group of one namespace; a lane is named with its namespace."""


@dataclass(frozen=True)
class UsedRun:
    """A run and who it is."""

    namespace: str
    name: str
    uid: str
    spec: AgentRunSpec
    status: AgentRunStatus


def lines_of(runs: Iterable[UsedRun], by: GroupBy, *, everywhere: bool) -> list[Line]:
    """The runs summed. Days are not in a status."""
    return added(line for run in runs for line in _lines(run, by, everywhere=everywhere))


def moved_runs(runs: Iterable[UsedRun]) -> int:
    """Runs that went to another lane in the middle of an attempt: their status does not say what they used on which."""
    return sum(
        any(
            one.live and (one.from_.namespace, one.from_.lane) != (one.to.namespace, one.to.lane)
            for one in run.status.fallback_history
        )
        for run in runs
    )


def spend_share(
    lanes: Iterable[NamedLane], now: datetime, *, namespace: str | None = None, lane: str | None = None
) -> Share | None:
    """Of the bounds that lanes set for a namespace, or that one lane sets, the one that is used up most in the period of now."""
    shares = [
        Share(
            parse_usd(one.used_usd), parse_usd(one.limit_usd), f"{found.namespace}/{found.name} by {one.period.lower()}"
        )
        for found in lanes
        for one in found.status.spend
        if one.period_end_time > now
        and namespace in {None, one.namespace}
        and lane in {None, f"{found.namespace}/{found.name}"}
    ]
    return max(shares, key=lambda share: share.percent, default=None)


def _lines(run: UsedRun, by: GroupBy, *, everywhere: bool) -> Iterator[Line]:
    match by:
        case GroupBy.LANE:
            yield from _by_lane(run)
        case GroupBy.MODEL:
            yield from _by_model(run)
        case GroupBy.RUN:
            yield _line(
                run, _named(run, {"run": run.name}, everywhere=everywhere), run.status.usage, limit=_own_limit(run)
            )
        case GroupBy.CALLER:
            yield _line(run, _named(run, {"caller": run.spec.caller or ""}, everywhere=everywhere), run.status.usage)
        case _:
            yield _line(run, {"namespace": run.namespace}, run.status.usage)


def _named(run: UsedRun, names: dict[str, str | None], *, everywhere: bool) -> dict[str, str | None]:
    return {"namespace": run.namespace, **names} if everywhere else names


def _line(
    run: UsedRun,
    names: Mapping[str, str | None],
    usage: Usage | None,
    *,
    limit: Share | None = None,
    whole: bool = True,
) -> Line:
    """``whole``: of the run, so its end and what is missing is told by it."""
    usage = usage or Usage()
    finished = run.status.completion_time is not None
    used = usage.input_tokens is not None or usage.output_tokens is not None
    return Line(
        names=names,
        runs=1,
        turns=usage.turns,
        input_tokens=usage.input_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        output_tokens=usage.output_tokens,
        cost_micro_usd=None if usage.cost_usd is None else parse_usd(usage.cost_usd),
        unpriced=int(used and usage.cost_usd is None),
        unknown=int(whole and (usage.complete is False or (finished and bool(run.status.attempt) and not used))),
        open=int(whole and not finished and bool(run.status.attempt)),
        limit=limit,
        parts=(run.uid,),
    )


def _own_limit(run: UsedRun) -> Share | None:
    limit, usage = run.spec.limits.cost_usd, run.status.usage
    if limit is None or usage is None or usage.cost_usd is None:
        return None
    return Share(parse_usd(usage.cost_usd), parse_usd(str(limit)), "spec.limits.costUSD")


def _by_lane(run: UsedRun) -> Iterator[Line]:
    """What each attempt used belongs to the lane that it was on, or came to; older ones than the status keeps to nobody knows which."""
    attempts = run.status.attempts
    lanes = {f"{one.step.namespace}/{one.step.lane}" for one in attempts}
    if len(lanes) <= 1 and len(attempts) == (run.status.attempt or 0):
        yield _line(run, {"lane": next(iter(lanes), None)}, run.status.usage)
        return
    for one in attempts:
        yield _line(run, {"lane": f"{one.step.namespace}/{one.step.lane}"}, one.usage, whole=one is attempts[-1])
    if len(attempts) < (run.status.attempt or 0):
        yield _line(run, {"lane": None}, _rest(run.status.usage, [one.usage for one in attempts]), whole=False)


def _rest(total: Usage | None, known: Sequence[Usage | None]) -> Usage:
    """What of a total the parts do not have."""
    if total is None:
        return Usage()

    def left(name: str) -> int | None:
        whole = getattr(total, name)
        return None if whole is None else max(0, whole - sum(getattr(one, name) or 0 for one in known if one))

    return Usage(turns=left("turns"), input_tokens=left("input_tokens"), output_tokens=left("output_tokens"))


def _by_model(run: UsedRun) -> Iterator[Line]:
    """A status tells the tokens of each model, and the cost of all of them together."""
    usage = run.status.usage
    by_model = usage.by_model if usage else None
    if usage is None or not by_model:
        models = {one.step.model for one in run.status.attempts}
        yield _line(run, {"model": models.pop() if len(models) == 1 else None}, usage)
    elif len(by_model) == 1:
        yield _line(run, {"model": by_model[0].model}, usage)
    else:
        for number, one in enumerate(by_model):
            yield _line(run, {"model": one.model}, _of_model(one, usage), whole=number == 0)


def _of_model(one: ModelUsage, usage: Usage) -> Usage:
    return Usage(
        input_tokens=one.input_tokens,
        cache_read_tokens=one.cache_read_tokens,
        cache_write_tokens=one.cache_write_tokens,
        output_tokens=one.output_tokens,
        complete=usage.complete,
    )
