"""What namespaces may spend on a lane: all their runs pay from one sum, in each period anew."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from laneway.api.spend import Period
from laneway.gateway.cluster.objects import Lane
from laneway.gateway.ledger.ledger import LedgerError, open_ledger
from laneway.gateway.money.purse import Purse
from laneway.gateway.money.spends import SpendKey, read_spent
from laneway.gateway.state.state import State
from laneway.gateway.wire.base import Kind
from laneway.gateway.wire.refused import Refused
from laneway.rules.token import AttemptId
from unit.gateway.kit import call_end, call_start
from unit.gateway.purses import ATTEMPT, answered, demand, failed, lane, limited, purse_of

NOON = datetime(2026, 3, 31, 12, tzinfo=UTC)
LANE = ("agents", "lane")
TODAY = SpendKey(LANE, "agents", Period.DAY, datetime(2026, 3, 31, tzinfo=UTC))
THIS_MONTH = SpendKey(LANE, "agents", Period.MONTH, datetime(2026, 3, 1, tzinfo=UTC))


class Hand:
    """A clock moved by hand."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


def bounded(limit: str = "0.01", *, period: str = "Day", version: int = 1) -> Lane:
    return lane(version=version, spend=[{"namespace": "agents", "period": period, "limitUSD": limit}])


def purse_for(the_lane: Lane, *, state: State | None = None, clock: Any = None, **spent: Any) -> Purse:
    purse = purse_of(state, clock=clock or Hand(), **spent)
    purse.look_at_lane(the_lane.key, the_lane)
    return purse


@pytest.mark.row("S1.15")
async def test_a_call_that_does_not_fit_is_refused_for_the_lane_and_told_to_the_operator() -> None:
    the_lane, state = bounded(), State(clock=Hand())
    purse = purse_for(the_lane, state=state, spent={TODAY: 9_000, THIS_MONTH: 9_000})
    with pytest.raises(Refused, match=r"namespace agents may spend no more on lane lane: 0\.009 of 0\.01 USD") as error:
        await purse.reserve(demand(limited({}), lane=the_lane))
    assert error.value.refusal.kind is Kind.LIMIT
    told = state.attempt_state(ATTEMPT)
    assert (told.spent_out, told.refusal, told.failure) == (True, None, None)
    [spend] = state.since(epoch=None, version=-1).spends
    assert (spend.of, spend.period, spend.used_micro_usd, spend.refused_at_micro_usd) == (
        "agents",
        "Day",
        9_000,
        10_000,
    )


async def test_output_is_clamped_to_what_the_namespace_may_still_spend() -> None:
    the_lane = bounded()
    granted = await purse_for(the_lane).reserve(demand(limited({}), lane=the_lane, wanted_output=None))
    assert granted.clamp is not None
    assert granted.micro_usd is not None
    assert 9_900 < granted.micro_usd <= 10_000


async def test_runs_of_a_namespace_wait_for_each_others_open_calls() -> None:
    the_lane = bounded()
    purse = purse_for(the_lane)
    other = AttemptId("run-uid-2", 1)
    first = await purse.reserve(demand(limited({}), lane=the_lane, wanted_output=None))
    second = asyncio.create_task(purse.reserve(demand(limited({}, uid="run-uid-2"), attempt=other, lane=the_lane)))
    await asyncio.sleep(0)
    assert not second.done()
    purse.settle(first, failed())
    assert (await second).attempt == other


async def test_what_a_namespace_spent_counts_and_another_namespace_has_its_own() -> None:
    the_lane, state = bounded("1.00"), State(clock=Hand())
    purse = purse_for(the_lane, state=state)
    purse.settle(await purse.reserve(demand(limited({}), lane=the_lane)), answered())
    elsewhere = limited({}, uid="run-uid-2", namespace="others")
    purse.settle(await purse.reserve(demand(elsewhere, attempt=AttemptId("run-uid-2", 1), lane=the_lane)), answered())
    [spend] = state.since(epoch=None, version=-1).spends
    assert spend.used_micro_usd == 1500


async def test_a_new_period_begins_with_nothing_spent() -> None:
    the_lane, clock = bounded(), Hand()
    purse = purse_for(the_lane, clock=clock, spent={TODAY: 10_000})
    with pytest.raises(Refused):
        await purse.reserve(demand(limited({}), lane=the_lane))
    clock.now += timedelta(hours=12)
    assert await purse.reserve(demand(limited({}), lane=the_lane))


async def test_a_limit_that_is_raised_serves_at_once_and_takes_the_refusal_back() -> None:
    state = State(clock=Hand())
    the_lane = bounded()
    purse = purse_for(the_lane, state=state, spent={TODAY: 10_000})
    with pytest.raises(Refused):
        await purse.reserve(demand(limited({}), lane=the_lane))
    raised = bounded("1.00", version=2)
    purse.look_at_lane(raised.key, raised)
    [spend] = state.since(epoch=None, version=-1).spends
    assert spend.refused_at_micro_usd is None
    assert await purse.reserve(demand(limited({}), lane=raised))


async def test_a_sum_that_did_not_change_is_no_news() -> None:
    the_lane, state = bounded(), State(clock=Hand())
    purse = purse_for(the_lane, state=state)
    version = state.version
    purse.look_at_lane(the_lane.key, the_lane)
    assert state.version == version
    assert state.since(epoch=state.epoch, version=version).spends == ()


async def test_a_lane_without_bounds_counts_all_the_same() -> None:
    free, state = lane(), State(clock=Hand())
    purse = purse_for(free, state=state)
    purse.settle(await purse.reserve(demand(limited({}), lane=free)), answered())
    assert state.since(epoch=None, version=-1).spends == ()
    later = bounded("1.00", version=2)
    purse.look_at_lane(later.key, later)
    [spend] = state.since(epoch=None, version=-1).spends
    assert spend.used_micro_usd == 1500


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("ledger.sqlite", id="a plain name"),
        pytest.param("50% #1?.sqlite", id="a name with marks that mean something in an address"),
    ],
)
async def test_the_sums_of_the_ledger_are_those_of_the_current_periods(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    ledger, _ = open_ledger(file, now_ms=int(NOON.timestamp() * 1000))
    for number, hours in enumerate((1, 2, 24, 24 * 40)):
        call = f"call-{number}"
        at = int((NOON - timedelta(hours=hours)).timestamp() * 1000)
        await ledger.begin(call_start(call, at=at))
        ledger.settle(call, call_end(cost=100, at=at))
    await ledger.begin(call_start("open", at=int(NOON.timestamp() * 1000)))
    await ledger.flush()
    spent = read_spent(file, NOON)
    await ledger.close()
    models = ("models", "lane")
    assert spent == {
        SpendKey(models, "agents", Period.DAY, TODAY.start): 200,
        SpendKey(models, "agents", Period.MONTH, THIS_MONTH.start): 300,
    }


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(None, "the disk answers with an I/O error", id="one that is not there"),
        pytest.param(b"no database" * 100, "the file is damaged", id="one that is no database"),
    ],
)
def test_a_ledger_whose_sums_cannot_be_read_is_said(tmp_path: Path, content: bytes | None, words: str) -> None:
    file = tmp_path / "ledger.sqlite"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(LedgerError, match=f"^the ledger ledger.sqlite cannot be read: {words}$"):
        read_spent(file, NOON)
