"""What enters the cache, what replaces what, and what goes."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable
from typing import Any

import pytest

from laneway.kube.cache import Cache
from laneway.kube.resources import AGENT_RUNS, MODEL_LANES, PODS, JsonObject, Key
from laneway.kube.table import Listed

HERE = Key("team", "run")


def obj(version: int, *, uid: str = "a", name: str = "run", namespace: str = "team", **more: Any) -> JsonObject:
    meta = {"name": name, "namespace": namespace, "uid": uid, "resourceVersion": str(version)}
    return {"metadata": {**meta, **more.pop("metadata", {})}, **more}


def lanes_of(run: JsonObject) -> Iterable[Key]:
    return [Key("team", name) for name in run.get("spec", {}).get("lanes", [])]


def needs(run: JsonObject) -> Iterable[Key]:
    return [Key("team", name) for name in run.get("spec", {}).get("needs", [])]


def may_use(run: JsonObject) -> Iterable[Key]:
    return [Key("team", name) for name in run.get("spec", {}).get("chain", [])]


@pytest.fixture(params=[False, True], ids=["open", "packed"])
def cache(request: pytest.FixtureRequest) -> Cache:
    """Once as runs are kept that go on, once as those that have ended: nobody sees a difference."""
    return Cache(
        lanes_of_run=lanes_of, chain_of_run=may_use, dependencies_of_run=needs, has_ended=lambda run: request.param
    )


def seen(cache: Cache) -> tuple[str, str] | None:
    held = cache.get(AGENT_RUNS, HERE)
    return None if held is None else (held["metadata"]["uid"], held["metadata"]["resourceVersion"])


PUT, END = "put", "end"


@pytest.mark.parametrize(
    ("story", "left"),
    [
        pytest.param([(PUT, 5, "a")], ("a", "5"), id="a new object enters"),
        pytest.param([(PUT, 5, "a"), (PUT, 6, "a")], ("a", "6"), id="a higher version replaces"),
        pytest.param([(PUT, 6, "a"), (PUT, 5, "a")], ("a", "6"), id="a lower version does not"),
        pytest.param([(PUT, 9, "a"), (PUT, 10, "a")], ("a", "10"), id="versions are compared as numbers"),
        pytest.param([(PUT, 5, "a"), (END, 6, "a")], None, id="its end removes it"),
        pytest.param([(PUT, 5, "a"), (PUT, 8, "b")], ("b", "8"), id="a new uid with a higher version replaces"),
        pytest.param([(PUT, 8, "b"), (PUT, 5, "a")], ("b", "8"), id="an old uid with a lower version does not"),
        pytest.param(
            [(PUT, 5, "a"), (PUT, 8, "b"), (END, 7, "a")], ("b", "8"), id="the late end of the old uid leaves the new"
        ),
        pytest.param(
            [(PUT, 5, "a"), (END, 7, "a"), (PUT, 6, "a")], None, id="a late answer to a write revives nothing"
        ),
        pytest.param([(END, 7, "a"), (PUT, 6, "a")], None, id="an end that comes first still counts"),
        pytest.param([(PUT, 5, "a"), (END, 7, "a"), (PUT, 8, "b")], ("b", "8"), id="the name is free after its end"),
        pytest.param([(PUT, 8, "b"), (PUT, 9, "a")], ("a", "9"), id="only the version says which uid is newer"),
        pytest.param([(END, 7, "a")], None, id="the end of what was never known is no news"),
    ],
)
def test_the_cache_holds_after(cache: Cache, story: list[tuple[str, int, str]], left: tuple[str, str] | None) -> None:
    for what, version, uid in story:
        (cache.put if what == PUT else cache.remove)(AGENT_RUNS, obj(version, uid=uid))
    assert seen(cache) == left


def test_a_change_tells_before_and_after(cache: Cache) -> None:
    first = cache.put(AGENT_RUNS, obj(1))
    second = cache.put(AGENT_RUNS, obj(2))
    last = cache.remove(AGENT_RUNS, obj(3))
    assert first is not None
    assert second is not None
    assert last is not None
    assert (first.before, first.after) == (None, second.before)
    assert (second.after, last.after) == (last.before, None)
    assert first.key == second.key == last.key == HERE


def test_what_is_no_news_makes_no_change(cache: Cache) -> None:
    cache.put(AGENT_RUNS, obj(2))
    assert cache.put(AGENT_RUNS, obj(2)) is None
    assert cache.put(AGENT_RUNS, obj(1)) is None
    assert cache.remove(AGENT_RUNS, obj(9, uid="other")) is None


def test_what_only_other_tools_read_is_left_out_and_the_callers_object_is_not_touched(cache: Cache) -> None:
    given = obj(
        1,
        metadata={
            "managedFields": [{"manager": "kubectl"}],
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "mine": "kept"},
        },
        spec={"prompt": "hello"},
    )
    cache.put(AGENT_RUNS, given)
    held = cache.get(AGENT_RUNS, HERE)
    assert held is not None
    assert held["spec"] == {"prompt": "hello"}
    assert held["metadata"]["annotations"] == {"mine": "kept"}
    assert "managedFields" not in held["metadata"]
    assert "managedFields" in given["metadata"]


def test_runs_are_found_by_lane_and_follow_when_the_lane_changes(cache: Cache) -> None:
    cache.put(AGENT_RUNS, obj(1, spec={"lanes": ["x", "y"]}))
    cache.put(AGENT_RUNS, obj(2, name="other", uid="b", spec={"lanes": ["x"]}))
    assert [run["metadata"]["name"] for run in cache.runs_on_lane(Key("team", "x"))] == ["run", "other"]
    cache.put(AGENT_RUNS, obj(3, spec={"lanes": ["y", "z"]}))
    assert [run["metadata"]["name"] for run in cache.runs_on_lane(Key("team", "x"))] == ["other"]
    assert [run["metadata"]["resourceVersion"] for run in cache.runs_on_lane(Key("team", "z"))] == ["3"]
    cache.remove(AGENT_RUNS, obj(4))
    assert cache.runs_on_lane(Key("team", "y")) == []
    assert cache.runs_on_lane(Key("elsewhere", "x")) == []


def test_pods_are_found_by_run_and_by_lane_whether_their_run_is_known_or_not(cache: Cache) -> None:
    labels = {"laneway.dev/run-uid": "u1", "laneway.dev/lane": "x", "laneway.dev/lane-namespace": "models"}
    cache.put(PODS, obj(1, name="p", metadata={"labels": labels}))
    cache.put(PODS, obj(2, name="q", uid="b", metadata={"labels": {"laneway.dev/lane": "x"}}))
    cache.put(PODS, obj(3, name="r", uid="c"))
    assert [pod["metadata"]["name"] for pod in cache.pods_of_run("u1")] == ["p"]
    assert [pod["metadata"]["name"] for pod in cache.pods_on_lane(Key("models", "x"))] == ["p"]
    assert [pod["metadata"]["name"] for pod in cache.pods_on_lane(Key("team", "x"))] == ["q"]
    moved = {**labels, "laneway.dev/lane": "y"}
    cache.put(PODS, obj(4, name="p", metadata={"labels": moved}))
    assert cache.pods_on_lane(Key("models", "x")) == []
    assert len(cache.pods_on_lane(Key("models", "y"))) == 1


def names(cache: Cache) -> list[str]:
    return sorted(held["metadata"]["name"] for held in cache.items(MODEL_LANES))


@pytest.mark.parametrize(
    ("listing", "version", "left"),
    [
        pytest.param(["a", "b", "c"], 50, ["a", "b", "c"], id="what is listed stays"),
        pytest.param(["a", "c"], 50, ["a", "c"], id="what is not listed goes"),
        pytest.param(["a"], 15, ["a", "b", "c"], id="what came after the list was read stays"),
        pytest.param(["a"], 20, ["a", "c"], id="the version of the list itself counts as read"),
        pytest.param([], 50, [], id="an empty list drops all"),
    ],
)
def test_a_list_drops_ghosts(cache: Cache, listing: list[str], version: int, left: list[str]) -> None:
    held = {name: obj(number, name=name, uid=name) for name, number in (("a", 10), ("b", 20), ("c", 30))}
    for lane in held.values():
        cache.put(MODEL_LANES, lane)
    dropped = cache.retain(MODEL_LANES, [Listed.of(held[name]) for name in listing], version=version)
    assert names(cache) == left
    assert sorted(change.key.name for change in dropped) == sorted(set(held) - set(left))
    assert all(change.after is None for change in dropped)


def test_a_list_of_one_namespace_says_nothing_about_others(cache: Cache) -> None:
    cache.put(MODEL_LANES, obj(1, name="a", uid="a"))
    cache.put(MODEL_LANES, obj(2, name="b", uid="b", namespace="elsewhere"))
    cache.retain(MODEL_LANES, [], version=50, namespace="team")
    assert names(cache) == ["b"]


def test_a_ghost_whose_name_was_taken_again_goes_and_the_new_one_is_lacking(cache: Cache) -> None:
    cache.put(AGENT_RUNS, obj(5, uid="old"))
    listed = Listed.of(obj(9, uid="new"))
    assert [change.key for change in cache.retain(AGENT_RUNS, [listed], version=20)] == [HERE]
    assert cache.lacks(AGENT_RUNS, listed)
    cache.put(AGENT_RUNS, obj(9, uid="new"))
    assert not cache.lacks(AGENT_RUNS, listed)


def test_an_object_that_ended_is_not_lacking(cache: Cache) -> None:
    cache.put(AGENT_RUNS, obj(5))
    cache.remove(AGENT_RUNS, obj(6))
    assert not cache.lacks(AGENT_RUNS, Listed.of(obj(5)))


def test_the_memory_of_ended_objects_is_bounded(cache: Cache) -> None:
    for number in range(5000):
        cache.remove(AGENT_RUNS, obj(1, uid=f"uid-{number}"))
    cache.put(AGENT_RUNS, obj(2, uid="uid-0"))
    assert seen(cache) == ("uid-0", "2")


def test_a_run_is_found_by_those_it_needs_whether_they_exist_or_not(cache: Cache) -> None:
    cache.put(AGENT_RUNS, obj(1, spec={"needs": ["x", "y"]}))
    assert [run["metadata"]["uid"] for run in cache.dependents_of_run(Key("team", "y"))] == ["a"]
    cache.put(AGENT_RUNS, obj(2, spec={"needs": ["x"]}))
    assert cache.dependents_of_run(Key("team", "y")) == []
    cache.remove(AGENT_RUNS, obj(3))
    assert cache.dependents_of_run(Key("team", "x")) == []


def test_a_run_is_found_by_every_lane_that_it_may_use(cache: Cache) -> None:
    cache.put(AGENT_RUNS, obj(1, spec={"lanes": ["x"], "chain": ["x", "y"]}))
    assert [run["metadata"]["uid"] for run in cache.runs_with_lane_in_chain(Key("team", "y"))] == ["a"]
    assert cache.runs_on_lane(Key("team", "y")) == []
    cache.remove(AGENT_RUNS, obj(2))
    assert cache.runs_with_lane_in_chain(Key("team", "x")) == []


def test_what_has_ended_is_kept_small() -> None:
    cache = Cache(lanes_of_run=lanes_of, chain_of_run=may_use, dependencies_of_run=needs, has_ended=lambda run: True)
    cache.put(AGENT_RUNS, obj(1, spec={"prompt": "the same words again and again " * 500}))
    assert cache.get(AGENT_RUNS, HERE) is not cache.get(AGENT_RUNS, HERE), "each reader gets a copy"
    tracemalloc.start()
    try:
        for number in range(200):
            run = obj(2, name=f"run-{number}", uid=str(number), spec={"prompt": f"{number} of the same words " * 500})
            cache.put(AGENT_RUNS, run)
        del run
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held / 200 < 2_500, "bytes for each run of 12 kB"
