"""What a call costs, in whole micro-dollars. No price is unknown, never free (C13); free is the price ``"0"``."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from laneway.api.modellane import Pricing
from laneway.rules.usage import Usage

_MICRO = 1_000_000


@dataclass(frozen=True, slots=True)
class Prices:
    """Micro-dollars per million tokens."""

    input: int
    output: int
    cache_read: int
    cache_write: int


def prices_of(pricing: Pricing | None) -> Prices | None:
    """The prices of a model; None when they are unknown. A cache price that is absent is the input price."""
    if pricing is None or pricing.input_usd_per_million is None or pricing.output_usd_per_million is None:
        return None
    base = _micro(pricing.input_usd_per_million)
    read, write = pricing.cache_read_usd_per_million, pricing.cache_write_usd_per_million
    return Prices(
        input=base,
        output=_micro(pricing.output_usd_per_million),
        cache_read=base if read is None else _micro(read),
        cache_write=base if write is None else _micro(write),
    )


def cost_micro_usd(prices: Prices | None, usage: Usage) -> int | None:
    """Micro-dollars of one call, rounded up so that many small calls are never counted too low; None when price or usage is unknown."""
    if prices is None or usage.input_tokens is None or usage.output_tokens is None:
        return None
    read, written = usage.cache_read_tokens or 0, usage.cache_write_tokens or 0
    fresh = max(0, usage.input_tokens - read - written)
    parts = (
        fresh * prices.input
        + read * prices.cache_read
        + written * prices.cache_write
        + usage.output_tokens * prices.output
    )
    return -(-parts // _MICRO)


@lru_cache(maxsize=1024)
def _micro(text: str) -> int:
    """Kept, because each call asks for the same few."""
    return int(Decimal(text) * _MICRO)
