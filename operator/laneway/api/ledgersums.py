"""What ``laneway ledger usage`` writes and ``kubectl laneway usage`` reads: one line for each group of calls."""

from __future__ import annotations

from laneway.api.base import Model


class LedgerSum(Model):
    """The calls of one group. Of the names those are set that the group is by."""

    day: str | None = None
    """Date in UTC on which the calls began."""
    run_uid: str | None = None
    namespace: str | None = None
    """Namespace of the runs."""
    caller: str | None = None
    lane_namespace: str | None = None
    lane: str | None = None
    model: str | None = None
    runs: int
    calls: int
    """Calls that have ended or are under way; rows that stand for the usage of lost calls are none."""
    open_calls: int
    """Of these, calls under way: what they use is not in the sums."""
    turns: int
    input_tokens: int | None = None
    """None: no call told any. Cached tokens included."""
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    output_tokens: int | None = None
    cost_micro_usd: int | None = None
    """None: no price was known."""
    unpriced_calls: int
    """Calls with usage and without a price: they are missing in the cost."""
    estimated_calls: int
    """Calls that told no usage, and are charged what was reserved for them."""
    estimated_micro_usd: int | None = None
    """What of the cost is such reservations."""
    unknown_calls: int
    """Calls that told no usage, and for which nothing was reserved: they are missing everywhere."""
