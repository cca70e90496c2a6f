"""What the ledger counts of itself."""

from __future__ import annotations

from pathlib import Path

from prometheus_client import Counter, Gauge, Histogram

from laneway.gateway.ledger.file import Fault, size_of, wal_of

COMMIT_SECONDS = Histogram(
    "laneway_ledger_commit_seconds",
    "Seconds of a write to the ledger, one for all rows that waited together.",
    buckets=(0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
ERRORS = Counter("laneway_ledger_errors", "Writes to the ledger that failed.", ["reason"])
SIZE = Gauge("laneway_ledger_size_bytes", "Bytes of the ledger's files.", ["file"])
WAITING = Gauge("laneway_ledger_waiting_writes", "Rows that are not on the disk yet.")

for _fault in Fault:
    ERRORS.labels(_fault)


def watch_size(path: Path) -> None:
    """Read the sizes of a ledger's files at each scrape."""
    SIZE.labels("database").set_function(lambda: size_of(path))
    SIZE.labels("wal").set_function(lambda: size_of(wal_of(path)))
