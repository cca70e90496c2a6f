"""The export: the same rows and names in both formats, read a few at a time beside a gateway that writes."""

from __future__ import annotations

import csv
import io
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from laneway.__main__ import main
from laneway.gateway.ledger import export
from laneway.gateway.ledger.export import NAMES, Wanted
from laneway.gateway.ledger.ledger import Ledger, open_ledger
from laneway.rules.token import AttemptId
from laneway.rules.usage import Usage
from unit.gateway.kit import PAST_MS, call_end, call_start

HOUR_MS = 3_600_000
FIRST = {
    "id": "a",
    "run_uid": "run-uid-1",
    "attempt": 1,
    "namespace": "agents",
    "caller": "ci",
    "lane_namespace": "models",
    "lane": "lane",
    "model": "m",
    "wire_api": "Messages",
    "started_time": "2027-01-15T08:00:00.000Z",
    "ended_time": "2027-01-15T08:00:00.005Z",
    "state": "settled",
    "status": 200,
    "class": None,
    "finish_reason": "stop",
    "turns": 1,
    "metered": True,
    "estimated": False,
    "input_tokens": 120,
    "output_tokens": 30,
    "cache_read_tokens": None,
    "cache_write_tokens": None,
    "input_usd_per_million": "2.50",
    "output_usd_per_million": "10.00",
    "cache_read_usd_per_million": "2.50",
    "cache_write_usd_per_million": "2.50",
    "cost_usd": "0.0006",
    "reserved_input_tokens": 900,
    "reserved_output_tokens": 100,
    "reserved_usd": None,
}


@pytest.fixture
async def path(tmp_path: Path) -> AsyncIterator[Path]:
    """A ledger of four calls, an hour apart, held by its writer."""
    ledger, _ = open_ledger(tmp_path / "l.sqlite", now_ms=PAST_MS)
    other = AttemptId("run-uid-2", 1)
    await ledger.begin(call_start("a", reserved=(900, 100, None)))
    await ledger.begin(replace(call_start("b", attempt=other, at=PAST_MS + HOUR_MS), namespace="team,b"))
    await ledger.begin(call_start("c", at=PAST_MS + 2 * HOUR_MS))
    await ledger.begin(call_start("d", attempt=other, at=PAST_MS + 3 * HOUR_MS))
    for name in ("a", "b"):
        ledger.settle(name, call_end())
    ledger.settle("c", call_end(usage=Usage(), prices=None, cost=None, metered=False, turn=False, cause="APITimeout"))
    await ledger.flush()
    yield tmp_path / "l.sqlite"
    await ledger.close()


def exported(path: Path, style: str, wanted: Wanted = Wanted()) -> str:  # noqa: B008 - it is frozen
    out = io.StringIO()
    assert export.run(path, wanted, style, out) == 0
    return out.getvalue()


def in_csv(value: object) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


async def test_both_formats_hold_the_same_rows_under_the_same_names(path: Path) -> None:
    lines = [json.loads(line) for line in exported(path, "jsonl").splitlines()]
    table = list(csv.DictReader(io.StringIO(exported(path, "csv"))))
    assert lines[0] == FIRST
    assert all(tuple(line) == NAMES for line in lines)
    assert table == [{name: in_csv(value) for name, value in line.items()} for line in lines]
    assert [line["id"] for line in lines] == ["a", "b", "c", "d"]


async def test_what_is_unknown_is_null_and_never_zero(path: Path) -> None:
    lost, still_open = (json.loads(line) for line in exported(path, "jsonl").splitlines()[2:])
    unknown = ("input_tokens", "output_tokens", "input_usd_per_million", "cost_usd")
    assert [lost[name] for name in unknown] == [None] * 4
    assert (lost["class"], lost["turns"], lost["metered"]) == ("APITimeout", 0, False)
    assert (still_open["state"], still_open["ended_time"], still_open["status"]) == ("open", None, None)


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        pytest.param([], "abcd", id="all"),
        pytest.param(["--since", "2027-01-15T09:00:00Z"], "bcd", id="since a time, which is in it"),
        pytest.param(["--until", "2027-01-15T10:00:00Z"], "ab", id="until a time, which is not in it"),
        pytest.param(
            ["--since", "2027-01-15T09:00:00+00:00", "--until", "2027-01-15T10:00"],
            "b",
            id="between; UTC if none is named",
        ),
        pytest.param(["--since", "2027-01-16"], "", id="since a day"),
        pytest.param(["--namespace", "team,b"], "b", id="a namespace"),
        pytest.param(["--run", "run-uid-2"], "bd", id="a run"),
        pytest.param(["--run", "run-uid-2", "--since", "2027-01-15T10:00"], "d", id="a run since a time"),
    ],
)
async def test_rows_are_chosen(
    path: Path, arguments: list[str], found: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LANEWAY_LEDGER_PATH", str(path))
    for style in ("jsonl", "csv"):
        assert main(["ledger", "export", "--format", style, *arguments]) == 0
        printed = capsys.readouterr().out
        rows = (
            [json.loads(line) for line in printed.splitlines()]
            if style == "jsonl"
            else csv.DictReader(io.StringIO(printed))
        )
        assert "".join(str(row["id"]) for row in rows) == found


@pytest.mark.parametrize(
    ("arguments", "refusal"),
    [
        pytest.param(["--since", "yesterday"], (2, "--since must be a date or a time"), id="a time that is none"),
        pytest.param([], (1, "cannot be read: unable to open database file"), id="no ledger there"),
    ],
)
def test_what_cannot_be_exported_is_said_in_one_line(
    tmp_path: Path,
    arguments: list[str],
    refusal: tuple[int, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("LANEWAY_LEDGER_PATH", str(tmp_path / "none.sqlite"))
    code = main(["ledger", "export", *arguments])
    said = capsys.readouterr().err
    assert (code, said.count("\n")) == (refusal[0], 1)
    assert refusal[1] in said
    assert not list(tmp_path.iterdir())


async def fill(ledger: Ledger, count: int, *, prefix: str) -> None:
    for number in range(count):
        await ledger.begin(call_start(f"{prefix}-{number}", at=PAST_MS + number // 700))
        ledger.settle(f"{prefix}-{number}", call_end())


async def test_a_slow_reader_sees_every_row_once_and_holds_back_neither_writes_nor_the_wal_file(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    ledger, _ = open_ledger(path, now_ms=PAST_MS)
    await fill(ledger, 2000, prefix="before")
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as reader:
        rows = export.read(reader, Wanted(until=None))
        seen = [str(next(rows)["id"]) for _ in range(700)]
        await fill(ledger, 3000, prefix="meanwhile")
        wal = path.with_name(path.name + "-wal").stat().st_size
        seen += [str(row["id"]) for row in rows]
    await ledger.close()
    assert wal < 8 * 1024 * 1024
    assert len(seen) == len(set(seen))
    assert {f"before-{number}" for number in range(2000)} <= set(seen)


async def test_a_reader_that_has_enough_ends_the_command_quietly(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    ledger, _ = open_ledger(path, now_ms=PAST_MS)
    await fill(ledger, 2000, prefix="c")
    await ledger.flush()
    env = {**os.environ, "LANEWAY_LEDGER_PATH": str(path), "PYTHONPATH": str(Path(__file__).parents[4] / "operator")}
    command = [sys.executable, "-m", "laneway", "ledger", "export"]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["id"] == "c-0"
        process.stdout.close()
        assert process.stderr.read() == ""
    await ledger.close()
    assert process.returncode == 0
