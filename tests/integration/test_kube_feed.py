"""kopf as our watcher on a real API server: it tells everything, writes nothing, and does not hide its end."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from laneway.kube.cache import Cache, Change
from laneway.kube.client import Kube
from laneway.kube.feed import run_feed
from laneway.kube.listing import Lister
from laneway.kube.resources import AGENT_RUNS, MODEL_LANES, PODS, JsonObject, Key, Resource, uid_of
from laneway.kube.resync import DeafWatch, Resync
from manifests import lane, run
from support.faultproxy import Faults, fault_proxy


def pod(name: str, **labels: str) -> JsonObject:
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {"containers": [{"name": "agent", "image": "none"}], "restartPolicy": "Never"},
    }


def lanes_of(obj: JsonObject) -> Iterable[Key]:
    return [Key(obj["metadata"]["namespace"], model["lane"]) for model in obj["spec"]["models"]]


class World:
    """A cache, the changes told, and what fills it: our lists and the feed."""

    def __init__(self, kube: Kube, kubeconfig: str) -> None:
        self._kube = kube
        self._kubeconfig = kubeconfig
        self.cache = Cache(
            lanes_of_run=lanes_of,
            chain_of_run=lanes_of,
            dependencies_of_run=lambda run: [],
            has_ended=lambda run: False,
        )
        self.changes: list[Change] = []
        self.stop = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    def lister(self, *namespaces: str) -> Lister:
        return Lister(kube=self._kube, cache=self.cache, namespaces=namespaces)

    def start(
        self, lister: Lister, *, on_change: Callable[[Change], None] | None = None, kubeconfig: str | None = None
    ) -> asyncio.Task[None]:
        self.stop = asyncio.Event()
        self.task = asyncio.create_task(
            run_feed(
                cache=self.cache,
                lister=lister,
                on_change=on_change or self.changes.append,
                stop=self.stop,
                kubeconfig=kubeconfig or self._kubeconfig,
            )
        )
        return self.task

    async def end(self) -> None:
        self.stop.set()
        if self.task is not None:
            await asyncio.wait_for(asyncio.wait([self.task]), 15)

    def knows(self, resource: Resource, namespace: str, name: str) -> bool:
        return self.cache.get(resource, Key(namespace, name)) is not None


@pytest.fixture
async def world(cluster: Any, kube: Kube) -> AsyncIterator[World]:
    made = World(kube, cluster.kubeconfig)
    yield made
    await made.end()


@pytest.mark.parametrize("clusterwide", [pytest.param(True, id="clusterwide"), pytest.param(False, id="one namespace")])
async def test_the_feed_tells_what_comes_changes_and_goes(
    kube: Kube, namespace: str, world: World, until: Any, clusterwide: bool
) -> None:
    await kube.create(AGENT_RUNS, namespace, run(name="early"))
    task = world.start(world.lister() if clusterwide else world.lister(namespace))
    await until(lambda: world.knows(AGENT_RUNS, namespace, "early"))
    made = await kube.create(AGENT_RUNS, namespace, run(name="late"))
    await kube.create(MODEL_LANES, namespace, lane())
    await until(lambda: world.knows(AGENT_RUNS, namespace, "late") and world.knows(MODEL_LANES, namespace, "local"))
    assert len(world.cache.runs_on_lane(Key(namespace, "local"))) == 2
    changed = await kube.merge_patch(AGENT_RUNS, namespace, "late", {"spec": {"prompt": "Another question"}})
    await until(lambda: _prompt(world, Key(namespace, "late")) == "Another question")
    await kube.delete(AGENT_RUNS, namespace, "late")
    await until(lambda: not world.knows(AGENT_RUNS, namespace, "late"))
    story = [change for change in world.changes if change.key == (namespace, "late")]
    assert [_versions(change) for change in story] == [
        (None, made["metadata"]["resourceVersion"]),
        (made["metadata"]["resourceVersion"], changed["metadata"]["resourceVersion"]),
        (changed["metadata"]["resourceVersion"], None),
    ]
    world.stop.set()
    await asyncio.wait_for(task, 10)


def _prompt(world: World, key: Key) -> str | None:
    held = world.cache.get(AGENT_RUNS, key)
    return None if held is None else held["spec"]["prompt"]


def _versions(change: Change) -> tuple[str | None, str | None]:
    before, after = change.before, change.after
    return (
        None if before is None else before["metadata"]["resourceVersion"],
        None if after is None else after["metadata"]["resourceVersion"],
    )


@pytest.mark.parametrize("clusterwide", [pytest.param(True, id="clusterwide"), pytest.param(False, id="one namespace")])
async def test_the_feed_tells_what_came_and_went_since_the_lists(
    kube: Kube, namespace: str, world: World, until: Any, clusterwide: bool
) -> None:
    for name in ("stays", "goes", "comes-again"):
        await kube.create(AGENT_RUNS, namespace, run(name=name))
    lister = world.lister() if clusterwide else world.lister(namespace)
    await lister.list_all()
    await kube.delete(AGENT_RUNS, namespace, "goes")
    await kube.delete(AGENT_RUNS, namespace, "comes-again")
    await kube.create(AGENT_RUNS, namespace, run(name="comes-again"))
    await kube.create(AGENT_RUNS, namespace, run(name="comes"))
    world.start(lister)
    await until(lambda: world.knows(AGENT_RUNS, namespace, "comes"))
    await until(lambda: not world.knows(AGENT_RUNS, namespace, "goes"))
    told = {change.key.name for change in world.changes if change.key.namespace == namespace}
    assert told == {"goes", "comes-again", "comes"}


async def test_kopf_is_told_of_nothing_that_was_listed(kube: Kube, namespace: str, world: World, until: Any) -> None:
    """Its tasks and records for what it lists are most of the memory that a start would need."""
    for number in range(20):
        await kube.create(AGENT_RUNS, namespace, run(name=f"run-{number}"))
    lister = world.lister(namespace)
    await lister.list_all()
    world.start(lister)
    await kube.create(AGENT_RUNS, namespace, run(name="late"))
    await until(lambda: world.knows(AGENT_RUNS, namespace, "late"))
    assert world.cache.events(AGENT_RUNS) == 1


class TooOld(Faults):
    """Hides the end of one run; the next event about a run becomes the answer that the watch's version is too old."""

    def __init__(self) -> None:
        self.refusals = 0
        self._hidden = False

    async def lines(self, resource: str, event: JsonObject) -> AsyncIterator[JsonObject]:
        if resource == "agentruns" and event["type"] == "DELETED" and not self._hidden:
            self._hidden = True
        elif resource == "agentruns" and event["type"] != "BOOKMARK" and self._hidden and not self.refusals:
            self.refusals += 1
            yield {
                "type": "ERROR",
                "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"},
            }
        else:
            yield event


async def test_when_the_watch_begins_anew_all_is_listed_and_what_vanished_is_told(
    *, cluster: Any, kube: Kube, namespace: str, world: World, until: Any, tmp_path: Path
) -> None:
    for name in ("stays", "goes"):
        await kube.create(AGENT_RUNS, namespace, run(name=name))
    lister = world.lister(namespace)
    await lister.list_all()
    async with fault_proxy(cluster.kubeconfig, tmp_path, log_of=str) as (proxy, kubeconfig):
        proxy.faults = faults = TooOld()
        world.start(lister, kubeconfig=kubeconfig)
        await kube.create(AGENT_RUNS, namespace, run(name="early"))
        await until(lambda: world.knows(AGENT_RUNS, namespace, "early"))
        await kube.delete(AGENT_RUNS, namespace, "goes")
        await kube.create(AGENT_RUNS, namespace, run(name="late"))
        await until(lambda: world.knows(AGENT_RUNS, namespace, "late"))
        await until(lambda: not world.knows(AGENT_RUNS, namespace, "goes"))
        assert faults.refusals == 1
        assert world.cache.events(AGENT_RUNS) == 1, "that of the early one: the rest was listed"
        await kube.create(AGENT_RUNS, namespace, run(name="afterwards"))
        await until(lambda: world.knows(AGENT_RUNS, namespace, "afterwards"))
        assert world.cache.events(AGENT_RUNS) == 2, "and the watch goes on from there"
        await world.end()
    assert [change.key.name for change in world.changes if change.after is None] == ["goes"]


async def test_the_feed_writes_nothing(kube: Kube, namespace: str, world: World, until: Any) -> None:
    made = [
        await kube.create(AGENT_RUNS, namespace, run()),
        await kube.create(MODEL_LANES, namespace, lane()),
        await kube.create(PODS, namespace, pod("p", **{"laneway.dev/run-uid": "u"})),
    ]
    world.start(world.lister(namespace))
    await until(lambda: len(world.changes) >= 3)
    await kube.merge_patch(AGENT_RUNS, namespace, "hello", {"spec": {"prompt": "Another question"}})
    await kube.merge_patch(AGENT_RUNS, namespace, "hello", {"spec": {"prompt": "And one more"}})
    await until(lambda: len(world.changes) >= 5)
    await world.end()
    for resource, before in zip((AGENT_RUNS, MODEL_LANES, PODS), made, strict=True):
        after = await kube.get(resource, namespace, before["metadata"]["name"])
        assert {field["manager"] for field in after["metadata"]["managedFields"]} == {"laneway-operator"}
        assert "finalizers" not in after["metadata"]
        assert "annotations" not in after["metadata"]
        if resource != AGENT_RUNS:
            assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]


async def test_only_pods_with_the_label_of_a_run_are_fed(kube: Kube, namespace: str, world: World, until: Any) -> None:
    await kube.create(PODS, namespace, pod("foreign", app="web"))
    await kube.create(PODS, namespace, pod("ours", **{"laneway.dev/run-uid": "u1"}))
    world.start(world.lister(namespace))
    await until(lambda: world.cache.pods_of_run("u1"))
    await kube.create(PODS, namespace, pod("foreign-too"))
    await kube.create(PODS, namespace, pod("ours-too", **{"laneway.dev/run-uid": "u1"}))
    await until(lambda: len(world.cache.pods_of_run("u1")) == 2)
    assert {held["metadata"]["name"] for held in world.cache.items(PODS)} == {"ours", "ours-too"}


async def test_runs_deleted_and_made_again_under_one_name_end_as_the_last_one(
    kube: Kube, namespace: str, world: World, until: Any
) -> None:
    world.start(world.lister(namespace))
    for _ in range(30):
        await kube.create(AGENT_RUNS, namespace, run())
        await kube.delete(AGENT_RUNS, namespace, "hello")
    last = await kube.create(AGENT_RUNS, namespace, run())
    await kube.create(AGENT_RUNS, namespace, run(name="mark"))
    await until(lambda: world.knows(AGENT_RUNS, namespace, "mark"))

    def newest() -> bool:
        held = world.cache.get(AGENT_RUNS, Key(namespace, "hello"))
        return held is not None and uid_of(held) == uid_of(last)

    await until(newest)
    await asyncio.sleep(0.3)  # a late end of an earlier one would take it away again
    assert newest()


async def test_an_error_in_the_callback_ends_the_feed(kube: Kube, namespace: str, world: World) -> None:
    await kube.create(AGENT_RUNS, namespace, run())

    def fail(change: Change) -> None:
        raise ZeroDivisionError(str(change.key))

    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(world.start(world.lister(namespace), on_change=fail), 15)


async def test_a_feed_that_may_not_list_ends_with_the_error(
    world: World, kubectl: Any, namespace: str, tmp_path: Path
) -> None:
    """As any answer that kopf holds for final, such as an HTTP 410."""
    kubectl("create", "serviceaccount", "nobody", "-n", namespace)
    token = kubectl("create", "token", "nobody", "-n", namespace).strip()
    config = json.loads(kubectl("config", "view", "--raw", "--flatten", "-o", "json"))
    config["users"] = [{"name": config["users"][0]["name"], "user": {"token": token}}]
    assert base64.b64decode(config["clusters"][0]["cluster"]["certificate-authority-data"])
    poor = tmp_path / "kubeconfig"
    poor.write_text(json.dumps(config))
    with pytest.raises(Exception, match="forbidden"):
        await asyncio.wait_for(world.start(world.lister(namespace), kubeconfig=str(poor)), 40)


async def test_a_signal_sets_stop_instead_of_ending_kopf_alone(
    kube: Kube, namespace: str, world: World, until: Any
) -> None:
    await kube.create(AGENT_RUNS, namespace, run())
    younger = None
    task = world.start(world.lister(namespace))
    await until(lambda: world.changes)
    younger = asyncio.create_task(asyncio.Event().wait())
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(task, 10)
    assert world.stop.is_set()
    assert not younger.done(), "the feed ends its own tasks, not those of the rest of the process"
    younger.cancel()


# Resync


def resync(kube: Kube, world: World, namespace: str, **options: Any) -> Resync:
    return Resync(kube=kube, cache=world.cache, on_change=world.changes.append, namespaces=[namespace], **options)


async def no_sleep(seconds: float) -> None:
    assert seconds > 0


async def test_the_first_listing_fills_the_cache(kube: Kube, namespace: str, world: World) -> None:
    await kube.create(AGENT_RUNS, namespace, run())
    await kube.create(MODEL_LANES, namespace, lane())
    await kube.create(PODS, namespace, pod("foreign"))
    await kube.create(PODS, namespace, pod("ours", **{"laneway.dev/run-uid": "u1"}))
    await world.lister(namespace).list_all()
    assert [len(world.cache.keys(resource)) for resource in (AGENT_RUNS, MODEL_LANES, PODS)] == [1, 1, 1]


async def test_what_no_event_told_the_end_of_is_dropped_and_told(kube: Kube, namespace: str, world: World) -> None:
    for name in ("stays", "goes", "comes-again"):
        await kube.create(AGENT_RUNS, namespace, run(name=name))
    await world.lister(namespace).list_all()
    await kube.delete(AGENT_RUNS, namespace, "goes")
    await kube.delete(AGENT_RUNS, namespace, "comes-again")
    world.cache.take_event(AGENT_RUNS, "ADDED", await kube.create(AGENT_RUNS, namespace, run(name="comes-again")))
    await resync(kube, world, namespace).compare()
    assert [(change.key.name, change.after) for change in world.changes] == [("goes", None)]
    assert sorted(held["metadata"]["name"] for held in world.cache.items(AGENT_RUNS)) == ["comes-again", "stays"]


@pytest.mark.row("S4.45")
async def test_what_no_event_told_of_is_read_in_the_next_comparison(kube: Kube, namespace: str, world: World) -> None:
    await kube.create(AGENT_RUNS, namespace, run(name="edited"))
    await world.lister(namespace).list_all()
    await kube.create(AGENT_RUNS, namespace, run())
    await kube.merge_patch(AGENT_RUNS, namespace, "edited", {"spec": {"suspend": True}})
    await resync(kube, world, namespace, sleep=no_sleep).compare()
    assert sorted(change.key.name for change in world.changes) == ["edited", "hello"]
    assert {held["metadata"]["name"]: held["spec"]["suspend"] for held in world.cache.items(AGENT_RUNS)} == {
        "edited": True,
        "hello": False,
    }


async def test_a_watch_that_tells_nothing_while_all_goes_on_is_deaf(kube: Kube, namespace: str, world: World) -> None:
    await world.lister(namespace).list_all()
    checker = resync(kube, world, namespace, sleep=no_sleep)
    for number in range(5):
        await kube.create(AGENT_RUNS, namespace, run(name=f"run-{number}"))
        await checker.compare()
    assert len(world.changes) == 5, "until then each is made good"
    await kube.create(AGENT_RUNS, namespace, run(name="one-more"))
    with pytest.raises(DeafWatch, match="agentruns"):
        await checker.compare()


async def test_a_watch_that_is_only_late_is_not_deaf(kube: Kube, namespace: str, world: World) -> None:
    await world.lister(namespace).list_all()
    checker = resync(kube, world, namespace, sleep=no_sleep)
    for number in range(8):
        made = await kube.create(AGENT_RUNS, namespace, run(name=f"run-{number}"))
        await checker.compare()
        world.cache.take_event(AGENT_RUNS, "ADDED", made)


async def test_a_watch_that_tells_a_little_later_is_not_deaf(
    kube: Kube, namespace: str, world: World, until: Any
) -> None:
    await kube.create(AGENT_RUNS, namespace, run())

    async def sleep(seconds: float) -> None:
        assert seconds == 10.0
        world.start(world.lister(namespace))
        await until(lambda: world.knows(AGENT_RUNS, namespace, "hello"))

    await resync(kube, world, namespace, sleep=sleep).compare()


async def test_a_run_that_came_and_went_between_two_events_is_no_sign_of_deafness(
    kube: Kube, namespace: str, world: World
) -> None:
    await kube.create(AGENT_RUNS, namespace, run())

    async def sleep(_: float) -> None:
        await kube.delete(AGENT_RUNS, namespace, "hello")

    await resync(kube, world, namespace, sleep=sleep).compare()
