"""Tables and statements of the ledger."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Any

from laneway.rules.token import AttemptId

SCHEMA_VERSION = 2
_DAY_MS = 86_400_000
_KEEP_MS = 90 * _DAY_MS
_RECENT_MS = 2 * _DAY_MS

_SCHEMA = """
CREATE TABLE calls (
  id TEXT PRIMARY KEY,
  run_uid TEXT NOT NULL,
  attempt INTEGER NOT NULL,
  namespace TEXT NOT NULL,
  lane_namespace TEXT NOT NULL,
  lane TEXT NOT NULL,
  model TEXT NOT NULL,
  wire_api TEXT NOT NULL,
  started_ms INTEGER NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('open', 'settled', 'lost')),
  ended_ms INTEGER,
  status INTEGER,
  class TEXT,
  finish_reason TEXT,
  turn INTEGER NOT NULL DEFAULT 0,
  metered INTEGER NOT NULL DEFAULT 0,
  input_tokens INTEGER,
  output_tokens INTEGER,
  cache_read_tokens INTEGER,
  cache_write_tokens INTEGER,
  input_price INTEGER,
  output_price INTEGER,
  cache_read_price INTEGER,
  cache_write_price INTEGER,
  cost_micro_usd INTEGER,
  reset_ms INTEGER,
  reset_source TEXT,
  cut INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX calls_by_attempt ON calls (run_uid, attempt);
CREATE INDEX calls_by_start ON calls (started_ms);
CREATE TABLE closed (
  run_uid TEXT NOT NULL,
  attempt INTEGER NOT NULL,
  closed_ms INTEGER NOT NULL,
  PRIMARY KEY (run_uid, attempt)
) STRICT, WITHOUT ROWID;
"""
_FROM_1_TO_2 = """
ALTER TABLE calls ADD COLUMN reset_ms INTEGER;
ALTER TABLE calls ADD COLUMN reset_source TEXT;
ALTER TABLE calls ADD COLUMN cut INTEGER NOT NULL DEFAULT 0;
"""

BEGIN = (
    "INSERT INTO calls (id, run_uid, attempt, namespace, lane_namespace, lane, model, wire_api, started_ms, state)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'open')"
)
SETTLE = (
    "UPDATE calls SET state = 'settled', ended_ms = ?, status = ?, class = ?, finish_reason = ?, turn = ?, metered = ?,"
    " input_tokens = ?, output_tokens = ?, cache_read_tokens = ?, cache_write_tokens = ?,"
    " input_price = ?, output_price = ?, cache_read_price = ?, cache_write_price = ?, cost_micro_usd = ?,"
    " reset_ms = ?, reset_source = ?, cut = ?"
    " WHERE id = ? AND state = 'open'"
)
CLOSE_ATTEMPT = "INSERT INTO closed (run_uid, attempt, closed_ms) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"

_TOTALS = """
SELECT c.run_uid, c.attempt, count(*), sum(turn), coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0),
  sum(cache_read_tokens), sum(cache_write_tokens), sum(metered = 0),
  coalesce(sum(cost_micro_usd), 0), sum(input_price IS NULL AND state = 'settled' AND coalesce(input_tokens, output_tokens) IS NOT NULL),
  sum(input_price IS NOT NULL), max(coalesce(ended_ms, started_ms)),
  EXISTS (SELECT 1 FROM closed d WHERE d.run_uid = c.run_uid AND d.attempt = c.attempt)
FROM calls c WHERE state <> 'open' AND {where} GROUP BY c.run_uid, c.attempt
"""
_TOTAL_NAMES = (
    "calls",
    "turns",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "unmetered_calls",
    "cost_micro_usd",
    "unpriced_calls",
    "priced_calls",
    "last_activity_ms",
)
_RECENT = "(c.run_uid, c.attempt) IN (SELECT run_uid, attempt FROM calls WHERE started_ms > :since)"
_ONE = "c.run_uid = :run_uid AND c.attempt = :attempt"
_LAST = """
SELECT class, status, started_ms, ended_ms, finish_reason, reset_ms, reset_source, cut FROM calls
WHERE run_uid = ? AND attempt = ? AND state = 'settled' AND (turn = 1 OR class IS NOT NULL) ORDER BY ended_ms DESC, rowid DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Past:
    """What the ledger knows of one attempt."""

    attempt: AttemptId
    calls: int = 0
    turns: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int | None = None
    """None: no server said anything of its cache."""
    cache_write_tokens: int | None = None
    unmetered_calls: int = 0
    cost_micro_usd: int = 0
    unpriced_calls: int = 0
    priced_calls: int = 0
    last_activity_ms: int | None = None
    closed: bool = False
    last_cause: str | None = None
    """Class of the last ended call; None if that one succeeded."""
    last_status: int | None = None
    last_started_ms: int | None = None
    last_ended_ms: int | None = None
    last_reset_ms: int | None = None
    last_reset_source: str | None = None
    last_cut: bool = False
    finish_reason: str | None = None


def prepare(connection: sqlite3.Connection, *, now_ms: int) -> list[Past]:
    """Make or check the tables, settle rows left open, drop old ones, and read recent attempts. Raises ValueError for a newer schema."""
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > SCHEMA_VERSION:
        raise ValueError(f"it has schema {version}, and this program knows {SCHEMA_VERSION}")
    script = {0: _SCHEMA, 1: _FROM_1_TO_2}.get(version)
    if script is not None:
        connection.executescript(f"BEGIN; {script} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
    connection.execute("UPDATE calls SET state = 'lost', ended_ms = ? WHERE state = 'open'", (now_ms,))
    connection.execute("DELETE FROM calls WHERE started_ms < ?", (now_ms - _KEEP_MS,))
    connection.execute("DELETE FROM closed WHERE closed_ms < ?", (now_ms - _KEEP_MS,))
    since = {"since": now_ms - _RECENT_MS}
    past = [_past(connection, row) for row in connection.execute(_TOTALS.format(where=_RECENT), since).fetchall()]
    known = {one.attempt for one in past}
    closed = connection.execute("SELECT run_uid, attempt FROM closed WHERE closed_ms > :since", since)
    ids = (AttemptId(run_uid, attempt) for run_uid, attempt in closed)
    return past + [Past(attempt=one, closed=True) for one in ids if one not in known]


def read_past(connection: sqlite3.Connection, attempt: AttemptId) -> Past | None:
    """One attempt; None if the ledger has never seen it."""
    where = {"run_uid": attempt.run_uid, "attempt": attempt.attempt}
    row = connection.execute(_TOTALS.format(where=_ONE), where).fetchone()
    if row is not None:
        return _past(connection, row)
    found = connection.execute("SELECT 1 FROM closed WHERE run_uid = :run_uid AND attempt = :attempt", where).fetchone()
    return Past(attempt=attempt, closed=True) if found else None


def _past(connection: sqlite3.Connection, row: tuple[object, ...]) -> Past:
    numbers: list[Any] = [value if value is None else int(str(value)) for value in row[1:]]
    attempt = AttemptId(run_uid=str(row[0]), attempt=numbers[0])
    last = connection.execute(_LAST, (attempt.run_uid, attempt.attempt)).fetchone()
    cause, status, started, ended, finish, reset, source, cut = last or (None,) * 8
    return Past(
        attempt=attempt,
        **dict(zip(_TOTAL_NAMES, numbers[1:12], strict=True)),
        closed=bool(numbers[12]),
        last_cause=cause,
        last_status=status,
        last_started_ms=started,
        last_ended_ms=ended,
        last_reset_ms=reset,
        last_reset_source=source,
        last_cut=bool(cut),
        finish_reason=finish,
    )
