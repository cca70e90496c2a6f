"""How a status is put together: conditions that keep their times, a phase for people, usage that only grows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from laneway.agent.envelope import EnvelopeSummary
from laneway.api.base import Condition
from laneway.api.gatewaystate import AttemptState
from laneway.api.limits import LimitName, Limits, OnReached
from laneway.api.reasons import Admitted, End, Phase, RunCondition, Waiting
from laneway.api.runstatus import AgentRunStatus, CostSource, ModelUsage, Usage, UsageSource
from laneway.controller.decision import modelusage
from laneway.controller.facts.objects import Run
from laneway.rules.money import format_usd, parse_usd

_MESSAGE_LIMIT = 4096

LIMIT_ENDS = {
    LimitName.COST: End.BUDGET_REACHED,
    LimitName.TOKENS: End.TOKENS_REACHED,
    LimitName.TURNS: End.TURNS_REACHED,
    LimitName.TIME: End.TIME_REACHED,
}
_GOOD_ENDS = frozenset({End.COMPLETED, End.TRANSIENT_STOP, *LIMIT_ENDS.values()})


@dataclass(frozen=True)
class Said:
    """What one condition says."""

    status: str
    reason: str
    message: str = ""


def merge_conditions(
    old: tuple[Condition, ...], said: dict[str, Said], *, generation: int, now: datetime
) -> tuple[Condition, ...]:
    """All conditions of an object; a transition time moves only when the status does."""
    before = {condition.type: condition for condition in old}
    merged = []
    for kind, words in said.items():
        known = before.get(kind)
        same = known is not None and known.status == words.status
        merged.append(
            Condition(
                type=kind,
                status=words.status,
                reason=words.reason,
                message=words.message[:_MESSAGE_LIMIT],
                last_transition_time=known.last_transition_time if known and same else now,
                observed_generation=generation,
            )
        )
    return tuple(merged)


def waiting_conditions(reason: Waiting, message: str) -> dict[str, Said]:
    """A run without a slot. It is stalled only when nothing but a person can help."""
    stalled = reason in {
        Waiting.LANE_NOT_FOUND,
        Waiting.MODEL_NOT_FOUND,
        Waiting.NAMESPACE_NOT_ALLOWED,
        Waiting.PRESET_NOT_FOUND,
        Waiting.IMAGE_NOT_SET,
        Waiting.WIRE_API_UNSUPPORTED,
        Waiting.PRICE_UNKNOWN,
    }
    return {
        RunCondition.ADMITTED: Said("False", reason, message),
        RunCondition.FINISHED: Said("False", "Waiting", message),
        RunCondition.SUCCEEDED: Said("Unknown", "Waiting", message),
        RunCondition.RECONCILING: Said("False" if stalled else "True", reason, message),
        RunCondition.STALLED: Said(
            "True" if stalled else "False", reason if stalled else "NotStalled", message if stalled else ""
        ),
    }


def active_conditions(phase: Phase, reason: str, message: str, *, lane: str) -> dict[str, Said]:
    """A run that holds a slot."""
    return {
        RunCondition.ADMITTED: Said("True", Admitted.SLOT_GRANTED, f"holds a slot of lane {lane}"),
        RunCondition.FINISHED: Said("False", phase, message),
        RunCondition.SUCCEEDED: Said("Unknown", phase, message),
        RunCondition.RECONCILING: Said("True", reason, message),
        RunCondition.STALLED: Said("False", "NotStalled"),
    }


def is_good(end: End, limits: Limits) -> bool:
    """Whether a run that ended so has succeeded: reaching a limit is what was asked for, unless it is to fail then (C11)."""
    fails = limits.on_reached is OnReached.FAIL and end in LIMIT_ENDS.values()
    return end in _GOOD_ENDS and not fails


def finished_conditions(end: End, message: str, *, good: bool) -> dict[str, Said]:
    """A run that has ended."""
    return {
        RunCondition.ADMITTED: Said("False", "Finished", "the run has ended; its slot is free"),
        RunCondition.FINISHED: Said("True", end, message),
        RunCondition.SUCCEEDED: Said("True" if good else "False", end, message),
        RunCondition.RECONCILING: Said("False", end, message),
        RunCondition.STALLED: Said("False" if good else "True", "NotStalled" if good else end, "" if good else message),
    }


def with_conditions(
    run: Run, status: AgentRunStatus, said: dict[str, Said], *, phase: Phase, reason: str, now: datetime
) -> AgentRunStatus:
    """The status with these conditions and the words for ``kubectl get``."""
    conditions = merge_conditions(run.status.conditions, said, generation=run.meta.generation, now=now)
    return status.model_copy(
        update={
            "observed_generation": run.meta.generation,
            "conditions": conditions,
            "phase": phase,
            "reason": reason,
        }
    )


def gateway_usage(state: AttemptState, *, complete: bool | None) -> Usage:
    """The usage of an attempt as the gateway metered it."""
    totals = state.totals
    return Usage(
        turns=totals.turns,
        input_tokens=totals.input_tokens,
        cache_read_tokens=totals.cache_read_tokens,
        cache_write_tokens=totals.cache_write_tokens,
        output_tokens=totals.output_tokens,
        total_tokens=totals.input_tokens + totals.output_tokens,
        cost_usd=None if totals.cost_micro_usd is None else format_usd(totals.cost_micro_usd),
        cost_source=None if totals.cost_micro_usd is None else CostSource.PRICED,
        by_model=modelusage.of_gateway(state),
        reserved_usd=None if state.closed or state.reserved_micro_usd is None else format_usd(state.reserved_micro_usd),
        source=UsageSource.GATEWAY,
        complete=complete if complete is None else complete and totals.unmetered_calls == 0,
    )


def envelope_usage(envelope: EnvelopeSummary | None, *, priced_micro_usd: int | None = None) -> Usage:
    """The usage of a Direct attempt as its agent reported it; what it did not say stays unknown. A cost that it reports wins (S4.34)."""
    if envelope is None or (envelope.usage is None and envelope.reported_cost_micro_usd is None):
        return Usage(complete=False)
    used, reported = envelope.usage, envelope.reported_cost_micro_usd
    cost = priced_micro_usd if reported is None else reported
    source = CostSource.PRICED if reported is None else CostSource.REPORTED
    return Usage(
        turns=envelope.num_turns,
        input_tokens=used.input_tokens if used else None,
        cache_read_tokens=used.cache_read_tokens if used else None,
        cache_write_tokens=used.cache_write_tokens if used else None,
        output_tokens=used.output_tokens if used else None,
        total_tokens=used.input_tokens + used.output_tokens if used else None,
        cost_usd=None if cost is None else format_usd(cost),
        cost_source=None if cost is None else source,
        by_model=_by_model(envelope),
        source=UsageSource.ENVELOPE,
        complete=envelope.usage_is_total,
    )


def _by_model(envelope: EnvelopeSummary) -> tuple[ModelUsage, ...] | None:
    """As the log has it; a name may be anything."""
    total = envelope.usage
    models = (
        ModelUsage.model_construct(
            model=name,
            input_tokens=used.input_tokens,
            cache_read_tokens=used.cache_read_tokens,
            cache_write_tokens=used.cache_write_tokens,
            output_tokens=used.output_tokens,
        )
        for name, used in envelope.usage_by_model.items()
    )
    return modelusage.whole(
        models, given=total.input_tokens if total else None, got=total.output_tokens if total else None
    )


_COUNTS = ("turns", "input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "total_tokens")


def add_usage(total: Usage | None, *, before: Usage | None, after: Usage) -> Usage:
    """The run's usage once an attempt's usage went from ``before`` to ``after``. Never lowered (design section 7)."""
    update: dict[str, Any] = {}
    for name in _COUNTS:
        new = getattr(after, name)
        grown = max(0, (new or 0) - (getattr(before, name, None) or 0))
        old = getattr(total, name, None)
        update[name] = None if old is None and new is None else (old or 0) + grown
    first = total is None or total.source is None or _is_nothing(total)
    cost_known = after.cost_usd is not None and (first or (total is not None and total.cost_usd is not None))
    if total is not None and _is_nothing(after) and after.cost_usd is None:
        update |= {"cost_usd": total.cost_usd, "cost_source": total.cost_source}
    elif cost_known and after.cost_usd is not None:
        spent = parse_usd(after.cost_usd) - (parse_usd(before.cost_usd) if before and before.cost_usd else 0)
        old_cost = parse_usd(total.cost_usd) if total and total.cost_usd else 0
        update["cost_usd"] = format_usd(old_cost + max(0, spent))
        update["cost_source"] = after.cost_source
    update["by_model"] = modelusage.grown(
        total, before=before, after=after, given=update["input_tokens"], got=update["output_tokens"]
    )
    update["reserved_usd"] = after.reserved_usd
    update["source"] = after.source or (total.source if total else None)
    broken = total is not None and total.complete is False and (before is None or before.complete is not False)
    update["complete"] = False if broken else after.complete
    return Usage(**update)


def _is_nothing(usage: Usage) -> bool:
    """Known to be nothing: a call is open, and none has ended. It has no cost yet, and that is not an unknown one."""
    return usage.turns == 0 and usage.total_tokens == 0
