"""The cache as decisions want it: parsed, found by lane and run, and never broken by one bad object."""

from __future__ import annotations

from dataclasses import replace

import pytest

from laneway.api.base import Condition
from laneway.api.runstatus import AgentRunStatus, ChainStep, CurrentStep
from laneway.controller.facts.views import DependencyState, DependencyView
from laneway.controller.memory.world import (
    UnreadableObject,
    World,
    chain_of_run,
    dependencies_of_run,
    lanes_of_run,
    make_cache,
)
from laneway.kube.cache import Change
from laneway.kube.resources import AGENT_RUNS, MODEL_LANES, PODS, Key
from laneway.rules.fairshare import Caller
from support.builders import admitted, attempt, condition
from support.objects import raw_lane, raw_pod, raw_run

HELLO, LOCAL = Key("team-a", "hello"), Key("team-a", "local")


@pytest.fixture
def changes() -> list[Change]:
    return []


@pytest.fixture
def world(changes: list[Change]) -> World:
    return World(
        make_cache(),
        on_change=changes.append,
    )


def finished() -> AgentRunStatus:
    said = Condition.model_validate(
        {"type": "Finished", "status": "True", "reason": "Completed", "lastTransitionTime": "2026-03-01T12:00:00Z"}
    )
    return AgentRunStatus(conditions=(said,), attempts=(attempt(),))


def ended_as(succeeded: str, reason: str) -> AgentRunStatus:
    return AgentRunStatus(conditions=(condition("Finished", "True", reason), condition("Succeeded", succeeded, reason)))


DEPENDENT = raw_run(spec={"dependsOn": [{"name": "x"}, {"name": "y"}]})


def test_what_is_not_there_is_none(world: World) -> None:
    assert world.run(HELLO) is None
    assert world.lane(LOCAL) is None


def test_an_object_is_parsed_once_for_each_version(world: World) -> None:
    world.absorb(AGENT_RUNS, raw_run())
    first = world.run(HELLO)
    assert world.run(HELLO) is first
    world.absorb(AGENT_RUNS, raw_run(version=2, spec={"suspend": True}))
    second = world.run(HELLO)
    assert second is not None
    assert second.spec.suspend


def test_what_is_absorbed_is_told_once(world: World, changes: list[Change]) -> None:
    world.absorb(AGENT_RUNS, raw_run())
    world.absorb(AGENT_RUNS, raw_run())
    assert len(changes) == 1


@pytest.mark.parametrize(
    ("run", "lanes"),
    [
        pytest.param(raw_run(), {LOCAL}, id="a waiting run stands in line for its lane"),
        pytest.param(
            raw_run(spec={"models": [{"lane": "x", "namespace": "models"}]}),
            {Key("models", "x")},
            id="of another namespace",
        ),
        pytest.param(
            raw_run(status=AgentRunStatus(step=CurrentStep(lane="new", namespace="models"), attempts=(attempt(),))),
            {Key("models", "new"), LOCAL},
            id="a run that moved on is known by the lanes that its attempts were on too: they learn from them",
        ),
        pytest.param(raw_run(status=finished()), set(), id="a finished run is on no lane"),
        pytest.param({"metadata": {"namespace": "n"}}, set(), id="an object without a spec is on no lane"),
        pytest.param(
            {"metadata": {"namespace": "n"}, "spec": {"models": [{}]}, "status": {"attempts": [{}]}},
            set(),
            id="a step without a lane is none",
        ),
    ],
)
def test_the_lanes_of_a_run(run: dict[str, object], lanes: set[Key]) -> None:
    assert set(lanes_of_run(run)) == lanes


@pytest.mark.parametrize(
    ("run", "lanes"),
    [
        pytest.param(
            raw_run(spec={"models": [{"lane": "x"}, {"lane": "y", "namespace": "models"}]}),
            {Key("team-a", "x"), Key("models", "y")},
            id="those that it names",
        ),
        pytest.param(
            raw_run(status=AgentRunStatus(chain=(ChainStep(lane="z", namespace="models"),))),
            {LOCAL, Key("models", "z")},
            id="those that its lanes fall back to, once it was looked at",
        ),
        pytest.param(raw_run(status=finished()), set(), id="a finished run uses none"),
        pytest.param({"metadata": {"namespace": "n"}, "spec": {"models": [{}]}}, set(), id="no run of this version"),
    ],
)
def test_the_lanes_in_the_chain_of_a_run(run: dict[str, object], lanes: set[Key]) -> None:
    assert set(chain_of_run(run)) == lanes


@pytest.mark.parametrize(
    ("run", "others"),
    [
        pytest.param(raw_run(), [], id="a run without dependencies"),
        pytest.param(DEPENDENT, [Key("team-a", "x"), Key("team-a", "y")], id="a run with two"),
        pytest.param({**DEPENDENT, "status": {"attempt": 1}}, [], id="one that has begun"),
        pytest.param({**DEPENDENT, "status": finished().to_wire()}, [], id="one that has ended without a beginning"),
        pytest.param({"metadata": {"namespace": "n"}, "spec": {"dependsOn": [{}]}}, [], id="no run of this version"),
    ],
)
def test_the_dependencies_of_a_run(run: dict[str, object], others: list[Key]) -> None:
    assert list(dependencies_of_run(run)) == others


def test_a_run_knows_how_far_its_dependencies_are(world: World) -> None:
    spec = {"dependsOn": [{"name": name} for name in ("gone", "busy", "done", "broken")]}
    world.absorb(AGENT_RUNS, raw_run(spec=spec))
    world.absorb(AGENT_RUNS, raw_run("busy", status=admitted()))
    world.absorb(AGENT_RUNS, raw_run("done", status=ended_as("True", "Completed")))
    world.absorb(AGENT_RUNS, raw_run("broken", status=ended_as("False", "Cancelled")))
    run = world.run(HELLO)
    assert run is not None
    assert world.dependencies(run) == (
        DependencyView("gone", DependencyState.MISSING),
        DependencyView("busy", DependencyState.UNFINISHED),
        DependencyView("done", DependencyState.SUCCEEDED, "Completed"),
        DependencyView("broken", DependencyState.FAILED, "Cancelled"),
    )
    begun = replace(run, status=admitted())
    assert world.dependencies(begun) == ()


def test_pods_are_found_by_run_in_order_and_by_lane(world: World) -> None:
    for number in (2, 1):
        world.absorb(PODS, raw_pod(attempt=number, version=10 + number))
    world.absorb(PODS, raw_pod("other"))
    assert [pod.attempt for pod in world.pods_of_run("hello-0123456789")] == [1, 2]
    assert len(world.pods_on_lane(LOCAL)) == 3


def test_usable_lanes_are_named_as_a_run_would_write_them(world: World) -> None:
    world.absorb(MODEL_LANES, raw_lane())
    world.absorb(MODEL_LANES, raw_lane("closed", namespace="models"))
    world.absorb(MODEL_LANES, raw_lane("open", namespace="models", spec={"allowedNamespaces": {"from": "All"}}))
    assert world.usable_lanes("team-a") == ("local", "models/open")


def test_a_run_that_cannot_be_read_is_left_out_of_its_lane_and_told_without_its_values(world: World) -> None:
    world.absorb(AGENT_RUNS, raw_run("healthy"))
    world.absorb(AGENT_RUNS, raw_run("poison", spec={"prompt": 7, "podTTLSeconds": "my secret prompt"}))
    assert [run.meta.name for run in world.runs_on_lane(LOCAL)] == ["healthy"]
    with pytest.raises(UnreadableObject) as caught:
        world.run(Key("team-a", "poison"))
    assert "spec.podTTLSeconds" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_lane_that_cannot_be_read_is_left_out_of_messages(world: World) -> None:
    world.absorb(MODEL_LANES, raw_lane())
    world.absorb(MODEL_LANES, raw_lane("future", spec={"endpoint": {"server": "NotYetKnown"}}))
    assert world.usable_lanes("team-a") == ("local",)
    with pytest.raises(UnreadableObject):
        world.lane(Key("team-a", "future"))


def test_fields_of_a_newer_version_are_ignored(world: World) -> None:
    world.absorb(AGENT_RUNS, raw_run(spec={"rounds": {"max": 3}}))
    assert world.run(HELLO) is not None


def test_what_is_forgotten_is_read_anew(world: World) -> None:
    world.absorb(AGENT_RUNS, raw_run())
    first = world.run(HELLO)
    world.forget("hello-0123456789")
    assert world.run(HELLO) is not first


@pytest.mark.parametrize(
    ("name", "uid", "caller"),
    [
        pytest.param("hello", "hello-0123456789", "ci", id="of a run that has finished"),
        pytest.param("hello", "another", "", id="of a run that was made anew under its name"),
        pytest.param("gone", "gone-0123456789", "", id="of a run that is gone"),
    ],
)
def test_the_caller(world: World, name: str, uid: str, caller: str) -> None:
    world.absorb(AGENT_RUNS, raw_run(spec={"caller": "ci"}, status=finished()))
    assert world.caller(Key("team-a", name), uid) == Caller("team-a", caller)


def test_the_status_of_what_is_gone_is_empty(world: World) -> None:
    assert world.raw_status(AGENT_RUNS, HELLO) == {}


@pytest.mark.row("C16")
def test_the_lanes_of_an_account_know_each_other(world: World) -> None:
    for name, account in (("a", "x"), ("b", "x"), ("c", "y"), ("d", None)):
        world.absorb(MODEL_LANES, raw_lane(name, spec={"account": account} if account else {}))
    lanes = {name: world.lane(Key("team-a", name)) for name in "abcd"}
    peers = {name: [peer.meta.name for peer in world.peers(lane)] for name, lane in lanes.items() if lane}
    assert peers == {"a": ["b"], "b": ["a"], "c": [], "d": []}
