"""What the status of a run says that it has used: in all, and in each of its kept attempts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from laneway.rules.budget import Amount
from laneway.rules.money import parse_usd

_NOTHING = Amount()


@dataclass(frozen=True, slots=True)
class Spent:
    """Numbers that nobody knows count as nothing here: they are a lower bound."""

    total: Amount = _NOTHING
    attempts: Mapping[int, Amount] = field(default_factory=dict)


def spent_of(status: Mapping[str, Any]) -> Spent:
    """Read from ``status.usage`` and ``status.attempts[].usage``."""
    attempts = {one["id"]: _amount(one.get("usage")) for one in status.get("attempts") or ()}
    return Spent(_amount(status.get("usage")), attempts)


def _amount(usage: Mapping[str, Any] | None) -> Amount:
    known = usage or {}
    cost = known.get("costUSD")
    return Amount(
        cost=0 if cost is None else parse_usd(cost), tokens=known.get("totalTokens") or 0, turns=known.get("turns") or 0
    )
