"""After a cooldown one run goes first; and what waiting runs meet at a model that rests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from laneway.api.reasons import Cause
from laneway.api.runstatus import AgentRunStatus, BackoffStatus, ChainStep, StepStatus
from laneway.controller.decide_lane import LaneDecision
from laneway.controller.facts.objects import Run
from laneway.controller.facts.views import Held, LaneView
from support.builders import admitted, at, condition, lane_view, run
from support.health import BIG, SMALL, answered, condition_of, decided, hosted, model_of, said, since_now

WAITS = AgentRunStatus(conditions=(condition("Admitted", "False", "BackingOff"),))


def asks(name: str, model: str = BIG, *, status: AgentRunStatus = WAITS, **spec: Any) -> Run:
    """A run that waits for a model."""
    return run(name, spec={"models": [{"lane": "hosted", "model": model}], **spec}, status=status)


def tries(name: str, since: float, *, started: float | None = None, model: str = BIG) -> Run:
    """A run that holds a slot for a model."""
    step = StepStatus(lane="hosted", namespace="team-a", model=model)
    start = None if started is None else at(started)
    return asks(name, model, status=admitted(step=step, admitted_time=at(since), start_time=start))


def cooled(*runs: Run, seconds: float = 10, **changes: Any) -> LaneView:
    """A lane of ten slots whose model failed and rests until 70 s."""
    failed = said(seconds, **changes)
    _, seen = decided(lane_view(the_lane=hosted(capacity={"runs": 10}), evidence=(failed,)), seconds + 1)
    return replace(seen, runs=runs)


def granted(decision: LaneDecision) -> list[str]:
    return sorted(grant.run.meta.name for grant in decision.grants)


ABC = tuple(asks(name) for name in "abc")


@pytest.mark.row("S4.6", "C10", "B20")
def test_nobody_uses_a_model_while_it_rests_and_it_is_free_exactly_when_that_ends() -> None:
    seen = cooled(asks("a"))
    before, _ = decided(seen, 69.9)
    assert (granted(before), before.status.backing_off_runs, before.status.queued_runs) == ([], 1, 0)
    assert since_now(before.due) == 70
    assert granted(decided(seen, 70)[0]) == ["a"]


def test_after_a_cooldown_one_run_goes_first_and_the_others_keep_their_place() -> None:
    decision, _ = decided(cooled(*ABC), 70)
    assert granted(decision) == ["a"]
    assert [place.words for place in decision.places.values()] == [
        f"position {n}; {BIG} was cooling, and another run tries it first" for n in (1, 2)
    ]
    assert decision.status.queued_runs == 2


def test_who_waits_behind_a_trial_while_all_slots_are_used_is_told_of_the_slots() -> None:
    seen = cooled(*ABC)
    decision, _ = decided(replace(seen, lane=replace(seen.lane, spec=hosted(capacity={"runs": 1}).spec)), 70)
    assert [place.words for place in decision.places.values()] == [f"1 of 1 slots used, position {n}" for n in (1, 2)]


TRIALS = {
    "a run tries it and its agent has not started": ((tries("t", 71),), [], None),
    "its agent has run for 59 s": ((tries("t", 71, started=41),), [], 101),
    "its agent has run for 60 s": ((tries("t", 71, started=40),), ["a", "b", "c"], None),
    "two began in doubt, one has run for 60 s": ((tries("t", 71), tries("u", 71, started=40)), ["a", "b", "c"], None),
    "the run that tried it has ended": ((), ["a"], None),
    "a run that was there before the failure goes on": ((tries("t", 5, started=6),), ["a"], None),
    "a run tries another model": ((tries("t", 71, model=SMALL),), ["a"], None),
}


@pytest.mark.parametrize(("active", "goes", "due"), TRIALS.values(), ids=TRIALS)
def test_while(active: tuple[Run, ...], goes: list[str], due: float | None) -> None:
    decision, _ = decided(cooled(*ABC, *active), 100)
    assert (granted(decision), since_now(decision.due)) == (goes, due)


def test_a_trial_that_succeeds_lets_all_go() -> None:
    seen = cooled(*ABC, tries("t", 71, started=72))
    decision, _ = decided(replace(seen, evidence=(answered(73),)), 74)
    assert granted(decision) == ["a", "b", "c"]


def test_a_trial_that_fails_begins_the_next_cooldown_twice_as_long() -> None:
    seen = cooled(*ABC, tries("t", 71, started=72))
    _, seen = decided(seen, 71)
    decision, _ = decided(replace(seen, evidence=(said(80),)), 81)
    assert (granted(decision), since_now(decision.status.throttled_until)) == ([], 200)


def test_a_grant_without_an_answer_may_be_the_trial() -> None:
    seen = replace(cooled(*ABC), unsettled=frozenset({Held(ABC[2].meta.uid, 1)}))
    assert granted(decided(seen, 70)[0]) == []


def test_runs_of_other_models_pass_those_behind_a_trial() -> None:
    others = [asks(f"other-{n}", SMALL, priority=-1) for n in range(3)]
    decision, _ = decided(cooled(*ABC, *others), 70)
    assert granted(decision) == ["a", "other-0", "other-1", "other-2"]


def test_after_a_failure_of_the_account_one_run_tries_for_all_models() -> None:
    runs = asks("a"), asks("b", SMALL)
    seen = cooled(*runs, cause=Cause.RATE_LIMIT_ACCOUNT)
    assert granted(decided(seen, 309)[0]) == []
    assert granted(decided(seen, 310)[0]) == ["a"]


def test_no_run_tries_a_model_in_the_second_in_which_it_failed() -> None:
    """Times in status are whole seconds: a grant in that second could not be told from one before the failure."""
    seen = cooled(asks("a"), seconds=10.2, reset=10.1)
    decision, _ = decided(seen, 10.6)
    assert (granted(decision), since_now(decision.due)) == ([], 11)
    assert granted(decided(seen, 11)[0]) == ["a"]


# ---- who waits


def waits_until(seconds: float, *steps: str) -> AgentRunStatus:
    """The status of a run whose next attempt has a time; ``steps`` are its chain."""
    chain = tuple(ChainStep(lane="hosted", namespace="team-a", model=model) for model in steps)
    return WAITS.model_copy(update={"next_attempt_time": at(seconds), "chain": chain})


@pytest.mark.row("S2.31", "S3.24", "C7")
def test_a_run_is_granted_nothing_before_its_next_attempt() -> None:
    view = lane_view(asks("a", status=waits_until(90, BIG)), asks("b", status=waits_until(95, BIG)), the_lane=hosted())
    decision, _ = decided(view, 89)
    assert (granted(decision), since_now(decision.due)) == ([], 90)
    assert (decision.status.backing_off_runs, decision.status.queued_runs, decision.status.active_runs) == (2, 0, 0)
    assert granted(decided(view, 90)[0]) == ["a"]


@pytest.mark.row("C10")
def test_a_run_with_a_chain_says_first_where_it_goes_after_its_wait() -> None:
    view = lane_view(asks("a", status=waits_until(90, BIG, SMALL)), the_lane=hosted())
    decision, _ = decided(view, 90)
    assert (granted(decision), decision.status.backing_off_runs) == ([], 1)
    looked = asks("a", status=waits_until(90, BIG, SMALL).model_copy(update={"next_attempt_time": None}))
    assert granted(decided(replace(view, runs=(looked,)), 90)[0]) == ["a"]


def test_a_suspended_run_does_not_count_as_backing_off() -> None:
    view = lane_view(asks("a", status=waits_until(90, BIG), suspend=True), the_lane=hosted())
    assert decided(view, 15)[0].status.backing_off_runs == 0


@pytest.mark.row("S3.25")
@pytest.mark.parametrize(
    ("changes", "goes"),
    [
        pytest.param({}, True, id="our own estimate"),
        pytest.param({"reset": 400}, False, id="a server's time"),
        pytest.param({"cause": Cause.RATE_LIMIT_ACCOUNT}, False, id="an account limit"),
        pytest.param({"cause": Cause.AUTH_FAILED, "status": 401}, False, id="a refused key"),
    ],
)
def test_a_run_that_skips_ignores(changes: dict[str, Any], *, goes: bool) -> None:
    seen = cooled(asks("a", onTransientError="Skip"), asks("b"), **changes)
    assert granted(decided(seen, 20)[0]) == (["a"] if goes else [])


def test_a_lane_that_cools_is_still_ready() -> None:
    decision, _ = decided(cooled(*ABC), 20)
    assert condition_of(decision, "Ready")[0] == "True"
    assert condition_of(decision, "Throttled")[0] == "True"


@pytest.mark.row("C5")
def test_a_storm_changes_the_status_once() -> None:
    """200 failures that are told one by one: the first is all that the lane writes."""
    seen, statuses = cooled(), []
    for number in range(200):
        decision, seen = decided(replace(seen, evidence=(said(10 + number / 20, failures=number + 1),)), 20)
        statuses.append(decision.status.to_wire())
    assert all(status == statuses[0] for status in statuses)
    assert model_of(decision).failures.rate_limit_model == 1


def test_a_wait_that_is_over_is_no_place_in_the_queue_before_the_slot_is_missing() -> None:
    backoff = BackoffStatus(
        cause=Cause.RATE_LIMIT_MODEL,
        step=StepStatus(lane="hosted", namespace="team-a", model=BIG),
        count=1,
        source="Estimated",
        since_attempt=1,
        since_time=at(10),
    )
    waiting = asks("a", status=waits_until(90, BIG).model_copy(update={"backoff": backoff}))
    view = lane_view(waiting, tries("t", 5), the_lane=hosted(capacity={"runs": 1}))
    assert decided(view, 89)[0].places == {}
    assert [place.words for place in decided(view, 90)[0].places.values()] == ["1 of 1 slots used, position 1"]
