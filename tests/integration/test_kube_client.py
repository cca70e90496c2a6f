"""The client against a real API server: what each verb does, and which refusals become which errors."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import pytest

from laneway.kube.client import Kube, WatchEvent
from laneway.kube.errors import AlreadyExists, Conflict, Forbidden, Gone, Invalid, NotFound
from laneway.kube.resources import (
    AGENT_RUNS,
    CONFIG_MAPS,
    LEASES,
    MODEL_LANES,
    PODS,
    JsonObject,
    Resource,
    key_of,
    uid_of,
    version_of,
)
from laneway.kube.table import Listed
from manifests import UNSEEN, lane, run

QUOTAS = Resource("", "v1", "resourcequotas", "ResourceQuota")


def config_map(name: str = "x", **data: str) -> JsonObject:
    return {"metadata": {"name": name}, "data": data}


async def apply(kube: Kube, namespace: str, obj: JsonObject, status: JsonObject) -> JsonObject:
    version, name = obj["metadata"]["resourceVersion"], obj["metadata"]["name"]
    return await kube.apply_status(
        AGENT_RUNS, namespace, name, status=status, resource_version=version, uid=uid_of(obj)
    )


STATUS: JsonObject = {
    "phase": "Queued",
    "conditions": [
        {
            "type": "Admitted",
            "status": "False",
            "reason": "WaitingForSlot",
            "message": "",
            "lastTransitionTime": "2026-03-01T12:00:00Z",
        }
    ],
}


async def test_an_object_is_made_read_changed_replaced_and_deleted(kube: Kube, namespace: str) -> None:
    made = await kube.create(CONFIG_MAPS, namespace, config_map(a="1"))
    assert await kube.get(CONFIG_MAPS, namespace, "x") == made
    changed = await kube.merge_patch(CONFIG_MAPS, namespace, "x", {"data": {"b": "2"}})
    assert changed["data"] == {"a": "1", "b": "2"}
    replaced = await kube.replace(CONFIG_MAPS, namespace, "x", {**changed, "data": {"c": "3"}})
    assert replaced["data"] == {"c": "3"}
    assert await kube.delete(CONFIG_MAPS, namespace, "x") is True
    assert await kube.delete(CONFIG_MAPS, namespace, "x") is False
    with pytest.raises(NotFound):
        await kube.get(CONFIG_MAPS, namespace, "x")


async def test_a_second_create_finds_the_name_taken(kube: Kube, namespace: str) -> None:
    await kube.create(CONFIG_MAPS, namespace, config_map())
    with pytest.raises(AlreadyExists):
        await kube.create(CONFIG_MAPS, namespace, config_map())


async def test_a_stale_version_or_another_uid_is_a_conflict(kube: Kube, namespace: str) -> None:
    old = await kube.create(CONFIG_MAPS, namespace, config_map(a="1"))
    await kube.merge_patch(CONFIG_MAPS, namespace, "x", {"data": {"a": "2"}})
    with pytest.raises(Conflict):
        await kube.replace(CONFIG_MAPS, namespace, "x", old)
    version = old["metadata"]["resourceVersion"]
    with pytest.raises(Conflict):
        await kube.merge_patch(CONFIG_MAPS, namespace, "x", {"metadata": {"resourceVersion": version}, "data": {}})
    with pytest.raises(Conflict):
        await kube.merge_patch(CONFIG_MAPS, namespace, "x", {"metadata": {"uid": "another"}, "data": {"a": "3"}})
    run_made = await kube.create(AGENT_RUNS, namespace, run())
    meta = {"uid": "another", "resourceVersion": run_made["metadata"]["resourceVersion"]}
    with pytest.raises(Conflict):
        await kube.merge_patch(AGENT_RUNS, namespace, "hello", {"metadata": meta, "spec": {"prompt": "x"}})


async def test_a_delete_meant_for_an_earlier_object_of_the_name_does_nothing(kube: Kube, namespace: str) -> None:
    await kube.create(CONFIG_MAPS, namespace, config_map())
    assert await kube.delete(CONFIG_MAPS, namespace, "x", uid="00000000-0000-0000-0000-000000000000") is False
    assert key_of(await kube.get(CONFIG_MAPS, namespace, "x")) == (namespace, "x")


# Status


async def test_a_whole_status_is_written_and_what_it_no_longer_says_goes(kube: Kube, namespace: str) -> None:
    made = await kube.create(AGENT_RUNS, namespace, run())
    first = await apply(kube, namespace, made, STATUS)
    assert first["status"]["phase"] == "Queued"
    second = await apply(kube, namespace, first, {"phase": "Starting"})
    assert second["status"] == {"phase": "Starting", **UNSEEN}
    assert second["spec"] == made["spec"]


async def test_a_status_from_a_stale_version_is_refused_even_with_force(kube: Kube, namespace: str) -> None:
    made = await kube.create(AGENT_RUNS, namespace, run())
    await kube.merge_patch(AGENT_RUNS, namespace, "hello", {"spec": {"prompt": "Another question"}})
    with pytest.raises(Conflict):
        await apply(kube, namespace, made, STATUS)
    assert (await kube.get(AGENT_RUNS, namespace, "hello"))["status"] == UNSEEN


async def test_a_status_for_an_earlier_run_of_the_name_is_refused(kube: Kube, namespace: str) -> None:
    old = await kube.create(AGENT_RUNS, namespace, run())
    await kube.delete(AGENT_RUNS, namespace, "hello")
    await kube.create(AGENT_RUNS, namespace, run())
    with pytest.raises(Conflict):
        await apply(kube, namespace, old, STATUS)
    assert (await kube.get(AGENT_RUNS, namespace, "hello"))["status"] == UNSEEN


async def test_a_status_does_not_bring_back_a_deleted_run(kube: Kube, namespace: str) -> None:
    made = await kube.create(AGENT_RUNS, namespace, run())
    await kube.delete(AGENT_RUNS, namespace, "hello")
    with pytest.raises(NotFound):
        await apply(kube, namespace, made, STATUS)
    assert (await kube.list(AGENT_RUNS, namespace=namespace)).items == []


async def test_the_same_status_again_leaves_the_version_as_it_is(kube: Kube, namespace: str) -> None:
    made = await kube.create(AGENT_RUNS, namespace, run())
    first = await apply(kube, namespace, made, STATUS)
    second = await apply(kube, namespace, first, STATUS)
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


# Lists and watches


async def test_a_list_of_many_pages_has_each_object_once(kube: Kube, namespace: str) -> None:
    names = [f"item-{number:03}" for number in range(620)]
    for start in range(0, len(names), 62):
        await asyncio.gather(
            *(kube.create(CONFIG_MAPS, namespace, config_map(name)) for name in names[start : start + 62])
        )
    pages = [len(page.items) async for page in kube.pages(CONFIG_MAPS, namespace=namespace)]
    listing = await kube.list(CONFIG_MAPS, namespace=namespace)
    assert pages == [500, 121]  # one is kube-root-ca.crt
    assert sorted(item["metadata"]["name"] for item in listing.items) == sorted([*names, "kube-root-ca.crt"])


async def test_an_empty_list_is_a_list(kube: Kube, namespace: str) -> None:
    listing = await kube.list(LEASES, namespace=namespace)
    assert listing.items == []
    assert int(listing.resource_version) > 0


async def test_lines_say_where_which_and_which_version(kube: Kube, namespace: str) -> None:
    made = await kube.create(AGENT_RUNS, namespace, run(labels={"team": "a"}))
    lines, version = await kube.lines(AGENT_RUNS, namespace=namespace, label_selector="team=a")
    assert lines == [Listed.of(made)]
    assert version >= version_of(made)
    assert (await kube.lines(AGENT_RUNS, namespace=namespace, label_selector="team=b"))[0] == []


async def test_a_watch_tells_what_comes_changes_and_goes_with_its_label(kube: Kube, namespace: str) -> None:
    since = (await kube.list(CONFIG_MAPS, namespace=namespace)).resource_version
    seen: list[WatchEvent] = []

    async def follow() -> None:
        events = kube.watch(CONFIG_MAPS, namespace=namespace, label_selector="mine", resource_version=since)
        async with aclosing(events):
            async for event in events:
                if event.type != "BOOKMARK":
                    seen.append(event)
                if event.type == "DELETED":
                    return

    await kube.create(CONFIG_MAPS, namespace, config_map("foreign"))
    await kube.create(CONFIG_MAPS, namespace, {"metadata": {"name": "x", "labels": {"mine": "yes"}}})
    await kube.merge_patch(CONFIG_MAPS, namespace, "x", {"data": {"a": "1"}})
    await kube.delete(CONFIG_MAPS, namespace, "x")
    await asyncio.wait_for(follow(), 10)
    assert [(event.type, event.object["metadata"]["name"]) for event in seen] == [
        ("ADDED", "x"),
        ("MODIFIED", "x"),
        ("DELETED", "x"),
    ]


async def test_a_watch_from_a_version_that_is_no_longer_kept_is_gone(kube: Kube, namespace: str) -> None:
    async def follow() -> None:
        async with aclosing(kube.watch(MODEL_LANES, namespace=namespace, resource_version="1")) as events:
            async for _ in events:
                return

    with pytest.raises(Gone):
        await asyncio.wait_for(follow(), 10)


# Refusals


@pytest.mark.parametrize(
    ("resource", "body"),
    [
        pytest.param(MODEL_LANES, lane({"endpoint": {"url": "ftp://a"}}), id="a rule of our CRD"),
        pytest.param(CONFIG_MAPS, {"metadata": {"name": "NotAName"}}, id="a name that is none"),
        pytest.param(CONFIG_MAPS, {"metadata": {"name": "x"}, "data": 5}, id="a body that does not decode"),
    ],
)
async def test_the_api_server_refuses_by(kube: Kube, namespace: str, resource: Resource, body: Any) -> None:
    with pytest.raises(Invalid):
        await kube.create(resource, namespace, body)


async def test_a_full_quota_is_forbidden_and_says_so(kube: Kube, namespace: str, until: Any) -> None:
    quota = {"metadata": {"name": "none"}, "spec": {"hard": {"count/leases.coordination.k8s.io": "0"}}}
    await kube.create(QUOTAS, namespace, quota)

    async def refusal() -> Forbidden | None:
        """None until the quota's controller has seen the quota."""
        try:
            await kube.create(LEASES, namespace, {"metadata": {"generateName": "lease-"}})
        except Forbidden as error:
            return error
        return None

    assert "quota" in (await until(refusal)).message


async def test_a_log_of_a_pod_that_never_ran_is_empty(kube: Kube, namespace: str) -> None:
    with pytest.raises(NotFound):
        await kube.read_log(namespace, "none", container="agent", tail_lines=1, limit_bytes=10)
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "agent", "image": "none"}]}}
    await kube.create(PODS, namespace, pod)
    assert await kube.read_log(namespace, "p", container="agent", tail_lines=1, limit_bytes=10) == ""
    with pytest.raises(Invalid):
        await kube.read_log(namespace, "p", container="another", tail_lines=1, limit_bytes=10)


async def test_what_an_object_owns_goes_with_it(kube: Kube, namespace: str, until: Any) -> None:
    owner = await kube.create(AGENT_RUNS, namespace, run())
    reference = {
        "apiVersion": AGENT_RUNS.api_version,
        "kind": AGENT_RUNS.kind,
        "name": owner["metadata"]["name"],
        "uid": uid_of(owner),
        "controller": True,
        "blockOwnerDeletion": False,
    }
    body = {"metadata": {"name": "prompt", "ownerReferences": [reference]}, "immutable": True}
    await kube.create(CONFIG_MAPS, namespace, body)
    await kube.delete(AGENT_RUNS, namespace, "hello", uid=uid_of(owner))

    async def gone() -> bool:
        names = [item["metadata"]["name"] for item in (await kube.list(CONFIG_MAPS, namespace=namespace)).items]
        return "prompt" not in names

    await until(gone, seconds=60)
