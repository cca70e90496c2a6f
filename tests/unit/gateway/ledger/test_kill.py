"""SIGKILL at any moment: what was settled stays, nothing is there twice, and what was in flight is charged what was reserved for it."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from laneway.gateway.ledger.ledger import open_ledger
from unit.gateway.kit import METERED, PAST_MS
from unit.gateway.ledger.victim import RESERVED

SOURCES = [str(Path(__file__).parents[4] / "operator"), str(Path(__file__).parents[3])]
SECONDS = 6.0
ROUNDS = 40
ENOUGH = 20


@dataclass
class Witness:
    """What the writers were told before they died."""

    begun: set[str] = field(default_factory=set)
    settled: set[str] = field(default_factory=set)
    signals: list[int] = field(default_factory=list)

    def hear(self, line: str) -> bool:
        """Whether the round goes on."""
        kind, _, what = line.strip().partition(" ")
        if kind == "dead":
            self.signals.append(int(what))
            return False
        {"begun": self.begun, "settled": self.settled}[kind].add(what)
        return True


@contextmanager
def victims(path: Path) -> Iterator[subprocess.Popen[str]]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(SOURCES)}
    command = [sys.executable, "-m", "unit.gateway.ledger.victim", str(path)]
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def play(process: subprocess.Popen[str], witness: Witness, plan: str) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(plan + "\n")
    process.stdin.flush()
    for line in process.stdout:
        if not witness.hear(line):
            return


async def check(path: Path, witness: Witness) -> int:
    """The rows against what the writers were told; how many were in flight."""
    assert set(witness.signals) == {9}, "a writer ended by itself"
    ledger, past = open_ledger(path, now_ms=PAST_MS + 2000)
    await ledger.close()
    columns = "id, state, input_tokens, output_tokens, cost_micro_usd, estimated, metered"
    with closing(sqlite3.connect(path)) as reader:
        rows = {row[0]: row[1:] for row in reader.execute(f"SELECT {columns} FROM calls WHERE id NOT LIKE 'old-%'")}
        (old,) = reader.execute("SELECT count(*) FROM calls WHERE id LIKE 'old-%' AND state = 'lost'").fetchone()
    settled = ("settled", METERED.input_tokens, METERED.output_tokens, 600, 0, 1)
    lost = ("lost", *RESERVED, 1, 0)
    assert set(rows.values()) <= {settled, lost}
    assert witness.settled <= {name for name, row in rows.items() if row == settled}
    assert witness.begun <= rows.keys()
    in_flight = sum(row == lost for row in rows.values())
    total = sum(one.cost_micro_usd for one in past)
    assert total == 600 * (len(rows) - in_flight) + RESERVED[2] * in_flight
    assert sum(one.calls for one in past) == len(rows) + old
    return in_flight


async def test_killed_at_random_moments(tmp_path: Path) -> None:
    chance, witness, path = random.Random(20261121), Witness(), tmp_path / "l.sqlite"
    deadline = time.monotonic() + SECONDS
    with victims(path) as process:
        while len(witness.signals) < ROUNDS and (time.monotonic() < deadline or len(witness.settled) <= ENOUGH):
            play(process, witness, f"after {chance.uniform(0.001, 0.2):.4f}")
    assert len(witness.settled) > ENOUGH
    assert await check(path, witness) > 0


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("CREATE TABLE calls", id="while the tables are made"),
        pytest.param("PRAGMA user_version = 3", id="before the schema is marked"),
        pytest.param("UPDATE calls SET state = 'lost'", id="while a start charges what was left open"),
        pytest.param("BEGIN IMMEDIATE", id="before a transaction"),
        pytest.param("INSERT INTO calls", id="before a begin is written"),
        pytest.param("UPDATE calls SET state = 'settled'", id="before an end is written"),
        pytest.param("COMMIT", id="before a commit"),
        pytest.param("DELETE FROM calls", id="while old rows are dropped"),
    ],
)
async def test_killed_at_a_chosen_point(tmp_path: Path, statement: str) -> None:
    witness, path = Witness(), tmp_path / "l.sqlite"
    with victims(path) as process:
        for number in (
            (1, 1, 1) if statement.startswith(("CREATE", "PRAGMA", "UPDATE calls SET state = 'l")) else (9, 30, 55)
        ):
            if statement.startswith("UPDATE calls SET state = 'l"):
                play(process, witness, "at 20 COMMIT")
            play(process, witness, f"at {number} {statement}")
        play(process, witness, "at 60 COMMIT")
    assert len(witness.settled) > 5
    await check(path, witness)
