"""What the gateway has, read from outside: its ledger, its state, its metrics, its log."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from laneway.api.gatewaystate import AttemptState, GatewayState
from soak.oracle import AttemptKey, Rest, Row, Sums

_ROWS = "SELECT run_uid, attempt, state, turn, metered, input_tokens, output_tokens, cost_micro_usd FROM calls"
_HARMLESS = frozenset({"debug", "info", "warning"})


def rows_of(ledger: Path) -> list[Row]:
    """Every row. The gateway may go on writing meanwhile."""
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as connection:
        return [
            Row(str(run), int(attempt), str(state), bool(turn), bool(metered), *tokens_and_cost)
            for run, attempt, state, turn, metered, *tokens_and_cost in connection.execute(_ROWS)
        ]


def sums_of(state: GatewayState) -> dict[AttemptKey, Sums]:
    """What the state says of each attempt that made calls."""
    return {(one.run_uid, one.attempt): _sums(one) for one in state.attempts if one.calls}


def rest_of(state: GatewayState, metrics: str) -> Rest:
    """What is open, waiting, held or reserved."""
    return Rest(
        open_calls=value(metrics, "laneway_gateway_open_calls") + sum(one.open_calls for one in state.attempts),
        waiting_calls=value(metrics, "laneway_lane_waiting_calls"),
        places_held=value(metrics, "laneway_lane_calls"),
        waiting_writes=value(metrics, "laneway_ledger_waiting_writes"),
        reserved_micro_usd=sum(one.reserved_micro_usd or 0 for one in state.attempts),
    )


def value(metrics: str, name: str) -> float:
    """A metric, summed over its labels. Raises ValueError if it is not told: that is not zero."""
    found = [
        float(line.rsplit(" ", 1)[1]) for line in metrics.splitlines() if line.startswith((f"{name} ", f"{name}{{"))
    ]
    if not found:
        raise ValueError(f"the gateway does not tell {name}")
    return sum(found)


def errors_in(log: str) -> list[str]:
    """The lines that are errors, and those that are none of the log's: nobody catches what stands there."""
    return [line for line in log.splitlines() if _level(line) not in _HARMLESS]


def _level(line: str) -> str | None:
    try:
        return str(json.loads(line)["level"])
    except (ValueError, KeyError, TypeError):
        return None


def _sums(one: AttemptState) -> Sums:
    totals = one.totals
    return Sums(
        one.calls,
        totals.turns,
        totals.input_tokens,
        totals.output_tokens,
        totals.unmetered_calls,
        totals.cost_micro_usd or 0,
    )
