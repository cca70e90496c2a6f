"""``laneway ledger export``: the ledger's rows as JSON lines or CSV, in the order in which calls began, read while the gateway writes.

Rows are read a few at a time, each time anew: a slow reader holds back neither the gateway's writes nor the -wal file.
"""

from __future__ import annotations

import csv
import json
import sqlite3
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from laneway.gateway.ledger.file import open_to_read
from laneway.rules.money import format_usd
from laneway.settings import SettingsError

_PAGE = 500
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Wanted:
    """Which rows to export: those of calls that began at ``since`` or later, and before ``until``."""

    since: datetime | None = None
    until: datetime | None = None
    namespace: str | None = None
    run_uid: str | None = None


def _same(value: Any) -> Any:
    return value


def _time(milliseconds: int | None) -> str | None:
    if milliseconds is None:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _usd(micros: int | None) -> str | None:
    return None if micros is None else format_usd(micros)


def _flag(value: int) -> bool:
    return bool(value)


_COLUMNS: tuple[tuple[str, str, Callable[[Any], Any]], ...] = (
    ("id", "id", _same),
    ("run_uid", "run_uid", _same),
    ("attempt", "attempt", _same),
    ("namespace", "namespace", _same),
    ("caller", "caller", _same),
    ("lane_namespace", "lane_namespace", _same),
    ("lane", "lane", _same),
    ("model", "model", _same),
    ("wire_api", "wire_api", _same),
    ("started_time", "started_ms", _time),
    ("ended_time", "ended_ms", _time),
    ("state", "state", _same),
    ("status", "status", _same),
    ("class", "class", _same),
    ("finish_reason", "finish_reason", _same),
    ("turns", "turn", _same),
    ("metered", "metered", _flag),
    ("estimated", "estimated", _flag),
    ("input_tokens", "input_tokens", _same),
    ("output_tokens", "output_tokens", _same),
    ("cache_read_tokens", "cache_read_tokens", _same),
    ("cache_write_tokens", "cache_write_tokens", _same),
    ("input_usd_per_million", "input_price", _usd),
    ("output_usd_per_million", "output_price", _usd),
    ("cache_read_usd_per_million", "cache_read_price", _usd),
    ("cache_write_usd_per_million", "cache_write_price", _usd),
    ("cost_usd", "cost_micro_usd", _usd),
    ("reserved_input_tokens", "reserved_input_tokens", _same),
    ("reserved_output_tokens", "reserved_output_tokens", _same),
    ("reserved_usd", "reserved_micro_usd", _usd),
)
"""Name in the export, column of the table, and how its value is written."""
NAMES = tuple(name for name, _, _ in _COLUMNS)


def run(path: Path, wanted: Wanted, style: str, out: TextIO | None = None) -> int:
    """Write the export in ``style``, jsonl or csv. Answers the exit code."""
    out = out or sys.stdout
    return carry_out(path, lambda connection: write(read(connection, wanted), style, out), out)


def carry_out(path: Path, answer: Callable[[sqlite3.Connection], None], out: TextIO) -> int:
    """Have a question to a ledger answered on ``out``. Answers the exit code."""
    try:
        with closing(open_to_read(path)) as connection:
            answer(connection)
            out.flush()
    except sqlite3.Error as error:
        sys.stderr.write(f"laneway ledger: {path} cannot be read: {error}\n")
        return 1
    except BrokenPipeError:
        sys.stderr.close()  # whoever read has enough; Python would complain that it cannot flush
    return 0


def read(connection: sqlite3.Connection, wanted: Wanted) -> Iterator[Row]:
    """The rows, a few at a time."""
    where, values = conditions(wanted)
    columns = ", ".join(column for _, column, _ in _COLUMNS)
    statement = (
        f"SELECT started_ms, rowid, {columns} FROM calls WHERE (started_ms, rowid) > (:after, :rowid){where}"  # noqa: S608
        " ORDER BY started_ms, rowid LIMIT :page"
    )
    values |= {"after": values["since"] - 1, "rowid": 2**63 - 1, "page": _PAGE}
    while rows := connection.execute(statement, values).fetchall():
        for row in rows:
            yield {name: shown(value) for (name, _, shown), value in zip(_COLUMNS, row[2:], strict=True)}
        values |= {"after": rows[-1][0], "rowid": rows[-1][1]}


def write(rows: Iterator[Row], style: str, out: TextIO) -> None:
    """What is unknown is null in JSON, and empty in CSV."""
    if style == "jsonl":
        out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        return
    table = csv.writer(out, lineterminator="\n")
    table.writerow(NAMES)
    for row in rows:
        table.writerow([str(value).lower() if isinstance(value, bool) else value for value in row.values()])


def wanted_of(options: Namespace) -> Wanted:
    """What the command line asks for. Raises SettingsError."""
    since, until = (_moment(name, getattr(options, name)) for name in ("since", "until"))
    return Wanted(since=since, until=until, namespace=options.namespace, run_uid=options.run)


def _moment(name: str, text: str | None) -> datetime | None:
    """A date, or a time; UTC where it names no zone."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise SettingsError(f"--{name} must be a date or a time like 2026-11-21T09:30:00Z, not {text!r}") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def conditions(wanted: Wanted) -> tuple[str, dict[str, Any]]:
    """What rows have to meet besides ``:since``, and the values for it all; since ever is 0."""
    values: dict[str, Any] = {"since": _milliseconds(wanted.since)}
    where = ""
    if wanted.until is not None:
        where, values["until"] = where + " AND started_ms < :until", _milliseconds(wanted.until)
    if wanted.namespace is not None:
        where, values["namespace"] = where + " AND namespace = :namespace", wanted.namespace
    if wanted.run_uid is not None:
        where, values["run_uid"] = where + " AND run_uid = :run_uid", wanted.run_uid
    return where, values


def _milliseconds(moment: datetime | None) -> int:
    return 0 if moment is None else int(moment.timestamp() * 1000)
