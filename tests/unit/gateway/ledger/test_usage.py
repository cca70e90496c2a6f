"""The ledger summed: what is unknown is counted and never zero, and each grouping names its groups."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from laneway.__main__ import main
from laneway.api.grouping import GroupBy
from laneway.gateway.ledger import usage
from laneway.gateway.ledger.export import Wanted
from laneway.gateway.ledger.ledger import open_ledger
from laneway.rules.token import AttemptId
from laneway.rules.usage import Usage
from unit.gateway.kit import PAST_MS, call_end, call_start

DAY_MS = 86_400_000
TOKENS = Usage(input_tokens=120, output_tokens=30, cache_read_tokens=20)


@pytest.fixture
async def path(tmp_path: Path) -> AsyncIterator[Path]:
    """A priced call, one that was charged its reservation, one without a price, one without any usage, and one that is open."""
    ledger, _ = open_ledger(tmp_path / "l.sqlite", now_ms=PAST_MS)
    other = AttemptId("run-uid-2", 1)
    await ledger.begin(call_start("priced"))
    ledger.settle("priced", call_end(usage=TOKENS, cost=600))
    await ledger.begin(call_start("reserved", reserved=(900, 100, 1500)))
    ledger.settle(
        "reserved",
        replace(
            call_end(usage=Usage(input_tokens=900, output_tokens=100), cost=1500, metered=False, turn=False),
            estimated=True,
        ),
    )
    for name, at in (("unpriced", PAST_MS), ("unknown", PAST_MS + DAY_MS), ("open", PAST_MS + DAY_MS)):
        await ledger.begin(
            replace(call_start(name, attempt=other, at=at), namespace="team-b", lane="free", model="small", caller="")
        )
    ledger.settle("unpriced", call_end(usage=TOKENS, prices=None, cost=None))
    ledger.settle(
        "unknown", call_end(usage=Usage(), prices=None, cost=None, metered=False, turn=False, cause="APITimeout")
    )
    await ledger.flush()
    yield tmp_path / "l.sqlite"
    await ledger.close()


def sums(path: Path, by: GroupBy, wanted: Wanted = Wanted()) -> list[dict[str, Any]]:  # noqa: B008 - it is frozen
    out = io.StringIO()
    assert usage.run(path, wanted, by, out) == 0
    return [json.loads(line) for line in out.getvalue().splitlines()]


async def test_each_kind_of_not_knowing_is_counted_apart(path: Path) -> None:
    known, unknown = sums(path, GroupBy.NAMESPACE)
    assert known == {
        "namespace": "agents",
        "runs": 1,
        "calls": 2,
        "openCalls": 0,
        "turns": 1,
        "inputTokens": 1020,
        "cacheReadTokens": 20,
        "outputTokens": 130,
        "costMicroUSD": 2100,
        "unpricedCalls": 0,
        "estimatedCalls": 1,
        "estimatedMicroUSD": 1500,
        "unknownCalls": 0,
    }
    assert "costMicroUSD" not in unknown
    counts = ("calls", "openCalls", "unpricedCalls", "estimatedCalls", "unknownCalls", "inputTokens")
    assert [unknown[name] for name in counts] == [3, 1, 1, 0, 1, 120]


@pytest.mark.parametrize(
    ("by", "groups"),
    [
        pytest.param(GroupBy.DAY, [{"day": "2027-01-15"}, {"day": "2027-01-16"}], id="a day is one in UTC"),
        pytest.param(GroupBy.MODEL, [{"model": "m"}, {"model": "small"}], id="a model, whichever lane it is on"),
        pytest.param(
            GroupBy.LANE,
            [{"laneNamespace": "models", "lane": "free"}, {"laneNamespace": "models", "lane": "lane"}],
            id="a lane",
        ),
        pytest.param(
            GroupBy.CALLER,
            [{"namespace": "agents", "caller": "ci"}, {"namespace": "team-b", "caller": ""}],
            id="a caller of a namespace, also the nameless one",
        ),
        pytest.param(
            GroupBy.RUN,
            [{"namespace": "agents", "runUID": "run-uid-1"}, {"namespace": "team-b", "runUID": "run-uid-2"}],
            id="a run by its uid: it may be deleted",
        ),
    ],
)
async def test_a_group_is_named_by_what_it_is_by(path: Path, by: GroupBy, groups: list[dict[str, str]]) -> None:
    names = {"day", "model", "lane", "laneNamespace", "caller", "namespace", "runUID"}
    assert [{name: value for name, value in one.items() if name in names} for one in sums(path, by)] == groups


async def test_the_command_line_narrows_what_is_summed(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LANEWAY_LEDGER_PATH", str(path))
    assert main(["ledger", "usage", "--by", "day", "--namespace", "team-b", "--since", "2027-01-16"]) == 0
    [day] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (day["day"], day["calls"]) == ("2027-01-16", 2)


def test_a_ledger_that_is_not_there_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert usage.run(tmp_path / "none", Wanted(), GroupBy.DAY) == 1
    assert "cannot be read" in capsys.readouterr().err
