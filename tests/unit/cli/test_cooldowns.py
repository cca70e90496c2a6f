"""What a person's word on a model becomes in the lane's spec."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

import manifests
from laneway.api.modellane import CooldownMode, LaneModelStatus, ManualCooldown, ModelLaneSpec, ModelLaneStatus
from laneway.api.reasons import Cause, ResetSource
from laneway.cli.cooldowns import clear_entry, row, to_clear, until_of, with_entries
from laneway.cli.rows import NamedLane
from laneway.rules.cooldown import Health
from support.builders import NOW, at, ready

HOLD = {"model": "big", "mode": "Hold"}
COOLING = LaneModelStatus(
    name="big", cooldown_until=at(60), cooldown_reason=Cause.API_TRANSIENT, cooldown_source=ResetSource.ESTIMATED
)


def lane(*cooldowns: dict[str, Any], models: tuple[LaneModelStatus, ...] = ()) -> NamedLane:
    plain = manifests.lane({"models": [{"name": "big"}, {"name": "small"}], "cooldowns": list(cooldowns)})
    status = ModelLaneStatus(conditions=(ready(),), models=models)
    return NamedLane("models", "hosted", at(-60), ModelLaneSpec.model_validate(plain["spec"]), status)


@pytest.mark.parametrize(
    ("span", "moment", "expected"),
    [
        pytest.param(None, None, None, id="neither: without end"),
        pytest.param("90s", None, at(90), id="seconds"),
        pytest.param("30m", None, at(1800), id="minutes"),
        pytest.param("2d", None, at(2 * 86_400), id="days"),
        pytest.param(None, "2026-03-01T12:00:30Z", at(30), id="a time"),
        pytest.param(None, "2026-03-01T13:00:30+01:00", at(30), id="a time of another zone"),
    ],
)
def test_the_end_of_a_hold(span: str | None, moment: str | None, expected: datetime | None) -> None:
    assert until_of(span, moment, NOW) == expected


@pytest.mark.parametrize(
    ("span", "moment", "said"),
    [
        pytest.param("", None, "write 90s", id="nothing"),
        pytest.param("30", None, "write 90s", id="a number without a unit"),
        pytest.param("0m", None, "write 90s", id="no time at all"),
        pytest.param("-3m", None, "write 90s", id="a span into the past"),
        pytest.param(None, "soon", "is no time", id="a word"),
        pytest.param(None, "2026-03-01T12:00:30", "has no time zone", id="a time of nobody knows which zone"),
    ],
)
def test_an_end_that_is_none_is_refused_with_one_that_is(span: str | None, moment: str | None, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        until_of(span, moment, NOW)


def test_the_entries_of_other_models_stay() -> None:
    clear = ManualCooldown(model="small", mode=CooldownMode.CLEAR, set_time=NOW)
    both = lane(HOLD, {"model": "small", "mode": "Hold"})
    assert with_entries(both, [clear]) == [
        {"model": "big", "mode": "Hold"},
        {"model": "small", "mode": "Clear", "setTime": "2026-03-01T12:00:00Z"},
    ]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param(lane(), [], id="nothing rests"),
        pytest.param(lane(HOLD), ["big"], id="a hold"),
        pytest.param(lane({**HOLD, "until": at(-1)}), [], id="a hold that is over"),
        pytest.param(lane(models=(COOLING,)), ["big"], id="a model that cools"),
    ],
)
def test_without_a_model_all_that_rest_are_cleared(found: NamedLane, expected: list[str]) -> None:
    assert to_clear(found, [], NOW) == expected


@pytest.mark.parametrize(
    ("learned", "account", "expected"),
    [
        pytest.param(None, None, at(1), id="the next whole second: status keeps no fractions"),
        pytest.param(at(-60), None, at(1), id="what was learned before is forgotten"),
        pytest.param(at(7), None, at(7), id="also by a cluster whose clock is ahead"),
        pytest.param(None, at(9), at(9), id="and of the account"),
    ],
)
def test_a_clear_forgets_all_that_is_known_now(
    learned: datetime | None, account: datetime | None, expected: datetime
) -> None:
    found = lane(models=(COOLING.model_copy(update={"last_failure_time": learned}),))
    entry = clear_entry(found, "big", [Health(mark=account)], NOW + timedelta(milliseconds=200))
    assert (entry.mode, entry.set_time) == (CooldownMode.CLEAR, expected)


def test_a_line_of_a_model_says_what_rests_it_and_what_was_said_by_hand() -> None:
    cleared = {"model": "small", "mode": "Clear", "setTime": at(-60)}
    both = lane(HOLD, cleared, models=(COOLING,))
    assert row(both, "big", [], NOW) == (
        *("big", "2026-03-01T12:01:00Z", "server trouble", "our own estimate"),
        *("Hold", ""),
    )
    assert row(both, "small", [], NOW) == ("small", "", "", "", "Clear", "2026-03-01T11:59:00Z")
    assert row(lane(HOLD), "big", [], NOW) == ("big", "somebody acts", "by hand", "by hand", "Hold", "")
