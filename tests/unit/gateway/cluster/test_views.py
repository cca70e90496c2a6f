"""The views: newest version wins, deletions count for their own uid only, indexes follow."""

from __future__ import annotations

import asyncio

from laneway.api.reasons import Cause
from laneway.gateway.cluster.views import Views
from laneway.rules.chain import Link
from laneway.rules.token import AttemptId
from unit.gateway.kit import ATTEMPT, lane_object, pod_object, run_object


async def test_an_older_version_never_replaces_a_newer_one() -> None:
    views = Views()
    views.runs.put(run_object(finished=True, version=5))
    views.runs.on_event("MODIFIED", run_object(version=4))
    run = views.run(ATTEMPT.run_uid)
    assert run is not None
    assert run.finished


async def test_a_run_of_the_same_name_replaces_the_old_one() -> None:
    views = Views()
    views.runs.put(run_object(uid="old"))
    again = run_object(uid="new", version=2)
    again["metadata"]["name"] = "run-old"
    views.runs.on_event("ADDED", again)
    assert views.run("old") is None
    assert views.is_gone("old")
    assert views.run("new") is not None
    late = run_object(uid="old")
    views.runs.on_event("DELETED", late)
    assert views.run("new") is not None


async def test_what_a_list_does_not_have_is_gone() -> None:
    views = Views()
    views.pods.on_list([pod_object(), pod_object(uid="other", address="10.0.0.9")])
    assert [pod.attempt.run_uid for pod in views.pods_at("10.0.0.9")] == ["other"]
    views.pods.on_list([pod_object(version=2)])
    assert views.pods_at("10.0.0.9") == []
    assert views.pods_of(AttemptId("other", 1)) == []
    assert len(views.pods_of(ATTEMPT)) == 1


async def test_the_views_are_listed_when_every_kind_was() -> None:
    views = Views()
    for table in (views.runs, views.lanes, views.pods):
        assert not views.listed
        table.on_list([])
    assert views.listed


async def test_an_address_belongs_to_the_pod_that_lives() -> None:
    views = Views()
    views.pods.put(pod_object(address="10.0.0.9"))
    views.pods.put(pod_object(address="10.0.0.9", phase="Failed", version=2))
    views.pods.put(pod_object(uid="next", address="10.0.0.9"))
    assert [pod.attempt.run_uid for pod in views.pods_at("10.0.0.9")] == ["next"]


async def test_pods_without_our_labels_are_not_ours() -> None:
    views = Views()
    stranger = pod_object()
    stranger["metadata"]["labels"] = {"app": "x"}
    views.pods.on_list([stranger])
    assert views.pods_at("127.0.0.1") == []


async def test_changes_of_lanes_are_told_and_a_lane_that_cannot_be_read_is_left_out() -> None:
    views, told = Views(), []
    views.on_lane.append(lambda key, lane: told.append((key, lane and lane.generation)))
    views.lanes.put(lane_object("http://a"))
    views.lanes.put(lane_object("http://b", version=2, generation=2))
    broken = lane_object("http://b", version=3, generation=3)
    broken["spec"]["models"] = "many"
    views.lanes.put(broken)
    assert told == [(("agents", "lane"), 1), (("agents", "lane"), 2), (("agents", "lane"), None)]


async def test_who_waits_is_woken_by_any_change() -> None:
    views = Views()
    waiting = asyncio.ensure_future(views.wait_for_change())
    await asyncio.sleep(0)
    views.runs.put(run_object())
    await asyncio.wait_for(waiting, 1)


async def test_the_step_of_the_attempt_that_holds_the_slot_is_where_calls_go() -> None:
    views = Views()
    run = run_object()
    here = {"lane": "spare", "namespace": "agents", "model": "other"}
    run["status"]["attempts"] = [{"id": 1, "step": here}]
    views.runs.put(run)
    seen = views.run(ATTEMPT.run_uid)
    assert seen is not None
    assert (seen.lane, seen.model) == (("agents", "spare"), "other")
    over = run_object(version=2)
    over["status"]["attempts"] = [{"id": 1, "step": here, "endTime": "2026-03-01T12:00:00Z"}]
    views.runs.put(over)
    seen = views.run(ATTEMPT.run_uid)
    assert seen is not None
    assert (seen.lane, seen.model) == (("agents", "lane"), "smollm2")


async def test_the_chain_of_a_run_is_read_with_its_causes() -> None:
    views = Views()
    run = run_object()
    run["status"]["chain"] = [
        {"lane": "lane", "namespace": "agents", "model": "smollm2"},
        {"lane": "gone", "namespace": "agents", "causes": ["Full", "SomethingNew"]},
    ]
    views.runs.put(run)
    seen = views.run(ATTEMPT.run_uid)
    assert seen is not None
    assert seen.chain == (
        Link("agents", "lane", "smollm2"),
        Link("agents", "gone", None, (Cause.FULL, Cause.UNKNOWN)),
    )


async def test_who_waits_for_a_run_is_woken_by_that_run_only() -> None:
    views = Views()
    views.runs.put(run_object())
    waiting = asyncio.ensure_future(views.wait_for_run(ATTEMPT.run_uid))
    await asyncio.sleep(0)
    views.runs.put(run_object(uid="other"))
    views.pods.put(pod_object())
    await asyncio.sleep(0)
    assert not waiting.done()
    views.runs.put(run_object(version=2))
    await asyncio.wait_for(waiting, 1)
    gone = asyncio.ensure_future(views.wait_for_run(ATTEMPT.run_uid))
    await asyncio.sleep(0)
    views.runs.on_list([])
    await asyncio.wait_for(gone, 1)
