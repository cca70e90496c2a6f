"""What a Direct attempt cost by the lane's prices, where its agent reports no cost. Pure."""

from __future__ import annotations

from laneway.agent.envelope import EnvelopeSummary
from laneway.agent.envelope import Usage as AgentUsage
from laneway.controller.facts.objects import Lane
from laneway.rules.pricing import cost_micro_usd, prices_of
from laneway.rules.usage import Usage

_MOST_MICRO_USD = 10**12
"""A million dollars for one attempt: more is a broken log, not a cost."""


def priced_micro_usd(envelope: EnvelopeSummary | None, lane: Lane | None, model: str) -> int | None:
    """Millionths of a dollar; None as soon as one price is unknown (C13). Each model's tokens cost that model's price (B14).

    ``model``: the step's, which everything counts for where the log does not tell models apart.
    """
    if envelope is None or envelope.usage is None or lane is None:
        return None
    costs = [_cost(lane, name, used) for name, used in (envelope.usage_by_model or {model: envelope.usage}).items()]
    known = [cost for cost in costs if cost is not None]
    return sum(known) if len(known) == len(costs) and sum(known) <= _MOST_MICRO_USD else None


def _cost(lane: Lane, model: str, used: AgentUsage) -> int | None:
    listed = lane.model(model)
    usage = Usage(used.input_tokens, used.output_tokens, used.cache_read_tokens, used.cache_write_tokens)
    return cost_micro_usd(prices_of(listed.pricing), usage) if listed else None
