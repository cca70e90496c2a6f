"""A running attempt on its chain: moves that the gateway made, slots of other lanes that it asks for, and what is written of both."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from laneway.api.endpoint import WireAPI
from laneway.api.gatewaystate import AttemptState, ModelInUse, ModelMove, Wish
from laneway.api.reasons import Cause, EventReason
from laneway.api.runstatus import AgentRunStatus
from laneway.controller.decide_lane import LaneDecision, decide_lane
from laneway.controller.decide_run import decide_run
from laneway.controller.decision.effects import LabelPod, PatchActiveModel, PostEvent
from laneway.controller.facts.objects import Lane, Run
from laneway.controller.facts.views import Held, LaneView, RunView, Walk
from laneway.controller.lane.admission import walked
from laneway.controller.running.livewalk import find_walk, with_moves
from support.builders import at, call_failure, ended, gateway, lane_view, metered, run, run_view, running
from support.chains import A, B, C, at_work, busy, chained, cooled, failed_view, hosted, messages, not_ready, step


def wish(**changes: Any) -> Wish:
    """The gateway asks for another lane since second 5, for a minute, because lane a's model is rate limited."""
    plain = Wish(
        step=step(A),
        cause=Cause.RATE_LIMIT_MODEL,
        api=WireAPI.CHAT_COMPLETIONS,
        since_time=at(5),
        until_time=at(65),
        generation=1,
    )
    return plain.model_copy(update=changes)


SPEAKS_GEMINI = "its server (Gemini) speaks GenerateContent; the call speaks ChatCompletions"


def gemini(name: str) -> Lane:
    return hosted(name, endpoint={"url": "https://x.example", "server": "Gemini"})


def sorting(name: str) -> Lane:
    """A lane whose classifier has not been asked."""
    tiers = {"simple": "m", "medium": "m", "complex": "m"}
    return hosted(name, classifier={"model": "m", "tiers": tiers})


def asking(
    *lanes: Lane, asks: Wish | None = None, pod: Any = None, state: dict[str, Any] | None = None, **changes: Any
) -> RunView:
    """A run at work on lane a with a step on each lane, whose call is held."""
    known = list(lanes) or [hosted(A), hosted(B)]
    spec = changes.pop("spec", {})
    the_run = changes.pop("run", None) or chained(*(one.meta.name for one in known), status=at_work(), **spec)
    told = metered(closed=False).model_copy(update={"wish": asks or wish(), **(state or {})})
    pods = (running(lane=("team-a", A)) if pod is None else pod,)
    return run_view(the_run, lanes=known, pods=pods, gateway=gateway(told), **changes)


def asked_lane(view: RunView, seconds: float = 6) -> str | None:
    walk = find_walk(view, at(seconds))
    return walk and walk.step.lane


@pytest.mark.row("S2.32", "C10", "S4.2")
@pytest.mark.parametrize(
    ("lanes", "expected"),
    [
        pytest.param([hosted(A), hosted(B), hosted(C)], B, id="the first step below is asked"),
        pytest.param([hosted(A), cooled(hosted(B), 60), hosted(C)], C, id="never a cooled one"),
        pytest.param([hosted(A), not_ready(hosted(B)), hosted(C)], C, id="nor one whose lane is not ready"),
        pytest.param([hosted(A), hosted(B, suspend=True), hosted(C)], C, id="nor one whose lane is suspended"),
        pytest.param([hosted(A), cooled(hosted(B), 60)], None, id="with none open there is nothing to ask"),
        pytest.param(
            [hosted(A), hosted(B, access="Direct", endpoint={"url": "https://x.example"}), hosted(C)],
            C,
            id="to a Direct lane only another attempt goes",
        ),
        pytest.param(
            [hosted(A), hosted(B, endpoint={"url": "https://x.example", "server": "Anthropic"}), hosted(C)],
            C,
            id="a step that does not speak as the held call is skipped",
        ),
        pytest.param(
            [hosted(A), sorting(B), hosted(C)],
            C,
            id="a step whose model is chosen by a classifier waits for an attempt",
        ),
        pytest.param(
            [hosted(A), busy(hosted(B), active=4, queued=3), hosted(C)], B, id="a full lane is no cause to walk on"
        ),
    ],
)
def test_which_lane_is_asked(lanes: list[Lane], expected: str | None) -> None:
    assert asked_lane(asking(*lanes)) == expected


def test_a_full_lane_is_passed_for_a_step_that_lists_full_and_has_room() -> None:
    models = [{"lane": A}, {"lane": B}, {"lane": C, "causes": ["Full"]}]
    full = busy(hosted(B), active=4)
    assert asked_lane(asking(hosted(A), full, hosted(C), spec={"models": models})) == C
    assert asked_lane(asking(hosted(A), full, busy(hosted(C), active=4), spec={"models": models})) == B
    assert asked_lane(asking(hosted(A), hosted(B), hosted(C), spec={"models": models})) == B


def test_the_least_busy_lane_is_asked_where_the_run_says_so() -> None:
    lanes = [hosted(A), busy(hosted(B), active=3), busy(hosted(C), active=1)]
    assert asked_lane(asking(*lanes, spec={"selection": "LeastBusy"})) == C


def test_another_model_of_the_same_lane_is_the_gateways_affair() -> None:
    models = [{"lane": A, "model": "m"}, {"lane": A, "model": "n"}, {"lane": B}]
    assert asked_lane(asking(hosted(A, "m", "n"), hosted(B), spec={"models": models})) == B


@pytest.mark.row("C22")
def test_a_refused_key_leads_on_only_where_the_lane_says_so() -> None:
    asks = wish(cause=Cause.AUTH_FAILED)
    assert asked_lane(asking(hosted(A), hosted(B), asks=asks)) is None
    assert asked_lane(asking(hosted(A, advanceOnPermanent=True), hosted(B), asks=asks)) == B


def test_an_attempt_whose_lane_is_gone_asks_the_next_one() -> None:
    """The gone lane cannot name the model of a step that names none."""
    gone = wish(cause=Cause.MODEL_NOT_FOUND)
    assert asked_lane(asking(hosted(B), run=chained(A, B, status=at_work()), asks=gone)) == B


def test_a_move_of_the_gateway_past_a_lane_of_another_protocol_says_so() -> None:
    models = [{"lane": A, "model": "m"}, {"lane": B}, {"lane": A, "model": "n"}]
    move = ModelMove(from_="m", to="n", cause=Cause.RATE_LIMIT_MODEL, time=at(5), api=WireAPI.CHAT_COMPLETIONS)
    told = {"model": ModelInUse(step=step(A, "n"), moves=(move,)), "wish": None}
    view = asking(hosted(A, "m", "n"), gemini(B), spec={"models": models}, run=None, state=told)
    after, [event] = with_moves(view, at(9))
    [entry] = after.run.status.fallback_history
    assert entry.passed == f"b/m ({SPEAKS_GEMINI})"
    assert isinstance(event, PostEvent)
    assert event.message == f"moved from a/m to a/n (rate limit); attempt 1 goes on; passed by b/m ({SPEAKS_GEMINI})"


@pytest.mark.row("S2.27")
def test_a_walk_that_is_granted_names_the_steps_that_were_passed_by() -> None:
    asked = find_walk(asking(hosted(A), gemini(B), hosted(C)), at(6))
    assert asked is not None
    status, event = walked(asked, at(6))
    assert status.fallback_history[-1].passed == f"b/m ({SPEAKS_GEMINI})"
    assert event.message.endswith(f"; passed by b/m ({SPEAKS_GEMINI})")


def test_a_step_whose_model_is_not_chosen_is_passed_by_with_a_reason() -> None:
    asked = find_walk(asking(hosted(A), sorting(B), hosted(C)), at(6))
    assert asked is not None
    passed = walked(asked, at(6))[0].fallback_history[-1].passed
    assert passed == "b (its lane's classifier has not chosen a model, which it does between attempts)"


@pytest.mark.row("S4.2")
def test_a_running_attempt_is_never_sent_up() -> None:
    on_b = chained(A, B, status=at_work(B))
    view = asking(hosted(A), hosted(B), run=on_b, asks=wish(step=step(B)), pod=running(lane=("team-a", B)))
    assert asked_lane(view) is None


@pytest.mark.parametrize(
    "view",
    [
        pytest.param(asking(asks=wish(step=step(B))), id="the attempt is on another step"),
        pytest.param(
            asking(asks=wish(generation=2)), id="it was judged by a version of the run that is not known here"
        ),
        pytest.param(asking(asks=wish(until_time=at(6))), id="the call is held no longer"),
        pytest.param(asking(state={"closed": True}), id="the attempt is closed"),
        pytest.param(asking(pod=ended(1, lane=("team-a", A))), id="the agent has ended"),
        pytest.param(asking(pod=running(lane=("team-a", A), deleting=True)), id="the pod is being stopped"),
        pytest.param(asking(pod=running(lane=("team-a", A), uid="other")), id="the pod is not the recorded one"),
        pytest.param(asking(spec={"cancel": True}), id="the run is cancelled"),
    ],
)
def test_a_stale_wish_is_no_wish(view: RunView) -> None:
    assert find_walk(view, at(6)) is None


def test_a_wish_of_a_gateway_that_is_away_is_no_wish() -> None:
    view = asking()
    assert find_walk(replace(view, gateway=replace(view.gateway, down_since=at(5))), at(6)) is None


# ---- what the run says meanwhile


def test_a_run_that_asks_says_so_after_two_seconds_and_stays_running() -> None:
    soon = decide_run(asking(), at(6))
    assert messages(soon.status)["Succeeded"] == "the agent is at work"
    assert soon.due == at(7)
    assert soon.walk is not None
    later = decide_run(asking(), at(7))
    assert messages(later.status)["Succeeded"] == "a call waits for a slot of lane team-a/b: a/m failed (rate limit)"
    assert (later.status.phase, later.status.reason, later.due) == ("Running", "Running", at(65))
    assert [one.status for one in later.status.conditions if one.type == "Admitted"] == ["True"]


def test_a_run_that_asks_nothing_is_not_looked_at_again_for_it() -> None:
    decision = decide_run(asking(hosted(A), cooled(hosted(B), 60)), at(6))
    assert (decision.walk, decision.due) == (None, at(69)), "a minute after it was last heard of"


# ---- the lane that is asked


def asks_of(view: RunView) -> Walk:
    walk = find_walk(view, at(6))
    assert walk is not None
    return walk


def other(name: str, **changes: Any) -> Walk:
    """The same wish of another run."""
    the_run = replace(chained(A, B, status=at_work(), **changes), meta=run(name).meta)
    return Walk(the_run, step(B), Cause.RATE_LIMIT_MODEL, at(5))


def small(*runs: Run, slots: int = 1, lane_of: Lane | None = None, **changes: Any) -> LaneView:
    return lane_view(*runs, the_lane=lane_of or hosted(B, capacity={"runs": slots}), **changes)


def granted_names(decision: LaneDecision) -> list[str]:
    return [one.run.meta.name for one in (*decision.walks, *decision.grants)]


@pytest.mark.row("S2.3", "S2.4")
def test_a_running_attempt_gets_a_free_slot_of_the_lane_and_no_other() -> None:
    decision = decide_lane(small(walks=(other("x"), other("y"))), at(6))
    assert granted_names(decision) == ["x"]
    assert (decision.status.active_runs, decision.status.queued_runs) == (1, 1)
    full = decide_lane(small(chained(B, status=at_work(B)), walks=(other("x"),)), at(6))
    assert (granted_names(full), full.status.active_runs, full.status.queued_runs) == ([], 1, 1)


@pytest.mark.row("S2.5", "C8")
def test_it_is_the_first_of_its_caller_and_takes_no_other_callers_turn() -> None:
    waiting = run("old", spec={"models": [{"lane": B}], "priority": 9}, created=-100)
    assert granted_names(decide_lane(small(waiting, walks=(other("x"),)), at(6))) == ["x"]
    own = replace(chained(B, status=at_work(B)), meta=run("busy").meta)
    theirs = run("theirs", spec={"models": [{"lane": B}], "caller": "v"})
    assert granted_names(decide_lane(small(own, theirs, slots=2, walks=(other("x"),)), at(6))) == ["theirs"]


def test_of_two_of_one_caller_the_one_goes_first_whose_call_waits_longer() -> None:
    late = replace(other("a"), since=at(5.5))
    assert granted_names(decide_lane(small(walks=(late, other("z"))), at(6))) == ["z"]


def test_a_model_that_cools_by_now_takes_nobody_in() -> None:
    shut = cooled(hosted(B, capacity={"runs": 1}), 60)
    assert granted_names(decide_lane(small(lane_of=shut, walks=(other("x"),)), at(6))) == []


def test_a_grant_without_an_answer_is_not_made_twice_and_holds_its_slot() -> None:
    doubt = frozenset({Held("x-0123456789", 1)})
    decision = decide_lane(small(slots=2, unsettled=doubt, walks=(other("x"), other("y"))), at(6))
    assert granted_names(decision) == ["y"]
    assert decision.status.active_runs == 2


@pytest.mark.row("S3.16")
def test_a_model_on_trial_takes_one_of_those_who_ask() -> None:
    tried = cooled(hosted(B, capacity={"runs": 4}), 3, last_failure_time=at(0))
    decision = decide_lane(small(lane_of=tried, walks=(other("x"), other("y"))), at(6))
    assert granted_names(decision) == ["x"]
    moved = at_work(B)
    moved = moved.model_copy(update={"attempts": (moved.attempts[-1].model_copy(update={"moved_time": at(6)}),)})
    trying = replace(chained(A, B, status=moved), meta=run("x").meta)
    again = decide_lane(small(trying, lane_of=tried, walks=(other("y"),)), at(7))
    assert granted_names(again) == []
    assert granted_names(decide_lane(small(trying, lane_of=tried, walks=(other("y"),)), at(66))) == ["y"]


def test_a_pod_with_the_old_label_counts_on_the_old_lane_until_it_is_labelled_anew() -> None:
    left = running(lane=("team-a", A))
    view = lane_view(chained(A, B), the_lane=hosted(A, capacity={"runs": 1}), pods=(left,))
    assert granted_names(decide_lane(view, at(6))) == []


# ---- the grant, and what follows it


def moved_run() -> tuple[Run, PostEvent]:
    status, event = walked(asks_of(asking()), at(6))
    return chained(A, B, status=status), event


@pytest.mark.row("S2.23", "S2.32")
def test_the_grant_is_one_write_of_step_history_and_slot() -> None:
    the_run, event = moved_run()
    status = the_run.status
    [attempt] = status.attempts
    assert (attempt.id, attempt.step, attempt.moved_time, attempt.slot_time) == (1, step(B), at(6), at(6))
    assert status.step is not None
    assert (status.step.lane, status.step.cause, status.step.shown) == (B, Cause.RATE_LIMIT_MODEL, None)
    [entry] = status.fallback_history
    assert (entry.from_.lane, entry.to.lane, entry.cause, entry.live) == (A, B, Cause.RATE_LIMIT_MODEL, True)
    assert entry.attempt == 1
    assert messages(status)["Admitted"] == "holds a slot of lane team-a/b"
    assert event.reason is EventReason.STEPPED_DOWN
    assert event.message == "moved from a/m to b/m (rate limit); attempt 1 goes on"


def test_the_pod_is_labelled_before_the_spec_shows_the_step_and_nothing_else_is_done() -> None:
    the_run, _ = moved_run()
    view = asking(run=the_run, state={"last_activity_time": None})
    decision = decide_run(replace(view, lane=view.lanes["team-a", B]), at(6))
    [label, patch] = decision.effects
    assert label == LabelPod("team-a", "hello-hello-01-1", "pod-uid", ("team-a", B))
    assert isinstance(patch, PatchActiveModel)
    for field in ("attempts", "step", "fallback_history", "conditions"):
        assert getattr(decision.status, field) == getattr(the_run.status, field)
    assert decision.walk is None, "the wish names a step that was left"


@pytest.mark.parametrize(
    "view",
    [
        pytest.param(asking(pod=running(lane=("team-a", A))), id="that counts where its attempt is"),
        pytest.param(asking(run=moved_run()[0], pod=ended(0, lane=("team-a", A))), id="that has ended"),
    ],
)
def test_a_pod_is_not_labelled_anew(view: RunView) -> None:
    assert not any(isinstance(effect, LabelPod) for effect in decide_run(view, at(6)).effects)


# ---- moves within the lane


def in_use(*models: str, served: bool = False, lane: str = A) -> dict[str, ModelInUse]:
    """The gateway has gone from model to model, a second apart from second 5 on."""
    moves = tuple(
        ModelMove(from_=left, to=to, cause=Cause.API_TRANSIENT, time=at(5 + number))
        for number, (left, to) in enumerate(pairwise(models))
    )
    return {"model": ModelInUse(step=step(lane, models[-1]), served=served, moves=moves)}


def within(*, status: AgentRunStatus | None = None, **told: Any) -> RunView:
    models = [{"lane": A, "model": name} for name in ("m", "n", "o")]
    the_run = chained(A, status=status or at_work(), models=models)
    state = metered(closed=False).model_copy(update=told)
    return run_view(
        the_run, lanes=[hosted(A, "m", "n", "o")], pods=(running(lane=("team-a", A)),), gateway=gateway(state)
    )


@pytest.mark.row("S2.32", "S1.14")
def test_moves_of_the_gateway_are_recorded_with_their_time_and_told_once() -> None:
    decision = decide_run(within(**in_use("m", "n", "o")), at(9))
    status = decision.status
    assert status.attempts[-1].step == step(A, "o")
    assert [(one.from_.model, one.to.model, one.time, one.live) for one in status.fallback_history] == [
        ("m", "n", at(5), True),
        ("n", "o", at(6), True),
    ]
    assert status.step is not None
    assert status.step.model == "o"
    told = [effect for effect in decision.effects if isinstance(effect, PostEvent)]
    assert [event.message for event in told] == [
        "moved from a/m to a/n (server trouble); attempt 1 goes on",
        "moved from a/n to a/o (server trouble); attempt 1 goes on",
    ]
    assert any(isinstance(effect, PatchActiveModel) for effect in decision.effects)
    again = decide_run(within(status=status, **in_use("m", "n", "o")), at(10))
    assert again.status.fallback_history == status.fallback_history
    assert not [effect for effect in again.effects if isinstance(effect, PostEvent)]


@pytest.mark.parametrize(
    "told",
    [
        pytest.param({"model": None}, id="the gateway has moved nowhere"),
        pytest.param(in_use("m"), id="the model is the recorded one"),
        pytest.param(in_use("m", lane=B), id="it was seen on a lane that was left"),
        pytest.param(in_use("x"), id="a model that the chain does not have"),
    ],
)
def test_what_is_no_move(told: dict[str, Any]) -> None:
    view = within(**told)
    assert with_moves(view, at(9)) == (view, ())


@pytest.mark.row("S4.2")
def test_what_the_gateway_used_before_the_recorded_step_moves_nothing_up() -> None:
    view = within(status=at_work(model="o"), **in_use("m", "n"))
    assert with_moves(view, at(9)) == (view, ())


def test_a_move_whose_beginning_was_forgotten_is_one_move() -> None:
    told = in_use("m", "n", "o")["model"]
    view = within(model=told.model_copy(update={"moves": told.moves[1:]}))
    after, _ = with_moves(view, at(9))
    [entry] = after.run.status.fallback_history
    assert (entry.from_.model, entry.to.model) == ("m", "o")


# ---- the end of an attempt that has moved, or was about to


def ended_after(failed_on: Any, status: AgentRunStatus, *, turns: int = 0, **told: Any) -> RunView:
    """The agent has exited after a call failed on a step; its lanes are a and b."""
    failure = call_failure(told.pop("cause", Cause.RATE_LIMIT_MODEL), status=told.pop("code", 429), step=failed_on)
    view = failed_view(chained(A, B, status=status), [hosted(A), hosted(B)], failure, turns=turns)
    state = view.gateway.state
    assert isinstance(state, AttemptState)
    return replace(view, gateway=gateway(state.model_copy(update=told)), lane=view.lanes["team-a", B])


def test_a_failure_counts_for_the_step_that_was_called_although_the_attempt_was_moved_since() -> None:
    the_run, _ = moved_run()
    decision = decide_run(ended_after(step(A), the_run.status), at(10))
    status = decision.status
    assert (status.attempts[-1].step, status.attempts[-1].outcome) == (step(A), "ModelTrouble")
    assert status.step is not None
    assert status.step.lane == B
    assert len(status.fallback_history) == 1, "it is there already"
    assert status.reason == "WaitingForSlot"


def test_a_failure_on_the_new_step_walks_on_from_there() -> None:
    the_run, _ = moved_run()
    decision = decide_run(ended_after(step(B), the_run.status), at(10))
    assert decision.status.attempts[-1].step == step(B)
    assert decision.status.backoff is None
    assert decision.status.step is not None
    assert decision.status.step.lane == A, "nothing is open below, and lane a's model is well as far as its lane knows"


@pytest.mark.row("S2.34")
@pytest.mark.parametrize(
    ("served", "reason"),
    [
        pytest.param(
            False, "WaitingForSlot", id="one that never served this attempt is unsuitable, and the run goes on"
        ),
        pytest.param(True, "Failed", id="one that did has met a bad request, and the run ends"),
    ],
)
def test_a_request_that_the_new_step_refuses(served: bool, reason: str) -> None:
    the_run, _ = moved_run()
    used = ModelInUse(step=step(B), served=served)
    view = ended_after(step(B), the_run.status, turns=3, cause=Cause.TASK_FAILURE, code=400, model=used)
    assert decide_run(view, at(10)).status.reason == reason
