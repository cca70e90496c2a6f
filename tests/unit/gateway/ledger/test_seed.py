"""What a new or older ledger takes from the status of active runs: only what no row holds, and never twice."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from laneway.gateway.cluster.views import Views
from laneway.gateway.ledger.ledger import Ledger, open_ledger
from laneway.gateway.ledger.seed import Counts, missing, read_recorded
from laneway.gateway.ledger.sql import Past
from laneway.rules.token import AttemptId
from unit.gateway.kit import ATTEMPT, PAST_MS, call_end, call_start, run_object

JsonObject = dict[str, Any]
HUNDRED = {
    "turns": 1,
    "inputTokens": 100,
    "outputTokens": 10,
    "totalTokens": 110,
    "costUSD": "0.50",
    "source": "Gateway",
}
TWICE = {"turns": 2, "inputTokens": 200, "outputTokens": 20, "totalTokens": 220, "costUSD": "1.00", "source": "Gateway"}
REPORTED = {**HUNDRED, "source": "Envelope"}
UNPRICED = {name: value for name, value in HUNDRED.items() if name != "costUSD"}
ONE, TWO = Counts(1, 100, 10, None, None, 500_000), Counts(2, 200, 20, None, None, 1_000_000)


def past(attempt: int, *, calls: int = 1) -> Past:
    """An attempt with calls of 100 and 10 tokens for half a dollar each."""
    return Past(
        attempt=AttemptId(ATTEMPT.run_uid, attempt),
        calls=calls,
        turns=calls,
        input_tokens=100 * calls,
        output_tokens=10 * calls,
        cost_micro_usd=500_000 * calls,
        priced_calls=calls,
    )


def run_with(total: JsonObject, attempts: dict[int, JsonObject], **more: Any) -> JsonObject:
    item = run_object(**more)
    step = {"lane": "lane", "namespace": "models", "model": "m"}
    listed = [{"id": number, "step": step, "usage": usage} for number, usage in attempts.items()]
    item["spec"] = {"caller": "ci"}
    item["status"] |= {"usage": total, "attempts": listed, "lastActivityTime": "2026-11-21T10:00:00Z"}
    return item


def recorded(item: JsonObject) -> Any:
    views = Views()
    views.runs.put(item)
    (run,) = views.runs
    return read_recorded(run)


@pytest.mark.parametrize(
    ("total", "attempts", "known", "expected"),
    [
        pytest.param(HUNDRED, {1: HUNDRED}, [], {1: ONE}, id="a new ledger takes all"),
        pytest.param(TWICE, {1: HUNDRED, 2: HUNDRED}, [], {1: ONE, 2: ONE}, id="of each attempt"),
        pytest.param(TWICE, {1: TWICE}, [past(1)], {1: ONE}, id="an older ledger takes the rest"),
        pytest.param(HUNDRED, {1: HUNDRED}, [past(1)], {}, id="one that knows as much takes nothing"),
        pytest.param(HUNDRED, {1: HUNDRED}, [past(1, calls=3)], {}, id="nor one that knows more"),
        pytest.param(
            TWICE, {11: HUNDRED}, [], {0: ONE, 11: ONE}, id="attempts that are no longer listed count together"
        ),
        pytest.param(
            TWICE,
            {1: HUNDRED},
            [past(0), past(1)],
            {},
            id="what classifying the run cost is in its sum and in no attempt",
        ),
        pytest.param(TWICE, {11: HUNDRED}, [past(1), past(11)], {}, id="against all rows that are not of listed ones"),
        pytest.param(
            TWICE, {1: REPORTED, 2: HUNDRED}, [], {2: ONE}, id="what an agent reported is no call of the gateway's"
        ),
        pytest.param(UNPRICED, {1: UNPRICED}, [], {1: Counts(1, 100, 10)}, id="without a price the cost stays unknown"),
        pytest.param(
            {**HUNDRED, "costUSD": "0.00"},
            {1: {**HUNDRED, "costUSD": "0.00"}},
            [],
            {1: Counts(1, 100, 10, None, None, 0)},
            id="free stays free",
        ),
    ],
)
def test_what_a_ledger_lacks(
    total: JsonObject, attempts: dict[int, JsonObject], known: list[Past], expected: dict[int, Counts]
) -> None:
    found = missing(recorded(run_with(total, attempts)), known)
    assert {attempt: shown(counts) for attempt, counts in found.items()} == {
        attempt: shown(counts) for attempt, counts in expected.items()
    }


def shown(counts: Counts) -> tuple[int | None, ...]:
    return counts.turns, counts.input_tokens, counts.output_tokens, counts.cost_micro_usd


@pytest.mark.parametrize(
    "item",
    [
        pytest.param(run_with(HUNDRED, {1: HUNDRED}, finished=True), id="a run whose count is final"),
        pytest.param(run_object(), id="a run before its first attempt"),
        pytest.param(run_with({**HUNDRED, "turns": -1}, {1: HUNDRED}), id="a status that cannot be read"),
    ],
)
def test_nothing_is_taken_from(item: JsonObject) -> None:
    assert recorded(item) is None


async def open_and_seed(path: Path, item: JsonObject) -> tuple[Ledger, list[Past], list[Past]]:
    """The ledger, what it knew, and what it took."""
    ledger, known = open_ledger(path, now_ms=PAST_MS)
    return ledger, known, await ledger.seed([recorded(item)], now_ms=PAST_MS)


async def test_totals_go_on_with_a_new_ledger_and_nothing_is_taken_twice(tmp_path: Path) -> None:
    path, item = tmp_path / "l.sqlite", run_with(TWICE, {1: TWICE})
    ledger, known, grown = await open_and_seed(path, item)
    assert known == []
    assert [(one.attempt, one.turns, one.input_tokens, one.cost_micro_usd) for one in grown] == [
        (ATTEMPT, 2, 200, 1_000_000)
    ]
    await ledger.begin(call_start("a"))
    ledger.settle("a", call_end())
    await ledger.close()
    ledger, (known_now,), grown = await open_and_seed(path, item)
    await ledger.close()
    assert grown == []
    assert (known_now.turns, known_now.input_tokens, known_now.cost_micro_usd) == (3, 320, 1_000_600)
    assert known_now.unmetered_calls == 1, (
        "calls between the last status and the loss are in neither, so it is not complete"
    )
    with closing(sqlite3.connect(path)) as reader:
        columns = "state, caller, lane_namespace, lane, model, turn, input_tokens, started_ms"
        rows = reader.execute(f"SELECT {columns} FROM calls WHERE state = 'seeded'").fetchall()
    assert rows == [("seeded", "ci", "models", "lane", "m", 2, 200, 1_795_255_200_000)]


async def test_a_run_that_ended_while_nobody_could_ask_keeps_what_its_status_knew(tmp_path: Path) -> None:
    owed = {name: value for name, value in HUNDRED.items() if name != "source"} | {"complete": False}
    ledger, _, (grown,) = await open_and_seed(tmp_path / "l.sqlite", run_with(owed, {1: owed}, finished=True))
    await ledger.close()
    assert (grown.turns, grown.input_tokens, grown.unmetered_calls) == (1, 100, 1)


async def test_an_attempt_that_may_have_called_before_a_new_ledger_is_never_complete(tmp_path: Path) -> None:
    path, item = tmp_path / "l.sqlite", run_with({}, {1: {}})
    ledger, _, grown = await open_and_seed(path, item)
    await ledger.close()
    assert grown == [], "it had no pod yet"
    path.unlink()
    item["status"]["attempts"][0]["podUID"] = "p1"
    ledger, _, (grown_now,) = await open_and_seed(path, item)
    await ledger.close()
    assert (grown_now.turns, grown_now.input_tokens, grown_now.unmetered_calls, grown_now.unpriced_calls) == (
        0,
        0,
        1,
        0,
    )
    ledger, _, grown = await open_and_seed(path, run_with({}, {1: {}}, uid="later"))
    await ledger.close()
    assert grown == []


async def test_an_older_copy_of_the_ledger_takes_only_what_came_after_it(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    ledger, _ = open_ledger(path, now_ms=PAST_MS)
    await ledger.begin(call_start("a"))
    ledger.settle("a", call_end())
    await ledger.close()
    usage = {
        "turns": 4,
        "inputTokens": 480,
        "outputTokens": 120,
        "totalTokens": 600,
        "costUSD": "0.0024",
        "source": "Gateway",
    }
    ledger, (old,), (grown,) = await open_and_seed(path, run_with(usage, {1: usage}))
    await ledger.close()
    assert (old.turns, old.input_tokens, old.cost_micro_usd) == (1, 120, 600)
    assert (grown.turns, grown.input_tokens, grown.output_tokens, grown.cost_micro_usd) == (4, 480, 120, 2400)


async def test_a_reservation_that_was_charged_covers_what_status_knew_of_that_call(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    ledger, _ = open_ledger(path, now_ms=PAST_MS)
    await ledger.begin(call_start("a", reserved=(900, 100, 3250)))
    await ledger.close()
    usage = {"inputTokens": 120, "outputTokens": 30, "totalTokens": 150, "costUSD": "0.0006", "source": "Gateway"}
    ledger, (known,), grown = await open_and_seed(path, run_with(usage, {1: usage}))
    await ledger.close()
    assert (known.input_tokens, known.cost_micro_usd, grown) == (900, 3250, [])
