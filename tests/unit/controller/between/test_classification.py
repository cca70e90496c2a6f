"""A run that names no model, on a lane with a classifier: who is asked, what is written, and which step it takes then."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from laneway.api.classification import Classification, ClassificationSource, Complexity
from laneway.api.gatewaystate import AttemptState, Totals
from laneway.api.runstatus import AgentRunStatus, ChainStep
from laneway.controller.decide_lane import decide_lane
from laneway.controller.decide_run import decide_run
from laneway.controller.decision.decision import RunDecision
from laneway.controller.decision.effects import Classify, EventType, PostEvent
from laneway.controller.facts.objects import Lane, Run
from laneway.controller.facts.place import Place
from laneway.controller.facts.views import Answer
from support.builders import NOW, lane_view, run, run_view
from support.chains import (
    A,
    B,
    account_cooled,
    at_work,
    busy,
    chained,
    cooled,
    failed_view,
    hosted,
    messages,
    not_ready,
    on,
)

KEY = ("team-a", A)
CLASSIFIER = {"model": "tiny", "tiers": {"simple": "small", "medium": "middle", "complex": "big"}}
MODELS = ("small", "middle", "big", "tiny")
SORTS = hosted(A, *MODELS, classifier=CLASSIFIER)
COMPLEX = Answer(KEY, Complexity.COMPLEX, "many files")
FAILED = Answer(KEY, None, "the classifier's server answers 500")
PROMPT = "What is the capital of France?"


def unnamed(status: AgentRunStatus | None = None, **spec: Any) -> Run:
    """A run with one step, on lane a, without a model."""
    return chained(A, status=status, **spec)


def decide(the_run: Run, *lanes: Lane, answer: Answer | None = None, **changes: Any) -> RunDecision:
    known = lanes or (SORTS,)
    return decide_run(run_view(the_run, lanes=known, lane=known[0], answer=answer, **changes), NOW)


def asked(decision: RunDecision) -> list[Classify]:
    return [effect for effect in decision.effects if isinstance(effect, Classify)]


def events(decision: RunDecision) -> list[str]:
    return [effect.reason.value for effect in decision.effects if isinstance(effect, PostEvent)]


def reason(decision: RunDecision) -> str:
    return str(decision.status.reason)


def step(decision: RunDecision) -> tuple[str, str | None]:
    found = decision.status.step
    assert found is not None
    return found.lane, found.model


def told(complexity: Complexity = Complexity.COMPLEX, model: str = "big") -> Classification:
    return Classification(
        complexity=complexity, model=model, reason="many files", source=ClassificationSource.CLASSIFIER
    )


NAMED = {"models": [{"lane": A, "model": "small"}]}
FOR_THE_QUESTION = [
    pytest.param(unnamed(), [Classify("hello-0123456789", KEY, PROMPT)], id="a run that names no model"),
    pytest.param(unnamed(title="Geography"), [Classify("hello-0123456789", KEY, f"Geography\n\n{PROMPT}")], id="a run with a title"),
    pytest.param(run(spec=NAMED), [], id="a run that names a model"),
    pytest.param(unnamed(suspend=True), [], id="a run that is suspended"),
    pytest.param(unnamed(cancel=True), [], id="a run that is cancelled"),
    pytest.param(unnamed(notBeforeTime="2026-03-01T13:00:00Z"), [], id="a run whose time has not come"),
    pytest.param(unnamed(AgentRunStatus(classification=told())), [], id="a run that was classified before"),
]  # fmt: skip


@pytest.mark.row("S4.37", "S0.18", "C20")
@pytest.mark.parametrize(("the_run", "expected"), FOR_THE_QUESTION)
def test_a_lane_is_asked_about(the_run: Run, expected: list[Classify]) -> None:
    assert asked(decide(the_run)) == expected


def test_a_lane_without_a_classifier_gives_its_first_model() -> None:
    decision = decide(unnamed(), hosted(A, *MODELS))
    assert (asked(decision), step(decision), reason(decision)) == ([], (A, "small"), "WaitingForSlot")


def test_a_lane_that_is_not_ready_is_not_asked() -> None:
    decision = decide(unnamed(), not_ready(SORTS))
    assert (asked(decision), reason(decision)) == ([], "LaneNotReady")


@pytest.mark.row("S0.18")
def test_while_it_is_asked_the_run_says_so_and_holds_no_slot() -> None:
    decision = decide(unnamed())
    assert reason(decision) == "WaitingForClassification"
    assert messages(decision.status)["Admitted"] == "the classifier of lane team-a/a chooses its model"
    assert step(decision) == (A, None)
    waiting = replace(unnamed(), status=decision.status)
    [again] = asked(decide(waiting))
    assert again == asked(decision)[0]
    granted = decide_lane(lane_view(waiting, unnamed(), the_lane=SORTS), NOW)
    assert granted.grants == ()
    assert (granted.status.queued_runs, granted.status.active_runs) == (0, 0)


@pytest.mark.row("S0.18")
def test_a_run_that_is_being_classified_is_in_nobodys_way() -> None:
    waiting = replace(unnamed(), status=decide(unnamed()).status)
    other = run("other", spec=NAMED)
    [grant] = decide_lane(lane_view(waiting, other, the_lane=SORTS), NOW).grants
    assert grant.run.meta.name == "other"


MAPPED = [
    pytest.param(Complexity.SIMPLE, "small", id="simple"),
    pytest.param(Complexity.MEDIUM, "middle", id="medium"),
    pytest.param(Complexity.COMPLEX, "big", id="complex"),
]


@pytest.mark.row("S4.37", "S4.38", "C20")
@pytest.mark.parametrize(("complexity", "model"), MAPPED)
def test_the_lane_maps_complexity_to_a_model(complexity: Complexity, model: str) -> None:
    decision = decide(replace(unnamed(), status=decide(unnamed()).status), answer=Answer(KEY, complexity, "because"))
    said = decision.status.classification
    assert said is not None
    assert (said.complexity, said.model, said.reason, said.source) == (complexity, model, "because", "Classifier")
    assert (step(decision), reason(decision)) == ((A, model), "WaitingForSlot")
    assert [(one.lane, one.model) for one in decision.status.chain] == [(A, model)]
    assert (events(decision), decision.status.fallback_history) == ([], ())
    classified = replace(unnamed(), status=decision.status)
    [grant] = decide_lane(lane_view(classified, the_lane=SORTS), NOW).grants
    assert grant.attempt.step.model == model


@pytest.mark.row("S4.39", "S0.25", "C20")
def test_a_failed_classifier_means_medium_and_is_told_once() -> None:
    decision = decide(unnamed(), answer=FAILED)
    said = decision.status.classification
    assert said is not None
    assert (said.complexity, said.model, said.source) == ("medium", "middle", "Default")
    assert said.reason == "the classifier's server answers 500"
    [event] = [effect for effect in decision.effects if isinstance(effect, PostEvent)]
    assert (event.reason, event.type) == ("ClassifierFallback", EventType.WARNING)
    assert event.message == "not classified (the classifier's server answers 500); it counts as medium: middle"
    assert step(decision) == (A, "middle")
    after = decide(replace(unnamed(), status=decision.status), answer=FAILED)
    assert (events(after), after.status) == ([], decision.status)


@pytest.mark.row("S4.39", "C20")
def test_what_is_in_a_config_map_is_not_read() -> None:
    elsewhere = {"prompt": None, "promptFrom": {"configMapKeyRef": {"name": "work", "key": "prompt"}}}
    decision = decide(unnamed(**elsewhere))
    assert (asked(decision), events(decision), step(decision)) == ([], ["ClassifierFallback"], (A, "middle"))
    assert decision.status.classification is not None
    assert decision.status.classification.reason.startswith("there is nothing to read")
    [question] = asked(decide(unnamed(**elsewhere, title="Geography")))
    assert question.text == "Geography"


@pytest.mark.row("S4.39")
def test_a_classifier_that_rests_is_not_asked() -> None:
    decision = decide(unnamed(), cooled(SORTS, 60, model="tiny"))
    assert (asked(decision), events(decision), step(decision)) == ([], ["ClassifierFallback"], (A, "middle"))


def test_the_accounts_rest_keeps_everybody_waiting_without_a_question() -> None:
    decision = decide(unnamed(), account_cooled(SORTS, 60))
    assert (asked(decision), reason(decision)) == ([], "AllModelsCooling")
    assert decision.status.classification is not None


@pytest.mark.row("S4.38")
def test_after_that_the_chains_own_rules_hold() -> None:
    two = {"models": [{"lane": A}, {"lane": A, "model": "middle"}]}
    resting = cooled(SORTS, 60, model="big")
    decision = decide(unnamed(**two), resting, answer=COMPLEX)
    assert step(decision) == (A, "middle")
    assert decision.status.classification is not None
    assert decision.status.classification.model == "big"
    assert [one.model for one in decision.status.chain] == ["big", "middle"]
    assert "SteppedDown" in events(decision)


def test_equal_steps_are_kept_once_when_the_model_is_known() -> None:
    two = {"models": [{"lane": A}, {"lane": A, "model": "big"}]}
    decision = decide(unnamed(**two), answer=COMPLEX)
    assert [one.model for one in decision.status.chain] == ["big"]


def test_each_lane_maps_the_same_complexity_by_its_own_tiers() -> None:
    other = hosted(
        B, "b1", "b2", classifier={"model": "b1", "tiers": {"simple": "b1", "medium": "b1", "complex": "b2"}}
    )
    decision = decide(chained(A, B), SORTS, other, answer=COMPLEX)
    assert [(one.lane, one.model) for one in decision.status.chain] == [(A, "big"), (B, "b2")]


def test_a_run_is_asked_about_when_it_falls_back_to_such_a_lane_and_not_before() -> None:
    chain = {"models": [{"lane": B, "model": "m"}, {"lane": A}]}
    first = decide(unnamed(**chain), hosted(B), SORTS)
    assert (asked(first), step(first)) == ([], (B, "m"))
    fallen = decide(unnamed(**chain), cooled(hosted(B), 600), SORTS)
    assert (len(asked(fallen)), step(fallen), reason(fallen)) == (1, (A, None), "WaitingForClassification")


def test_a_failed_attempt_walks_on_to_a_step_whose_model_is_not_chosen() -> None:
    chain = {"models": [{"lane": B, "model": "m"}, {"lane": A}, {"lane": "c"}]}
    view = failed_view(unnamed(at_work(B), **chain), [hosted(B), SORTS, hosted("c")])
    decision = decide_run(view, NOW)
    assert step(decision) == (A, None)
    moved = replace(view.run, status=decision.status)
    [question] = asked(decide(moved, SORTS, hosted(B), hosted("c")))
    assert question.lane == KEY


def test_a_run_in_line_elsewhere_moves_up_to_such_a_lane_once_that_has_room() -> None:
    chain = {"models": [{"lane": A}, {"lane": B, "model": "m"}]}
    below = decide(unnamed(**chain), not_ready(SORTS), hosted(B))
    assert (step(below), reason(below)) == ((B, "m"), "WaitingForSlot")
    line = {"place": Place(2, 1, 1)}
    in_line = replace(unnamed(**chain), status=below.status)
    full = busy(hosted(B), active=4, queued=2)
    assert step(decide(in_line, busy(SORTS, active=4), full, **line)) == (B, "m")
    moved = decide(in_line, SORTS, full, **line)
    assert (step(moved), len(asked(moved))) == ((A, None), 1)


def test_the_least_busy_lane_is_asked_where_the_run_says_so() -> None:
    chain = {"models": [{"lane": A}, {"lane": B, "model": "m"}], "selection": "LeastBusy"}
    quiet = decide(unnamed(**chain), SORTS, busy(hosted(B), active=2))
    assert (step(quiet), len(asked(quiet))) == ((A, None), 1)
    full = decide(unnamed(**chain), busy(SORTS, active=3), hosted(B))
    assert (step(full), asked(full)) == ((B, "m"), [])


def test_a_person_may_send_a_run_to_such_a_lane() -> None:
    chain = {"models": [{"lane": B, "model": "m"}, {"lane": A}], "activeModel": {"lane": A}}
    sent = decide(unnamed(AgentRunStatus(step=on(B, shown=True)), **chain), hosted(B), SORTS)
    assert (step(sent), len(asked(sent))) == ((A, None), 1)
    waiting = replace(unnamed(**chain), status=sent.status)
    chosen = decide(waiting, SORTS, hosted(B), answer=COMPLEX)
    assert (step(chosen), reason(chosen)) == ((A, "big"), "WaitingForSlot")


def test_a_run_that_stood_there_before_the_lane_had_a_classifier_is_left_alone() -> None:
    here = AgentRunStatus(step=on(A, "small"), chain=(ChainStep(lane=A, namespace="team-a", model="small"),))
    decision = decide(unnamed(here))
    assert (asked(decision), step(decision), reason(decision)) == ([], (A, "small"), "WaitingForSlot")


def test_an_answer_of_a_lane_that_has_no_classifier_any_more_is_of_no_use() -> None:
    waiting = replace(unnamed(), status=decide(unnamed()).status)
    decision = decide(waiting, hosted(A, *MODELS), answer=COMPLEX)
    assert (decision.status.classification, step(decision)) == (None, (A, "small"))


USED = AttemptState(
    run_uid="hello-0123456789", attempt=0, calls=1, totals=Totals(input_tokens=90, output_tokens=11, cost_micro_usd=250)
)


@pytest.mark.row("C20")
def test_what_asking_cost_is_the_runs_and_no_turn() -> None:
    decision = decide(unnamed(), answer=replace(COMPLEX, used=USED))
    usage = decision.status.usage
    assert usage is not None
    assert (usage.turns, usage.total_tokens, usage.cost_usd, usage.complete) == (0, 101, "0.00025", True)


def test_a_question_that_never_went_out_costs_nothing() -> None:
    nothing = AttemptState(run_uid="hello-0123456789", attempt=0)
    assert decide(unnamed(), answer=replace(FAILED, used=nothing)).status.usage is None


@pytest.mark.row("C20", "S4.28")
def test_a_limit_that_asking_has_used_up_ends_the_run_before_an_attempt() -> None:
    decision = decide(unnamed(limits={"tokens": 100}), answer=replace(COMPLEX, used=USED))
    again = decide(replace(unnamed(limits={"tokens": 100}), status=decision.status))
    assert {reason(decision), reason(again)} == {"TokensReached"}


def test_an_unpriced_model_that_may_never_be_chosen_stops_no_run_with_a_limit_of_money() -> None:
    priced = [{"name": name, "pricing": {"inputUSDPerMillion": "1", "outputUSDPerMillion": "1"}} for name in MODELS[1:]]
    mixed = hosted(A, models=[{"name": "small"}, *priced], classifier=CLASSIFIER)
    limited = unnamed(limits={"costUSD": "1.00"})
    assert len(asked(decide(limited, mixed))) == 1
    assert reason(decide(limited, mixed, answer=Answer(KEY, Complexity.SIMPLE, ""))) == "PriceUnknown"


def test_nothing_is_written_twice() -> None:
    first = decide(unnamed())
    again = decide(replace(unnamed(), status=first.status))
    assert again.status == first.status
