"""What calls have used, summed as they end: of one attempt, and of each model that it used."""

from __future__ import annotations

from dataclasses import dataclass

from laneway.api.gatewaystate import ModelTotals, Totals
from laneway.gateway.ledger.ledger import CallEnd


@dataclass(slots=True)
class Sums:
    """Changed in place: a value of the API made anew for each call costs ten times as much."""

    turns: int = 0
    input_tokens: int = 0
    cache_read_tokens: int | None = None
    """None: no server said anything of its cache."""
    cache_write_tokens: int | None = None
    output_tokens: int = 0
    cost_micro_usd: int | None = None
    """None: a call's price is unknown, or nothing was priced yet."""
    unmetered_calls: int = 0

    def add(self, end: CallEnd, *, unpriced: bool) -> None:
        """One more call. ``unpriced``: the price of one of them is unknown."""
        usage = end.usage
        self.turns += end.turn
        self.input_tokens += usage.input_tokens or 0
        self.output_tokens += usage.output_tokens or 0
        self.unmetered_calls += not end.metered
        if usage.cache_read_tokens is not None:
            self.cache_read_tokens = (self.cache_read_tokens or 0) + usage.cache_read_tokens
        if usage.cache_write_tokens is not None:
            self.cache_write_tokens = (self.cache_write_tokens or 0) + usage.cache_write_tokens
        if unpriced:
            self.cost_micro_usd = None
        elif end.prices is not None or self.cost_micro_usd is not None:
            self.cost_micro_usd = (self.cost_micro_usd or 0) + (end.cost_micro_usd or 0)

    def totals(self) -> Totals:
        """As the operator gets those of an attempt."""
        return Totals(
            turns=self.turns,
            input_tokens=self.input_tokens,
            cache_read_tokens=self.cache_read_tokens,
            cache_write_tokens=self.cache_write_tokens,
            output_tokens=self.output_tokens,
            cost_micro_usd=self.cost_micro_usd,
            unmetered_calls=self.unmetered_calls,
        )

    def of_model(self, model: str) -> ModelTotals:
        """As the operator gets those of a model."""
        return ModelTotals(
            model=model,
            input_tokens=self.input_tokens,
            cache_read_tokens=self.cache_read_tokens,
            cache_write_tokens=self.cache_write_tokens,
            output_tokens=self.output_tokens,
        )


def sums_of(told: ModelTotals) -> Sums:
    """What was told of a model, to be counted on."""
    return Sums(
        input_tokens=told.input_tokens,
        cache_read_tokens=told.cache_read_tokens,
        cache_write_tokens=told.cache_write_tokens,
        output_tokens=told.output_tokens,
    )
