"""What a person sets and clears in ``spec.cooldowns``."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from laneway.api.base import format_time
from laneway.api.reasons import Cause, ResetSource
from laneway.controller.facts.objects import Lane
from laneway.controller.facts.views import LaneView
from laneway.rules.cooldown import OVERLOADED
from support.builders import at, lane_view, run
from support.health import BIG, SMALL, condition_of, decided, hosted, model_of, rests, said, since_now, told


def hold(*, until: float | None = None, set_at: float | None = None, model: str = BIG) -> dict[str, Any]:
    times = {"until": until, "setTime": set_at}
    return {"model": model, "mode": "Hold"} | {name: format_time(at(t)) for name, t in times.items() if t is not None}


def clear(set_at: float, *, model: str = BIG) -> dict[str, Any]:
    return {"model": model, "mode": "Clear", "setTime": format_time(at(set_at))}


def with_entries(view: LaneView, *entries: dict[str, Any]) -> LaneView:
    """The lane after an edit of its spec."""
    edited: Lane = hosted(cooldowns=list(entries))
    meta = replace(view.lane.meta, generation=view.lane.meta.generation + 1)
    return replace(view, lane=replace(edited, meta=meta, status=view.lane.status))


def failed(seconds: float = 10, **changes: Any) -> LaneView:
    """A lane whose model failed."""
    return decided(lane_view(the_lane=hosted(), evidence=(said(seconds, **changes),)), seconds)[1]


WELL = lane_view(the_lane=hosted())


@pytest.mark.row("S4.8", "S3.39")
@pytest.mark.parametrize(
    ("until", "words"),
    [
        pytest.param(None, "not used for now (by hand)", id="without an end"),
        pytest.param(300, "cooling until 12:05:00Z (by hand)", id="with an end"),
    ],
)
def test_a_hold_keeps_everybody_from_the_model(until: float | None, words: str) -> None:
    asks = [run(name, lane="hosted", spec={"models": [{"lane": "hosted", "model": name}]}) for name in (BIG, SMALL)]
    decision, seen = decided(with_entries(replace(WELL, runs=tuple(asks)), hold(until=until)), 15)
    assert [grant.run.meta.name for grant in decision.grants] == [SMALL]
    assert (rests(decision), model_of(decision).cooldown_source) == (until, ResetSource.MANUAL)
    assert condition_of(decision, "Throttled") == ("True", "SomeModelsCooling", f"{BIG} {words}; {SMALL} free")
    assert (since_now(decision.status.throttled_until), since_now(decision.due)) == (until, until)
    assert [reason for reason, _ in told(decision)] == ["CooldownSet"]
    assert told(decided(seen, 16)[0]) == []


@pytest.mark.row("S4.6", "S4.8")
def test_a_hold_ends_at_its_time_and_nothing_is_told() -> None:
    _, seen = decided(with_entries(WELL, hold(until=300)), 15)
    assert rests(decided(seen, 299)[0]) == 300
    decision, _ = decided(seen, 300)
    assert (rests(decision), told(decision)) == (None, [])
    assert condition_of(decision, "Throttled")[0] == "False"


@pytest.mark.row("S4.9")
def test_a_hold_that_is_taken_away_ends() -> None:
    _, seen = decided(with_entries(WELL, hold()), 15)
    decision, seen = decided(with_entries(seen), 20)
    assert model_of(decision).cooldown_reason is None
    assert told(decision) == [("CooldownCleared", f"hosted/{BIG} may be used, cleared by hand")]
    assert told(decided(seen, 21)[0]) == []


@pytest.mark.row("S4.11")
def test_what_failed_under_a_hold_counts_neither_then_nor_when_it_is_taken_away() -> None:
    _, seen = decided(with_entries(WELL, hold()), 15)
    _, seen = decided(replace(seen, evidence=(said(18),)), 19)
    decision, _ = decided(with_entries(seen), 20)
    assert (rests(decision), model_of(decision).failures) == (None, None)


@pytest.mark.parametrize(
    ("entry", "until"),
    [
        pytest.param(hold(until=30, set_at=12), 30, id="a hold beats what failed before it was set"),
        pytest.param(hold(until=30, set_at=9), 70, id="what failed after it was set keeps its later end"),
        pytest.param(hold(until=30), 70, id="without the time of setting the later end holds"),
        pytest.param(hold(until=90), 90, id="a later hold holds"),
        pytest.param(hold(), None, id="a hold without end holds"),
    ],
)
@pytest.mark.row("S4.8")
def test_a_hold_on_a_model_that_cools(entry: dict[str, Any], until: float | None) -> None:
    decision, seen = decided(with_entries(failed(), entry), 15)
    assert rests(decision) == until
    assert model_of(decision).cooldown_reason is not None
    assert rests(decided(seen, 16)[0]) == until


def test_a_server_s_later_word_moves_the_end_of_a_hold() -> None:
    _, seen = decided(with_entries(WELL, hold(until=300, set_at=12)), 15)
    decision, _ = decided(replace(seen, evidence=(said(20, reset=900),)), 21)
    assert rests(decision) == 900


@pytest.mark.row("S4.9")
@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="our own estimate"),
        pytest.param({"reset": 5000}, id="a server's word"),
        pytest.param({"cause": Cause.RATE_LIMIT_ACCOUNT}, id="a limit of the account"),
        pytest.param({"cause": Cause.AUTH_FAILED, "status": 401}, id="a refused key"),
    ],
)
def test_a_cleared_model_is_used_at_once(changes: dict[str, Any]) -> None:
    seen = replace(failed(**changes), runs=(run("a", lane="hosted"), run("b", lane="hosted")))
    assert decided(seen, 15)[0].grants == ()
    decision, seen = decided(with_entries(seen, clear(12)), 15)
    assert [grant.run.meta.name for grant in decision.grants] == ["a", "b"]
    assert condition_of(decision, "Throttled")[2].startswith((f"{BIG} free", "every model"))
    assert decided(seen, 16)[0].effects == ()


@pytest.mark.row("S4.9")
def test_clearing_twice_is_fine_and_so_is_clearing_what_is_well() -> None:
    decision, seen = decided(with_entries(failed(), clear(12)), 15)
    assert [reason for reason, _ in told(decision)] == ["CooldownCleared"]
    again, _ = decided(with_entries(seen, clear(20)), 20)
    assert (told(again), model_of(again)) == ([], model_of(decision))
    well, _ = decided(with_entries(WELL, clear(12)), 15)
    assert (told(well), model_of(well).settled_time) == ([], None)


@pytest.mark.row("S4.9", "C5")
def test_a_clear_forgets_what_is_told_late_and_nothing_that_fails_after_it() -> None:
    seen = with_entries(WELL, clear(12))
    assert rests(decided(replace(seen, evidence=(said(11),)), 15)[0]) is None
    assert rests(decided(replace(seen, evidence=(said(13),)), 15)[0]) == 73


@pytest.mark.row("S4.9")
def test_models_that_are_not_named_are_left_alone() -> None:
    both = (said(10), said(10, model=SMALL, status=OVERLOADED, cause=Cause.API_TRANSIENT))
    _, seen = decided(lane_view(the_lane=hosted(), evidence=both), 10)
    decision, _ = decided(with_entries(seen, clear(12)), 15)
    assert (rests(decision, BIG), rests(decision, SMALL)) == (None, 70)


def test_a_person_who_changes_the_end_of_a_hold_is_followed() -> None:
    _, seen = decided(with_entries(WELL, hold(until=300)), 15)
    decision, seen = decided(with_entries(seen, hold(until=100)), 20)
    assert rests(decision) == 100
    decision, _ = decided(with_entries(seen, hold(until=18)), 21)
    assert rests(decision) is None


# ---- the page


def commands() -> list[LaneView]:
    """The lane after each command of the page that a person may copy, one after the other; the time of day is 12:00:12."""
    page = (Path(__file__).parents[4] / "docs" / "operate.md").read_text(encoding="utf-8")
    patches = re.findall(r"kubectl patch lane hosted --type merge -p '(.*)'\n", page)
    views = []
    for patch in patches:
        spec = json.loads(patch.replace("'$(date -u +%FT%TZ)'", format_time(at(12))))["spec"]
        assert spec.keys() == {"cooldowns"}
        views.append(with_entries(failed(), *(spec["cooldowns"] or ())))
    return views


@pytest.mark.row("S4.8", "S4.9")
def test_the_commands_of_the_page_hold_a_model_clear_it_and_take_the_hold_away() -> None:
    held, cleared, gone = commands()
    assert rests(decided(held, 15)[0]) == 7200
    assert rests(decided(cleared, 15)[0]) is None
    _, held = decided(held, 15)
    assert rests(decided(replace(gone, lane=replace(gone.lane, status=held.lane.status)), 20)[0]) is None
