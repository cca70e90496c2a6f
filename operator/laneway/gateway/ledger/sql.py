"""Tables and statements of the ledger."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Any

from laneway.api.gatewaystate import ModelTotals
from laneway.rules.token import AttemptId

SCHEMA_VERSION = 3
APPLICATION_ID = 0x4C414E45
"""``LANE``, in the file's header: what carries it is a ledger."""
DAY_MS = 86_400_000
KEEP_MS = 90 * DAY_MS
_RECENT_MS = 2 * DAY_MS
WAL_LIMIT_BYTES = 16 * 1024 * 1024
"""What is left of the -wal file once it was carried over."""

_SCHEMA = """
CREATE TABLE calls (
  id TEXT PRIMARY KEY,
  run_uid TEXT NOT NULL,
  attempt INTEGER NOT NULL,
  namespace TEXT NOT NULL,
  caller TEXT NOT NULL,
  lane_namespace TEXT NOT NULL,
  lane TEXT NOT NULL,
  model TEXT NOT NULL,
  wire_api TEXT NOT NULL,
  started_ms INTEGER NOT NULL,
  reserved_input_tokens INTEGER NOT NULL DEFAULT 0,
  reserved_output_tokens INTEGER NOT NULL DEFAULT 0,
  reserved_micro_usd INTEGER,
  state TEXT NOT NULL CHECK (state IN ('open', 'settled', 'lost', 'seeded')),
  ended_ms INTEGER,
  status INTEGER,
  class TEXT,
  finish_reason TEXT,
  turn INTEGER NOT NULL DEFAULT 0,
  metered INTEGER NOT NULL DEFAULT 0,
  estimated INTEGER NOT NULL DEFAULT 0,
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
CREATE INDEX calls_by_spender ON calls (lane_namespace, lane, namespace, started_ms);
CREATE TABLE closed (
  run_uid TEXT NOT NULL,
  attempt INTEGER NOT NULL,
  closed_ms INTEGER NOT NULL,
  PRIMARY KEY (run_uid, attempt)
) STRICT, WITHOUT ROWID;
CREATE INDEX closed_by_time ON closed (closed_ms);
CREATE TABLE probe (id INTEGER PRIMARY KEY, writes INTEGER NOT NULL) STRICT;
INSERT INTO probe VALUES (1, 0);
"""

BEGIN = (
    "INSERT INTO calls (id, run_uid, attempt, namespace, caller, lane_namespace, lane, model, wire_api, started_ms,"
    " reserved_input_tokens, reserved_output_tokens, reserved_micro_usd, state)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'open')"
)
SETTLE = (
    "UPDATE calls SET state = 'settled', ended_ms = ?, status = ?, class = ?, finish_reason = ?, turn = ?, metered = ?,"
    " estimated = ?, input_tokens = ?, output_tokens = ?, cache_read_tokens = ?, cache_write_tokens = ?,"
    " input_price = ?, output_price = ?, cache_read_price = ?, cache_write_price = ?, cost_micro_usd = ?,"
    " reset_ms = ?, reset_source = ?, cut = ?"
    " WHERE id = ? AND state = 'open'"
)
_CHARGE = """
UPDATE calls SET state = 'lost', ended_ms = :now, cost_micro_usd = reserved_micro_usd,
  estimated = reserved_input_tokens + reserved_output_tokens > 0,
  input_tokens = CASE WHEN reserved_input_tokens + reserved_output_tokens > 0 THEN reserved_input_tokens END,
  output_tokens = CASE WHEN reserved_input_tokens + reserved_output_tokens > 0 THEN reserved_output_tokens END
WHERE state = 'open'
"""
CLOSE_ATTEMPT = "INSERT INTO closed (run_uid, attempt, closed_ms) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
PROBE = "UPDATE probe SET writes = writes + 1"
"""A write that changes nothing: whether the disk is well again."""
CARRY_OVER = "PRAGMA wal_checkpoint(PASSIVE)"
DROP_OLD = (
    "DELETE FROM calls WHERE rowid IN (SELECT rowid FROM calls WHERE started_ms < :before LIMIT :most)",
    "DELETE FROM closed WHERE (run_uid, attempt) IN (SELECT run_uid, attempt FROM closed WHERE closed_ms < :before LIMIT :most)",
)

_TOTALS = """
SELECT c.run_uid, c.attempt, count(*), sum(turn), coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0),
  sum(cache_read_tokens), sum(cache_write_tokens), sum(metered = 0), coalesce(sum(cost_micro_usd), 0),
  sum(input_price IS NULL AND cost_micro_usd IS NULL AND coalesce(input_tokens, output_tokens) IS NOT NULL),
  sum(input_price IS NOT NULL OR cost_micro_usd IS NOT NULL), max(coalesce(ended_ms, started_ms)),
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
_RECENT = "c.attempt > 0 AND (c.run_uid, c.attempt) IN (SELECT run_uid, attempt FROM calls WHERE started_ms > :since)"
_RUN = "c.run_uid = :run_uid"
_ONE = "c.run_uid = :run_uid AND c.attempt = :attempt"
_MODELS = """
SELECT model, coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0), sum(cache_read_tokens), sum(cache_write_tokens) FROM calls
WHERE run_uid = ? AND attempt = ? AND state IN ('settled', 'lost') GROUP BY model
"""
"""Not of seeded rows: a status that has no models tells no more than the one that the attempt was on last."""
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
    models: tuple[ModelTotals, ...] = ()
    """By model, as far as rows of calls tell."""
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
    """Make or check the tables, charge rows left open with what was reserved for them, and read recent attempts.

    Raises ValueError with a sentence when the file is no ledger of this schema, or damaged.
    """
    _check(connection)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(f"PRAGMA journal_size_limit = {WAL_LIMIT_BYTES}")
    if _number(connection, "user_version") == 0:
        marks = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};"
        connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} {marks} COMMIT;")
    connection.execute(_CHARGE, {"now": now_ms})
    since = {"since": now_ms - _RECENT_MS}
    past = _read(connection, _RECENT, since)
    known = {one.attempt for one in past}
    closed = connection.execute("SELECT run_uid, attempt FROM closed WHERE closed_ms > :since", since)
    ids = (AttemptId(run_uid, attempt) for run_uid, attempt in closed)
    return past + [Past(attempt=one, closed=True) for one in ids if one not in known]


def _check(connection: sqlite3.Connection) -> None:
    """An empty file becomes a ledger; anything else must be one already. Nothing is written before this is known."""
    version, application = _number(connection, "user_version"), _number(connection, "application_id")
    if version == application == _number(connection, "schema_version") == 0:
        return
    if version != SCHEMA_VERSION:
        raise ValueError(f"it has schema {version}, and this program knows schema {SCHEMA_VERSION} only")
    if application != APPLICATION_ID:
        raise ValueError("it is a database of another program")
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise ValueError(f"it is damaged: {found}")


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])


def read_past(connection: sqlite3.Connection, attempt: AttemptId) -> Past | None:
    """One attempt; None if the ledger has never seen it."""
    where = {"run_uid": attempt.run_uid, "attempt": attempt.attempt}
    for found in _read(connection, _ONE, where):
        return found
    closed = connection.execute(
        "SELECT 1 FROM closed WHERE run_uid = :run_uid AND attempt = :attempt", where
    ).fetchone()
    return Past(attempt=attempt, closed=True) if closed else None


def read_run(connection: sqlite3.Connection, run_uid: str) -> list[Past]:
    """All attempts of a run that made calls."""
    return _read(connection, _RUN, {"run_uid": run_uid})


def _read(connection: sqlite3.Connection, where: str, values: dict[str, Any]) -> list[Past]:
    return [_past(connection, row) for row in connection.execute(_TOTALS.format(where=where), values).fetchall()]


def _past(connection: sqlite3.Connection, row: tuple[object, ...]) -> Past:
    numbers: list[Any] = [value if value is None else int(str(value)) for value in row[1:]]
    attempt = AttemptId(run_uid=str(row[0]), attempt=numbers[0])
    last = connection.execute(_LAST, (attempt.run_uid, attempt.attempt)).fetchone()
    cause, status, started, ended, finish, reset, source, cut = last or (None,) * 8
    by_model = connection.execute(_MODELS, (attempt.run_uid, attempt.attempt)).fetchall()
    return Past(
        attempt=attempt,
        **dict(zip(_TOTAL_NAMES, numbers[1:12], strict=True)),
        models=tuple(_of_model(*one) for one in by_model),
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


def _of_model(model: str, given: int, got: int, read: int | None, written: int | None) -> ModelTotals:
    return ModelTotals(
        model=model, input_tokens=given, output_tokens=got, cache_read_tokens=read, cache_write_tokens=written
    )
