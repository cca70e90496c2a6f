"""``laneway ledger usage``: the ledger summed by run, lane, model, namespace, day or caller, one JSON object a line.

Summed where the rows are: months of them would be gigabytes on their way to somebody who wants a line for each namespace.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

from laneway.api.grouping import GroupBy
from laneway.api.ledgersums import LedgerSum
from laneway.gateway.ledger.export import Wanted, carry_out, conditions

_KEYS: dict[GroupBy, dict[str, str]] = {
    GroupBy.RUN: {"namespace": "namespace", "run_uid": "run_uid"},
    GroupBy.LANE: {"lane_namespace": "lane_namespace", "lane": "lane"},
    GroupBy.MODEL: {"model": "model"},
    GroupBy.NAMESPACE: {"namespace": "namespace"},
    GroupBy.DAY: {"day": "date(started_ms / 1000, 'unixepoch')"},
    GroupBy.CALLER: {"namespace": "namespace", "caller": "caller"},
}
"""By group the fields of LedgerSum that name it, and what they are in the table."""

_SUMS = {
    "runs": "count(DISTINCT run_uid)",
    "calls": "sum(state <> 'seeded')",
    "open_calls": "sum(state = 'open')",
    "turns": "sum(turn)",
    "input_tokens": "sum(input_tokens)",
    "cache_read_tokens": "sum(cache_read_tokens)",
    "cache_write_tokens": "sum(cache_write_tokens)",
    "output_tokens": "sum(output_tokens)",
    "cost_micro_usd": "sum(cost_micro_usd)",
    "unpriced_calls": "sum(input_price IS NULL AND cost_micro_usd IS NULL AND coalesce(input_tokens, output_tokens) IS NOT NULL)",
    "estimated_calls": "sum(estimated)",
    "estimated_micro_usd": "sum(CASE WHEN estimated THEN cost_micro_usd END)",
    "unknown_calls": "sum(state IN ('settled', 'lost') AND metered = 0 AND estimated = 0)",
}


def run(path: Path, wanted: Wanted, by: GroupBy, out: TextIO | None = None) -> int:
    """Write the sums. Answers the exit code."""
    out = out or sys.stdout
    return carry_out(path, lambda connection: _write(read(connection, wanted, by), out), out)


def _write(sums: Iterable[LedgerSum], out: TextIO) -> None:
    out.writelines(f"{json.dumps(one.to_wire(), ensure_ascii=False)}\n" for one in sums)


def read(connection: sqlite3.Connection, wanted: Wanted, by: GroupBy) -> Iterator[LedgerSum]:
    """The sums, in the order of what they are by."""
    where, values = conditions(wanted)
    columns = {**_KEYS[by], **_SUMS}
    names = ", ".join(_KEYS[by].values())
    # What is put in are the constants above; what a person asks for is bound.
    statement = f"SELECT {', '.join(columns.values())} FROM calls WHERE started_ms >= :since{where} GROUP BY {names} ORDER BY {names}"  # noqa: S608
    for row in connection.execute(statement, values):
        yield LedgerSum(**dict(zip(columns, row, strict=True)))
