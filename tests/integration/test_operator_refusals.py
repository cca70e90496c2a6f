"""Pods that the API server does not take, and objects that the operator cannot read: each costs its own run, never the others."""

from __future__ import annotations

import manifests
from integration.conftest import NAMESPACES, Kubectl
from integration.operators import Stage, condition
from laneway.api.names import pod_name
from laneway.kube.resources import AGENT_RUNS, PODS, Resource
from support.standin import Part

QUOTAS = Resource("", "v1", "resourcequotas", "ResourceQuota")


async def test_a_run_over_the_quota_says_so_and_leaves_its_slot_to_others(stage: Stage, kubectl: Kubectl) -> None:
    """Two lanes of one slot; the quota has room for one pod, so the second run of the lane must not be blocked by it."""
    quota = {"metadata": {"name": "pods"}, "spec": {"hard": {"pods": "1"}}}
    await stage.kube.create(QUOTAS, stage.namespace, quota)
    kubectl("wait", "-n", stage.namespace, "quota/pods", "--for=jsonpath={.status.hard.pods}=1", "--timeout=20s")
    await stage.add_lane(slots=1)
    await stage.add_lane(slots=1, name="second")
    stage.start()
    stage.node.play("holder", Part.held())
    holder = await stage.add_run("holder")
    await stage.has_pod(holder, phase="Running")
    refused = await stage.add_run("refused", {"models": [{"lane": "second"}]})
    said = await stage.condition(refused, "Admitted", "QuotaExceeded")
    assert "exceeded quota: pods" in said["message"]
    kubectl("patch", "-n", stage.namespace, "quota/pods", "--type=merge", '--patch={"spec":{"hard":{"pods":"5"}}}')
    kubectl("wait", "-n", stage.namespace, "quota/pods", "--for=jsonpath={.status.hard.pods}=5", "--timeout=20s")
    await stage.finished(await stage.add_run("other", {"models": [{"lane": "second"}]}))
    assert condition(stage.last(refused["metadata"]["uid"]), "Admitted")["reason"] == "QuotaExceeded"
    assert "attempt" not in stage.last(refused["metadata"]["uid"])["status"]


async def test_pod_security_restricted_takes_our_pods(stage: Stage) -> None:
    enforce = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    await stage.kube.merge_patch(NAMESPACES, None, stage.namespace, enforce)
    await stage.add_lane()
    stage.start()
    [ended] = await stage.finished(await stage.add_run())
    assert condition(ended, "Finished")["reason"] == "Completed"


async def test_a_pod_that_the_namespace_never_takes_ends_the_run_with_the_servers_words(stage: Stage) -> None:
    limits = Resource("", "v1", "limitranges", "LimitRange")
    too_small = {"type": "Container", "max": {"memory": "16Mi"}}
    body = {"metadata": {"name": "small"}, "spec": {"limits": [too_small]}}
    await stage.kube.create(limits, stage.namespace, body)
    await stage.add_lane()
    stage.start()
    run = await stage.add_run(spec={"agent": {"resources": {"limits": {"memory": "64Mi"}}}})
    [ended] = await stage.finished(run)
    assert condition(ended, "Finished")["reason"] == "PodRejected"
    assert "maximum memory usage per Container is 16Mi" in condition(ended, "Finished")["message"]


async def test_a_pod_name_in_foreign_hands_is_said_and_the_foreign_pod_left_alone(stage: Stage) -> None:
    await stage.add_lane()
    run = await stage.add_run()
    name = pod_name(run="hello", uid=run["metadata"]["uid"], attempt=1)
    foreign = {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    made = await stage.kube.create(PODS, stage.namespace, foreign)
    stage.start()
    said = await stage.condition(run, "Admitted", "NameTaken")
    assert name in said["message"]
    await stage.finished(await stage.add_run("other"))
    kept = await stage.kube.get(PODS, stage.namespace, name)
    assert kept["metadata"]["uid"] == made["metadata"]["uid"]
    assert "deletionTimestamp" not in kept["metadata"]


async def test_fields_of_a_future_version_do_not_disturb(stage: Stage) -> None:
    """What the schema does not know is pruned or warned of; an object that older writers left must still run."""
    await stage.add_lane()
    stage.start()
    body = manifests.run({"agent": {"preset": "generic", "image": "i"}, "fromTheFuture": {"a": 1}}, name="future")
    body["spec"]["agent"]["reflex"] = True
    run = await stage.kube.create(AGENT_RUNS, stage.namespace, body)
    await stage.finished(run)


async def test_a_run_that_cannot_be_read_does_not_stop_the_others_of_its_lane(stage: Stage) -> None:
    """A year that the API server takes for a time, and Python does not."""
    await stage.add_lane()
    poison = await stage.add_run("poison", {"suspend": True})
    await stage.kube.apply_status(
        AGENT_RUNS,
        stage.namespace,
        "poison",
        status={"lastActivityTime": "0000-01-01T00:00:00Z"},
        resource_version=poison["metadata"]["resourceVersion"],
        uid=poison["metadata"]["uid"],
    )
    stage.start()
    await stage.finished(await stage.add_run("healthy"))
