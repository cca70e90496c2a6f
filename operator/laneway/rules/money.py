"""Money: a decimal string of US dollars in the API, integer millionths (micro-dollars) inside."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

MICROS = 1_000_000


def parse_usd(text: str) -> int:
    """Micro-dollars of a decimal string such as "2.50". Raises ValueError (decimal.InvalidOperation) on anything else."""
    return int((Decimal(text) * MICROS).to_integral_value(ROUND_HALF_UP))


def format_usd(micros: int) -> str:
    """The decimal string of micro-dollars: at least two places, no needless ones ("0.00", "2.50", "0.000012")."""
    whole, rest = divmod(micros, MICROS)
    places = f"{rest:06d}".rstrip("0").ljust(2, "0")
    return f"{whole}.{places}"
